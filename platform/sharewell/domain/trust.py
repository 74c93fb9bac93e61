"""A trust policy (c2sp.org/tlog-policy): the logs and witnesses one relies on, and how many of them must agree.

Two logs of one origin are two keys of it, as after a rotation; logs of several origins, such as one for each year,
stand side by side. A line `#log-receipt <vkey>` is ours: a comment to others, and here the key of log receipts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sharewell.domain.checkpoint import Checkpoint, parse_checkpoint
from sharewell.domain.errors import Invalid
from sharewell.domain.log_receipt import is_receipt_key
from sharewell.domain.notes import (
    COSIGNATURE,
    ED25519,
    MLDSA44,
    MalformedNote,
    Mldsa44,
    Signature,
    VerifierKey,
    open_note,
    parse_vkey,
    split_note,
    timestamp_of,
)

NONE: Final = "none"  #: the quorum that asks for no witness
RECEIPT_LINE: Final = "#log-receipt"

_LOG_KINDS = (ED25519, MLDSA44)
_WITNESS_KINDS = (COSIGNATURE, MLDSA44)


class MalformedPolicy(Invalid):
    """The file is not a trust policy as c2sp.org/tlog-policy asks."""


class NoTrustedLog(Invalid):
    """The checkpoint is not signed by a log of the trust policy."""


class QuorumNotMet(Invalid):
    """Too few of the witnesses of the trust policy cosigned the checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLog:
    """A key of a log; the key's name is the log's origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A key that cosigns what it found to be consistent."""

    name: str  #: within the policy; the key has its own
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Counts as a witness once `least` of its members do."""

    name: str
    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """Whose word is taken for what."""

    logs: tuple[TrustedLog, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    groups: tuple[Group, ...] = ()  #: each after those it names
    quorum: str = NONE
    receipt_keys: tuple[VerifierKey, ...] = ()

    def keys(self) -> list[VerifierKey]:
        """Every key that may sign a checkpoint."""
        return [log.key for log in self.logs] + [witness.key for witness in self.witnesses]

    def quorum_met(self, cosigners: Collection[VerifierKey]) -> bool:
        """Whether these keys, whose cosignatures hold, are enough."""
        seen = {witness.name for witness in self.witnesses if witness.key in cosigners}
        for group in self.groups:
            if len(seen.intersection(group.members)) >= group.least:
                seen.add(group.name)
        return self.quorum == NONE or self.quorum in seen

    def text(self) -> str:
        """The file; `parse_policy` reads it."""
        lines = [f"log {_row(log.key, log.url)}" for log in self.logs]
        lines += [f"{RECEIPT_LINE} {key}" for key in self.receipt_keys]
        lines += [f"witness {witness.name} {_row(witness.key, witness.url)}" for witness in self.witnesses]
        lines += [f"group {group.name} {group.least} {' '.join(group.members)}" for group in self.groups]
        return "\n".join([*lines, f"quorum {self.quorum}"]) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCheckpoint:
    """A checkpoint that meets a trust policy, and by whom it does."""

    checkpoint: Checkpoint
    signed_by: tuple[VerifierKey, ...]  #: keys of the log
    cosigned_by: tuple[tuple[str, int], ...]  #: names of witnesses in the policy, and when (Unix seconds)
    unchecked: tuple[str, ...]  #: names of known keys whose ML-DSA-44 signature could not be checked here
    stray: tuple[str, ...]  #: names on lines by keys that the policy does not have, or by a key for the second time


def trust_keys(keys: Iterable[VerifierKey]) -> TrustPolicy:
    """The trust policy of someone who holds only keys of logs and of log receipts, and asks for no witness."""
    given = tuple(keys)
    return TrustPolicy(
        logs=tuple(TrustedLog(key=_of_kind(key, _LOG_KINDS, "log")) for key in given if not is_receipt_key(key)),
        receipt_keys=tuple(_receipt_key(key) for key in given if is_receipt_key(key)),
    )


def parse_policy(data: bytes) -> TrustPolicy:
    """Read a policy file. Raises `MalformedPolicy`, naming the line."""
    if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", data):
        raise MalformedPolicy("A trust policy holds no control characters but tab and line end.")
    reading = _Reading()
    # Bytes that are not ASCII are only compared, never understood.
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), start=1):
        try:
            reading.line([word for word in re.split(r"[ \t]+", line) if word])
        except (MalformedPolicy, MalformedNote) as why:
            raise MalformedPolicy(f"Line {number} of the trust policy: {why.message}", field=f"line {number}") from None
    return reading.done()


def open_checkpoint(note: bytes, policy: TrustPolicy, mldsa44: Mldsa44 | None = None) -> TrustedCheckpoint:
    """Check a checkpoint against a trust policy: signed by one of its logs, cosigned by its quorum.

    Raises `NoTrustedLog` or `QuorumNotMet`; also what `open_note` and `parse_checkpoint` raise, so that one bad
    signature by a known key spoils the whole note. Without `mldsa44` lines of that kind count for nothing.
    """
    text, lines = split_note(note)
    checkpoint = parse_checkpoint(text)
    logs = [log.key for log in policy.logs if log.key.name == checkpoint.origin]
    witnesses = {witness.key: witness for witness in policy.witnesses}
    known = {(key.name, key.id): key for key in [*logs, *witnesses]}
    if not any((line.name, line.id) in known for line in lines):
        raise NoTrustedLog(f"The checkpoint of {checkpoint.origin} carries no signature by a key of the trust policy.")
    _, signed = open_note(note, [*logs, *witnesses], mldsa44)
    if not any(key in signed for key in logs):
        raise NoTrustedLog(f"The checkpoint is not signed by a key that the trust policy has for {checkpoint.origin}.")
    if not policy.quorum_met(signed):
        names = ", ".join(witnesses[key].name for key in signed if key in witnesses) or "none"
        raise QuorumNotMet(f"The quorum {policy.quorum} is not met; these witnesses cosigned: {names}.")
    return TrustedCheckpoint(
        checkpoint=checkpoint,
        signed_by=tuple(key for key in logs if key in signed),
        cosigned_by=tuple(
            (witnesses[key].name, timestamp_of(line.blob))
            for line in lines
            if (key := known.get((line.name, line.id))) in signed and key in witnesses
        ),
        unchecked=tuple(line.name for line in lines if known.get((line.name, line.id)) not in [None, *signed]),
        stray=tuple(
            f"{line.name}+{line.id:08x}"
            for at, line in enumerate(lines)
            if (line.name, line.id) not in known or any(_same(line, other) for other in lines[:at])
        ),
    )


def describe(trusted: TrustedCheckpoint) -> str:
    """For people: what is signed, and by whom."""
    names = dict.fromkeys(key.name for key in trusted.signed_by)
    said = f"the checkpoint of {trusted.checkpoint.size} entries is signed by {', '.join(names)}"
    if trusted.cosigned_by:
        said += f", cosigned by {', '.join(name for name, _ in trusted.cosigned_by)}"
    if trusted.unchecked:
        said += f"; not checked here: the ML-DSA-44 signature of {', '.join(trusted.unchecked)}"
    return said


def refuse_stray_lines(trusted: TrustedCheckpoint) -> None:
    """Raise `NoTrustedLog` if lines under a checkpoint were not checked: their bytes could change unnoticed."""
    if trusted.stray:
        names = ", ".join(sorted(set(trusted.stray)))
        raise NoTrustedLog(
            f"The checkpoint is also signed by {names}, under keys you did not give, or twice; "
            "add them to the trust policy."
        )


class _Reading:
    """A policy file, as far as it was read."""

    def __init__(self) -> None:
        self.logs: list[TrustedLog] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.receipt_keys: list[VerifierKey] = []
        self.quorum: str | None = None
        self.names: set[str] = set()
        self.members: set[str] = set()  #: names that are in a group already

    def line(self, words: list[str]) -> None:
        match words:
            case [first, vkey] if first == RECEIPT_LINE:
                self.receipt_keys.append(_receipt_key(parse_vkey(vkey)))
            case []:
                pass
            case [first, *_] if first.startswith("#") and first != RECEIPT_LINE:
                pass
            case ["log", vkey] | ["log", vkey, _]:
                key = _of_kind(parse_vkey(vkey), _LOG_KINDS, "log")
                _once(key.public not in [log.key.public for log in self.logs], f"The key of {key.name}")
                self.logs.append(TrustedLog(key=key, url=words[2] if len(words) == 3 else None))
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                key = _of_kind(parse_vkey(vkey), _WITNESS_KINDS, "witness")
                _once(key.public not in [witness.key.public for witness in self.witnesses], f"The key of {name}")
                self._define(name)
                self.witnesses.append(Witness(name=name, key=key, url=words[3] if len(words) == 4 else None))
            case ["group", name, least, *members] if members:
                self._group(name, least, tuple(members))
            case ["quorum", name]:
                _once(self.quorum is None, "The quorum")
                self._known(name, also=NONE)
                self.quorum = name
            case _:
                raise MalformedPolicy(f"{' '.join(words)[:60]!r} is no line of log, witness, group or quorum.")

    def _group(self, name: str, least: str, members: tuple[str, ...]) -> None:
        for member in members:
            self._known(member)
            _once(member not in self.members, f"The member {member}")
            self.members.add(member)
        count = {"any": "1", "all": str(len(members))}.get(least, least)
        if not re.fullmatch(r"[1-9][0-9]{0,8}", count) or int(count) > len(members):
            raise MalformedPolicy(f"{least!r} of a group must be all, any, or 1 to {len(members)}.")
        self._define(name)
        self.groups.append(Group(name=name, least=int(count), members=members))

    def _define(self, name: str) -> None:
        _once(name not in self.names and name != NONE, f"The name {name}")
        self.names.add(name)

    def _known(self, name: str, also: str = "") -> None:
        if name not in self.names and name != (also or None):
            raise MalformedPolicy(f"{name} is not a witness or group of a line before.")

    def done(self) -> TrustPolicy:
        if self.quorum is None:
            raise MalformedPolicy("The trust policy has no line 'quorum <name>'; write 'quorum none' to ask for none.")
        return TrustPolicy(
            logs=tuple(self.logs),
            witnesses=tuple(self.witnesses),
            groups=tuple(self.groups),
            quorum=self.quorum,
            receipt_keys=tuple(self.receipt_keys),
        )


def _of_kind(key: VerifierKey, kinds: tuple[int, ...], what: str) -> VerifierKey:
    if key.kind not in kinds:
        wanted = " or ".join(f"{kind:#04x}" for kind in kinds)
        raise MalformedPolicy(f"The key of the {what} {key.name} must be of type {wanted}, not {key.kind:#04x}.")
    return key


def _receipt_key(key: VerifierKey) -> VerifierKey:
    if not is_receipt_key(key):
        raise MalformedPolicy(f"A key for log receipts is named for its log, such as {key.name}/receipt.")
    return _of_kind(key, (ED25519,), "log receipts of")


def _once(holds: bool, what: str) -> None:
    if not holds:
        raise MalformedPolicy(f"{what} is there twice.")


def _same(line: Signature, other: Signature) -> bool:
    return (line.name, line.id) == (other.name, other.id)


def _row(key: VerifierKey, url: str | None) -> str:
    return f"{key} {url}" if url else str(key)

"""The entries of a period in one file that a stranger can check: nothing left out, nothing put in, nothing changed.

`docs/audit-log.md` gives the bytes. Only the standard library is needed, so this also runs on its own:
`python3 -m sharewell.domain.verify FILE --key KEY`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sharewell.domain import canonical, notes
from sharewell.domain.audit import Decision, format_time, parse_entry, parse_time
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import Hash, ProofFailed, hash_leaf
from sharewell.domain.policy import read_policy_set_list
from sharewell.domain.ranges import verify_range
from sharewell.domain.trust import (
    TrustedCheckpoint,
    TrustPolicy,
    describe,
    open_checkpoint,
    refuse_stray_lines,
    trust_keys,
)

FORMAT: Final = "sharewell-period/v1"
MOST_ENTRIES: Final = 100_000  #: in one file
ABOUT, CHECKPOINT, ENTRIES, KEYS, README = "period.json", "checkpoint", "entries.jsonl", "keys.txt", "README.md"
POLICIES: Final = "policies/"
_NAMES: Final = frozenset({ABOUT, CHECKPOINT, ENTRIES, KEYS, README})

#: Stands in every file, so that whoever finds one knows what it is.
README_TEXT: Final = """\
# Entries of an audit log

`entries.jsonl`: one entry a line, the very bytes that the log hashes; each is one decision, as JSON.
`period.json`: which entries these are. The first line is entry number `first` of the log, the last `end` - 1; no entry
in between is left out. Those decided from `since` on and before `until` are the period; entries that were written
between them and decided outside of it are there too, since the proof is of all or none.
`checkpoint`: the signed head of the log that the proof leads to (c2sp.org/tlog-checkpoint).
`keys.txt`: the keys that have signed the log. Do not trust them because they stand here: get the key from the operator
by a way you trust.
`policies/`: policy sets that the entries name in `policy_set`, file by file under their SHA-256; the list that is
named by the set's own hash gives the files' names.

To check it, without account, network or database, with Python 3.11 or later:

    sharewell verify FILE --key KEY
    python3 -m sharewell.domain.verify FILE --key KEY

By hand: leaf = SHA-256(0x00 || line without its line end), node = SHA-256(0x01 || left || right). The hashes in `proof`
are those of the complete subtrees beside these entries, left to right; with the leaves they lead to the head: RFC 9162.
"""


class PeriodNotVerified(Invalid):
    """The file does not prove the entries of a period."""

    passed: tuple[str, ...] = ()  #: what held before that


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What the file holds, nothing of it checked."""

    origin: str
    since: datetime
    until: datetime  #: exclusive
    first: int  #: number of the first entry in the log
    entries: tuple[bytes, ...]
    proof: tuple[Hash, ...]  #: see `ranges.verify_range`
    checkpoint: bytes
    keys: tuple[str, ...]  #: verifier keys that have signed the log
    policies: Mapping[str, bytes] = field(default_factory=dict)  #: by SHA-256 in hex

    def files(self) -> dict[str, bytes]:
        """Everything, by name."""
        about: dict[str, canonical.Json] = {
            "format": FORMAT, "origin": self.origin, "since": format_time(self.since), "until": format_time(self.until),
            "first": self.first, "end": self.first + len(self.entries),
            "proof": [base64.b64encode(value).decode() for value in self.proof],
        }  # fmt: skip
        return {
            README: README_TEXT.encode(), ABOUT: canonical.encode(about) + b"\n", CHECKPOINT: self.checkpoint,
            KEYS: "".join(f"{key}\n" for key in self.keys).encode(),
            ENTRIES: b"".join(entry + b"\n" for entry in self.entries),
            **{f"{POLICIES}{sha256}": data for sha256, data in self.policies.items()},
        }  # fmt: skip

    def encode(self) -> bytes:
        """The ZIP file: the same content gives the same bytes, so nothing is compressed and no time stands in it."""
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as packed:
            for name, data in sorted(self.files().items()):
                member = zipfile.ZipInfo(name)  # the time of 1980-01-01
                member.external_attr = 0o644 << 16
                member.create_system = 3  # Unix, wherever it is made
                packed.writestr(member, data)
        return whole.getvalue()

    def decided(self, decision: Decision) -> bool:
        """Whether `decision` falls into the period."""
        return self.since <= decision.at < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPeriod:
    """A period, and what was found to hold of it."""

    period: Period
    checkpoint: Checkpoint
    decisions: tuple[Decision, ...]  #: of each entry, in order of the log
    checks: tuple[str, ...]


def is_period(path: Path) -> bool:
    """Whether `path` is a file, or an unpacked folder, of this kind."""
    if path.is_dir():
        return (path / ABOUT).is_file()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"PK"  # also of one that was cut off


def read_period(path: Path) -> Period:
    """Read a file, or the folder it was unpacked into. Raises `PeriodNotVerified` for anything else, and OSError."""
    if path.is_dir():
        found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        return _period(found)
    data = path.read_bytes()
    period = _period(_unpacked(data))
    if period.encode() != data:
        raise PeriodNotVerified("The ZIP file is not in its one form; it was packed again, or changed.")
    return period


def verify_period(
    period: Period, trust: str | TrustPolicy, mldsa44: notes.Mldsa44 | None = None
) -> VerifiedPeriod:
    """Check that `period` holds entries of a log that `trust` (a trust policy, or a log's key) names, unchanged.

    Raises `PeriodNotVerified`, and `MalformedNote` if `trust` is a text that is no key. **Not** shown: that the log
    shows everyone the same tree, but for the quorum of the trust policy, or that no decision of the period stands
    before or after these entries.
    """
    policy = trust if isinstance(trust, TrustPolicy) else trust_keys([notes.parse_vkey(trust.strip())])
    held: list[str] = []
    with _refused(held):
        trusted = _signed(period, policy, mldsa44)
        checkpoint = trusted.checkpoint
        held.append(describe(trusted))
        end = period.first + len(period.entries)
        _whole(period, checkpoint)
        held.append(f"these are its entries {period.first} to {end - 1}, all of them, unchanged")
        decisions = tuple(parse_entry(entry) for entry in period.entries)
        if not (period.decided(decisions[0]) and period.decided(decisions[-1])):
            raise PeriodNotVerified("The first or the last entry was decided outside of the period it claims to be of.")
        inside = sum(map(period.decided, decisions))
        held.append(
            f"each is a decision; {inside} were made from {format_time(period.since)} on and before "
            f"{format_time(period.until)}, {len(decisions) - inside} stand in between"
        )
        held.append(_policies(period, decisions))
    return VerifiedPeriod(period=period, checkpoint=checkpoint, decisions=decisions, checks=tuple(held))


def _signed(period: Period, policy: TrustPolicy, mldsa44: notes.Mldsa44 | None) -> TrustedCheckpoint:
    trusted = open_checkpoint(period.checkpoint, policy, mldsa44)
    refuse_stray_lines(trusted)
    if not set(trusted.signed_by) & set(map(notes.parse_vkey, period.keys)):
        raise PeriodNotVerified(f"{KEYS} does not list the key that signed the checkpoint.")
    if (signed := trusted.checkpoint.origin) != period.origin:
        raise PeriodNotVerified(f"The file is of the log {period.origin}, its checkpoint of {signed}.")
    return trusted


def _whole(period: Period, checkpoint: Checkpoint) -> None:
    leaves = [hash_leaf(entry) for entry in period.entries]
    try:
        verify_range(leaves, period.first, checkpoint.size, period.proof, checkpoint.root)
    except ProofFailed as why:
        raise PeriodNotVerified(f"An entry was changed, left out or put in. {why.message}") from None


def _policies(period: Period, decisions: Sequence[Decision]) -> str:
    """The sets that came along are those that the entries name."""
    named = {decision.policy_set for decision in decisions} - {""}
    kept = sorted(named & period.policies.keys())
    files = {sha256 for name in kept for sha256 in read_policy_set_list(period.policies[name]).values()}
    if {*kept, *files} != period.policies.keys():
        raise PeriodNotVerified(f"{POLICIES} holds too much, or not every file of a set.")
    for name, data in period.policies.items():
        if hashlib.sha256(data).hexdigest() != name:
            raise PeriodNotVerified(f"{POLICIES}{name} has another SHA-256.")
    return f"{len(kept)} of the {len(named)} policy sets that decided came along, whole"


def _unpacked(data: bytes) -> dict[str, bytes]:
    with _refused(), zipfile.ZipFile(io.BytesIO(data)) as packed:
        if any(member.file_size > len(data) for member in packed.infolist()):
            raise PeriodNotVerified("A file in it claims to be larger than the whole.")
        if any(member.compress_type != zipfile.ZIP_STORED for member in packed.infolist()):
            raise PeriodNotVerified("A file in it is compressed; in this format none is.")
        return {member.filename: packed.read(member) for member in packed.infolist()}


def _period(files: Mapping[str, bytes]) -> Period:
    with _refused():
        if missing := sorted(_NAMES - files.keys()):
            raise PeriodNotVerified(f"{missing[0]} is missing.")
        about: Any = canonical.parse(files[ABOUT].removesuffix(b"\n"))
        period = Period(
            origin=about["origin"], since=parse_time(about["since"]), until=parse_time(about["until"]),
            first=about["first"], entries=tuple(files[ENTRIES].removesuffix(b"\n").split(b"\n")),
            proof=tuple(base64.b64decode(text, validate=True) for text in about["proof"]),
            checkpoint=files[CHECKPOINT], keys=tuple(files[KEYS].decode().splitlines()),
            policies={name.removeprefix(POLICIES): files[name] for name in files.keys() - _NAMES},
        )  # fmt: skip
        if changed := sorted(name for name, data in period.files().items() if files.get(name) != data):
            raise PeriodNotVerified(f"{changed[0]} is not as this format has it.")
    return period


@contextmanager
def _refused(held: Sequence[str] = ()) -> Iterator[None]:
    """Whatever breaks in there, the period is not verified; `held` is what held before."""
    try:
        yield
    except PeriodNotVerified as why:
        why.passed = tuple(held)
        raise
    except (Invalid, ValueError, LookupError, TypeError, AttributeError, binascii.Error, zipfile.BadZipFile,
            RecursionError, NotImplementedError, EOFError) as why:  # fmt: skip
        refused = PeriodNotVerified(f"The file does not prove its entries: {why}")
        refused.passed = tuple(held)
        raise refused from None

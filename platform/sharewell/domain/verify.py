"""`sharewell verify`, but for its options: say in plain words what a file or folder of the log proves.

Needs no account, database or library: `python3 -m sharewell.domain.verify FILE --policy POLICY --at "$(date +%s)"`.
Without the library `cryptography` signatures of the kind ML-DSA-44 are not checked, count for nothing, and are named.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from sharewell.domain import bundle as bundles
from sharewell.domain.audit import format_time, parse_entry
from sharewell.domain.checkpoint import PROOF_HEADER, MalformedProof, parse_tlog_proof
from sharewell.domain.errors import Invalid
from sharewell.domain.exported_log import (
    POLICY,
    LogMisbehaved,
    LogNotVerified,
    open_log,
    open_remembered,
    refuse_other_log,
    verify_log,
)
from sharewell.domain.handover import HANDOVERS
from sharewell.domain.log_receipt import LogReceipt, open_log_receipt
from sharewell.domain.merkle import Hash, hash_leaf, verify_inclusion
from sharewell.domain.notes import Mldsa44, b64encode, parse_vkey
from sharewell.domain.period import PeriodNotVerified, is_period, read_period, verify_period
from sharewell.domain.trust import (
    TrustedCheckpoint,
    TrustPolicy,
    describe,
    open_checkpoint,
    parse_policy,
    refuse_stray_lines,
    trust_keys,
)

_KNOWN: Final = frozenset({"checkpoint", HANDOVERS, POLICY, "tile"})
_FIRST: Final = 1024  #: bytes that tell what a file is


class Status(IntEnum):
    """The exit status. 2 is left to what cannot be read."""

    VERIFIED = 0
    NOT_VERIFIED = 1
    EVIDENCE = 3  #: the log broke its word or contradicts itself, and both signatures are there to show it


_LAST_LINE: Final = {
    Status.VERIFIED: "VERIFIED",
    Status.NOT_VERIFIED: "NOT VERIFIED",
    Status.EVIDENCE: "EVIDENCE OF MISBEHAVIOUR: the log signed this, and it is not so. Keep these files.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be verified, and against what."""

    file: Path  #: bundle, log receipt or proof, the entries of a period, or the folder of a log
    policy: TrustPolicy | None = None  #: without one a folder's own is taken
    log: Path | None = None  #: folder in which a log receipt's entry should be
    proof: Path | None = None  #: bundle or proof of a log receipt's entry
    entry: Path | None = None  #: the bytes a proof is for
    remembered: tuple[Path, ...] = ()  #: checkpoints seen before
    at: int | None = None  #: Unix seconds now
    mldsa44: Mldsa44 | None = None


@dataclass(slots=True)
class Answer:
    """What was found."""

    held: list[str] = field(default_factory=list)  #: a sentence for each check that held, in order
    failed: str | None = None
    remarks: list[str] = field(default_factory=list)  #: what was not looked at, or should be known
    status: Status = Status.VERIFIED
    facts: dict[str, Any] = field(default_factory=dict)  #: for programs

    def lines(self) -> list[str]:
        """For people."""
        numbered = [f"({number}) {sentence}" for number, sentence in enumerate(self.held, start=1)]
        number = self.facts.get("failed_check", len(self.held) + 1)
        failed = [] if self.failed is None else [f"({number}) failed: {self.failed}"]
        return [*numbered, *failed, *(f"note: {remark}" for remark in self.remarks), _LAST_LINE[self.status]]


def verify(asked: Asked) -> Answer:
    """Check what was asked for. Raises `OSError` if a file cannot be read, `Invalid` if options do not go with it."""
    answer = Answer()
    check = _kind_of(asked)
    try:
        check(asked, answer)
    except _CannotAsk:
        raise
    except Invalid as why:
        answer.failed = why.message
        answer.status = Status.EVIDENCE if isinstance(why, LogMisbehaved) else Status.NOT_VERIFIED
        answer.facts["error"] = type(why).__name__
    return answer


class _CannotAsk(Invalid):
    """An option is missing or does not go with the file."""


def _kind_of(asked: Asked) -> Callable[[Asked, Answer], None]:
    period = is_period(asked.file)
    if asked.file.is_dir() and not period:
        return _check_folder
    if asked.policy is None:
        raise _CannotAsk("Give the key of the log with --key, or a trust policy with --policy.")
    if asked.remembered:
        raise _CannotAsk("--remembered needs the folder of a log: only its tiles show that one tree extends another.")
    if period:
        return _check_period
    with asked.file.open("rb") as file:
        start = file.read(_FIRST)
    if start.startswith(PROOF_HEADER.encode()):
        return _check_proof
    if start.startswith(b"{"):
        return _check_bundle
    return _check_receipt if start.partition(b"\n")[0].endswith(b"/receipt") else _check_unknown


def _check_unknown(asked: Asked, _: Answer) -> None:
    what = "The file is empty" if not asked.file.stat().st_size else "The file begins like nothing that the log gives"
    raise LogNotVerified(
        f"{what}: neither a bundle, the ZIP file of a period, a proof nor a log receipt. A log is given as its folder."
    )


def _check_bundle(asked: Asked, answer: Answer) -> None:
    try:
        found = bundles.verify_bundle(asked.file.read_bytes(), _policy(asked), mldsa44=asked.mldsa44)
    except bundles.NotVerified as why:
        answer.held += why.passed
        answer.facts["failed_check"] = why.check
        raise
    answer.held += found.checks
    answer.facts |= {
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "index": found.index,
        "at": format_time(found.decision.at),
        "entry": found.entry.decode(),
    }


def _check_period(asked: Asked, answer: Answer) -> None:
    try:
        found = verify_period(read_period(asked.file), _policy(asked), asked.mldsa44)
    except PeriodNotVerified as why:
        answer.held += why.passed
        raise
    answer.held += found.checks
    period = found.period
    answer.facts |= {
        "origin": period.origin,
        "size": found.checkpoint.size,
        "first": period.first,
        "end": period.first + len(period.entries),
        "since": format_time(period.since),
        "until": format_time(period.until),
    }


def _check_proof(asked: Asked, answer: Answer) -> None:
    if asked.entry is None:
        raise _CannotAsk("A proof is for an entry; give the file with its bytes as --entry.")
    entry = asked.entry.read_bytes()
    index, trusted = _proven(asked.file.read_bytes(), hash_leaf(entry), asked)
    answer.held += [describe(trusted), f"the entry is number {index} of that log"]
    answer.facts |= {"origin": trusted.checkpoint.origin, "size": trusted.checkpoint.size, "index": index}
    decision = parse_entry(entry)
    answer.held.append(
        f"it reads: {decision.actor} {decision.outcome} to {decision.action}, {format_time(decision.at)}"
    )


def _check_receipt(asked: Asked, answer: Answer) -> None:
    keys = _policy(asked).receipt_keys
    if not keys:
        raise LogNotVerified("Your trust policy names no key of log receipts; add a line `#log-receipt <key>`.")
    receipt = open_log_receipt(asked.file.read_bytes(), keys)
    promise = f"entry {b64encode(receipt.leaf_hash)}, taken {_time(receipt.staged_at)}, by {_time(receipt.merge_by)}"
    answer.held.append(f"the log receipt is signed for {receipt.origin}: it promises {promise}")
    answer.facts |= {"origin": receipt.origin, "staged_at": receipt.staged_at, "merge_by": receipt.merge_by}
    if asked.log is not None:
        trusted, index = _look_for(receipt, asked.log, asked, answer)
    elif asked.proof is not None:
        index, trusted = _proven(asked.proof.read_bytes(), receipt.leaf_hash, asked)
        answer.held.append(describe(trusted))
    else:
        answer.remarks.append("whether the promise was kept was not looked at; give the log with --log, or --proof")
        return
    handovers = (Folder(asked.log).read(HANDOVERS) if asked.log is not None else None) or b""
    refuse_other_log("log receipt", receipt.origin, trusted.checkpoint.origin, _policy(asked), handovers)
    if index is None:
        raise _not_there(receipt, trusted, asked)
    answer.held.append(f"the promise was kept: it is entry {index} of {trusted.checkpoint.size}")
    answer.facts |= {"size": trusted.checkpoint.size, "index": index}


def _look_for(receipt: LogReceipt, folder: Path, asked: Asked, answer: Answer) -> tuple[TrustedCheckpoint, int | None]:
    files = Folder(folder)
    trusted = open_log(files.read, _policy(asked), asked.mldsa44)
    answer.held.append(describe(trusted))
    found = verify_log(files.read, trusted.checkpoint, wanted={receipt.leaf_hash}, paths=files)
    answer.held.append("every tile of that log leads to the head it signs")
    return trusted, found.found.get(receipt.leaf_hash)


def _not_there(receipt: LogReceipt, trusted: TrustedCheckpoint, asked: Asked) -> LogNotVerified:
    """What it means that the entry is not in the log: nothing yet, or that the log broke its word."""
    if asked.at is None:
        raise _CannotAsk("Say what time it is with --at: only once the promised time has passed is absence evidence.")
    by, size = _time(receipt.merge_by), trusted.checkpoint.size
    seen = [when for _, when in trusted.cosigned_by if when]
    if asked.at <= receipt.merge_by:
        return LogNotVerified(f"The entry is not among the {size} yet, and need not be before {by}.")
    if seen and max(seen) < receipt.merge_by:
        return LogNotVerified(
            f"The entry is not among the {size}, but that checkpoint was cosigned {_time(max(seen))}, before {by}. "
            f"Fetch the log again."
        )
    when = f"cosigned {_time(max(seen))}" if seen else "which counts if you fetched it after that time"
    return LogMisbehaved(
        f"The log promised to hold the entry by {by}, and its checkpoint of {size} entries ({when}) does not. "
        f"It broke its word: this log receipt and that log are evidence of it."
    )


def _check_folder(asked: Asked, answer: Answer) -> None:
    files = Folder(asked.file)
    policy = asked.policy
    if policy is None:
        policy = _own_policy(files)
        answer.remarks.append("the keys were taken from the folder itself; compare them with keys you got another way")
    trusted = open_log(files.read, policy, asked.mldsa44)
    answer.held.append(describe(trusted))
    now = trusted.checkpoint
    answer.facts |= {"origin": now.origin, "size": now.size, "root": b64encode(now.root)}
    handovers = files.read(HANDOVERS) or b""
    remembered = [
        open_remembered(path.read_bytes(), now, policy, asked.mldsa44, handovers) for path in asked.remembered
    ]
    found = verify_log(files.read, now, remembered=remembered, paths=files)
    answer.held.append(
        "every entry has the hash its tile gives it" if found.entries_read else "no entries came along: hashes only"
    )
    answer.held.append("every tile fits the ones below it, and all lead to the head that is signed")
    answer.held += [f"it extends the checkpoint of {was.size} entries that you remember" for was in remembered]
    if others := files.others():
        answer.remarks.append(f"not looked at: {', '.join(others)}")
    if found.beyond:
        answer.remarks.append(f"{found.beyond} tiles lie beyond this checkpoint and were not looked at")
    answer.facts |= {"entries": found.entries_read, "extends": [was.size for was in remembered]}


def _own_policy(files: Folder) -> TrustPolicy:
    data = files.read(POLICY)
    if data is None:
        raise _CannotAsk(f"The folder has no file {POLICY}; give a trust policy with --policy, or --key.")
    return parse_policy(data)


def _proven(data: bytes, leaf: Hash, asked: Asked) -> tuple[int, TrustedCheckpoint]:
    """Where a proof, or the proof of a bundle, has the leaf, and under which checkpoint."""
    if data.startswith(b"{"):
        data = bundles.parse_bundle(data).tlog_proof()
    proof, note = parse_tlog_proof(data)
    if proof.extra is not None:
        raise MalformedProof("The proof has extra bytes, which nothing protects; leave the line 'extra' out.")
    trusted = open_checkpoint(note, _policy(asked), asked.mldsa44)
    refuse_stray_lines(trusted)
    verify_inclusion(leaf, proof.index, trusted.checkpoint.size, proof.path, trusted.checkpoint.root)
    return proof.index, trusted


def _policy(asked: Asked) -> TrustPolicy:
    assert asked.policy is not None
    return asked.policy


class Folder:
    """The files of a log in a folder, as `verify_log` asks for them. Goes through their paths anew each time."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def __iter__(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._root / "tile"):
            at = Path(folder).relative_to(self._root).as_posix()
            yield from (f"{at}/{name}" for name in names)

    def others(self) -> list[str]:
        """What lies beside the log."""
        return sorted(path.name for path in self._root.iterdir() if path.name not in _KNOWN)


def read_policy(policy: Path | None, keys: Sequence[str]) -> TrustPolicy | None:
    """The trust policy of a file, or of verifier keys (or files of them). Raises `Invalid` or `OSError`."""
    if policy is not None and keys:
        raise _CannotAsk("Give --policy or --key, not both; a trust policy names the keys.")
    if policy is not None:
        return parse_policy(policy.read_bytes())
    return trust_keys(parse_vkey(bundles.read_key(key)) for key in keys) if keys else None


def read_time(text: str) -> int:
    """Unix seconds, from their number or from a time such as 2026-03-01T12:00:00Z. Raises `Invalid`."""
    try:
        at = int(text) if text.isdecimal() else datetime.fromisoformat(text).timestamp() if text.endswith("Z") else -1
    except (ValueError, OverflowError):
        at = -1
    if at < 0:
        raise _CannotAsk(f"--at is {text[:40]!r}; it must be Unix seconds or a time such as 2026-03-01T12:00:00Z.")
    return int(at)


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the log gave you. Exit status: 0 verified, 1 not, 2 cannot be read, 3 evidence against the log."""
    parser = argparse.ArgumentParser(prog="python3 -m sharewell.domain.verify", description=main.__doc__)
    parser.add_argument("file", type=Path, help="bundle, log receipt or proof, period, or the folder of a log")
    parser.add_argument("--policy", type=Path, help="trust policy; a folder's own is taken without it")
    parser.add_argument("--key", action="append", default=[], help="instead: verifier key of the log, or a file of it")
    parser.add_argument("--log", type=Path, help="folder of the log that should hold a log receipt's entry")
    parser.add_argument("--proof", type=Path, help="bundle or proof of a log receipt's entry")
    parser.add_argument("--entry", type=Path, help="the bytes that a proof is for")
    parser.add_argument("--remembered", type=Path, action="append", default=[], help="checkpoint seen before")
    parser.add_argument("--at", help="the time now, such as 2026-03-01T12:00:00Z or Unix seconds")
    given = parser.parse_args(arguments)
    try:
        asked = Asked(
            file=given.file,
            policy=read_policy(given.policy, given.key),
            log=given.log,
            proof=given.proof,
            entry=given.entry,
            remembered=tuple(given.remembered),
            at=None if given.at is None else read_time(given.at),
        )
        answer = verify(asked)
    except OSError as why:
        parser.error(f"{why.filename} cannot be read: {why.strerror}.")
    except Invalid as why:
        parser.error(why.message)
    sys.stdout.write("\n".join(answer.lines()) + "\n")
    return answer.status


if __name__ == "__main__":
    sys.exit(main())

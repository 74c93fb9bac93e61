"""The file that convinces a stranger of one decision: entry, proof and signed checkpoint, and the checks on it.

Needs no account, database or library: `python -m sharewell.domain.bundle BUNDLE --key VKEY`. The file has one
canonical form, so that changing any of its bytes makes it fail.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from sharewell.domain import canonical, merkle, notes
from sharewell.domain.audit import Decision, format_time, parse_entry
from sharewell.domain.checkpoint import (
    Checkpoint,
    InclusionProof,
    format_tlog_proof,
    parse_inclusion_proof,
)
from sharewell.domain.errors import Invalid
from sharewell.domain.recheck import RECHECKS, Attachments, Rechecks
from sharewell.domain.trust import TrustPolicy, describe, open_checkpoint, refuse_stray_lines, trust_keys

FORMAT: Final = "sharewell-bundle/v1"
_REQUIRED: Final = frozenset({"format", "origin", "entry", "proof", "checkpoint"})


class NotVerified(Invalid):
    """The bundle does not prove the decision."""

    check: ClassVar[int] = 0  #: number of the check that failed
    passed: tuple[str, ...] = ()  #: what held before that


class MalformedBundle(NotVerified):
    """The file is not a bundle in its canonical form."""


class NotSigned(NotVerified):
    """The checkpoint is not signed by the log's key."""

    check = 1


class NotInLog(NotVerified):
    """The entry is not in the tree that the checkpoint signs."""

    check = 2


class NotReadable(NotVerified):
    """The entry is not a decision in its canonical form."""

    check = 3


class NotRepeatable(NotVerified):
    """The inputs of the decision do not lead to what it says."""

    check = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What the file holds, nothing of it checked."""

    origin: str  #: name of the log
    entry: bytes
    proof: InclusionProof
    checkpoint: bytes  #: signed note, as the log published it
    attachments: Attachments = field(default_factory=dict)  #: inputs of the decision, by SHA-256

    def encode(self) -> bytes:
        """The canonical bytes of the file."""
        values: dict[str, object] = {
            "format": FORMAT,
            "origin": self.origin,
            "entry": self.entry.decode(),
            "proof": self.proof.text(),
            "checkpoint": self.checkpoint.decode(),
        }
        if self.attachments:
            values["attachments"] = {name: data.decode() for name, data in self.attachments.items()}
        # Not `canonical.encode`: text that is in normal form C may lose it once it is escaped within a string.
        return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    def tlog_proof(self) -> bytes:
        """Proof and checkpoint as the c2sp.org/tlog-proof file that other tools read."""
        return format_tlog_proof(self.proof, self.checkpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDecision:
    """A decision, and what was found to hold of it."""

    decision: Decision
    entry: bytes
    index: int  #: its place in the log, from 0
    checkpoint: Checkpoint
    checks: tuple[str, ...]  #: a sentence for each check that held, in order


def parse_bundle(data: bytes) -> Bundle:
    """Read a bundle file; one line end after it is allowed. Raises `MalformedBundle`."""
    data = data.removesuffix(b"\n")
    with _failing_as(MalformedBundle, []):
        values = canonical.parse_loosely(data)
        texts = _texts(values)
        bundle = Bundle(
            origin=texts["origin"],
            entry=texts["entry"].encode(),
            proof=parse_inclusion_proof(texts["proof"]),
            checkpoint=texts["checkpoint"].encode(),
            attachments=_attachments(values),
        )
        if bundle.encode() != data or bundle.proof.extra is not None:
            raise MalformedBundle
    return bundle


def verify_bundle(
    data: bytes, trust: str | TrustPolicy, rechecks: Rechecks = RECHECKS, mldsa44: notes.Mldsa44 | None = None
) -> VerifiedDecision:
    """Check that `data` proves a decision of a log that `trust` (a trust policy, or a log's verifier key) names.

    Raises the `NotVerified` whose name and number say which check failed, and `MalformedNote` or `MalformedPolicy` if
    `trust` is a text that is no key of a log. What is **not** checked: that the log shows everyone the same tree, but
    for the quorum of the trust policy; compare checkpoints for that.
    """
    policy = trust if isinstance(trust, TrustPolicy) else trust_keys([notes.parse_vkey(trust.strip())])
    held: list[str] = []
    bundle = parse_bundle(data)

    # (1) the checkpoint is signed and cosigned as the policy asks, and by nobody whose key we were not given
    with _failing_as(NotSigned, held):
        trusted = open_checkpoint(bundle.checkpoint, policy, mldsa44)
        # Other readers of notes pass over signatures they have no key for. A bundle carries only what is checked,
        # or its bytes could change unnoticed.
        refuse_stray_lines(trusted)
        if (checkpoint := trusted.checkpoint).origin != bundle.origin:
            raise NotSigned(f"The bundle is of the log {bundle.origin}, its checkpoint of {checkpoint.origin}.")
    held.append(describe(trusted))

    # (2) the entry is in the tree, at its index
    with _failing_as(NotInLog, held):
        leaf = merkle.hash_leaf(bundle.entry)
        merkle.verify_inclusion(leaf, bundle.proof.index, checkpoint.size, bundle.proof.path, checkpoint.root)
    held.append(f"the entry is number {bundle.proof.index} of that log")

    # (3) the bytes are a decision, in the one form it can be written in
    with _failing_as(NotReadable, held):
        decision = parse_entry(bundle.entry)
    held.append(f"it reads: {decision.actor} {decision.outcome} to {decision.action}, {format_time(decision.at)}")

    # (4) the inputs that came along are the decision's own and lead to what it says
    with _failing_as(NotRepeatable, held):
        held.append(_repeat(decision, bundle.attachments, rechecks))
    return VerifiedDecision(
        decision=decision,
        entry=bundle.entry,
        index=bundle.proof.index,
        checkpoint=checkpoint,
        checks=tuple(held),
    )


def _repeat(decision: Decision, attachments: Attachments, rechecks: Rechecks) -> str:
    recheck = rechecks.get(decision.kind)
    wanted = recheck.hashes(decision) if recheck else ()
    if set(wanted) != attachments.keys():
        raise NotRepeatable(f"The bundle should bring {len(set(wanted))} inputs and brings {len(attachments)}.")
    for name, data in attachments.items():
        if hashlib.sha256(data).hexdigest() != name:
            raise NotRepeatable(f"The input {name} has another SHA-256.")
    return recheck.check(decision, attachments) if recheck else "nothing in it needs to be worked out again"


def _texts(values: canonical.Json) -> dict[str, str]:
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise MalformedBundle(f"The file is not a bundle of the format {FORMAT}.")
    if values.keys() - {"attachments"} != _REQUIRED:
        raise MalformedBundle(f"A bundle has the keys {', '.join(sorted(_REQUIRED))}.")
    texts = {name: text for name, text in values.items() if isinstance(text, str)}
    if texts.keys() != _REQUIRED:
        raise MalformedBundle("All parts of a bundle are texts.")
    return texts


def _attachments(values: canonical.Json) -> dict[str, bytes]:
    found = values.get("attachments", {}) if isinstance(values, Mapping) else {}
    if not isinstance(found, Mapping):
        raise MalformedBundle("attachments must be an object.")
    return {name: text.encode() for name, text in found.items() if isinstance(text, str)}


@contextmanager
def _failing_as(error: type[NotVerified], held: list[str]) -> Iterator[None]:
    """Let nothing out of a check but its own error: whatever breaks in there, the bundle is not verified."""
    try:
        yield
    except (Invalid, ValueError, LookupError, TypeError, AttributeError, RecursionError) as why:
        failed = why if isinstance(why, error) else error(f"{(error.__doc__ or '').strip()} {why}")
        failed.passed = tuple(held)
        raise failed from None


def report(verified: VerifiedDecision | NotVerified) -> list[str]:
    """The checks in plain words, a line each."""
    if isinstance(verified, VerifiedDecision):
        return [*_numbered(verified.checks), "VERIFIED"]
    return [*_numbered(verified.passed), f"({verified.check}) failed: {verified.message}", "NOT VERIFIED"]


def _numbered(sentences: Sequence[str]) -> list[str]:
    return [f"({number}) {sentence}" for number, sentence in enumerate(sentences, start=1)]


def read_key(text: str) -> str:
    """The verifier key: `text` itself, or what stands in the file of that name."""
    try:
        return Path(text).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        if "+" in text:
            return text
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one bundle; the exit status is 0 only if it is verified."""
    parser = argparse.ArgumentParser(prog="python -m sharewell.domain.bundle", description=main.__doc__)
    parser.add_argument("bundle", type=Path, help="file with the bundle")
    parser.add_argument("--key", required=True, help="the log's verifier key, or a file that holds it")
    given = parser.parse_args(arguments)
    try:
        found: VerifiedDecision | NotVerified = verify_bundle(given.bundle.read_bytes(), read_key(given.key))
    except NotVerified as why:
        found = why
    except (Invalid, OSError) as why:
        parser.error(str(why))
    sys.stdout.write("\n".join(report(found)) + "\n")
    return int(isinstance(found, NotVerified))


if __name__ == "__main__":
    sys.exit(main())

"""Reads the trust policy that an operator set: this log's witnesses, and how many of them must agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sharewell.audit.keys import RECEIPT_NAME
from sharewell.domain.errors import Invalid
from sharewell.domain.notes import VerifierKey, parse_vkey
from sharewell.domain.trust import TrustPolicy, parse_policy


class PolicyProblem(Invalid):
    """A file that the operator named cannot be used; the message says which and why."""


def read_policy(path: Path | None) -> TrustPolicy | None:
    """The trust policy in a file (c2sp.org/tlog-policy); None where none was set. Raises `PolicyProblem`."""
    if path is None:
        return None
    try:
        policy = parse_policy(path.read_bytes())
    except OSError as why:
        raise PolicyProblem(f"SHAREWELL_LOG_POLICY: {path} cannot be read: {why.strerror}.") from None
    except Invalid as why:
        raise PolicyProblem(f"SHAREWELL_LOG_POLICY: {path}: {why.message}") from None
    for witness in policy.witnesses:
        if witness.url and not witness.url.startswith(("https://", "http://")):
            raise PolicyProblem(f"SHAREWELL_LOG_POLICY: {path}: the witness {witness.name} has no http address.")
    return policy


def own_policy(path: Path | None, home: Path) -> TrustPolicy:
    """What this node hands out with its log: the trust policy that was set, and the keys of log receipts in `home`.

    Raises `PolicyProblem`.
    """
    policy = read_policy(path) or TrustPolicy()
    files = sorted(home.glob(f"{RECEIPT_NAME}*.vkey"))
    keys = [parse_vkey(file.read_text(encoding="ascii").strip()) for file in files]
    known = {key.public for key in policy.receipt_keys}
    return replace(policy, receipt_keys=policy.receipt_keys + tuple(key for key in keys if key.public not in known))


def read_witnessed(path: Path | None) -> list[VerifierKey]:
    """The keys of the logs that this node witnesses, a vkey a line; none where no file was set.

    Raises `PolicyProblem`.
    """
    if path is None:
        return []
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        return [parse_vkey(line) for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as why:
        raise PolicyProblem(f"SHAREWELL_WITNESS_LOGS: {path} cannot be read: {why}.") from None
    except Invalid as why:
        raise PolicyProblem(f"SHAREWELL_WITNESS_LOGS: {path}: {why.message}") from None

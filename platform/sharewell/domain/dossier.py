"""Everything one decision was made from, in one file: its bundle, the policies that were asked, forecasts behind it.

Nothing in it is trusted for standing there: the policies are named by the entry's hash, the inputs by hashes in the
entry, each forecast by those of its own entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sharewell.domain.audit import Decision, parse_entry
from sharewell.domain.bundle import FORMAT as BUNDLE
from sharewell.domain.bundle import Bundle, parse_bundle
from sharewell.domain.errors import Invalid
from sharewell.domain.policy import read_policy_set_list

FORMAT: Final = "sharewell-dossier/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """What the file holds."""

    bundle: bytes
    policies: Mapping[str, str] = field(default_factory=dict)  #: policy files and the list of them, by SHA-256
    forecasts: tuple[Mapping[str, Any], ...] = ()  #: evidence of each forecast, as `sharewell forecast rerun` reads it

    @property
    def contents(self) -> Bundle:
        """The bundle. Raises `MalformedBundle`."""
        return parse_bundle(self.bundle)

    @property
    def decision(self) -> Decision:
        """What was decided. Raises `NotADecision`."""
        return parse_entry(self.contents.entry)

    def encode(self) -> bytes:
        """As JSON, in a single line."""
        body = {
            "format": FORMAT, "bundle": self.bundle.decode(), "policies": dict(self.policies),
            "forecasts": [dict(each) for each in self.forecasts],
        }  # fmt: skip
        return json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def policy_files(self) -> dict[str, bytes] | None:
        """The files of the policy set that the entry names, by name; None where they did not come along.

        Raises `Invalid` where what came along is not what its hash says.
        """
        for sha256, text in self.policies.items():
            if hashlib.sha256(text.encode()).hexdigest() != sha256:
                raise Invalid(f"the policy file {sha256[:12]} has another SHA-256.", field="policies")
        listed = self.policies.get(self.decision.policy_set)
        if listed is None:
            return None
        try:
            names = read_policy_set_list(listed.encode())
            return {name: self.policies[sha256].encode() for name, sha256 in names.items()}
        except (KeyError, ValueError) as why:
            raise Invalid(f"the policy set did not come along whole: {why}.", field="policies") from None


def read_dossier(data: bytes) -> Dossier:
    """Read a dossier, or a plain bundle as one without policies and forecasts. Raises `Invalid`."""
    try:
        body = json.loads(data)
        if body["format"] == BUNDLE:
            return Dossier(bundle=data)
        if body["format"] != FORMAT:
            raise Invalid(f"the format is neither {FORMAT} nor {BUNDLE}.", field="format")
        return Dossier(
            bundle=body["bundle"].encode(), policies={str(k): str(v) for k, v in body["policies"].items()},
            forecasts=tuple(body["forecasts"]),
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError) as why:
        raise Invalid(f"the file is no dossier and no bundle: {why}.", field="file") from None

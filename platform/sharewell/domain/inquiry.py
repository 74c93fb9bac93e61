"""What the policies were asked. It stands in the entry of each decision, so that they can be asked again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sharewell.domain.errors import Invalid
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller, Role

if TYPE_CHECKING:
    from sharewell.domain.audit import Decision
    from sharewell.domain.canonical import Json

ASKED: Final = "asked"  #: the member of an entry's details
_PARTIES: Final = ("owner", "giver", "receiver")
_OF_TOKEN: Final = ("purpose", "sender_constrained", "proof_required")
_REGIONS: Final = ("region", "giver_region", "receiver_region")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """May `caller` do `action` to `target`, with what is known of the moment?"""

    caller: Caller
    action: Action
    target: Target
    context: Mapping[str, str] = field(default_factory=dict)
    token_told: bool = True  #: False for an old entry, which says nothing of the token's purpose, key and proof

    def to_json(self) -> dict[str, Json]:
        """All that an entry does not say already: who asked and for what is in its `actor` and `action`."""
        named = (*_PARTIES, *_REGIONS)
        told = {name: str(what) for name in named if (what := getattr(self.target, name)) is not None}
        shared = {"shared_with": sorted(map(str, self.target.shared_with))} if self.target.shared_with else {}
        if self.target.author is not None:
            told["author"] = self.target.author
        bounds: dict[str, Json] = {"jurisdiction": sorted(self.caller.jurisdiction)} if self.caller.jurisdiction else {}
        return {
            **bounds,
            "roles": sorted(self.caller.roles),
            "scopes": sorted(self.caller.scopes),
            "institution": None if self.caller.institution is None else str(self.caller.institution),
            "target": {"kind": self.target.kind, "id": self.target.id, **told, **shared},
            "context": dict(self.context),
            "token": {
                "purpose": self.caller.purpose, "sender_constrained": self.caller.sender_constrained,
                "proof_required": self.caller.proof_required,
            },
        }  # fmt: skip

    @classmethod
    def of(cls, decision: Decision) -> Inquiry | None:
        """The inquiry that led to `decision`; None where no policy was asked, or its entry does not tell.

        Raises `Invalid` for one that this release cannot ask: an act, role or kind of thing it does not know.
        """
        told: Any = decision.details.get(ASKED)
        if told is None:
            return None
        try:
            target, institution, token = told["target"], told["institution"], told.get("token")
            caller = Caller(
                principal=decision.actor, roles=frozenset(map(Role, told["roles"])),
                institution=None if institution is None else UUID(institution), scopes=frozenset(told["scopes"]),
                jurisdiction=frozenset(told.get("jurisdiction", ())),
                **({} if token is None else {name: token[name] for name in _OF_TOKEN}),
            )  # fmt: skip
            parties = {name: UUID(target[name]) for name in _PARTIES if name in target}
            regions = {name: str(target[name]) for name in _REGIONS if name in target}
            return cls(
                caller=caller, action=Action(decision.action), context=dict(told["context"]),
                target=Target(
                    kind=target["kind"], id=target["id"], author=target.get("author"), **parties,
                    region=regions.get("region"), giver_region=regions.get("giver_region"),
                    receiver_region=regions.get("receiver_region"),
                    shared_with=frozenset(map(UUID, target.get("shared_with", ()))),
                ),
                token_told=token is not None,
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as why:
            raise Invalid(f"the entry does not hold an inquiry that can be made here: {why}.", field=ASKED) from None

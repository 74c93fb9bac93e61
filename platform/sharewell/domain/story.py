"""A decision in one sentence, as a step in the story of a request, its plans and its transfers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sharewell.domain.audit import KINDS

if TYPE_CHECKING:
    from sharewell.domain.audit import Decision

#: By kind. Names in braces are details of the entry; `actor`, `action` and `who`, the institution, are its own.
SENTENCES: Final[Mapping[str, str]] = {
    "offer.published": "{who} pledged {quantity} units of {resource}.",
    "offer.withdrawn": "{who} withdrew its pledge; {promised} units stay promised.",
    "request.opened": "{who} asked for {requested} units of {resource}, urgency {urgency} of 5, because of {reason}.",
    "request.cancelled": "{who} took its request back.",
    "request.expired": "The request of {who} for {requested} units ran out.",
    "plan.adopted": "A plan for {resource} in {region} became binding: {assigned} of {needed} units, by {rule}.",
    "urgent_plan.adopted": "The urgent request was answered at once: {assigned} of {needed} units, by {rule}.",
    "schedule.adopted": "A schedule for {days} days in {region} became binding for today: {held} of the {moved} units "
    "that it moves are held.",
    "plan.answered": "{who} answered its holds in the plan: {confirmed} confirmed, {declined} declined.",
    "plan.overridden": "{actor} departed from the plan on purpose: {kind} by the code {code}.",
    "deviation.detected": "What was done is not what was adopted ({kind}): {adopted} units adopted, {moved} moved, "
    "from {giver} to {receiver}.",
    "transfer.confirmed": "{giver} stands by {quantity} units of {resource} for {receiver}.",
    "transfer.declined": "{giver} took back {quantity} units of {resource} for {receiver}: {reason}.",
    "transfer.expired": "The hold of {quantity} units of {resource} from {giver} for {receiver} ran out.",
    "transfer.dispatched": "{units} units of {resource} left {giver} for {receiver}; {quantity} were adopted.",
    "transfer.received": "{units} units of {resource} from {giver} arrived at {receiver}.",
    "transfer.return_due": "The loan of {quantity} units of {resource} from {giver} to {receiver} is due back.",
    "transfer.returned": "{quantity} units of {resource} are back at {giver} from {receiver}.",
    "access.refused": "{actor} was refused {action}.",
}
_UNTOLD: Final = "(not told)"


def sentence(decision: Decision, names: Mapping[str, str]) -> str:
    """What happened, in words; `names` are those of institutions, by id."""
    form = SENTENCES.get(decision.kind)
    return KINDS.get(decision.kind, decision.kind) if form is None else form.format_map(_Told(decision, names))


class _Told(dict[str, str]):
    """The words of one decision; what its entry leaves out reads as not told."""

    def __init__(self, decision: Decision, names: Mapping[str, str]) -> None:
        told: dict[str, Any] = dict(decision.details)
        fairness = told.get("fairness")
        if isinstance(fairness, Mapping):
            told["rule"] = fairness.get("rule")
        told |= {"actor": decision.actor, "action": decision.action, "who": decision.institution or decision.actor}
        super().__init__(
            (name, names.get(str(value), str(value))) for name, value in told.items() if value not in (None, "")
        )

    def __missing__(self, name: str) -> str:
        return _UNTOLD

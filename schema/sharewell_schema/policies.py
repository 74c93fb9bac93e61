"""The rules in force, in the API."""

from __future__ import annotations

from typing import Any

import strawberry

from sharewell_schema.context import Info
from sharewell_schema.describe import field, query


@strawberry.type(description="One policy.")
class Policy:
    id: str = field("Its name, as decisions on record give it.")
    sentence: str = field("What it says, in a sentence.")
    effect: str = field("`permit` or `forbid`; a forbid outweighs every permit.")
    actions: list[str] = field("The acts it speaks of.")
    file: str = field("The file it stands in.")


@strawberry.type(description="All policies in force.")
class PolicySet:
    sha256: str = field("The hash that names the set in every decision.", name="sha256")
    policies: list[Policy] = field("Each policy, by name.")


@strawberry.type
class PolicyQueries:
    @query("The policies in force.")
    async def policy_set(self, info: Info) -> PolicySet | None:
        sha256, policies = await info.context.services.policies.in_force(info.context.caller)
        return PolicySet(sha256=sha256, policies=[shown_policy(policy) for policy in policies])


def shown_policy(policy: Any) -> Policy:
    """A policy as the API has it."""
    return Policy(
        id=policy.id, sentence=policy.sentence, effect=policy.effect,
        actions=sorted(str(action) for action in policy.actions), file=policy.file,
    )  # fmt: skip

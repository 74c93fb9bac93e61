"""Put the release's policies and signing keys on record when they come into force, and tell which are in force."""

from __future__ import annotations

import hashlib
from uuid import UUID

from sharewell.authz import Policy
from sharewell.domain.audit import Json
from sharewell.domain.policy import MANY, Action, Target, policy_set_list
from sharewell.domain.principals import Caller
from sharewell.services.office import Act, Office
from sharewell.store.artifacts import keep_artifact
from sharewell.store.audit import DecisionFilter

NEWEST = UUID(int=2**128 - 1)
START_LOCK = "select pg_advisory_xact_lock(hashtextextended('sharewell start', 0))"


class PolicyService:
    """Which rules are in force."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def publish(self, caller: Caller) -> bool:
        """Record that the loaded policies come into force, unless they already are; tell whether they are new."""
        authz = self._office.authz
        target = Target(kind="policy", id=authz.policy_set)
        kept = {name: hashlib.sha256(data).hexdigest() for name, data in authz.files.items()}
        async with self._office.act(caller, Action.PUBLISH_POLICY, target) as act:
            # Of several replicas that start at once, one records.
            await act.tx.conn.execute(START_LOCK)
            # Also where they are on record already: a set that came into force before sets were kept is kept now.
            for data in (policy_set_list(authz.files), *authz.files.values()):
                await keep_artifact(act.tx.conn, "policy", data)
            latest = await act.tx.audit.page(before=NEWEST, matching=DecisionFilter(kind="policy.published"), first=1)
            if latest.items and latest.items[0].subject_id == authz.policy_set:
                return False
            said: dict[str, Json] = {"policies": sorted(authz.policies), "files": kept}
            await act.record("policy.published", "policy", authz.policy_set, said)
            return True

    async def key_in_use(self, caller: Caller, kid: str, use: str) -> bool:
        """Record that a signing key came into use, unless that is on record; tell whether it is new."""
        async with self._office.act(caller, Action.ROTATE_KEY, Target(kind="key", id=kid)) as act:
            await act.tx.conn.execute(START_LOCK)
            if await _on_record(act, kid):
                return False
            details: dict[str, Json] = {"use": use}
            await act.record("key.rotated", "key", kid, details)
            return True

    async def in_force(self, caller: Caller) -> tuple[str, tuple[Policy, ...]]:
        """The hash of the policies in force, and each of them."""
        await self._office.allow(caller, Action.VIEW_POLICY, Target(kind="policy", id=MANY))
        authz = self._office.authz
        return authz.policy_set, tuple(authz.policies[name] for name in sorted(authz.policies))


async def _on_record(act: Act, kid: str) -> bool:
    matching = DecisionFilter(kind="key.rotated", subject_kind="key", subject_id=kid)
    return bool((await act.tx.audit.page(before=NEWEST, matching=matching, first=1)).items)

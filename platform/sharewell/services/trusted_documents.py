"""Say which GraphQL documents a client may send, and tell it to the gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.trusted_documents import TrustedDocuments
from sharewell.services.access import AccessService, Refusal
from sharewell.services.act import Done
from sharewell.services.office import Office
from sharewell.store.answered import Wish


class TrustedDocumentService:
    """What clients may send."""

    def __init__(self, office: Office, access: AccessService) -> None:
        self._office, self._access = office, access

    async def trust(
        self, caller: Caller, client_id: str, texts: Sequence[str], wish: Wish | None = None
    ) -> Done[TrustedDocuments]:
        """From now on the client may send `texts` and nothing else; with none, anything again.

        Raises `NotFound` for an unknown client, `Invalid` for too many texts.
        """
        target = await self._target(client_id)
        async with self._office.act(caller, Action.TRUST_DOCUMENTS, target, wish) as act:
            if act.repeated:
                return act.again(TrustedDocuments)
            client = await act.tx.clients.get(client_id)
            await act.tx.trusted_documents.alone(client_id)
            before = await act.tx.trusted_documents.in_force(client_id)
            act.check_as_read(None if before is None else before.changed_by)
            trusted = TrustedDocuments.of(client_id, texts, at=act.at)
            decision = await act.record(
                "documents.trusted", "client", client_id, {"documents": sorted(trusted.texts)},
                institution=client.institution,
            )  # fmt: skip
            await act.tx.trusted_documents.add(trusted, decision)
            return await act.done(trusted, decision)

    async def of(self, caller: Caller, client_id: str) -> TrustedDocuments | None:
        await self._office.allow(caller, Action.VIEW_CLIENT, await self._target(client_id))
        return await self._in_force(client_id)

    async def texts_of(self, client_id: str) -> Mapping[str, str]:
        """By name, what the client may send; empty where that is anything. For the gateway."""
        trusted = await self._in_force(client_id)
        return {} if trusted is None else trusted.texts

    async def refused(self, caller: Caller, name: str) -> None:
        """Put on record that the caller's client sent a document that it may not send."""
        refusal = Refusal(
            reason="untrusted_document", actor=caller.principal, client_id=caller.client_id,
            details={"document": name}, request_id=caller.request_id,
        )  # fmt: skip
        await self._access.refused(refusal)

    async def _in_force(self, client_id: str) -> TrustedDocuments | None:
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.trusted_documents.in_force(client_id)

    async def _target(self, client_id: str) -> Target:
        async with self._office.database.transaction(read_only=True) as tx:
            client = await tx.clients.find(client_id)
        return Target(kind="client", id=client_id, owner=client.institution if client else None)

"""What the log promises and proves of itself, and what this node as a witness did not cosign of others."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell_schema.audit import word
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, field, query
from sharewell_schema.paging import Connection, connection, how_many, read_place
from sharewell_schema.stretch import Stretch

NEWEST_NUMBER = 2**63 - 1


@strawberry.type(description="What the log promised of one decision, and how it kept that.")
class LogReceipt:
    receipt: str = strawberry.field(
        resolver=lambda self: self.receipt.decode(), description="The signed promise; the mutation answered with it."
    )
    merge_by: datetime = field("By when the decision must be in a signed tree.")
    log_index: int | None = field("Its place in the log; null until it is sealed.")
    proof: str | None = strawberry.field(
        resolver=lambda self: None if self.proof is None else self.proof.decode(),
        description="A proof that it is in a signed tree, as c2sp.org/tlog-proof has it; null until it is.",
    )


REFUSAL_REASONS = "`fork` is proof against the log that signed both; `rollback` is a smaller tree than was cosigned."


@strawberry.type(description="A checkpoint of another log that this node, as its witness, did not cosign.")
class WitnessRefusal:
    at: datetime = field("When it was refused.")
    origin: str = field("Name of the log that signed it.")
    reason: str = field(REFUSAL_REASONS)
    known_size: int = field("Entries in the tree that was cosigned before.")
    known_checkpoint: str = strawberry.field(
        resolver=lambda self: self.known_note.decode(), description="What was cosigned before, as it was signed."
    )
    request: str = strawberry.field(
        resolver=lambda self: base64.b64encode(self.request).decode(),
        description="The whole request, with the checkpoint that was refused, in base64.",
    )


@strawberry.type
class LogQueries:
    @query("What the log promised of a decision, and the proof that it kept it. Recorded like reading the decision.")
    async def log_receipt(
        self, info: Info, decision: Annotated[UUID, argument("Which decision.")]
    ) -> LogReceipt | None:
        return shown(LogReceipt, await info.context.services.audit.receipt(info.context.caller, decision))

    @query("What this node refused to cosign as a witness of other logs, newest first. The reading is put on record.")
    async def witness_refusals(
        self, info: Info,
        origin: Annotated[str | None, argument("Only of the log with this name.")] = None,
        *, stretch: Stretch,
    ) -> Connection[WitnessRefusal] | None:  # fmt: skip
        page = await info.context.services.witness.refusals(
            info.context.caller, before=read_place(stretch, _number_of, NEWEST_NUMBER), origin=word(origin, "origin"),
            first=how_many(info, stretch),
        )  # fmt: skip
        return connection(WitnessRefusal, page, stretch, lambda refusal: refusal.id.to_bytes(8, "big"))


def _number_of(key: bytes) -> int:
    if len(key) != 8:
        raise ValueError(key)
    return min(int.from_bytes(key, "big"), NEWEST_NUMBER)

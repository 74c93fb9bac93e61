"""What all mutations share: an idempotency key that makes a repeated wish one deed, and a receipt for the deed."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
import strawberry

from sharewell.domain import checks
from sharewell.domain.capacity import camel
from sharewell.domain.errors import Invalid
from sharewell.domain.remarks import MOST_CHARACTERS
from sharewell.domain.subjects import Person
from sharewell.services.act import Done
from sharewell.store.answered import Wish

LONGEST_KEY = 200
KEY = (
    f"Names this wish, 1 to {LONGEST_KEY} characters of your choice. The same key with the same input gets the same "
    "answer and nothing is done twice, so after a lost connection send it again; with another input it is a CONFLICT."
)
REMARK = (
    f"Free text beside the code, up to {MOST_CHARACTERS} characters, for people. It is no reason by itself, stays out "
    "of the log, which has only its salted hash, and can be removed; name nobody in it all the same."
)

#: Fields that say how something is asked for, not what: no part of what a key stands for.
APART = frozenset({"idempotency_key", "on_behalf_of"})
#: Metadata of a field that inputs of the release before do not have. At its default it is no part of what a key stands
#: for either, so that a wish sent again after an upgrade is the one of before.
LATER = "later"
BEHALF = (
    "The person for whom the program acts, if it acts for one. The details are sealed in the decision on record under "
    "a key of the person's own, which can be erased; only regulators open them. The same idempotency key with another "
    "person is the same wish."
)

SEEN = (
    "The decision that changed it last, as you read it (`changedById`); if another has changed it since, nothing is "
    "done and the answer is CONFLICT. By default it is changed as it is."
)

NONE = (
    "Only if there is none yet, as you found: if somebody else was the first meanwhile, nothing is done and the answer "
    "is CONFLICT. Not together with `ifChangedBy`, which says what there was."
)

Payload = TypeVar("Payload")


async def _log_receipt(self: Any, info: strawberry.Info[Any, None]) -> str:
    receipt: bytes = await info.context.services.audit.receipt_of(self.id)
    return receipt.decode()


@strawberry.type(description="The decision on record for what was done.")
class Receipt:
    id: UUID = strawberry.field(description="Identifier of the decision in the audit log; see `decision`.")
    at: datetime = strawberry.field(description="When it was decided.")
    log_receipt: str = strawberry.field(
        resolver=_log_receipt,
        description="The log's signed promise to hold the decision by a given time. Keep it: if the log does not, it "
        "is proof against its operator. `logReceipt` has the proof that it was kept.",
    )


@strawberry.input(description="A person for whom a program acts, as its institution knows the person.")
class OnBehalfOf:
    identifier: str = strawberry.field(
        description="What your institution calls the person, such as a staff number; the same in each mutation."
    )
    name: str | None = strawberry.field(description="The person's name.", default=None)
    email: str | None = strawberry.field(description="The person's e-mail address.", default=None)


def key_field() -> Any:
    """The field every mutation's input begins with."""
    return strawberry.field(description=KEY)


def person_field() -> Any:
    """The field every mutation's input has next."""
    return strawberry.field(description=BEHALF, default=None)


def seen_field() -> Any:
    """The field that comes third where something is changed that clients may have read."""
    return strawberry.field(description=SEEN, default=None)


def none_field() -> Any:
    """The field that follows where what is changed may not be there yet."""
    return strawberry.field(description=NONE, default=False, metadata={LATER: True})


def wish(operation: str, asked: Any, *, personal: Container[str] = ()) -> Wish:
    """What the input `asked` of a mutation wishes for, by its key. Raises `Invalid` for what cannot be stored.

    Fields that are `personal` are left out of the hash that is kept: it outlives the person's details.
    """
    checks.text(asked.idempotency_key, "idempotencyKey", most=LONGEST_KEY)
    seen, none = getattr(asked, "if_changed_by", None), getattr(asked, "if_none", False)
    if none and seen is not None:
        raise Invalid("ifNone says that there is none, and ifChangedBy what changed it; give one.", field="ifNone")
    content = {
        f.name: getattr(asked, f.name) for f in fields(asked)
        if f.name not in APART and f.name not in personal
        and not (LATER in f.metadata and getattr(asked, f.name) == f.default)
    }  # fmt: skip
    _refuse_nul(content, "")
    try:
        body = orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError as error:
        raise Invalid(f"the input cannot be written as JSON: {error}.", field="input") from None
    return Wish(
        key=asked.idempotency_key, operation=operation, input_sha256=hashlib.sha256(body).hexdigest(),
        on_behalf_of=_person(asked.on_behalf_of), if_changed_by=seen, if_none=none,
    )  # fmt: skip


def _person(given: OnBehalfOf | None) -> Person | None:
    return None if given is None else Person.named(given.identifier, given.name, given.email)


def paid(kind: type[Payload], done: Done[Any], **nouns: object) -> Payload:
    """The payload of a mutation: what became of its nouns, and the receipt."""
    made: Any = kind
    payload: Payload = made(**nouns, decision=Receipt(id=done.decision, at=done.at))
    return payload


def _refuse_nul(value: object, path: str) -> None:
    """PostgreSQL stores every text but one with the character NUL."""
    if isinstance(value, str) and "\0" in value:
        raise Invalid("a text has the character NUL; send plain text.", field=path)
    if is_dataclass(value):
        value = {camel(f.name): getattr(value, f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _refuse_nul(inner, f"{path}.{camel(name)}".lstrip("."))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _refuse_nul(inner, f"{path}.{place}")

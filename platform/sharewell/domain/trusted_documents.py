"""Trusted documents: the GraphQL operations that a client may send, registered beforehand; it sends nothing else then.

What they say is checked where GraphQL is known; here a document is a text with a name of its own, its SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sharewell.domain.audit import UNDECIDED
from sharewell.domain.errors import Invalid

MOST = 200  #: documents of one client
MOST_BYTES = 512 * 1024  #: of all of them together


def document_name(text: str) -> str:
    """The SHA-256 of a document's UTF-8 bytes, in 64 hex digits, by which clients may send it."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedDocuments:
    """All that one client may send, as of a moment; with none it may send anything."""

    client_id: str
    texts: Mapping[str, str]  #: by name, see `document_name`
    trusted_at: datetime
    changed_by: UUID = UNDECIDED  #: the decision that gave the list

    @classmethod
    def of(cls, client_id: str, texts: Sequence[str], *, at: datetime) -> TrustedDocuments:
        """Take `texts` in, or raise `Invalid`."""
        if len(texts) > MOST:
            raise Invalid(f"documents has {len(texts)} entries; give at most {MOST}.", field="documents")
        if sum(len(text.encode()) for text in texts) > MOST_BYTES:
            raise Invalid(f"documents has more than {MOST_BYTES} bytes; give shorter or fewer.", field="documents")
        named = {document_name(text): text for text in texts}
        return cls(client_id=client_id, texts=named, trusted_at=at)

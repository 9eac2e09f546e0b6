"""What the REST API takes and gives, where `contracts` does not say it already."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Discriminator, Field, StringConstraints, Tag

from contracts.base import Instant, Message
from contracts.requests import Code, DecisionKind, GivenIdentifier, Identity, Name, Right, SealedMessage
from contracts.status import StatusDocument


class NewRequest(Message):
    """A request that the console signs and seals: the payload of `RequestSubmitted`, with defaults."""

    request_id: UUID | None = None
    """Made here where it is missing."""
    right: Right
    controller: Name | None = None
    """The only controller of `role: controller` where it is missing."""
    received_on: date | None = None
    """Today, in the controller's local time, where it is missing."""
    issued_at: Instant | None = None
    """Taken for the payload's sake, and not used: the console signs now."""
    identity: Identity
    export_first: bool = False
    identifiers: Annotated[tuple[GivenIdentifier, ...], Field(min_length=1, max_length=100)]


def _form(body: Any) -> str:
    return "sealed_message" if isinstance(body, dict) and "sealed" in body else "plain"


AnyRequest = Annotated[
    Annotated[SealedMessage, Tag("sealed_message")] | Annotated[NewRequest, Tag("plain")], Discriminator(_form)
]
"""Signed and sealed by a publisher, or for the console to sign."""


class NewDecision(Message):
    """A decision. Who decided is the token's principal; fields as in `contracts.requests.Amendment`."""

    decision_id: UUID | None = None
    """Made here where it is missing. The same id is applied once, so a call may be made again."""
    decision: DecisionKind
    reason: Code
    store: Name | None = None
    category: Name | None = None
    basis: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    until: date | None = None
    on: date | None = None
    method: Code | None = None
    note: Annotated[str, StringConstraints(max_length=4000)] | None = Field(default=None, repr=False)


class Accepted(BaseModel):
    """A request was taken, or would be. Whether it opens a saga, the coordinator says."""

    request_id: UUID
    controller: Name | None
    """With `received_on`: as understood; null for a sealed request, which was not opened."""
    received_on: date | None
    status_url: str


class DecisionAccepted(BaseModel):
    """A decision was handed on. The journal says what came of it."""

    request_id: UUID
    decision_id: UUID


class RequestPage(BaseModel):
    """Some requests, nearest deadline first and closed ones last."""

    requests: list[StatusDocument]
    next: str | None
    """Cursor of the next page."""


class JournalEntry(BaseModel):
    """A transition: `hash` is over `previous`, so that none can be changed or lost unseen."""

    seq: int
    at: datetime
    entry: dict[str, Any]
    previous: str
    hash: str


class Journal(BaseModel):
    """All that happened to a request, oldest first."""

    request_id: UUID
    entries: list[JournalEntry]


class DeadLetter(BaseModel):
    """What is known of a message that could not be handled. Its content stays sealed."""

    id: int
    consumer: str
    topic: str
    partition: int
    offset: int
    reason: str
    request_id: UUID | None
    at: datetime


class DeadLetterPage(BaseModel):
    """Some dead letters, newest first."""

    dead_letters: list[DeadLetter]
    next: int | None
    """Cursor of the next page."""

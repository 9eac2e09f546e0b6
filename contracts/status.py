"""How a request stands, for whoever follows the status topic."""

from datetime import date
from enum import StrEnum
from typing import Literal
from uuid import UUID

from contracts.base import Instant, Message
from contracts.reports import Level, Locked, Retained
from contracts.requests import Code, DecisionKind, Name, Right


class Phase(StrEnum):
    """Where a request is on its way (DESIGN §1)."""

    RECEIVED = "received"
    IDENTITY_CHECK = "identity_check"
    WAITING = "waiting"
    DISCOVERING = "discovering"
    AWAITING_DECISION = "awaiting_decision"
    EXPORTING = "exporting"
    ERASING = "erasing"
    PROVING = "proving"
    NEEDS_ATTENTION = "needs_attention"
    ON_HOLD = "on_hold"
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a closed request ended."""

    COMPLETED = "completed"
    COMPLETED_WITH_RETENTION = "completed_with_retention"
    NOTHING_HELD = "nothing_held"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class StoreState(StrEnum):
    """Where one store is."""

    WAITING = "waiting"
    DISCOVERING = "discovering"
    EXPORTING = "exporting"
    EXPORTED = "exported"
    ERASING = "erasing"
    ERASED = "erased"
    PROVING = "proving"
    PROVED = "proved"
    NOTHING_FOUND = "nothing_found"
    NOT_SEARCHABLE = "not_searchable"
    """We know nothing it could match."""
    BLOCKED = "blocked"


class StatusChanged(Message):
    """The newest state of one request. Readers ignore a revision lower than one they have seen."""

    schema_version: Literal[1] = 1
    request_id: UUID
    revision: int
    right: Right | None
    phase: Phase
    outcome: Outcome | None
    code: Code | None
    """What needs a person, where `phase` is `needs_attention` or `awaiting_decision`."""
    due_on: date
    journal_head: str
    """Hash of the newest journal entry, hexadecimal: fixes the journal's content up to here."""


class StoreStatus(Message):
    """How one store stands within a request."""

    store: Name
    state: StoreState
    level: Level | None = None
    asked_with: tuple[Name, ...] = ()
    found: dict[Name, int] = {}
    """By category, at the last discovery before acting."""
    erased: dict[Name, int] = {}
    remaining: dict[Name, int] = {}
    """By category, what the last look still found after erasing."""
    retained: tuple[Retained, ...] = ()
    locked: tuple[Locked, ...] = ()
    attempts: int = 0
    error: Code | None = None


class AttentionStatus(Message):
    """What needs a person, and what that person may choose."""

    code: Code
    since: Instant
    choices: tuple[DecisionKind, ...]


class BundleStatus(Message):
    """When a portable copy was ready, and until when it can be fetched."""

    ready_on: date
    expires_on: date
    fetched_on: date | None = None


class StatusDocument(Message):
    """`letheia status --json` and `GET /requests/{id}`. `days_left` is counted when it is read."""

    request_id: UUID
    right: Right | None
    phase: Phase
    outcome: Outcome | None
    revision: int
    controller: Name | None
    our_role: str | None
    publisher: Name | None
    attention: AttentionStatus | None
    received_on: date
    due_on: date
    strict_due_on: date
    days_left: int | None = None
    """To the strict date; negative once it has passed; null when stored."""
    extended: bool = False
    informed_on: date | None = None
    stores: tuple[StoreStatus, ...] = ()
    bundle: BundleStatus | None = None
    trace_id: str | None = None

"""How a request stands, for whoever follows the status topic."""

from datetime import date
from enum import StrEnum
from typing import Literal
from uuid import UUID

from contracts.base import Message
from contracts.requests import Code, Right


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

"""What reaches a saga. Reports come as `contracts.reports.TaskReported`, verified against the subject key."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from contracts.requests import Amendment, Right


@dataclass(frozen=True, slots=True)
class Opened:
    """A valid submission. Its identifiers are in the vault already."""

    request_id: UUID
    right: Right
    controller: str
    role: str
    publisher: str
    received_on: date
    export_first: bool
    identity_verified: bool
    auto_approve: bool
    term_days: int | None
    persons: int
    """Person identifiers given."""
    placeholder: bool
    """One of the identifiers is a placeholder, or marks a machine."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A submission that can't be acted on. With a saga under its id already, it is only noted there."""

    request_id: UUID
    code: str
    received_on: date


@dataclass(frozen=True, slots=True)
class Amended:
    """A decision of a person. Its note is sealed apart; the chain of the journal covers the note's hash."""

    amendment: Amendment
    note_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Fired:
    """A timer."""

    kind: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Rival:
    """Another open saga about the same person."""

    request_id: UUID
    right: Right | None
    received_on: date
    opened_at: str
    acted: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """The persons of this saga are locked; these are the others about them."""

    rivals: tuple[Rival, ...]

"""What a connector reports back: counts and codes, never an identifier."""

from datetime import date
from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import NonNegativeInt

from contracts.base import Instant, Message
from contracts.requests import Code, Name
from contracts.tasks import Action


class Result(StrEnum):
    """How a task went."""

    PROGRESS = "progress"
    """Still at it: the coordinator's time-out starts anew."""
    DONE = "done"
    TRANSIENT = "transient"
    """Failed in a way that another attempt may mend."""
    TERMINAL = "terminal"
    """Failed in a way that only a person can mend."""
    REVOKED = "revoked"
    """The permit was withdrawn: nothing more was done."""


class Level(StrEnum):
    """How far erased data is gone."""

    ACCEPTED = "accepted"
    """The vendor took the order and named a bound."""
    EFFECTIVE = "effective"
    """Nobody can read it any more; discovery finds nothing."""
    PHYSICAL = "physical"
    """Gone from disk and backups by a stated date."""


class Retained(Message):
    """Kept on a declared legal ground (GDPR Art. 17(3))."""

    category: Name
    count: NonNegativeInt
    basis: str
    until: date


class Locked(Message):
    """Held by the store itself, such as an S3 Object Lock: a lock is not a legal ground."""

    category: Name
    count: NonNegativeInt
    until: date | None
    """None: until somebody lifts a legal hold."""


class LearntCount(Message):
    """How many identifiers of a kind this task added to what is known."""

    trusted: NonNegativeInt = 0
    unverified: NonNegativeInt = 0


class ConflictCode(StrEnum):
    """Why rows that matched are not simply the subject's (DESIGN §2)."""

    SHARED_IDENTIFIER = "shared_identifier"
    NOT_ONE_PERSON = "not_one_person"


class Conflict(Message):
    """Rows that a person must judge."""

    code: ConflictCode
    kind: Name
    category: Name
    count: NonNegativeInt


class Member(Message):
    """One file of a bundle, as read back after writing. Its object name holds no identifier."""

    name: str
    category: Name
    size: NonNegativeInt
    """Bytes of the clear content."""
    sha256: str
    """Of the clear content, hexadecimal."""
    review: bool = False
    """Holds a second person's data: left out until `release-bundle`."""
    object: str = ""
    """Where it rests, encrypted, in the bundles' bucket: `{request id}/{round}/{store}/{unique}`."""


class TaskReported(Message):
    """The answer to one `TaskIssued`. `mac` binds it to the request's subject key (`sealing.report_mac`)."""

    schema_version: Literal[1] = 1
    task_id: UUID
    request_id: UUID
    round: int
    attempt: int
    store: Name
    action: Action
    result: Result
    code: Code | None = None
    retry_after_s: float | None = None
    asked_with: tuple[Name, ...] = ()
    """Kinds this store was searched by; empty after `done` means it could not be searched at all."""
    found: dict[Name, NonNegativeInt] = {}
    """By category: rows, objects or records that erasure still has something to do with."""
    erased: dict[Name, NonNegativeInt] = {}
    anonymised: dict[Name, NonNegativeInt] = {}
    retained: tuple[Retained, ...] = ()
    locked: tuple[Locked, ...] = ()
    learnt: dict[Name, LearntCount] = {}
    conflicts: tuple[Conflict, ...] = ()
    level: Level | None = None
    bound_on: Instant | None = None
    """With `accepted`: when the vendor promises to be done at the latest."""
    members: tuple[Member, ...] = ()
    mac: str = ""

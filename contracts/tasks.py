"""What the coordinator asks of a store's connector."""

from enum import StrEnum
from typing import Literal
from uuid import UUID, uuid5

from contracts.base import Instant, Message
from contracts.requests import Name


class Action(StrEnum):
    """What a task asks for. Proof is a `discover` in a later round."""

    DISCOVER = "discover"
    EXPORT = "export"
    ERASE = "erase"


class TaskIssued(Message):
    """One thing to do in one store. Whom it concerns lies sealed in the vault, under the request id."""

    schema_version: Literal[1] = 1
    task_id: UUID
    request_id: UUID
    round: int
    attempt: int
    store: Name
    action: Action
    due_at: Instant
    """The request's strict legal deadline: workers take the nearest first."""


def task_id(request_id: UUID, round_: int, store: str, action: Action, attempt: int) -> UUID:
    """The identity of a task: the same asking always bears the same id, so a task issued again is recognised."""
    return uuid5(request_id, f"{round_}/{store}/{action}/{attempt}")

"""What a saga knows. Ids, names, counts, codes and dates; who it is about lies in the vault."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from contracts.base import Instant
from contracts.reports import Conflict, Level, Locked, Member, Retained
from contracts.requests import DecisionKind, Right
from contracts.status import Outcome, Phase, StoreState
from services.coordinator.saga.deadline import (
    Calendar,
    Deadline,
    Suspension,
    contract_deadline,
    legal_deadline,
    receipt_date,
)


class Frozen(BaseModel):
    """Kept as JSON in the saga's row; an older Letheia ignores fields a newer one wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore")


@dataclass(frozen=True, slots=True)
class Reach:
    """What a store can do for requests in one role, from the inventory."""

    matches: frozenset[str]
    """Kinds it can be searched by."""
    reveals: frozenset[str]
    uses: frozenset[str]
    """Kinds whose news can change its answer: what it matches, and the owners it compares."""


@dataclass(frozen=True, slots=True)
class World:
    """What the inventory says that bears on one saga. Handed in with each message."""

    stores: Mapping[str, Reach]
    person_kinds: frozenset[str]
    calendar: Calendar
    """The controller's."""
    pickup_days: int


class Task(Frozen):
    """A task that is out."""

    id: UUID
    attempt: int
    issued: int = 1
    """How often it was sent."""


class Waiver(Frozen):
    """A person took a store out of the plan: a manual erasure was recorded, or a ground accepted."""

    decision: DecisionKind
    basis: str | None = None
    until: date | None = None
    category: str | None = None


class Store(Frozen):
    """One store within a saga."""

    state: StoreState = StoreState.WAITING
    task: Task | None = None
    retrying: bool = False
    """A timer will start the next attempt."""
    attempts: int = 0
    failures: int = 0
    """Transient ones in this round."""
    error: str | None = None
    waiver: Waiver | None = None
    asked_with: tuple[str, ...] = ()
    looked_in: int = 0
    """The round of its newest discovery: what it found is as of then."""
    found: dict[str, int] = {}
    """At the last discovery before acting."""
    left: dict[str, int] = {}
    """As of the newest report: what erasure still has something to do with."""
    erased: dict[str, int] = {}
    anonymised: dict[str, int] = {}
    retained: tuple[Retained, ...] = ()
    locked: tuple[Locked, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    news: frozenset[str] = frozenset()
    """Kinds it learnt something of in this round."""
    level: Level | None = None
    bound_on: Instant | None = None
    members: tuple[Member, ...] = ()

    @property
    def pending(self) -> bool:
        """True while this round waits for it."""
        return self.retrying or (self.task is not None and self.error is None)

    @property
    def searched(self) -> bool:
        """True if it was looked into."""
        return bool(self.asked_with)

    def within_bound(self, now: datetime) -> bool:
        """True while its vendor may still be carrying an order out."""
        return self.level is Level.ACCEPTED and self.bound_on is not None and now < self.bound_on


class Attention(Frozen):
    """What needs a person."""

    code: str
    since: Instant


class Saga(Frozen):
    """One request."""

    request_id: UUID
    right: Right | None
    controller: str | None
    role: str | None
    publisher: str | None
    received_on: date
    opened_at: Instant
    export_first: bool = False
    auto_approve: bool = False
    term_days: int | None = None
    phase: Phase = Phase.RECEIVED
    outcome: Outcome | None = None
    attention: Attention | None = None
    ending: str | None = None
    """What follows once every task is reported or revoked: `hold`, `withdraw`, `reject`, `restart`."""
    revision: int = 0
    round: int = 0
    discovery_rounds: int = 0
    returns: int = 0
    """Ways back to discovery that no person ordered."""
    polls: int = 0
    partial: bool = False
    """The proving round that is out asks only stores within their vendor's bound."""
    persons: int = 0
    """Person identifiers known."""
    approved_persons: int | None = None
    """Person identifiers known when a person approved."""
    judged_persons: int = 0
    """Person identifiers known when a person said that so many are one person's."""
    placeholder: bool = False
    unverified: int = 0
    identity_verified: bool = True
    identity_asked: tuple[tuple[date, date | None], ...] = ()
    exported: bool = False
    acted: bool = False
    """The first export or erasure was issued."""
    extended: bool = False
    informed_on: date | None = None
    bundle_ready_at: Instant | None = None
    bundle_expires_at: Instant | None = None
    bundle_released: bool = False
    """Members with a second person's data are in it too."""
    decisions: tuple[UUID, ...] = ()
    heard: tuple[UUID, ...] = ()
    """Tasks whose final report was taken."""
    stores: dict[str, Store] = {}

    def active(self) -> Iterator[tuple[str, Store]]:
        """Stores that no person took out of the plan."""
        return ((name, store) for name, store in self.stores.items() if store.waiver is None)

    def settled(self) -> bool:
        """True when no answer is awaited."""
        return not any(store.pending for _, store in self.active())

    def outstanding(self) -> bool:
        """True while some worker may still be at it."""
        return any(store.task is not None for store in self.stores.values())

    @property
    def open(self) -> bool:
        """True until closed."""
        return self.phase is not Phase.CLOSED

    def deadline(self, calendar: Calendar, now: datetime) -> Deadline:
        """The request's deadline as things stand now."""
        if self.term_days is not None:
            return contract_deadline(self.received_on, calendar, self.term_days)
        today = receipt_date(now, calendar)
        asks = [Suspension(asked, answered or max(today, asked)) for asked, answered in self.identity_asked]
        return legal_deadline(self.received_on, calendar, extended=self.extended, suspensions=asks)

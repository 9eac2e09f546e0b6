"""What a store's connector must be able to do: four methods. The file to read first.

Guarantees that every connector gives, and that `tests/conformance` holds it to:

- **Batch first.** A call takes many subjects and answers for each, in their order; one person's failure stands in that
  person's place and never fails the batch.
- **Idempotent.** Any call may be repeated after a crash at any point; what is gone already is no error.
- **Never 'nothing' for 'could not look'.** A missing table, bucket or index is `Terminal`, not an empty answer.
- **Only the subject's.** What matched but is not surely the subject's is `Contested`, counted and left alone; every
  statement carries the subject's scope.
- **Permitted.** `await checkpoint()` comes before every chunk or vendor call; who is not in its answer gets no more
  done and is answered with `Revoked`.
- **Silent.** No identifier in an error, a log or a span.

The connector classifies what happened; the coordinator decides what follows.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from contracts.reports import ConflictCode, Level, Locked, Member, Retained
from services.kit.clock import Clock
from services.kit.inventory import Inventory, Role
from services.kit.settings import Settings


class Standing(StrEnum):
    """What an identifier is good for."""

    TRUSTED = "trusted"
    """Vouched for by the publisher, or reached from there by trusted links."""
    CONFIRMED = "confirmed"
    """A person said that whatever it matches is the subject's."""
    UNVERIFIED = "unverified"
    """Typed freely by a user: waits for a person, nothing is searched by it."""
    SET_ASIDE = "set_aside"
    """A person said to go on without it: nothing is searched by it, proof included."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier. Equal by kind and value; its value is never shown."""

    kind: str
    value: str = field(repr=False)
    standing: Standing = field(default=Standing.TRUSTED, compare=False)
    alone: bool | None = field(default=None, compare=False)
    """For a `shared` kind: a searched table ties it to this person alone (True) or to others too (False)."""

    @property
    def usable(self) -> bool:
        """True if stores may be searched by it."""
        return self.standing in (Standing.TRUSTED, Standing.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data a request reaches: as controller ours alone; as processor one tenant's alone."""

    controller: str
    role: Role
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The person a request is about, as known so far."""

    request_id: UUID
    scope: Scope
    identifiers: frozenset[Identifier]

    def values(self, kind: str) -> frozenset[str]:
        """What to search by: usable identifiers of a kind."""
        return frozenset(i.value for i in self.identifiers if i.kind == kind and i.usable)

    def find(self, kind: str, value: str) -> Identifier | None:
        """The identifier as known, in whatever standing; None if it would be new."""
        return next((i for i in self.identifiers if i.kind == kind and i.value == value), None)

    def usable_kinds(self, kinds: Iterable[str]) -> frozenset[str]:
        """Those of `kinds` that this subject can be searched by."""
        known = {i.kind for i in self.identifiers if i.usable}
        return frozenset(known.intersection(kinds))


@dataclass(frozen=True, slots=True)
class Contested:
    """Rows that `identifier` matched and that may be somebody else's. They are in no other count."""

    code: ConflictCode
    identifier: Identifier
    category: str
    count: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What a store holds on a subject."""

    asked_with: frozenset[str]
    """Kinds it was searched by; empty: nothing known can match in this store."""
    found: Mapping[str, int] = field(default_factory=dict)
    """By category: what erasure still has something to do with (to delete, or to anonymise). No zeros.
    Rows under a running retention that are anonymised as declared are not in it."""
    retained: tuple[Retained, ...] = ()
    """What a declared legal ground keeps, anonymised already or not."""
    locked: tuple[Locked, ...] = ()
    """Of `found`, what the store's own locks would keep."""
    revealed: frozenset[Identifier] = frozenset()
    """Everything the subject's rows reveal, known or new (TRUSTED or UNVERIFIED), and for every `shared` identifier,
    given ones too, whether this store ties it to the subject alone."""
    contested: tuple[Contested, ...] = ()


@dataclass(frozen=True, slots=True)
class Erasure:
    """What erasing did. A failure is never expressed here: it has no count."""

    asked_with: frozenset[str]
    level: Level
    bound_on: datetime | None = None
    """With `Level.ACCEPTED`: when the vendor is done at the latest."""
    erased: Mapping[str, int] = field(default_factory=dict)
    anonymised: Mapping[str, int] = field(default_factory=dict)
    retained: tuple[Retained, ...] = ()
    locked: tuple[Locked, ...] = ()
    found: Mapping[str, int] = field(default_factory=dict)
    """What stays because it reveals something that discovery had not seen (with what it hangs from)."""
    revealed: frozenset[Identifier] = frozenset()
    """What those rows reveal."""
    contested: tuple[Contested, ...] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """Members written to the bundle, as read back."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that `check` found wrong: where, what, and what to do."""

    where: str
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the store can be worked with: as the inventory declares it, and reachable."""

    problems: tuple[Problem, ...] = ()


class StoreFailure(Exception):
    """Why one subject, or a whole call, could not be served. `code` is from a list, never a vendor's text."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Transient(StoreFailure):
    """Another attempt may do: time-outs, 429, 5xx, a lock not got."""

    def __init__(self, code: str, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.retry_after_s = retry_after_s
        """Seconds, where the store named a delay."""


class Terminal(StoreFailure):
    """Only a person can mend it: a missing table, a refused credential, a limit passed."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """This subject's permit was withdrawn on the way."""


class Checkpoint(Protocol):
    """Asked before every chunk or vendor call. Raises `LeaseLost` when another worker has taken over."""

    async def __call__(self) -> frozenset[UUID]:
        """Request ids still permitted. Renews the lease and notes progress."""
        ...


class LeaseLost(Exception):
    """Another worker holds this batch now: stop at once, write nothing."""


class BundleWriter(Protocol):
    """Writes members of one request's portable copy, encrypted, and reads each back."""

    async def write(self, name: str, category: str, content: AsyncIterator[bytes], *, review: bool = False) -> Member:
        """Write one member and read it back. `name` is its path in the bundle and holds no identifier (number them).

        Never overwrites. Raises `Transient` when storage fails or what was read back differs.
        """
        ...


class StoreConnector(Protocol):
    """One store. Methods may also raise `Transient` or `Terminal` when the whole call failed."""

    async def discover(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint
    ) -> Sequence[Findings | Transient | Terminal | Revoked]:
        """What the store holds on each subject. Follows the store's own chain of links to its end."""
        ...

    async def erase(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint
    ) -> Sequence[Erasure | Transient | Terminal | Revoked]:
        """Erase it. Reads again what it is about to erase; dependants go before the record that leads to them."""
        ...

    async def export(
        self, subject: Subject, bundle: BundleWriter, checkpoint: Checkpoint
    ) -> Export | Transient | Terminal | Revoked:
        """Write what Art. 20 covers as members of the bundle."""
        ...

    async def check(self) -> Health:
        """Hold the inventory against the live store."""
        ...


class Connect(Protocol):
    """What each connector's package exposes as `connect`; found by name, so that no driver is imported but the one in
    use."""

    def __call__(
        self, store: str, inventory: Inventory, settings: Settings, clock: Clock
    ) -> AbstractAsyncContextManager[StoreConnector]:
        """Open the store named `store` in the inventory."""
        ...

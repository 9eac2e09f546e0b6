"""One turn of a saga: a message in, a `Decision` out. Collects what the steps decide."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from contracts.status import Outcome, Phase, StoreState
from contracts.tasks import Action, TaskIssued, task_id
from services.coordinator.saga.plan import ACTION, ANSWER_WITHIN, CALL_TIMEOUT
from services.coordinator.saga.state import Attention, Frozen, Saga, Store, Task, World


class Entry(Frozen):
    """A line of the journal."""

    kind: Literal["opened", "phase", "report", "decision", "refused", "timer", "late_report", "returned"]
    code: str | None = None
    store: str | None = None
    actor: str | None = None
    note_hash: str | None = None
    detail: dict[str, Any] = {}
    """Counts, dates and names; never an identifier."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Wakes the saga with `Fired(kind, key)`. One that is set again under the same kind and key replaces the first."""

    kind: str
    due_at: datetime
    key: str = ""


@dataclass(frozen=True, slots=True)
class Permit:
    """Allow one round and action from now on, or nothing."""

    round: int | None
    action: Action | None


@dataclass(frozen=True, slots=True)
class Settle:
    """Identifiers contested for `code` get this standing."""

    code: str
    standing: Literal["confirmed", "set_aside"]


@dataclass(frozen=True, slots=True)
class Provide:
    """A key that is needed from now on."""

    what: Literal["bundle"]


@dataclass(frozen=True, slots=True)
class Forget:
    """What the vault kept goes: the doubts of the last discovery, all about the subject, or the key of the bundle."""

    what: Literal["doubts", "subject", "bundle"]


VaultChange = Permit | Settle | Provide | Forget


@dataclass(frozen=True, slots=True)
class Decision:
    """What the shell does in one transaction, in this order: vault, tasks, timers, entries, saga."""

    saga: Saga
    tasks: tuple[TaskIssued, ...] = ()
    timers: tuple[Timer, ...] = ()
    entries: tuple[Entry, ...] = ()
    vault: tuple[VaultChange, ...] = ()
    claim: bool = False
    """Lock this saga's persons and answer with `Claimed`, in the same transaction."""


class Turn:
    """Holds the saga while it is worked on. Lives for one call of `decide`."""

    def __init__(self, saga: Saga, now: datetime, world: World) -> None:
        self.saga = saga
        self.now = now
        self.world = world
        self.claim = False
        self._tasks: list[TaskIssued] = []
        self._timers: list[Timer] = []
        self._entries: list[Entry] = []
        self._vault: list[VaultChange] = []
        self._before = saga

    def decision(self) -> Decision:
        """What came of it. The revision grows with every change."""
        if self.saga != self._before:
            self.change(revision=self._before.revision + 1)
        return Decision(
            self.saga, tuple(self._tasks), tuple(self._timers), tuple(self._entries), tuple(self._vault), self.claim
        )

    def change(self, **fields: Any) -> None:
        """Set fields of the saga."""
        self.saga = self.saga.model_copy(update=fields)

    def change_store(self, name: str, **fields: Any) -> None:
        """Set fields of one store."""
        store = self.saga.stores.get(name, Store()).model_copy(update=fields)
        self.change(stores={**self.saga.stores, name: store})

    def note(self, entry: Entry) -> None:
        """Journal something."""
        self._entries.append(entry)

    def set_timer(self, kind: str, after: timedelta, key: str = "") -> None:
        """Fire after a while."""
        self._timers.append(Timer(kind, self.now + after, key))

    def set_timer_at(self, kind: str, at: datetime, key: str = "") -> None:
        """Fire at a moment."""
        self._timers.append(Timer(kind, at, key))

    def vault(self, change: VaultChange) -> None:
        """Change what the vault keeps or allows."""
        self._vault.append(change)

    def move(self, phase: Phase, code: str | None = None, **fields: Any) -> None:
        """Enter a phase; whatever needed a person before is settled by that."""
        self.change(phase=phase, attention=None, **fields)
        self.note(Entry(kind="phase", code=code, detail={"phase": phase.value, "round": self.saga.round}))

    def stop(self, code: str, **detail: Any) -> None:
        """A person is needed: nothing is allowed meanwhile."""
        phase = {"approval": Phase.AWAITING_DECISION, "identity": Phase.IDENTITY_CHECK}.get(code, Phase.NEEDS_ATTENTION)
        self.vault(Permit(None, None))
        self.change(phase=phase, attention=Attention(code=code, since=self.now))
        self.note(Entry(kind="phase", code=code, detail={"phase": phase.value, "round": self.saga.round, **detail}))

    def ask(self, names: list[str], state: StoreState) -> None:
        """Begin a round: one task for each store, and the permit for this round alone."""
        action = ACTION[self.saga.phase]
        self.change(round=self.saga.round + 1)
        self.vault(Permit(self.saga.round, action))
        for name in self.saga.stores:
            self.change_store(name, news=frozenset())
        for name in names:
            self.change_store(name, state=state, failures=0, error=None, attempts=0)
            self.attempt(name)

    def attempt(self, name: str) -> None:
        """Issue the next attempt of this round's task to one store."""
        store = self.saga.stores[name]
        attempt = store.attempts + 1
        action = ACTION[self.saga.phase]
        id_ = task_id(self.saga.request_id, self.saga.round, name, action, attempt)
        self.change_store(name, task=Task(id=id_, attempt=attempt), attempts=attempt, retrying=False)
        self._issue(name)

    def reissue(self, name: str) -> None:
        """Send the same task again: the message, or its answer, may be lost."""
        task = self.saga.stores[name].task
        assert task is not None
        self.change_store(name, task=task.model_copy(update={"issued": task.issued + 1}))
        self._issue(name)

    def expect_answer(self, name: str) -> None:
        """Wait for a word from a store: the wait begins anew."""
        task = self.saga.stores[name].task
        assert task is not None
        self.set_timer("answer", ANSWER_WITHIN[task.issued - 1], name)

    def _issue(self, name: str) -> None:
        task = self.saga.stores[name].task
        assert task is not None
        strict = self.saga.deadline(self.world.calendar, self.now).strict_due_at
        self._tasks.append(
            TaskIssued(
                task_id=task.id, request_id=self.saga.request_id, round=self.saga.round, attempt=task.attempt,
                store=name, action=ACTION[self.saga.phase], due_at=strict,
            )
        )  # fmt: skip
        self.expect_answer(name)

    def heard(self, task: UUID) -> None:
        """A task's final report was taken."""
        self.change(heard=(*self.saga.heard, task))

    def end(self, ending: str) -> bool:
        """Withdraw the permit; True if nobody can be at it any more, else what `ending` names comes later."""
        self.vault(Permit(None, None))
        for name, store in self.saga.stores.items():
            if store.retrying:
                self.change_store(name, retrying=False)
        if not self.saga.outstanding():
            self.change(ending=None)
            return True
        if self.saga.ending is None:
            self.set_timer("revocation", CALL_TIMEOUT)
        self.change(ending=ending)
        return False

    def close(self, outcome: Outcome) -> None:
        """Nothing follows: the subject is forgotten."""
        self.move(Phase.CLOSED, outcome.value, outcome=outcome, ending=None)
        self.vault(Forget("subject"))
        if self.saga.bundle_ready_at is None:
            self.vault(Forget("bundle"))  # its members, half written, can't be read again

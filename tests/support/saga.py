"""A saga without IO: one request, stores as plain counts, messages that a test delivers when and how often it likes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from contracts.reports import LearntCount, Level, Result, TaskReported
from contracts.requests import Amendment, DecisionKind, Right
from contracts.status import Phase
from contracts.tasks import Action, TaskIssued
from services.coordinator.saga.deadline import Calendar
from services.coordinator.saga.decide import Message, decide
from services.coordinator.saga.messages import Amended, Claimed, Fired, Opened, Rival
from services.coordinator.saga.state import Reach, Saga, World
from services.coordinator.saga.turn import Decision, Entry, Forget, Permit, Settle, Timer

REQUEST = UUID("019a0000-0000-7000-8000-000000000001")
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
APP, OBJECTS, CRM = "app", "recordings", "crm"

_PERSON = frozenset({"email", "contact_id"})
WORLD = World(
    stores={
        APP: Reach(_PERSON, frozenset({"contact_id", "call_id"}), _PERSON),
        OBJECTS: Reach(frozenset({"call_id"}), frozenset(), frozenset({"call_id"})),
        CRM: Reach(frozenset({"email"}), frozenset({"email"}), frozenset({"email"})),
    },
    person_kinds=_PERSON,
    calendar=Calendar("FR", ZoneInfo("Europe/Paris")),
    pickup_days=14,
)  # fmt: skip


def opened(right: Right = Right.ERASURE, **overrides: object) -> Opened:
    """A submission of our own controller, approved automatically."""
    facts: dict[str, object] = {
        "request_id": REQUEST, "right": right, "controller": "acme", "role": "controller", "publisher": "crm-portal",
        "received_on": date(2026, 11, 1), "export_first": False, "identity_verified": True, "auto_approve": True,
        "term_days": None, "persons": 1, "placeholder": False,
    }  # fmt: skip
    return Opened(**(facts | overrides))  # type: ignore[arg-type]


@dataclass
class Shelf:
    """What one store holds: a number of things, and what they reveal once."""

    things: int = 0
    reveals: dict[str, int] = field(default_factory=dict)
    searchable: bool = True


class Conversation:
    """Holds one saga, the messages on their way, and the permit."""

    def __init__(self, shelves: dict[str, Shelf] | None = None, world: World = WORLD) -> None:
        self.world = world
        self.now = NOW
        self.saga: Saga | None = None
        self.tasks: list[TaskIssued] = []
        self.timers: dict[tuple[str, str], Timer] = {}
        self.journal: list[Entry] = []
        self.settled: list[Settle] = []
        self.permit: Permit = Permit(None, None)
        self.rivals: tuple[Rival, ...] = ()
        self.forgot: list[Forget] = []
        self.shelves = shelves or {
            APP: Shelf(3, {"contact_id": 1, "call_id": 2}), OBJECTS: Shelf(6), CRM: Shelf(1, {"email": 1})
        }  # fmt: skip

    @property
    def now_saga(self) -> Saga:
        """The saga, once opened."""
        assert self.saga is not None
        return self.saga

    @property
    def forgotten(self) -> bool:
        """True once nothing about the subject is kept."""
        return Forget("subject") in self.forgot

    @property
    def attention(self) -> str | None:
        """What needs a person, by its code."""
        return self.now_saga.attention.code if self.now_saga.attention else None

    def tell(self, message: Message) -> Decision:
        """One turn, as the coordinator's shell takes it."""
        decision = decide(self.saga, message, self.now, self.world)
        self.saga = decision.saga
        self.tasks += decision.tasks
        self.journal += decision.entries
        for timer in decision.timers:
            self.timers[timer.kind, timer.key] = timer
        for change in decision.vault:
            if isinstance(change, Permit):
                self.permit = change
            elif isinstance(change, Settle):
                self.settled.append(change)
            elif isinstance(change, Forget):
                self.forgot.append(change)
        if decision.claim:
            return self.tell(Claimed(self.rivals))
        return decision

    def answer(self, task: TaskIssued, **overrides: object) -> TaskReported:
        """What the store's connector would report; it works only where the permit allows, and changes the shelf."""
        facts: dict[str, object] = {
            "task_id": task.task_id, "request_id": task.request_id, "round": task.round, "attempt": task.attempt,
            "store": task.store, "action": task.action, "result": Result.DONE,
        }  # fmt: skip
        if self.permit != Permit(task.round, task.action):
            return TaskReported.model_validate(facts | {"result": Result.REVOKED} | overrides)
        return TaskReported.model_validate(facts | self._work(task) | overrides)

    def _work(self, task: TaskIssued) -> dict[str, object]:
        shelf = self.shelves[task.store]
        asked: dict[str, object] = {"asked_with": ("email",) if shelf.searchable else ()}
        if task.action is Action.EXPORT:
            return asked
        if task.action is Action.ERASE:
            erased, shelf.things = shelf.things, 0
            return asked | {"erased": {"customers": erased} if erased else {}, "level": Level.EFFECTIVE}
        learnt, shelf.reveals = shelf.reveals, {}
        found = {"found": {"customers": shelf.things} if shelf.things and shelf.searchable else {}}
        return asked | found | {"learnt": {kind: LearntCount(trusted=count) for kind, count in learnt.items()}}

    def run(self, until: Iterable[Phase] = (Phase.CLOSED,)) -> Saga:
        """Deliver every task and its report, in order, until one of these phases is reached or nothing moves."""
        while self.tasks and self.now_saga.phase not in until:
            self.tell(self.answer(self.tasks.pop(0)))
        return self.now_saga

    def fire(self, kind: str, key: str = "") -> Decision:
        """Let a timer fire at its time."""
        timer = self.timers.pop((kind, key))
        self.now = max(self.now, timer.due_at)
        return self.tell(Fired(kind, key))

    def decide(self, decision: DecisionKind, **overrides: object) -> Decision:
        """A person's decision."""
        facts: dict[str, object] = {
            "request_id": REQUEST, "decision_id": uuid4(), "decision": decision, "reason": "by_test",
            "decided_by": "dpo", "issued_at": self.now,
        }  # fmt: skip
        return self.tell(Amended(Amendment.model_validate(facts | overrides)))

    def wait(self, span: timedelta) -> None:
        """Let time pass without any timer firing."""
        self.now += span

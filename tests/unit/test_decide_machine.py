"""Any interleaving of messages, doubled, dropped or reordered, leads a saga to its end, and never too early."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.reports import Result, TaskReported
from contracts.requests import DecisionKind as D
from contracts.status import Outcome, Phase
from contracts.tasks import Action
from services.coordinator.saga.messages import Fired
from services.coordinator.saga.plan import CHOICES
from services.coordinator.saga.turn import Permit
from tests.support.saga import APP, CRM, OBJECTS, Conversation, Shelf, opened

GOES_ON = (D.RETRY, D.APPROVE, D.VERIFY_IDENTITY)


class AnyInterleaving(RuleBasedStateMachine):
    """The bus may do what it likes; stores keep what they are told to erase only if erased under a permit."""

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation()
        self.reports: list[TaskReported] = []
        self.erased_before_approval = False

    @initialize(auto=st.booleans(), export_first=st.booleans(), things=st.integers(0, 3), chain=st.integers(0, 2))
    def submit(self, auto: bool, export_first: bool, things: int, chain: int) -> None:
        shelves = {
            APP: Shelf(things, {"call_id": chain} if chain else {}), OBJECTS: Shelf(chain), CRM: Shelf(1)
        }  # fmt: skip
        self.conversation = Conversation(shelves)
        self.conversation.tell(opened(auto_approve=auto, export_first=export_first))

    @property
    def saga(self) -> Any:
        return self.conversation.now_saga

    def tell(self, message: Any) -> None:
        self.conversation.tell(message)

    @precondition(lambda self: self.conversation.tasks)
    @rule(data=st.data(), again=st.booleans(), result=st.sampled_from([Result.DONE] * 4 + [Result.TRANSIENT]))
    def work(self, data: st.DataObject, again: bool, result: Result) -> None:
        """A store works on any task that is on its way, perhaps one it saw before."""
        index = data.draw(st.integers(0, len(self.conversation.tasks) - 1))
        task = self.conversation.tasks[index] if again else self.conversation.tasks.pop(index)
        allowed = self.conversation.permit == Permit(task.round, task.action)
        if allowed and task.action is Action.ERASE and not self.saga.acted:
            self.erased_before_approval = True
        failed = {"result": Result.TRANSIENT} if result is Result.TRANSIENT else {}
        if not failed or not allowed:
            self.reports.append(self.conversation.answer(task, **failed))
        else:
            quiet: dict[str, Any] = {"found": {}, "erased": {}, "learnt": {}, "asked_with": ()}
            shelf = self.conversation.shelves[task.store]
            kept = shelf.things, dict(shelf.reveals)
            self.reports.append(self.conversation.answer(task, **(failed | quiet)))
            shelf.things, shelf.reveals = kept

    @precondition(lambda self: self.reports)
    @rule(data=st.data(), again=st.booleans())
    def deliver(self, data: st.DataObject, again: bool) -> None:
        """Any report arrives, perhaps twice."""
        index = data.draw(st.integers(0, len(self.reports) - 1))
        self.tell(self.reports[index] if again else self.reports.pop(index))

    @precondition(lambda self: self.conversation.tasks)
    @rule()
    def lose(self) -> None:
        """The bus loses a task."""
        self.conversation.tasks.pop()

    @precondition(lambda self: self.conversation.timers)
    @rule(data=st.data())
    def fire(self, data: st.DataObject) -> None:
        """Any timer fires, at its time."""
        kind, key = data.draw(st.sampled_from(sorted(self.conversation.timers)))
        self.conversation.fire(kind, key)

    @rule(kind=st.sampled_from(["answer", "retry", "revocation", "poll", "wake"]), key=st.sampled_from(["", APP, CRM]))
    def fire_stale(self, kind: str, key: str) -> None:
        """A timer that is over fires all the same."""
        if (kind, key) not in self.conversation.timers:
            self.tell(Fired(kind, key))

    @rule(decision=st.sampled_from([D.APPROVE, D.RETRY, D.HOLD, D.RELEASE, D.ACCEPT, D.INFORM]))
    def person(self, decision: D) -> None:
        """A person decides something, offered or not."""
        code = self.saga.attention.code if self.saga.attention else None
        if decision is D.ACCEPT and code != "nothing_found":
            return
        self.conversation.decide(decision)

    @precondition(lambda self: self.conversation.shelves and self.saga.open)
    @rule(store=st.sampled_from([APP, CRM]))
    def write(self, store: str) -> None:
        """An application writes something about the person in between."""
        if not self.saga.acted:
            self.conversation.shelves[store].things += 1

    @invariant()
    def closed_means_proved(self) -> None:
        saga = self.conversation.saga
        if saga is None or saga.outcome not in (Outcome.COMPLETED, Outcome.COMPLETED_WITH_RETENTION):
            return
        assert self.conversation.forgotten
        assert {store.looked_in for store in saga.stores.values()} == {saga.round}, "one round over all stores"
        assert all(store.asked_with and not store.left for store in saga.stores.values())
        assert not any(shelf.things for shelf in self.conversation.shelves.values())

    @invariant()
    def nothing_is_erased_before_it_may(self) -> None:
        assert not self.erased_before_approval
        saga = self.conversation.saga
        if saga and saga.phase in (Phase.CLOSED, Phase.ON_HOLD, Phase.NEEDS_ATTENTION, Phase.AWAITING_DECISION):
            assert self.conversation.permit.action is None or saga.phase is Phase.CLOSED

    def teardown(self) -> None:
        """From wherever it stands, a working bus, time and a person who says go on bring the saga to its end."""
        if self.conversation.saga is None:
            return
        for _ in range(400):
            if not self.saga.open:
                break
            self._one_step()
        assert self.saga.phase is Phase.CLOSED

    def _one_step(self) -> None:
        if self.conversation.tasks:
            self.tell(self.conversation.answer(self.conversation.tasks.pop(0)))
        elif self.reports:
            self.tell(self.reports.pop(0))
        elif self.saga.phase is Phase.ON_HOLD:
            self.conversation.decide(D.RELEASE)
        elif self.saga.attention:
            offered = CHOICES[self.saga.attention.code]
            choice = D.ACCEPT if self.saga.attention.code == "nothing_found" else None
            self.conversation.decide(choice or next(d for d in GOES_ON if d in offered))
            self._fire_next(("revocation",))
        else:
            self._fire_next(("retry", "answer", "revocation", "poll"))

    def _fire_next(self, kinds: tuple[str, ...]) -> None:
        due = [timer for timer in self.conversation.timers.values() if timer.kind in kinds]
        if due:
            first = min(due, key=lambda timer: timer.due_at)
            self.conversation.fire(first.kind, first.key)


AnyInterleaving.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyInterleaving = AnyInterleaving.TestCase

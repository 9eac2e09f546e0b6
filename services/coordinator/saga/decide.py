"""`decide(saga, message, now, world) -> Decision`: everything the coordinator decides passes here.

Pure: equal arguments give equal decisions, nothing is read or written. Redelivered, late and reordered messages are
harmless, because what was heard is part of the saga: a report is known by its task, a decision by its id.
"""

from datetime import datetime, timedelta

from contracts.reports import Result, TaskReported
from contracts.requests import Right
from contracts.status import Phase, StoreState
from contracts.tasks import Action
from services.coordinator.saga import amend, steps
from services.coordinator.saga.messages import Amended, Claimed, Fired, Opened, Refused
from services.coordinator.saga.plan import ANSWER_WITHIN, RETRY_AFTER
from services.coordinator.saga.state import Saga, Store, World
from services.coordinator.saga.turn import Decision, Entry, Forget, Turn

Message = Opened | Refused | Amended | TaskReported | Fired | Claimed


def decide(saga: Saga | None, message: Message, now: datetime, world: World) -> Decision:
    """One turn. `saga` is None for a request id not seen before, which only `Opened` and `Refused` may bring."""
    if isinstance(message, Opened | Refused):
        return _receive(saga, message, now, world)
    assert saga is not None, f"{type(message).__name__} for a request that was never opened"
    turn = Turn(saga, now, world)
    match message:
        case TaskReported():
            _report(turn, message)
        case Amended():
            amend.amend(turn, message)
        case Fired():
            _fire(turn, message)
        case Claimed():
            steps.claimed(turn, message)
    return turn.decision()


def _receive(saga: Saga | None, message: Opened | Refused, now: datetime, world: World) -> Decision:
    """A submission: the first valid one under an id opens the saga; whatever else comes is noted."""
    unread = saga is not None and saga.open and saga.right is None
    if isinstance(message, Refused) and saga is not None:
        turn = Turn(saga, now, world)
        turn.note(Entry(kind="refused", code=message.code))
    elif isinstance(message, Refused):
        turn = Turn(_unread(message, now), now, world)
        turn.stop("invalid_submission", why=message.code)
        _watch_deadline(turn)
    elif saga is not None and not unread:
        turn = Turn(saga, now, world)
        turn.note(Entry(kind="refused", code="other_content"))
    else:
        kept = {"revision", "opened_at", "informed_on", "decisions"} if saga else set()
        fresh = _opened(message, now).model_copy(update={name: getattr(saga, name) for name in kept})
        turn = Turn(fresh, now, world)
        _open(turn, message)
    return turn.decision()


def _unread(message: Refused, now: datetime) -> Saga:
    return Saga(
        request_id=message.request_id, right=None, controller=None, role=None, publisher=None,
        received_on=message.received_on, opened_at=now,
    )  # fmt: skip


def _opened(message: Opened, now: datetime) -> Saga:
    return Saga(
        request_id=message.request_id, right=message.right, controller=message.controller, role=message.role,
        publisher=message.publisher, received_on=message.received_on, opened_at=now,
        export_first=message.export_first and message.right is Right.ERASURE,
        auto_approve=message.auto_approve, term_days=message.term_days, persons=message.persons,
        placeholder=message.placeholder, identity_verified=message.identity_verified,
    )  # fmt: skip


def _open(turn: Turn, message: Opened) -> None:
    turn.note(Entry(kind="opened", actor=message.publisher, detail={"right": message.right.value}))
    _watch_deadline(turn)
    amend.go_on(turn)


def _watch_deadline(turn: Turn) -> None:
    """Warnings and the breach go by the strict date."""
    deadline = turn.saga.deadline(turn.world.calendar, turn.now)
    for number, at in enumerate(deadline.warn_at):
        turn.set_timer_at("warning", at, str(number))
    turn.set_timer_at("breach", deadline.strict_due_at)


def _report(turn: Turn, report: TaskReported) -> None:
    store = turn.saga.stores.get(report.store)
    if report.task_id in turn.saga.heard or not turn.saga.open:
        return
    if store is None or store.task is None or store.task.id != report.task_id:
        if report.result is Result.PROGRESS:
            return
        turn.heard(report.task_id)
        turn.note(_entry("late_report", report))
        _learn(turn, report)
        return
    if report.result is Result.PROGRESS:
        turn.expect_answer(report.store)
        return
    turn.heard(report.task_id)
    turn.note(_entry("report", report))
    turn.change_store(report.store, task=None)
    _take(turn, report, store)
    if turn.saga.ending is not None:
        if not turn.saga.outstanding():
            amend.conclude(turn)
    elif turn.saga.settled() and turn.saga.attention is None:
        steps.after(turn)


def _take(turn: Turn, report: TaskReported, store: Store) -> None:
    """What one store answered."""
    if report.result is Result.DONE:
        turn.change_store(report.store, error=None, **_answer(turn, report, store))
        _learn(turn, report)
    elif report.result is Result.TERMINAL:
        turn.change_store(report.store, error=report.code or "terminal")
    elif turn.saga.ending is None and turn.saga.attention is None:
        _try_again(turn, report, store)


def _learn(turn: Turn, report: TaskReported) -> None:
    """What the vault learnt with a report counts even if the report came too late for anything else."""
    persons = sum(count.trusted for kind, count in report.learnt.items() if kind in turn.world.person_kinds)
    unverified = sum(count.unverified for count in report.learnt.values())
    turn.change(persons=turn.saga.persons + persons, unverified=turn.saga.unverified + unverified)


def _answer(turn: Turn, report: TaskReported, store: Store) -> dict[str, object]:
    news = frozenset(kind for kind, count in report.learnt.items() if count.trusted or count.unverified)
    seen = {"news": news, "conflicts": report.conflicts, "retained": report.retained, "locked": report.locked}
    if report.action is Action.EXPORT:
        names = {member.name for member in report.members}
        kept = tuple(member for member in store.members if member.name not in names)
        return {"state": StoreState.EXPORTED, "members": (*kept, *report.members)}
    if report.action is Action.ERASE:
        return seen | {
            "state": StoreState.ERASED, "left": report.found, "level": report.level,
            "bound_on": report.bound_on, "erased": _sum(store.erased, report.erased),
            "anonymised": _sum(store.anonymised, report.anonymised),
        }  # fmt: skip
    looked = {"asked_with": report.asked_with, "looked_in": report.round, "state": _state(turn.saga, store, report)}
    return seen | looked | {"left": report.found, "found": store.found if turn.saga.acted else report.found}


def _state(saga: Saga, store: Store, report: TaskReported) -> StoreState:
    if not report.asked_with:
        return StoreState.NOT_SEARCHABLE
    if saga.phase is Phase.PROVING:
        return StoreState.PROVING if report.found else StoreState.PROVED
    anything = report.found or report.retained or report.conflicts or store.erased or store.anonymised
    return StoreState.WAITING if anything else StoreState.NOTHING_FOUND


def _try_again(turn: Turn, report: TaskReported, store: Store) -> None:
    """After a transient failure, or a permit that was not there yet: the next attempt, later."""
    if store.failures >= len(RETRY_AFTER):
        turn.change_store(report.store, error=report.code or report.result.value)
        return
    turn.change_store(report.store, failures=store.failures + 1, retrying=True)
    pause = RETRY_AFTER[store.failures]
    named = report.retry_after_s or 0.0
    turn.set_timer("retry", max(pause, timedelta(seconds=named)), report.store)


def _sum(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    return {category: before.get(category, 0) + now.get(category, 0) for category in {*before, *now}}


def _entry(kind: str, report: TaskReported) -> Entry:
    shown = {"task_id", "round", "attempt", "action", "result", "asked_with", "found", "erased", "anonymised", "learnt"}
    detail = report.model_dump(mode="json", include=shown | {"retained", "locked", "conflicts", "level", "bound_on"})
    return Entry(
        kind="report" if kind == "report" else "late_report",
        code=report.code,
        store=report.store,
        detail={name: value for name, value in detail.items() if value},
    )


def _fire(turn: Turn, timer: Fired) -> None:
    """A timer says what it was set for; if that is over, nothing happens."""
    saga = turn.saga
    store = saga.stores.get(timer.key)
    if timer.kind in ("warning", "breach"):
        if saga.informed_on is None:
            turn.note(Entry(kind="timer", code=timer.kind))
    elif timer.kind == "bundle":
        turn.change(bundle_expires_at=turn.now)
        turn.note(Entry(kind="timer", code="bundle_expired"))
        turn.vault(Forget("bundle"))
    elif timer.kind == "answer" and store and store.task and not saga.ending:
        _unheard(turn, timer.key, store)
    elif timer.kind == "retry" and store and store.retrying:
        turn.attempt(timer.key)
    elif timer.kind == "revocation" and saga.ending:
        for name in saga.stores:
            turn.change_store(name, task=None)
        amend.conclude(turn)
    elif timer.kind == "poll" and saga.phase is Phase.PROVING and saga.settled() and not saga.ending:
        steps.poll(turn)
    elif timer.kind == "wake" and saga.phase is Phase.WAITING:
        steps.begin(turn)


def _unheard(turn: Turn, name: str, store: Store) -> None:
    assert store.task is not None
    if store.error is None and store.task.issued < len(ANSWER_WITHIN):
        turn.reissue(name)
    elif store.error is None:
        turn.change_store(name, error="no_answer")
        if turn.saga.settled():
            steps.after(turn)

"""What comes next, once a round is settled: one step for each phase, in the order of the plan."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from contracts.requests import Right
from contracts.status import Outcome, Phase, StoreState
from services.coordinator.saga.messages import Claimed, Rival
from services.coordinator.saga.plan import (
    DISCOVERY_ROUNDS,
    JUDGEMENTS,
    PERSON_IDENTIFIERS,
    POLL_FIRST,
    POLL_LONGEST,
    UNATTENDED_RETURNS,
)
from services.coordinator.saga.state import Saga, Store
from services.coordinator.saga.turn import Entry, Forget, Permit, Provide, Turn


def begin(turn: Turn) -> None:
    """Start of 1: every way back leads here. Stores are pinned anew; one that has gone since is blocked."""
    anew = {"error": None, "conflicts": (), "task": None, "retrying": False}
    names = dict.fromkeys([*turn.world.stores, *turn.saga.stores])
    stores = {name: turn.saga.stores.get(name, Store()).model_copy(update=anew) for name in names}
    turn.move(Phase.DISCOVERING, stores=stores, discovery_rounds=1, ending=None, partial=False, polls=0)
    turn.vault(Forget("doubts"))
    _block_gone(turn)
    _ask(turn, [name for name, store in turn.saga.active() if store.error is None], StoreState.DISCOVERING)


def go_back(turn: Turn, why: str, stop_code: str) -> None:
    """Return to discovery unattended, but not for ever."""
    turn.change(returns=turn.saga.returns + 1)
    turn.note(Entry(kind="returned", code=why, detail={"returns": turn.saga.returns}))
    if turn.saga.returns >= UNATTENDED_RETURNS:
        turn.stop(stop_code, why=why)
    else:
        begin(turn)


def after(turn: Turn) -> None:
    """The round is settled: take the step of this phase. A store that failed comes first."""
    _block_gone(turn)
    if failed := sorted(name for name, store in turn.saga.active() if store.error):
        turn.stop("store_failed", stores=failed)
        return
    _STEPS[turn.saga.phase](turn)


def discovered(turn: Turn) -> None:
    """Ask on while there is news; at the fixpoint, act."""
    if again := _can_use_news(turn):
        if turn.saga.discovery_rounds >= DISCOVERY_ROUNDS:
            turn.stop("no_fixpoint")
            return
        turn.change(discovery_rounds=turn.saga.discovery_rounds + 1)
        _ask(turn, again, StoreState.DISCOVERING)
    else:
        act(turn)


def act(turn: Turn) -> None:
    """Before the first act, the persons of this saga are locked and other requests about them looked at: also before
    'nothing found' is said, since another request may just have taken the clue away."""
    if turn.saga.acted:
        judge(turn)
    else:
        turn.claim = True


def claimed(turn: Turn, message: Claimed) -> None:
    """Go on, or wait until the request that goes before this one is done."""
    if any(_goes_before(rival, turn.saga) for rival in message.rivals):
        if turn.saga.phase is not Phase.WAITING:
            turn.vault(Permit(None, None))
            turn.move(Phase.WAITING, "same_person")
    else:
        judge(turn)


def judge(turn: Turn) -> None:
    """Let a person settle what is in doubt, and approve where policy wants it; then act."""
    if code := _doubt(turn) or _unanswered(turn):
        turn.stop(code)
    elif _needs_approval(turn.saga):
        turn.stop("approval")
    else:
        start(turn)


def start(turn: Turn) -> None:
    """Export first where that is wanted; erase what discovery found."""
    turn.change(acted=True)
    saga = turn.saga
    if saga.right is Right.PORTABILITY or (saga.export_first and not saga.exported):
        turn.move(Phase.EXPORTING)
        turn.vault(Provide("bundle"))
        _ask(turn, [name for name, store in saga.active() if store.left or store.retained], StoreState.EXPORTING)
    else:
        turn.move(Phase.ERASING)
        _ask(turn, [name for name, store in saga.active() if store.left], StoreState.ERASING)


def exported(turn: Turn) -> None:
    """Every member was read back. A portability is done; an erasure goes on."""
    expires = turn.now + timedelta(days=turn.world.pickup_days)
    turn.change(exported=True, bundle_ready_at=turn.now, bundle_expires_at=expires)
    turn.set_timer_at("bundle", expires)
    if turn.saga.right is Right.PORTABILITY:
        turn.close(Outcome.COMPLETED)
    else:
        start(turn)


def erased(turn: Turn) -> None:
    """Something that discovery had not seen leads back; a lock needs a person; else prove."""
    if any(store.news or store.conflicts for _, store in turn.saga.active()):
        go_back(turn, "new_at_erasing", "no_fixpoint")
    elif any(store.locked for _, store in turn.saga.active()):
        turn.stop("locked")
    else:
        prove(turn)


def prove(turn: Turn) -> None:
    """One round over all stores, begun after the last erasure report."""
    turn.move(Phase.PROVING, partial=False)
    _ask(turn, [name for name, _ in turn.saga.active()], StoreState.PROVING)


def proved(turn: Turn) -> None:
    """Closed by evidence from every store; a store within its vendor's bound is asked again by timer."""
    left = {name: store for name, store in turn.saga.active() if store.left}
    if any(store.news or store.conflicts for _, store in turn.saga.active()):
        go_back(turn, "new_at_proof", "proof_failed")
    elif not left and turn.saga.partial:
        prove(turn)
    elif not left:
        _close_proved(turn)
    elif all(store.within_bound(turn.now) for store in left.values()):
        turn.set_timer("poll", _poll_pause(turn, left))
        turn.change(polls=turn.saga.polls + 1)
    else:
        go_back(turn, "found_at_proof", "proof_failed")


def poll(turn: Turn) -> None:
    """Ask again those that had not carried out their order."""
    turn.change(partial=True)
    _ask(turn, [name for name, store in turn.saga.active() if store.left], StoreState.PROVING)


_STEPS: Final[Mapping[Phase, Callable[[Turn], None]]] = {
    Phase.DISCOVERING: discovered,
    Phase.EXPORTING: exported,
    Phase.ERASING: erased,
    Phase.PROVING: proved,
}


def _ask(turn: Turn, names: list[str], state: StoreState) -> None:
    if names:
        turn.ask(names, state)
    else:
        after(turn)


def _block_gone(turn: Turn) -> None:
    """A store that the inventory no longer has answers nothing: a person looks."""
    for name, store in turn.saga.active():
        if name not in turn.world.stores and store.error is None:
            turn.change_store(name, state=StoreState.BLOCKED, error="store_gone")


def _can_use_news(turn: Turn) -> list[str]:
    """Stores whose answer may change by what *others* learnt: each has followed its own links to their end."""
    news = {name: store.news for name, store in turn.saga.active() if store.news}
    return [
        name
        for name, _ in turn.saga.active()
        if any(turn.world.stores[name].uses & kinds for teller, kinds in news.items() if teller != name)
    ]


def _doubt(turn: Turn) -> str | None:
    """The most serious doubt about whose data was matched."""
    codes = {conflict.code.value for _, store in turn.saga.active() for conflict in store.conflicts}
    if turn.saga.unverified:
        codes.add("unverified")
    if turn.saga.persons > max(PERSON_IDENTIFIERS, turn.saga.judged_persons):
        codes.add("not_one_person")
    return next((code for code in JUDGEMENTS if code in codes), None)


def _unanswered(turn: Turn) -> str | None:
    """Stores that could not be searched, though a clue to them may exist; or nothing anywhere."""
    saga = turn.saga
    for name, store in saga.active():
        if not store.searched and not _in_order(turn, name):
            return "not_searchable"
    anything = saga.acted or any(s.found or s.retained or s.waiver for s in saga.stores.values())
    return None if anything else "nothing_found"


def _in_order(turn: Turn, name: str) -> bool:
    """True if every store that could have revealed a clue to this one was searched, and had none."""
    wanted = turn.world.stores[name].matches
    stores = turn.saga.stores
    tellers = [n for n in stores if n in turn.world.stores and n != name and turn.world.stores[n].reveals & wanted]
    return bool(tellers) and all(stores[n].searched and stores[n].waiver is None for n in tellers)


def _needs_approval(saga: Saga) -> bool:
    """An approval covers records found later; a new person identifier asks again."""
    return not saga.auto_approve and (saga.approved_persons is None or saga.persons > saga.approved_persons)


def _goes_before(rival: Rival, saga: Saga) -> bool:
    """One that has begun to act goes on; else portability before erasure, then by receipt."""

    def rank(right: Right | None, *order: object) -> tuple[object, ...]:
        return (right is not Right.PORTABILITY, *order)

    mine = rank(saga.right, saga.received_on, saga.opened_at.isoformat(), saga.request_id)
    return rival.acted or rank(rival.right, rival.received_on, rival.opened_at, rival.request_id) < mine


def _close_proved(turn: Turn) -> None:
    retained = any(store.retained for _, store in turn.saga.active())
    accepted = any(store.waiver and store.waiver.basis and store.waiver.until for store in turn.saga.stores.values())
    turn.close(Outcome.COMPLETED_WITH_RETENTION if retained or accepted else Outcome.COMPLETED)


def _poll_pause(turn: Turn, left: Mapping[str, Store]) -> timedelta:
    bounds = [store.bound_on - turn.now for store in left.values() if store.bound_on]
    backoff: timedelta = POLL_FIRST * (1 << min(turn.saga.polls, 20))
    return min(backoff, POLL_LONGEST, max(*bounds, POLL_FIRST))

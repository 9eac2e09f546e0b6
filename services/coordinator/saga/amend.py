"""What a person decides, and what follows from it."""

from collections.abc import Callable, Mapping
from typing import Final

from contracts.requests import Amendment
from contracts.requests import DecisionKind as D
from contracts.status import Outcome, Phase
from services.coordinator.saga import steps
from services.coordinator.saga.deadline import receipt_date
from services.coordinator.saga.messages import Amended
from services.coordinator.saga.plan import CHOICES, WHILE_OPEN
from services.coordinator.saga.state import Waiver
from services.coordinator.saga.turn import Entry, Settle, Turn


def amend(turn: Turn, message: Amended) -> None:
    """Take a decision once; one that the request does not offer now is journalled as refused."""
    amendment = message.amendment
    if amendment.decision_id in turn.saga.decisions:
        return
    turn.change(decisions=(*turn.saga.decisions, amendment.decision_id))
    refusal = _refusal(turn, amendment)
    turn.note(
        Entry(
            kind="refused" if refusal else "decision",
            code=refusal or amendment.reason,
            store=amendment.store,
            actor=amendment.decided_by,
            note_hash=message.note_hash,
            detail=amendment.model_dump(
                mode="json", include={"decision", "category", "basis", "until", "on", "method"}, exclude_none=True
            ),
        )
    )
    if refusal is None:
        _TAKE[amendment.decision](turn, amendment)


def choices(code: str | None) -> tuple[D, ...]:
    """What an attention code offers."""
    return CHOICES.get(code, ()) if code else ()


def go_on(turn: Turn) -> None:
    """Towards discovery, unless something about the submission itself needs a person first."""
    if not turn.saga.identity_verified:
        turn.stop("identity")
    elif turn.saga.placeholder:
        turn.stop("placeholder")
    else:
        steps.begin(turn)


def conclude(turn: Turn) -> None:
    """Nobody is at it any more: what was to come, comes."""
    match turn.saga.ending:
        case "hold":
            turn.move(Phase.ON_HOLD, "hold", ending=None)
        case "withdraw":
            turn.close(Outcome.WITHDRAWN)
        case "reject":
            turn.close(Outcome.REJECTED)
        case "restart":
            go_on(turn)


def _refusal(turn: Turn, amendment: Amendment) -> str | None:
    """Why a decision can't be taken now; None if it can."""
    saga, decision = turn.saga, amendment.decision
    if not _offered(turn, decision) or (saga.right is None and decision not in (D.REJECT, D.INFORM)):
        return "not_offered"
    if amendment.on is not None and amendment.on > receipt_date(turn.now, turn.world.calendar):
        return "date_in_future"
    waives = decision is D.RECORD or (decision is D.ACCEPT and _names_store(turn))
    if waives and amendment.store not in saga.stores:
        return "needs_store"
    if waives and amendment.basis is None:
        return "needs_basis"
    if decision is D.EXTEND and amendment.on is None:
        return "needs_notice"
    deadline = saga.deadline(turn.world.calendar, turn.now)
    if decision is D.EXTEND and (saga.extended or not deadline.extension_allowed(turn.now)):
        return "too_late_to_extend"
    return None


def _offered(turn: Turn, decision: D) -> bool:
    """True if the request offers this now. What ends it can't be taken back while its tasks are being revoked."""
    saga = turn.saga
    if decision is D.INFORM:
        return True
    if decision is D.RELEASE_BUNDLE:
        return saga.bundle_expires_at is not None and turn.now < saga.bundle_expires_at
    if decision is D.RELEASE:
        return saga.phase is Phase.ON_HOLD
    if saga.ending in ("withdraw", "reject"):
        return False
    asked = choices(saga.attention.code) if saga.attention else ()
    return saga.open and (decision in WHILE_OPEN or decision in asked)


def _names_store(turn: Turn) -> bool:
    """True if `accept` here means to go on without a store, on a ground."""
    return turn.saga.attention is not None and D.RECORD in choices(turn.saga.attention.code)


def _restart(turn: Turn, _: Amendment) -> None:
    turn.change(returns=0)
    if turn.end("restart"):
        go_on(turn)


def _end(ending: str) -> Callable[[Turn, Amendment], None]:
    def take(turn: Turn, _: Amendment) -> None:
        if turn.end(ending):
            turn.change(ending=ending)
            conclude(turn)

    return take


def _approve(turn: Turn, amendment: Amendment) -> None:
    assert turn.saga.attention is not None
    code = turn.saga.attention.code
    if code == "approval":
        turn.change(approved_persons=turn.saga.persons, attention=None)
        steps.act(turn)
    else:
        turn.vault(Settle(code, "confirmed"))
        if code == "not_one_person":
            turn.change(judged_persons=turn.saga.persons)
        _judged(turn, code)


def _accept(turn: Turn, amendment: Amendment) -> None:
    assert turn.saga.attention is not None
    code = turn.saga.attention.code
    if code == "nothing_found":
        turn.close(Outcome.NOTHING_HELD)
    elif _names_store(turn):
        _waive(turn, amendment)
    else:
        turn.vault(Settle(code, "set_aside"))
        _judged(turn, code)


def _judged(turn: Turn, code: str) -> None:
    if code == "unverified":
        turn.change(unverified=0)
    if code == "placeholder":
        turn.change(placeholder=False)
    go_on(turn)


def _waive(turn: Turn, amendment: Amendment) -> None:
    assert amendment.store is not None
    waiver = Waiver(
        decision=amendment.decision, basis=amendment.basis, until=amendment.until, category=amendment.category
    )
    turn.change_store(amendment.store, waiver=waiver)
    _restart(turn, amendment)


def _verify_identity(turn: Turn, amendment: Amendment) -> None:
    today = receipt_date(turn.now, turn.world.calendar)
    asks = tuple((asked, answered or max(today, asked)) for asked, answered in turn.saga.identity_asked)
    turn.change(identity_verified=True, identity_asked=asks)
    go_on(turn)


def _ask_identity(turn: Turn, amendment: Amendment) -> None:
    asked = amendment.on or receipt_date(turn.now, turn.world.calendar)
    turn.change(identity_asked=(*turn.saga.identity_asked, (asked, None)))


def _extend(turn: Turn, _: Amendment) -> None:
    turn.change(extended=True)
    deadline = turn.saga.deadline(turn.world.calendar, turn.now)
    for number, at in enumerate(deadline.warn_at):
        turn.set_timer_at("warning", at, str(number))
    turn.set_timer_at("breach", deadline.strict_due_at)


def _inform(turn: Turn, amendment: Amendment) -> None:
    turn.change(informed_on=amendment.on or receipt_date(turn.now, turn.world.calendar))


def _release_bundle(turn: Turn, _: Amendment) -> None:
    turn.change(bundle_released=True)


_TAKE: Final[Mapping[D, Callable[[Turn, Amendment], None]]] = {
    D.APPROVE: _approve,
    D.ACCEPT: _accept,
    D.REJECT: _end("reject"),
    D.WITHDRAW: _end("withdraw"),
    D.HOLD: _end("hold"),
    D.RELEASE: _restart,
    D.RETRY: _restart,
    D.RECORD: _waive,
    D.EXTEND: _extend,
    D.VERIFY_IDENTITY: _verify_identity,
    D.ASK_IDENTITY: _ask_identity,
    D.INFORM: _inform,
    D.RELEASE_BUNDLE: _release_bundle,
}

"""`decide` as conversations: given a saga, expect what it asks; given an answer, expect what follows."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from contracts.reports import Conflict, Level, Locked, Result, Retained
from contracts.requests import DecisionKind as D
from contracts.requests import Right
from contracts.status import Outcome, Phase, StoreState
from contracts.tasks import Action
from services.coordinator.saga.messages import Fired, Refused, Rival
from services.coordinator.saga.plan import ANSWER_WITHIN, CALL_TIMEOUT, RETRY_AFTER
from services.coordinator.saga.turn import Forget, Permit, Settle
from tests.support.saga import APP, CRM, NOW, OBJECTS, REQUEST, WORLD, Conversation, Shelf, opened

SOON = timedelta(days=2)


def conflict(code: str = "shared_identifier") -> Conflict:
    return Conflict.model_validate({"code": code, "kind": "email", "category": "customers", "count": 2})


def asked(conversation: Conversation) -> set[tuple[str, Action]]:
    return {(task.store, task.action) for task in conversation.tasks}


def start(**overrides: object) -> Conversation:
    conversation = Conversation()
    conversation.tell(opened(**overrides))  # type: ignore[arg-type]
    return conversation


def test_an_erasure_goes_all_the_way_and_forgets_the_subject() -> None:
    conversation = start()
    assert asked(conversation) == {(name, Action.DISCOVER) for name in (APP, OBJECTS, CRM)}
    saga = conversation.run()
    assert saga.outcome is Outcome.COMPLETED
    assert conversation.forgotten
    assert {name: store.erased for name, store in saga.stores.items()} == {
        APP: {"customers": 3}, OBJECTS: {"customers": 6}, CRM: {"customers": 1},
    }  # fmt: skip
    assert {store.state for store in saga.stores.values()} == {StoreState.PROVED}


def test_only_stores_that_can_use_what_others_learnt_are_asked_again() -> None:
    conversation = start()
    first, conversation.tasks = conversation.tasks, []
    for task in first:
        conversation.tell(conversation.answer(task))
    assert asked(conversation) == {(APP, Action.DISCOVER), (OBJECTS, Action.DISCOVER)}
    assert {task.round for task in conversation.tasks} == {2}
    assert conversation.now_saga.persons == 3


def test_without_a_fixpoint_a_person_is_asked() -> None:
    conversation = start()
    while conversation.tasks:
        task = conversation.tasks.pop(0)
        conversation.tell(conversation.answer(task, learnt={"email": {"trusted": 1}}))
    assert conversation.now_saga.attention is not None
    assert conversation.now_saga.attention.code == "no_fixpoint"
    assert conversation.now_saga.discovery_rounds == 5


def test_an_approval_is_asked_before_the_first_act_and_again_for_a_new_person() -> None:
    conversation = start(auto_approve=False)
    saga = conversation.run()
    assert (saga.phase, saga.attention and saga.attention.code) == (Phase.AWAITING_DECISION, "approval")
    assert conversation.permit == Permit(None, None)
    conversation.decide(D.APPROVE)
    erase = conversation.tasks.pop(0)
    assert erase.action is Action.ERASE
    conversation.tell(conversation.answer(erase, learnt={"call_id": {"trusted": 1}}))
    conversation.run(until=(Phase.DISCOVERING,))
    conversation.shelves[OBJECTS].things = 1
    conversation.run(until=(Phase.ERASING,))
    assert conversation.attention is None, "an approval covers records found later"
    conversation.tell(conversation.answer(conversation.tasks.pop(0), learnt={"email": {"trusted": 1}}))
    conversation.run()
    assert conversation.attention == "approval", "and no other person's address"
    conversation.decide(D.APPROVE)
    assert conversation.run().outcome is Outcome.COMPLETED


@pytest.mark.parametrize("code", ["shared_identifier", "not_one_person"])
def test_doubtful_rows_stop_a_saga_before_the_first_act(code: str) -> None:
    conversation = start()
    while conversation.tasks and conversation.now_saga.attention is None:
        task = conversation.tasks.pop(0)
        doubts = [conflict(code)] if task.store == APP and task.round == 2 else []
        conversation.tell(conversation.answer(task, conflicts=doubts))
    assert conversation.attention == code
    conversation.decide(D.ACCEPT)
    assert conversation.settled == [Settle(code, "set_aside")]
    assert conversation.run().outcome is Outcome.COMPLETED


def test_to_say_that_many_identifiers_are_one_persons_is_no_approval() -> None:
    conversation = start(auto_approve=False)
    conversation.tell(conversation.answer(conversation.tasks.pop(0), learnt={"email": {"trusted": 25}}))
    conversation.run()
    assert conversation.attention == "not_one_person"
    conversation.decide(D.APPROVE)
    conversation.run()
    assert conversation.attention == "approval"
    conversation.decide(D.APPROVE)
    assert conversation.run().outcome is Outcome.COMPLETED


def test_what_a_user_typed_waits_for_a_person_even_where_approval_is_automatic() -> None:
    conversation = start()
    task = conversation.tasks.pop(0)
    conversation.tell(conversation.answer(task, learnt={"email": {"unverified": 1}}))
    assert conversation.run().attention
    conversation.decide(D.APPROVE)
    assert conversation.settled == [Settle("unverified", "confirmed")]
    assert conversation.run().outcome is Outcome.COMPLETED


def test_nothing_found_is_no_success() -> None:
    conversation = Conversation({name: Shelf() for name in (APP, OBJECTS, CRM)})
    conversation.tell(opened())
    conversation.run()
    assert conversation.attention == "nothing_found"
    conversation.decide(D.ACCEPT)
    assert conversation.now_saga.outcome is Outcome.NOTHING_HELD


def test_a_store_without_a_clue_is_in_order_only_if_the_stores_that_could_tell_were_searched() -> None:
    in_order = Conversation({APP: Shelf(1), OBJECTS: Shelf(searchable=False), CRM: Shelf(1)})
    in_order.tell(opened())
    assert in_order.run().outcome is Outcome.COMPLETED
    assert in_order.now_saga.stores[OBJECTS].state is StoreState.NOT_SEARCHABLE
    unclear = Conversation({APP: Shelf(searchable=False), OBJECTS: Shelf(searchable=False), CRM: Shelf(1)})
    unclear.tell(opened())
    unclear.run()
    assert unclear.attention == "not_searchable"


def test_a_transient_failure_is_tried_again_and_then_needs_a_person() -> None:
    conversation = start()
    for attempt in range(1, len(RETRY_AFTER) + 2):
        task = next(task for task in conversation.tasks if task.store == CRM)
        assert task.attempt == attempt
        conversation.tasks.remove(task)
        conversation.tell(conversation.answer(task, result=Result.TRANSIENT, code="timeout", found={}, learnt={}))
        if attempt <= len(RETRY_AFTER):
            assert conversation.timers["retry", CRM].due_at == conversation.now + RETRY_AFTER[attempt - 1]
            conversation.fire("retry", CRM)
    saga = conversation.run()
    assert conversation.attention == "store_failed"
    assert saga.stores[CRM].error == "timeout"
    conversation.decide(D.RETRY)
    assert conversation.run().outcome is Outcome.COMPLETED


def test_a_delay_the_store_named_is_kept() -> None:
    conversation = start()
    task = conversation.tasks.pop(0)
    conversation.tell(conversation.answer(task, result=Result.TRANSIENT, retry_after_s=90.0))
    assert conversation.timers["retry", task.store].due_at == conversation.now + timedelta(seconds=90)


def test_a_lost_task_is_issued_again_under_the_same_id_and_then_given_up() -> None:
    conversation = start()
    lost = conversation.tasks.pop(0)
    conversation.run()
    for _ in ANSWER_WITHIN[1:]:
        conversation.fire("answer", lost.store)
        assert conversation.tasks.pop().task_id == lost.task_id
    conversation.fire("answer", lost.store)
    assert conversation.attention == "store_failed"
    conversation.decide(D.RETRY)
    assert conversation.tasks == [], "the lost task may still be worked on"
    conversation.fire("revocation")
    assert conversation.now_saga.phase is Phase.DISCOVERING
    assert conversation.run().outcome is Outcome.COMPLETED


@pytest.mark.parametrize("result", [Result.REVOKED, Result.TRANSIENT, Result.TERMINAL, Result.DONE])
def test_a_word_after_it_was_given_up_starts_nothing(result: Result) -> None:
    conversation = start()
    lost = conversation.tasks.pop(0)
    answer = conversation.answer(lost, result=result)
    conversation.run()
    for _ in ANSWER_WITHIN:
        conversation.fire("answer", lost.store)
    conversation.tasks.clear()
    conversation.tell(answer)
    assert conversation.attention == "store_failed"
    assert not conversation.now_saga.outstanding()
    assert ("retry", lost.store) not in conversation.timers
    conversation.decide(D.RETRY)
    assert conversation.run().outcome is Outcome.COMPLETED


def test_progress_of_an_older_task_says_nothing_and_its_end_is_still_journalled() -> None:
    conversation = start()
    late = conversation.answer(conversation.tasks[0]).model_copy(update={"task_id": REQUEST, "round": 0})
    before = conversation.now_saga
    conversation.tell(late.model_copy(update={"result": Result.PROGRESS}))
    assert conversation.now_saga == before
    conversation.tell(late)
    assert [entry.kind for entry in conversation.journal].count("late_report") == 1


def test_a_report_heard_before_changes_nothing() -> None:
    conversation = start()
    task = conversation.tasks.pop(0)
    report = conversation.answer(task)
    conversation.tell(report)
    before = conversation.now_saga, len(conversation.journal)
    conversation.tell(report)
    assert (conversation.now_saga, len(conversation.journal)) == before


def test_a_report_of_an_older_round_is_journalled_once_and_changes_nothing_else() -> None:
    conversation = start()
    late = conversation.answer(conversation.tasks[0]).model_copy(update={"task_id": REQUEST, "round": 0})
    stores = conversation.now_saga.stores
    conversation.tell(late)
    conversation.tell(late)
    assert conversation.now_saga.stores == stores
    assert [entry.kind for entry in conversation.journal].count("late_report") == 1


def test_what_a_late_report_taught_the_vault_still_needs_its_person() -> None:
    conversation = start(auto_approve=False)
    late = conversation.answer(conversation.tasks[0], learnt={"email": {"trusted": 1, "unverified": 1}})
    conversation.decide(D.HOLD)
    conversation.fire("revocation")
    assert conversation.now_saga.phase is Phase.ON_HOLD
    conversation.tell(late)
    assert (conversation.now_saga.persons, conversation.now_saga.unverified) == (2, 1)
    conversation.decide(D.RELEASE)
    conversation.run()
    assert conversation.attention == "unverified"


def test_a_hold_waits_until_every_task_is_revoked_and_a_release_begins_anew() -> None:
    conversation = start()
    conversation.decide(D.HOLD)
    assert conversation.permit == Permit(None, None)
    assert conversation.now_saga.ending == "hold"
    assert conversation.run().phase is Phase.ON_HOLD
    conversation.decide(D.RELEASE)
    assert conversation.run().outcome is Outcome.COMPLETED


@pytest.mark.parametrize("decision", [D.HOLD, D.RELEASE, D.RETRY])
def test_a_withdrawal_is_not_taken_back_while_its_tasks_are_revoked(decision: D) -> None:
    conversation = start()
    conversation.decide(D.WITHDRAW)
    conversation.decide(decision)
    assert conversation.journal[-1].code == "not_offered"
    assert conversation.run().outcome is Outcome.WITHDRAWN


def test_a_silent_worker_counts_as_revoked_after_the_call_timeout() -> None:
    conversation = start()
    conversation.decide(D.WITHDRAW)
    assert conversation.timers["revocation", ""].due_at == conversation.now + CALL_TIMEOUT
    conversation.fire("revocation")
    assert conversation.now_saga.outcome is Outcome.WITHDRAWN


def test_a_hold_does_not_skip_the_identity_check() -> None:
    conversation = start(identity_verified=False)
    assert conversation.now_saga.phase is Phase.IDENTITY_CHECK
    conversation.decide(D.HOLD)
    conversation.decide(D.RELEASE)
    assert conversation.now_saga.phase is Phase.IDENTITY_CHECK
    conversation.decide(D.VERIFY_IDENTITY)
    assert conversation.run().outcome is Outcome.COMPLETED


def test_something_found_at_proof_leads_back_and_the_third_return_to_a_person() -> None:
    conversation = start()
    for _ in range(40):
        if conversation.now_saga.attention:
            break
        task = conversation.tasks.pop(0)
        proving = conversation.now_saga.phase is Phase.PROVING and task.store == APP
        conversation.tell(conversation.answer(task, **({"found": {"customers": 1}} if proving else {})))
    assert conversation.now_saga.returns == 3
    assert conversation.attention == "proof_failed"


def test_a_store_within_its_bound_is_asked_by_timer_and_then_all_are_proved() -> None:
    conversation = start()
    bound = NOW + SOON
    conversation.run(until=(Phase.ERASING,))
    while conversation.now_saga.phase is Phase.ERASING:
        task = conversation.tasks.pop(0)
        mine = {"level": Level.ACCEPTED, "bound_on": bound} if task.store == CRM else {}
        conversation.tell(conversation.answer(task, **mine))
    while conversation.tasks:
        task = conversation.tasks.pop(0)
        left = {"found": {"customers": 1}} if task.store == CRM else {}
        conversation.tell(conversation.answer(task, **left))
    assert conversation.now_saga.returns == 0
    conversation.fire("poll")
    assert asked(conversation) == {(CRM, Action.DISCOVER)}
    conversation.tell(conversation.answer(conversation.tasks.pop(0)))
    assert asked(conversation) == {(name, Action.DISCOVER) for name in (APP, OBJECTS, CRM)}
    assert conversation.run().outcome is Outcome.COMPLETED


def test_past_its_bound_what_is_still_there_leads_back() -> None:
    conversation = start()
    conversation.run(until=(Phase.ERASING,))
    while conversation.now_saga.phase is Phase.ERASING:
        task = conversation.tasks.pop(0)
        conversation.tell(conversation.answer(task, level=Level.ACCEPTED, bound_on=NOW))
    task = conversation.tasks.pop(0)
    conversation.tell(conversation.answer(task, found={"customers": 1}))
    conversation.run()
    assert conversation.now_saga.returns == 1


def test_something_new_at_erasing_leads_back_to_discovery() -> None:
    conversation = start()
    conversation.run(until=(Phase.ERASING,))
    task = conversation.tasks.pop(0)
    conversation.tell(conversation.answer(task, learnt={"call_id": {"trusted": 1}}, found={"customers": 1}))
    conversation.run(until=(Phase.DISCOVERING,))
    assert conversation.now_saga.returns == 1
    assert conversation.run().outcome is Outcome.COMPLETED


def test_a_lock_is_not_a_legal_ground() -> None:
    conversation = start()
    conversation.run(until=(Phase.ERASING,))
    while conversation.now_saga.phase is Phase.ERASING and conversation.now_saga.attention is None:
        task = conversation.tasks.pop(0)
        lock = [Locked(category="recordings", count=1, until=date(2027, 1, 1))] if task.store == OBJECTS else []
        conversation.tell(conversation.answer(task, locked=lock))
    assert conversation.attention == "locked"


def test_what_is_retained_is_told_in_the_outcome() -> None:
    conversation = start()
    kept = Retained(category="billing", count=2, basis="L123-22", until=date(2036, 12, 31))
    while conversation.tasks:
        task = conversation.tasks.pop(0)
        conversation.tell(conversation.answer(task, retained=[kept] if task.store == APP else []))
    assert conversation.now_saga.outcome is Outcome.COMPLETED_WITH_RETENTION


def test_a_terminal_failure_offers_a_recorded_erasure() -> None:
    conversation = start()
    while conversation.tasks:
        task = conversation.tasks.pop(0)
        failed = {"result": Result.TERMINAL, "code": "missing_table"} if task.store == CRM else {}
        conversation.tell(conversation.answer(task, **failed))
    assert conversation.attention == "store_failed"
    conversation.decide(D.RECORD, store=CRM)
    assert conversation.now_saga.attention, "a record without its evidence is refused"
    conversation.decide(D.RECORD, store=CRM, basis="ticket 4711")
    assert asked(conversation) == {(APP, Action.DISCOVER), (OBJECTS, Action.DISCOVER)}
    assert conversation.run().outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("rival", "waits"),
    [
        (Rival(REQUEST, Right.ERASURE, date(2026, 11, 9), "2026-11-09", acted=True), True),
        (Rival(REQUEST, Right.PORTABILITY, date(2026, 11, 9), "2026-11-09", acted=False), True),
        (Rival(REQUEST, Right.ERASURE, date(2026, 10, 31), "2026-10-31", acted=False), True),
        (Rival(REQUEST, Right.ERASURE, date(2026, 11, 9), "2026-11-09", acted=False), False),
    ],
)
def test_two_requests_about_one_person(rival: Rival, waits: bool) -> None:
    conversation = start()
    conversation.rivals = (rival,)
    saga = conversation.run()
    assert (saga.phase is Phase.WAITING) is waits
    if waits:
        assert conversation.permit.action is not Action.ERASE
        conversation.rivals = ()
        conversation.tell(Fired("wake"))
        assert conversation.run().outcome is Outcome.COMPLETED


def test_nothing_is_allowed_while_another_request_goes_before() -> None:
    conversation = start()
    conversation.rivals = (Rival(REQUEST, Right.ERASURE, date(2026, 11, 9), "2026-11-09", acted=True),)
    conversation.run()
    assert conversation.permit == Permit(None, None)


def test_a_store_that_the_inventory_no_longer_has_needs_a_person() -> None:
    conversation = start()
    conversation.world = replace(WORLD, stores={name: WORLD.stores[name] for name in (APP, CRM)})
    saga = conversation.run()
    assert (conversation.attention, saga.stores[OBJECTS].error) == ("store_failed", "store_gone")
    conversation.decide(D.RETRY)
    assert {store for store, _ in asked(conversation)} == {APP, CRM}
    conversation.run()
    assert conversation.attention == "store_failed"
    conversation.decide(D.RECORD, store=OBJECTS, basis="ticket 4711")
    assert conversation.run().outcome is Outcome.COMPLETED


def test_a_store_that_the_inventory_has_since_is_asked_at_the_next_start() -> None:
    conversation = Conversation({APP: Shelf(1), OBJECTS: Shelf(searchable=False), CRM: Shelf(1)})
    conversation.world = replace(WORLD, stores={name: WORLD.stores[name] for name in (APP, OBJECTS)})
    conversation.tell(opened())
    conversation.world = WORLD
    conversation.run(until=(Phase.ERASING,))
    assert CRM not in conversation.now_saga.stores
    conversation.decide(D.HOLD)
    conversation.run(until=(Phase.ON_HOLD,))
    conversation.decide(D.RELEASE)
    assert CRM in {store for store, _ in asked(conversation)}
    assert conversation.run().outcome is Outcome.COMPLETED


def test_nothing_found_waits_too_while_another_request_of_this_person_acts() -> None:
    conversation = Conversation({name: Shelf() for name in (APP, OBJECTS, CRM)})
    conversation.rivals = (Rival(REQUEST, Right.ERASURE, date(2026, 11, 9), "2026-11-09", acted=True),)
    conversation.tell(opened())
    assert conversation.run(until=(Phase.WAITING,)).phase is Phase.WAITING


def test_a_portability_exports_where_something_was_found_and_closes() -> None:
    conversation = start(right=Right.PORTABILITY)
    conversation.run(until=(Phase.EXPORTING,))
    assert {action for _, action in asked(conversation)} == {Action.EXPORT}
    saga = conversation.run()
    assert saga.outcome is Outcome.COMPLETED
    assert saga.bundle_expires_at == conversation.now + timedelta(days=14)
    conversation.fire("bundle")
    assert conversation.now_saga.outcome is Outcome.COMPLETED


def test_a_bundle_that_was_never_ready_is_forgotten_at_closing_and_one_that_was_when_its_time_is_up() -> None:
    unready = start(right=Right.PORTABILITY)
    unready.run(until=(Phase.EXPORTING,))
    unready.decide(D.WITHDRAW)
    assert unready.run().outcome is Outcome.WITHDRAWN
    assert Forget("bundle") in unready.forgot
    ready = start(right=Right.PORTABILITY)
    ready.run()
    assert Forget("bundle") not in ready.forgot
    ready.decide(D.RELEASE_BUNDLE)
    assert ready.now_saga.bundle_released
    ready.fire("bundle")
    assert Forget("bundle") in ready.forgot
    ready.decide(D.RELEASE_BUNDLE)
    assert ready.journal[-1].code == "not_offered"


def test_an_erasure_with_export_exports_first() -> None:
    conversation = start(export_first=True)
    conversation.run(until=(Phase.EXPORTING,))
    conversation.run(until=(Phase.ERASING,))
    assert conversation.now_saga.exported
    assert conversation.run().outcome is Outcome.COMPLETED


def test_an_unreadable_submission_needs_a_person_until_a_valid_one_takes_it_over() -> None:
    conversation = Conversation()
    conversation.tell(Refused(REQUEST, "bad_signature", date(2026, 11, 1)))
    assert conversation.attention == "invalid_submission"
    conversation.decide(D.HOLD)
    assert conversation.now_saga.phase is Phase.NEEDS_ATTENTION
    conversation.decide(D.INFORM)
    unread = conversation.now_saga
    conversation.wait(timedelta(days=1))
    conversation.tell(opened())
    saga = conversation.run()
    assert saga.outcome is Outcome.COMPLETED
    assert (saga.informed_on, saga.opened_at) == (date(2026, 11, 2), unread.opened_at), "what was done stays done"
    assert saga.decisions == unread.decisions


def test_an_unreadable_submission_that_a_person_rejected_stays_so() -> None:
    conversation = Conversation()
    conversation.tell(Refused(REQUEST, "bad_signature", date(2026, 11, 1)))
    conversation.decide(D.REJECT)
    conversation.tell(opened())
    assert conversation.now_saga.outcome is Outcome.REJECTED
    assert conversation.tasks == []


def test_other_content_under_the_same_id_is_noted_and_changes_nothing() -> None:
    conversation = start()
    before = conversation.now_saga
    conversation.tell(opened(right=Right.PORTABILITY))
    assert conversation.now_saga == before
    assert conversation.journal[-1].code == "other_content"


def test_a_decision_counts_once_and_only_where_it_is_offered() -> None:
    conversation = start()
    conversation.decide(D.APPROVE)
    assert conversation.journal[-1].kind == "refused"
    conversation.decide(D.INFORM, on=date(2026, 11, 1), decision_id=REQUEST)
    conversation.decide(D.INFORM, on=date(2026, 11, 2), decision_id=REQUEST)
    assert conversation.now_saga.informed_on == date(2026, 11, 1)


def test_nobody_was_informed_tomorrow() -> None:
    conversation = start()
    conversation.now = NOW.replace(hour=22, minute=59)  # 23:59 in Paris
    conversation.decide(D.INFORM, on=date(2026, 11, 3))
    assert conversation.journal[-1].code == "date_in_future"
    conversation.wait(timedelta(minutes=1))
    conversation.decide(D.INFORM, on=date(2026, 11, 3))
    assert conversation.now_saga.informed_on == date(2026, 11, 3)


def test_an_extension_needs_a_notice_within_the_first_month() -> None:
    conversation = start(auto_approve=False)
    conversation.run()
    conversation.decide(D.EXTEND)
    assert not conversation.now_saga.extended
    conversation.decide(D.EXTEND, on=date(2026, 11, 2))
    assert conversation.now_saga.extended
    late = start(auto_approve=False)
    late.wait(timedelta(days=40))
    late.decide(D.EXTEND, on=date(2026, 11, 20))
    assert not late.now_saga.extended


def test_a_timer_that_fires_after_closing_changes_nothing() -> None:
    conversation = start()
    closed = conversation.run()
    for kind, key in list(conversation.timers):
        conversation.tell(Fired(kind, key))
    assert conversation.now_saga == closed
    assert conversation.tasks == []

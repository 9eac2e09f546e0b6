"""The connectors' runtime as far as it is pure."""

import json
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from contracts.reports import ConflictCode, LearntCount, Level, Result
from contracts.tasks import Action
from services.connectors.bootstrap import find_connector
from services.connectors.inbox import Unusable, Watch, read_task
from services.connectors.lease import CALL_TIMEOUT_S
from services.connectors.port import (
    Contested,
    Erasure,
    Findings,
    Identifier,
    Revoked,
    Standing,
    Terminal,
    Transient,
)
from services.connectors.queue import PROGRESS_EVERY
from services.connectors.reporting import Answer, Known, learn, report_of
from services.coordinator.saga.plan import ANSWER_WITHIN, CALL_TIMEOUT
from services.kit.errors import LetheiaError
from services.kit.kafka import Backlog, RawRecord
from services.kit.vault import VaultIdentifier
from tests.support.inventory import sample_inventory
from tests.support.runtime import STORE, known, task_of

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)
PHONE = "+33100000000"


def test_bounds_agree_with_the_coordinator_s() -> None:
    assert timedelta(seconds=CALL_TIMEOUT_S) < CALL_TIMEOUT
    assert ANSWER_WITHIN[0] > PROGRESS_EVERY * 2


def of(*identifiers: VaultIdentifier) -> Known:
    return {(identifier.kind, identifier.value): identifier for identifier in identifiers}


def phone(alone: bool | None, standing: str = "trusted") -> VaultIdentifier:
    return known("phone", PHONE, alone=alone, standing=standing)


class TestLearning:
    @pytest.mark.parametrize(
        ("before", "now", "kept"),
        [
            (None, None, []),
            (None, True, [True]),
            (None, False, [False]),
            (True, None, []),
            (True, True, []),
            (True, False, [False]),
            (False, True, []),
            (False, None, []),
        ],
    )
    def test_a_tie_is_news_once_and_one_to_others_for_good(
        self, before: bool | None, now: bool | None, kept: list[bool]
    ) -> None:
        answer = Findings(frozenset(), revealed=frozenset({Identifier("phone", PHONE, alone=now)}))
        learnt = learn(answer, of(phone(before)), STORE)
        assert [identifier.alone for identifier in learnt.keep] == kept
        assert learnt.counts == ({"phone": LearntCount(trusted=1)} if kept else {})

    @pytest.mark.parametrize("standing", ["set_aside", "unverified"])
    def test_what_a_person_judged_or_has_to_judge_is_no_news(self, standing: str) -> None:
        answer = Findings(frozenset(), revealed=frozenset({Identifier("phone", PHONE, alone=False)}))
        learnt = learn(answer, of(phone(None, standing)), STORE)
        assert (learnt.keep, learnt.counts) == ((), {})

    def test_a_doubt_is_kept_and_no_news(self) -> None:
        contested = Contested(ConflictCode.NOT_ONE_PERSON, Identifier("email", "a@example.org"), "customers", 2)
        learnt = learn(Findings(frozenset(), contested=(contested,)), of(known("email", "a@example.org")), STORE)
        assert learnt.keep == (known("email", "a@example.org", contested="not_one_person"),)
        assert learnt.counts == {}

    def test_a_doubt_about_what_is_new(self) -> None:
        """As a person must settle it: by its conflict, not merely as unverified."""
        identifier = Identifier("email", "a@example.org", Standing.UNVERIFIED)
        contested = Contested(ConflictCode.NOT_ONE_PERSON, identifier, "customers", 2)
        answer = Erasure(frozenset(), Level.EFFECTIVE, revealed=frozenset({identifier}), contested=(contested,))
        learnt = learn(answer, {}, STORE)
        assert [(i.standing, i.contested) for i in learnt.keep] == [("unverified", "not_one_person")]
        assert learnt.counts == {"email": LearntCount(unverified=1)}

    @pytest.mark.parametrize("answer", [Revoked(), Transient("x"), Terminal("x")])
    def test_a_failure_teaches_nothing(self, answer: Answer) -> None:
        assert learn(answer, {}, STORE).keep == ()


def test_a_named_delay_is_passed_on() -> None:
    report = report_of(task_of(uuid4()), Transient("rate_limited", 12.5))
    assert (report.result, report.code, report.retry_after_s) == (Result.TRANSIENT, "rate_limited", 12.5)


@pytest.mark.parametrize("answer", [Terminal("a Code with jean@example.org"), Findings(frozenset(), {"customers": -1})])
def test_what_can_t_be_reported_is_refused(answer: Answer) -> None:
    with pytest.raises(ValueError, match="validation error"):
        report_of(task_of(uuid4()), answer)


class TestWatch:
    def test_a_consumer_that_moves_is_left_alone(self) -> None:
        watch = Watch()
        for minute in range(10):
            moved = {0: Backlog(minute, 100), 1: Backlog(7, 7)}
            assert not watch.stalled(moved, NOW + timedelta(minutes=minute))

    def test_one_partition_that_stands_still_is_enough(self) -> None:
        watch = Watch()
        looks = [
            watch.stalled({0: Backlog(n, 99), 1: Backlog(5, 6)}, NOW + timedelta(seconds=15 * n)) for n in range(4)
        ]
        assert looks == [False, False, False, True]

    def test_waiting_counts_from_when_there_was_something_to_read(self) -> None:
        watch = Watch()
        assert not watch.stalled({0: Backlog(5, 5)}, NOW)
        assert not watch.stalled({0: Backlog(5, 5)}, NOW + timedelta(hours=1))
        assert not watch.stalled({0: Backlog(5, 6)}, NOW + timedelta(hours=1, seconds=5))
        assert watch.stalled({0: Backlog(5, 6)}, NOW + timedelta(hours=1, seconds=50))

    def test_a_partition_that_went_and_came_is_new(self) -> None:
        watch = Watch()
        assert not watch.stalled({0: Backlog(5, 6)}, NOW)
        assert not watch.stalled({1: Backlog(0, 0)}, NOW + timedelta(seconds=40))
        assert not watch.stalled({0: Backlog(5, 6)}, NOW + timedelta(seconds=80))


class TestReading:
    def record(self, value: bytes | None) -> RawRecord:
        return RawRecord("t", 0, 0, NOW, None, value, ())

    def test_a_task(self) -> None:
        task = task_of(uuid4(), 3, Action.ERASE, 2)
        newer = task.model_dump_json().replace("{", '{"unheard_of": 1, ', 1)
        assert read_task(self.record(newer.encode()), STORE) == task

    def test_another_store_s_is_forged(self) -> None:
        with pytest.raises(Unusable, match="forged_task"):
            read_task(self.record(task_of(uuid4()).model_dump_json().encode()), "crm")

    @pytest.mark.parametrize("change", [{"round": 2}, {"attempt": 2}, {"action": "erase"}, {"request_id": uuid4()}])
    def test_an_id_that_is_not_what_it_asks_is_forged(self, change: dict[str, object]) -> None:
        task = task_of(uuid4()).model_copy(update=change)
        with pytest.raises(Unusable, match="forged_task"):
            read_task(self.record(task.model_dump_json(warnings=False).encode()), STORE)

    @pytest.mark.parametrize("value", [None, b"\xff", b"[]", b"[" * 100_000])
    def test_hostile_bytes(self, value: bytes | None) -> None:
        with pytest.raises(Unusable, match="undecodable"):
            read_task(self.record(value), STORE)

    @pytest.mark.parametrize("due_at", ["0001-01-01T00:00:00+14:00", "never", "2026-06-01T09:00:00"])
    def test_hostile_times(self, due_at: str) -> None:
        body = task_of(uuid4()).model_dump(mode="json") | {"due_at": due_at}
        with pytest.raises(Unusable, match="undecodable"):
            read_task(self.record(json.dumps(body).encode()), STORE)


class TestFinding:
    def test_a_store_that_is_not_in_the_inventory(self) -> None:
        with pytest.raises(LetheiaError, match="name one of app, recordings, crm, analytics"):
            find_connector("ap", sample_inventory())

    def test_a_missing_driver_breaks_its_own_store_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        inventory = sample_inventory()
        monkeypatch.setitem(sys.modules, "services.connectors.crm", None)
        with pytest.raises(LetheiaError, match="connector crm of store crm lacks module"):
            find_connector("crm", inventory)
        assert callable(find_connector("app", inventory))

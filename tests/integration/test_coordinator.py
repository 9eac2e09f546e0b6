"""The coordinator's shell on a real database: what is taken in, what is refused, what is kept, and in whose order."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from joserfc.jwk import OKPKey

from contracts.requests import Submission
from contracts.sealing import open_direct
from contracts.topics import Topic
from services.coordinator import housekeeping
from services.coordinator.handler import Handler
from services.kit import outbox
from services.kit.inventory import Limits
from services.kit.kafka import RawRecord
from services.kit.postgres import Connection
from services.kit.telemetry import Telemetry
from tests.support.coordinator import Desk, Shelf, found, open_desk, person, reported
from tests.support.inventory import sample_inventory
from tests.support.letheia_database import LetheiaDatabase, letheia_database
from tests.support.memory_bucket import MemoryBucket
from tests.support.postgres import PostgresServer
from tests.support.publisher import CONSOLE, NOW, REQUEST, amendment, record, sent, submission
from tests.support.s3 import chunks

EMAIL, PHONE = "jeanne.doe@example.org", "+33123456789"
SOON = timedelta(seconds=1)
THIEF = OKPKey.generate_key("Ed25519", {"kid": "portal"})


@pytest.fixture
async def database(postgres_server: PostgresServer) -> LetheiaDatabase:
    return await letheia_database(postgres_server)


@pytest.fixture
async def desk(database: LetheiaDatabase) -> AsyncIterator[Desk]:
    async with open_desk(database) as desk:
        yield desk


def of_person(*values: str, **overrides: object) -> Submission:
    return submission(identifiers=[{"kind": "email", "value": value} for value in values], **overrides)


def decided(decision: str, **overrides: object) -> RawRecord:
    """What the DPO decides, by the console."""
    return sent(amendment(decision, **{"decision_id": uuid4(), **overrides}), CONSOLE)


async def kinds(desk: Desk, request_id: UUID = REQUEST) -> list[str]:
    return [entry["kind"] for entry in await desk.journal(request_id)]


def poisoned() -> RawRecord:
    """A message that the intake takes and PostgreSQL can't: a NUL in a name."""
    return decided("hold", decided_by="d\x00po")


# -- taking in


async def test_a_request_goes_all_the_way_and_its_subject_is_forgotten(desk: Desk) -> None:
    desk.shelves[REQUEST] = person(
        app=Shelf(2, [found("contact_id", "c-17"), found("call_id", "call-1")]), recordings=Shelf(3)
    )
    await desk.deliver(sent(submission()))
    assert await desk.phase() == "discovering"
    assert set(await desk.vault.keys(desk.admin, [REQUEST])) == {REQUEST}
    await desk.run()
    status = await desk.status()
    assert (status["phase"], status["outcome"]) == ("closed", "completed")
    assert {store["store"]: store["erased"] for store in status["stores"]} == {
        "app": {"customers": 2}, "crm": {"customers": 1}, "recordings": {"customers": 3}, "analytics": {},
    }  # fmt: skip
    content = await desk.content()
    assert not content["vault.keys"]
    assert not content["vault.permits"]
    assert not content["vault.identifiers"]
    assert {row["kind"] for row in await desk.admin.fetch("SELECT kind FROM coordinator.timers")} == {
        "warning",
        "breach",
    }
    assert await kinds(desk)


async def test_the_status_document_has_interfaces_fields(desk: Desk) -> None:
    await desk.deliver(sent(submission()))
    await desk.run()
    status = await desk.status()
    assert set(status) == {
        "request_id", "right", "phase", "outcome", "revision", "controller", "our_role", "publisher", "attention",
        "received_on", "due_on", "strict_due_on", "days_left", "extended", "informed_on", "stores", "bundle",
        "trace_id",
    }  # fmt: skip
    assert set(status["stores"][0]) == {
        "store", "state", "level", "asked_with", "found", "erased", "remaining", "retained", "locked", "attempts",
        "error",
    }  # fmt: skip
    assert (status["due_on"], status["strict_due_on"], status["our_role"]) == ("2026-12-01", "2026-12-01", "controller")


async def test_the_same_request_twice_is_accepted_once(desk: Desk) -> None:
    first = sent(submission())
    await desk.deliver(first, first, sent(submission(issued_at=NOW - SOON)))
    await desk.deliver(first, sent(submission(issued_at=NOW - timedelta(days=2))))
    assert len(await desk.tasks()) == 4
    assert (await kinds(desk)).count("opened") == 1
    assert await desk.letters() == []


async def test_other_content_under_its_id_is_refused_and_noted_once(desk: Desk) -> None:
    other = sent(submission(right="portability"))
    await desk.deliver(sent(submission()), other)
    before = await desk.content()
    await desk.deliver(other)
    assert await desk.content() == before
    assert [entry["code"] for entry in await desk.journal() if entry["kind"] == "refused"] == ["other_content"]
    assert await desk.letters() == ["other_content"]
    assert (await desk.status())["right"] == "erasure"


async def test_delivered_again_nothing_changes(desk: Desk) -> None:
    waiting = amendment("inform", decision_id=uuid4())
    await desk.deliver(sent(waiting, CONSOLE), sent(submission(), request_id=str(uuid4())), record(b"\xff"))
    await desk.deliver(sent(submission()), decided("inform"), decided("approve"), sent(submission(right="portability")))
    tasks = await desk.tasks()
    forged = (await desk.report(tasks[0])).model_copy(update={"mac": "0" * 64})
    await desk.deliver(reported(forged), *[await desk.answer(task) for task in tasks])
    await desk.run()
    assert await desk.phase() == "closed"
    before = await desk.content()
    for start in range(0, len(desk.heard), 3):
        await desk.deliver(*desk.heard[start : start + 5])
    await desk.deliver(*reversed(desk.heard))
    assert await desk.content() == before


async def test_a_poisonous_record_is_a_dead_letter_and_the_rest_of_its_batch_goes_on(desk: Desk) -> None:
    ids = [uuid4() for _ in range(7)]
    batch = [sent(of_person(f"{id_}@example.org", request_id=id_)) for id_ in ids]
    await desk.deliver(sent(submission()))
    await desk.deliver(*batch[:4], poisoned(), *batch[4:])
    assert await desk.letters() == ["unprocessable"]
    assert {await desk.phase(id_) for id_ in ids} == {"discovering"}
    assert [(e["kind"], e.get("code")) for e in await desk.journal()][-1] == ("refused", "unprocessable")


async def test_a_submission_that_fails_unforeseen_still_reaches_a_person(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(desk.vault, "create", fails)
    await desk.deliver(sent(submission()))
    assert (await desk.attention(), await desk.letters()) == ("invalid_submission", ["unprocessable"])
    monkeypatch.setattr(Handler, "_unusable", fails)
    await desk.deliver(sent(submission(request_id=uuid4())))
    assert await desk.letters() == ["unprocessable"] * 2, "and what can't even be refused is kept"


async def test_an_amendment_before_its_request_waits_for_it(desk: Desk) -> None:
    first, second = decided("inform", on=date(2026, 11, 1), note="by letter"), decided("hold")
    await desk.deliver(first, second, first)
    early = (await desk.content())["coordinator.early"]
    assert len(early) == 2
    await desk.deliver(sent(submission(), THIEF))
    assert await desk.attention() == "invalid_submission"
    await desk.deliver(sent(submission()))
    entries = await desk.journal()
    assert [e["detail"]["decision"] for e in entries if e["kind"] == "decision"] == ["inform", "hold"]
    assert (await desk.status())["informed_on"] == "2026-11-01"
    await desk.run()
    assert await desk.phase() == "on_hold"
    assert (await desk.content())["coordinator.early"] == []


async def test_a_decision_on_what_nobody_can_read_waits_unless_it_is_about_that(desk: Desk) -> None:
    await desk.deliver(sent(submission(), THIEF))
    await desk.deliver(sent(amendment("withdraw")), decided("inform"))
    assert len((await desk.content())["coordinator.early"]) == 1
    assert await desk.attention() == "invalid_submission"
    await desk.deliver(sent(submission()))
    await desk.run()
    assert (await desk.status())["outcome"] == "withdrawn"
    assert (await desk.status())["informed_on"] == "2026-11-02"


async def test_a_waiting_amendment_that_is_no_longer_allowed_is_a_dead_letter(database: LetheiaDatabase) -> None:
    async with open_desk(database) as before:
        await before.deliver(sent(amendment("withdraw")))
    sample = sample_inventory()
    narrow = sample.publishers["crm-portal"].model_copy(update={"amendments": ()})
    changed = sample.model_copy(update={"publishers": {**sample.publishers, "crm-portal": narrow}})
    async with open_desk(database, inventory=changed) as desk:
        await desk.deliver(sent(submission()))
        assert (await desk.letters(), await desk.phase()) == (["amendment_not_allowed"], "discovering")


async def test_only_its_publisher_and_the_console_amend_a_request(desk: Desk) -> None:
    await desk.deliver(sent(submission(), CONSOLE))
    await desk.deliver(sent(amendment("withdraw")))
    assert (await desk.letters(), await desk.phase()) == (["amendment_not_allowed"], "discovering")


async def test_what_nobody_came_back_for_goes_after_thirty_days(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    async def delete(*arguments: Any) -> None:
        asked.append(arguments)

    monkeypatch.setattr(housekeeping, "delete_before", delete)
    monkeypatch.setattr(housekeeping, "_EVERY_S", 0.02)
    await desk.deliver(sent(amendment("withdraw")), record(b"\xff"))
    bucket = MemoryBucket()
    keeping = asyncio.create_task(housekeeping.keep_house("broker", desk.pool, bucket, desk.clock))
    try:
        async with asyncio.timeout(30):
            while len(asked) < 3:
                await asyncio.sleep(0.01)
            content = await desk.content()
            assert (len(content["coordinator.early"]), len(content["vault.dead_letters"])) == (1, 1)
            desk.clock.at += timedelta(days=30, seconds=1)
            while any((content["coordinator.early"], content["vault.dead_letters"])):
                content = await desk.content()
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert asked[0] == ("broker", Topic.REQUESTS, NOW - timedelta(days=7), "letheia.coordinator")


async def test_an_expired_bundle_goes_key_objects_and_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def delete(*_: Any) -> None: ...

    monkeypatch.setattr(housekeeping, "delete_before", delete)
    monkeypatch.setattr(housekeeping, "_EVERY_S", 0.02)
    await desk.deliver(sent(submission(right="portability")))
    await desk.run()
    bucket, other = MemoryBucket(), uuid4()
    await bucket.put(f"{REQUEST}/1/app/member", chunks(b"sealed"))
    await bucket.put(f"{other}/1/app/member", chunks(b"sealed"))
    keeping = asyncio.create_task(housekeeping.keep_house("broker", desk.pool, bucket, desk.clock))
    try:
        assert len((await desk.content())["coordinator.bundles"]) == 1
        desk.clock.at += timedelta(days=15)
        await desk.fire()
        async with asyncio.timeout(30):
            while (await desk.content())["coordinator.bundles"]:
                await asyncio.sleep(0.01)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert [key for key, _ in bucket.contents] == [f"{other}/1/app/member"]
    assert (await desk.content())["vault.keys"] == []


# -- what can't be acted on


async def test_an_unreadable_submission_waits_for_a_person_or_a_readable_one(desk: Desk) -> None:
    await desk.deliver(sent(submission(), THIEF), record(b"\xff", key=b"no id"))
    status = await desk.status()
    assert status["attention"] == {"code": "invalid_submission", "since": "2026-11-02T09:00:00Z", "choices": ["reject"]}
    assert (status["right"], status["controller"], status["due_on"]) == (None, None, "2026-12-02")
    assert await desk.letters() == ["bad_signature", "undecodable"]
    await desk.deliver(sent(submission()))
    await desk.run()
    assert (await desk.status())["outcome"] == "completed"
    assert [entry["kind"] for entry in await desk.journal()][:3] == ["phase", "opened", "phase"]


async def test_an_unreadable_submission_that_was_rejected_is_taken_over_by_nobody(desk: Desk) -> None:
    await desk.deliver(sent(submission(), THIEF), decided("reject"))
    valid = sent(submission())
    await desk.deliver(valid, valid)
    content = await desk.content()
    assert (await desk.status())["outcome"] == "rejected"
    assert content["vault.keys"] == content["vault.identifiers"] == content["vault.permits"] == []
    assert await desk.letters() == ["bad_signature", "other_content"]


async def test_a_forged_report_changes_nothing(desk: Desk) -> None:
    await desk.deliver(sent(submission()))
    tasks = await desk.tasks()
    before = await desk.content()
    honest = await desk.report(tasks[0])
    for forged in (
        reported(honest, mac="0" * 64),
        reported(honest, mac="é"),
        reported(honest, mac=""),
        reported(honest, result="revoked"),
        reported(honest, newer="field"),
    ):
        await desk.deliver(forged)
    assert await desk.letters() == ["forged_report"] * 5
    assert {**(await desk.content()), "vault.dead_letters": []} == {**before, "vault.dead_letters": []}


async def test_a_report_of_no_request_is_a_dead_letter_and_one_of_a_closed_request_is_not(desk: Desk) -> None:
    await desk.deliver(sent(submission()))
    report = await desk.report((await desk.tasks())[0])
    await desk.deliver(decided("withdraw"))
    await desk.fire(timedelta(seconds=121))
    assert (await desk.status())["outcome"] == "withdrawn"
    before = await desk.content()
    await desk.deliver(reported(report))
    assert await desk.content() == before
    await desk.deliver(reported(report.model_copy(update={"request_id": uuid4()})), record(b"{", topic=Topic.REPORTS))
    assert await desk.letters() == ["unknown_request", "undecodable"]
    unread = uuid4()
    await desk.deliver(sent(submission(request_id=unread), THIEF))
    await desk.deliver(reported(report.model_copy(update={"request_id": unread})))
    assert (await desk.letters())[-1] == "forged_report"


async def test_a_publisher_may_send_so_many_a_day(database: LetheiaDatabase) -> None:
    limited = sample_inventory().model_copy(update={"limits": Limits(requests_per_publisher_per_day=2)})
    ids = [uuid4() for _ in range(3)]
    batch = [sent(of_person(f"{id_}@example.org", request_id=id_)) for id_ in ids]
    async with open_desk(database, inventory=limited) as desk:
        await desk.deliver(*batch, sent(submission(), CONSOLE))
        assert [await desk.attention(id_) for id_ in (*ids, REQUEST)] == [None, None, "invalid_submission", None]
        assert await desk.letters() == ["over_daily_limit"]
        desk.clock.at += timedelta(days=1, seconds=1)
        again = of_person("again@example.org", request_id=ids[2], issued_at=desk.clock.at)
        await desk.deliver(sent(again, at=desk.clock.at))
        assert await desk.attention(ids[2]) is None


# -- people's decisions and the vault


async def test_what_a_person_says_of_a_placeholder_stands_in_the_vault(desk: Desk) -> None:
    other = uuid4()
    for request_id in (REQUEST, other):
        await desk.deliver(sent(of_person(EMAIL, "noreply@example.org", request_id=request_id)))
        assert await desk.attention(request_id) == "placeholder"
    assert await desk.tasks() == []
    await desk.deliver(decided("accept"), decided("approve", request_id=other))
    keys = await desk.vault.keys(desk.admin, [REQUEST, other])
    known = await desk.vault.identifiers(desk.admin, keys)
    assert {i.value: i.standing for i in known[REQUEST]} == {EMAIL: "trusted", "noreply@example.org": "set_aside"}
    assert {i.value: i.standing for i in known[other]} == {EMAIL: "trusted", "noreply@example.org": "confirmed"}
    assert not any(identifier.contested for identifier in known[REQUEST])
    held = await desk.admin.fetch("SELECT request_id, count(*) FROM coordinator.persons GROUP BY 1")
    assert {row["request_id"]: row["count"] for row in held} == {REQUEST: 1, other: 2}, (
        "who was set aside is nobody here"
    )


@pytest.mark.parametrize(("decision", "standing"), [("approve", "confirmed"), ("accept", "set_aside")])
async def test_what_a_person_says_of_a_shared_identifier_stands_in_the_vault(
    desk: Desk, decision: str, standing: str
) -> None:
    conflict = {"code": "shared_identifier", "kind": "phone", "category": "customers", "count": 3}
    shelves = desk.shelves[REQUEST] = person(
        app=Shelf(2, [found("phone", PHONE, contested="shared_identifier")], says={"conflicts": [conflict]})
    )
    await desk.deliver(sent(submission()))
    await desk.run()
    assert await desk.attention() == "shared_identifier"
    permits = await desk.vault.permits(desk.admin, [REQUEST])
    assert permits[REQUEST].action is None, "nothing is allowed meanwhile"
    shelves["app"].says = {}
    await desk.deliver(decided(decision))
    known = await desk.vault.identifiers(desk.admin, await desk.vault.keys(desk.admin, [REQUEST]))
    assert {i.kind: (i.standing, i.contested) for i in known[REQUEST]} == {
        "email": ("trusted", None),
        "phone": (standing, None),
    }
    await desk.run()
    assert await desk.phase() == "closed"


async def test_a_note_is_sealed_and_the_journal_covers_its_hash(desk: Desk) -> None:
    await desk.deliver(sent(submission()), decided("inform", note="told Jeanne by telephone"))
    entry = next(e for e in await desk.journal() if e["kind"] == "decision")
    assert len(entry["note_hash"]) == 64
    sealed = await desk.admin.fetchval("SELECT sealed FROM coordinator.notes")
    key = (await desk.vault.keys(desk.admin, [REQUEST], "record"))[REQUEST]
    assert open_direct(sealed, key) == b"told Jeanne by telephone"


async def test_no_identifier_leaves_the_vault(
    database: LetheiaDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = [EMAIL, "jeanne", PHONE, "0123456789", "c-17-secret", "told her"]
    telemetry = Telemetry("coordinator", tmp_path / "spans")
    with caplog.at_level(logging.DEBUG):
        async with open_desk(database, telemetry=telemetry) as desk:
            given = [{"kind": "email", "value": EMAIL}, {"kind": "phone", "value": "+33 1 23 45 67 89"}]
            desk.shelves[REQUEST] = person(app=Shelf(2, [found("contact_id", "c-17-secret")]))
            bad = [{"kind": "email", "value": EMAIL}, {"kind": "phone", "value": EMAIL}]
            await desk.deliver(
                sent(submission(identifiers=given)), decided("inform", note="told her"), poisoned(),
                sent(submission(identifiers=bad, request_id=uuid4())), record(EMAIL.encode(), key=EMAIL.encode()),
                sent(amendment("hold", request_id=uuid4(), note="told her"), CONSOLE), record({"request_id": EMAIL}),
            )  # fmt: skip
            middle = await desk.content()
            assert middle["vault.identifiers"]
            await desk.run()
            texts = [json.dumps(middle), json.dumps(await desk.content())]
            assert await desk.phase() == "closed"
        telemetry.close()
    texts += [(tmp_path / "spans").read_text(), *(f"{r.getMessage()} {r.__dict__}" for r in caplog.records)]
    assert (tmp_path / "spans").stat().st_size
    for text in texts:
        for secret in secrets:
            assert secret.lower() not in text.lower()


# -- transactions


async def test_what_is_said_is_written_with_its_effect_or_not_at_all(desk: Desk) -> None:
    before = await desk.content()
    batch = [desk.handler.read(each) for each in (sent(submission()), sent(submission(request_id=uuid4()), THIEF))]

    async def crash() -> None:
        async with desk.pool.acquire() as db, db.transaction():
            await desk.handler.handle(db, batch)
            assert await db.fetchval("SELECT count(*) FROM outbox") > 4
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await crash()
    assert await desk.content() == before
    await desk.intaker.handle(batch)
    rows = await desk.pool.fetch("SELECT topic, key, headers FROM outbox ORDER BY id")
    assert [(row["topic"], row["key"]) for row in rows][:5] == [(Topic.TASKS, REQUEST)] * 4 + [(Topic.STATUS, REQUEST)]
    assert {dict(row["headers"]).get("letheia-to") for row in rows[:4]} == {"app", "crm", "recordings", "analytics"}
    assert all(dict(row["headers"])["traceparent"] for row in rows)


@pytest.mark.parametrize("error", [asyncpg.DeadlockDetectedError, asyncpg.ConnectionDoesNotExistError, OSError])
async def test_a_passing_failure_is_tried_again_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    put, calls = outbox.put, 0

    async def fails_twice(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        await put(*arguments)
        if calls <= 2:
            raise error

    monkeypatch.setattr(outbox, "put", fails_twice)
    monkeypatch.setattr("services.coordinator.consumer._PAUSE_S", 0.01)
    await desk.deliver(sent(submission()), sent(of_person("x@example.org", request_id=UUID(int=9))))
    assert len(await desk.tasks()) == 8
    assert (await desk.letters(), await kinds(desk)) == ([], ["opened", "phase"])


async def test_an_argument_that_the_driver_refuses_is_no_database_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(db: Connection, *_: object) -> None:
        await db.execute("SELECT $1::int", "x")

    monkeypatch.setattr(outbox, "put", refuses)
    await asyncio.wait_for(desk.deliver(sent(submission())), 30)
    assert await desk.letters() == ["unprocessable"]


async def test_the_journal_is_append_only_by_role(desk: Desk) -> None:
    await desk.deliver(sent(submission()))
    for statement in ("UPDATE journal SET seq = 9", "DELETE FROM journal", "TRUNCATE journal", "DROP TABLE journal"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await desk.pool.execute(statement)
    assert await kinds(desk) == ["opened", "phase"]


# -- several coordinators


async def test_two_coordinators_on_one_saga_lose_no_transition(database: LetheiaDatabase, desk: Desk) -> None:
    async with open_desk(database) as second:
        for _ in range(4):
            request_id = uuid4()
            await desk.deliver(sent(of_person(f"{request_id}@example.org", request_id=request_id)))
            tasks = [task for task in await desk.tasks() if task.request_id == request_id]
            answers = [await desk.answer(task) for task in tasks]
            late = [await desk.report(task.model_copy(update={"task_id": uuid4(), "round": 0})) for task in tasks * 3]
            batches = [[answer] for answer in answers] + [[reported(each)] for each in late]
            hands = [desk, second] * len(batches)
            await asyncio.gather(*[hand.deliver(*batch) for hand, batch in zip(hands, batches, strict=False)])
            assert (await kinds(desk, request_id)).count("report") == len(tasks)
            assert (await kinds(desk, request_id)).count("late_report") == len(late)
            state = await desk.pool.fetchval("SELECT state FROM sagas WHERE request_id = $1", request_id)
            assert len(state["heard"]) == len(tasks) + len(late)
        assert await desk.letters() == []


async def test_two_coordinators_that_are_handed_one_submission_open_one_saga(
    database: LetheiaDatabase, desk: Desk
) -> None:
    async with open_desk(database) as second:
        for number in range(6):
            request_id = UUID(int=100 + number)
            both = [
                sent(of_person("x@example.org", request_id=request_id)),
                sent(submission(request_id=request_id), THIEF),
            ]
            await asyncio.gather(desk.deliver(*both), second.deliver(*both), second.deliver(both[1], both[0]))
            assert (await kinds(desk, request_id)).count("opened") == 1
        assert set(await desk.letters()) == {"bad_signature"}
        assert len(await desk.tasks()) == 4 * 6


@pytest.mark.parametrize("seed", range(3))
async def test_journal_numbers_hold_whoever_writes(database: LetheiaDatabase, desk: Desk, seed: int) -> None:
    random = Random(seed)
    ids = [uuid4() for _ in range(3)]
    await desk.deliver(*[sent(of_person(f"{id_}@example.org", request_id=id_)) for id_ in ids])
    decisions = [decided("inform", request_id=random.choice(ids)) for _ in range(60)]
    batches = [random.sample(decisions, random.randint(1, 8)) for _ in range(12)]
    async with open_desk(database) as second:
        await asyncio.gather(*[random.choice((desk, second)).deliver(*batch) for batch in batches])
        await desk.deliver(*decisions)
    entries = [await kinds(desk, id_) for id_ in ids]
    assert [each[:2] for each in entries] == [["opened", "phase"]] * 3
    assert sorted(kind for each in entries for kind in each[2:]) == ["decision"] * 60
    assert await desk.letters() == []


async def test_a_timer_fires_once_whoever_sees_it(database: LetheiaDatabase, desk: Desk) -> None:
    await desk.deliver(sent(submission()))
    await desk.run()
    async with open_desk(database, clock=desk.clock) as second:
        desk.clock.at += timedelta(days=40)
        await asyncio.gather(*[each.fire() for each in (desk, second) * 3])
    codes = [entry.get("code") for entry in await desk.journal() if entry["kind"] == "timer"]
    assert sorted(codes) == ["breach", "warning", "warning", "warning"]
    assert await desk.pool.fetchval("SELECT count(*) FROM timers") == 0


async def test_a_timer_that_fails_is_put_off_and_the_others_fire(desk: Desk) -> None:
    ids = [uuid4() for _ in range(5)]
    await desk.deliver(*[sent(of_person(f"{id_}@example.org", request_id=id_)) for id_ in ids])
    assert len(await desk.tasks()) == 20
    broken = await desk.pool.fetchval("SELECT state FROM sagas WHERE request_id = $1", ids[2])
    await desk.pool.execute("UPDATE sagas SET state = '{}' WHERE request_id = $1", ids[2])
    await desk.fire(timedelta(seconds=21))
    assert {task.request_id for task in await desk.tasks()} == {*ids} - {ids[2]}, "the others are asked again"
    await desk.pool.execute("UPDATE sagas SET state = $2 WHERE request_id = $1", ids[2], broken)
    await desk.fire(timedelta(minutes=5))
    assert ids[2] in {task.request_id for task in await desk.tasks()}


# -- one person, several requests


async def open_two(desk: Desk, **second: object) -> UUID:
    """Two requests about one person, the first of which has begun to act."""
    other = uuid4()
    await desk.deliver(sent(submission()))
    while await desk.phase() != "erasing":
        await desk.deliver(*[await desk.answer(task) for task in await desk.tasks()])
    await desk.deliver(sent(submission(request_id=other, **second)))
    return other


async def test_a_second_request_of_one_person_waits_and_wakes_when_the_first_is_done(desk: Desk) -> None:
    other = await open_two(desk, right="portability")
    erase = await desk.tasks()
    mine = [task for task in erase if task.request_id == other]
    assert len(mine) == 4
    await desk.deliver(*[await desk.answer(task) for task in mine])
    assert await desk.phase(other) == "waiting"
    assert (await desk.vault.permits(desk.admin, [other]))[other].action is None
    await desk.deliver(*[await desk.answer(task) for task in erase if task.request_id != other])
    await desk.run()
    assert await desk.phase() == "closed"
    await desk.fire()
    assert await desk.phase(other) == "discovering"
    await desk.run()
    assert await desk.phase(other) == "closed"


async def test_while_the_first_needs_a_person_the_second_waits(desk: Desk) -> None:
    other = await open_two(desk)
    desk.shelves[REQUEST]["crm"].says = {"result": "terminal", "code": "missing_scope"}
    await desk.run()
    assert (await desk.attention(), await desk.phase(other)) == ("store_failed", "waiting")
    await desk.fire()
    assert await desk.phase(other) == "waiting"


async def test_a_portability_that_is_looking_goes_before_an_erasure_that_is_ready(desk: Desk) -> None:
    other = uuid4()
    await desk.deliver(sent(submission(request_id=other, right="portability", received_on="2026-11-02")))
    await desk.deliver(sent(submission()))
    for_erasure = [task for task in await desk.tasks() if task.request_id == REQUEST]
    await desk.deliver(*[await desk.answer(task) for task in for_erasure])
    assert await desk.phase() == "waiting"


async def test_requests_of_different_persons_or_controllers_do_not_wait(desk: Desk) -> None:
    ids = [uuid4() for _ in range(3)]
    await desk.deliver(sent(submission()))
    await desk.deliver(
        sent(of_person("somebody@example.org", request_id=ids[0])),
        sent(submission(request_id=ids[1], controller="globex")),
        sent(submission(request_id=ids[2], identifiers=[{"kind": "phone", "value": PHONE}])),
    )
    desk.shelves[ids[1]] = {"app": Shelf(1), "recordings": Shelf(1)}
    await desk.run()
    assert [await desk.phase(id_) for id_ in (REQUEST, *ids)] == ["closed"] * 4


async def test_of_two_that_claim_one_person_at_once_exactly_one_acts(database: LetheiaDatabase, desk: Desk) -> None:
    async with open_desk(database) as second:
        for number in range(5):
            ids = [uuid4(), uuid4()]
            values = [f"{number}-{each}@example.org" for each in "ab"]
            await desk.deliver(
                *[
                    sent(of_person(*order, request_id=id_))
                    for id_, order in zip(ids, (values, values[::-1]), strict=True)
                ]
            )
            reports = {
                id_: [await desk.answer(t) for t in tasks] for id_, tasks in by_request(await desk.tasks()).items()
            }
            await asyncio.gather(desk.deliver(*reports[ids[0]]), second.deliver(*reports[ids[1]]))
            phases = [await desk.phase(id_) for id_ in ids]
            assert sorted(phases) == ["erasing", "waiting"]
            await desk.run()
            await desk.fire()
            await desk.run()
            assert [await desk.phase(id_) for id_ in ids] == ["closed"] * 2


def by_request(tasks: list[Any]) -> dict[UUID, list[Any]]:
    grouped: dict[UUID, list[Any]] = {}
    for task in tasks:
        grouped.setdefault(task.request_id, []).append(task)
    return grouped


async def test_two_that_close_and_claim_at_once_leave_nobody_asleep(database: LetheiaDatabase, desk: Desk) -> None:
    async with open_desk(database) as second:
        for _ in range(5):
            ids = [uuid4(), uuid4()]
            value = f"{ids[0]}@example.org"
            await desk.deliver(sent(of_person(value, request_id=ids[0])))
            while await desk.phase(ids[0]) != "proving":
                await desk.deliver(*[await desk.answer(task) for task in await desk.tasks()])
            await desk.deliver(sent(of_person(value, request_id=ids[1])))
            reports = {
                id_: [await desk.answer(t) for t in tasks] for id_, tasks in by_request(await desk.tasks()).items()
            }
            await asyncio.gather(desk.deliver(*reports[ids[0]]), second.deliver(*reports[ids[1]]))
            assert await desk.phase(ids[0]) == "closed"
            await desk.fire()
            await desk.run()
            assert await desk.phase(ids[1]) == "closed"


async def test_a_controller_that_left_the_inventory_leaves_its_requests_to_a_person(
    database: LetheiaDatabase, desk: Desk
) -> None:
    await desk.deliver(sent(submission(controller="globex", right="portability")))
    tasks = await desk.tasks()
    answers = [reported(await desk.report(task, asked_with=("email",), found={"recordings": 1})) for task in tasks]
    sample = sample_inventory()
    without = {name: each for name, each in sample.controllers.items() if name != "globex"}
    async with open_desk(database, inventory=sample.model_copy(update={"controllers": without})) as later:
        await later.deliver(*answers)
        assert (await later.attention(), await later.letters()) == ("store_failed", [])

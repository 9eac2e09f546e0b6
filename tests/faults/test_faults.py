"""Real processes, killed, stopped and lied to. Afterwards nothing is lost, left, leaked or taken from a bystander."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer

from contracts.reports import Result, TaskReported
from contracts.tasks import Action, TaskIssued, task_id
from contracts.topics import MessageType, Topic
from deploy.sample.model import Person
from tests.support.leaks import leaks
from tests.support.stack import Stack, send

REQUESTS = 100
POINTS = (
    "coordinator", "relay-coordinator", "relay-connectorsapp", "relay-console",
    *(f"{action}-{store}" for action in ("discover", "erase") for store in ("app", "recordings", "crm", "analytics")),
    "crm-notes-gone", "crm-contact-gone",
)  # fmt: skip


def points(stack: Stack) -> Path:
    return stack.home.parent / "points"


async def ask(stack: Stack, person: Person) -> UUID:
    request = stack.submission({"email": person.email})
    await stack.publish(request)
    return request.request_id


async def ask_for_approval(stack: Stack, person: Person) -> UUID:
    """By the console, whose erasures wait for a person before the first act."""
    body = {
        "right": "erasure", "controller": "acme", "identity": {"verified": True, "method": "letter"},
        "identifiers": [{"kind": "email", "value": person.email}],
    }  # fmt: skip
    async with stack.api() as session, session.post("/api/v1/requests", json=body) as response:
        return UUID((await response.json())["request_id"])


@contextmanager
def stopped(stack: Stack, part: str) -> Iterator[None]:
    """A process that is there and does nothing."""
    pid = stack.parts()[part]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_hundred_requests_outlive_their_services_and_the_bus(faulty: Stack) -> None:
    """Two coordinators run; one of them, two connectors and Kafka are killed while all is under way."""
    sample = await faulty.people(2 * REQUESTS)
    chosen = [person for person in sample.people if person.unattended][:REQUESTS]
    assert len(chosen) == REQUESTS
    before = await faulty.snapshot()
    requests = [faulty.submission({"email": person.email}) for person in chosen]
    await faulty.publish(*requests)
    for part in ("coordinator", "connector-app", "kafka", "connector-crm"):
        await asyncio.sleep(1)  # so that each dies at another point of the work
        faulty.kill(part)
    documents = [await faulty.closed(request.request_id, patience_s=600) for request in requests]
    assert {document["outcome"] for document in documents} <= {"completed", "completed_with_retention"}
    assert await faulty.wrong(before, chosen) == []
    identifiers = {identifier for person in chosen for identifier in person.identifiers(None) if len(identifier) > 6}
    assert await leaks(faulty, identifiers) == []
    async with faulty.database() as db:
        rows = await db.fetch(
            "SELECT count(*) AS entries, max(seq) AS last FROM coordinator.journal WHERE request_id = ANY($1)"
            " GROUP BY request_id",
            [request.request_id for request in requests],
        )
    assert len(rows) == REQUESTS
    assert all(row["entries"] == row["last"] for row in rows)


async def test_killed_between_an_effect_and_its_commit(faulty: Stack) -> None:
    """Every point is armed at once; requests are published until each has killed whoever passed it."""
    sample = await faulty.people(2 * len(POINTS))
    before = await faulty.snapshot()
    for point in POINTS:
        (points(faulty) / point).touch()
    people = [person for person in sample.people if person.unattended]
    by_console = people.pop()
    approving = await ask_for_approval(faulty, by_console)
    erased, asked = [by_console], [approving]
    while people and any(points(faulty).iterdir()):
        erased.append(people.pop())
        asked.append(await ask(faulty, erased[-1]))
        await asyncio.sleep(0.5)
    await faulty.stopped(approving, "approval")
    await faulty.decide(approving, "approve")
    for request_id in asked:
        await faulty.closed(request_id)
    assert list(points(faulty).iterdir()) == [], "nobody passed these points"
    assert await faulty.wrong(before, erased) == []


async def test_everything_said_again_out_of_order_changes_nothing(faulty: Stack) -> None:
    sample = await faulty.people(2)
    erased, other = sample.people
    first = await ask(faulty, erased)
    closed = await faulty.closed(first)
    before = await faulty.snapshot()
    async with faulty.database() as db:
        journal = await db.fetchval("SELECT count(*) FROM coordinator.journal WHERE request_id = $1", first)
    replayed = [record async for record in _everything(faulty)]
    random.Random(7).shuffle(replayed)
    async with faulty.producer() as producer:
        answers = [await producer.send(r.topic, r.key, r.value, list(r.headers)) for r in replayed]
        await asyncio.gather(*answers)
    second = await ask(faulty, other)
    await faulty.closed(second)
    assert await faulty.status(first) | {"days_left": None} == closed | {"days_left": None}
    assert await faulty.wrong(before, [other]) == []
    async with faulty.database() as db:
        assert await db.fetchval("SELECT count(*) FROM coordinator.journal WHERE request_id = $1", first) == journal


async def _everything(stack: Stack) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        Topic.REQUESTS, Topic.TASKS, Topic.REPORTS,
        bootstrap_servers=stack.endpoints["kafka"]["bootstrap_servers"], auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


async def test_a_row_written_between_discovery_and_erasure_is_not_orphaned(faulty: Stack) -> None:
    sample = await faulty.people(1)
    person = sample.people[0]
    contact = next(row.id for row in person.held.rows if type(row).__name__ == "Contact")
    request_id = await ask_for_approval(faulty, person)
    await faulty.stopped(request_id, "approval")
    call = uuid4()
    app = await asyncpg.connect(faulty.endpoints["stores"]["app"]["url"])
    await app.execute(
        "INSERT INTO own_call (id, contact_id, started_at, seconds) VALUES ($1, $2, now(), 1)", call, contact
    )
    await faulty.decide(request_id, "approve")
    await faulty.closed(request_id)
    assert await app.fetchval("SELECT count(*) FROM own_call WHERE contact_id = $1", contact) == 0
    await app.close()
    async with faulty.database() as db:
        returned = await db.fetchval(
            "SELECT count(*) FROM coordinator.journal WHERE request_id = $1 AND entry->>'kind' = 'returned'", request_id
        )
    assert returned == 1, "the new call leads back to discovery, so that its recording is looked for"


async def test_a_child_written_while_its_parent_is_deleted_goes_too(faulty: Stack) -> None:
    sample = await faulty.people(1)
    person = sample.people[0]
    contact = next(row.id for row in person.held.rows if type(row).__name__ == "Contact")
    request_id = await ask_for_approval(faulty, person)
    await faulty.stopped(request_id, "approval")
    app = await asyncpg.connect(faulty.endpoints["stores"]["app"]["url"])
    async with app.transaction():
        await app.execute(
            "INSERT INTO own_call (id, contact_id, started_at, seconds) VALUES ($1, $2, now(), 1)", uuid4(), contact
        )
        await faulty.decide(request_id, "approve")
        await faulty.until(request_id, lambda document: document["phase"] == "erasing")
        await asyncio.sleep(1)  # the parent is being deleted now, and waits for this transaction
    await faulty.closed(request_id)
    assert await app.fetchval("SELECT count(*) FROM own_call WHERE contact_id = $1", contact) == 0
    assert await app.fetchval("SELECT count(*) FROM contact WHERE id = $1", contact) == 0
    await app.close()


async def test_a_forged_task_does_nothing_and_a_forged_report_proves_nothing(faulty: Stack) -> None:
    sample = await faulty.people(1)
    person = sample.people[0]
    request_id = await ask_for_approval(faulty, person)
    await faulty.stopped(request_id, "approval")
    before = await faulty.snapshot()
    forged = TaskIssued(
        task_id=task_id(request_id, 9, "app", Action.ERASE, 1), request_id=request_id, round=9, attempt=1, store="app",
        action=Action.ERASE, due_at=datetime.now(UTC),
    )  # fmt: skip
    lie = TaskReported(
        task_id=uuid4(), request_id=request_id, round=9, attempt=1, store="app", action=Action.DISCOVER,
        result=Result.DONE, mac="0" * 64,
    )  # fmt: skip
    async with faulty.producer() as producer:
        await (
            await send(
                producer, request_id, forged.model_dump_json().encode(), MessageType.TASK_ISSUED, Topic.TASKS, "app"
            )
        )
        await (
            await send(producer, request_id, lie.model_dump_json().encode(), MessageType.TASK_REPORTED, Topic.REPORTS)
        )
    async with faulty.database() as db:
        await _until_row(
            db, "SELECT true FROM connector_app.inbox WHERE task_id = $1 AND state = 'done'", forged.task_id
        )
        await _until_row(
            db, "SELECT true FROM vault.dead_letters WHERE request_id = $1 AND reason = 'forged_report'", request_id
        )
    assert await faulty.wrong(before, []) == []
    await faulty.decide(request_id, "reject")
    await faulty.closed(request_id)


async def _until_row(db: "asyncpg.Connection[asyncpg.Record]", query: str, *arguments: object) -> None:
    for _ in range(600):
        if await db.fetchval(query, *arguments):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"no row for: {query}")


async def test_a_hold_comes_before_the_tasks_that_are_queued(faulty: Stack) -> None:
    sample = await faulty.people(1)
    before = await faulty.snapshot()
    with stopped(faulty, "connector-app"):
        request_id = await ask(faulty, sample.people[0])
        await faulty.until(request_id, lambda document: document["phase"] == "discovering")
        await faulty.decide(request_id, "hold")
        await _until_journalled(faulty, request_id, "hold")
    await faulty.until(request_id, lambda document: document["phase"] == "on_hold")
    assert await faulty.wrong(before, []) == []
    await faulty.decide(request_id, "release")
    await faulty.closed(request_id)
    assert await faulty.wrong(before, sample.people) == []


async def _until_journalled(stack: Stack, request_id: UUID, decision: str) -> None:
    async with stack.database() as db:
        query = "SELECT true FROM coordinator.journal WHERE request_id = $1 AND entry->'detail'->>'decision' = $2"
        await _until_row(db, query, request_id, decision)


async def test_a_second_request_of_a_person_waits_while_the_first_acts(faulty: Stack) -> None:
    """The first is held in the middle of erasing: it has begun to act, so the second must not 'prove' an absence."""
    sample = await faulty.people(1)
    before = await faulty.snapshot()
    first = await ask_for_approval(faulty, sample.people[0])
    await faulty.stopped(first, "approval")
    with stopped(faulty, "connector-analytics"):
        await faulty.decide(first, "approve")
        await faulty.until(first, lambda document: document["phase"] == "erasing")
        await faulty.decide(first, "hold")
        await _until_journalled(faulty, first, "hold")
    await faulty.until(first, lambda document: document["phase"] == "on_hold")
    second = await ask(faulty, sample.people[0])
    await faulty.until(second, lambda document: document["phase"] == "waiting")
    await faulty.decide(first, "release")
    await faulty.closed(first)
    await faulty.stopped(second, "nothing_found")
    assert await faulty.wrong(before, sample.people) == []

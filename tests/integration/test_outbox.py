"""The outbox's relay on a real database: in order, deleted only after the broker's answer, one relay at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from contracts.tasks import Action, TaskIssued, task_id
from contracts.topics import MessageType, Topic
from services.kit import outbox
from services.kit.kafka import KafkaError, Producer
from services.kit.outbox import Outgoing
from services.kit.postgres import Pool, open_pool
from services.kit.telemetry import Telemetry
from tests.support.letheia_database import LetheiaDatabase, letheia_database
from tests.support.postgres import PostgresServer

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
ROLE = "letheia_coordinator"


class Broker(Producer):
    """A broker that answers when the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, dict[str, bytes]]] = []
        self.waiting: list[asyncio.Future[object]] = []
        self.silent = False

    async def send(self, topic: str, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Any:
        self.sent.append((topic, key, dict(headers)))
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self.silent:
            self.waiting.append(answer)
        else:
            answer.set_result(None)
        return answer

    @property
    def ids(self) -> list[bytes]:
        """Of what was sent, in order."""
        return [headers["ce_id"] for _, _, headers in self.sent]


@pytest.fixture
async def database(postgres_server: PostgresServer) -> LetheiaDatabase:
    return await letheia_database(postgres_server)


@pytest.fixture
async def pool(database: LetheiaDatabase) -> AsyncIterator[Pool]:
    async with open_pool(database.url(ROLE)) as pool:
        yield pool


def message(number: int, request: int = 1) -> Outgoing:
    request_id = UUID(int=request)
    id_ = task_id(request_id, number, "app", Action.DISCOVER, 1)
    body = TaskIssued(
        task_id=id_, request_id=request_id, round=number, attempt=1, store="app", action=Action.DISCOVER, due_at=NOW
    )
    return Outgoing(Topic.TASKS, request_id, MessageType.TASK_ISSUED, str(number), body, "app")


async def put(pool: Pool, *messages: Outgoing) -> None:
    async with pool.acquire() as db, db.transaction():
        await outbox.put(db, "letheia.coordinator", messages, NOW, "00-" + "1" * 32 + "-" + "2" * 16 + "-01")


@asynccontextmanager
async def relaying(database: LetheiaDatabase, broker: Broker) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(outbox.relay(database.url(ROLE), broker, Telemetry("relay", None)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def left(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM outbox")
    return count


async def empty(pool: Pool) -> None:
    async with asyncio.timeout(30):
        while await left(pool):
            await asyncio.sleep(0.02)


async def test_messages_leave_in_order_with_their_creators_trace(database: LetheiaDatabase, pool: Pool) -> None:
    broker = Broker()
    await put(pool, *[message(number, request=number % 3) for number in range(700)])
    async with relaying(database, broker):
        await empty(pool)
        await put(pool, message(700), message(701))
        await until(lambda: len(broker.sent) == 702)
        await empty(pool)
    assert broker.ids == [str(number).encode() for number in range(702)]
    topic, key, headers = broker.sent[1]
    assert (topic, key) == ("letheia.tasks.v1", str(UUID(int=1)).encode())
    assert headers["letheia-to"] == b"app"
    assert headers["traceparent"].startswith(b"00-1111")


async def test_what_was_rolled_back_is_never_said(database: LetheiaDatabase, pool: Pool) -> None:
    broker = Broker()

    async def fails() -> None:
        async with pool.acquire() as db, db.transaction():
            await outbox.put(db, "letheia.coordinator", [message(1)], NOW, None)
            raise RuntimeError

    async with relaying(database, broker):
        with pytest.raises(RuntimeError):
            await fails()
        await put(pool, message(2))
        await until(lambda: bool(broker.sent))
        await empty(pool)
    assert broker.ids == [b"2"]


async def test_rows_go_only_after_the_brokers_answer(database: LetheiaDatabase, pool: Pool) -> None:
    broker = Broker()
    broker.silent = True
    await put(pool, message(1), message(2))
    async with relaying(database, broker):
        await until(lambda: len(broker.waiting) == 2)
        assert await left(pool) == 2
        broker.waiting[0].set_result(None)
        assert await left(pool) == 2
        broker.waiting[1].set_result(None)
        await empty(pool)
    assert len(broker.sent) == 2


async def test_a_crash_between_answer_and_delete_sends_again(
    database: LetheiaDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    await put(pool, message(1), message(2))
    with monkeypatch.context() as patch:

        async def dies(*_: object) -> None:
            raise ConnectionResetError

        patch.setattr(outbox, "_forget", dies)
        async with relaying(database, broker) as first:
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(first, 30)
    assert await left(pool) == 2
    async with relaying(database, broker):
        await empty(pool)
    assert broker.ids == [b"1", b"2", b"1", b"2"]


async def test_what_the_broker_refused_stays(database: LetheiaDatabase, pool: Pool) -> None:
    broker = Broker()
    broker.silent = True
    await put(pool, message(1), message(2))
    async with relaying(database, broker) as task:
        await until(lambda: len(broker.waiting) == 2)
        broker.waiting[0].set_result(None)
        broker.waiting[1].set_exception(KafkaError())
        with pytest.raises(KafkaError):
            await asyncio.wait_for(task, 30)
    assert await left(pool) == 2


async def test_one_relay_at_a_time_and_the_next_takes_over(database: LetheiaDatabase, pool: Pool) -> None:
    first, second = Broker(), Broker()
    async with relaying(database, first) as holder:
        await put(pool, message(1))
        await until(lambda: len(first.sent) == 1)
        async with relaying(database, second):
            await put(pool, *[message(number) for number in range(2, 30)])
            await until(lambda: len(first.sent) == 29)
            await empty(pool)
            assert second.sent == []
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)
            await put(pool, message(30))
            await until(lambda: len(second.sent) == 1)
            await empty(pool)
    assert (len(first.sent), second.ids) == (29, [b"30"])

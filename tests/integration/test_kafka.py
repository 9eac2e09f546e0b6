"""The bus on a real broker: topics kept as said, nothing lost by a default, submissions deleted once they may."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import pytest

from contracts.topics import POLICIES, Topic
from services.kit import kafka
from services.kit.kafka import KafkaError, RawRecord, delete_before, open_consumer, open_producer

PARTITIONS = 3


@pytest.fixture(scope="module")
async def broker(kafka_broker: str) -> str:
    await kafka.prepare_topics(kafka_broker, partitions=PARTITIONS, replication=1)
    await kafka.prepare_topics(kafka_broker, partitions=PARTITIONS, replication=1)
    return kafka_broker


async def send(broker: str, topic: Topic, *pairs: tuple[bytes, bytes]) -> None:
    async with open_producer(broker) as producer:
        sent = [await producer.send(topic, key, value, [("ce_id", key)]) for key, value in pairs]
        await asyncio.gather(*sent)


async def read(broker: str, group: str, topics: Sequence[Topic], count: int, commit: bool = True) -> list[RawRecord]:
    """So many records, as a new member of a group."""
    records: list[RawRecord] = []
    async with asyncio.timeout(60), open_consumer(broker, group, topics) as consumer:
        while len(records) < count:
            batch = await consumer.batch(100, 500)
            records += batch
            if commit:
                await consumer.commit(batch)
        assert consumer.assigned()
    return records


async def test_a_topic_that_the_broker_refuses_is_an_error(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(StrEnum):
        TASKS = "letheia.elsewhere.v1"

    monkeypatch.setattr(kafka, "POLICIES", {Elsewhere.TASKS: POLICIES[Topic.TASKS]})
    with pytest.raises(KafkaError):
        await kafka.prepare_topics(kafka_broker, partitions=1, replication=3)


async def test_what_was_not_committed_comes_again_in_order_within_its_key(broker: str) -> None:
    said = [(f"{number % 5}".encode(), f"{number}".encode()) for number in range(40)]
    await send(broker, Topic.TASKS, *said)
    first = await read(broker, "tasks", [Topic.TASKS], 40, commit=False)
    again = await read(broker, "tasks", [Topic.TASKS], 40)
    for records in (first, again):
        for key in range(5):
            mine = [record.value for record in records if record.key == f"{key}".encode()]
            assert mine == [value for k, value in said if k == f"{key}".encode()]
    assert all(record.headers == (("ce_id", record.key),) for record in again)
    await send(broker, Topic.TASKS, (b"0", b"new"))
    assert [record.value for record in await read(broker, "tasks", [Topic.TASKS], 1)] == [b"new"]


async def test_a_report_of_a_large_bundle_gets_through(broker: str) -> None:
    await send(broker, Topic.REPORTS, (b"k", b"x" * 6_000_000))
    assert [len(each.value or b"") for each in await read(broker, "reports", [Topic.REPORTS], 1)] == [6_000_000]


async def test_a_submission_is_deleted_once_it_is_stored_and_old_enough(broker: str) -> None:
    group, now = "letheia.coordinator", datetime.now(UTC)
    await send(broker, Topic.REQUESTS, *[(f"{number}".encode(), b"x") for number in range(20)])
    await delete_before(broker, Topic.REQUESTS, now + timedelta(hours=1), group)
    assert len(await read(broker, group, [Topic.REQUESTS], 20)) == 20, "what is not stored stays, however old"
    await delete_before(broker, Topic.REQUESTS, now - timedelta(hours=1), group)
    assert len(await read(broker, "onlooker", [Topic.REQUESTS], 20, commit=False)) == 20, "and what is young stays"
    await send(broker, Topic.REQUESTS, (b"new", b"y"))
    before = await kafka.backlogs(broker, Topic.REQUESTS, group)
    assert sum(each.end - each.committed for each in before.values()) == 1
    await delete_before(broker, Topic.REQUESTS, now + timedelta(hours=1), group)
    assert [each.value for each in await read(broker, "onlooker", [Topic.REQUESTS], 1, commit=False)] == [b"y"]
    assert before == await kafka.backlogs(broker, Topic.REQUESTS, group)

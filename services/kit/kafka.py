"""The bus: producer, consumer and topics, with every default that could lose a message overridden (FACTS A6)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from contracts.topics import POLICIES, Topic, TopicPolicy

__all__ = ["Consumer", "KafkaError", "Producer", "RawRecord", "open_consumer", "open_producer", "prepare_topics"]

_SEGMENT_MS: Final = 60 * 60 * 1000
"""Segments roll hourly, so that what was deleted leaves the disk within about that time (FACTS C)."""

_LARGEST: Final = 8 * 1024 * 1024
"""Bytes of a message. The report of an export names every member of a bundle; one too large would jam its outbox."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as the broker has it."""

    topic: str
    partition: int
    offset: int
    at: datetime
    """The broker's or the producer's time, as the topic says."""
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: tuple[tuple[str, bytes], ...] = field(repr=False)


class Producer:
    """Sends; a send has happened when the broker says so."""

    def __init__(self, inner: AIOKafkaProducer) -> None:
        self._inner = inner

    async def send(self, topic: str, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Any:
        """Queue a record; await the returned future for the broker's answer. Order within a key holds."""
        return await self._inner.send(topic, value=value, key=key, headers=list(headers))


class Consumer:
    """Reads in batches; offsets are committed only when told."""

    def __init__(self, inner: AIOKafkaConsumer) -> None:
        self._inner = inner

    async def batch(self, limit: int, wait_ms: int) -> list[RawRecord]:
        """Up to `limit` records, in order within each partition; empty after `wait_ms` without any."""
        polled: Mapping[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = await self._inner.getmany(
            timeout_ms=wait_ms, max_records=limit
        )
        return [_raw(record) for records in polled.values() for record in records]

    async def commit(self, records: Sequence[RawRecord]) -> None:
        """Commit past these records. Raises `KafkaError` when the partition went to another member meanwhile."""
        offsets: dict[TopicPartition, int] = {}
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            offsets[partition] = max(offsets.get(partition, 0), record.offset + 1)
        if offsets:
            await self._inner.commit(offsets)

    def assigned(self) -> bool:
        """True once the group gave this member its partitions (possibly none) and the member is in it."""
        return bool(self._inner.assignment())


def _raw(record: "ConsumerRecord[bytes, bytes]") -> RawRecord:
    at = datetime.fromtimestamp(max(record.timestamp, 0) / 1000, UTC)  # a producer may say anything
    headers = tuple((name, value) for name, value in record.headers if value is not None)
    return RawRecord(record.topic, record.partition, record.offset, at, record.key, record.value, headers)


@asynccontextmanager
async def open_producer(bootstrap: str) -> AsyncIterator[Producer]:
    """An idempotent producer that waits for all in-sync replicas."""
    inner = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, acks="all", linger_ms=2,
        max_request_size=_LARGEST,
    )  # fmt: skip
    await inner.start()
    try:
        yield Producer(inner)
    finally:
        await inner.stop()


@asynccontextmanager
async def open_consumer(bootstrap: str, group: str, topics: Sequence[Topic]) -> AsyncIterator[Consumer]:
    """A member of `group` that begins at the earliest record and never commits by itself."""
    inner = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=2_000,
    )
    await inner.start()
    try:
        yield Consumer(inner)
    finally:
        await inner.stop()


def _config(policy: TopicPolicy) -> dict[str, str]:
    retention = -1 if policy.retention is None else int(policy.retention.total_seconds() * 1000)
    config = {"cleanup.policy": "delete", "retention.ms": str(retention), "segment.ms": str(_SEGMENT_MS)}
    config["max.message.bytes"] = str(_LARGEST)
    if policy.compacted:
        config |= {"cleanup.policy": "compact", "max.compaction.lag.ms": str(24 * _SEGMENT_MS)}
    if policy.broker_time:
        config["message.timestamp.type"] = "LogAppendTime"
    return config


async def prepare_topics(bootstrap: str, *, partitions: int, replication: int) -> None:
    """Create the topics that are missing, as `contracts.topics` says they are kept.

    Raises `KafkaError` where the broker refuses one, such as for want of brokers to replicate it to.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        for topic, policy in POLICIES.items():
            new = NewTopic(topic.value, partitions, replication, topic_configs=_config(policy))
            response = await admin.create_topics([new])
            for _, code, why in response.topic_errors:  # the client raises none of them
                if code not in (NoError.errno, TopicAlreadyExistsError.errno):
                    raise for_code(code)(f"topic {topic}: {why}")
    finally:
        await admin.close()


async def _partitions(admin: AIOKafkaAdminClient, topic: Topic) -> list[TopicPartition]:
    """Asked of the broker: a client knows nothing of topics it has not subscribed to."""
    description = await admin.describe_topics([topic.value])
    return [TopicPartition(topic.value, each["partition"]) for each in description[0]["partitions"]]


async def delete_before(bootstrap: str, topic: Topic, instant: datetime, group: str) -> None:
    """Delete a topic's records that are older than `instant` and that `group` has committed past (KIP-204)."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await admin.start()
    await consumer.start()
    try:
        partitions = await _partitions(admin, topic)
        found = await consumer.offsets_for_times({p: int(instant.timestamp() * 1000) for p in partitions})
        committed = await admin.list_consumer_group_offsets(group)
        ends = await consumer.end_offsets(partitions)
        upto = {}
        for partition in partitions:
            newer = found.get(partition)
            stored = committed[partition].offset if partition in committed else 0
            upto[partition] = RecordsToDelete(min(newer.offset if newer else ends[partition], stored))
        await admin.delete_records({p: r for p, r in upto.items() if r.before_offset > 0})
    finally:
        await consumer.stop()
        await admin.close()


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far a group is in one partition."""

    committed: int
    """The next record it has yet to handle."""
    end: int


async def backlogs(bootstrap: str, topic: Topic, group: str) -> dict[int, Backlog]:
    """How far a group is, by partition: asked of the broker, whatever the group's own members believe."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        await consumer.start()
        partitions = await _partitions(admin, topic)
        starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        offsets = await admin.list_consumer_group_offsets(group)
        committed = {p: max(offsets[p].offset if p in offsets else 0, starts[p]) for p in partitions}
        return {p.partition: Backlog(committed[p], ends[p]) for p in partitions}
    finally:
        await consumer.stop()
        await admin.close()

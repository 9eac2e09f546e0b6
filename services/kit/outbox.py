"""Messages leave through a table: written with their effect, in its transaction, and sent afterwards by one relay.

So no effect goes unsaid and nothing is said that did not happen. Sending twice is possible, and harmless everywhere.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from contracts.envelope import Envelope, key
from contracts.topics import MessageType, Topic
from services.kit.kafka import Producer
from services.kit.postgres import Connection, Record, connect, listening, notify, wait
from services.kit.telemetry import SpanKind, Telemetry

_CHANNEL: Final = "outbox"
_LOCK: Final = "SELECT pg_try_advisory_lock(hashtext(current_schema() || '.outbox'))"
_STANDBY_S: Final = 1.0
"""A relay that does not hold the lock asks again; waiting inside the query would hold back VACUUM."""
_BATCH: Final = 500
_POLL_S: Final = 5.0
"""Behind NOTIFY, which a lost connection can lose."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send."""

    topic: Topic
    request_id: UUID
    type: MessageType
    id: str
    body: BaseModel
    to: str | None = None


async def put(db: Connection, source: str, messages: Sequence[Outgoing], at: datetime, traceparent: str | None) -> None:
    """Write messages in the caller's transaction, in order, and wake the relay when it commits."""
    rows = []
    for message in messages:
        envelope = Envelope(message.id, source, message.type, at, traceparent, message.to)
        headers = [[name, value.decode()] for name, value in envelope.headers()]
        rows.append((message.topic.value, message.request_id, headers, message.body.model_dump_json()))
    if rows:
        await db.executemany("INSERT INTO outbox (topic, key, headers, value) VALUES ($1, $2, $3, $4)", rows)
        await notify(db, _CHANNEL)


async def relay(database_url: str, producer: Producer, telemetry: Telemetry) -> None:
    """Send what lies in the outbox, for ever. One relay a schema at a time: others wait for its advisory lock.

    Raises whatever ends the connection; the caller starts it anew.
    """
    connection = await connect(database_url)
    try:
        while not await connection.fetchval(_LOCK):
            await asyncio.sleep(_STANDBY_S)
        async with listening(connection, _CHANNEL) as written:
            while True:
                while await _drain(connection, producer, telemetry):
                    pass
                await wait(written, _POLL_S)
    finally:
        connection.terminate()


async def _drain(connection: Connection, producer: Producer, telemetry: Telemetry) -> bool:
    rows = await connection.fetch("SELECT id, topic, key, headers, value FROM outbox ORDER BY id LIMIT $1", _BATCH)
    if not rows:
        return False
    with telemetry.span(
        "send", "outbox", kind=SpanKind.CLIENT, attributes={"messaging.batch.message_count": len(rows)}
    ):
        await asyncio.gather(*[await _send(row, producer) for row in rows])
    await _forget(connection, rows)
    return len(rows) == _BATCH


async def _forget(connection: Connection, rows: Sequence[Record]) -> None:
    """What the broker has is sent. A crash before this sends it again."""
    await connection.execute("DELETE FROM outbox WHERE id = ANY($1)", [row["id"] for row in rows])


async def _send(row: Record, producer: Producer) -> "asyncio.Future[object]":
    headers = [(name, value.encode()) for name, value in row["headers"]]
    value = row["value"]
    future: asyncio.Future[object] = await producer.send(
        row["topic"], key(row["key"]), None if value is None else value.encode(), headers
    )
    return future

"""Messages that could not be handled: kept for 30 days, sealed by us, with a reason code."""

from datetime import datetime
from uuid import UUID

from contracts.sealing import canonical
from services.kit.kafka import RawRecord
from services.kit.keys import Keyring
from services.kit.postgres import Connection
from services.kit.telemetry import log


async def dead_letter(
    db: Connection,
    keyring: Keyring,
    consumer: str,
    record: RawRecord,
    reason: str,
    request_id: UUID | None,
    at: datetime,
) -> bool:
    """Keep a record that `consumer` can't handle; once, however often it is delivered. True the first time."""
    log("dead_letter", consumer=consumer, topic=record.topic, offset=record.offset, reason=reason)
    content = canonical(
        {
            "key": (record.key or b"").hex(),
            "value": (record.value or b"").hex(),
            "headers": [[name, value.hex()] for name, value in record.headers],
            "at": record.at.isoformat(),
        }
    )
    sealed, epoch = keyring.seal(content)
    new: bool | None = await db.fetchval(
        'INSERT INTO vault.dead_letters (consumer, topic, partition, "offset", reason, request_id, sealed, epoch, at)'
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING true",
        consumer, record.topic, record.partition, record.offset, reason, request_id, sealed, epoch, at,
    )  # fmt: skip
    return new is not None

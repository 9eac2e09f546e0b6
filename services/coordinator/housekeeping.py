"""What time takes away: submissions past the recovery window, expired bundles, and what nobody came back for."""

import asyncio
from datetime import timedelta
from typing import Final

from contracts.topics import RECOVERY_WINDOW, Topic
from services.coordinator.handler import CONSUMER
from services.kit.bundle import delete_bundle
from services.kit.clock import Clock
from services.kit.kafka import delete_before
from services.kit.objects import Bucket
from services.kit.postgres import Pool

_EVERY_S: Final = 3600
_KEPT: Final = timedelta(days=30)
"""Dead letters, and amendments whose request never came."""


async def keep_house(bootstrap: str, pool: Pool, bucket: Bucket, clock: Clock) -> None:
    """Delete, every hour, what has had its time."""
    while True:
        now = clock.now()
        await delete_before(bootstrap, Topic.REQUESTS, now - RECOVERY_WINDOW, CONSUMER)
        await pool.execute("DELETE FROM vault.dead_letters WHERE at < $1", now - _KEPT)
        await pool.execute("DELETE FROM early WHERE at < $1", now - _KEPT)
        for row in await pool.fetch("SELECT request_id FROM bundles WHERE expires_at <= $1", now):
            await delete_bundle(bucket, row["request_id"])
            await pool.execute("DELETE FROM bundles WHERE request_id = $1", row["request_id"])
        await asyncio.sleep(_EVERY_S)

"""What time takes away: submissions past the recovery window, and what nobody came back for."""

import asyncio
from datetime import timedelta
from typing import Final

from contracts.topics import RECOVERY_WINDOW, Topic
from services.coordinator.handler import CONSUMER
from services.kit.clock import Clock
from services.kit.kafka import delete_before
from services.kit.postgres import Pool

_EVERY_S: Final = 3600
_KEPT: Final = timedelta(days=30)
"""Dead letters, and amendments whose request never came."""


async def keep_house(bootstrap: str, pool: Pool, clock: Clock) -> None:
    """Delete, every hour, what has had its time."""
    while True:
        await delete_before(bootstrap, Topic.REQUESTS, clock.now() - RECOVERY_WINDOW, CONSUMER)
        await pool.execute("DELETE FROM vault.dead_letters WHERE at < $1", clock.now() - _KEPT)
        await pool.execute("DELETE FROM early WHERE at < $1", clock.now() - _KEPT)
        await asyncio.sleep(_EVERY_S)

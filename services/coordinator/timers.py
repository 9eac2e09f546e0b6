"""Wakes sagas: retries, time-outs, warnings, the breach. Timers are rows, so none is lost, and reach `decide` as
messages."""

import asyncio
from typing import Final

from services.coordinator.handler import Handler
from services.kit.clock import Clock
from services.kit.postgres import AGAIN, Pool

_BATCH: Final = 200
_PAUSE_S: Final = 0.5


async def fire_timers(pool: Pool, handler: Handler, clock: Clock) -> None:
    """Fire what is due, for ever. Several coordinators may do so at once."""
    while True:
        async with pool.acquire() as db:
            rows = await db.fetch(
                "SELECT request_id, kind, key FROM timers WHERE due_at <= $1 ORDER BY due_at LIMIT $2",
                clock.now(), _BATCH,
            )  # fmt: skip
            if rows:
                try:
                    async with db.transaction():
                        await handler.fire(db, [tuple(row) for row in rows])
                except AGAIN:
                    continue
        if len(rows) < _BATCH:
            await asyncio.sleep(_PAUSE_S)

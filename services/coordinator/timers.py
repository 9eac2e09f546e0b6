"""Wakes sagas: retries, time-outs, warnings, the breach. Timers are rows, so none is lost, and reach `decide` as
messages."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from services.coordinator.handler import Due, Handler
from services.kit.clock import Clock
from services.kit.postgres import AGAIN, UNREACHABLE, Pool
from services.kit.telemetry import log

_BATCH: Final = 200
_PAUSE_S: Final = 0.5
_PUT_OFF: Final = timedelta(minutes=5)
"""For a timer that can't be handled: it must not keep the others from firing, nor be forgotten."""


async def fire_timers(pool: Pool, handler: Handler, clock: Clock) -> None:
    """Fire what is due, for ever. Several coordinators may do so at once."""
    while True:
        if await fire_due(pool, handler, clock) < _BATCH:
            await asyncio.sleep(_PAUSE_S)


async def fire_due(pool: Pool, handler: Handler, clock: Clock) -> int:
    """Fire what is due now; how many there were."""
    rows = await pool.fetch(
        "SELECT request_id, kind, key FROM timers WHERE due_at <= $1 ORDER BY due_at LIMIT $2", clock.now(), _BATCH
    )
    if rows:
        await _fire(pool, handler, clock, [tuple(row) for row in rows])
    return len(rows)


async def _fire(pool: Pool, handler: Handler, clock: Clock, due: Sequence[Due]) -> None:
    try:
        async with pool.acquire() as db, db.transaction():
            await handler.fire(db, due)
    except AGAIN:
        return  # they are due still
    except UNREACHABLE:
        raise
    except Exception as error:
        if len(due) > 1:
            middle = len(due) // 2
            await _fire(pool, handler, clock, due[:middle])
            await _fire(pool, handler, clock, due[middle:])
            return
        log("timer_failed", error=error, request_id=str(due[0][0]), timer=due[0][1])
        await pool.execute(
            "UPDATE timers SET due_at = $4 WHERE (request_id, kind, key) = ($1, $2, $3)",
            *due[0],
            clock.now() + _PUT_OFF,
        )

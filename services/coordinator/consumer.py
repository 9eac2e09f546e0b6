"""Reads requests and reports: one transaction a batch, and only then the offsets.

So a batch that is delivered again finds its effects and changes nothing; one that can't be handled is halved until
the culprit stands alone, becomes a dead letter, and the rest goes on.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from contracts.topics import Topic
from services.coordinator.handler import CONSUMER, Handler
from services.coordinator.reading import Read
from services.kit.kafka import Consumer, open_consumer
from services.kit.postgres import AGAIN, UNREACHABLE, Pool
from services.kit.telemetry import log

_BATCH: Final = 200
_WAIT_MS: Final = 500
_PAUSE_S: Final = 1.0


class Intaker:
    """The coordinator's consumer of requests and reports."""

    def __init__(self, bootstrap: str, pool: Pool, handler: Handler) -> None:
        self._bootstrap = bootstrap
        self._pool = pool
        self._handler = handler
        self._consumer: Consumer | None = None

    def ready(self) -> bool:
        """True while this member holds partitions."""
        return self._consumer is not None and self._consumer.assigned()

    async def loop(self) -> None:
        """Consume for ever. Raises when the broker, or the group, has ended the membership."""
        async with open_consumer(self._bootstrap, CONSUMER, [Topic.REQUESTS, Topic.REPORTS]) as consumer:
            self._consumer = consumer
            try:
                while True:
                    if records := await consumer.batch(_BATCH, _WAIT_MS):
                        await self.handle([self._handler.read(record) for record in records])
                        await consumer.commit(records)
            finally:
                self._consumer = None

    async def handle(self, batch: Sequence[Read]) -> None:
        """Handle a batch, whatever it holds. Returns only when its effects are stored."""
        while True:
            try:
                async with self._pool.acquire() as db, db.transaction():
                    await self._handler.handle(db, batch)
                return
            except AGAIN:
                continue
            except UNREACHABLE as error:
                log("database_unreachable", error=error)
                await asyncio.sleep(_PAUSE_S)
            except Exception as error:
                log("batch_failed", error=error, size=len(batch))
                break
        if len(batch) == 1:
            await self._give_up(batch[0])
            return
        middle = len(batch) // 2
        await self.handle(batch[:middle])
        await self.handle(batch[middle:])

    async def _give_up(self, culprit: Read) -> None:
        """As something unusable; and if not even that can be handled, as a dead letter alone."""
        if not culprit.unprocessable:
            await self.handle([culprit.given_up()])
            return
        async with self._pool.acquire() as db:
            await self._handler.bury(db, culprit)

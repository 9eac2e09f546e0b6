"""The checkpoint of one batch: who may still be worked on, a lease renewed, progress said."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

from joserfc.jwk import OctKey

from contracts.reports import Result, TaskReported
from contracts.sealing import report_mac
from contracts.tasks import TaskIssued
from services.connectors import queue
from services.connectors.port import LeaseLost
from services.kit import outbox
from services.kit.clock import Clock
from services.kit.postgres import Pool
from services.kit.vault import Vault

_RENEW_S: Final = 5.0
_PROGRESS_EVERY: Final = timedelta(seconds=8)
CALL_TIMEOUT: Final = timedelta(seconds=120)
"""Without a checkpoint for so long, the lease is no longer renewed. The coordinator's plan has the same bound."""


class Lease:
    """Implements `port.Checkpoint` for the tasks that a worker claimed under one token."""

    def __init__(
        self, pool: Pool, vault: Vault, clock: Clock, source: str, token: UUID, tasks: Sequence[TaskIssued],
        keys: Mapping[UUID, OctKey],
    ) -> None:  # fmt: skip
        self._pool = pool
        self._vault = vault
        self._clock = clock
        self._source = source
        self._token = token
        self._tasks = {task.request_id: task for task in tasks}
        self._count = len(tasks)
        self._keys = keys
        self._checked = self._said = clock.now()

    async def __call__(self) -> frozenset[UUID]:
        """As the port says."""
        now = self._clock.now()
        async with self._pool.acquire() as db, db.transaction():
            await queue.renew(db, self._token, self._count, now)
            permits = await self._vault.permits(db, self._tasks)
            if now - self._said >= _PROGRESS_EVERY:
                self._said = now
                reports = [self._progress(task) for task in self._tasks.values() if task.request_id in self._keys]
                await outbox.put(db, self._source, [queue.outgoing(report) for report in reports], now, None)
        self._checked = now
        return frozenset(
            request_id
            for request_id, permit in permits.items()
            if (permit.round, permit.action) == (self._tasks[request_id].round, self._tasks[request_id].action)
        )

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Hold the lease while a call takes its time, but not for ever."""
        renewal = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    async def _renew(self) -> None:
        while self._clock.now() - self._checked < CALL_TIMEOUT:
            await asyncio.sleep(_RENEW_S)
            try:
                async with self._pool.acquire() as db:
                    await queue.renew(db, self._token, self._count, self._clock.now())
            except LeaseLost:
                return  # the next checkpoint, or the end, says so

    def _progress(self, task: TaskIssued) -> TaskReported:
        about = task.model_dump(include={"task_id", "request_id", "round", "attempt", "store", "action"})
        report = TaskReported.model_validate(about | {"result": Result.PROGRESS})
        return report.model_copy(update={"mac": report_mac(report, self._keys[task.request_id])})

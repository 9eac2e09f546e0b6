"""The checkpoint of one batch: who may still be worked on, a lease renewed, progress said.

How long things hold: a lease runs `queue.LEASE` and is renewed in the background for as long as the connector's call
lives, so that a killed worker's tasks are soon taken over and a slow vendor call loses nothing. The call lives for as
long as it comes to a checkpoint within `CALL_TIMEOUT_S`; after that it is ended, since by then the coordinator counts
a task whose permit was withdrawn as revoked. While Letheia's database is away, a checkpoint waits for it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from contracts.reports import Result, TaskReported
from contracts.sealing import report_mac
from contracts.tasks import Action, TaskIssued
from services.connectors import queue
from services.connectors.port import LeaseLost, Transient
from services.kit import outbox
from services.kit.clock import Clock
from services.kit.postgres import Pool, patiently
from services.kit.vault import Permit, Vault

CALL_TIMEOUT_S: Final = 110.0
"""Ten seconds less than the coordinator allows (`saga/plan.py`, CALL_TIMEOUT), to end the call in."""
_RENEW_S: Final = 5.0


def allows(permit: Permit | None, task: TaskIssued) -> bool:
    """True if the permit is for this task's round and action."""
    return permit is not None and (permit.round, permit.action) == (task.round, task.action)


class Lease:
    """Implements `port.Checkpoint` for what a worker claimed under one token."""

    def __init__(
        self, pool: Pool, vault: Vault, clock: Clock, source: str, action: Action, token: UUID, held: int,
        tasks: Mapping[UUID, TaskIssued],
    ) -> None:  # fmt: skip
        self._pool = pool
        self._vault = vault
        self._clock = clock
        self._source = source
        self._action = action
        self._token = token
        self._held = held
        self._tasks = tasks
        self._said_at = clock.now()
        self._limit: asyncio.Timeout | None = None

    async def __call__(self) -> frozenset[UUID]:
        """As the port says."""
        self._reschedule(None)
        permitted = await patiently(self._look)
        if self._clock.now() - self._said_at >= queue.PROGRESS_EVERY:
            await patiently(self._say)
        self._reschedule(CALL_TIMEOUT_S)
        return permitted

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Around a call of the connector. Raises `Transient` when it took too long."""
        renewal = asyncio.create_task(self._keep())
        self._limit = limit = asyncio.timeout(CALL_TIMEOUT_S)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if limit.expired():
                raise Transient("call_timeout") from error
            raise
        finally:
            self._limit = None
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    def _reschedule(self, seconds: float | None) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)

    async def _look(self) -> frozenset[UUID]:
        async with self._pool.acquire() as db, db.transaction():
            await queue.renew(db, self._token, self._held, self._clock.now())
            permits = await self._vault.permits(db, self._tasks)
        return frozenset(id_ for id_, task in self._tasks.items() if allows(permits.get(id_), task))

    async def _say(self) -> None:
        self._said_at = now = self._clock.now()
        async with self._pool.acquire() as db, db.transaction():
            claimed = await queue.overdue(db, self._action, self._token, now)
            keys = await self._vault.keys(db, [each.task.request_id for each in claimed])
            for each in claimed:
                if key := keys.get(each.task.request_id):
                    about = each.task.model_dump(exclude={"schema_version", "due_at"})
                    report = TaskReported.model_validate(about | {"result": Result.PROGRESS})
                    report = report.model_copy(update={"mac": report_mac(report, key)})
                    await outbox.put(db, self._source, [queue.outgoing(report)], now, each.traceparent)

    async def _keep(self) -> None:
        """Hold the lease while a call takes its time. When it is lost, the next checkpoint or the end says so."""

        async def renew() -> None:
            async with self._pool.acquire() as db:
                await queue.renew(db, self._token, self._held, self._clock.now())

        while True:
            await asyncio.sleep(_RENEW_S)
            try:
                await patiently(renew)
            except LeaseLost:
                return

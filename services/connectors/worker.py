"""Works through the inbox: claims a batch, calls the connector, and writes what came of it in one transaction.

What a worker may do is decided by the permit alone, read again at every checkpoint: a forged, late or held task does
nothing. What it found out counts only while its lease is its own.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from joserfc.jwk import OctKey

from contracts.reports import TaskReported
from contracts.sealing import report_mac
from contracts.tasks import Action, TaskIssued, task_id
from contracts.topics import Topic
from services.connectors import queue
from services.connectors.lease import Lease
from services.connectors.port import (
    BundleWriter,
    Identifier,
    LeaseLost,
    Revoked,
    Scope,
    Standing,
    StoreConnector,
    Subject,
    Terminal,
    Transient,
)
from services.connectors.queue import Claimed
from services.connectors.reporting import Answer, Known, learn, report_of
from services.kit.clock import Clock
from services.kit.inventory import Inventory
from services.kit.postgres import Connection, Pool, connect, listening, wait
from services.kit.telemetry import Attribute, SpanKind, Telemetry, log
from services.kit.vault import Permit, Vault

BATCH: Final = 100
_POLL_S: Final = 2.0

MakeBundle = Callable[[OctKey, UUID, int], BundleWriter]


@dataclass(frozen=True, slots=True)
class Tools:
    """What the workers of one store share."""

    store: str
    connector: StoreConnector
    make_bundle: MakeBundle
    inventory: Inventory
    vault: Vault
    pool: Pool
    database_url: str
    clock: Clock
    telemetry: Telemetry
    new_id: Callable[[], UUID]

    @property
    def source(self) -> str:
        """Who says what is said."""
        return f"letheia.connector.{self.store}"


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed task with what it needs."""

    claimed: Claimed
    key: OctKey | None
    """None: the request is closed, or was never ours; nothing can be said of it."""
    permit: Permit | None
    known: Known

    @property
    def task(self) -> TaskIssued:
        """What was asked."""
        return self.claimed.task

    @property
    def permitted(self) -> bool:
        """True if this very task is what the permit allows."""
        task, permit = self.task, self.permit
        genuine = task.task_id == task_id(task.request_id, task.round, task.store, task.action, task.attempt)
        allowed = permit is not None and (permit.round, permit.action) == (task.round, task.action)
        return genuine and allowed and self.key is not None


class Worker:
    """Works on tasks of one action, in batches."""

    def __init__(self, tools: Tools, action: Action) -> None:
        self._tools = tools
        self._action = action

    async def loop(self) -> None:
        """Work for ever, woken when something comes in. Raises when Letheia's database is away."""
        connection = await connect(self._tools.database_url)
        try:
            async with listening(connection, queue.CHANNEL) as arrived:
                while True:
                    if not await self.work():
                        await wait(arrived, _POLL_S)
        finally:
            connection.terminate()

    async def work(self) -> bool:
        """One batch; False if there was none."""
        tools, token = self._tools, self._tools.new_id()
        limit = 1 if self._action is Action.EXPORT else BATCH
        async with tools.pool.acquire() as db:
            claimed = await queue.claim(db, self._action, limit, token, tools.clock.now())
            jobs = await self._prepare(db, claimed)
        if not jobs:
            return False
        try:
            await self._do(token, jobs)
        except LeaseLost:
            log("lease_lost", store=tools.store, action=self._action.value, tasks=len(jobs))
        return True

    async def _prepare(self, db: Connection, claimed: Sequence[Claimed]) -> list[Job]:
        vault, ids = self._tools.vault, [each.task.request_id for each in claimed]
        keys = await vault.keys(db, ids)
        permits = await vault.permits(db, ids)
        identifiers = await vault.identifiers(db, keys)
        jobs = []
        for each in claimed:
            id_ = each.task.request_id
            known = {(identifier.kind, identifier.value): identifier for identifier in identifiers.get(id_, [])}
            jobs.append(Job(each, keys.get(id_), permits.get(id_), known))
        return jobs

    async def _do(self, token: UUID, jobs: Sequence[Job]) -> None:
        tools, able = self._tools, [job for job in jobs if job.permitted]
        keys = {job.task.request_id: job.key for job in jobs if job.key}
        tasks = [job.task for job in jobs]
        lease = Lease(tools.pool, tools.vault, tools.clock, tools.source, token, tasks, keys)
        with ExitStack() as spans:
            parents = [spans.enter_context(self._span(job)) for job in jobs]
            async with lease.renewing():
                answers = await self._call(able, lease)
            by_task = {job.task.task_id: answer for job, answer in zip(able, answers, strict=True)}
            done = [(job, by_task.get(job.task.task_id, Revoked())) for job in jobs]
            await self._finish(token, done, parents)

    def _span(self, job: Job) -> AbstractContextManager[str]:
        attributes: dict[str, Attribute] = {
            "messaging.system": "kafka",
            "dsr.request.id": str(job.task.request_id),
            "dsr.store": job.task.store,
            "dsr.action": job.task.action.value,
            "dsr.round": job.task.round,
            "dsr.attempt": job.task.attempt,
        }
        parent = job.claimed.traceparent
        return self._tools.telemetry.span("process", Topic.TASKS, traceparent=parent, attributes=attributes)

    async def _call(self, jobs: Sequence[Job], lease: Lease) -> Sequence[Answer]:
        """What the connector answers, for each. A failure of the store stands in everyone's place; any other may be
        one person's alone, so then each is tried alone."""
        if not jobs:
            return []
        tools = self._tools
        try:
            with tools.telemetry.span(self._action.value, tools.store, kind=SpanKind.CLIENT):
                return await self._ask(jobs, lease)
        except (Transient, Terminal) as failure:
            return [failure] * len(jobs)
        except LeaseLost:
            raise
        except Exception as error:
            log("connector_failed", error=error, store=tools.store, action=self._action.value, tasks=len(jobs))
            if len(jobs) == 1:
                return [Transient("connector_error")]
        return [answer for job in jobs for answer in await self._call([job], lease)]

    async def _ask(self, jobs: Sequence[Job], lease: Lease) -> Sequence[Answer]:
        subjects = [self._subject(job) for job in jobs]
        match self._action:
            case Action.DISCOVER:
                return await self._tools.connector.discover(subjects, lease)
            case Action.ERASE:
                return await self._tools.connector.erase(subjects, lease)
            case Action.EXPORT:
                return [await self._export(job, subject, lease) for job, subject in zip(jobs, subjects, strict=True)]

    async def _export(self, job: Job, subject: Subject, lease: Lease) -> Answer:
        tools, task = self._tools, job.task
        async with tools.pool.acquire() as db:
            key = (await tools.vault.keys(db, [task.request_id], "bundle")).get(task.request_id)
        if key is None:
            return Terminal("no_bundle_key")
        return await tools.connector.export(subject, tools.make_bundle(key, task.request_id, task.round), lease)

    def _subject(self, job: Job) -> Subject:
        assert job.permit is not None
        controller = self._tools.inventory.controllers[job.permit.controller]
        return Subject(
            job.task.request_id,
            Scope(job.permit.controller, controller.role, controller.tenant),
            frozenset(Identifier(i.kind, i.value, Standing(i.standing), i.alone) for i in job.known.values()),
        )

    async def _finish(self, token: UUID, done: Sequence[tuple[Job, Answer]], parents: Sequence[str]) -> None:
        """Reports, reveals and outbox together, while the lease is ours."""
        tools, now = self._tools, self._tools.clock.now()
        async with tools.pool.acquire() as db, db.transaction():
            alive = await tools.vault.keys(db, [job.task.request_id for job, _ in done])
            reports: list[TaskReported | None] = []
            for job, answer in done:
                key = alive.get(job.task.request_id)
                if key is None or job.permit is None:
                    reports.append(None)
                    continue
                learnt = learn(answer, job.known, tools.store)
                await tools.vault.add(db, job.task.request_id, job.permit.controller, key, learnt.keep)
                report = report_of(job.task, answer, learnt)
                reports.append(report.model_copy(update={"mac": report_mac(report, key)}))
            for (job, _), said, parent in zip(done, reports, parents, strict=True):
                await queue.finish(db, tools.source, token, job.task, said, parent, now)

"""Works through the inbox: claims a batch, calls the connector, and writes what came of it in one transaction.

What a worker may do is decided by the permit alone, read again at every checkpoint: a forged, late or held task does
nothing. What it found out counts only while its lease is its own.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from joserfc.jwk import OctKey

from contracts.sealing import report_mac
from contracts.tasks import Action, TaskIssued
from contracts.topics import Topic
from services.connectors import queue
from services.connectors.lease import Lease, allows
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
from services.connectors.reporting import Answer, learn, report_of
from services.kit import outbox
from services.kit.clock import Clock
from services.kit.inventory import Inventory
from services.kit.postgres import Connection, Pool, connect, listening, patiently, wait
from services.kit.telemetry import Attribute, SpanKind, Telemetry, log
from services.kit.vault import Permit, Vault, VaultIdentifier

_LIMIT: Final = {Action.DISCOVER: 100, Action.ERASE: 100, Action.EXPORT: 1}
"""Requests in one call of the connector."""
_POLL_S: Final = 2.0
"""Behind NOTIFY, and for leases that ran out."""

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
    permit: Permit | None
    known: Sequence[VaultIdentifier]

    @property
    def task(self) -> TaskIssued:
        """What was asked."""
        return self.claimed.task

    @property
    def permitted(self) -> bool:
        """True if this is what the permit allows."""
        return allows(self.permit, self.task)


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
                    while await self.work(connection):
                        pass
                    await wait(arrived, _POLL_S)
        finally:
            connection.terminate()

    async def work(self, db: Connection) -> bool:
        """One batch, claimed by way of `db`; False if there was none."""
        tools, token = self._tools, self._tools.new_id()
        claimed = await queue.claim(db, self._action, _LIMIT[self._action], token, tools.clock.now())
        if not claimed:
            return False
        try:
            await self._do(token, await self._prepare(db, claimed))
        except LeaseLost:
            log("lease_lost", store=tools.store, action=self._action.value, tasks=len(claimed))
        return True

    async def _prepare(self, db: Connection, claimed: Sequence[Claimed]) -> list[Job]:
        """Permits are read last: while one holds, what was read before it was there."""
        vault, ids = self._tools.vault, [each.task.request_id for each in claimed]
        identifiers = await vault.identifiers(db, await vault.keys(db, ids))
        permits = await vault.permits(db, ids)
        return [
            Job(each, permits.get(each.task.request_id), identifiers.get(each.task.request_id, [])) for each in claimed
        ]

    async def _do(self, token: UUID, jobs: Sequence[Job]) -> None:
        tools = self._tools
        able: dict[UUID, Job] = {}
        for job in jobs:
            if job.permitted:
                able.setdefault(job.task.request_id, job)  # one attempt of a request at a time, the first of them
        tasks = {request_id: job.task for request_id, job in able.items()}
        lease = Lease(tools.pool, tools.vault, tools.clock, tools.source, self._action, token, len(jobs), tasks)
        with ExitStack() as spans:
            parents = [spans.enter_context(self._span(job)) for job in jobs]
            answers = await self._call(list(able.values()), lease) if able else {}
            done = [
                (job, answers.get(job.task.task_id, Revoked()), parent)
                for job, parent in zip(jobs, parents, strict=True)
            ]
            await patiently(partial(self._finish, token, done))

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

    async def _call(self, jobs: Sequence[Job], lease: Lease) -> dict[UUID, Answer]:
        """What the connector answers, by task. A failure of the store stands in everyone's place; any other may be
        one person's alone, so then each is tried alone."""
        tools = self._tools
        try:
            async with lease.call():
                with tools.telemetry.span(self._action.value, tools.store, kind=SpanKind.CLIENT):
                    answers = await self._ask(jobs, lease)
                for job, answer in zip(jobs, answers, strict=True):
                    report_of(job.task, answer)  # what can't be reported is known before it is too late
        except (Transient, Terminal) as failure:
            return {job.task.task_id: failure for job in jobs}
        except LeaseLost:
            raise
        except Exception as error:
            log("connector_failed", error=error, store=tools.store, action=self._action.value, tasks=len(jobs))
            if len(jobs) == 1:
                return {jobs[0].task.task_id: Transient("connector_error")}
            return {id_: answer for job in jobs for id_, answer in (await self._call([job], lease)).items()}
        return {job.task.task_id: answer for job, answer in zip(jobs, answers, strict=True)}

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
            frozenset(Identifier(i.kind, i.value, Standing(i.standing), i.alone) for i in job.known),
        )

    async def _finish(self, token: UUID, done: Sequence[tuple[Job, Answer, str]]) -> None:
        """Reports, reveals and outbox together, while the lease is ours. Raises `LeaseLost`."""
        tools, now = self._tools, self._tools.clock.now()
        ids = [job.task.request_id for job, _, _ in done]
        async with tools.pool.acquire() as db, db.transaction():
            await tools.vault.lock(db, ids)
            await queue.renew(db, token, len(done), now)
            keys = await tools.vault.keys(db, ids)
            identifiers = await tools.vault.identifiers(db, keys)
            for job, answer, traceparent in done:
                task, key = job.task, keys.get(job.task.request_id)
                if key is None or job.permit is None:  # closed, or never ours: nothing can be vouched for
                    await queue.finish(db, task, None)
                    continue
                known = {(i.kind, i.value): i for i in identifiers[task.request_id]}
                learnt = learn(answer, known, tools.store)
                await tools.vault.add(db, task.request_id, job.permit.controller, key, learnt.keep)
                report = report_of(task, answer).model_copy(update={"learnt": learnt.counts})
                report = report.model_copy(update={"mac": report_mac(report, key)})
                await queue.finish(db, task, report)
                await outbox.put(db, tools.source, [queue.outgoing(report)], now, traceparent)

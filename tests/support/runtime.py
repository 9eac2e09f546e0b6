"""A connector's runtime over a real database, with a store of the test's own behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid4

from joserfc.jwk import OctKey

from contracts.reports import Result, TaskReported
from contracts.sealing import is_genuine
from contracts.tasks import Action, TaskIssued, task_id
from services.connectors import queue
from services.connectors.port import (
    BundleWriter,
    Checkpoint,
    Erasure,
    Export,
    Findings,
    Health,
    Revoked,
    StoreConnector,
    Subject,
    Terminal,
    Transient,
)
from services.connectors.worker import Tools, Worker
from services.kit.inventory import KindClass
from services.kit.keys import Keyring
from services.kit.postgres import Pool, connect, migrate, open_pool
from services.kit.telemetry import Telemetry
from services.kit.vault import Vault, VaultIdentifier
from tests.support.inventory import sample_inventory
from tests.support.letheia_database import LetheiaDatabase
from tests.support.port import MemoryBundle, StillClock

STORE = "app"
ROLE = f"letheia_connector_{STORE}"
SOURCE = f"letheia.connector.{STORE}"
KEYRING = Keyring({"epoch-1": OctKey.generate_key(256)}, "epoch-1", OctKey.generate_key(256))

Reply = Findings | Erasure | Export | Transient | Terminal | Revoked


@dataclass
class ScriptedStore:
    """Answers what a test put into `replies`, after a checkpoint; a reply may be a function or an exception."""

    replies: dict[UUID, Any] = field(default_factory=dict)
    calls: list[list[Subject]] = field(default_factory=list)
    before: Callable[[Checkpoint], Any] | None = None
    """Awaited in every call, after it was noted."""
    bundle: BundleWriter | None = None

    async def discover(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> list[Any]:
        return await self._answer(subjects, checkpoint)

    async def erase(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> list[Any]:
        return await self._answer(subjects, checkpoint)

    async def export(self, subject: Subject, bundle: BundleWriter, checkpoint: Checkpoint) -> Any:
        self.bundle = bundle
        return (await self._answer([subject], checkpoint))[0]

    async def check(self) -> Health:
        return Health()

    async def _answer(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> list[Any]:
        self.calls.append(list(subjects))
        if self.before:
            await self.before(checkpoint)
        permitted = await checkpoint()
        answers = []
        for subject in subjects:
            reply = self.replies.get(subject.request_id, Findings(frozenset({"email"})))
            if isinstance(reply, Exception) and not isinstance(reply, Transient | Terminal):
                raise reply
            answers.append(reply if subject.request_id in permitted else Revoked())
        return answers


@dataclass
class Runtime:
    """What a test does to, and sees of, one connector's runtime."""

    database: LetheiaDatabase
    pool: Pool
    """As the connector's own role."""
    admin: Pool
    vault: Vault
    store: ScriptedStore
    clock: StillClock = field(default_factory=StillClock)

    async def request(self, *identifiers: VaultIdentifier, controller: str = "acme") -> UUID:
        """A request that the coordinator opened; nothing is permitted yet."""
        request_id = uuid4()
        given = identifiers or (known("email", f"{request_id}@example.org"),)
        async with self.admin.acquire() as db, db.transaction():
            key = await self.vault.create(db, request_id, controller)
            await self.vault.add(db, request_id, controller, key, given)
        return request_id

    async def permit(self, request_id: UUID, round_: int | None = 1, action: Action | None = Action.DISCOVER) -> None:
        async with self.admin.acquire() as db:
            await self.vault.permit(db, request_id, round_, action)

    async def issue(self, *tasks: TaskIssued) -> None:
        """As if they came from the bus."""
        async with self.pool.acquire() as db:
            for task in tasks:
                await queue.accept(db, SOURCE, task, None, self.clock.now())

    async def asked(self, *identifiers: VaultIdentifier, action: Action = Action.DISCOVER) -> UUID:
        """A request whose first round is permitted and issued."""
        request_id = await self.request(*identifiers)
        await self.permit(request_id, action=action)
        await self.issue(task_of(request_id, action=action))
        return request_id

    def worker(self, action: Action = Action.DISCOVER, store: StoreConnector | None = None) -> Worker:
        tools = Tools(
            STORE, store or self.store, lambda *_: MemoryBundle(), sample_inventory(), self.vault, self.pool,
            self.database.url(ROLE), self.clock, Telemetry("test", None), uuid4,
        )  # fmt: skip
        return Worker(tools, action)

    async def work(self, action: Action = Action.DISCOVER) -> bool:
        """One batch."""
        async with self.pool.acquire() as db:
            return await self.worker(action).work(db)

    async def reports(self) -> list[TaskReported]:
        """What was said since the last time, in order; each bears its request's MAC."""
        async with self.admin.acquire() as db:
            rows = await db.fetch(f"DELETE FROM connector_{STORE}.outbox RETURNING id, value")
            reports = [
                TaskReported.model_validate_json(row["value"]) for row in sorted(rows, key=lambda row: row["id"])
            ]
            keys = await self.vault.keys(db, {report.request_id for report in reports})
        assert all(is_genuine(report.model_dump(mode="json"), keys[report.request_id]) for report in reports)
        return reports

    async def identifiers(self, request_id: UUID) -> set[VaultIdentifier]:
        async with self.admin.acquire() as db:
            found = await self.vault.identifiers(db, await self.vault.keys(db, [request_id]))
        assert len(set(found[request_id])) == len(found[request_id]), "kept twice"
        return set(found[request_id])

    def pass_time(self, time: timedelta) -> datetime:
        self.clock.at += time
        return self.clock.at


def task_of(
    request_id: UUID, round_: int = 1, action: Action = Action.DISCOVER, attempt: int = 1, due_in_days: int = 30
) -> TaskIssued:
    return TaskIssued(
        task_id=task_id(request_id, round_, STORE, action, attempt), request_id=request_id, round=round_,
        attempt=attempt, store=STORE, action=action, due_at=StillClock().now() + timedelta(days=due_in_days),
    )  # fmt: skip


def known(kind: str, value: str, **more: Any) -> VaultIdentifier:
    return VaultIdentifier(**{"kind": kind, "value": value, "standing": "trusted", "found_by": "publisher", **more})


def results(reports: Sequence[TaskReported]) -> Mapping[UUID, tuple[Result, str | None]]:
    return {report.request_id: (report.result, report.code) for report in reports}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something; the test's own time-out is generous."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def open_runtime(database: LetheiaDatabase) -> AsyncIterator[Runtime]:
    """Over a database of its own, migrated as in production."""
    db = await connect(database.url("postgres"))
    try:
        if not await db.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", ROLE):
            await db.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'secret'")
        names = {"schema": f"connector_{STORE}", "role": ROLE}
        await migrate(db, f"connector/{STORE}", files("services.connectors") / "sql", names)
    finally:
        await db.close()
    inventory = sample_inventory()
    vault = Vault(KEYRING, inventory.kinds_of(KindClass.PERSON), inventory.kinds_of(KindClass.RECORD))
    async with open_pool(database.url(ROLE)) as pool, open_pool(database.url("postgres")) as admin:
        yield Runtime(database, pool, admin, vault, ScriptedStore())

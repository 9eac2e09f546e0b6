"""A coordinator over a real database: the bus is a list of records, stores are shelves, the test moves the clock."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from joserfc.jwk import OctKey

from contracts.reports import LearntCount, TaskReported
from contracts.sealing import canonical, report_mac
from contracts.tasks import Action, TaskIssued
from contracts.topics import MessageType, Topic
from services.coordinator.consumer import Intaker
from services.coordinator.handler import Handler
from services.coordinator.intake import Intake
from services.coordinator.timers import fire_due
from services.kit.inventory import Inventory, KindClass
from services.kit.kafka import RawRecord
from services.kit.keys import Keyring
from services.kit.postgres import Connection, Pool, connect, open_pool
from services.kit.telemetry import Telemetry
from services.kit.vault import Vault, VaultIdentifier
from tests.support.inventory import sample_inventory
from tests.support.letheia_database import LetheiaDatabase
from tests.support.port import StillClock
from tests.support.publisher import NOW, PUBLISHERS, RECEIVING_KEYS, REQUEST, record

ROLE = "letheia_coordinator"
KEYRING = Keyring({"e1": OctKey.generate_key(256)}, "e1", OctKey.generate_key(256))


@dataclass
class Shelf:
    """What one store holds of a person: a number of things, and the identifiers they reveal once."""

    things: int = 0
    reveals: list[VaultIdentifier] = field(default_factory=list)
    searchable: bool = True
    says: Mapping[str, object] = field(default_factory=dict)
    """What its reports say besides."""


def found(kind: str, value: str, standing: str = "trusted", **more: Any) -> VaultIdentifier:
    """Something a store reveals."""
    return VaultIdentifier(kind, value, standing, "app", **more)


def person(**shelves: Shelf) -> dict[str, Shelf]:
    """Somebody of ours known to application and CRM, without recordings or analytics unless a test says so."""
    nobody = {name: Shelf(searchable=False) for name in ("recordings", "analytics")}
    return {"app": Shelf(2), "crm": Shelf(1)} | nobody | shelves


@dataclass
class Desk:
    """One coordinator, and a hand on its tables."""

    pool: Pool
    admin: Connection
    vault: Vault
    clock: StillClock
    handler: Handler
    shelves: dict[UUID, dict[str, Shelf]] = field(default_factory=dict)
    heard: list[RawRecord] = field(default_factory=list)
    """All that was ever delivered."""

    @property
    def intaker(self) -> Intaker:
        """The consumer, without a broker."""
        return Intaker("", self.pool, self.handler)

    async def deliver(self, *records: RawRecord) -> None:
        """One batch, as the consumer handles it."""
        self.heard += records
        await self.intaker.handle([self.handler.read(record) for record in records])

    async def fire(self, after: timedelta = timedelta()) -> int:
        """Let time pass, and what is due then fire."""
        self.clock.at += after
        return await fire_due(self.pool, self.handler, self.clock)

    async def tasks(self) -> list[TaskIssued]:
        """Take from the outbox what it says to the stores."""
        rows = await self.pool.fetch("DELETE FROM outbox WHERE topic = $1 RETURNING id, value", Topic.TASKS)
        return [TaskIssued.model_validate_json(row["value"]) for row in sorted(rows, key=lambda row: int(row["id"]))]

    async def report(self, task: TaskIssued, **says: object) -> TaskReported:
        """What a store's connector answers, with its MAC."""
        about = task.model_dump(include={"task_id", "request_id", "round", "attempt", "store", "action"})
        report = TaskReported.model_validate(about | {"result": "done"} | says)
        keys = await self.vault.keys(self.admin, [task.request_id])
        return report.model_copy(update={"mac": report_mac(report, keys[task.request_id])})

    async def answer(self, task: TaskIssued) -> RawRecord:
        """The store does what the permit allows, and says so."""
        permits = await self.vault.permits(self.admin, [task.request_id])
        permit = permits.get(task.request_id)
        if permit is None or (permit.round, permit.action) != (task.round, task.action):
            return reported(await self.report(task, result="revoked"))
        shelf = self.shelves.setdefault(task.request_id, person())[task.store]
        return reported(await self.report(task, **{**await self._work(task, shelf), **shelf.says}))

    async def _work(self, task: TaskIssued, shelf: Shelf) -> dict[str, object]:
        if task.action is Action.EXPORT:
            return {}
        asked: dict[str, object] = {"asked_with": ("email",) if shelf.searchable else ()}
        if task.action is Action.ERASE:
            erased, shelf.things = shelf.things, 0
            return asked | {"erased": {"customers": erased}, "level": "effective"}
        learnt = await self._reveal(task.request_id, shelf)
        return asked | {"found": {"customers": shelf.things} if shelf.things else {}, "learnt": learnt}

    async def _reveal(self, request_id: UUID, shelf: Shelf) -> dict[str, LearntCount]:
        new, shelf.reveals = shelf.reveals, []
        key = (await self.vault.keys(self.admin, [request_id]))[request_id]
        await self.vault.add(self.admin, request_id, "acme", key, new)
        return {
            kind: LearntCount(
                trusted=sum(i.kind == kind and i.standing == "trusted" for i in new),
                unverified=sum(i.kind == kind and i.standing == "unverified" for i in new),
            )
            for kind in {i.kind for i in new}
        }

    async def run(self) -> None:
        """Let the stores answer until nobody asks them any more."""
        while tasks := await self.tasks():
            await self.deliver(*[await self.answer(task) for task in tasks])

    async def status(self, request_id: UUID = REQUEST) -> dict[str, Any]:
        """The status document."""
        document: dict[str, Any] = await self.pool.fetchval(
            "SELECT status FROM sagas WHERE request_id = $1", request_id
        )
        return document

    async def attention(self, request_id: UUID = REQUEST) -> str | None:
        """What needs a person."""
        attention: dict[str, str] | None = (await self.status(request_id))["attention"]
        return attention["code"] if attention else None

    async def phase(self, request_id: UUID = REQUEST) -> str:
        """Where it stands."""
        phase: str = (await self.status(request_id))["phase"]
        return phase

    async def journal(self, request_id: UUID = REQUEST) -> list[Any]:
        """Its entries, in order, the chain recomputed on the way."""
        rows = await self.admin.fetch(
            "SELECT * FROM coordinator.journal WHERE request_id = $1 ORDER BY seq", request_id
        )
        head = ""
        for number, row in enumerate(rows, start=1):
            said = {"previous": head, "seq": number, "at": row["at"].isoformat(), "entry": row["entry"]}
            assert row["previous"] == head
            head = hashlib.sha256(canonical(said)).hexdigest()
            assert (row["seq"], row["hash"]) == (number, head)
        return [row["entry"] for row in rows]

    async def letters(self) -> list[str]:
        """Why messages are dead, in order."""
        return [row["reason"] for row in await self.admin.fetch("SELECT reason FROM vault.dead_letters ORDER BY id")]

    async def content(self) -> dict[str, list[str]]:
        """All that Letheia's database holds, as text: by table, in no order."""
        tables = await self.admin.fetch(
            "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname IN ('coordinator', 'vault')"
        )
        return {
            row["name"]: sorted(each[0] for each in await self.admin.fetch(f"SELECT t::text FROM {row['name']} t"))
            for row in tables
        }


def reported(report: TaskReported, **changes: object) -> RawRecord:
    """A record of the reports topic."""
    body = report.model_dump(mode="json") | changes
    return record(body, MessageType.TASK_REPORTED, topic=Topic.REPORTS)


@asynccontextmanager
async def open_desk(
    database: LetheiaDatabase, *, clock: StillClock | None = None, inventory: Inventory | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Desk]:  # fmt: skip
    """A coordinator of its own over a database, perhaps beside others."""
    inventory, clock = inventory or sample_inventory(), clock or StillClock(NOW)
    vault = Vault(KEYRING, inventory.kinds_of(KindClass.PERSON), inventory.kinds_of(KindClass.RECORD))
    intake = Intake(inventory, RECEIVING_KEYS, PUBLISHERS)
    handler = Handler(inventory, intake, KEYRING, vault, clock, telemetry or Telemetry("coordinator", None))
    async with open_pool(database.url(ROLE)) as pool:
        admin = await connect(database.url("postgres"))
        try:
            yield Desk(pool, admin, vault, clock, handler)
        finally:
            await admin.close()

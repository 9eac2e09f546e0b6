"""The analytics connector's own ways, against the real engine. What all connectors do is in `tests/conformance`."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from deploy.sample.stores import ClickHouse
from services.connectors.analytics import connect
from services.connectors.port import (
    Erasure,
    Export,
    Findings,
    Identifier,
    Revoked,
    Standing,
    StoreConnector,
    Subject,
    Terminal,
    Transient,
)
from services.kit.inventory import InventoryError
from tests.conformance.harness import GLOBEX, OURS
from tests.support.clickhouse import SCHEMA, TABLES, ClickHouseServer, inventory
from tests.support.port import MemoryBundle, Permits, StillClock, settings

_PATIENCE_S = 60


@dataclass
class Database:
    """One database, seen by the connector and past it."""

    url: str
    client: ClickHouse
    connector: StoreConnector
    clock: StillClock = field(default_factory=StillClock)

    async def happened(self, device: str, *, events: int = 1) -> None:
        rows = [{"id": str(uuid4()), "device_id": device, "at": "2026-05-01 10:00:00", "page": "/"}] * events
        await self.client.execute("INSERT INTO event FORMAT JSONEachRow", rows)

    async def signed_up(self, email: str, device: str) -> None:
        row = {"id": str(uuid4()), "email": email, "device_id": device}
        await self.client.execute("INSERT INTO signup FORMAT JSONEachRow", [row])

    async def count(self, table: str = "event") -> int:
        ((number,),) = [
            row.values()
            for row in await self.client.execute(f"SELECT * FROM (SELECT count() FROM {table}) FORMAT JSONEachRow")
        ]
        return int(number)

    async def mutations(self) -> Sequence[dict[str, Any]]:
        where = "WHERE database = currentDatabase()"
        return await self.client.execute(f"SELECT * FROM system.mutations {where} FORMAT JSONEachRow")

    async def batches(self) -> set[str]:
        where = "WHERE database = currentDatabase() AND startsWith(name, 'letheia_batch_')"
        rows = await self.client.execute(f"SELECT name FROM system.tables {where} FORMAT JSONEachRow")
        return {row["name"] for row in rows}

    async def under_way(self) -> None:
        """Wait until a mutation was ordered."""
        async with asyncio.timeout(_PATIENCE_S):
            while not await self.mutations():
                await asyncio.sleep(0.02)

    async def find(self, subject: Subject) -> Findings:
        (found,) = await self.connector.discover([subject], Permits.of([subject]))
        assert isinstance(found, Findings), found
        return found

    async def erase(self, *subjects: Subject) -> list[Any]:
        return list(await self.connector.erase(subjects, Permits.of(subjects)))


@pytest.fixture
async def database(clickhouse_server: ClickHouseServer) -> AsyncIterator[Database]:
    clock = StillClock()
    async with (
        clickhouse_server.database(*SCHEMA) as (url, client),
        connect("analytics", inventory(url), settings(), clock) as connector,
    ):
        yield Database(url, client, connector, clock)


def owner(*values: str, standing: Standing = Standing.TRUSTED, alone: bool | None = True) -> Subject:
    """Somebody known by devices, or by what has an @."""
    identifiers = (
        Identifier("email", value) if "@" in value else Identifier("device_id", value, standing, alone)
        for value in values
    )
    return Subject(uuid4(), OURS, frozenset(identifiers))


async def test_one_mutation_for_all_and_no_identifier_in_it(database: Database) -> None:
    devices = ["tablet-'1'", "tablet-2", "tablet-3"]
    for device in devices:
        await database.happened(device, events=2)

    first, second = await database.erase(owner(devices[0]), owner(devices[1]))

    assert (first.erased, second.erased) == ({"usage": 2}, {"usage": 2})
    (mutation,) = await database.mutations()
    assert mutation["is_done"]
    assert "tablet" not in json.dumps(mutation)
    assert await database.batches() == set()
    assert await database.count() == 2


async def test_a_family_tablet_is_nobodys_alone(database: Database) -> None:
    await database.happened("tablet", events=3)
    await database.signed_up("ada@example.org", "tablet")
    await database.signed_up("ben@example.org", "tablet")

    found = await database.find(owner("ada@example.org"))
    (done,) = await database.erase(owner("ada@example.org", "tablet"))

    assert found.found == {"customers": 1}
    assert {(c.category, c.count) for c in found.contested} == {("usage", 3), ("customers", 1)}
    assert Identifier("device_id", "tablet") in found.revealed
    assert [i.alone for i in found.revealed if i.value == "tablet"] == [False]
    assert done.erased == {"customers": 1}
    assert (await database.count(), await database.count("signup")) == (3, 1)


async def test_a_device_that_only_this_person_signed_up_with_is_theirs(database: Database) -> None:
    await database.happened("phone", events=3)
    await database.signed_up("ada@example.org", "phone")

    found = await database.find(owner("ada@example.org"))

    assert found.found == {"customers": 1, "usage": 3}
    assert found.contested == ()
    assert [i.alone for i in found.revealed if i.value == "phone"] == [True]


async def test_events_that_come_in_late_are_found_again(database: Database) -> None:
    await database.happened("phone")
    subject = owner("phone")
    await database.erase(subject)

    await database.happened("phone", events=2)

    assert (await database.find(subject)).found == {"usage": 2}


async def test_events_that_come_in_while_erasing_are_reported_as_found(database: Database) -> None:
    await database.happened("phone", events=3)
    await database.client.execute("SYSTEM STOP MERGES event")
    erasing = asyncio.create_task(database.erase(owner("phone")))
    await database.under_way()

    await database.happened("phone", events=2)
    await database.client.execute("SYSTEM START MERGES event")

    (done,) = await erasing
    assert (done.erased, done.found) == ({"usage": 3}, {"usage": 2})


async def test_a_failing_mutation_is_killed_and_blocks_nobody(database: Database) -> None:
    await database.happened("phone")
    subject = owner("phone")
    await database.client.execute("SYSTEM STOP MERGES event")
    erasing = asyncio.create_task(database.erase(subject))
    await database.under_way()

    (batch,) = await database.batches()
    await database.client.execute(f"DROP TABLE {batch} SYNC")
    await database.client.execute("SYSTEM START MERGES event")

    (failure,) = await erasing
    assert isinstance(failure, Transient)
    assert failure.code == "mutation_failed"
    assert await database.mutations() == []
    assert await database.count() == 1
    (again,) = await database.erase(subject)
    assert again.erased == {"usage": 1}


async def test_a_mutation_that_nobody_permits_any_more_is_killed(database: Database) -> None:
    await database.happened("phone")
    subject = owner("phone")
    permits = Permits.of([subject])
    await database.client.execute("SYSTEM STOP MERGES event")
    erasing = asyncio.create_task(database.connector.erase([subject], permits))
    await database.under_way()

    permits.ids = frozenset()

    (answer,) = await erasing
    await database.client.execute("SYSTEM START MERGES event")
    assert isinstance(answer, Revoked)
    assert await database.mutations() == []
    assert await database.batches() == set()
    assert await database.count() == 1


async def test_what_a_killed_worker_left_goes_unless_it_is_needed(database: Database) -> None:
    await database.happened("phone")
    at = int(database.clock.at.timestamp())
    left, needed, recent = f"letheia_batch_{at}_a", f"letheia_batch_{at}_b", f"letheia_batch_{at + 3600}_c"
    for name in (left, needed, recent):
        await database.client.execute(f"CREATE TABLE {name} (part String, texts Array(String)) ENGINE = Memory")
    await database.client.execute("SYSTEM STOP MERGES event")
    needs = f"DELETE WHERE device_id IN (SELECT part FROM {needed})"
    await database.client.execute(f"ALTER TABLE event {needs} SETTINGS mutations_sync = 0")
    database.clock.at += timedelta(hours=1, seconds=1)

    await database.find(owner("phone"))
    assert await database.batches() == {needed, recent}

    await database.client.execute("SYSTEM START MERGES event")
    async with asyncio.timeout(_PATIENCE_S):
        while not all(mutation["is_done"] for mutation in await database.mutations()):
            await asyncio.sleep(0.02)
    await database.find(owner("phone"))
    assert await database.batches() == {recent}


async def test_a_uuid_is_found_however_it_is_written(database: Database) -> None:
    device = uuid4()
    row = {"id": str(uuid4()), "device_id": str(device), "customer_id": "42"}
    await database.client.execute("INSERT INTO visit FORMAT JSONEachRow", [row])
    known = frozenset({Identifier("device_id", str(device).upper(), alone=True), Identifier("device_id", "no uuid")})

    found = await database.find(Subject(uuid4(), GLOBEX, known))

    assert found.found == {"usage": 1}


async def test_a_copy_has_every_column_as_json_and_as_csv(database: Database) -> None:
    await database.happened("phone", events=2)
    subject, bundle = owner("phone"), MemoryBundle()

    export = await database.connector.export(subject, bundle, Permits.of([subject]))

    assert isinstance(export, Export)
    assert list(bundle.contents) == ["usage/event.json", "usage/event.csv"]
    rows = json.loads(bundle.contents["usage/event.json"])
    assert [row["at"] for row in rows] == ["2026-05-01T10:00:00.000Z"] * 2
    header, *lines = bundle.contents["usage/event.csv"].decode().splitlines()
    assert header == '"id","device_id","at","page"'
    assert len(lines) == 2


async def test_says_which_failure_another_attempt_may_mend(database: Database) -> None:
    subject = owner("phone")
    for url, kind, code in (
        (database.url.replace("secret@", "wrong@"), Terminal, "refused_credential"),
        (f"{database.url}_gone", Terminal, "missing_database"),
        ("http://analytics:secret@127.0.0.1:1/analytics", Transient, "store_unreachable"),
    ):
        async with connect("analytics", inventory(url), settings(), database.clock) as connector:
            (failure,) = await connector.discover([subject], Permits.of([subject]))
            health = await connector.check()

        assert isinstance(failure, kind)
        assert failure.code == code
        assert code in health.problems[0].what


async def test_refuses_what_it_can_not_erase_from(database: Database) -> None:
    await database.client.execute("ALTER TABLE event ADD COLUMN score Float64")
    await database.client.execute("CREATE VIEW seen AS SELECT * FROM event")
    event = TABLES["event"]
    tables = {"seen": event, "event": {**event, "match": {"device_id": "score"}}}
    async with connect("analytics", inventory(database.url, tables=tables), settings(), database.clock) as connector:
        subject = owner("phone")
        (failure,) = await connector.erase([subject], Permits.of([subject]))
        problems = (await connector.check()).problems
    assert isinstance(failure, Terminal)
    assert failure.code == "unsupported_engine"
    assert {problem.where for problem in problems} == {"seen", "event.score"}

    kept = {"event": {**event, "erase": {"anonymise": ["page"]}}}
    with pytest.raises(InventoryError, match="event"):
        async with connect("analytics", inventory(database.url, tables=kept), settings(), database.clock):
            pass


async def test_what_a_person_confirmed_is_erased(database: Database) -> None:
    await database.happened("tablet")
    doubtful = owner("tablet", alone=None)
    assert (await database.find(doubtful)).found == {}

    (done,) = await database.erase(owner("tablet", standing=Standing.CONFIRMED, alone=None))

    assert isinstance(done, Erasure)
    assert done.erased == {"usage": 1}

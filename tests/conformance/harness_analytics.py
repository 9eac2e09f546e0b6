"""The analytics database: tables with and without owners, ours and a customer's, in the real engine."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from deploy.sample.stores import ClickHouse
from services.connectors.analytics import connect
from services.connectors.port import Identifier, Scope, StoreConnector, Subject
from services.kit.inventory import Role
from tests.conformance.harness import ROW_LIMIT, SCOPES, Prepared
from tests.support.clickhouse import SCHEMA, TABLES, inventory
from tests.support.port import NOW, StillClock, settings


class AnalyticsHarness:
    """As controller a sign-up that ties a device to an address, and events of the device; as processor visits."""

    scopes = SCOPES

    def __init__(self, connector: StoreConnector, client: ClickHouse) -> None:
        self.connector, self._client = connector, client

    async def person(self, scope: Scope, *, records: int = 3) -> Prepared:
        device = Identifier("device_id", str(uuid4()), alone=True)
        await self._happen(scope, device, records)
        if scope.role is Role.PROCESSOR:
            return Prepared(Subject(uuid4(), scope, frozenset({device})), found={"usage": records})
        email = Identifier("email", f"{uuid4()}@example.org")
        row = {"id": str(uuid4()), "email": email.value, "device_id": device.value}
        await self._client.execute("INSERT INTO signup FORMAT JSONEachRow", [row])
        return Prepared(
            Subject(uuid4(), scope, frozenset({email})),
            found={"usage": records, "customers": 1},
            reveals=frozenset({email, device}),
            exported=frozenset({"usage", "customers"}),
        )

    async def ambiguous(self, scope: Scope) -> Prepared | None:
        device = Identifier("device_id", str(uuid4()))
        await self._happen(scope, device, 2)
        return Prepared(Subject(uuid4(), scope, frozenset({device})), found={"usage": 2})

    async def stored(self, person: Prepared) -> Mapping[str, object]:
        known = {i.value for i in person.subject.identifiers | person.reveals}
        found = {}
        for table in TABLES:
            for row in await self._client.execute(f"SELECT * FROM {table} FORMAT JSONEachRow"):
                if known.intersection(map(str, row.values())):
                    found[f"{table} {row['id']}"] = row
        return found

    @asynccontextmanager
    async def broken(self) -> AsyncIterator[None]:
        await self._client.execute("RENAME TABLE event TO gone_event")
        yield
        await self._client.execute("RENAME TABLE gone_event TO event")

    async def settle(self) -> None:
        return None

    async def _happen(self, scope: Scope, device: Identifier, records: int) -> None:
        rows = [{"id": str(uuid4()), "device_id": device.value} for _ in range(records)]
        if scope.role is Role.PROCESSOR:
            rows = [{**row, "customer_id": scope.tenant or ""} for row in rows]
            await self._client.execute("INSERT INTO visit FORMAT JSONEachRow", rows)
        else:
            rows = [{**row, "at": f"{NOW:%Y-%m-%d %H:%M:%S}", "page": "/"} for row in rows]
            await self._client.execute("INSERT INTO event FORMAT JSONEachRow", rows)


@asynccontextmanager
async def open_harness(request: pytest.FixtureRequest) -> AsyncIterator[AnalyticsHarness]:
    server = request.getfixturevalue("clickhouse_server")
    async with (
        server.database(*SCHEMA) as (url, client),
        connect("analytics", inventory(url, rows=ROW_LIMIT), settings(), StillClock()) as connector,
    ):
        yield AnalyticsHarness(connector, client)

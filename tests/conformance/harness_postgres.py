"""The application's database: the sample schema and inventory in a real PostgreSQL."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.connectors.port import Identifier, Scope, StoreConnector, Subject
from services.connectors.postgres import connect
from services.kit.inventory import Role
from tests.conformance.harness import ROW_LIMIT, SCOPES, Prepared
from tests.support.inventory import sample_inventory
from tests.support.port import NOW, StillClock, settings
from tests.support.postgres import PostgresServer

SCHEMA = Path(__file__).parents[2] / "deploy" / "sample" / "schema.sql"


class PostgresHarness:
    """As controller a contact with devices, calls and invoices; as processor calls under a phone and an email."""

    scopes = SCOPES

    def __init__(self, connector: StoreConnector, connection: Any) -> None:
        self.connector, self._connection = connector, connection
        self._ids = count(40_000_001)

    async def person(self, scope: Scope, *, records: int = 3) -> Prepared:
        email = Identifier("email", f"{uuid4()}@example.org")
        if scope.role is Role.PROCESSOR:
            calls = [await self._call(scope, next_phone(self._ids), email.value) for _ in range(records)]
            return Prepared(
                Subject(uuid4(), scope, frozenset({email})),
                found={"recordings": records},
                reveals=frozenset(calls),
                exported=frozenset({"recordings"}),
            )
        return await self._contact(scope, email, records)

    async def _contact(self, scope: Scope, email: Identifier, records: int) -> Prepared:
        contact, phone = next(self._ids), next_phone(self._ids)
        await self._insert("contact", contact, email.value, phone, "Anna", "Acme", "Lead", "customer", NOW, None)
        devices = [Identifier("device_id", uuid4().hex) for _ in range(records)]
        for device in devices:
            await self._insert("device", next(self._ids), contact, device.value, NOW)
        call = uuid4()
        await self._insert("own_call", call, contact, NOW, 60)
        await self._insert("invoice", next(self._ids), contact, "Anna", 100, date(2025, 3, 1))
        await self._insert("invoice", next(self._ids), contact, "Anna", 100, date(2009, 3, 1))
        contact_id = Identifier("contact_id", str(contact))
        return Prepared(
            Subject(uuid4(), scope, frozenset({email})),
            found={"customers": 1, "usage": records, "recordings": 1, "billing": 2},
            retained={"billing": 1},
            reveals=frozenset({email, contact_id, Identifier("call_id", str(call)), *devices}),
            exported=frozenset({"customers", "usage", "recordings"}),
        )

    async def ambiguous(self, scope: Scope) -> Prepared | None:
        phone = next_phone(self._ids)
        identifier = Identifier("phone", phone)
        subject = Subject(uuid4(), scope, frozenset({identifier}))
        if scope.role is Role.PROCESSOR:
            await self._call(scope, phone, None)
            return Prepared(subject, found={"recordings": 1})
        for name in ("Anna", "Bob"):
            await self._insert(
                "contact", next(self._ids), f"{uuid4()}@example.org", phone, name, "Acme", "Lead", "customer", NOW, None
            )
        return Prepared(subject, found={"customers": 2})

    async def stored(self, person: Prepared) -> Mapping[str, object]:
        known = {i.value for i in person.subject.identifiers | person.reveals}
        found = {}
        for table in ("contact", "device", "own_call", "call", "invoice", "applicant"):
            for row in await self._connection.fetch(f"SELECT * FROM {table}"):
                if known & {str(value) for value in row.values()}:
                    found[f"{table} {row['id']}"] = tuple(row.values())
        return found

    @asynccontextmanager
    async def broken(self) -> AsyncIterator[None]:
        for table in ("device", "call"):
            await self._connection.execute(f"ALTER TABLE {table} RENAME TO gone_{table}")
        yield
        for table in ("device", "call"):
            await self._connection.execute(f"ALTER TABLE gone_{table} RENAME TO {table}")

    async def settle(self) -> None:
        return None

    async def _call(self, scope: Scope, phone: str, email: str | None) -> Identifier:
        call = uuid4()
        await self._insert("call", call, scope.tenant, phone, email, NOW, 60)
        return Identifier("call_id", str(call))

    async def _insert(self, table: str, *values: object) -> None:
        places = ", ".join(f"${n}" for n, _ in enumerate(values, 1))
        await self._connection.execute(f"INSERT INTO {table} VALUES ({places})", *values)


def next_phone(ids: "count[int]") -> str:
    return f"+336{next(ids)}"


@asynccontextmanager
async def open_harness(request: pytest.FixtureRequest) -> AsyncIterator[PostgresHarness]:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = await server.database(SCHEMA.read_text())
    inventory = sample_inventory({"APP_DATABASE_URL": url}, row_limit=ROW_LIMIT)
    async with connect("app", inventory, settings(), StillClock()) as connector, server.connection(url) as connection:
        yield PostgresHarness(connector, connection)

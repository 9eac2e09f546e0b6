"""The in-memory double."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from uuid import uuid4

import pytest

from services.connectors.port import Identifier, Scope, Subject, Terminal
from services.kit.inventory import KindClass
from tests.conformance.harness import ROW_LIMIT, SCOPES, Prepared
from tests.support.memory_store import MemoryStore, Record


class MemoryHarness:
    """Each person has a profile that reveals their id, records under that id, and something retained."""

    scopes = SCOPES

    def __init__(self) -> None:
        kinds = {"email": KindClass.PERSON, "contact_id": KindClass.PERSON, "phone": KindClass.SHARED}
        self.connector = MemoryStore(kinds, row_limit=ROW_LIMIT)

    async def person(self, scope: Scope, *, records: int = 3) -> Prepared:
        email, contact = Identifier("email", f"{uuid4()}@example.org"), Identifier("contact_id", str(uuid4()))
        both, under_id = frozenset({email, contact}), frozenset({contact})
        self.connector.put(
            Record(f"profile {contact.value}", scope, "customers", both, reveals=both),
            *(Record(f"{n} {contact.value}", scope, "usage", under_id) for n in range(records)),
            Record(f"invoice {contact.value}", scope, "billing", under_id, retained_until=date(2036, 12, 31)),
        )
        return Prepared(
            Subject(uuid4(), scope, frozenset({email})),
            found={"customers": 1, "usage": records, "billing": 1},
            retained={"billing": 1},
            reveals=both,
            exported=frozenset({"customers", "usage"}),
        )

    async def ambiguous(self, scope: Scope) -> Prepared | None:
        phone = Identifier("phone", str(uuid4()))
        self.connector.put(Record(f"call {phone.value}", scope, "recordings", frozenset({phone})))
        return Prepared(Subject(uuid4(), scope, frozenset({phone})), found={"recordings": 1})

    async def stored(self, person: Prepared) -> Mapping[str, object]:
        known = person.subject.identifiers | person.reveals
        return {record.name: record for record in self.connector.records.values() if record.identifiers & known}

    @asynccontextmanager
    async def broken(self) -> AsyncIterator[None]:
        self.connector.broken = Terminal("missing_table")
        yield
        self.connector.broken = None

    async def settle(self) -> None:
        return None


@asynccontextmanager
async def open_harness(request: pytest.FixtureRequest) -> AsyncIterator[MemoryHarness]:
    yield MemoryHarness()

"""The CRM connector against the HubSpot simulator."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from services.connectors.crm.client import HubSpot
from services.connectors.crm.connector import CrmConnector
from services.connectors.port import Identifier, Scope, Subject
from services.kit.inventory import CrmStore
from tests.conformance.harness import OURS, ROW_LIMIT, Prepared
from tests.support.crm import CATEGORY, Door, inventory
from tests.support.hubspot import TOKEN, running
from tests.support.port import StillClock

_BOUND_S, _LAG_S, _UNLIMITED = 0.2, 0.1, 1_000_000
_OWN_STAMPS = frozenset({"hs_createdate", "hs_lastmodifieddate", "hs_object_id", "hs_timestamp"})


class _Breakable(HubSpot):
    """Can be sent to where there is no endpoint."""

    broken = False

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return await super()._call(method, f"/nowhere{path}" if self.broken else path, body)


class CrmHarness:
    """Each person is a contact with two addresses and a number, and calls and notes."""

    scopes = (OURS,)

    def __init__(self, client: _Breakable, door: Door, url: str) -> None:
        declared = inventory(url, bound_s=_BOUND_S, rows=ROW_LIMIT)
        store = declared.stores["crm"]
        assert isinstance(store, CrmStore)
        self.connector = CrmConnector(client, store, declared, StillClock())
        self._client, self._door = client, door
        self._made: dict[Subject, dict[str, list[str]]] = {}

    async def person(self, scope: Scope, *, records: int = 3) -> Prepared:
        email, other, phone = f"{uuid4()}@example.org", f"{uuid4()}@example.net", _number()
        contact = await self._door.contact(email=email, hs_additional_emails=other, phone=phone, firstname="Ada")
        texts = [f"{n} of {email}" for n in range(records)]
        made = {
            "contacts": [contact],
            "calls": await self._door.logged_often("calls", texts[::2], contact),
            "notes": await self._door.logged_often("notes", texts[1::2], contact),
        }
        subject = Subject(uuid4(), scope, frozenset({Identifier("email", email)}))
        self._made[subject] = made
        logged = {Identifier("engagement_id", id_) for kind in ("calls", "notes") for id_ in made[kind]}
        reveals = {Identifier("email", email), Identifier("email", other), Identifier("crm_id", contact), *logged}
        return Prepared(subject, {CATEGORY: 1 + records}, reveals=frozenset(reveals), exported=frozenset({CATEGORY}))

    async def ambiguous(self, scope: Scope) -> Prepared | None:
        phone = _number()
        contact = await self._door.contact(email=f"{uuid4()}@example.org", mobilephone=phone)
        while not await self._door.found("mobilephone", phone):
            await asyncio.sleep(_LAG_S)
        subject = Subject(uuid4(), scope, frozenset({Identifier("phone", phone)}))
        self._made[subject] = {"contacts": [contact]}
        return Prepared(subject, {CATEGORY: 1})

    async def stored(self, person: Prepared) -> Mapping[str, object]:
        """What is alive, and what the recycle bin still tells."""
        made, found = self._made[person.subject], dict[str, object]()
        for kind, ids in made.items():
            found |= {f"{kind} {id_}": content for id_, content in (await self._door.read(kind, *ids)).items()}
            for id_, content in (await self._door.read(kind, *ids, archived=True)).items():
                if content.keys() - _OWN_STAMPS:
                    found[f"archived {kind} {id_}"] = content
        return found

    @asynccontextmanager
    async def broken(self) -> AsyncIterator[None]:
        self._client.broken = True
        yield
        self._client.broken = False

    async def settle(self) -> None:
        await asyncio.sleep(_BOUND_S + _LAG_S)  # by the clock that the simulator goes by


@asynccontextmanager
async def open_harness(request: pytest.FixtureRequest) -> AsyncIterator[CrmHarness]:
    state = request.getfixturevalue("tmp_path_factory").mktemp("hubspot") / "state"
    limits = {"requests_per_ten_seconds": _UNLIMITED, "searches_per_second": _UNLIMITED}
    with running(state, bound_s=_BOUND_S, index_lag_s=_LAG_S, **limits) as simulator:
        async with _Breakable.open(simulator.url, TOKEN) as client, Door.open(simulator.url) as door:
            assert isinstance(client, _Breakable)
            yield CrmHarness(client, door, simulator.url)


def _number() -> str:
    return f"+339{uuid4().int % 10**8:08d}"

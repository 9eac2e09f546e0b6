"""The sample inventory's CRM store, and a door to the simulator that is not the connector's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession

from services.kit.inventory import Inventory
from tests.support.hubspot import TOKEN

CATEGORY = "customers"
_NUMBERS = {"calls": 194, "notes": 202}
_TEXTS = {"calls": "hs_call_body", "notes": "hs_note_body"}


def inventory(url: str, *, token: str = TOKEN, bound_s: float = 0, rows: int = 100, **category: str) -> Inventory:
    """One that knows nothing but a CRM."""
    store = {"connector": "crm", "url": url, "token": token, "bound_s": bound_s, "category": CATEGORY}
    store |= {"role": "controller", "match": ["email", "phone", "crm_id", "engagement_id"]}
    store |= {"reveals": ["email", "crm_id", "engagement_id"]}
    described = {"purpose": "customer relationship", "basis": "contract", "origin": "provided", **category}
    return Inventory.model_validate(
        {
            "controllers": {"acme": {"role": "controller", "calendar": "FR"}},
            "publishers": {},
            "limits": {"rows_per_request": rows},
            "bundles": {"bucket": "bundles"},
            "kinds": {"email": "person", "crm_id": "person", "phone": "shared", "engagement_id": "record"},
            "categories": {CATEGORY: described},
            "stores": {"crm": store},
        }
    )


class Door:
    """Speaks the vendor's API as anybody might."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["Door"]:
        async with ClientSession(url, headers={"Authorization": f"Bearer {TOKEN}"}, raise_for_status=True) as session:
            yield cls(session)

    async def contact(self, **properties: str) -> str:
        return str((await self.post("/crm/v3/objects/contacts", {"properties": properties}))["id"])

    async def logged(self, kind: str, text: str, *contacts: str) -> str:
        """A call or a note, tied to contacts."""
        return (await self.logged_often(kind, [text], *contacts))[0]

    async def logged_often(self, kind: str, texts: Sequence[str], *contacts: str) -> list[str]:
        types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": _NUMBERS[kind]}]
        ties = [{"to": {"id": id_}, "types": types} for id_ in contacts]
        made = [
            {"properties": {"hs_timestamp": "2026-05-01T10:00:00Z", _TEXTS[kind]: text}, "associations": ties}
            for text in texts
        ]
        answer = await self.post(f"/crm/v3/objects/{kind}/batch/create", {"inputs": made})
        return [one["id"] for one in answer["results"]]

    async def found(self, property_: str, value: str) -> list[str]:
        """What the search index knows."""
        filter_ = {"propertyName": property_, "operator": "EQ", "value": value}
        answer = await self.post("/crm/v3/objects/contacts/search", {"filterGroups": [{"filters": [filter_]}]})
        return [one["id"] for one in answer["results"]]

    async def read(self, kind: str, *ids: str, archived: bool = False) -> dict[str, dict[str, Any]]:
        """Objects by id, with all that has a value."""
        names = [one["name"] for one in (await self.get(f"/crm/v3/properties/{kind}"))["results"]]
        body = {"inputs": [{"id": id_} for id_ in ids], "properties": names}
        answer = await self.post(f"/crm/v3/objects/{kind}/batch/read?archived={str(archived).lower()}", body)
        return {r["id"]: {k: v for k, v in r["properties"].items() if v} for r in answer["results"]}

    async def get(self, path: str) -> Any:
        async with self._session.get(path) as response:
            return await response.json()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        async with self._session.post(path, json=body) as response:
            return await response.json() if response.status != 204 else None

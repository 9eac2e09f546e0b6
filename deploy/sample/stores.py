"""Doors to the stores for whoever stands outside Letheia, as the sample's loader and its check do."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from aiohttp import ClientSession

from services.kit.objects.s3 import Access, open_client

_PATIENCE = 60
"""How often something is tried again."""


class Crm:
    """HubSpot's v3 API. Waits out its rate limits (429)."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, endpoint: Mapping[str, Any]) -> AsyncIterator["Crm"]:
        """From `stores.crm` of the endpoints."""
        headers = {"Authorization": f"Bearer {endpoint['token']}"}
        async with ClientSession(endpoint["url"], headers=headers) as session:
            yield cls(session)

    async def create(self, kind: str, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Create objects of a kind (`contacts`, `calls`, `notes`), as many at a time as the vendor takes (100)."""
        created: list[dict[str, Any]] = []
        for at in range(0, len(inputs), 100):
            body = {"inputs": inputs[at : at + 100]}
            answer = await self._call("POST", f"/crm/v3/objects/{kind}/batch/create", json=body)
            created += answer["results"]
        return created

    async def wait_for_index(self, kind: str, id_: str) -> None:
        """Wait until search, whose index is behind, finds an object."""
        same = {"propertyName": "hs_object_id", "operator": "EQ", "value": id_}
        search = {"filterGroups": [{"filters": [same]}], "limit": 1}
        for _ in range(_PATIENCE):
            if (await self._call("POST", f"/crm/v3/objects/{kind}/search", json=search))["results"]:
                return
            await asyncio.sleep(0.5)
        raise TimeoutError(f"the CRM's search does not find {kind} {id_}, which it just created")

    async def all(self, kind: str, properties: Iterable[str], **params: str) -> AsyncIterator[dict[str, Any]]:
        """Every object of a kind."""
        query = {"limit": "100", "properties": ",".join(properties), **params}
        while True:
            page = await self._call("GET", f"/crm/v3/objects/{kind}", params=query)
            for record in page["results"]:
                yield record
            if "paging" not in page:
                return
            query["after"] = page["paging"]["next"]["after"]

    async def _call(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        for _ in range(_PATIENCE):
            async with self._session.request(method, path, **how) as response:
                if response.status != 429:
                    response.raise_for_status()
                    answer: dict[str, Any] = await response.json()
                    return answer
            await asyncio.sleep(float(response.headers.get("Retry-After", 1)))
        raise TimeoutError(f"the CRM kept refusing {method} {path} with 429; see its rate limits")


class ClickHouse:
    """ClickHouse over HTTP."""

    def __init__(self, session: ClientSession, database: str) -> None:
        self._session, self._database = session, database

    @classmethod
    @asynccontextmanager
    async def open(cls, endpoint: Mapping[str, Any]) -> AsyncIterator["ClickHouse"]:
        """From `stores.analytics` of the endpoints."""
        headers = {"X-ClickHouse-User": endpoint["user"], "X-ClickHouse-Key": endpoint["password"]}
        async with ClientSession(endpoint["url"], headers=headers) as session:
            yield cls(session, endpoint["database"])

    async def execute(self, statement: str, rows: Iterable[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """Run a statement; `rows` are the data of an INSERT. Returns the rows of a query FORMAT JSONEachRow."""
        data = "\n".join(json.dumps(row) for row in rows)
        query = {"database": self._database, "query": statement}
        async with self._session.post("/", params=query, data=data.encode()) as response:
            text = await response.text()
            if response.status != 200:
                raise RuntimeError(f"ClickHouse refused {statement!r}: {text}")
        return [json.loads(line) for line in text.splitlines()]


def open_s3(endpoint: Mapping[str, Any]) -> AbstractAsyncContextManager[Any]:
    """The SDK's client of S3, from `stores.recordings` of the endpoints."""
    return open_client(Access(endpoint["region"], endpoint["endpoint"], endpoint["access_key"], endpoint["secret_key"]))

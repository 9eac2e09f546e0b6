"""ClickHouse over HTTP, its answers classified.

Statements travel in the URL, which access logs keep: no identifier may stand in one. Identifiers travel in the body of
an INSERT. Source: https://clickhouse.com/docs/interfaces/http
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from services.connectors.port import StoreFailure, Terminal, Transient

_TIMEOUT: Final = ClientTimeout(total=600, sock_connect=10)
_PIECE: Final = 1 << 16
_SETTINGS: Final = {
    "log_queries": "0",  # the server's own log of statements
    "async_insert": "0",  # what was inserted is there when the call is over
    "mutations_sync": "0",  # a mutation is watched, so that it may last
    "wait_end_of_query": "1",  # a failure half-way is an HTTP status and no line among the rows
}
_TERMINAL: Final = {
    "47": "missing_column",
    "60": "missing_table",
    "81": "missing_database",
    "192": "refused_credential",
    "193": "refused_credential",
    "194": "refused_credential",
    "497": "insufficient_privilege",
    "516": "refused_credential",
}
"""ErrorCodes.cpp. Others pass: most of them say that the server has too much to do."""
_NO_CLICKHOUSE: Final = {401: "refused_credential", 403: "refused_credential", 404: "missing_endpoint"}


class ClickHouse:
    """One database. Raises `Transient` or `Terminal`; the server's words are not passed on, they may quote values."""

    def __init__(self, session: ClientSession, database: str) -> None:
        self._session, self.database = session, database

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["ClickHouse"]:
        """Of `http[s]://user:password@host:port/database`. Connects with the first statement."""
        parts = urlsplit(url)
        headers = {"X-ClickHouse-User": unquote(parts.username or "default")}
        headers |= {"X-ClickHouse-Key": unquote(parts.password or "")}
        server = parts._replace(netloc=parts.netloc.rpartition("@")[2], path="/").geturl()
        async with ClientSession(server, headers=headers, timeout=_TIMEOUT) as session:
            yield cls(session, unquote(parts.path.strip("/")) or "default")

    async def run(self, statement: str, **parameters: str) -> None:
        """Do something."""
        async with self._sent(statement, parameters):
            return

    async def rows(self, statement: str, **parameters: str) -> list[list[Any]]:
        """All rows of a SELECT."""
        async with self._sent(f"{statement} FORMAT JSONCompactEachRow", parameters) as response:
            return [json.loads(line) for line in (await response.read()).splitlines()]

    async def insert(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows; their values stand in no statement."""
        data = "\n".join(map(json.dumps, rows)).encode()
        async with self._sent(f"INSERT INTO {table} FORMAT JSONEachRow", {}, data):
            return

    async def stream(self, statement: str, parameters: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The answer to a SELECT in the format it names, as it comes."""
        async with self._sent(statement, parameters) as response:
            async for piece in response.content.iter_chunked(_PIECE):
                yield piece

    @asynccontextmanager
    async def _sent(
        self, statement: str, parameters: Mapping[str, str], data: bytes | None = None
    ) -> AsyncIterator[ClientResponse]:
        query = {"query": statement, "database": self.database, **_SETTINGS}
        query |= {f"param_{name}": value for name, value in parameters.items()}
        try:
            async with self._session.post("/", params=query, data=data, allow_redirects=False) as response:
                if response.status != 200:
                    raise _failure(response)
                yield response
        except (ClientError, TimeoutError):
            raise Transient("store_unreachable") from None


def _failure(response: ClientResponse) -> StoreFailure:
    code = response.headers.get("X-ClickHouse-Exception-Code")
    if code in _TERMINAL:
        return Terminal(_TERMINAL[code])
    if code is None and response.status in _NO_CLICKHOUSE:
        return Terminal(_NO_CLICKHOUSE[response.status])
    return Transient(f"clickhouse_{code}" if code else f"http_{response.status}")


def quoted(*names: str) -> str:
    """A name, or a path of them, as SQL text."""
    return ".".join("`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`" for name in names)

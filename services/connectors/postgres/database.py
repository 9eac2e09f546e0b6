"""Connections to the application's database, and what their failures mean."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import asyncpg

from services.connectors.port import StoreFailure, Terminal, Transient
from services.kit.postgres import UNREACHABLE, Connection, Pool, PostgresError, Record

_SETTINGS: Final = {
    "application_name": "letheia",
    "row_security": "off",  # a policy then raises; else it would hide rows, and hidden rows look erased (FACTS B2)
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "timezone": "UTC",
    "datestyle": "ISO",
}

_CODES: Final = {
    "42P01": "missing_table",
    "42703": "missing_column",
    "3D000": "missing_database",
    "3F000": "missing_schema",
    "42501": "insufficient_privilege",
    "23001": "referenced",
    "23503": "referenced",
    "40P01": "deadlock",
    "55P03": "lock_not_got",
    "57014": "timed_out",
}

_TRANSIENT_CLASSES: Final = ("08", "40", "53", "55", "57")
"""Connection lost, rolled back to let others through, no resources left, lock not got, cancelled or shut down
(PostgreSQL manual, appendix A)."""


def failure(sqlstate: str) -> StoreFailure:
    """What an error of the server means. Its own text is not kept: it quotes values."""
    code = _CODES.get(sqlstate, f"postgres_{sqlstate.lower()}")
    if sqlstate.startswith(_TRANSIENT_CLASSES):
        return Transient(code)
    return Terminal("refused_credential" if sqlstate.startswith("28") else code)


@contextmanager
def classified() -> Iterator[None]:
    """Raises `Transient` or `Terminal` for whatever the driver raises inside."""
    try:
        yield
    except PostgresError as error:
        raise failure(error.sqlstate or "xxxxx") from None
    except UNREACHABLE:
        raise Transient("store_unreachable") from None


class Database:
    """Runs statements. Raises `Transient` or `Terminal`, never the driver's errors."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def fetch(self, statement: str, *arguments: Any) -> list[Record]:
        """Run one statement in a transaction of its own."""
        with classified():
            return await self._pool.fetch(statement, *arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction (read committed). Nothing but statements belongs inside."""
        with classified():
            async with self._pool.acquire() as connection, connection.transaction():
                yield connection


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Connects when first used, so that a store that is away at start is a failed task and not a failed service."""
    pool = asyncpg.create_pool(
        url,
        min_size=0,
        max_size=4,
        timeout=10,
        command_timeout=60,  # seconds; the server's own limit is shorter, unless the network keeps its answer
        statement_cache_size=0,  # a plan kept across the application's migrations would fail
        server_settings=_SETTINGS,
    )
    async with pool:
        yield Database(pool)

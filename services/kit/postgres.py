"""Letheia's own database: pools, migrations, and what a failed transaction means."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from services.kit.telemetry import log

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Record = asyncpg.Record
PostgresError = asyncpg.PostgresError

AGAIN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""The same transaction may well succeed at once."""

UNREACHABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg makes of a server that dies while it connects
)
"""The database is away: wait and try again. A connection lost during COMMIT leaves its fate unknown, so whatever is
tried again must be idempotent."""

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0

T = TypeVar("T")

_MIGRATION_LOCK: Final = 0x6C657468


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


@asynccontextmanager
async def open_pool(url: str, *, size: int = 6) -> AsyncIterator[Pool]:
    """A pool whose connections take and give JSON values for `jsonb`."""
    async with asyncpg.create_pool(url, min_size=1, max_size=size, init=_prepare, command_timeout=60) as pool:
        yield pool


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """One connection of its own, for LISTEN or a session lock."""
    connection = await asyncpg.connect(url, command_timeout=60)
    await _prepare(connection)
    return connection


async def migrate(connection: Connection, name: str, folder: Traversable, variables: Mapping[str, str]) -> list[str]:
    """Apply the numbered SQL files of `folder` not applied yet, each in a transaction; return their names.

    `{name}` in a file is replaced from `variables`. Raises `RuntimeError` when an applied file has changed since.
    """
    applied: list[str] = []
    await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS public.migrations (name text PRIMARY KEY, checksum text NOT NULL,"
            " at timestamptz NOT NULL DEFAULT now())"
        )
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".sql") and await _apply(connection, f"{name}/{file.name}", file, variables):
                applied.append(file.name)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _MIGRATION_LOCK)
    return applied


async def _apply(connection: Connection, name: str, file: Traversable, variables: Mapping[str, str]) -> bool:
    text = file.read_text()
    checksum = hashlib.sha256(text.encode()).hexdigest()
    known = await connection.fetchval("SELECT checksum FROM public.migrations WHERE name = $1", name)
    if known == checksum:
        return False
    if known is not None:
        raise RuntimeError(f"migration {name} was changed after it was applied: restore it and add a new file instead")
    for variable, value in variables.items():
        text = text.replace(f"{{{variable}}}", value)
    async with connection.transaction():
        await connection.execute(text)
        await connection.execute("INSERT INTO public.migrations (name, checksum) VALUES ($1, $2)", name, checksum)
    return True


async def patiently(
    attempt: Callable[[], Awaitable[T]], errors: tuple[type[Exception], ...] = (*AGAIN, *UNREACHABLE)
) -> T:
    """Try again in place, for ever, while it ends in one of `errors`. What is attempted must be idempotent."""
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return await attempt()
        except errors as error:
            log("trying_again", error=error, again_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)


@asynccontextmanager
async def listening(connection: "asyncpg.Connection[asyncpg.Record]", channel: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever somebody notifies `{schema}.{channel}` of the connection's own schema."""
    event = asyncio.Event()

    def wake(*_: object) -> None:
        event.set()

    schema = await connection.fetchval("SELECT current_schema()")
    await connection.add_listener(f"{schema}.{channel}", wake)
    yield event


async def notify(connection: Connection, channel: str) -> None:
    """Wake whoever listens, once the transaction commits."""
    await connection.execute("SELECT pg_notify(current_schema() || '.' || $1, '')", channel)


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until notified, or until a slow poll is due: a lost connection can lose a notification."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
    finally:
        event.clear()

"""The table of our own that holds identifiers while a call lasts, so that none stands in a statement.

The text of a mutation stays in `system.mutations` and on the server's disk, query parameters substituted. A table of
the Memory engine is on no disk, and is empty after the server's restart: a mutation that goes on then deletes nothing.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from services.connectors.analytics.client import ClickHouse, quoted
from services.connectors.port import StoreFailure, Transient

_PREFIX: Final = "letheia_batch_"
_STALE: Final = timedelta(hours=1)
"""No call goes so long without a mutation under way."""
_LEFT_BEHIND: Final = """
    SELECT name FROM system.tables
    WHERE database = currentDatabase() AND startsWith(name, {prefix:String}) AND NOT arrayExists(
        command -> position(command, name) > 0,
        (SELECT groupArray(command) FROM system.mutations
         WHERE database = currentDatabase() AND NOT is_done AND latest_fail_reason = ''))"""
_KILL: Final = """
    KILL MUTATION WHERE database = currentDatabase() AND NOT is_done AND position(command, {batch:String}) > 0 SYNC"""
_PROGRESS: Final = """
    SELECT count(), countIf(is_done), countIf(latest_fail_reason != '') FROM system.mutations
    WHERE database = currentDatabase() AND position(command, {batch:String}) > 0"""


class Batch:
    """Rows of texts, in parts that have names; and the mutations that read them."""

    def __init__(self, client: ClickHouse, name: str) -> None:
        self._client, self._name = client, name
        self._issued = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, client: ClickHouse, now: datetime, id_: UUID) -> AsyncIterator["Batch"]:
        """An empty one. It is gone afterwards with what still runs of its mutations, which would fail for ever without
        it; and so is what a killed worker left behind more than an hour ago, unless a mutation still needs it."""
        for (name,) in await client.rows(_LEFT_BEHIND, prefix=_PREFIX):
            if now - _made(name) > _STALE:
                await cls(client, name)._drop()
        batch = cls(client, f"{_PREFIX}{int(now.timestamp())}_{id_.hex}")
        await client.run(f"CREATE TABLE {quoted(batch._name)} (part String, texts Array(String)) ENGINE = Memory")
        try:
            yield batch
        finally:
            with suppress(StoreFailure):  # then a later call drops it as left behind
                await batch._drop()

    async def put(self, part: str, rows: Iterable[Sequence[str]]) -> None:
        """Add rows to a part."""
        await self._client.insert(quoted(self._name), ({"part": part, "texts": list(row)} for row in rows))

    def select(self, part: str, *expressions: str) -> str:
        """SQL: the rows of a part. Texts are `texts[1]`, `texts[2]`, …; names of parts are ours."""
        table = quoted(self._client.database, self._name)
        return f"(SELECT {', '.join(expressions)} FROM {table} WHERE part = '{part}')"  # noqa: S608

    async def mutate(self, statement: str, **parameters: str) -> None:
        """Order a mutation that reads this batch."""
        self._issued += 1
        await self._client.run(statement, **parameters)

    async def finished(self) -> bool:
        """Whether all that was ordered is done. Raises `Transient` when the server fails at it or it was killed."""
        ((known, done, failing),) = await self._client.rows(_PROGRESS, batch=self._name)
        if int(failing) or int(known) < self._issued:
            raise Transient("mutation_failed")
        return int(done) == self._issued

    async def _drop(self) -> None:
        await self._client.run(_KILL, batch=self._name)
        await self._client.run(f"DROP TABLE IF EXISTS {quoted(self._name)} SYNC")


def _made(name: str) -> datetime:
    return datetime.fromtimestamp(int(name.removeprefix(_PREFIX).partition("_")[0]), UTC)

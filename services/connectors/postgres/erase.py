"""Erases one subject's rows: dependants first, in small transactions, each of which reads again what it erases."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from contracts.reports import Level
from services.connectors.port import Checkpoint, Erasure, Identifier, Revoked, Standing, Terminal
from services.connectors.postgres.catalog import Catalog, OnDelete
from services.connectors.postgres.database import Database
from services.connectors.postgres.ownership import Row, RowId
from services.connectors.postgres.plan import Act, Staying, count, fate, order
from services.connectors.postgres.statements import View, cascades
from services.connectors.postgres.walk import Chain, Link, Step, Walk, chunks
from services.kit.inventory import KindClass
from services.kit.postgres import Connection


class Eraser:
    """One erasure of one subject. Idempotent: what is gone already is no error and in no count."""

    def __init__(self, database: Database, catalog: Catalog, walk: Walk, chain: Chain, today: date) -> None:
        self._database, self._catalog, self._walk, self._chain, self._today = database, catalog, walk, chain, today
        judgement = chain.judged()
        self._contested: Final = judgement.contested
        self._own: Final = {match.row.id: match.row for match in judgement.own}
        self._read: Final = frozenset(chain.matches)
        self._staying: Final = Staying(walk.tables, catalog, chain.subject, judgement.own)
        self._done: Final[Mapping[Act, Counter[str]]] = {Act.DELETE: Counter(), Act.EMPTY: Counter()}

    async def run(self, checkpoint: Checkpoint) -> Erasure | Revoked:
        """Raises `Transient` or `Terminal`; what was committed before stays erased."""
        fates = {
            id_: fate(self._walk.views[row.table].table, row, self._today) for id_, row in sorted(self._own.items())
        }
        for name in order(self._walk.tables, self._catalog):
            for act in self._done:
                for chunk in chunks([id_ for id_, its in fates.items() if id_[0] == name and its.act is act]):
                    if self._chain.subject.request_id not in await checkpoint():
                        return Revoked()
                    await self._chunk(self._walk.views[name], act, chunk)
        return self._erasure()

    def _erasure(self) -> Erasure:
        tables = self._walk.tables
        stay = [
            match.row
            for match in self._chain.judged().own
            if match.row.id in self._staying.ids or match.row.id not in self._read
        ]
        return Erasure(
            self._chain.asked_with,
            Level.EFFECTIVE,
            erased=dict(+self._done[Act.DELETE]),
            anonymised=dict(+self._done[Act.EMPTY]),
            retained=count(tables, self._own.values(), self._today).retained,
            found=count(tables, stay, self._today).found,
            revealed=frozenset(identifier for row in stay for identifier in tables.reveals(row)),
            contested=self._contested,
        )

    async def _chunk(self, view: View, act: Act, ids: Sequence[RowId]) -> None:
        ids = [id_ for id_ in ids if id_ not in self._staying.ids]
        if not ids:
            return
        async with self._database.transaction() as connection:
            records = await connection.fetch(view.lock(), *view.arguments([key for _, key in ids]))
            locked = {row.id: row for row in map(view.row, records)}
            self._staying.keep(id_ for id_, row in locked.items() if row != self._own[id_])
            if act is Act.DELETE:
                await self._look_again(connection, view, list(locked.values()))
            ready = [row for id_, row in locked.items() if id_ not in self._staying.ids]
            if ready:
                await self._act(connection, view, act, ready)
        self._done[act][view.table.category] += len(ready)

    async def _act(self, connection: Connection, view: View, act: Act, rows: Sequence[Row]) -> None:
        """Raises `Terminal` where rows of others would go too, or where a trigger kept rows."""
        if act is Act.DELETE:
            await self._refuse_cascade(connection, view, rows)
        statement = view.delete() if act is Act.DELETE else view.empty()
        tag = await connection.execute(statement, *view.arguments([row.key for row in rows]))
        if int(tag.rpartition(" ")[2]) != len(rows):
            raise Terminal("rows_not_erased")

    async def _refuse_cascade(self, connection: Connection, view: View, rows: Sequence[Row]) -> None:
        """All that is the subject's under these rows has gone: what would still go with them is somebody else's."""
        for key in self._catalog.children(view.name):
            parents = [values for row in rows if (values := row.all(key.parent_columns))]
            if key.on_delete is OnDelete.CASCADE and parents:
                columns = [list(column) for column in zip(*parents, strict=True)]
                if await connection.fetchval(cascades(key, view.live), *columns):
                    raise Terminal("referenced")

    async def _look_again(self, connection: Connection, view: View, rows: Sequence[Row]) -> None:
        """Rows that an application wrote since the search: they stay, with the locked rows that they hang from."""
        for link in self._walk.links:
            wanted: dict[tuple[str, ...], list[tuple[Row, Identifier | None]]] = {}
            for row in rows:
                for values, identifier in link.wanted(Step(self._persons(link, row), (row,))):
                    wanted.setdefault(values, []).append((row, identifier))
            for chunk in chunks(list(wanted)):
                statement = link.view.select(link.columns, self._chain.limit + 1)
                for record in await connection.fetch(statement, *link.view.arguments(chunk)):
                    late = link.view.row(record)
                    if late.id not in self._read:
                        for parent, identifier in wanted[chunk[record["n"] - 1]]:
                            self._chain.add(late, identifier, trusted=link.trusted)
                            self._staying.keep([parent.id])

    def _persons(self, link: Link, row: Row) -> tuple[Identifier, ...]:
        """Those that lead from a row to other tables."""
        tables = self._walk.tables
        return tuple(
            identifier
            for identifier in tables.reveals(row)
            if link.view.name != row.table
            and identifier in self._chain.known
            and identifier.standing is Standing.TRUSTED
            and tables.is_a(identifier, KindClass.PERSON)
        )

"""Finds what the store holds on the subjects of one scope, together, and says whose it is."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from uuid import UUID

from services.connectors.analytics.batch import Batch
from services.connectors.analytics.client import ClickHouse
from services.connectors.analytics.tables import View
from services.connectors.port import Checkpoint, Identifier, Scope, Subject
from services.connectors.postgres.ownership import Judgement, Match, Row, RowId, Tables, judge


class Permitted:
    """The subjects of one call, fewer as permits are withdrawn."""

    def __init__(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> None:
        self.subjects, self._checkpoint = tuple(subjects), checkpoint

    async def ask(self) -> bool:
        """Drop those not permitted any more: one that was not, once, is left alone for the rest of the call. False
        when nobody is left."""
        permitted = await self._checkpoint()
        self.subjects = tuple(subject for subject in self.subjects if subject.request_id in permitted)
        return bool(self.subjects)

    @property
    def ids(self) -> frozenset[UUID]:
        """Their requests."""
        return frozenset(subject.request_id for subject in self.subjects)


class Reader:
    """One reading. A row in it stands for all that hold the same in the columns that identify."""

    def __init__(
        self,
        client: ClickHouse,
        batch: Batch,
        tables: Tables,
        views: Sequence[View],
        scope: Scope,
        permitted: Permitted,
    ) -> None:
        self.client, self.batch, self.permitted = client, batch, permitted
        self.views = {view.name: view for view in views}
        self.parameters = {"tenant": scope.tenant} if scope.tenant else {}
        self._tables, self._parts = tables, count()
        self._rows = defaultdict[Identifier, dict[RowId, Row]](dict)
        """By the identifiers that they were found by."""

    async def judgements(self, *, learn: bool) -> dict[UUID, Judgement]:
        """By request, for those still permitted: one statement a table for all. With `learn`, what is found is
        searched by as well."""
        known = {s.request_id: {i for i in s.identifiers if self._searchable(i)} for s in self.permitted.subjects}
        judged, asked = dict[UUID, Judgement](), set[Identifier]()
        while await self.permitted.ask():
            ids = self.permitted.ids
            if new := {i for id_ in ids for i in known[id_]} - asked:
                asked |= new
                await self._read(new)
            judged = {id_: judge(self._tables, known[id_], self._matches(known[id_])) for id_ in ids}
            for subject in self.permitted.subjects if learn else ():
                its = judged[subject.request_id].revealed
                known[subject.request_id] |= {
                    i for i in its if self._searchable(i) and subject.find(i.kind, i.value) is None
                }
            if not new:
                break
        return {id_: its for id_, its in judged.items() if id_ in self.permitted.ids}

    async def counted(self, view: View, part: str) -> dict[RowId, int]:
        """What there is now of the rows that a part of the batch names."""
        rows = await self.client.rows(view.count(self.batch, part), **self.parameters)
        return {(view.name, tuple(texts)): int(number) for texts, number in rows}

    async def put(self, rows: Iterable[Sequence[str]]) -> str:
        """Put rows into the batch; answers the name of their part."""
        part = f"part {next(self._parts)}"
        await self.batch.put(part, rows)
        return part

    def _searchable(self, identifier: Identifier) -> bool:
        """'' is how ClickHouse writes 'none'."""
        return (
            identifier.usable
            and bool(identifier.value)
            and any(identifier.kind in view.table.match for view in self.views.values())
        )

    async def _read(self, identifiers: Collection[Identifier]) -> None:
        values = defaultdict[str, list[tuple[str]]](list)
        for identifier in identifiers:
            values[identifier.kind].append((identifier.value,))
        parts = {kind: await self.put(rows) for kind, rows in values.items()}
        for view in self.views.values():
            if parts.keys() & view.table.match.keys() and await self.permitted.ask():
                rows = await self.client.rows(view.search(self.batch, parts), **self.parameters)
                self._keep(view, identifiers, [_row(view, texts, int(number)) for texts, number in rows])

    def _keep(self, view: View, identifiers: Iterable[Identifier], rows: Iterable[Row]) -> None:
        holding = defaultdict[tuple[str, str], list[Row]](list)
        for row in rows:
            for kind, column in view.table.match.items():
                holding[kind, row.values[column] or ""].append(row)
        for identifier in identifiers:
            if searched := view.table.match.get(identifier.kind):
                for row in holding[identifier.kind, view.as_read(searched, identifier.value)]:
                    self._rows[identifier][row.id] = row

    def _matches(self, known: Iterable[Identifier]) -> list[Match]:
        matches = dict[RowId, Match]()
        for identifier in known:
            for row in self._rows[identifier].values():
                match = matches.setdefault(row.id, Match(row))
                match.by[identifier] = self._tables.trusts(row.table, identifier.kind)
        return list(matches.values())


def _row(view: View, texts: Sequence[str], number: int) -> Row:
    values: Mapping[str, str | None] = {c: text or None for c, text in zip(view.columns, texts, strict=True)}
    return Row(view.name, tuple(texts), values, count=number)

"""The analytics connector: the port's four methods over ClickHouse."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, TypeVar
from uuid import UUID, uuid4

from contracts.reports import Level
from services.connectors.analytics.batch import Batch
from services.connectors.analytics.client import ClickHouse
from services.connectors.analytics.reader import Permitted, Reader
from services.connectors.analytics.tables import View, read_views
from services.connectors.port import (
    BundleWriter,
    Checkpoint,
    Erasure,
    Export,
    Findings,
    Health,
    Identifier,
    Problem,
    Revoked,
    Scope,
    StoreConnector,
    StoreFailure,
    Subject,
    Terminal,
    Transient,
)
from services.connectors.postgres.catalog import Catalog
from services.connectors.postgres.ownership import Judgement, Row, RowId, Tables
from services.connectors.postgres.plan import Staying
from services.kit.clock import Clock
from services.kit.inventory import AnalyticsStore, Delete, Inventory, InventoryError, Role
from services.kit.settings import Settings

_POLL_S: Final = 0.2
_FORMATS: Final = {"json": "JSONEachRow", "csv": "CSVWithNames"}

Failure = Transient | Terminal | Revoked
Answer = TypeVar("Answer")
Act = Callable[[Reader], Awaitable[Mapping[UUID, Answer | Terminal]]]


@asynccontextmanager
async def connect(store: str, inventory: Inventory, settings: Settings, clock: Clock) -> AsyncIterator[StoreConnector]:
    """Open the database named `store`; away at this moment, each task says so.

    Raises `InventoryError` when a table is declared otherwise than `erase: delete`.
    """
    declared = inventory.stores[store]
    assert isinstance(declared, AnalyticsStore), f"{store} is no analytics store"
    if kept := [name for name, table in declared.tables.items() if not isinstance(table.erase, Delete)]:
        what = "ClickHouse can't empty or keep single rows reliably: declare `erase: delete`, or leave the table out"
        raise InventoryError(f"{store}: {name}: {what}" for name in kept)
    async with ClickHouse.open(declared.url) as client:
        yield AnalyticsConnector(store, client, declared, inventory, clock)


class AnalyticsConnector:
    """Events by device, person or record; gone by one mutation a table for everybody in the call."""

    def __init__(
        self, name: str, client: ClickHouse, store: AnalyticsStore, inventory: Inventory, clock: Clock
    ) -> None:
        self._name, self._client, self._store, self._inventory, self._clock = name, client, store, inventory, clock
        self._in_role = {role: Tables(store.in_role(role), inventory.kinds) for role in Role}

    async def discover(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> Sequence[Findings | Failure]:
        async def findings(reader: Reader) -> Mapping[UUID, Findings]:
            judged = await reader.judgements(learn=True)
            return {
                subject.request_id: Findings(
                    self._asked_with(subject),
                    found=self._counted(match.row for match in its.own),
                    revealed=its.revealed,
                    contested=its.contested,
                )
                for subject in reader.permitted.subjects
                if (its := judged.get(subject.request_id))
            }

        return await self._each(subjects, checkpoint, findings)

    async def erase(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> Sequence[Erasure | Failure]:
        return await self._each(subjects, checkpoint, self._erase)

    async def export(self, subject: Subject, bundle: BundleWriter, checkpoint: Checkpoint) -> Export | Failure:
        """For each table of a portable category one JSON and one CSV member."""

        async def exported(reader: Reader) -> Mapping[UUID, Export]:
            judged, members = await reader.judgements(learn=True), []
            for name, view in reader.views.items():
                category = self._inventory.categories[view.table.category]
                own = [match.row.key for its in judged.values() for match in its.own if match.row.table == name]
                part = await reader.put(own) if own and category.portable else None
                for ending, format_ in _FORMATS.items() if part else ():
                    if part and await reader.permitted.ask():
                        content = self._client.stream(view.whole(reader.batch, part, format_), reader.parameters)
                        path, review = f"{view.table.category}/{name}.{ending}", category.third_party == "review"
                        members.append(await bundle.write(path, view.table.category, content, review=review))
            return {subject.request_id: Export(tuple(members))}

        (answer,) = await self._each([subject], checkpoint, exported)
        return answer

    async def check(self) -> Health:
        try:
            _, faults = await read_views(self._client, self._store.tables)
        except StoreFailure as failure:
            fix = "see that it runs and that the URL, the user and its rights in the inventory's environment are right"
            return Health((Problem(self._name, f"can't be read ({failure.code})", fix),))
        return Health(tuple(fault.problem for fault in faults))

    async def _erase(self, reader: Reader) -> Mapping[UUID, Erasure | Terminal]:
        judged = await reader.judgements(learn=False)
        goes, stays = dict[UUID, list[Row]](), dict[UUID, list[Row]]()
        for subject in reader.permitted.subjects:
            id_, its = subject.request_id, judged[subject.request_id]
            if sum(match.row.count for match in its.own) <= self._inventory.limits.rows_per_request:
                staying = Staying(self._in_role[subject.scope.role], Catalog({}), subject, its.own).ids
                goes[id_] = [match.row for match in its.own if match.row.id not in staying]
                stays[id_] = [match.row for match in its.own if match.row.id in staying]
        late = await self._delete(reader, goes)
        return {
            subject.request_id: self._erasure(subject, judged[subject.request_id], goes, stays, late)
            for subject in reader.permitted.subjects
        }

    def _erasure(
        self,
        subject: Subject,
        judged: Judgement,
        goes: Mapping[UUID, Sequence[Row]],
        stays: Mapping[UUID, Sequence[Row]],
        late: Mapping[RowId, int],
    ) -> Erasure | Terminal:
        if subject.request_id not in goes:
            return Terminal("row_limit")
        gone, left = goes[subject.request_id], stays[subject.request_id]
        came = [replace(row, count=late[row.id]) for row in gone if row.id in late]
        return Erasure(
            self._asked_with(subject),
            Level.EFFECTIVE,
            erased=self._counted(gone),
            found=self._counted([*left, *came]),
            revealed=self._revealed(subject.scope.role, left),
            contested=judged.contested,
        )

    async def _delete(self, reader: Reader, goes: Mapping[UUID, Sequence[Row]]) -> dict[RowId, int]:
        """One mutation a table, all under way together. Answers how many rows like those came in meanwhile: a mutation
        leaves what was inserted after it."""
        ordered = list[tuple[View, str]]()
        for name, view in reader.views.items():
            await reader.permitted.ask()
            doomed = {row.key for id_ in reader.permitted.ids for row in goes.get(id_, ()) if row.table == name}
            if doomed:
                part = await reader.put(doomed)
                await reader.batch.mutate(view.delete(reader.batch, part), **reader.parameters)
                ordered.append((view, part))
        while ordered and not await reader.batch.finished():
            await asyncio.sleep(_POLL_S)
            if not await reader.permitted.ask():
                return {}  # leaving the batch stops them
        late = dict[RowId, int]()
        for view, part in ordered:
            late |= await reader.counted(view, part)
        return late

    async def _each(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint, act: Act[Answer]
    ) -> list[Answer | Failure]:
        """Those of one scope together; a failure of the store is the answer for all of them."""
        answers = dict[UUID, Answer | Failure]()
        for scope in {subject.scope for subject in subjects}:
            permitted = Permitted([subject for subject in subjects if subject.scope == scope], checkpoint)
            try:
                await permitted.ask()
                if permitted.subjects:
                    async with self._reader(scope, permitted) as reader:
                        done = await act(reader)
                    answers |= {id_: answer for id_, answer in done.items() if id_ in permitted.ids}
            except (Transient, Terminal) as failure:
                answers |= dict.fromkeys(permitted.ids, failure)
        return [answers.get(subject.request_id, Revoked()) for subject in subjects]

    @asynccontextmanager
    async def _reader(self, scope: Scope, permitted: Permitted) -> AsyncIterator[Reader]:
        tables = self._in_role[scope.role]
        views, faults = await read_views(self._client, tables.tables)
        for fault in faults:
            raise Terminal(fault.code)
        async with Batch.open(self._client, self._clock.now(), uuid4()) as batch:
            yield Reader(self._client, batch, tables, views, scope, permitted)

    def _asked_with(self, subject: Subject) -> frozenset[str]:
        return subject.usable_kinds(self._store.matches(subject.scope.role))

    def _counted(self, rows: Iterable[Row]) -> dict[str, int]:
        counts = Counter[str]()
        for row in rows:
            counts[self._store.tables[row.table].category] += row.count
        return dict(counts)

    def _revealed(self, role: Role, rows: Iterable[Row]) -> frozenset[Identifier]:
        return frozenset(identifier for row in rows for identifier in self._in_role[role].reveals(row))

"""The application's database as a store: the port's four methods."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import TypeVar

from services.connectors.port import (
    BundleWriter,
    Checkpoint,
    Erasure,
    Export,
    Findings,
    Health,
    Problem,
    Revoked,
    Scope,
    StoreConnector,
    StoreFailure,
    Subject,
    Terminal,
    Transient,
)
from services.connectors.postgres.catalog import Catalog, read_catalog, undeclared_personal
from services.connectors.postgres.database import Database, open_database
from services.connectors.postgres.erase import Eraser
from services.connectors.postgres.export import Exporter, Withdrawn
from services.connectors.postgres.faults import WAITED_FOR, Fault, faults, slow
from services.connectors.postgres.ownership import Tables
from services.connectors.postgres.plan import count
from services.connectors.postgres.walk import Chain, Walk
from services.kit.clock import Clock
from services.kit.inventory import Inventory, InventoryError, PostgresStore, Role
from services.kit.settings import Settings

Answer = TypeVar("Answer")


@asynccontextmanager
async def connect(store: str, inventory: Inventory, settings: Settings, clock: Clock) -> AsyncIterator[StoreConnector]:
    """Open the database named `store`; away at this moment, it is opened when it is back.

    Raises `InventoryError` when the live tables can't be erased from safely as declared.
    """
    declared = inventory.stores[store]
    assert isinstance(declared, PostgresStore)
    async with open_database(declared.url) as database:
        connector = PostgresConnector(store, declared, inventory, database, clock)
        await connector.refuse_unsafe()
        yield connector


class PostgresConnector:
    """Reads the catalog anew in each call, so that a migration of the application is seen at once."""

    def __init__(self, name: str, store: PostgresStore, inventory: Inventory, database: Database, clock: Clock) -> None:
        self._name, self._store, self._inventory, self._database, self._clock = name, store, inventory, database, clock
        self._in_role = {role: Tables(store.in_role(role), inventory.kinds) for role in Role}

    async def refuse_unsafe(self) -> None:
        """Raises `InventoryError` with every fault that no migration will mend by itself."""
        try:
            catalog = await read_catalog(self._database, self._store.tables)
        except StoreFailure:
            return  # each task says so, and is tried again when the database is back
        unsafe = [fault.problem for fault in self._faults(catalog) if fault.code not in WAITED_FOR]
        if unsafe:
            raise InventoryError(f"{self._name}: {p.where}: {p.what}: {p.fix}" for p in unsafe)

    async def discover(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint
    ) -> Sequence[Findings | Transient | Terminal | Revoked]:
        """Follows the links of all subjects together, in statements for many values."""

        async def findings(catalog: Catalog, walk: Walk, chain: Chain) -> Findings:
            judgement = chain.judged()
            holdings = count(walk.tables, (match.row for match in judgement.own), self._today())
            return Findings(
                chain.asked_with,
                found=holdings.found,
                retained=holdings.retained,
                revealed=judgement.revealed,
                contested=judgement.contested,
            )

        return await self._each(subjects, checkpoint, findings, learn=True)

    async def erase(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint
    ) -> Sequence[Erasure | Transient | Terminal | Revoked]:
        """Searches for all together, erases one subject after the other."""

        async def erasure(catalog: Catalog, walk: Walk, chain: Chain) -> Erasure | Revoked:
            return await Eraser(self._database, catalog, walk, chain, self._today()).run(checkpoint)

        return await self._each(subjects, checkpoint, erasure, learn=False)

    async def export(
        self, subject: Subject, bundle: BundleWriter, checkpoint: Checkpoint
    ) -> Export | Transient | Terminal | Revoked:
        """For each table of a portable category one JSON and one CSV member."""

        async def exported(catalog: Catalog, walk: Walk, chain: Chain) -> Export | Revoked:
            exporter = Exporter(self._database, bundle, checkpoint, subject.request_id)
            own = sorted((match.row for match in chain.judged().own), key=lambda row: row.key)
            members = []
            try:
                for name, view in walk.views.items():
                    category = self._inventory.categories[view.table.category]
                    rows = [row for row in own if row.table == name]
                    if category.portable and rows:
                        members += await exporter.write(view, category, rows)
            except Withdrawn:
                return Revoked()
            return Export(tuple(members))

        (answer,) = await self._each([subject], checkpoint, exported, learn=True)
        return answer

    async def check(self) -> Health:
        """Also tells of slow searches, and of tables that nobody declared and that look personal."""
        try:
            catalog = await read_catalog(self._database, self._store.tables)
            others = await undeclared_personal(self._database, self._store.tables)
        except StoreFailure as failure:
            fix = "see that it runs and that the URL, the role and its rights in the inventory's environment are right"
            return Health((Problem(self._name, f"can't be read ({failure.code})", fix),))
        problems = [fault.problem for fault in self._faults(catalog)]
        for tables in self._in_role.values():
            problems += slow(tables, catalog)
        problems += (
            Problem(table, f"looks personal ({', '.join(columns)}) and is not declared", "declare it in the inventory")
            for table, columns in others.items()
        )
        return Health(tuple(problems))

    async def _each(
        self,
        subjects: Sequence[Subject],
        checkpoint: Checkpoint,
        act: Callable[[Catalog, Walk, Chain], Awaitable[Answer]],
        *,
        learn: bool,
    ) -> list[Answer | Transient | Terminal | Revoked]:
        """Follow everybody's links, those of one scope together; then act for each, whose failure is their answer."""
        answers: dict[Subject, Answer | Transient | Terminal | Revoked] = {}
        limit = self._inventory.limits.rows_per_request
        for scope in {subject.scope for subject in subjects}:
            together = [subject for subject in subjects if subject.scope == scope]
            try:
                catalog, walk = await self._walk(scope)
                chains = await walk.follow(together, checkpoint, limit, learn=learn)
            except (Transient, Terminal) as failure:
                answers |= dict.fromkeys(together, failure)
                continue
            for chain in chains:
                try:
                    answers[chain.subject] = chain.end or await act(catalog, walk, chain)
                except (Transient, Terminal) as failure:
                    answers[chain.subject] = failure
        return [answers[subject] for subject in subjects]

    async def _walk(self, scope: Scope) -> tuple[Catalog, Walk]:
        tables = self._in_role[scope.role]
        catalog = await read_catalog(self._database, tables.tables)
        for fault in faults(tables, catalog):
            raise Terminal(fault.code)
        return catalog, Walk(self._database, catalog, tables, scope)

    def _faults(self, catalog: Catalog) -> list[Fault]:
        return [fault for tables in self._in_role.values() for fault in faults(tables, catalog)]

    def _today(self) -> date:
        return self._clock.now().date()

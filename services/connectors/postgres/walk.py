"""Follows the links of many subjects at once, from what is known of them to the last row that is theirs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from services.connectors.port import Checkpoint, Identifier, Revoked, Scope, Standing, Subject, Terminal
from services.connectors.postgres.catalog import Catalog, ForeignKey
from services.connectors.postgres.database import Database
from services.connectors.postgres.ownership import Judgement, Match, Row, RowId, Tables, judge
from services.connectors.postgres.statements import View, can_hold

CHUNK: Final = 1000
"""Values searched by in one statement, and rows erased in one transaction."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Step:
    """What a chain goes on from: identifiers not searched by yet, rows whose foreign keys were not followed yet."""

    identifiers: tuple[Identifier, ...] = ()
    rows: tuple[Row, ...] = ()


@dataclass(eq=False, slots=True)
class Chain:
    """One subject's links, as far as they were followed."""

    subject: Subject
    tables: Tables
    limit: int
    matches: dict[RowId, Match] = field(default_factory=dict)
    known: set[Identifier] = field(default_factory=set)
    followed: set[RowId] = field(default_factory=set)
    end: Revoked | Terminal | None = None
    """Why it is followed no further."""

    def add(self, row: Row, by: Identifier | None, *, trusted: bool) -> None:
        """Take in a row: matched by an identifier, or under one of the subject's by a foreign key."""
        match = self.matches.setdefault(row.id, Match(row))
        if by is None:
            match.under_own = True
        else:
            match.by[by] = trusted or match.by.get(by, False)
        if len(self.matches) > self.limit:
            self.end = Terminal("row_limit")

    @property
    def asked_with(self) -> frozenset[str]:
        """Kinds that the subject came with and that some table is searched by."""
        return self.subject.usable_kinds(kind for table in self.tables.tables.values() for kind in table.match)

    def judged(self) -> Judgement:
        """What of the rows taken in is the subject's."""
        return judge(self.tables, self.known, self.matches.values())

    def begin(self) -> Step:
        """Where the chain begins."""
        return self._step((i for i in self.subject.identifiers if i.usable), ())

    def next(self, *, learn: bool) -> Step | None:
        """Where it goes on after what was found; None at its end. Without `learn`, new identifiers are left alone."""
        if self.end:
            return None
        judgement = self.judged()
        rows = [match.row for match in judgement.own if match.row.id not in self.followed]
        aside = {i for i in self.subject.identifiers if i.standing is Standing.SET_ASIDE}
        new = {i for i in judgement.revealed - self.known - aside if learn and i.usable}
        return self._step(new, rows) if new or rows else None

    def _step(self, identifiers: Iterable[Identifier], rows: Sequence[Row]) -> Step:
        step = Step(tuple(identifiers), tuple(rows))
        self.known.update(step.identifiers)
        self.followed.update(row.id for row in step.rows)
        return step


@dataclass(frozen=True, slots=True)
class Link:
    """A way to rows of one table: by a column that holds identifiers of a kind, or by a foreign key to its parents."""

    view: View
    columns: tuple[str, ...]
    kind: str | None = None
    key: ForeignKey | None = None
    trusted: bool = True

    def wanted(self, step: Step) -> Iterator[tuple[tuple[str, ...], Identifier | None]]:
        """The values to search for, and the identifier that each is."""
        type_ = self.view.live.columns[self.columns[0]].type
        for identifier in step.identifiers:
            if identifier.kind == self.kind and can_hold(type_, identifier.value):
                yield (identifier.value,), identifier
        for row in step.rows:
            if self.key and row.table == self.key.parent and (values := row.all(self.key.parent_columns)):
                yield values, None


class Walk:
    """The tables of one scope, and the links between them."""

    def __init__(self, database: Database, catalog: Catalog, tables: Tables, scope: Scope) -> None:
        self._database = database
        self.tables = tables
        self.views: Mapping[str, View] = {
            name: View.of(name, table, catalog, scope) for name, table in tables.tables.items()
        }
        self.links = tuple(self._links(catalog))

    def _links(self, catalog: Catalog) -> Iterator[Link]:
        for name, view in self.views.items():
            for kind, column in view.table.match.items():
                yield Link(view, (column,), kind=kind, trusted=self.tables.trusts(name, kind))
            for key in catalog.foreign_keys:
                if key.child == name and key.parent in self.views:
                    yield Link(view, key.columns, key=key)

    async def follow(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint, limit: int, *, learn: bool
    ) -> list[Chain]:
        """A chain for each subject, in their order, followed to its end or to why it ended.

        A chain over `limit` rows ends as `Terminal` (`row_limit`). Raises `Transient` or `Terminal` for all.
        """
        chains = [Chain(subject, self.tables, limit) for subject in subjects]
        steps = {chain: chain.begin() for chain in chains}
        while steps:
            for link in self.links:
                await self._search(link, steps, checkpoint, limit)
            steps = {chain: step for chain in steps if (step := chain.next(learn=learn))}
        return chains

    async def _search(self, link: Link, steps: Mapping[Chain, Step], checkpoint: Checkpoint, limit: int) -> None:
        wanted: dict[tuple[str, ...], list[tuple[Chain, Identifier | None]]] = {}
        for chain, step in steps.items():
            for values, identifier in link.wanted(step):
                wanted.setdefault(values, []).append((chain, identifier))
        statement = link.view.select(link.columns, limit + 1)
        for chunk in chunks(list(wanted)):
            permitted = await checkpoint()
            for chain in steps:
                if chain.subject.request_id not in permitted:
                    chain.end = Revoked()
            asked = [values for values in chunk if any(not chain.end for chain, _ in wanted[values])]
            for record in await self._database.fetch(statement, *link.view.arguments(asked)) if asked else ():
                row = link.view.row(record)
                for chain, identifier in wanted[asked[record["n"] - 1]]:
                    if not chain.end:
                        chain.add(row, identifier, trusted=link.trusted)


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """In parts of at most `CHUNK`."""
    return (items[at : at + CHUNK] for at in range(0, len(items), CHUNK))

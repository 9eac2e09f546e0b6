"""Whose rows are whose (DESIGN §2): pure. The file to read first; erasing somebody else begins with a mistake here."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from contracts.reports import ConflictCode
from services.connectors.port import Contested, Identifier, Standing
from services.kit.inventory import KindClass, Table, Trust

PERSONS: Final = 20
"""A chain with more person identifiers than this is hardly one person's."""

RowId = tuple[str, tuple[str, ...]]
"""Table and key."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as read: what identifies it, what it says of people, what it hangs from. Values as text, never shown."""

    table: str
    key: tuple[str, ...] = field(repr=False)
    values: Mapping[str, str | None] = field(repr=False)
    start: date | None = None
    """When the term of its retention begins."""
    emptied: bool = False
    """The columns that the inventory anonymises are empty already."""
    count: int = 1
    """How many rows this stands for, where a store's rows have no key and equal ones are read as one."""

    @property
    def id(self) -> RowId:
        """What it is known by."""
        return self.table, self.key

    def all(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Its values in these columns; nothing if one of them is NULL, since it then refers to no row."""
        values = tuple(value for column in columns if (value := self.values[column]) is not None)
        return values if len(values) == len(columns) else ()


@dataclass(slots=True)
class Match:
    """A row, and why it was read."""

    row: Row
    by: dict[Identifier, bool] = field(default_factory=dict)
    """Identifiers that its columns hold; True where the column is trusted."""
    under_own: bool = False
    """A foreign key of it leads to a row that is the subject's."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What of the rows read is the subject's."""

    own: tuple[Match, ...]
    contested: tuple[Contested, ...]
    revealed: frozenset[Identifier]
    """What the subject's rows reveal, and each shared identifier that this store ties to one person or several."""


class Tables:
    """The tables that a request in one role may reach, and what their columns say of people."""

    def __init__(self, tables: Mapping[str, Table], kinds: Mapping[str, KindClass]) -> None:
        self.tables, self._kinds = tables, kinds

    def is_a(self, identifier: Identifier, class_: KindClass) -> bool:
        """True if its kind is of that class."""
        return self._kinds.get(identifier.kind) is class_

    def trusts(self, table: str, kind: str) -> bool:
        """False if users type freely into the column that rows are matched by."""
        its = self.tables[table]
        return not any(
            reveal.column == its.match[kind] and reveal.trust is Trust.UNVERIFIED for reveal in its.reveals.values()
        )

    def reveals(self, row: Row) -> Iterator[Identifier]:
        """What a row reveals, if it is the subject's."""
        for kind, reveal in self.tables[row.table].reveals.items():
            value = row.values[reveal.column]
            if value is not None:
                yield Identifier(
                    kind, value, Standing.TRUSTED if reveal.trust is Trust.TRUSTED else Standing.UNVERIFIED
                )

    def owners(self, row: Row) -> Iterator[tuple[Identifier, bool]]:
        """The persons its columns name; False where users type freely."""
        its = self.tables[row.table]
        for kind, column in its.match.items():
            value = row.values[column]
            if value is not None and self._kinds[kind] is KindClass.PERSON:
                yield Identifier(kind, value), self.trusts(row.table, kind)
        for identifier in self.reveals(row):
            if self.is_a(identifier, KindClass.PERSON):
                yield identifier, identifier.standing is Standing.TRUSTED


def judge(tables: Tables, known: Iterable[Identifier], matches: Iterable[Match]) -> Judgement:
    """Say whose the rows are. `known`: the usable identifiers that `matches` were searched by, in every table.

    A row is the subject's when a trusted column holds a person identifier of theirs, or when a person confirmed the
    identifier that it matched by. A weaker match (a shared or record identifier, a freely typed column, a foreign key)
    makes it theirs only if none of its columns names anyone else, and: one names them, or it hangs from a row of
    theirs, or the identifier can be nobody else's. The more is known, the more is the subject's, until it is too much
    for one person.
    """
    return _Judge(tables, frozenset(known), tuple(matches)).judgement()


class _Judge:
    def __init__(self, tables: Tables, known: frozenset[Identifier], matches: tuple[Match, ...]) -> None:
        self._tables, self._matches = tables, matches
        self._confirmed = {i for i in known if i.standing is Standing.CONFIRMED}
        self._doubted = self._several_rows() - self._confirmed
        self._persons = {i for i in known if tables.is_a(i, KindClass.PERSON)} - self._doubted
        self._ties = {i: self._tie(i) for i in known if tables.is_a(i, KindClass.SHARED)}
        self._given_alone = {i: i.alone for i in known}

    def judgement(self) -> Judgement:
        own = tuple(match for match in self._matches if self._is_own(match))
        revealed = {identifier for match in own for identifier in self._tables.reveals(match.row)}
        chain = {i for i in revealed if self._tables.is_a(i, KindClass.PERSON) and i.standing is Standing.TRUSTED}
        endless = len((chain | self._persons) - self._confirmed) > PERSONS
        if endless:
            own = tuple(match for match in own if self._confirmed.intersection(match.by))
        mine = {match.row.id for match in own}
        contested = Counter[tuple[ConflictCode, Identifier, str]]()
        for match in self._matches:
            if match.row.id not in mine and match.by:
                contested[self._contest(match, endless)] += match.row.count
        return Judgement(
            own,
            tuple(Contested(*what, count) for what, count in contested.items()),
            self._revealed(own),
        )

    def _several_rows(self) -> set[Identifier]:
        """Person identifiers that match two rows of a table where a person has one."""
        counts = Counter[tuple[Identifier, str]]()
        for match in self._matches:
            for identifier in match.by if self._tables.tables[match.row.table].one_per_person else ():
                if self._tables.is_a(identifier, KindClass.PERSON):
                    counts[identifier, match.row.table] += match.row.count
        return {identifier for (identifier, _), count in counts.items() if count > 1}

    def _tie(self, shared: Identifier) -> bool | None:
        """Whether the rows that hold it name this person alone; None where nothing to be trusted names anybody."""
        owners = [owner for match in self._matches if shared in match.by for owner in self._tables.owners(match.row)]
        if any(owner not in self._persons for owner, _ in owners):
            return False
        return True if any(trusted for _, trusted in owners) else None

    def _is_own(self, match: Match) -> bool:
        if self._confirmed.intersection(match.by) or any(
            trusted and identifier in self._persons for identifier, trusted in match.by.items()
        ):
            return True
        owners = list(self._tables.owners(match.row))
        if any(owner not in self._persons for owner, _ in owners):
            return False
        return match.under_own or any(trusted for _, trusted in owners) or any(map(self._is_sure, match.by))

    def _is_sure(self, identifier: Identifier) -> bool:
        if identifier in self._ties:
            said = {self._ties[identifier], self._given_alone[identifier]}
            return True in said and False not in said
        return identifier not in self._doubted

    def _contest(self, match: Match, endless: bool) -> tuple[ConflictCode, Identifier, str]:
        identifier = min(match.by, key=lambda i: (i not in self._doubted, i.kind, i.value))
        doubted = endless or identifier in self._doubted
        code = ConflictCode.NOT_ONE_PERSON if doubted else ConflictCode.SHARED_IDENTIFIER
        return code, identifier, self._tables.tables[match.row.table].category

    def _revealed(self, own: Iterable[Match]) -> frozenset[Identifier]:
        revealed: dict[Identifier, Identifier] = {}
        for match in own:
            for identifier in self._tables.reveals(match.row):
                if identifier not in revealed or identifier.standing is Standing.TRUSTED:
                    revealed[identifier] = identifier
        for shared, tie in self._ties.items():
            if tie is not None:
                revealed[shared] = replace(revealed.get(shared, shared), alone=tie)
        return frozenset(revealed.values())

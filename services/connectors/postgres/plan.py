"""What erasing does to each row, and in which order: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from graphlib import CycleError, TopologicalSorter

from contracts.reports import Retained
from services.connectors.port import Identifier, Subject, Terminal
from services.connectors.postgres.catalog import Catalog, ForeignKey
from services.connectors.postgres.ownership import Match, Row, RowId, Tables
from services.kit.inventory import Anonymise, Retain, Table


class Act(Enum):
    """What there is to do with a row."""

    DELETE = auto()
    EMPTY = auto()
    NOTHING = auto()
    """Emptied as declared already."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What erasing means for one row today."""

    act: Act
    basis: str = ""
    until: date | None = None
    """Set while a declared ground keeps the row."""


def fate(table: Table, row: Row, today: date) -> Fate:
    """Raises `Terminal` (`no_retention_date`) for a retained row that does not say since when."""
    empty = Act.NOTHING if row.emptied else Act.EMPTY
    match table.erase:
        case Anonymise():
            return Fate(empty)
        case Retain() as rule:
            if row.start is None or row.start == date.max:  # `infinity`
                raise Terminal("no_retention_date")
            until = rule.until(row.start)
            return Fate(empty, rule.basis, until) if today <= until else Fate(Act.DELETE)
    return Fate(Act.DELETE)


@dataclass(frozen=True, slots=True)
class Holdings:
    """The subject's rows, counted as the port reports them."""

    found: Mapping[str, int]
    retained: tuple[Retained, ...]


def count(tables: Tables, rows: Iterable[Row], today: date) -> Holdings:
    """Raises `Terminal` as `fate` does."""
    found: Counter[str] = Counter()
    retained: Counter[tuple[str, str, date]] = Counter()
    for row in rows:
        table = tables.tables[row.table]
        its = fate(table, row, today)
        found[table.category] += its.act is not Act.NOTHING
        if its.until is not None:
            retained[table.category, its.basis, its.until] += 1
    return Holdings(
        dict(+found),
        tuple(
            Retained(category=category, count=number, basis=basis, until=until)
            for (category, basis, until), number in sorted(retained.items())
        ),
    )


def order(tables: Tables, catalog: Catalog) -> list[str]:
    """Tables, dependants first: by foreign keys, and by what one table reveals and another is matched by.

    The second is a preference, dropped where it makes a circle. Raises `CycleError` when foreign keys make one.
    """
    names = sorted(tables.tables)
    hard = {name: sorted({key.child for key in catalog.children(name)}.intersection(names) - {name}) for name in names}
    soft = {name: [*hard[name], *(other for other in names if _leads_to(tables, name, other))] for name in names}
    try:
        return list(TopologicalSorter(soft).static_order())
    except CycleError:
        return list(TopologicalSorter(hard).static_order())


def _leads_to(tables: Tables, name: str, other: str) -> bool:
    return name != other and bool(tables.tables[name].reveals.keys() & tables.tables[other].match.keys())


class Staying:
    """Rows that stay although they are the subject's: those that reveal something the subject is not known by, or that
    changed meanwhile, and the rows that these hang from, up to the first."""

    def __init__(self, tables: Tables, catalog: Catalog, subject: Subject, own: Sequence[Match]) -> None:
        self._above = _parents(tables, catalog, own)
        self.ids: set[RowId] = set()
        self.keep(match.row.id for match in own if not subject.identifiers.issuperset(tables.reveals(match.row)))

    def keep(self, ids: Iterable[RowId]) -> None:
        """Let these stay, and what they hang from."""
        todo = list(ids)
        while todo:
            row_id = todo.pop()
            if row_id not in self.ids:
                self.ids.add(row_id)
                todo += self._above.get(row_id, ())


def _parents(tables: Tables, catalog: Catalog, own: Sequence[Match]) -> Mapping[RowId, set[RowId]]:
    """For each row those it hangs from: by a foreign key, or by an identifier that they reveal and it matched by."""
    revealing: dict[Identifier, set[RowId]] = {}
    referred: dict[tuple[ForeignKey, tuple[str, ...]], set[RowId]] = {}
    for match in own:
        for identifier in tables.reveals(match.row):
            revealing.setdefault(identifier, set()).add(match.row.id)
        for key in catalog.children(match.row.table):
            if values := match.row.all(key.parent_columns):
                referred.setdefault((key, values), set()).add(match.row.id)
    above: dict[RowId, set[RowId]] = {}
    for match in own:
        its = above.setdefault(match.row.id, set())
        for identifier in match.by:
            its |= revealing.get(identifier, set())
        for key in catalog.foreign_keys:
            if key.child == match.row.table:
                its |= referred.get((key, match.row.all(key.columns)), set())
    return above

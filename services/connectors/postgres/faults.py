"""What makes a database unfit to be erased from as the inventory declares it: pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError
from typing import Final

from services.connectors.port import Problem
from services.connectors.postgres.catalog import Catalog, ForeignKey, LiveTable, OnDelete
from services.connectors.postgres.ownership import Tables
from services.connectors.postgres.plan import order
from services.connectors.postgres.statements import NEUTRAL, SEARCHABLE
from services.kit.inventory import Anonymise, Delete, Retain, Table


@dataclass(frozen=True, slots=True)
class Fault:
    """Why nothing is done in this store until it is mended. Calls fail with the code."""

    code: str
    problem: Problem


WAITED_FOR: Final = frozenset({"missing_table", "missing_column", "insufficient_privilege"})
"""Faults that a migration of the application mends while the service waits; the others are refused at start."""


def faults(tables: Tables, catalog: Catalog) -> list[Fault]:
    """Everything that is wrong with the tables of one role, what is missing first."""
    found: list[Fault] = []
    for name, table in tables.tables.items():
        found += _missing(name, table, catalog.tables.get(name))
    if not found:
        for name, table in tables.tables.items():
            found += _unusable(name, table, catalog.tables[name])
        for key in catalog.foreign_keys:
            if key.parent in tables.tables:
                found += _unsafe(key, tables)
        found += _circle(tables, catalog)
    return found


def slow(tables: Tables, catalog: Catalog) -> Iterator[Problem]:
    """Searches that would read a whole table each time."""
    for name, live in catalog.tables.items():
        if name in tables.tables:
            searched = {*tables.tables[name].match.values()}
            searched |= {key.columns[0] for key in catalog.foreign_keys if key.child == name}
            for column in sorted(searched & live.columns.keys() - live.indexed):
                yield Problem(f"{name}.{column}", "no index begins with it", f"create index on {name} ({column})")


def _missing(name: str, table: Table, live: LiveTable | None) -> Iterator[Fault]:
    if live is None:
        problem = Problem(name, "there is no such table", "create it, or take it out of the inventory")
        yield Fault("missing_table", problem)
        return
    columns = {*table.match.values(), *(reveal.column for reveal in table.reveals.values())}
    columns |= {table.tenant} if table.tenant else set()
    columns |= set() if isinstance(table.erase, Delete) else set(table.erase.anonymise)
    columns |= {table.erase.from_} if isinstance(table.erase, Retain) else set()
    for column in sorted(columns - live.columns.keys()):
        problem = Problem(f"{name}.{column}", "there is no such column", "add it, or correct the inventory")
        yield Fault("missing_column", problem)


def _unusable(name: str, table: Table, live: LiveTable) -> Iterator[Fault]:
    if not live.permitted:
        problem = Problem(name, "our role may not erase there", f"grant select, update, delete on {name} to it")
        yield Fault("insufficient_privilege", problem)
    if not live.key:
        problem = Problem(name, "nothing names one row", "give it a primary key")
        yield Fault("no_key", problem)
    for column in sorted({*table.match.values()}):
        if live.columns[column].type not in SEARCHABLE:
            what = f"identifiers can't be looked for in {live.columns[column].type}"
            fix = f"match another column; these types serve: {', '.join(sorted(SEARCHABLE))}"
            yield Fault("unsearchable_column", Problem(f"{name}.{column}", what, fix))
    for column in () if isinstance(table.erase, Delete) else table.erase.anonymise:
        its = live.columns[column]
        if its.not_null and its.type not in NEUTRAL:
            problem = Problem(f"{name}.{column}", f"NOT NULL {its.type} can't be emptied", "drop its NOT NULL")
            yield Fault("unemptiable_column", problem)


def _unsafe(key: ForeignKey, tables: Tables) -> Iterator[Fault]:
    """Deleting the parent would take rows that nobody counted, or could not be done while a child is kept."""
    parent, child = tables.tables[key.parent], tables.tables.get(key.child)
    where = f"{key.child} ({', '.join(key.columns)}) references {key.parent}"
    if isinstance(parent.erase, Anonymise):
        return
    if key.on_delete is OnDelete.CASCADE and (child is None or key.child == key.parent):
        what = "ON DELETE CASCADE would erase rows that nobody counted"
        declare = f"declare {key.child} in the inventory, in the role of {key.parent}, or "
        fix = f"{declare if child is None else ''}make the key ON DELETE NO ACTION"
        yield Fault("uncounted_cascade", Problem(where, what, fix))
    if child and isinstance(parent.erase, Delete) and not isinstance(child.erase, Delete):
        lets_go = key.on_delete.frees and not set(key.columns) & set(child.match.values())
        if not lets_go:
            what = f"rows of {key.child} are kept, and hang from rows of {key.parent} that are deleted"
            fix = (
                f"keep {key.parent} as well (erase: anonymise or retain), or let the kept rows stand alone: drop the "
                "key, or make it ON DELETE SET NULL on a column that nothing is matched by"
            )
            yield Fault("kept_under_deleted", Problem(where, what, fix))


def _circle(tables: Tables, catalog: Catalog) -> Iterator[Fault]:
    try:
        order(tables, catalog)
    except CycleError as error:
        names = " -> ".join(error.args[1])
        problem = Problem(names, "foreign keys make a circle, so no row can go first", "drop one of the keys")
        yield Fault("foreign_key_circle", problem)

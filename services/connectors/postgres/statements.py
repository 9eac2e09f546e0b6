"""The SQL, built from declared names and the catalog; every value is a parameter, every statement carries the tenant.

Values travel as text and are cast to their column's type, so that indexes serve. Columns are read as text.
"""
# ruff: noqa: S608 - names are quoted, values are parameters

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from services.connectors.port import Scope
from services.connectors.postgres.catalog import Catalog, ForeignKey, LiveTable, quoted
from services.connectors.postgres.ownership import Row
from services.kit.inventory import Delete, Retain, Table
from services.kit.postgres import Record

_INTEGERS: Final = {"smallint": 15, "integer": 31, "bigint": 63}
SEARCHABLE: Final = frozenset({"text", "character varying", "bpchar", "citext", "uuid", *_INTEGERS})
"""Types of columns that identifiers can be looked for in."""

NEUTRAL: Final = {
    **dict.fromkeys(("text", "character varying", "bpchar", "citext"), "''"),
    **dict.fromkeys((*_INTEGERS, "numeric", "real", "double precision"), "0"),
    **dict.fromkeys(("date", "timestamp without time zone", "timestamp with time zone"), "'epoch'"),
    "boolean": "false",
}
"""What a NOT NULL column is emptied to, by its type."""


def can_hold(type_: str, value: str) -> bool:
    """True if a column of that type may hold the value; what it can't hold would fail the statement for everybody."""
    if type_ == "uuid":
        try:
            return str(UUID(value)) == value.lower()
        except ValueError:
            return False
    if type_ in _INTEGERS:
        return re.fullmatch(r"0|-?[1-9][0-9]{0,18}", value) is not None and abs(int(value)) < 2 ** _INTEGERS[type_]
    return "\0" not in value and not re.search("[\ud800-\udfff]", value)


@dataclass(frozen=True, slots=True)
class View:
    """One declared table in the scope of one request."""

    name: str
    table: Table
    live: LiveTable
    scope: Scope
    columns: tuple[str, ...]
    """What is read of a row."""

    @classmethod
    def of(cls, name: str, table: Table, catalog: Catalog, scope: Scope) -> "View":
        """With the columns that ownership, keys and foreign keys need."""
        live = catalog.tables[name]
        needed = {*live.key, *table.match.values(), *(reveal.column for reveal in table.reveals.values())}
        for key in catalog.foreign_keys:
            needed.update(key.columns if key.child == name else ())
            needed.update(key.parent_columns if key.parent == name else ())
        return cls(name, table, live, scope, tuple(sorted(needed)))

    def row(self, record: Record) -> Row:
        """A record of `select` or `lock` as a row."""
        values = dict(zip(self.columns, record["read"], strict=True))
        key = tuple(values[column] or "" for column in self.live.key)
        return Row(self.name, key, values, record["start"], record["emptied"])

    def select(self, by: Sequence[str], limit: int) -> str:
        """Rows whose columns `by` hold one of the given values, at most `limit` for each; `n` says which (from 1)."""
        return (
            f"SELECT k.n::int AS n, t.* FROM {self._given(by)} CROSS JOIN LATERAL ("
            f"SELECT {self._read()} FROM {quoted(self.name)} AS t WHERE {self._where(by)} LIMIT {limit}) AS t"
        )

    def lock(self) -> str:
        """The rows with the given keys, locked until the transaction ends, always in the same order."""
        by = self.live.key
        return (
            f"SELECT {self._read()} FROM {quoted(self.name)} AS t JOIN {self._given(by)} ON {self._where(by)} "
            "ORDER BY k.n FOR UPDATE OF t"
        )

    def delete(self) -> str:
        """Deletes the rows with the given keys."""
        by = self.live.key
        return f"DELETE FROM {quoted(self.name)} AS t USING {self._given(by)} WHERE {self._where(by)}"

    def empty(self) -> str:
        """Empties the columns that the inventory anonymises, in the rows with the given keys."""
        by = self.live.key
        changes = ", ".join(f"{quoted(column)} = {self._empty_value(column)}" for column in self.anonymised)
        return f"UPDATE {quoted(self.name)} AS t SET {changes} FROM {self._given(by)} WHERE {self._where(by)}"

    def export(self) -> str:
        """The rows with the given keys, each whole: as a JSON document, and as its names and its cells."""
        by = self.live.key
        return (
            "SELECT j::text AS document, ARRAY(SELECT json_object_keys(j)) AS names, "
            "ARRAY(SELECT value FROM json_each_text(j)) AS cells FROM ("
            f"SELECT row_to_json(t) AS j, k.n FROM {quoted(self.name)} AS t "
            f"JOIN {self._given(by)} ON {self._where(by)}) AS whole ORDER BY n"
        )

    def arguments(self, values: Sequence[Sequence[str]]) -> list[Any]:
        """What the statements are run with: a column of values for each column searched by, and the tenant."""
        columns: list[Any] = [list(column) for column in zip(*values, strict=True)]
        return columns + ([self.scope.tenant] if self.table.tenant else [])

    @property
    def anonymised(self) -> tuple[str, ...]:
        """Columns that the inventory anonymises."""
        rule = self.table.erase
        return () if isinstance(rule, Delete) else rule.anonymise

    def _given(self, by: Sequence[str]) -> str:
        arrays = ", ".join(f"${n}::text[]" for n, _ in enumerate(by, 1))
        names = ", ".join(f"v{n}" for n, _ in enumerate(by, 1))
        return f"unnest({arrays}) WITH ORDINALITY AS k({names}, n)"

    def _where(self, by: Sequence[str]) -> str:
        terms = [f"t.{quoted(column)} = k.v{n}::{self.live.columns[column].type}" for n, column in enumerate(by, 1)]
        if self.table.tenant:
            type_ = self.live.columns[self.table.tenant].type
            terms.append(f"t.{quoted(self.table.tenant)} = ${len(by) + 1}::text::{type_}")
        return " AND ".join(terms)

    def _read(self) -> str:
        columns = ", ".join(f"t.{quoted(column)}::text" for column in self.columns)
        rule = self.table.erase
        start = f"t.{quoted(rule.from_)}::date" if isinstance(rule, Retain) else "NULL::date"
        empty = " AND ".join(
            f"t.{quoted(column)} IS NOT DISTINCT FROM {self._empty_value(column)}" for column in self.anonymised
        )
        return f"ARRAY[{columns}]::text[] AS read, {start} AS start, {empty or 'true'} AS emptied"

    def _empty_value(self, column: str) -> str:
        its = self.live.columns[column]
        return NEUTRAL[its.type] if its.not_null else "NULL"


def cascades(key: ForeignKey, parent: LiveTable) -> str:
    """Whether any child, in any scope, would go with the parents of the given values."""
    arrays = ", ".join(f"${n}::text[]" for n, _ in enumerate(key.columns, 1))
    names = ", ".join(f"v{n}" for n, _ in enumerate(key.columns, 1))
    where = " AND ".join(
        f"t.{quoted(column)} = k.v{n}::{parent.columns[its].type}"
        for n, (column, its) in enumerate(zip(key.columns, key.parent_columns, strict=True), 1)
    )
    return f"SELECT EXISTS (SELECT FROM {quoted(key.child)} AS t JOIN unnest({arrays}) AS k({names}) ON {where})"

"""The live database's structure, read from PostgreSQL's own catalog."""
# ruff: noqa: S608 - constants joined

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.connectors.postgres.database import Database


def quoted(name: str) -> str:
    """An identifier as SQL text; `schema.table` names two."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


class OnDelete(StrEnum):
    """What a foreign key does to a child whose parent is deleted (`pg_constraint.confdeltype`)."""

    NO_ACTION = "a"
    RESTRICT = "r"
    CASCADE = "c"
    SET_NULL = "n"
    SET_DEFAULT = "d"

    @property
    def frees(self) -> bool:
        """True if the child stays and lets go of its parent."""
        return self in (OnDelete.SET_NULL, OnDelete.SET_DEFAULT)


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` is what values are cast to, a domain's base type, without a length that would cut them."""

    type: str
    not_null: bool


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`child.columns` refers to `parent.parent_columns`; the parent is declared, the child may not be."""

    child: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: OnDelete


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A declared table as it is."""

    columns: Mapping[str, Column]
    key: tuple[str, ...] = ()
    """Columns that name one row: the primary key, else a unique index over NOT NULL columns; empty: there is none."""
    indexed: frozenset[str] = frozenset()
    """Columns that an index begins with."""
    permitted: bool = True
    """Our role may read, lock, change and delete rows."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Declared tables that exist, and every foreign key to one of them."""

    tables: Mapping[str, LiveTable]
    foreign_keys: tuple[ForeignKey, ...] = ()

    def children(self, parent: str) -> tuple[ForeignKey, ...]:
        """The foreign keys that refer to a table."""
        return tuple(key for key in self.foreign_keys if key.parent == parent)


_DECLARED: Final = """
    WITH declared AS (
        SELECT name, c.oid FROM unnest($1::text[], $2::text[]) AS d(name, quoted)
        JOIN pg_class c ON c.oid = to_regclass(d.quoted) AND c.relkind IN ('r', 'p'))
"""

_COLUMNS: Final = (
    _DECLARED
    + """
    SELECT d.name AS table, a.attname AS column,
        format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END, -1) AS type,
        a.attnotnull OR t.typnotnull AS not_null,
        has_table_privilege(d.oid, 'SELECT') AND has_table_privilege(d.oid, 'UPDATE')
            AND has_table_privilege(d.oid, 'DELETE') AS permitted
    FROM declared d
    JOIN pg_attribute a ON a.attrelid = d.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
"""
)

_INDEXES: Final = (
    _DECLARED
    + """
    SELECT d.name AS table, i.indisunique AND i.indimmediate AND bool_and(a.attnotnull) AS names_one,
        array_agg(a.attname::text ORDER BY k.n) AS columns
    FROM declared d
    JOIN pg_index i ON i.indrelid = d.oid AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
    JOIN pg_attribute a ON a.attrelid = d.oid AND a.attnum = k.attnum
    WHERE k.n <= i.indnkeyatts
    GROUP BY d.name, i.indexrelid, i.indisunique, i.indimmediate, i.indisprimary
    ORDER BY d.name, i.indisprimary DESC, i.indexrelid
"""
)

_FOREIGN_KEYS: Final = (
    _DECLARED
    + """
    SELECT coalesce(d.name, f.conrelid::regclass::text) AS child, p.name AS parent, f.confdeltype::text AS on_delete,
        array_agg(c.attname::text ORDER BY k.n) AS columns, array_agg(pc.attname::text ORDER BY k.n) AS parent_columns
    FROM pg_constraint f
    JOIN declared p ON p.oid = f.confrelid
    LEFT JOIN declared d ON d.oid = f.conrelid
    CROSS JOIN unnest(f.conkey, f.confkey) WITH ORDINALITY AS k(child, parent, n)
    JOIN pg_attribute c ON c.attrelid = f.conrelid AND c.attnum = k.child
    JOIN pg_attribute pc ON pc.attrelid = f.confrelid AND pc.attnum = k.parent
    WHERE f.contype = 'f' AND f.conparentid = 0
    GROUP BY f.oid, d.name, p.name
    ORDER BY child, parent, f.oid
"""
)

_PERSONAL: Final = (
    _DECLARED
    + r"""
    SELECT c.oid::regclass::text AS table, array_agg(a.attname::text ORDER BY a.attnum) AS columns
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.oid NOT IN (SELECT oid FROM declared)
        AND a.attname ~* '(^|_)(e?mail|phone|e164|mobile|fax|(first|last|full|given|family|sur|user|nick)_?name|'
            'birth\w*|dob|address|street|postcode|iban|ssn|passport|ip|device_id|contact_id|user_id)(_|$)'
    GROUP BY c.oid ORDER BY 1
"""
)


async def read_catalog(database: Database, names: Iterable[str]) -> Catalog:
    """The structure of the declared tables. One that is missing, or a view, is missing in the answer."""
    arguments = _arguments(names)
    columns: dict[str, dict[str, Column]] = {}
    permitted: dict[str, bool] = {}
    for row in await database.fetch(_COLUMNS, *arguments):
        column = Column(row["type"], row["not_null"])
        columns.setdefault(row["table"], {})[row["column"]] = column
        permitted[row["table"]] = row["permitted"]
    keys: dict[str, tuple[str, ...]] = {}
    indexed: dict[str, set[str]] = {}
    for row in await database.fetch(_INDEXES, *arguments):
        indexed.setdefault(row["table"], set()).add(row["columns"][0])
        if row["names_one"]:
            keys.setdefault(row["table"], tuple(row["columns"]))
    return Catalog(
        {
            name: LiveTable(of, keys.get(name, ()), frozenset(indexed.get(name, ())), permitted[name])
            for name, of in columns.items()
        },
        tuple(
            ForeignKey(
                row["child"],
                tuple(row["columns"]),
                row["parent"],
                tuple(row["parent_columns"]),
                OnDelete(row["on_delete"]),
            )
            for row in await database.fetch(_FOREIGN_KEYS, *arguments)
        ),
    )


async def undeclared_personal(database: Database, names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Tables that nobody declared, with their columns that look like personal data."""
    rows = await database.fetch(_PERSONAL, *_arguments(names))
    return {row["table"]: tuple(row["columns"]) for row in rows}


def _arguments(names: Iterable[str]) -> tuple[list[str], list[str]]:
    names = sorted(names)
    return names, [quoted(name) for name in names]

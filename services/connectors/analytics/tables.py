"""The declared tables as they are, and the SQL over one of them."""
# ruff: noqa: S608 - names from the inventory, quoted; no value stands in a statement

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from services.connectors.analytics.batch import Batch
from services.connectors.analytics.client import ClickHouse, quoted
from services.connectors.port import Problem
from services.kit.inventory import Table

_COLUMNS: Final = "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"
_ENGINES: Final = "SELECT name, engine FROM system.tables WHERE database = currentDatabase()"
_WRAPPED: Final = re.compile(r"^(?:LowCardinality|Nullable)\((.*)\)$")
_WHOLE_NUMBER: Final = re.compile(r"^U?Int\d+$")
_ENGINE: Final = re.compile(r"^(?!Replicated|Shared)\w*MergeTree$")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why nothing is done in this store until it is mended. Calls fail with the code."""

    code: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class View:
    """One declared table, within one scope. Equal rows, as far as these columns go, are one."""

    name: str
    table: Table
    types: Mapping[str, str]
    """Of all its columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that identify people or records."""
        revealed = (reveal.column for reveal in self.table.reveals.values())
        return tuple(dict.fromkeys((*self.table.match.values(), *revealed)))

    def search(self, batch: Batch, parts: Mapping[str, str]) -> str:
        """Rows that match an identifier; `parts` says by kind which part of the batch holds it."""
        matches = (
            f"{quoted(column)} IN {batch.select(parts[kind], self._read(column))}"
            for kind, column in self.table.match.items()
            if kind in parts
        )
        return self._counted(f"({' OR '.join(matches)})")

    def count(self, batch: Batch, part: str) -> str:
        """Rows whose columns hold what the part says, counted."""
        return self._counted(self._among(batch, part))

    def delete(self, batch: Batch, part: str) -> str:
        """The mutation for rows whose columns hold exactly what the part says: a row that changed is another row."""
        return f"ALTER TABLE {quoted(self.name)} DELETE WHERE {self._within(self._among(batch, part))}"

    def whole(self, batch: Batch, part: str, format_: str) -> str:
        """Rows with all their columns."""
        where = self._within(self._among(batch, part))
        settings = "date_time_output_format = 'iso', output_format_json_array_of_rows = 1"
        return f"SELECT * FROM {quoted(self.name)} WHERE {where} SETTINGS {settings} FORMAT {format_}"

    def as_read(self, column: str, identifier: str) -> str:
        """How the column writes an identifier."""
        return identifier.lower() if self._type(column) == "UUID" else identifier

    def faults(self) -> Iterator[Fault]:
        """Columns that are missing or of no use."""
        tenant = [self.table.tenant] if self.table.tenant else []
        for column in (*self.columns, *tenant):
            if column not in self.types:
                problem = Problem(
                    f"{self.name}.{column}", "there is no such column", "add it, or correct the inventory"
                )
                yield Fault("missing_column", problem)
        for column in self.columns:
            type_ = self._type(column)
            if type_ and type_ not in ("String", "UUID") and not _WHOLE_NUMBER.match(type_):
                what, fix = (
                    f"identifiers can't be told in {type_}",
                    "declare a column of String, UUID or a whole number",
                )
                yield Fault("unsearchable_column", Problem(f"{self.name}.{column}", what, fix))

    def _counted(self, where: str) -> str:
        texts = ", ".join(map(self._text, self.columns))
        return f"SELECT [{texts}] AS texts, count() FROM {quoted(self.name)} WHERE {self._within(where)} GROUP BY texts"

    def _within(self, where: str) -> str:
        return f"{where} AND toString({quoted(self.table.tenant)}) = {{tenant:String}}" if self.table.tenant else where

    def _among(self, batch: Batch, part: str) -> str:
        texts = [f"texts[{number}]" for number, _ in enumerate(self.columns, 1)]
        return f"({', '.join(map(self._text, self.columns))}) IN {batch.select(part, *texts)}"

    def _text(self, column: str) -> str:
        """As text, nothing as ''; a plain column as it is, so that the table's order helps to find it."""
        name = quoted(column)
        return name if self.types[column] == "String" else f"ifNull(toString({name}), '')"

    def _read(self, column: str) -> str:
        type_ = self._type(column)
        return "texts[1]" if type_ == "String" else f"accurateCastOrNull(texts[1], '{type_}')"

    def _type(self, column: str) -> str:
        type_ = self.types.get(column, "")
        while inner := _WRAPPED.match(type_):
            type_ = inner[1]
        return type_


async def read_views(client: ClickHouse, declared: Mapping[str, Table]) -> tuple[list[View], list[Fault]]:
    """The declared tables as they are now, and all that is wrong with them."""
    engines: dict[str, str] = dict(await client.rows(_ENGINES))
    columns = await client.rows(_COLUMNS)
    views, found = list[View](), list[Fault]()
    for name, table in declared.items():
        if name not in engines:
            problem = Problem(name, "there is no such table", "create it, or take it out of the inventory")
            found.append(Fault("missing_table", problem))
            continue
        if not _ENGINE.match(engines[name]):
            what = f"mutations of a {engines[name]} can't be watched here"
            found.append(
                Fault("unsupported_engine", Problem(name, what, "declare the MergeTree table that holds its rows"))
            )
        view = View(name, table, {column: type_ for its, column, type_ in columns if its == name})
        views.append(view)
        found += view.faults()
    return views, found

"""The portable copy of one subject's rows: for each table one JSON and one CSV member."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from contracts.reports import Member
from services.connectors.port import BundleWriter, Checkpoint
from services.connectors.postgres.database import Database
from services.connectors.postgres.ownership import Row
from services.connectors.postgres.statements import View
from services.connectors.postgres.walk import chunks
from services.kit.inventory import Category
from services.kit.postgres import Record


class Withdrawn(Exception):
    """The permit went while a member was being written."""


class Exporter:
    """Streams rows in chunks, so that memory stays flat."""

    def __init__(self, database: Database, bundle: BundleWriter, checkpoint: Checkpoint, request_id: UUID) -> None:
        self._database, self._bundle, self._checkpoint, self._request_id = database, bundle, checkpoint, request_id

    async def write(self, view: View, category: Category, rows: Sequence[Row]) -> list[Member]:
        """The two members of one table. Raises `Withdrawn`, and what reading and writing raise."""
        name, review = f"{view.table.category}/{view.name}", category.third_party == "review"
        return [
            await self._bundle.write(f"{name}.{ending}", view.table.category, content, review=review)
            for ending, content in (("json", self._json(view, rows)), ("csv", self._csv(view, rows)))
        ]

    async def _json(self, view: View, rows: Sequence[Row]) -> AsyncIterator[bytes]:
        between = "[\n"
        async for records in self._read(view, rows):
            yield (between + ",\n".join(record["document"] for record in records)).encode()
            between = ",\n"
        yield b"[]\n" if between == "[\n" else b"\n]\n"

    async def _csv(self, view: View, rows: Sequence[Row]) -> AsyncIterator[bytes]:
        header = True
        async for records in self._read(view, rows):
            text = io.StringIO()
            writer = csv.writer(text)
            writer.writerows([records[0]["names"]] if header else [])
            writer.writerows(record["cells"] for record in records)
            header = False
            yield text.getvalue().encode()

    async def _read(self, view: View, rows: Sequence[Row]) -> AsyncIterator[Sequence[Record]]:
        """In chunks, as PostgreSQL writes JSON: times in ISO 8601, numbers to the last digit."""
        for chunk in chunks(rows):
            if self._request_id not in await self._checkpoint():
                raise Withdrawn
            records = await self._database.fetch(view.export(), *view.arguments([row.key for row in chunk]))
            if records:
                yield records

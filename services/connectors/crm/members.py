"""The portable copy of what HubSpot holds: one JSON and one CSV member for each kind of object."""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator, Sequence

from services.connectors.crm.client import Record


def files(records: Sequence[Record]) -> Iterator[tuple[str, AsyncIterator[bytes]]]:
    """Content by file ending. Properties without a value are left out; their names are the vendor's."""
    rows = [{"id": record.id, **{k: v for k, v in record.properties.items() if v}} for record in records]
    yield "json", _once(json.dumps(rows, ensure_ascii=False, indent=1))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    yield "csv", _once(text.getvalue())


async def _once(text: str) -> AsyncIterator[bytes]:
    yield text.encode()

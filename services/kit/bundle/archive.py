"""The ZIP a person receives: made while it is fetched, so that no half bundle exists and nothing is stored twice."""

import csv
import io
import json
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from joserfc.jwk import OctKey

from contracts.reports import Member
from services.kit.bundle.store import read_member
from services.kit.inventory import AnalyticsStore, Inventory, KindClass, PostgresStore
from services.kit.objects import Bucket

_PREVIEW_ROWS: Final = 5
_PREVIEW_BYTES: Final = 16 << 10
_MEANING: Final = {
    KindClass.PERSON: "marks one person",
    KindClass.SHARED: "may belong to several people",
    KindClass.RECORD: "points to a record of the person's",
}


@dataclass(frozen=True, slots=True)
class Copy:
    """One request's portable copy: all its rounds' members."""

    request_id: UUID
    controller: str
    made_at: datetime
    members: Sequence[Member]
    released: bool = False
    """A person has released what holds a second person's data."""


@dataclass(slots=True)
class _File:
    """A member as it lies in the archive."""

    path: str
    store: str
    member: Member
    rows: int | None = None
    """Of a table; None for anything else."""
    preview: list[list[str]] = field(default_factory=list)
    """A table's header and first rows."""


async def stream_zip(bucket: Bucket, key: OctKey, copy: Copy, inventory: Inventory) -> AsyncIterator[bytes]:
    """The archive, a chunk at a time: members under `{store}/`, then `manifest.json` and `index.html`.

    Raises `Damaged` or `ObjectsError` midway, before the archive has the directory that would make it readable.
    """
    files = _files(copy)
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for file in files:
            glance = _Glance()
            with archive.open(_entry(file.path, copy, file.member.size), "w") as entry:
                async for chunk in read_member(bucket, key, file.member):
                    entry.write(chunk)
                    glance.at(chunk)
                    yield sink.taken()
            if file.path.endswith(".csv"):
                file.rows, file.preview = glance.rows, glance.preview()
        manifest = _manifest(copy, files, inventory)
        archive.writestr(_entry("manifest.json", copy), json.dumps(manifest, ensure_ascii=False, indent=2))
        archive.writestr(_entry("index.html", copy), _page(manifest, files))
    yield sink.taken()


class _Sink:
    """Where the archive is written to and at once taken from; it can't be gone back in."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing lies further on."""

    def close(self) -> None:
        """Nothing to let go."""

    def taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


class _Glance:
    """What can be told of a CSV file in passing: how many rows, and its first ones."""

    def __init__(self) -> None:
        self._start = bytearray()
        self._lines = 0
        self._quoted = False
        self._cut = False

    def at(self, chunk: bytes) -> None:
        for number, part in enumerate(chunk.split(b'"')):
            self._quoted ^= number > 0
            self._lines += 0 if self._quoted else part.count(b"\n")
        room = _PREVIEW_BYTES - len(self._start)
        self._start += chunk[:room]
        self._cut |= len(chunk) > room

    @property
    def rows(self) -> int:
        return max(self._lines - 1, 0)

    def preview(self) -> list[list[str]]:
        rows = list(csv.reader(io.StringIO(self._start.decode(errors="replace"), newline="")))
        return (rows[:-1] if self._cut else rows)[: _PREVIEW_ROWS + 1]


def _entry(path: str, copy: Copy, size: int = 0) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, copy.made_at.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    entry.file_size = size  # tells zipfile whether it must leave room for more than 4 GiB
    return entry


def _files(copy: Copy) -> list[_File]:
    """What goes into the archive. A later round may have written a name again: same content once, other beside it."""
    files: dict[str, _File] = {}
    for member in copy.members:
        if member.review and not copy.released:
            continue
        store = member.object.split("/")[2]
        wanted = PurePosixPath(store, member.name)
        path, number = wanted, 1
        while (other := files.get(str(path))) and other.member.sha256 != member.sha256:
            number += 1
            path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        files.setdefault(str(path), _File(str(path), store, member))
    return sorted(files.values(), key=lambda file: file.path)


def _manifest(copy: Copy, files: Sequence[_File], inventory: Inventory) -> dict[str, Any]:
    withheld = Counter(member.category for member in copy.members if member.review and not copy.released)
    categories = {member.category for member in copy.members}
    return {
        "format": "letheia-bundle/1",
        "request_id": str(copy.request_id),
        "controller": copy.controller,
        "made_at": copy.made_at.isoformat(),
        "categories": {
            name: inventory.categories[name].model_dump(include={"purpose", "basis", "origin"})
            for name in sorted(categories)
        },
        "members": [
            {
                "path": file.path,
                "store": file.store,
                "category": file.member.category,
                "bytes": file.member.size,
                "sha256": file.member.sha256,
            }
            | ({"rows": file.rows, "fields": _fields(file, inventory)} if file.rows is not None else {})
            for file in files
        ],
        "withheld": dict(withheld),
        "meaning": {
            "purpose": "what the data is processed for",
            "basis": "the legal ground for it (GDPR Art. 6)",
            "origin": "provided: given by the person; observed: recorded while they used the service",
            "sha256": "SHA-256 of the file, hexadecimal",
            "fields": "a table's columns; where one identifies somebody, as what kind",
            "withheld": "files by category that hold another person's data too and were left out",
        },
    }


def _fields(file: _File, inventory: Inventory) -> dict[str, str | None]:
    """A table's columns, and what is declared of them."""
    store = inventory.stores.get(file.store)
    tables = store.tables.values() if isinstance(store, PostgresStore | AnalyticsStore) else ()
    kinds = {
        table.column_of(kind): kind
        for table in tables
        if table.category == file.member.category
        for kind in {*table.match, *table.reveals}
    }
    header = file.preview[0] if file.preview else []
    return {
        column: f"{kinds[column]}: {_MEANING[inventory.kinds[kinds[column]]]}" if column in kinds else None
        for column in header
    }


def _page(manifest: dict[str, Any], files: Sequence[_File]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    by_category = {name: [f for f in files if f.member.category == name] for name in manifest["categories"]}
    return environment.get_template("index.html").render(manifest=manifest, files=by_category)

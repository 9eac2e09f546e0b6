"""What outlives the process, down to a `kill -9`: one SQLite file, written through before an answer leaves."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from deploy.simulators.hubspot.record import Record

_TABLES = """
create table if not exists record (id integer primary key autoincrement, body text not null);
create table if not exists link (a text not null, b text not null, primary key (a, b));
create table if not exists alias (old text primary key, new text not null);
create table if not exists blocklist (address text not null, reason text not null, primary key (address, reason));
"""


class Disk:
    """Belongs to one thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("pragma journal_mode = wal")
        self._db.executescript(_TABLES)

    @contextmanager
    def change(self) -> Iterator[None]:
        """All that is written within, or nothing."""
        with self._db:
            yield

    def records(self) -> list[Record]:
        return [Record.model_validate_json(body) for (body,) in self._db.execute("select body from record")]

    def links(self) -> list[tuple[str, str]]:
        return list(self._db.execute("select a, b from link"))

    def aliases(self) -> dict[str, str]:
        return dict(self._db.execute("select old, new from alias"))

    def last_id(self) -> int:
        """The highest id ever given: none is given twice."""
        row = self._db.execute("select seq from sqlite_sequence where name = 'record'").fetchone()
        return int(row[0]) if row else 100

    def save(self, record: Record) -> None:
        self._db.execute("insert or replace into record values (?, ?)", (int(record.id), record.model_dump_json()))

    def delete(self, record: Record) -> None:
        self._db.execute("delete from record where id = ?", (int(record.id),))
        self._db.execute("delete from link where ? in (a, b)", (record.id,))

    def link(self, a: str, b: str) -> None:
        self._db.execute("insert or ignore into link values (?, ?)", (a, b))

    def alias(self, old: str, new: str) -> None:
        self._db.execute("insert into alias values (?, ?)", (old, new))

    def block(self, address: str, reason: str) -> None:
        """`reason`: `erased`, or `miss` where a deletion by email found nobody. Kept hashed, as the vendor does."""
        digest = sha256(address.lower().encode()).hexdigest()
        self._db.execute("insert or ignore into blocklist values (?, ?)", (digest, reason))

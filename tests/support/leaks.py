"""Looks for identifiers in plain text wherever Letheia leaves bytes of its own."""

import mmap
from collections.abc import Collection
from pathlib import Path

from tests.support.stack import Stack


async def leaks(stack: Stack, identifiers: Collection[str]) -> list[str]:
    """Where any of these stands readable: Kafka's files, Letheia's database, logs and spans. Never says which."""
    needles = [identifier.encode() for identifier in identifiers]
    files = [path for path in (stack.home / "data" / "kafka").rglob("*") if path.is_file()]
    files += [path for path in (stack.home / "logs").iterdir() if _is_ours(path)]
    files.append(stack.home / "spans.jsonl")
    found = [str(path) for path in files if _holds(path, needles)]
    return found + await _rows(stack, identifiers)


def _is_ours(path: Path) -> bool:
    return path.stem in ("console", "kafka", "migrate", "supervisor") or path.stem.startswith(
        ("coordinator", "connector")
    )


def _holds(path: Path, needles: list[bytes]) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(needle) >= 0 for needle in needles)


async def _rows(stack: Stack, identifiers: Collection[str]) -> list[str]:
    found = []
    async with stack.database() as db:
        tables = await db.fetch(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
        )
        for (table,) in tables:
            text = "\n".join(row[0] for row in await db.fetch(f"SELECT t::text FROM {table} t"))
            if any(identifier in text for identifier in identifiers):
                found.append(f"table {table}")
    return found

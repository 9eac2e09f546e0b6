"""How a request reads at a terminal. Where there is no terminal, plain lines without colours or frames."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from contracts.status import StatusDocument, StoreStatus

_STORE_COLUMNS = ("store", "state", "level", "asked with", "found", "erased", "retained", "left", "attempts", "error")


def on_terminal() -> bool:
    """True where a person looks at standard output."""
    return sys.stdout.isatty()


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows under headings, drawn for a terminal or aligned plainly; empty columns are left out."""
    lines = _lines(columns, rows)
    if on_terminal():
        console = Console()
        with console.capture() as drawn:
            console.print(_rich(lines))
        return drawn.get().rstrip()
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def plain(value: Any) -> str:
    """What a journal entry holds, without JSON's marks and without zeros."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(inner)}" for name, inner in value.items() if inner)
    return " ".join(map(plain, value)) if isinstance(value, list) else str(value)


def status(document: StatusDocument) -> str:
    """A request in full."""
    stores = table(_STORE_COLUMNS, map(_store, document.stores)) if document.stores else ""
    return "\n".join(filter(None, [*_summary(document), stores]))


def live(document: StatusDocument) -> RenderableType:
    """The same, for a display that is drawn anew."""
    return Group(*map(Text, _summary(document)), _rich(_lines(_STORE_COLUMNS, map(_store, document.stores))))


def line(document: StatusDocument) -> str:
    """A request in one line, for logs."""
    stores = " ".join(f"{store.store}={store.error or store.state}" for store in document.stores)
    attention = f"needs:{document.attention.code}" if document.attention else None
    return " ".join(filter(None, [document.phase, document.outcome, attention, stores]))


def _lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[list[str]]:
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    kept = [n for n in range(len(columns)) if any(row[n] for row in cells)]
    return [[line[n] for n in kept] for line in (columns, *cells)]


def _rich(lines: Sequence[Sequence[str]]) -> Table:
    drawn = Table(*lines[0], box=None, padding=(0, 2, 0, 0), header_style="bold")
    for row in lines[1:]:
        drawn.add_row(*map(Text, row))
    return drawn


def _summary(document: StatusDocument) -> Iterable[str]:
    what = document.right or "a request that can't be read"
    yield f"{document.request_id}: {what} for {document.controller or 'nobody known'}, {document.phase}" + (
        f", {document.outcome}" if document.outcome else ""
    )
    told = f"; the person was told on {document.informed_on}" if document.informed_on else ""
    yield f"received {document.received_on}, due {document.due_on}, {document.days_left} days left{told}"
    if document.attention:
        yield f"needs a person: {document.attention.code}, since {document.attention.since:%Y-%m-%d %H:%M} UTC;" + (
            f" choose {', '.join(document.attention.choices)}"
        )
    if document.bundle:
        fetched = document.bundle.fetched_on or "not yet"
        yield f"bundle ready since {document.bundle.ready_on}, until {document.bundle.expires_on}, fetched: {fetched}"


def _store(store: StoreStatus) -> tuple[Any, ...]:
    kept = [f"{each.category} {each.count} until {each.until}" for each in store.retained]
    kept += [f"{each.category} {each.count} locked until {each.until or 'lifted'}" for each in store.locked]
    return (
        store.store, store.state, store.level, ", ".join(store.asked_with), _counts(store.found), _counts(store.erased),
        ", ".join(kept), _counts(store.remaining), store.attempts, store.error,
    )  # fmt: skip


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{category} {count}" for category, count in sorted(counts.items()) if count)

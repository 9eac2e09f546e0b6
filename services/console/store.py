"""What the console reads of the coordinator's tables, within what a principal may see; it writes only its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from contracts.requests import Name
from contracts.status import Phase, StatusDocument
from services.console import rules
from services.console.access import Principal, Role
from services.console.documents import DeadLetter, DeadLetterPage, JournalEntry, RequestPage
from services.console.problems import Problem, invalid
from services.kit.inventory import Inventory
from services.kit.postgres import UNREACHABLE, Connection, Pool, PostgresError, Record

PUBLISHER: Final = "console"
"""The name under which the console signs."""

_VISIBLE: Final = f"""
  (s.controller = ANY($1) OR (s.controller IS NULL AND $2))
  AND ($3::text IS NULL OR s.publisher = $3 OR (s.publisher = '{PUBLISHER}' AND EXISTS (
      SELECT FROM console.submissions own WHERE own.request_id = s.request_id AND own.principal = $3)))
"""
"""A principal's controllers. What can't be read yet may be anybody's: for those who act for all controllers. A system
sees what it published, and what the console signed for it."""

_STATUS: Final = """
  SELECT s.request_id, s.status, s.due_on, s.phase = 'closed' AS closed,
         (SELECT min(at) FROM console.fetches f WHERE f.request_id = s.request_id) AS fetched_at
  FROM coordinator.sagas s
"""

_ONE: Final = f"{_STATUS} WHERE {_VISIBLE} AND s.request_id = $4"

_PAGE: Final = f"""
  {_STATUS} WHERE {_VISIBLE}
    AND ($4::text IS NULL OR s.phase = $4)
    AND ($5::date IS NULL OR (s.phase <> 'closed' AND s.due_on <= $5))
    AND ($6::boolean IS NULL OR (s.attention IS NOT NULL) = $6)
    AND ($7::date IS NULL OR (s.phase = 'closed', s.due_on, s.request_id) > ($8, $7, $9))
  ORDER BY s.phase = 'closed', s.due_on, s.request_id LIMIT $10
"""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which requests to list."""

    phase: Phase | None = None
    due_by: date | None = None
    attention: bool | None = None


class Store:
    """Reads for the API. `inventory` tells each controller's clock, and who acts for all."""

    def __init__(self, pool: Pool, inventory: Inventory) -> None:
        self._pool = pool
        self._inventory = inventory

    async def status(self, principal: Principal, request_id: UUID, now: datetime) -> StatusDocument:
        """How a request stands. Raises `Problem` 404 if there is none that this principal may see."""
        row = await self._pool.fetchrow(_ONE, *self._sight(principal), request_id)
        if row is None:
            raise Problem(404, "not_found", "There is no such request, or not one that this token may see.")
        return self._document(row, now)

    async def page(
        self, principal: Principal, filters: Filters, cursor: str | None, limit: int, now: datetime
    ) -> RequestPage:
        """Open requests by deadline, then closed ones; `cursor` goes on where a page ended."""
        due, closed, last = _decoded(cursor) if cursor else (None, None, None)
        rows = await self._pool.fetch(
            _PAGE, *self._sight(principal), filters.phase, filters.due_by, filters.attention, due, closed, last, limit
        )
        more = _encoded(rows[-1]) if len(rows) == limit else None
        return RequestPage(requests=[self._document(row, now) for row in rows], next=more)

    async def journal(self, request_id: UUID) -> list[JournalEntry]:
        """Every transition, oldest first."""
        rows = await self._pool.fetch(
            "SELECT seq, at, entry, previous, hash FROM coordinator.journal WHERE request_id = $1 ORDER BY seq",
            request_id,
        )
        return [JournalEntry(**row) for row in rows]

    async def dead_letters(self, before: int | None, limit: int) -> DeadLetterPage:
        """Newest first, never their content."""
        rows = await self._pool.fetch(
            'SELECT id, consumer, topic, partition, "offset", reason, request_id, at FROM vault.dead_letters'
            " WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
            before, limit,
        )  # fmt: skip
        more = rows[-1]["id"] if len(rows) == limit else None
        return DeadLetterPage(dead_letters=[DeadLetter(**row) for row in rows], next=more)

    async def digest(self, request_id: UUID) -> bytes | None:
        """The keyed digest of what was submitted under an id; None if nothing readable was."""
        digest: bytes | None = await self._pool.fetchval(
            "SELECT digest FROM coordinator.sagas WHERE request_id = $1", request_id
        )
        return digest

    async def fetched(self, request_id: UUID, principal: Principal, at: datetime) -> None:
        """A bundle was picked up."""
        await self._pool.execute(
            "INSERT INTO console.fetches (request_id, at, principal) VALUES ($1, $2, $3)",
            request_id, at, principal.principal,
        )  # fmt: skip

    async def missing(self) -> list[str]:
        """What a request would fail for: the database, or its tables."""
        try:
            await self._pool.fetchrow("SELECT FROM coordinator.sagas, console.submissions LIMIT 1")
        except (PostgresError, *UNREACHABLE):
            return ["database"]
        return []

    def _sight(self, principal: Principal) -> Sequence[Any]:
        everybody = principal.controllers >= set(self._inventory.controllers)
        own = principal.principal if principal.role is Role.SYSTEM else None
        return list(principal.controllers), everybody, own

    def _document(self, row: Record, now: datetime) -> StatusDocument:
        stored = StatusDocument.read(row["status"])
        bundle = stored.bundle
        if bundle is not None and row["fetched_at"] is not None:
            fetched_on = self._today(stored.controller, row["fetched_at"])
            bundle = bundle.model_copy(update={"fetched_on": fetched_on})
        days_left = (stored.strict_due_on - self._today(stored.controller, now)).days
        return stored.model_copy(update={"days_left": days_left, "bundle": bundle})

    def _today(self, controller: Name | None, now: datetime) -> date:
        known = controller in self._inventory.controllers
        return rules.today(self._inventory, controller, now) if controller and known else now.astimezone(UTC).date()


async def remember_submission(db: Connection, request_id: UUID, principal: Principal, at: datetime) -> None:
    """The console signs a request for a principal. The first to ask under an id is the one."""
    await db.execute(
        "INSERT INTO console.submissions (request_id, principal, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        request_id, principal.principal, at,
    )  # fmt: skip


def _encoded(row: Record) -> str:
    return f"{row['due_on']}_{int(row['closed'])}_{row['request_id']}"


def _decoded(cursor: str) -> tuple[date, bool, UUID]:
    try:
        due, closed, last = cursor.split("_")
        return date.fromisoformat(due), bool(int(closed)), UUID(last)
    except ValueError:
        raise invalid([("cursor", "not one that a page named")]) from None

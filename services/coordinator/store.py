"""Where sagas are kept. One `Ledger` lives for one transaction: it locks, remembers, and writes what was decided.

Lock order: sagas by id, all of a batch at once; then each saga's own persons, in order, and its vault, timers, outbox.
Two batches that share persons of several sagas may still block each other: PostgreSQL ends one, which is tried again.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from contracts.sealing import canonical
from contracts.status import Phase
from contracts.tasks import TaskIssued
from contracts.topics import MessageType, Topic
from services.coordinator.saga.messages import Rival
from services.coordinator.saga.state import Saga, World
from services.coordinator.saga.status import changed, document
from services.coordinator.saga.turn import Decision, Entry, Forget, Permit, Provide, Settle, Timer, VaultChange
from services.kit import outbox
from services.kit.postgres import Connection
from services.kit.vault import Vault

SOURCE: Final = "letheia.coordinator"
_OUTLIVE_CLOSING: Final = ("warning", "breach", "bundle")
"""The person must still be told, and a bundle still expires."""


@dataclass(slots=True)
class Row:
    """A saga as the transaction sees it."""

    saga: Saga
    digest: bytes | None
    traceparent: str | None
    seq: int
    head: str
    """Hash of the newest journal entry."""


class Ledger:
    """Sagas within one transaction."""

    def __init__(self, db: Connection, vault: Vault, now: datetime) -> None:
        self.db = db
        self._vault = vault
        self._now = now
        self._rows: dict[UUID, Row] = {}

    async def lock(self, request_ids: Iterable[UUID]) -> None:
        """Lock these sagas, in order, and read them.

        By advisory locks, taken in a statement of their own: one that is not there yet has no row to lock, and what is
        read in a statement that had to wait (the journal's head) is as old as its beginning.
        """
        wanted = sorted(set(request_ids))
        await self.db.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('saga/' || id, 0)) FROM unnest($1::text[]) AS id",
            [str(request_id) for request_id in wanted],
        )
        rows = await self.db.fetch(
            "SELECT s.state, s.digest, s.traceparent, coalesce(j.seq, 0) AS seq, coalesce(j.hash, '') AS hash"
            " FROM sagas s LEFT JOIN LATERAL (SELECT seq, hash FROM journal j WHERE j.request_id = s.request_id"
            "                                 ORDER BY seq DESC LIMIT 1) j ON true"
            " WHERE s.request_id = ANY($1)",
            wanted,
        )
        for record in rows:
            saga = Saga.model_validate(record["state"])
            self._rows[saga.request_id] = Row(saga, *record[1:])

    def find(self, request_id: UUID) -> Row | None:
        """A saga that was locked, or written since."""
        return self._rows.get(request_id)

    async def write(self, decision: Decision, world: World, traceparent: str, digest: bytes | None = None) -> None:
        """Make a decision true."""
        saga = decision.saga
        before = self._rows.get(saga.request_id)
        closes = not saga.open and (before is None or before.saga.open)
        persons = await self._lock_persons(await self._held(saga.request_id)) if closes else []
        row = self._rows[saga.request_id] = Row(
            saga,
            digest or (before.digest if before else None),
            before.traceparent if before else traceparent,
            before.seq if before else 0,
            before.head if before else "",
        )
        if saga != (before.saga if before else None):
            await self._save(row, world)
        for change in decision.vault:
            await self._change_vault(saga.request_id, change)
        await self._keep_bundle(before.saga if before else None, saga)
        await self._journal(row, decision.entries)
        await self._set_timers(saga, decision.timers, traceparent)
        await self._say(before.saga if before else None, row, decision.tasks, world, traceparent)
        if closes:
            await self._closed(saga.request_id, persons)

    async def rivals(self, request_id: UUID) -> tuple[Rival, ...]:
        """Lock this saga's persons and name the other open sagas about them."""
        hashes = await self.note_persons(request_id)
        rows = await self.db.fetch(
            "SELECT DISTINCT s.request_id, s.state FROM persons p JOIN sagas s USING (request_id)"
            " WHERE p.hash = ANY($1) AND p.request_id <> $2 AND s.phase <> 'closed'",
            hashes, request_id,
        )  # fmt: skip
        sagas = [Saga.model_validate(row["state"]) for row in rows]
        return tuple(
            Rival(saga.request_id, saga.right, saga.received_on, saga.opened_at.isoformat(), saga.acted)
            for saga in sagas
        )

    async def note_persons(self, request_id: UUID) -> list[bytes]:
        """Hold the hashes of this saga's persons, locked in order. Locks come first: who had to wait then sees all."""
        rows = await self.db.fetch(
            "SELECT DISTINCT person_hash FROM vault.identifiers WHERE request_id = $1 AND person_hash IS NOT NULL"
            " AND standing IN ('trusted', 'confirmed')",
            request_id,
        )
        held = await self._held(request_id)
        hashes = await self._lock_persons({*held, *(bytes(row["person_hash"]) for row in rows)})
        await self.db.executemany(
            "INSERT INTO persons (hash, request_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [(value, request_id) for value in hashes if value not in held],
        )
        return hashes

    async def _held(self, request_id: UUID) -> set[bytes]:
        rows = await self.db.fetch("SELECT hash FROM persons WHERE request_id = $1", request_id)
        return {bytes(row["hash"]) for row in rows}

    async def _lock_persons(self, hashes: Iterable[bytes]) -> list[bytes]:
        ordered = sorted(hashes)
        await self.db.execute(
            "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key",
            [int.from_bytes(value[:8], signed=True) for value in ordered],
        )
        return ordered

    async def _save(self, row: Row, world: World) -> None:
        saga = row.saga
        deadline = saga.deadline(world.calendar, self._now)
        trace_id = row.traceparent.split("-")[1] if row.traceparent else None
        await self.db.execute(
            "INSERT INTO sagas (request_id, digest, controller, publisher, phase, attention, due_on, state, status,"
            " traceparent, opened_at, closed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
            " ON CONFLICT (request_id) DO UPDATE SET digest = $2, controller = $3, publisher = $4, phase = $5,"
            " attention = $6, due_on = $7, state = $8, status = $9, closed_at = coalesce(sagas.closed_at, $12)",
            saga.request_id, row.digest, saga.controller, saga.publisher, saga.phase.value,
            saga.attention.code if saga.attention else None, deadline.strict_due_on, saga.model_dump(mode="json"),
            document(saga, deadline, world, trace_id).model_dump(mode="json"), row.traceparent, saga.opened_at,
            None if saga.open else self._now,
        )  # fmt: skip

    async def _change_vault(self, request_id: UUID, change: VaultChange) -> None:
        match change:
            case Permit(round=round_, action=action):
                await self._vault.permit(self.db, request_id, round_, action)
            case Settle(code=code, standing=standing):
                await self._vault.settle(self.db, request_id, code, standing)
            case Provide():
                await self._vault.create_key(self.db, request_id, "bundle")
            case Forget(what="doubts"):
                await self._vault.uncontest(self.db, request_id)
            case Forget(what="subject"):
                await self._vault.destroy(self.db, request_id)
            case Forget(what="bundle"):
                await self._expire_bundle(request_id)

    async def _expire_bundle(self, request_id: UUID) -> None:
        """Without its key a bundle can't be read; its objects, those of an unfinished one too, go with the next
        housekeeping."""
        await self._vault.destroy_key(self.db, request_id, "bundle")
        await self.db.execute(
            "INSERT INTO bundles (request_id, members, ready_at, expires_at) VALUES ($1, '{}', $2, $2)"
            " ON CONFLICT (request_id) DO UPDATE SET expires_at = least(bundles.expires_at, $2)",
            request_id, self._now,
        )  # fmt: skip

    async def _keep_bundle(self, before: Saga | None, saga: Saga) -> None:
        was = (before.bundle_ready_at, before.bundle_released) if before else (None, False)
        if saga.bundle_ready_at is None or was == (saga.bundle_ready_at, saga.bundle_released):
            return
        members = {name: [m.model_dump(mode="json") for m in s.members] for name, s in saga.stores.items()}
        await self.db.execute(
            "INSERT INTO bundles (request_id, members, released, ready_at, expires_at) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (request_id) DO UPDATE SET members = $2, released = $3",
            saga.request_id, members, saga.bundle_released, saga.bundle_ready_at, saga.bundle_expires_at,
        )  # fmt: skip

    async def _journal(self, row: Row, entries: Sequence[Entry]) -> None:
        lines = []
        for entry in entries:
            row.seq += 1
            body = entry.model_dump(mode="json", exclude_defaults=True)
            previous, row.head = row.head, link(row.head, row.seq, self._now, body)
            lines.append((row.saga.request_id, row.seq, self._now, body, previous, row.head))
        await self.db.executemany(
            "INSERT INTO journal (request_id, seq, at, entry, previous, hash) VALUES ($1, $2, $3, $4, $5, $6)", lines
        )

    async def _set_timers(self, saga: Saga, timers: Sequence[Timer], traceparent: str) -> None:
        await self.db.executemany(
            "INSERT INTO timers (request_id, kind, key, due_at, traceparent) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (request_id, kind, key) DO UPDATE SET due_at = $4, traceparent = $5",
            [(saga.request_id, timer.kind, timer.key, timer.due_at, traceparent) for timer in timers],
        )

    async def _say(
        self, before: Saga | None, row: Row, tasks: Sequence[TaskIssued], world: World, traceparent: str
    ) -> None:
        saga = row.saga
        messages = [
            outbox.Outgoing(Topic.TASKS, saga.request_id, MessageType.TASK_ISSUED, str(task.task_id), task, task.store)
            for task in tasks
        ]
        deadline = saga.deadline(world.calendar, self._now)
        status = changed(saga, deadline, row.head)
        known = before and changed(before, before.deadline(world.calendar, self._now), "")
        ignored = {"revision", "journal_head"}
        if known is None or known.model_dump(exclude=ignored) != status.model_dump(exclude=ignored):
            id_ = f"{saga.request_id}/{saga.revision}"
            messages.append(outbox.Outgoing(Topic.STATUS, saga.request_id, MessageType.STATUS_CHANGED, id_, status))
        await outbox.put(self.db, SOURCE, messages, self._now, traceparent)

    async def _closed(self, request_id: UUID, persons: Sequence[bytes]) -> None:
        """Stop its timers, and wake who waited for it."""
        await self.db.execute(
            "DELETE FROM timers WHERE request_id = $1 AND kind <> ALL($2)", request_id, list(_OUTLIVE_CLOSING)
        )
        await self.db.execute(
            "INSERT INTO timers (request_id, kind, key, due_at, traceparent)"
            " SELECT DISTINCT s.request_id, 'wake', '', $2::timestamptz, s.traceparent"
            " FROM persons p JOIN sagas s USING (request_id) WHERE p.hash = ANY($1) AND s.phase = $3"
            " ON CONFLICT (request_id, kind, key) DO UPDATE SET due_at = excluded.due_at",
            list(persons), self._now, Phase.WAITING.value,
        )  # fmt: skip


def link(previous: str, seq: int, at: datetime, entry: dict[str, Any]) -> str:
    """The hash that chains a journal entry to the one before it: SHA-256, hexadecimal."""
    body = canonical({"previous": previous, "seq": seq, "at": at.isoformat(), "entry": entry})
    return hashlib.sha256(body).hexdigest()

"""The inbox: tasks of one store, kept until they are done, and worked on under a lease.

A worker holds what it claims as long as its token stands in the row; one that dies lets the lease run out and another
goes on. A report counts only if it is written while the token is still there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from contracts.reports import TaskReported
from contracts.tasks import Action, TaskIssued
from contracts.topics import RECOVERY_WINDOW, MessageType, Topic
from services.connectors.port import LeaseLost
from services.kit import outbox
from services.kit.outbox import Outgoing
from services.kit.postgres import Connection, Record, notify

CHANNEL: Final = "inbox"
LEASE: Final = timedelta(seconds=20)
"""How long a killed worker's tasks wait for another."""
PROGRESS_EVERY: Final = timedelta(seconds=8)
"""For a task that is worked on: shorter than the coordinator's first wait for an answer."""
_STILL_QUEUED_EVERY: Final = timedelta(minutes=5)
"""For a task that waits behind those: shorter than the coordinator's last wait."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task, and the span that issued it."""

    task: TaskIssued
    traceparent: str | None


def outgoing(report: TaskReported) -> Outgoing:
    """A report as a message; its id tells a repeated one from a new one."""
    id_ = f"{report.task_id}/{report.result}"
    return Outgoing(Topic.REPORTS, report.request_id, MessageType.TASK_REPORTED, id_, report)


async def accept(db: Connection, source: str, task: TaskIssued, traceparent: str | None, now: datetime) -> None:
    """Take a task in. One that is done has its stored report sent again; one that waits or is in hand stays as it is.

    A task that was done without anything having been done (its permit was not there, or nothing was known of its
    request) is tried anew, and the permit decides anew: somebody may have forged it before it was due.
    """
    async with db.transaction():
        queued = await db.fetchval(
            "INSERT INTO inbox (task_id, task, action, due_at, traceparent, at, told_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $6)"
            " ON CONFLICT (task_id) DO UPDATE SET state = 'queued', report = NULL, traceparent = $5, told_at = $6"
            " WHERE inbox.state = 'done' AND (inbox.report IS NULL OR inbox.report ->> 'result' = 'revoked')"
            " RETURNING true",
            task.task_id, task.model_dump(mode="json"), task.action.value, task.due_at, traceparent, now,
        )  # fmt: skip
        if queued:
            await notify(db, CHANNEL)
        elif report := await db.fetchval("SELECT report FROM inbox WHERE task_id = $1", task.task_id):
            await outbox.put(db, source, [outgoing(TaskReported.model_validate(report))], now, traceparent)


async def claim(db: Connection, action: Action, limit: int, token: UUID, now: datetime) -> list[Claimed]:
    """Take up to `limit` tasks of one action, the nearest deadline first, that nobody holds."""
    rows = await db.fetch(
        "UPDATE inbox SET state = 'claimed', token = $1, lease_until = $2 WHERE task_id IN ("
        " SELECT task_id FROM inbox WHERE action = $3"
        " AND (state = 'queued' OR (state = 'claimed' AND lease_until < $4))"
        " ORDER BY due_at, at LIMIT $5 FOR UPDATE SKIP LOCKED) RETURNING task, traceparent",
        token, now + LEASE, action.value, now, limit,
    )  # fmt: skip
    return sorted((_claimed(row) for row in rows), key=lambda claimed: (claimed.task.due_at, claimed.task.attempt))


async def renew(db: Connection, token: UUID, held: int, now: datetime) -> None:
    """Hold on to all that was claimed; within a transaction, nobody takes it before its end.

    Raises `LeaseLost` when another worker has any of it.
    """
    rows = await db.fetch(
        "UPDATE inbox SET lease_until = $2 WHERE token = $1 AND state = 'claimed' RETURNING task_id", token, now + LEASE
    )
    if len(rows) != held:
        raise LeaseLost


async def overdue(db: Connection, action: Action, token: UUID, now: datetime) -> list[Claimed]:
    """Tasks that the coordinator should have a word about: those held under `token`, and now and then those that wait
    behind them. They count as told."""
    rows = await db.fetch(
        "UPDATE inbox SET told_at = $3 WHERE task_id IN ("
        " SELECT task_id FROM inbox WHERE action = $1 AND (state = 'claimed' AND token = $2 AND told_at <= $4"
        "                                                  OR state = 'queued' AND told_at <= $5)"
        " FOR UPDATE SKIP LOCKED) RETURNING task, traceparent",
        action.value, token, now, now - PROGRESS_EVERY, now - _STILL_QUEUED_EVERY,
    )  # fmt: skip
    return [_claimed(row) for row in rows]


async def finish(db: Connection, task: TaskIssued, report: TaskReported | None) -> None:
    """Done, in the transaction that renewed the lease; without a report where none can be vouched for."""
    await db.execute(
        "UPDATE inbox SET state = 'done', token = NULL, lease_until = NULL, report = $2 WHERE task_id = $1",
        task.task_id, report.model_dump(mode="json") if report else None,
    )  # fmt: skip


async def clear(db: Connection, now: datetime) -> None:
    """Drop finished tasks that the bus, too, has forgotten."""
    await db.execute("DELETE FROM inbox WHERE state = 'done' AND at < $1", now - RECOVERY_WINDOW)


def _claimed(row: Record) -> Claimed:
    return Claimed(TaskIssued.model_validate(row["task"]), row["traceparent"])

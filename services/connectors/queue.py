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
from contracts.topics import MessageType, Topic
from services.connectors.port import LeaseLost
from services.kit import outbox
from services.kit.outbox import Outgoing
from services.kit.postgres import Connection, notify

CHANNEL: Final = "inbox"
LEASE: Final = timedelta(seconds=20)
_KEPT: Final = timedelta(days=7)
"""A finished task stays for as long as it may be issued again."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task in the hands of one worker."""

    task: TaskIssued
    traceparent: str | None


def outgoing(report: TaskReported) -> Outgoing:
    """A report as a message; its id tells a repeated one from a new one."""
    id_ = f"{report.task_id}/{report.result}"
    return Outgoing(Topic.REPORTS, report.request_id, MessageType.TASK_REPORTED, id_, report)


async def accept(db: Connection, source: str, task: TaskIssued, traceparent: str | None, now: datetime) -> None:
    """Take a task in. One that is done already has its stored report sent again; one in hand changes nothing."""
    async with db.transaction():
        new = await db.fetchval(
            "INSERT INTO inbox (task_id, task, action, due_at, traceparent, at) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT DO NOTHING RETURNING true",
            task.task_id, task.model_dump(mode="json"), task.action.value, task.due_at, traceparent, now,
        )  # fmt: skip
        if new:
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
    return [Claimed(TaskIssued.model_validate(row["task"]), row["traceparent"]) for row in rows]


async def renew(db: Connection, token: UUID, held: int, now: datetime) -> None:
    """Hold on to all that was claimed. Raises `LeaseLost` when another worker has any of it."""
    rows = await db.fetch(
        "UPDATE inbox SET lease_until = $2 WHERE token = $1 AND state = 'claimed' RETURNING task_id", token, now + LEASE
    )
    if len(rows) != held:
        raise LeaseLost


async def finish(
    db: Connection, source: str, token: UUID, task: TaskIssued, report: TaskReported | None, traceparent: str,
    now: datetime,
) -> None:  # fmt: skip
    """Store and send a report, in the caller's transaction. Raises `LeaseLost` unless the task is still ours."""
    mine = await db.fetchval(
        "UPDATE inbox SET state = 'done', token = NULL, lease_until = NULL, report = $3"
        " WHERE task_id = $1 AND token = $2 RETURNING true",
        task.task_id, token, report.model_dump(mode="json") if report else None,
    )  # fmt: skip
    if not mine:
        raise LeaseLost
    if report:
        await outbox.put(db, source, [outgoing(report)], now, traceparent)


async def clear(db: Connection, now: datetime) -> None:
    """Drop finished tasks that nobody will ask about again."""
    await db.execute("DELETE FROM inbox WHERE state = 'done' AND at < $1", now - _KEPT)

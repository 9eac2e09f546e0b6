"""The topics, what each carries and how long it is kept. The file to read first.

A request's way: an internal system publishes `RequestSubmitted` to REQUESTS; the coordinator answers with
`TaskIssued` on TASKS, one for each store; the store's connector replies with `TaskReported` on REPORTS; whoever
wants to know how a request stands follows STATUS. Every message is keyed by the request id, so all that concerns one
request stays in order. No personal data travels after submission, and there only sealed.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final


class Topic(StrEnum):
    """Names on the bus."""

    REQUESTS = "letheia.requests.v1"
    TASKS = "letheia.tasks.v1"
    REPORTS = "letheia.reports.v1"
    STATUS = "letheia.status.v1"


class MessageType(StrEnum):
    """`ce_type` of each message."""

    REQUEST_SUBMITTED = "letheia.RequestSubmitted.v1"
    REQUEST_AMENDED = "letheia.RequestAmended.v1"
    TASK_ISSUED = "letheia.TaskIssued.v1"
    TASK_REPORTED = "letheia.TaskReported.v1"
    STATUS_CHANGED = "letheia.StatusChanged.v1"


RECOVERY_WINDOW: Final = timedelta(days=7)
"""How long a submission stays on the bus once it is stored, so that a database restored from a backup can catch up."""


@dataclass(frozen=True, slots=True)
class TopicPolicy:
    """How a topic is kept."""

    retention: timedelta | None
    """None: kept until deleted explicitly (REQUESTS, by DeleteRecords) or compacted (STATUS)."""
    compacted: bool = False
    broker_time: bool = False
    """True: `LogAppendTime`, so that the age of a signature is measured against a clock the publisher can't set."""


POLICIES: Final = {
    Topic.REQUESTS: TopicPolicy(retention=None, broker_time=True),
    Topic.TASKS: TopicPolicy(retention=RECOVERY_WINDOW),
    Topic.REPORTS: TopicPolicy(retention=RECOVERY_WINDOW),
    Topic.STATUS: TopicPolicy(retention=None, compacted=True),
}

TO_HEADER: Final = "letheia-to"
"""Header of `TaskIssued`: the store it is for, read before anything is decoded."""

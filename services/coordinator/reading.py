"""What a record says, before anything is asked of the database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from contracts.envelope import header
from contracts.reports import TaskReported
from contracts.topics import Topic
from services.coordinator.intake import Intake, OpenedAmendment, OpenedSubmission, Unusable, claimed_id
from services.kit.kafka import RawRecord
from services.kit.telemetry import log

UNPROCESSABLE: Final = "unprocessable"
"""The code of what failed in a way that nobody foresaw."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A report, and its body as it came, which is what its MAC covers."""

    report: TaskReported
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Read:
    """A record, and what it says."""

    record: RawRecord = field(repr=False)
    content: OpenedSubmission | OpenedAmendment | Reported | Unusable

    @property
    def request_id(self) -> UUID | None:
        """The request it is about, where that can be read."""
        match self.content:
            case OpenedSubmission(submission=submission):
                return submission.request_id
            case OpenedAmendment(amendment=amendment):
                return amendment.request_id
            case Reported(report=report):
                return report.request_id
            case Unusable():
                return self.content.request_id

    @property
    def unprocessable(self) -> bool:
        """True if reading or handling it failed in a way that nobody foresaw."""
        return isinstance(self.content, Unusable) and self.content.code == UNPROCESSABLE

    def given_up(self) -> "Read":
        """The same, after handling it failed."""
        return Read(self.record, Unusable(UNPROCESSABLE, self.request_id, header(self.record.headers, "ce_type")))


def read(intake: Intake, record: RawRecord) -> Read:
    """Open a record: slow, and outside any transaction. Never raises: that would stop the consumer at this record."""
    try:
        return Read(record, intake.open(record) if record.topic == Topic.REQUESTS else _report(record))
    except Unusable as unusable:
        return Read(record, unusable)
    except Exception as error:
        log("read_failed", error=error, topic=record.topic, offset=record.offset)
        return Read(record, Unusable(UNPROCESSABLE, claimed_id(record, None), header(record.headers, "ce_type")))


def _report(record: RawRecord) -> Reported:
    try:
        body = json.loads(record.value or b"")
        return Reported(TaskReported.read(body), body)
    except (ValueError, RecursionError):
        raise Unusable("undecodable", claimed_id(record, None), None) from None

"""From a record or a timer to a decision, inside one transaction. What only IO can tell is found out here."""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from contracts.envelope import header
from contracts.reports import TaskReported
from contracts.requests import Amendment
from contracts.sealing import derive, report_mac, seal_direct
from contracts.topics import Topic
from services.coordinator.intake import Intake, OpenedAmendment, OpenedSubmission, Unusable
from services.coordinator.placeholders import is_placeholder
from services.coordinator.saga.deadline import receipt_date
from services.coordinator.saga.decide import Message, decide
from services.coordinator.saga.messages import Amended, Claimed, Fired, Opened, Refused
from services.coordinator.store import Ledger
from services.coordinator.world import calendar_of, world_of
from services.kit.clock import Clock
from services.kit.dead_letters import dead_letter
from services.kit.inventory import Inventory
from services.kit.kafka import RawRecord
from services.kit.keys import Keyring
from services.kit.postgres import Connection
from services.kit.telemetry import Telemetry
from services.kit.vault import Vault, VaultIdentifier

CONSUMER: Final = "letheia.coordinator"
_A_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Read:
    """A record, and what it says."""

    record: RawRecord
    content: OpenedSubmission | OpenedAmendment | TaskReported | Unusable

    @property
    def request_id(self) -> UUID | None:
        """The request it is about, where that can be read."""
        match self.content:
            case OpenedSubmission(submission=submission):
                return submission.request_id
            case OpenedAmendment(amendment=amendment):
                return amendment.request_id
            case TaskReported() | Unusable():
                return self.content.request_id


class Handler:
    """Handles what reaches the coordinator."""

    def __init__(
        self, inventory: Inventory, intake: Intake, keyring: Keyring, vault: Vault, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._inventory = inventory
        self._intake = intake
        self._keyring = keyring
        self._vault = vault
        self._clock = clock
        self._telemetry = telemetry

    def read(self, record: RawRecord) -> Read:
        """Open a record: slow, and outside any transaction."""
        if record.topic == Topic.REQUESTS:
            try:
                return Read(record, self._intake.open(record))
            except Unusable as unusable:
                return Read(record, unusable)
        try:
            return Read(record, TaskReported.read(json.loads(record.value or b"")))
        except (ValueError, ValidationError):
            return Read(record, Unusable("undecodable", None, None))

    async def handle(self, db: Connection, batch: Sequence[Read]) -> None:
        """Handle a batch in the caller's transaction, in its order."""
        ledger = Ledger(db, self._vault, self._clock.now())
        ids = {read.request_id for read in batch} - {None}
        await ledger.lock(id_ for id_ in ids if id_)
        keys = await self._vault.keys(db, [id_ for id_ in ids if id_])
        for read in batch:
            attributes = {"messaging.system": "kafka", "dsr.request.id": str(read.request_id or "")}
            parent = header(read.record.headers, "traceparent")
            with self._telemetry.span("process", read.record.topic, traceparent=parent, attributes=attributes) as own:
                match read.content:
                    case OpenedSubmission():
                        await self._submission(ledger, read.content, read.record, own)
                    case OpenedAmendment():
                        await self._amendment(ledger, read.content, read.record, own)
                    case TaskReported() as report:
                        key = keys.get(report.request_id)
                        if key and hmac.compare_digest(report.mac, report_mac(report, key)):
                            await self._decide(ledger, report.request_id, report, own)
                        elif key:
                            await self._dead_letter(db, read.record, "forged_report", report.request_id)
                    case Unusable():
                        await self._unusable(ledger, read.content, read.record, own)

    async def fire(self, db: Connection, timers: Sequence[tuple[UUID, str, str]]) -> None:
        """Handle timers that are due, in the caller's transaction; each only once, whoever else saw it."""
        now = self._clock.now()
        ledger = Ledger(db, self._vault, now)
        await ledger.lock(request_id for request_id, _, _ in timers)
        rows = await db.fetch(
            "DELETE FROM timers t USING unnest($1::uuid[], $2::text[], $3::text[]) AS due (request_id, kind, key)"
            " WHERE (t.request_id, t.kind, t.key) = (due.request_id, due.kind, due.key) AND t.due_at <= $4"
            " RETURNING t.request_id, t.kind, t.key, t.traceparent",
            *[list(column) for column in zip(*timers, strict=True)], now,
        )  # fmt: skip
        for request_id, kind, key, traceparent in rows:
            attributes = {"dsr.request.id": str(request_id), "dsr.timer": kind}
            with self._telemetry.span("process", "timer", traceparent=traceparent, attributes=attributes) as own:
                if ledger.find(request_id):
                    await self._decide(ledger, request_id, Fired(kind, key), own)

    async def _decide(
        self, ledger: Ledger, request_id: UUID, message: Message, traceparent: str, digest: bytes | None = None
    ) -> None:
        row = ledger.find(request_id)
        controller = message.controller if isinstance(message, Opened) else (row.saga.controller if row else None)
        world = world_of(self._inventory, controller)
        decision = decide(row.saga if row else None, message, self._clock.now(), world)
        await ledger.write(decision, world, traceparent, digest)
        learnt = isinstance(message, TaskReported) and message.learnt.keys() & world.person_kinds
        if decision.claim:
            rivals = await ledger.rivals(request_id)
            await self._decide(ledger, request_id, Claimed(rivals), traceparent)
        elif learnt:
            await ledger.note_persons(request_id)

    async def _submission(self, ledger: Ledger, opened: OpenedSubmission, record: RawRecord, traceparent: str) -> None:
        submission = opened.submission
        digest = self._keyring.content_digest(opened.content)
        row = ledger.find(submission.request_id)
        if row and row.digest == digest:
            return
        if row is None or row.saga.right is None:
            if await self._over_limit(ledger.db, opened.publisher):
                refused = Unusable("over_daily_limit", submission.request_id, None)
                await self._unusable(ledger, refused, record, traceparent)
                return
            await self._keep_subject(ledger.db, opened)
        else:
            await self._dead_letter(ledger.db, record, "other_content", submission.request_id)
            digest = row.digest or digest
        await self._decide(ledger, submission.request_id, self._facts(opened), traceparent, digest)
        await self._early(ledger, submission.request_id, traceparent)

    async def _over_limit(self, db: Connection, publisher: str) -> bool:
        today: int = await db.fetchval(
            "SELECT count(*) FROM sagas WHERE publisher = $1 AND opened_at > $2", publisher, self._clock.now() - _A_DAY
        )
        return today >= self._inventory.limits.requests_per_publisher_per_day

    async def _keep_subject(self, db: Connection, opened: OpenedSubmission) -> None:
        submission = opened.submission
        key = await self._vault.create(db, submission.request_id, submission.controller)
        given = [
            VaultIdentifier(
                i.kind, i.value, "trusted", "publisher", contested="placeholder" if is_placeholder(i.value) else None
            )
            for i in submission.identifiers
        ]
        await self._vault.add(db, submission.request_id, submission.controller, key, given)

    def _facts(self, opened: OpenedSubmission) -> Opened:
        submission, rules = opened.submission, self._inventory.publishers[opened.publisher]
        controller = self._inventory.controllers[submission.controller]
        persons = world_of(self._inventory, submission.controller).person_kinds
        return Opened(
            request_id=submission.request_id,
            right=submission.right,
            controller=submission.controller,
            role=controller.role,
            publisher=opened.publisher,
            received_on=submission.received_on,
            export_first=submission.export_first,
            identity_verified=submission.identity.verified,
            auto_approve=rules.approves_itself(submission.right),
            term_days=controller.term_days,
            persons=len({(i.kind, i.value) for i in submission.identifiers if i.kind in persons}),
            placeholder=any(is_placeholder(i.value) for i in submission.identifiers),
        )

    async def _amendment(self, ledger: Ledger, opened: OpenedAmendment, record: RawRecord, traceparent: str) -> None:
        row = ledger.find(opened.amendment.request_id)
        if row is None:
            await self._wait(ledger.db, opened.amendment.request_id, record)
            return
        if row.saga.publisher not in (opened.publisher, None) and not self._is_ours(opened.publisher):
            await self._dead_letter(ledger.db, record, "amendment_not_allowed", opened.amendment.request_id)
            return
        await self._amend(ledger, opened.amendment, traceparent)

    def _is_ours(self, publisher: str) -> bool:
        """The console decides for the DPO on every request; another publisher only on its own."""
        return self._inventory.publishers[publisher].amendments == "all"

    async def _amend(self, ledger: Ledger, amendment: Amendment, traceparent: str) -> None:
        note_hash = None
        if amendment.note is not None:
            key = await self._vault.create_key(ledger.db, amendment.request_id, "record")
            note = amendment.note.encode()
            note_hash = hmac.new(derive(key, "note"), note, hashlib.sha256).hexdigest()
            await ledger.db.execute(
                "INSERT INTO notes (request_id, decision_id, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                amendment.request_id, amendment.decision_id, seal_direct(note, key),
            )  # fmt: skip
        amended = Amended(amendment.model_copy(update={"note": None}), note_hash)
        await self._decide(ledger, amendment.request_id, amended, traceparent)

    async def _wait(self, db: Connection, request_id: UUID, record: RawRecord) -> None:
        """An amendment that came before its request waits for it, sealed as it came."""
        kept: dict[str, Any] = asdict(record) | {
            "at": record.at.isoformat(),
            "key": (record.key or b"").decode(errors="replace"),
            "value": (record.value or b"").decode(),
            "headers": [[name, value.decode(errors="replace")] for name, value in record.headers],
        }
        await db.execute(
            "INSERT INTO early (request_id, digest, record, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            request_id, hashlib.sha256(record.value or b"").digest(), kept, self._clock.now(),
        )  # fmt: skip

    async def _early(self, ledger: Ledger, request_id: UUID, traceparent: str) -> None:
        rows = await ledger.db.fetch("DELETE FROM early WHERE request_id = $1 RETURNING record, at", request_id)
        for row in sorted(rows, key=lambda row: row["at"]):
            kept = row["record"]
            record = RawRecord(
                kept["topic"], kept["partition"], kept["offset"], datetime.fromisoformat(kept["at"]),
                kept["key"].encode(), kept["value"].encode(),
                tuple((name, value.encode()) for name, value in kept["headers"]),
            )  # fmt: skip
            content = self.read(record).content
            if isinstance(content, OpenedAmendment):
                await self._amendment(ledger, content, record, traceparent)

    async def _unusable(self, ledger: Ledger, unusable: Unusable, record: RawRecord, traceparent: str) -> None:
        """A dead letter always; a saga that a person must look at where the id of a submission can be read."""
        await self._dead_letter(ledger.db, record, unusable.code, unusable.request_id)
        known = unusable.request_id and ledger.find(unusable.request_id)
        if unusable.request_id and (known or unusable.submission) and record.topic == Topic.REQUESTS:
            received = receipt_date(record.at, calendar_of(self._inventory, None))
            refused = Refused(unusable.request_id, unusable.code, received)
            await self._decide(ledger, unusable.request_id, refused, traceparent)

    async def _dead_letter(self, db: Connection, record: RawRecord, reason: str, request_id: UUID | None) -> None:
        await dead_letter(db, self._keyring, CONSUMER, record, reason, request_id, self._clock.now())

    async def give_up(self, db: Connection, records: Iterable[RawRecord]) -> None:
        """What could not be handled at all becomes a dead letter."""
        for record in records:
            await self._dead_letter(db, record, "unprocessable", None)

"""From a record or a timer to a decision, inside one transaction. What only IO can tell is found out here."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from joserfc.jwk import OctKey

from contracts.envelope import header
from contracts.envelope import key as key_of
from contracts.reports import TaskReported
from contracts.requests import Amendment, DecisionKind
from contracts.sealing import derive, is_genuine, seal_direct
from contracts.status import Phase
from contracts.topics import MessageType, Topic
from services.coordinator.intake import Intake, OpenedAmendment, OpenedSubmission, Unusable
from services.coordinator.placeholders import is_placeholder
from services.coordinator.reading import UNPROCESSABLE, Read, Reported, read
from services.coordinator.saga.deadline import receipt_date
from services.coordinator.saga.decide import Message, decide
from services.coordinator.saga.messages import Amended, Claimed, Fired, Opened, Refused
from services.coordinator.store import Ledger, Row
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
Due = tuple[UUID, str, str]
"""A timer: its request, kind and key."""

_WHILE_UNREAD: Final = (DecisionKind.REJECT, DecisionKind.INFORM)
"""What a person may decide on a submission that nobody could read; other decisions wait for one that can be read."""


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
        """Open a record; see `reading.read`."""
        return read(self._intake, record)

    async def handle(self, db: Connection, batch: Sequence[Read]) -> None:
        """Handle a batch in the caller's transaction, in its order."""
        ledger = Ledger(db, self._vault, self._clock.now())
        ids = {each.request_id for each in batch if each.request_id}
        await ledger.lock(ids)
        keys = await self._vault.keys(db, ids)
        for each in batch:
            record, content = each.record, each.content
            attributes = {"messaging.system": "kafka", "dsr.request.id": str(each.request_id or "")}
            parent = header(record.headers, "traceparent")
            with self._telemetry.span("process", record.topic, traceparent=parent, attributes=attributes) as own:
                match content:
                    case OpenedSubmission():
                        await self._submission(ledger, content, record, own)
                    case OpenedAmendment():
                        await self._amendment(ledger, content, record, own)
                    case Reported(report=report):
                        await self._reported(ledger, content, record, keys.get(report.request_id), own)
                    case Unusable():
                        await self._unusable(ledger, content, record, own)

    async def fire(self, db: Connection, timers: Sequence[Due]) -> None:
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
        before = row.saga if row else None
        named = message.controller if isinstance(message, Opened) else None
        world = world_of(self._inventory, (before and before.controller) or named)
        decision = decide(before, message, self._clock.now(), world)
        await ledger.write(decision, world, traceparent, digest)
        begins = decision.saga.phase is Phase.DISCOVERING and not (before and before.phase is Phase.DISCOVERING)
        if decision.claim:
            rivals = await ledger.rivals(request_id)
            await self._decide(ledger, request_id, Claimed(rivals), traceparent)
        elif begins or (isinstance(message, TaskReported) and message.learnt.keys() & world.person_kinds):
            await ledger.note_persons(request_id)

    async def _reported(
        self, ledger: Ledger, reported: Reported, record: RawRecord, subject_key: OctKey | None, traceparent: str
    ) -> None:
        """Only who holds the subject's key is believed. Once it is destroyed nobody can be, nor needs to."""
        request_id = reported.report.request_id
        row = ledger.find(request_id)
        if row is None:
            await self._dead_letter(ledger.db, record, "unknown_request", request_id)
        elif row.saga.open and subject_key and is_genuine(reported.body, subject_key):
            await self._decide(ledger, request_id, reported.report, traceparent)
        elif row.saga.open:
            await self._dead_letter(ledger.db, record, "forged_report", request_id)

    async def _submission(self, ledger: Ledger, opened: OpenedSubmission, record: RawRecord, traceparent: str) -> None:
        submission = opened.submission
        digest = self._keyring.content_digest(opened.content)
        row = ledger.find(submission.request_id)
        if row and row.digest == digest:
            return
        if row is None or _unread(row):
            if await self._over_limit(ledger.db, opened.publisher):
                refused = Unusable("over_daily_limit", submission.request_id, None)
                await self._unusable(ledger, refused, record, traceparent)
                return
            await self._keep_subject(ledger.db, opened)
        elif await self._dead_letter(ledger.db, record, "other_content", submission.request_id):
            digest = row.digest or digest
        else:
            return
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
        amendment, ours = opened.amendment, self._is_ours(opened.publisher)
        row = ledger.find(amendment.request_id)
        if row is None or (_unread(row) and not (ours and amendment.decision in _WHILE_UNREAD)):
            await self._wait(ledger.db, amendment.request_id, record)
        elif ours or row.saga.publisher == opened.publisher:
            await self._amend(ledger, amendment, traceparent)
        else:
            await self._dead_letter(ledger.db, record, "amendment_not_allowed", amendment.request_id)

    def _is_ours(self, publisher: str) -> bool:
        """The console decides for the DPO on every request; another publisher only on its own."""
        return self._inventory.publishers[publisher].amendments == "all"

    async def _amend(self, ledger: Ledger, amendment: Amendment, traceparent: str) -> None:
        note_hash = None
        if amendment.note is not None:
            record_key = await self._vault.create_key(ledger.db, amendment.request_id, "record")
            note = amendment.note.encode()
            note_hash = hmac.new(derive(record_key, "note"), note, hashlib.sha256).hexdigest()
            await ledger.db.execute(
                "INSERT INTO notes (request_id, decision_id, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                amendment.request_id, amendment.decision_id, seal_direct(note, record_key),
            )  # fmt: skip
        amended = Amended(amendment.model_copy(update={"note": None}), note_hash)
        await self._decide(ledger, amendment.request_id, amended, traceparent)

    async def _wait(self, db: Connection, request_id: UUID, record: RawRecord) -> None:
        """An amendment that came before its request waits for it, sealed as it came."""
        kept = {
            "partition": record.partition,
            "offset": record.offset,
            "at": record.at.isoformat(),
            "value": (record.value or b"").hex(),
        }
        await db.execute(
            "INSERT INTO early (request_id, digest, record, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            request_id, hashlib.sha256(record.value or b"").digest(), kept, self._clock.now(),
        )  # fmt: skip

    async def _early(self, ledger: Ledger, request_id: UUID, traceparent: str) -> None:
        rows = await ledger.db.fetch("DELETE FROM early WHERE request_id = $1 RETURNING record", request_id)
        headers = (("ce_type", MessageType.REQUEST_AMENDED.encode()),)
        for kept in sorted((row["record"] for row in rows), key=lambda kept: (kept["at"], kept["offset"])):
            at, value = datetime.fromisoformat(kept["at"]), bytes.fromhex(kept["value"])
            place = Topic.REQUESTS, kept["partition"], kept["offset"]
            record = RawRecord(*place, at, key_of(request_id), value, headers)
            match self.read(record).content:
                case OpenedAmendment() as opened:
                    await self._amendment(ledger, opened, record, traceparent)
                case Unusable() as unusable:  # the inventory has changed since
                    await self._unusable(ledger, unusable, record, traceparent)

    async def _unusable(self, ledger: Ledger, unusable: Unusable, record: RawRecord, traceparent: str) -> None:
        """A dead letter always; a saga that a person must look at where the id of a submission can be read.

        Where there is a saga, the letter tells a message that is delivered again, which is not noted again.
        """
        first = await self._dead_letter(ledger.db, record, unusable.code, unusable.request_id)
        if unusable.request_id is None or record.topic != Topic.REQUESTS:
            return
        if first if ledger.find(unusable.request_id) else unusable.submission:
            received = receipt_date(record.at, calendar_of(self._inventory, None))
            refused = Refused(unusable.request_id, unusable.code, received)
            await self._decide(ledger, unusable.request_id, refused, traceparent)

    async def _dead_letter(self, db: Connection, record: RawRecord, reason: str, request_id: UUID | None) -> bool:
        return await dead_letter(db, self._keyring, CONSUMER, record, reason, request_id, self._clock.now())

    async def bury(self, db: Connection, each: Read) -> None:
        """What could not be handled at all becomes a dead letter, and no more."""
        await self._dead_letter(db, each.record, UNPROCESSABLE, each.request_id)


def _unread(row: Row) -> bool:
    """True if nothing but submissions that could not be read came under this id, and nobody rejected it."""
    return row.saga.open and row.saga.right is None

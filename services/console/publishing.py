"""What the console says on the bus: requests and decisions, signed as publisher `console`, through its outbox."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from contracts.requests import Amendment, SealedMessage, Submission
from contracts.sealing import Key, seal
from contracts.topics import MessageType, Topic
from services.console.access import Principal
from services.console.store import PUBLISHER, remember_submission
from services.kit import outbox
from services.kit.clock import Clock
from services.kit.postgres import Pool
from services.kit.telemetry import SpanKind, Telemetry


@dataclass(frozen=True, slots=True)
class Publisher:
    """Hands messages to the outbox: once a call returns, they will be sent, whatever falls over."""

    pool: Pool
    signing_key: Key
    receiving_key: Key
    clock: Clock
    new_id: Callable[[], UUID]
    telemetry: Telemetry

    async def submit(self, submission: Submission, principal: Principal, traceparent: str | None) -> None:
        """Sign and seal a request, and remember for whom."""
        await self._put(self._sealed(submission), MessageType.REQUEST_SUBMITTED, traceparent, submitter=principal)

    async def pass_on(self, message: SealedMessage, traceparent: str | None) -> None:
        """A request that a publisher signed and sealed itself."""
        await self._put(message, MessageType.REQUEST_SUBMITTED, traceparent)

    async def amend(self, amendment: Amendment, traceparent: str | None) -> None:
        """Sign and seal a decision."""
        await self._put(self._sealed(amendment), MessageType.REQUEST_AMENDED, traceparent)

    def _sealed(self, payload: Submission | Amendment) -> SealedMessage:
        sealed = seal(payload, self.signing_key, self.receiving_key)
        return SealedMessage(schema_version=1, request_id=payload.request_id, sealed=sealed)

    async def _put(
        self, body: SealedMessage, type_: MessageType, traceparent: str | None, submitter: Principal | None = None
    ) -> None:
        now = self.clock.now()
        message = outbox.Outgoing(Topic.REQUESTS, body.request_id, type_, str(self.new_id()), body)
        span = self.telemetry.span("send", Topic.REQUESTS, traceparent=traceparent, kind=SpanKind.PRODUCER)
        with span as own:
            async with self.pool.acquire() as db, db.transaction():
                if submitter is not None:
                    await remember_submission(db, body.request_id, submitter, now)
                await outbox.put(db, PUBLISHER, [message], now, own or None)

"""The REST API under `/api/v1`. The file to read first: every endpoint, and which deed of `access` it takes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from contracts.requests import Amendment, SealedMessage, Submission
from contracts.status import Phase, StatusDocument
from services.console import rules
from services.console.access import Deed, Principal
from services.console.bundles import Bundles
from services.console.documents import (
    Accepted,
    AnyRequest,
    DeadLetterPage,
    DecisionAccepted,
    Journal,
    NewDecision,
    RequestPage,
)
from services.console.problems import Problem
from services.console.publishing import Publisher
from services.console.store import Filters, Store
from services.kit.clock import Clock
from services.kit.inventory import Inventory
from services.kit.keys import Keyring

PREFIX: Final = "/api/v1"
_LOOK_EVERY_S: Final = 0.5
_SIGN_OF_LIFE_EVERY: Final = 20
"""Looks without news, after which a comment keeps proxies from closing a stream."""


@dataclass(frozen=True, slots=True)
class Console:
    """What the endpoints work with."""

    store: Store
    publisher: Publisher
    bundles: Bundles
    inventory: Inventory
    keyring: Keyring
    clock: Clock
    new_id: Callable[[], UUID]
    principals: Sequence[Principal]
    jwks: dict[str, Any]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the service ends: streams end with it."""


def _console(request: Request) -> Console:
    console: Console = request.app.state.console
    return console


def _who_may(deed: Deed) -> Any:
    def check(request: Request) -> Principal:
        principal: Principal = request.state.principal
        if not principal.may(deed):
            raise Problem(403, "forbidden", f"The role {principal.role.value} may not {deed.value}.")
        return principal

    return Depends(check)


Parts = Annotated[Console, Depends(_console)]
Submitter = Annotated[Principal, _who_may(Deed.SUBMIT)]
Reader = Annotated[Principal, _who_may(Deed.READ)]
Decider = Annotated[Principal, _who_may(Deed.DECIDE)]
Fetcher = Annotated[Principal, _who_may(Deed.FETCH_BUNDLE)]
LetterReader = Annotated[Principal, _who_may(Deed.READ_DEAD_LETTERS)]
Limit = Annotated[int, Query(ge=1, le=200)]

router = APIRouter(prefix=PREFIX)


@router.post("/requests", status_code=202)
async def submit(
    body: AnyRequest, parts: Parts, principal: Submitter, request: Request, dry_run: bool = False
) -> Accepted:
    """Take a request: one that a publisher signed and sealed is passed on unopened, a plain one the console signs."""
    traceparent = request.headers.get("traceparent")
    if isinstance(body, SealedMessage):
        if not dry_run:
            await parts.publisher.pass_on(body, traceparent)
        return _accepted(body.request_id, None)
    submission = rules.completed(body, principal, parts.inventory, parts.clock.now(), parts.new_id())
    known = await parts.store.digest(submission.request_id)
    if known not in (None, parts.keyring.content_digest(submission.content())):
        raise Problem(409, "other_content", "Another request stands under this id: submit this one under a new id.")
    if not dry_run:
        await parts.publisher.submit(submission, principal, traceparent)
    return _accepted(submission.request_id, submission)


def _accepted(request_id: UUID, submission: Submission | None) -> Accepted:
    return Accepted(
        request_id=request_id,
        controller=submission and submission.controller,
        received_on=submission and submission.received_on,
        status_url=f"{PREFIX}/requests/{request_id}",
    )


@router.get("/requests")
async def list_requests(
    parts: Parts,
    principal: Reader,
    phase: Phase | None = None,
    due_within: Annotated[int | None, Query(ge=0, le=10_000, description="days")] = None,
    attention: bool | None = None,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 50,
) -> RequestPage:
    """Requests, nearest deadline first; closed ones come last, and are left out by `due_within`."""
    now = parts.clock.now()
    due_by = None
    if due_within is not None:
        latest = max(rules.today(parts.inventory, controller, now) for controller in parts.inventory.controllers)
        due_by = latest + timedelta(days=due_within)
    return await parts.store.page(principal, Filters(phase, due_by, attention), cursor, limit, now)


@router.get("/requests/{request_id}")
async def status(request_id: UUID, parts: Parts, principal: Reader) -> StatusDocument:
    """How a request stands."""
    return await parts.store.status(principal, request_id, parts.clock.now())


@router.get("/requests/{request_id}/journal")
async def journal(request_id: UUID, parts: Parts, principal: Reader) -> Journal:
    """Every transition with time and reason."""
    await parts.store.status(principal, request_id, parts.clock.now())
    return Journal(request_id=request_id, entries=await parts.store.journal(request_id))


@router.get("/requests/{request_id}/stream")
async def stream(request_id: UUID, parts: Parts, principal: Reader) -> StreamingResponse:
    """Server-sent events `status`, each a status document, from now until the request closes."""
    first = await parts.store.status(principal, request_id, parts.clock.now())
    events = _events(first, parts, principal)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(status: StatusDocument, parts: Console, principal: Principal) -> AsyncIterator[str]:
    yield _event(status)
    silent = 0
    while status.phase is not Phase.CLOSED and not parts.stopping.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(parts.stopping.wait(), _LOOK_EVERY_S)
        newer = await parts.store.status(principal, status.request_id, parts.clock.now())
        silent += 1
        if newer.revision > status.revision:
            status, silent = newer, 0
            yield _event(status)
        elif silent % _SIGN_OF_LIFE_EVERY == 0:
            yield ":\n\n"


def _event(status: StatusDocument) -> str:
    return f"event: status\nid: {status.revision}\ndata: {status.model_dump_json()}\n\n"


@router.post("/requests/{request_id}/decisions", status_code=202)
async def decide(
    request_id: UUID, body: NewDecision, parts: Parts, principal: Decider, request: Request
) -> DecisionAccepted:
    """Hand a decision on, if the request offers it as it stands; 409 names what it offers."""
    now = parts.clock.now()
    rules.check_decision(body.decision, await parts.store.status(principal, request_id, now), principal)
    fields = body.model_dump(exclude={"decision_id"})
    amendment = Amendment(
        request_id=request_id,
        decision_id=body.decision_id or parts.new_id(),
        decided_by=principal.principal,
        issued_at=now,
        **fields,
    )
    await parts.publisher.amend(amendment, request.headers.get("traceparent"))
    return DecisionAccepted(request_id=request_id, decision_id=amendment.decision_id)


@router.get("/requests/{request_id}/bundle")
async def bundle(request_id: UUID, parts: Parts, principal: Fetcher) -> StreamingResponse:
    """The portable copy as a ZIP. It counts as fetched once its last byte was taken."""
    now = parts.clock.now()
    archive = await parts.bundles.open(await parts.store.status(principal, request_id, now), now)

    async def content() -> AsyncIterator[bytes]:
        async for chunk in archive:
            yield chunk
        await parts.store.fetched(request_id, principal, parts.clock.now())

    name = {"Content-Disposition": f'attachment; filename="{request_id}.zip"', "Cache-Control": "no-store"}
    return StreamingResponse(content(), media_type="application/zip", headers=name)


@router.get("/dead-letters")
async def dead_letters(
    parts: Parts, principal: LetterReader, cursor: Annotated[int | None, Query(ge=1)] = None, limit: Limit = 50
) -> DeadLetterPage:
    """What could not be handled: where it came from and why, never what it says."""
    return await parts.store.dead_letters(cursor, limit)

"""Follows a request until it closes, over restarts of the console."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from contracts.status import Outcome, Phase, StatusDocument
from services.cli.client import Client
from services.cli.failures import Failure, NotFound, TimedOut, Unreachable

Seen = Callable[[StatusDocument], None]

_PATIENCE_S: Final = 15.0
"""How long a request just published may be unknown yet, and the console away."""
_AGAIN_S: Final = 0.3


async def follow(client: Client, request_id: str, seen: Seen, within_s: float | None = None) -> StatusDocument:
    """Call `seen` with each news; the last of them, once closed.

    Raises `NotFound`, `Unreachable`, or `TimedOut` when it is still open after `within_s` seconds.
    """
    try:
        return await asyncio.wait_for(_until_closed(client, request_id, seen), within_s)
    except TimeoutError:
        raise TimedOut(f"request {request_id} did not close within {within_s} s: `letheia watch` goes on") from None


def check_outcome(document: StatusDocument) -> None:
    """Raises `Failure` for a request that was rejected."""
    if document.outcome is Outcome.REJECTED:
        raise Failure(f"request {document.request_id} was rejected: `letheia journal` says why")


async def _until_closed(client: Client, request_id: str, seen: Seen) -> StatusDocument:
    revision, heard_at = -1, time.monotonic()
    while True:
        try:
            async for event in client.events(f"/requests/{request_id}/stream"):
                heard_at = time.monotonic()
                document = StatusDocument.read(event)
                if document.revision > revision:
                    revision = document.revision
                    seen(document)
                if document.phase is Phase.CLOSED:
                    return document
        except (NotFound, Unreachable):
            if time.monotonic() - heard_at > _PATIENCE_S:
                raise
        await asyncio.sleep(_AGAIN_S)

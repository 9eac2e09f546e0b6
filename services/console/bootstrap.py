"""Ties the console together: what it reads, where it connects, how it ends."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from os import environ
from typing import Any, Final

import uvicorn
from uuid_utils.compat import uuid7

from services.console.access import load_principals
from services.console.api import Console
from services.console.app import build_app
from services.console.publishing import Publisher
from services.console.store import Store
from services.kit.clock import SystemClock
from services.kit.errors import LetheiaError
from services.kit.inventory import load_inventory
from services.kit.kafka import open_producer
from services.kit.keys import Keyring, key_of, private_key, public_key_set
from services.kit.outbox import relay
from services.kit.postgres import Pool, open_pool
from services.kit.service import keep
from services.kit.settings import Settings
from services.kit.telemetry import Telemetry, start_logging

_END_WITHIN_S: Final = 5
"""Calls still running get this long to end."""


class _Server(uvicorn.Server):
    """Leaves the signals to `run`, which has a relay to end as well."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises `LetheiaError` or `InventoryError` when something it needs is missing."""
    start_logging()
    telemetry = Telemetry("console", settings.spans)
    url = settings.database_url.get_secret_value()

    async def send() -> None:
        async with open_producer(settings.kafka) as producer:
            await relay(url, producer, telemetry)

    try:
        async with open_pool(url) as pool, _in_background(keep("outbox", send)):
            await _serve(_console(settings, pool, telemetry), settings.port)
    finally:
        telemetry.close()


def _console(settings: Settings, pool: Pool, telemetry: Telemetry) -> Console:
    if settings.tokens is None:
        raise LetheiaError("LETHEIA_TOKENS is not set: name the file that lists the console's principals")
    inventory = load_inventory(settings.inventory, environ)
    jwks = public_key_set(settings.keys)
    clock = SystemClock()
    signing_key = private_key(settings.keys / "console.jwk")
    return Console(
        store=Store(pool, inventory),
        publisher=Publisher(pool, signing_key, key_of(jwks["keys"][0]), clock, uuid7, telemetry),
        inventory=inventory,
        keyring=Keyring.load(settings.keys),
        clock=clock,
        new_id=uuid7,
        principals=load_principals(settings.tokens),
        jwks=jwks,
    )


async def _serve(console: Console, port: int) -> None:
    config = uvicorn.Config(
        build_app(console), host="127.0.0.1", port=port, log_config=None, access_log=False, server_header=False,
        lifespan="off", timeout_graceful_shutdown=_END_WITHIN_S,
    )  # fmt: skip
    server = _Server(config)

    def end() -> None:
        console.stopping.set()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    await server.serve()


@asynccontextmanager
async def _in_background(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

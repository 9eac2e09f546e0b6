"""Ties the console together: what it reads, where it connects, how it ends."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from typing import Final

import uvicorn
from uuid_utils.compat import uuid7

from services.console.access import load_principals
from services.console.api import Console
from services.console.app import build_app
from services.console.bundles import Bundles
from services.console.publishing import Publisher
from services.console.store import Store
from services.kit import service
from services.kit.clock import SystemClock
from services.kit.errors import LetheiaError
from services.kit.inventory import Inventory, KindClass, load_inventory
from services.kit.kafka import open_producer
from services.kit.keys import Keyring, key_of, private_key, public_key_set
from services.kit.objects import Access, Bucket, open_bucket
from services.kit.outbox import relay
from services.kit.postgres import Pool, open_pool
from services.kit.settings import Settings
from services.kit.telemetry import Telemetry, start_logging
from services.kit.vault import Vault

_END_WITHIN_S: Final = 5
"""Calls still running get this long to end."""


class _Server(uvicorn.Server):
    """Leaves the signals to `service.run`, which has a relay to end as well."""

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
        inventory = load_inventory(settings.inventory, environ)
        opened = open_bucket(inventory.bundles.bucket, Access.of(settings))
        async with open_pool(url) as pool, opened as bucket:
            console = _console(settings, inventory, pool, bucket, telemetry)
            server = _Server(_config(console, settings.port))

            async def ready() -> list[str]:
                missing = await console.store.missing()
                return missing if server.started else [*missing, "api"]

            loops = {"outbox": send, "api": lambda: _serve(server, console.stopping)}
            await service.run(loops, settings.health_port, ready)
    finally:
        telemetry.close()


async def _serve(server: uvicorn.Server, stopping: asyncio.Event) -> None:
    """Serve until cancelled; then let the calls that are running end."""
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(serving)
    finally:
        stopping.set()
        server.should_exit = True
        await serving


def _config(console: Console, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(console),
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_END_WITHIN_S,
    )


def _console(settings: Settings, inventory: Inventory, pool: Pool, bucket: Bucket, telemetry: Telemetry) -> Console:
    if settings.tokens is None:
        raise LetheiaError("LETHEIA_TOKENS is not set: name the file that lists the console's principals")
    jwks = public_key_set(settings.keys)
    clock, keyring = SystemClock(), Keyring.load(settings.keys)
    vault = Vault(keyring, inventory.kinds_of(KindClass.PERSON), inventory.kinds_of(KindClass.RECORD))
    signing_key = private_key(settings.keys / "console.jwk")
    return Console(
        store=Store(pool, inventory),
        publisher=Publisher(pool, signing_key, key_of(jwks["keys"][0]), clock, uuid7, telemetry),
        bundles=Bundles(pool, vault, bucket, inventory),
        inventory=inventory,
        keyring=keyring,
        clock=clock,
        new_id=uuid7,
        principals=load_principals(settings.tokens),
        jwks=jwks,
    )

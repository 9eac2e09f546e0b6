"""Puts one store's connector service together."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from importlib import import_module
from typing import Final, cast
from uuid import UUID

from joserfc.jwk import OctKey
from uuid_utils.compat import uuid7

from contracts.tasks import Action
from services.connectors import queue
from services.connectors.inbox import Inbox
from services.connectors.port import BundleWriter, Connect, StoreConnector, StoreFailure
from services.connectors.storage import RequestBundle
from services.connectors.worker import Tools, Worker
from services.kit.clock import Clock, SystemClock
from services.kit.errors import LetheiaError
from services.kit.inventory import Inventory, KindClass, load_inventory
from services.kit.kafka import open_producer
from services.kit.keys import Keyring
from services.kit.objects import Access, open_bucket
from services.kit.outbox import relay
from services.kit.postgres import UNREACHABLE, Pool, open_pool
from services.kit.service import Loop, run
from services.kit.settings import Settings
from services.kit.telemetry import Telemetry, log, start_logging
from services.kit.vault import Vault

_AN_HOUR_S: Final = 3600
_CHECK_AGAIN_S: Final = 5.0


async def main(store: str, settings: Settings, environ: dict[str, str]) -> None:
    """Run until told to stop. Raises `LetheiaError` when the inventory, or what is installed, has no such store."""
    start_logging()
    clock, telemetry = SystemClock(), Telemetry(f"connector-{store}", settings.spans)
    inventory = load_inventory(settings.inventory, environ)
    connect = find_connector(store, inventory)
    keyring = Keyring.load(settings.keys)
    vault = Vault(keyring, inventory.kinds_of(KindClass.PERSON), inventory.kinds_of(KindClass.RECORD))
    url = settings.database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(url))
        producer = await stack.enter_async_context(open_producer(settings.kafka))
        bundles = await stack.enter_async_context(open_bucket(inventory.bundles.bucket, Access.of(settings)))
        connector = await stack.enter_async_context(connect(store, inventory, settings, clock))

        def make_bundle(key: OctKey, request_id: UUID, round_: int) -> BundleWriter:
            return RequestBundle(bundles, key, request_id, round_, store, uuid7)

        tools = Tools(store, connector, make_bundle, inventory, vault, pool, url, clock, telemetry, uuid7)
        inbox = Inbox(store, settings.kafka, pool, keyring, clock)
        usable = asyncio.Event()

        async def ready() -> list[str]:
            missing = [name for name, there in (("kafka", inbox.ready()), (store, usable.is_set())) if not there]
            try:
                await pool.execute("SELECT 1")
            except UNREACHABLE:
                missing.append("postgres")
            return missing

        loops: dict[str, Loop] = {action.value: Worker(tools, action).loop for action in Action}
        loops |= {
            "inbox": inbox.loop,
            "watch": inbox.watch,
            "check": partial(_check, store, connector, usable),
            "relay": partial(relay, url, producer, telemetry),
            "housekeeping": partial(_keep_house, pool, clock),
        }
        await run(loops, settings.health_port, ready)
    telemetry.close()


def find_connector(store: str, inventory: Inventory) -> Connect:
    """The connector of a store, and no other's driver. Raises `LetheiaError`."""
    if store not in inventory.stores:
        raise LetheiaError(f"the inventory has no store {store!r}: name one of {', '.join(inventory.stores)}")
    name = inventory.stores[store].connector
    try:
        return cast(Connect, import_module(f"services.connectors.{name}").connect)
    except ImportError as error:
        raise LetheiaError(f"connector {name} of store {store} lacks module {error.name}: install it") from error


async def _check(store: str, connector: StoreConnector, usable: asyncio.Event) -> None:
    """Until the store can be worked with, which it is from then on: each task says what it meets."""
    while not usable.is_set():
        try:
            health = await connector.check()
        except StoreFailure as failure:
            log("store_unusable", store=store, code=failure.code, again_in_s=_CHECK_AGAIN_S)
            await asyncio.sleep(_CHECK_AGAIN_S)
            continue
        for problem in health.problems:
            log("store_problem", store=store, where=problem.where, what=problem.what, fix=problem.fix)
        usable.set()
    await asyncio.Event().wait()


async def _keep_house(pool: Pool, clock: Clock) -> None:
    while True:
        async with pool.acquire() as db:
            await queue.clear(db, clock.now())
        await asyncio.sleep(_AN_HOUR_S)

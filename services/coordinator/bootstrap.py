"""Puts the coordinator together. Everything it talks to is handed in from here."""

from functools import partial

from services.coordinator.consumer import Intaker
from services.coordinator.handler import Handler
from services.coordinator.housekeeping import keep_house
from services.coordinator.intake import Intake
from services.coordinator.timers import fire_timers
from services.kit.clock import SystemClock
from services.kit.inventory import KindClass, load_inventory, publisher_keys
from services.kit.kafka import open_producer
from services.kit.keys import Keyring, receiving_keys
from services.kit.objects import Access, open_bucket
from services.kit.outbox import relay
from services.kit.postgres import UNREACHABLE, open_pool
from services.kit.service import Loop, run
from services.kit.settings import Settings
from services.kit.telemetry import Telemetry, start_logging
from services.kit.vault import Vault


async def main(settings: Settings, environ: dict[str, str]) -> None:
    """Run until told to stop."""
    start_logging()
    clock, telemetry = SystemClock(), Telemetry("coordinator", settings.spans)
    inventory = load_inventory(settings.inventory, environ)
    keyring = Keyring.load(settings.keys)
    intake = Intake(inventory, receiving_keys(settings.keys), publisher_keys(inventory, settings.inventory))
    vault = Vault(keyring, inventory.kinds_of(KindClass.PERSON), inventory.kinds_of(KindClass.RECORD))
    handler = Handler(inventory, intake, keyring, vault, clock, telemetry)
    url = settings.database_url.get_secret_value()
    async with (
        open_pool(url) as pool,
        open_producer(settings.kafka) as producer,
        open_bucket(inventory.bundles.bucket, Access.of(settings)) as bundles,
    ):
        intaker = Intaker(settings.kafka, pool, handler)

        async def ready() -> list[str]:
            missing = [] if intaker.ready() else ["kafka"]
            try:
                await pool.execute("SELECT 1")
            except UNREACHABLE:
                missing.append("postgres")
            return missing

        loops: dict[str, Loop] = {
            "consumer": intaker.loop,
            "timers": partial(fire_timers, pool, handler, clock),
            "relay": partial(relay, url, producer, telemetry),
            "housekeeping": partial(keep_house, settings.kafka, pool, bundles, clock),
        }
        await run(loops, settings.health_port, ready)
    telemetry.close()

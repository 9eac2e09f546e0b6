"""`python -m deploy.migrate`: roles, schemas and topics, made or brought up to date. Safe to run again, and at once."""

import asyncio
import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from services.kit.inventory import Inventory, load_inventory
from services.kit.kafka import prepare_topics
from services.kit.postgres import Connection, connect, migrate

_SERVICES: Final = ("coordinator", "console")


async def migrate_all(passwords: Mapping[str, str], inventory: Inventory) -> None:
    """Reads LETHEIA_ADMIN_DATABASE_URL, LETHEIA_KAFKA and, for the topics, LETHEIA_KAFKA_PARTITIONS and
    LETHEIA_KAFKA_REPLICATION."""
    db = await connect(os.environ["LETHEIA_ADMIN_DATABASE_URL"])
    try:
        for role, password in passwords.items():
            await _role(db, role, password)
        await migrate(db, "vault", files("services.kit") / "sql", {})
        for service in _SERVICES:
            await migrate(db, service, files(f"services.{service}") / "sql", {})
        for store in inventory.stores:
            names = {"schema": f"connector_{store}", "role": f"letheia_connector_{store}"}
            await migrate(db, f"connector/{store}", files("services.connectors") / "sql", names)
    finally:
        await db.close()
    await prepare_topics(
        os.environ["LETHEIA_KAFKA"],
        partitions=int(os.environ.get("LETHEIA_KAFKA_PARTITIONS", "6")),
        replication=int(os.environ.get("LETHEIA_KAFKA_REPLICATION", "3")),
    )


async def _role(db: Connection, role: str, password: str) -> None:
    """Make a login role, or bring its password up to date."""
    if not await db.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
        await db.execute(await db.fetchval("SELECT format('CREATE ROLE %I LOGIN', $1::text)", role))
    statement = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
    await db.execute(await db.fetchval(statement, role, password))


if __name__ == "__main__":
    asyncio.run(
        migrate_all(
            json.loads(Path(os.environ["LETHEIA_PASSWORDS"]).read_text()),
            load_inventory(Path(os.environ["LETHEIA_INVENTORY"]), os.environ),
        )
    )

"""The ClickHouse engine as a process of its own, started as the local stack starts it; and a door to it that is not the
connector's."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deploy.local.home import Home
from deploy.local.stack import ANALYTICS
from deploy.sample.stores import ClickHouse
from services.kit.inventory import AnalyticsStore, Inventory

_PATIENCE_S = 60
_PASSWORD = "secret"
_NUMBERS = count()
KINDS = {"email": "person", "device_id": "shared"}
TABLES: Mapping[str, Mapping[str, Any]] = {
    "event": {"match": {"device_id": "device_id"}, "category": "usage", "role": "controller", "erase": "delete"},
    "signup": {
        "match": {"email": "email", "device_id": "device_id"},
        "reveals": {"email": "email", "device_id": "device_id"},
        "category": "customers",
        "role": "controller",
        "erase": "delete",
    },
    "visit": {
        "match": {"device_id": "device_id"},
        "category": "usage",
        "role": "processor",
        "tenant": "customer_id",
        "erase": "delete",
    },
}
SCHEMA = (
    "CREATE TABLE event (id UUID, device_id String, at DateTime64(3, 'UTC'), page LowCardinality(String))"
    " ENGINE = MergeTree ORDER BY (device_id, at)",
    "CREATE TABLE signup (id UUID, email Nullable(String), device_id LowCardinality(String))"
    " ENGINE = MergeTree ORDER BY id",
    "CREATE TABLE visit (id UUID, device_id UUID, customer_id UInt32) ENGINE = MergeTree ORDER BY device_id",
)


@dataclass(frozen=True)
class ClickHouseServer:
    """One that answers."""

    port: int

    @asynccontextmanager
    async def database(self, *statements: str) -> AsyncIterator[tuple[str, ClickHouse]]:
        """A new database's URL, and a client of it, after these statements."""
        name = f"test_{next(_NUMBERS)}"
        endpoint = {"url": f"http://127.0.0.1:{self.port}", "user": ANALYTICS, "password": _PASSWORD}
        async with ClickHouse.open({**endpoint, "database": ANALYTICS}) as first:
            await first.execute(f"CREATE DATABASE {name}")
        async with ClickHouse.open({**endpoint, "database": name}) as client:
            for statement in statements:
                await client.execute(statement)
            yield f"http://{ANALYTICS}:{_PASSWORD}@127.0.0.1:{self.port}/{name}", client


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """The real engine, behind the local stack's door."""
    home = tmp_path_factory.mktemp("clickhouse")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    Home(home).make()
    (home / "ports.json").write_text(json.dumps({"clickhouse": port}))
    (home / "credentials.json").write_text(json.dumps({"clickhouse": _PASSWORD}))
    log = home / "server.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "deploy.local.clickhouse", str(home)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _await(port, process, log)
        yield ClickHouseServer(port)
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)


def _await(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping"):
                return
        except urllib.error.URLError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def inventory(url: str, *, rows: int = 100, tables: Mapping[str, Mapping[str, Any]] = TABLES) -> Inventory:
    """One that knows nothing but an analytics database."""
    portable = {"purpose": "product analytics", "basis": "consent", "origin": "observed"}
    return Inventory.model_validate(
        {
            "controllers": {"acme": {"role": "controller", "calendar": "FR"}},
            "publishers": {},
            "limits": {"rows_per_request": rows},
            "bundles": {"bucket": "bundles"},
            "kinds": KINDS,
            "categories": {"usage": portable, "customers": portable},
            "stores": {
                "analytics": AnalyticsStore.model_validate({"connector": "analytics", "url": url, "tables": tables})
            },
        }
    )

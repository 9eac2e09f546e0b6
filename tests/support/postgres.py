"""A PostgreSQL server of this run's own, started as the local stack starts it; take a database of your own."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local.home import Home

_PATIENCE_S = 60
_NUMBERS = count()


@dataclass(frozen=True)
class PostgresServer:
    """One that answers."""

    port: int

    def url(self, database: str, role: str = "app") -> str:
        """Of a database; `app` owns those that `database` makes, `postgres` may do anything anywhere."""
        return f"postgresql://{role}:secret@127.0.0.1:{self.port}/{database}"

    @asynccontextmanager
    async def connection(self, url: str) -> AsyncIterator[Any]:
        """The driver's own connection, for what a test does past the product."""
        connection = await asyncpg.connect(url)
        try:
            yield connection
        finally:
            await connection.close()

    async def database(self, *scripts: str) -> str:
        """The URL of a new database that `app` owns, after these scripts."""
        name = f"test_{next(_NUMBERS)}"
        async with self.connection(self.url("postgres", "postgres")) as connection:
            await connection.execute(f"CREATE DATABASE {name} OWNER app")
        async with self.connection(self.url(name)) as connection:
            for script in scripts:
                await connection.execute(script)
        return self.url(name)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Real PostgreSQL from the wheel."""
    home = tmp_path_factory.mktemp("postgres")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    Home(home).make()
    (home / "ports.json").write_text(json.dumps({"postgres": port}))
    (home / "credentials.json").write_text(json.dumps({"postgres": "secret", "app": "secret"}))
    log = home / "server.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "deploy.local.postgres", str(home)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _await(port, process, log)
        yield PostgresServer(port)
    finally:
        process.send_signal(signal.SIGINT)  # ends sessions, then the server
        process.wait(_PATIENCE_S)


def _await(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while b"ready to accept connections" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)

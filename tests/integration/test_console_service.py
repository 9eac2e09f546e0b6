"""The console as a process, and the command as a process that talks to it. There is no broker."""

import asyncio
import io
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from contracts.status import StatusDocument
from deploy.local.home import Home
from deploy.local.keys import make_keys
from services.kit.postgres import Pool, open_pool
from tests.support.console import PRINCIPALS, asking, status_document
from tests.support.inventory import NOWHERE, SAMPLE
from tests.support.letheia_database import letheia_database
from tests.support.postgres import PostgresServer

CANARY = "camille.canari@example.org"


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Service:
    """A running console."""

    process: asyncio.subprocess.Process
    url: str
    home: Path
    log: Path
    coordinator: Pool

    async def saga(self, status: StatusDocument) -> str:
        """Write a request as the coordinator would."""
        await self.coordinator.execute(
            "INSERT INTO sagas (request_id, controller, publisher, phase, attention, due_on, state, status, opened_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, '{}', $7, now())"
            " ON CONFLICT (request_id) DO UPDATE SET phase = $4, attention = $5, status = $7",
            status.request_id, status.controller, status.publisher, status.phase.value,
            status.attention and status.attention.code, status.strict_due_on, status.model_dump(mode="json"),
        )  # fmt: skip
        return str(status.request_id)

    async def start(self, *arguments: str, stdin: bytes = b"", **environment: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cli.main", *arguments, env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        return process

    async def letheia(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Ran:
        process = await self.start(*arguments, "--home", str(self.home), stdin=stdin, **environment)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())


@pytest.fixture(scope="module")
async def service(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    database = await letheia_database(postgres_server)
    home = Home(tmp_path_factory.mktemp("home"))
    home.make()
    make_keys(home)
    port, health, nowhere = free_ports(3)
    url = f"http://127.0.0.1:{port}"
    (home.path / "tokens.json").write_text(json.dumps([holder.model_dump(mode="json") for holder in PRINCIPALS]))
    tokens = {"dpo": "dpo-token"}
    home.endpoints.write_text(
        json.dumps({"console": {"url": url, "tokens": tokens}, "kafka": {"bootstrap_servers": f"127.0.0.1:{nowhere}"},
                    "publisher": {"name": "crm-portal", "key": json.loads((home.keys / "console.jwk").read_text())}})
    )  # fmt: skip
    environment = {
        **os.environ, **NOWHERE, "LETHEIA_DATABASE_URL": database.url("letheia_console"), "LETHEIA_PORT": str(port),
        "LETHEIA_KAFKA": f"127.0.0.1:{nowhere}", "LETHEIA_INVENTORY": str(SAMPLE), "LETHEIA_KEYS": str(home.keys),
        "LETHEIA_HEALTH_PORT": str(health), "LETHEIA_TOKENS": str(home.path / "tokens.json"),
        "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
    }  # fmt: skip
    log = home.path / "console.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.console", env=environment, stdout=output, stderr=output
        )
    try:
        await ready(f"http://127.0.0.1:{health}/readyz", process)
        async with open_pool(database.url("letheia_coordinator")) as coordinator:
            yield Service(process, url, home.path, log, coordinator)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                assert process.returncode is None, "the console ended: see its log"
            await asyncio.sleep(0.1)


async def test_list_status_and_journal(service: Service) -> None:
    asks = await service.saga(asking("approval", "approve", "reject").model_copy(update={"request_id": uuid4()}))
    document = json.loads((await service.letheia("status", asks, "--json")).out)
    assert {"request_id", "phase", "due_on", "days_left", "stores", "trace_id"} <= set(document)
    shown = await service.letheia("status", asks)
    assert "choose approve, reject" in shown.out
    listed = json.loads((await service.letheia("list", "--attention", "--json")).out)
    assert asks in [request["request_id"] for request in listed["requests"]]
    journal = await service.letheia("journal", asks, "--json", LETHEIA_URL=service.url, LETHEIA_TOKEN="auditor-token")
    assert json.loads(journal.out) == {"request_id": asks, "entries": []}


async def test_how_commands_end(service: Service) -> None:
    asks = await service.saga(asking("nothing_found", "accept").model_copy(update={"request_id": uuid4()}))
    endings = {
        ("status", str(uuid4())): 1,
        ("status", "no-id"): 2,
        ("decide", asks, "approve", "--reason", "sure"): 1,
        ("decide", asks, "accept", "--reason", "No Code"): 2,
        ("bundle", asks, "-o", str(service.home / "never.zip")): 1,
    }
    for arguments, code in endings.items():
        ran = await service.letheia(*arguments, "--json")
        assert (ran.code, ran.out) == (code, ""), ran
        assert "Traceback" not in ran.err
        assert ran.err.strip()
    assert not (service.home / "never.zip").exists()
    away = await service.letheia("list", LETHEIA_URL="http://127.0.0.1:9", LETHEIA_TOKEN="dpo-token")
    assert (away.code, away.err.count("\n")) == (3, 1)
    stranger = await service.letheia("list", LETHEIA_URL=service.url, LETHEIA_TOKEN="stranger")
    assert (stranger.code, stranger.err) == (1, "Error: Send a bearer token that Letheia knows.\n")


async def test_a_decision_and_its_note_from_standard_input(service: Service) -> None:
    asks = await service.saga(asking("nothing_found", "accept").model_copy(update={"request_id": uuid4()}))
    ran = await service.letheia(
        "decide", asks, "accept", "--reason", "looked", "--note", "-", "--json", stdin=b"by hand"
    )
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["request_id"] == asks


async def test_watch_waits_for_a_request_that_is_not_known_yet_and_ends_when_it_closes(service: Service) -> None:
    base = status_document(request_id=uuid4(), revision=1)
    process = await service.start("watch", str(base.request_id), "--home", str(service.home))
    assert process.stdout is not None
    await service.saga(base)
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"erasing\n"
        await service.saga(status_document(request_id=base.request_id, revision=2, phase="closed", outcome="completed"))
        assert await process.stdout.readline() == b"closed completed\n"
        assert await process.wait() == 0


async def test_watch_of_a_rejected_request_ends_with_one_document_and_a_no(service: Service) -> None:
    rejected = await service.saga(status_document(request_id=uuid4(), phase="closed", outcome="rejected"))
    ran = await service.letheia("watch", rejected, "--json")
    assert (ran.code, json.loads(ran.out)["outcome"]) == (1, "rejected")


async def test_submit_tells_what_is_wrong_before_anything_is_published(service: Service) -> None:
    subject = json.dumps([{"kind": "shoe", "value": CANARY}]).encode()
    ran = await service.letheia("submit", "--right", "erasure", "--subject", "-", stdin=subject)
    assert ran.code == 2
    assert "identifiers.0.kind" in ran.err
    dry = await service.letheia("submit", "--right", "erasure", "--email", CANARY, "--dry-run", "--json")
    assert json.loads(dry.out) == {"valid": True, "controller": "acme"}
    for subject in (b"no json", b'{"ids": []}', b'[{"kind": "email"}]', b"[]"):
        ran = await service.letheia("submit", "--right", "erasure", "--subject", "-", stdin=subject)
        assert ran.code == 2, ran
    away = await service.letheia("submit", "--right", "erasure", "--email", CANARY)
    assert (away.code, away.out) == (3, "")
    assert "Kafka" in away.err
    assert "canari" not in away.err


async def test_two_megabytes_over_a_real_socket_are_413(service: Service) -> None:
    headers = {"Authorization": "Bearer dpo-token", "Content-Type": "application/json"}

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    bodies: list[Any] = [io.BytesIO(b" " * 2_000_000), unannounced()]
    async with aiohttp.ClientSession(headers=headers) as session:
        for body in bodies:
            async with session.post(f"{service.url}/api/v1/requests", data=body) as answer:
                assert answer.status == 413
                assert answer.content_type == "application/problem+json"


async def test_it_ends_on_sigterm_though_somebody_watches_and_its_log_holds_no_identifier(service: Service) -> None:
    open_request = await service.saga(status_document(request_id=uuid4()))
    url, headers = f"{service.url}/api/v1/requests/{open_request}/stream", {"Authorization": "Bearer dpo-token"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as stream:
        assert stream.status == 200
        service.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await service.process.wait() == 0
    log = service.log.read_text()
    assert "canari" not in log
    assert open_request not in log
    assert all(json.loads(line) for line in log.splitlines())

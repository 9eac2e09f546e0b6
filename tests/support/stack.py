"""The whole system on this machine, started once for a run by the real `letheia up`, and what a test does with it."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from uuid_utils.compat import uuid7

from contracts.envelope import Envelope, key
from contracts.requests import Amendment, SealedMessage, Submission
from contracts.sealing import seal
from contracts.topics import MessageType, Topic
from deploy.sample.check import Snapshot, compare, snapshot
from deploy.sample.load import load
from deploy.sample.model import Person, Sample
from deploy.sample.people import generate
from services.kit.kafka import Producer, open_producer
from services.kit.keys import key_of

PATIENCE_S = 240
_seeds = itertools.count(100)


@dataclass
class Stack:
    """A running stack."""

    home: Path
    endpoints: Mapping[str, Any]
    everybody: list[Sample] = field(default_factory=list)

    def letheia(self, *arguments: str, given: str | None = None, expect: int = 0) -> str:
        """Run the command as a person would; its standard output."""
        command = [sys.executable, "-m", "services.cli.main", *arguments, "--home", str(self.home)]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == expect, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout if expect == 0 else done.stdout + done.stderr

    async def people(self, count: int) -> Sample:
        """Fresh people, loaded into the stores."""
        sample = generate(count, next(_seeds))
        await load(self.endpoints, sample)
        self.everybody.append(sample)
        return sample

    async def snapshot(self) -> Snapshot:
        """All that the stores hold now."""
        return await snapshot(self.endpoints)

    async def wrong(self, before: Snapshot, erased: Sequence[Person], tenant: str | None = None) -> list[str]:
        """What is not as it must be after these people were erased."""
        return compare(before, await self.snapshot(), erased, datetime.now(UTC).date(), tenant)

    # --- as a publisher ---

    def submission(self, identifiers: Mapping[str, str], right: str = "erasure", **more: Any) -> Submission:
        """A request of the portal's about somebody."""
        facts: dict[str, Any] = {
            "request_id": uuid7(), "right": right, "controller": "acme", "received_on": datetime.now(UTC).date(),
            "issued_at": datetime.now(UTC), "identity": {"verified": True, "method": "account_login"},
            "identifiers": [{"kind": kind, "value": value} for kind, value in identifiers.items()],
        }  # fmt: skip
        return Submission.model_validate(facts | more)

    def sealed(self, payload: Submission | Amendment, publisher: str = "crm-portal") -> SealedMessage:
        """Signed by a publisher, sealed to Letheia."""
        name = {"crm-portal": "publisher-crm-portal.jwk", "console": "console.jwk"}[publisher]
        signing = key_of(json.loads((self.home / "keys" / name).read_text()))
        receiving = key_of(json.loads((self.home / "keys" / "receiving.jwks").read_text())["keys"][0])
        return SealedMessage(schema_version=1, request_id=payload.request_id, sealed=seal(payload, signing, receiving))

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[Producer]:
        """A producer on the stack's Kafka."""
        async with open_producer(self.endpoints["kafka"]["bootstrap_servers"]) as producer:
            yield producer

    async def publish(self, *payloads: Submission | Amendment) -> None:
        """Publish requests or amendments, and wait for the broker's answer."""
        async with self.producer() as producer:
            answers = []
            for payload in payloads:
                amended = isinstance(payload, Amendment)
                type_ = MessageType.REQUEST_AMENDED if amended else MessageType.REQUEST_SUBMITTED
                value = self.sealed(payload).model_dump_json().encode()
                answers.append(await send(producer, payload.request_id, value, type_))
            await asyncio.gather(*answers)

    # --- as the DPO ---

    @asynccontextmanager
    async def api(self, role: str = "dpo") -> AsyncIterator[aiohttp.ClientSession]:
        """The REST API with a role's token."""
        console = self.endpoints["console"]
        headers = {"Authorization": f"Bearer {console['tokens'][role]}"}
        async with aiohttp.ClientSession(console["url"], headers=headers) as session:
            yield session

    async def status(self, request_id: UUID) -> dict[str, Any]:
        """The status document; empty while the request is not known."""
        async with self.api() as session, session.get(f"/api/v1/requests/{request_id}") as response:
            return await response.json() if response.status == 200 else {}

    async def decide(self, request_id: UUID, decision: str, **fields: str) -> None:
        """A decision, taken by the console."""
        body = {"decision": decision, "reason": "by_test", **fields}
        async with (
            self.api() as session,
            session.post(f"/api/v1/requests/{request_id}/decisions", json=body) as response,
        ):
            assert response.status == 202, await response.text()

    async def until(
        self, request_id: UUID, wanted: Callable[[dict[str, Any]], bool], patience_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Wait for a request to stand as wanted."""
        give_up = time.monotonic() + patience_s
        document: dict[str, Any] = {}
        while time.monotonic() < give_up:
            document = await self.status(request_id)
            if document and wanted(document):
                return document
            await asyncio.sleep(0.2)
        raise AssertionError(f"still {json.dumps(document, indent=1)}")

    async def closed(self, request_id: UUID, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until a request is closed."""
        return await self.until(request_id, lambda document: document["phase"] == "closed", patience_s)

    async def stopped(self, request_id: UUID, code: str) -> dict[str, Any]:
        """Wait until a request needs a person for this reason."""
        return await self.until(request_id, lambda document: (document["attention"] or {}).get("code") == code)

    # --- as an SRE ---

    def parts(self) -> dict[str, Any]:
        """What `letheia ps` says, by part."""
        return {part["name"]: part for part in json.loads(self.letheia("ps", "--json"))["parts"]}

    def kill(self, part: str) -> None:
        """`kill -9` a part; the supervisor starts it again."""
        os.kill(self.parts()[part]["pid"], signal.SIGKILL)

    @asynccontextmanager
    async def database(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Letheia's database, as its superuser."""
        connection = await asyncpg.connect(self.endpoints["postgres"]["url"])
        try:
            yield connection
        finally:
            await connection.close()


async def send(
    producer: Producer, request_id: UUID, value: bytes, type_: MessageType = MessageType.REQUEST_SUBMITTED,
    topic: Topic = Topic.REQUESTS, to: str | None = None,
) -> "asyncio.Future[object]":  # fmt: skip
    """Put any bytes on the bus."""
    envelope = Envelope(str(uuid7()), "test", type_, datetime.now(UTC), to=to)
    answer: asyncio.Future[object] = await producer.send(topic, key(request_id), value, envelope.headers())
    return answer


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of this run, with nobody in it but whom the tests load."""
    home = tmp_path_factory.mktemp("stack") / "home"
    starting = Stack(home, {})
    try:
        starting.letheia("up", "--detach")
        starting.endpoints = json.loads(starting.letheia("endpoints", "--json"))
        yield starting
    finally:
        starting.letheia("down")

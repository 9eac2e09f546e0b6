"""How the supervisor, and `letheia ps`, learn whether a part serves: by asking it, in the part's own protocol."""

import asyncio
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

_PATIENCE_S: Final = 2.0


class Answer(StrEnum):
    """What a part says of itself."""

    READY = "ready"
    NOT_YET = "not ready"
    LOST = "lost content"


class Probe(Protocol):
    """Asks a part once. Never raises: no answer is an answer."""

    async def ask(self) -> Answer: ...


async def _exchange(port: int, request: bytes) -> bytes:
    """The first bytes answered to a request; empty when there is no answer."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                return await reader.read(1024)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


async def _status(port: int, path: str) -> int:
    answer = await _exchange(port, f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


@dataclass(frozen=True, slots=True)
class Http:
    """Ready when it answers 200."""

    port: int
    path: str

    async def ask(self) -> Answer:
        return Answer.READY if await _status(self.port, self.path) == 200 else Answer.NOT_YET


@dataclass(frozen=True, slots=True)
class Bucket:
    """S3, ready when it answers; it has lost its content when a bucket is missing that was `made` once."""

    port: int
    bucket: str
    made: Path

    async def ask(self) -> Answer:
        status = await _status(self.port, f"/{self.bucket}?location")
        if status == 404 and self.made.exists():
            return Answer.LOST
        return Answer.READY if status in (200, 404) else Answer.NOT_YET


@dataclass(frozen=True, slots=True)
class Postgres:
    """Ready when it asks who is there (as pg_isready does); while it recovers it answers with an error instead."""

    port: int

    async def ask(self) -> Answer:
        who = struct.pack("!i", 196608) + b"user\0postgres\0\0"
        answer = await _exchange(self.port, struct.pack("!i", len(who) + 4) + who)
        return Answer.READY if answer.startswith(b"R") else Answer.NOT_YET


@dataclass(frozen=True, slots=True)
class Kafka:
    """Ready when its metadata (request 3, version 1) name a broker: until it is unfenced they name none."""

    port: int

    async def ask(self) -> Answer:
        no_topics = struct.pack("!hhihi", 3, 1, 1, -1, 0)
        answer = await _exchange(self.port, struct.pack("!i", len(no_topics)) + no_topics)
        brokers = struct.unpack_from("!i", answer, 8)[0] if len(answer) >= 12 else 0
        return Answer.READY if brokers else Answer.NOT_YET

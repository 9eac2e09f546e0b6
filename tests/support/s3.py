"""An S3 server as a process of its own: moto, which knows versions, locks, uploads and bucket policies.

Its pages are small, so that every listing of more than a few keys takes several.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aioboto3
import pytest

from services.kit.objects import Access

REGION = "eu-west-3"
_PAGE = 3
_PATIENCE_S = 60


@dataclass(frozen=True)
class S3Server:
    """One that answers."""

    access: Access

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """The vendor's client, for what the port does not do."""
        access = self.access
        session = aioboto3.Session(access.key_id, access.secret, region_name=access.region)
        async with session.client("s3", endpoint_url=access.endpoint) as client:
            yield client


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server of this run's own; take a bucket of your own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(_PAGE)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _await(url, process)
            yield S3Server(Access(REGION, url, "key-id", "secret"))
        finally:
            process.terminate()


def _await(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "moto ended at once"
        try:
            with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise TimeoutError(f"no answer from {url}")


async def chunks(*content: bytes) -> AsyncIterator[bytes]:
    """Content as the port takes it."""
    for chunk in content:
        yield chunk


async def retain(client: Any, bucket: str, key: str, until: datetime, version: str) -> None:
    """Lock a version until a moment, as compliance wants it."""
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    await client.put_object_retention(Bucket=bucket, Key=key, VersionId=version, Retention=retention)


async def hold(client: Any, bucket: str, key: str, version: str, status: str = "ON") -> None:
    """Put a version under legal hold, or lift it (`OFF`)."""
    await client.put_object_legal_hold(Bucket=bucket, Key=key, VersionId=version, LegalHold={"Status": status})

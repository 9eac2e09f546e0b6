"""The recordings connector against a real S3 server."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from services.connectors.port import Identifier, Scope, Subject
from services.connectors.recordings.connector import RecordingsConnector
from services.kit.inventory import RecordingsStore
from services.kit.objects import S3Bucket, open_bucket
from tests.conformance.harness import ROW_LIMIT, SCOPES, Prepared
from tests.support.inventory import sample_inventory
from tests.support.port import StillClock
from tests.support.s3 import S3Server, chunks


class RecordingsHarness:
    """Each person has a few calls, an object or two each: some overwritten, one under a marker, one never finished."""

    scopes = SCOPES

    def __init__(self, bucket: S3Bucket, client: Any) -> None:
        inventory = sample_inventory()
        limits = inventory.limits.model_copy(update={"rows_per_request": ROW_LIMIT})
        store = inventory.stores["recordings"]
        assert isinstance(store, RecordingsStore)
        declared = inventory.model_copy(update={"limits": limits})
        self.connector = RecordingsConnector(store, declared, bucket, StillClock())
        self._bucket, self._client = bucket, client

    async def person(self, scope: Scope, *, records: int = 3) -> Prepared:
        calls = [str(uuid4()) for _ in range(-(-records // 2))]
        keys = [
            f"{self._root(scope)}/calls/{calls[n // 2]}/{('audio.wav', 'waveform.json')[n % 2]}" for n in range(records)
        ]
        for key in keys:
            await self._bucket.put(key, chunks(b"first of ", key.encode()))
        await self._bucket.put(keys[0], chunks(b"second of ", keys[0].encode()), overwrite=True)
        await self._client.delete_object(Bucket=self._bucket.name, Key=keys[-1])
        await self._client.create_multipart_upload(Bucket=self._bucket.name, Key=f"{keys[0]}.part")
        identifiers = frozenset(Identifier("call_id", call) for call in calls)
        found = {"recordings": records + 1}
        return Prepared(Subject(uuid4(), scope, identifiers), found, exported=frozenset({"recordings"}))

    async def ambiguous(self, scope: Scope) -> Prepared | None:
        return None

    async def stored(self, person: Prepared) -> Mapping[str, object]:
        stored: dict[str, object] = {}
        for call in person.subject.identifiers:
            prefix = f"{self._root(person.subject.scope)}/calls/{call.value}/"
            async for version in self._bucket.versions(prefix):
                content = self._bucket.get(version.key, version.id)
                bytes_ = None if version.marker else b"".join([chunk async for chunk in content])
                stored[f"{version.key} {version.id}"] = bytes_
            async for upload in self._bucket.uploads(prefix):
                stored[f"{upload.key} {upload.id}"] = "unfinished"
        return stored

    @asynccontextmanager
    async def broken(self) -> AsyncIterator[None]:
        name, self._bucket.name = self._bucket.name, "nowhere"
        try:
            yield
        finally:
            self._bucket.name = name

    async def settle(self) -> None:
        return None

    def _root(self, scope: Scope) -> str:
        return scope.tenant or "own"


@asynccontextmanager
async def open_harness(request: pytest.FixtureRequest) -> AsyncIterator[RecordingsHarness]:
    server: S3Server = request.getfixturevalue("s3_server")
    async with open_bucket(f"calls-{uuid4()}", server.access) as bucket, server.client() as client:
        await bucket.create(versioned=True)
        yield RecordingsHarness(bucket, client)

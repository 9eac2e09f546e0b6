"""Recordings on a real S3 server: what only a server does, its locks and its lost content."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest

from contracts.reports import Locked
from services.connectors.port import Erasure, Findings, Identifier, Scope, StoreConnector, Subject, Terminal
from services.connectors.recordings import connect
from services.kit.inventory import Inventory, Role
from services.kit.objects import S3Bucket, open_bucket
from services.kit.settings import Settings
from tests.support.inventory import sample_inventory
from tests.support.port import Permits, StillClock
from tests.support.s3 import S3Server, chunks, hold, retain

OURS = Scope("acme", Role.CONTROLLER)


def settings(server: S3Server) -> Settings:
    access = server.access
    return Settings.model_validate(
        {
            "database_url": "postgres://", "kafka": "nowhere:9092", "inventory": "none", "keys": "none",
            "health_port": 0,
            "s3_endpoint": access.endpoint, "s3_region": access.region,
            "AWS_ACCESS_KEY_ID": access.key_id, "AWS_SECRET_ACCESS_KEY": access.secret,
        }
    )  # fmt: skip


def inventory(bucket: str) -> Inventory:
    declared = sample_inventory()
    store = declared.stores["recordings"].model_copy(update={"bucket": bucket})
    return declared.model_copy(update={"stores": {"recordings": store}})


@pytest.fixture
async def bucket(s3_server: S3Server) -> AsyncIterator[S3Bucket]:
    async with open_bucket(f"calls-{uuid4()}", s3_server.access) as bucket:
        await bucket.create(locks=True)
        yield bucket


@pytest.fixture
async def client(s3_server: S3Server) -> AsyncIterator[Any]:
    async with s3_server.client() as client:
        yield client


@pytest.fixture
async def recordings(s3_server: S3Server, bucket: S3Bucket) -> AsyncIterator[StoreConnector]:
    async with connect("recordings", inventory(bucket.name), settings(s3_server), StillClock()) as connector:
        yield connector


def of(call: str) -> Subject:
    return Subject(uuid4(), OURS, frozenset({Identifier("call_id", call)}))


async def test_locked_versions_stay_and_say_until_when(
    recordings: StoreConnector, bucket: S3Bucket, client: Any
) -> None:
    who = of(str(uuid4()))
    (call,) = who.values("call_id")
    for name in ("held", "kept", "free"):
        await bucket.put(f"own/calls/{call}/{name}.wav", chunks(name.encode()))
    versions = {v.key.split("/")[-1]: v async for v in bucket.versions(f"own/calls/{call}/")}
    held, kept = versions["held.wav"], versions["kept.wav"]
    await hold(client, bucket.name, held.key, held.id)
    await retain(client, bucket.name, kept.key, datetime(2099, 1, 1, tzinfo=UTC), kept.id)
    await client.delete_object(Bucket=bucket.name, Key=held.key)
    locked = {
        Locked(category="recordings", count=1, until=None),
        Locked(category="recordings", count=1, until=date(2099, 1, 1)),
    }

    (found,) = await recordings.discover([who], Permits.of([who]))
    (done,) = await recordings.erase([who], Permits.of([who]))

    assert isinstance(found, Findings)
    assert (found.found, set(found.locked)) == ({"recordings": 3}, locked)
    assert isinstance(done, Erasure)
    assert (done.erased, set(done.locked)) == ({"recordings": 1}, locked)
    left = [v async for v in bucket.versions(f"own/calls/{call}/")]
    assert sorted((v.key, v.marker) for v in left) == [(held.key, False), (held.key, True), (kept.key, False)]

    await hold(client, bucket.name, held.key, held.id, "OFF")
    (again,) = await recordings.erase([who], Permits.of([who]))
    assert isinstance(again, Erasure)
    assert again.erased == {"recordings": 1}


async def test_a_missing_right_is_no_lock(recordings: StoreConnector, bucket: S3Bucket, client: Any) -> None:
    who, other = of(str(uuid4())), of(str(uuid4()))
    for subject in (who, other):
        (call,) = subject.values("call_id")
        await bucket.put(f"own/calls/{call}/audio.wav", chunks(b"x"))
    (call,) = who.values("call_id")
    forbidden = f"arn:aws:s3:::{bucket.name}/own/calls/{call}/audio.wav"
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": forbidden}
    await client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps({"Statement": [statement]}))

    refused, done = await recordings.erase([who, other], Permits.of([who, other]))

    assert isinstance(refused, Terminal)
    assert refused.code == "access_denied"
    assert isinstance(done, Erasure)
    assert done.erased == {"recordings": 1}


async def test_what_was_written_before_versioning_goes_too(s3_server: S3Server, client: Any) -> None:
    async with open_bucket(f"calls-{uuid4()}", s3_server.access) as bucket:
        await bucket.create()
        await bucket.put("own/calls/1/audio.wav", chunks(b"old"))
        for status in ("Enabled", "Suspended"):
            await client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": status})
            await bucket.put("own/calls/1/audio.wav", chunks(status.encode()), overwrite=True)
        who = of("1")
        async with connect("recordings", inventory(bucket.name), settings(s3_server), StillClock()) as recordings:
            (done,) = await recordings.erase([who], Permits.of([who]))
        assert isinstance(done, Erasure)
        assert done.erased == {"recordings": 1}
        assert [v async for v in bucket.versions("")] == []

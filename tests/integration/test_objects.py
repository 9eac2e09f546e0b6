"""The port over S3, against a real server."""

import json
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.kit.objects import (
    Access,
    AccessDenied,
    BucketMissing,
    Lock,
    ObjectExists,
    ObjectMissing,
    S3Bucket,
    Unavailable,
    open_bucket,
)
from tests.support.s3 import REGION, S3Server, chunks, hold, retain

LATER = datetime(2099, 1, 1, tzinfo=UTC)
ODD_KEYS = ["own/calls/1/a b+c.wav", "own/calls/1/é&<>.wav", "own/calls/1/100%.wav"]


@pytest.fixture
async def bucket(s3_server: S3Server) -> AsyncIterator[S3Bucket]:
    async with _open(s3_server) as bucket:
        await bucket.create(versioned=True)
        yield bucket


@pytest.fixture
async def client(s3_server: S3Server) -> AsyncIterator[Any]:
    async with s3_server.client() as client:
        yield client


def _open(server: S3Server, name: str | None = None) -> Any:
    return open_bucket(name or f"b-{uuid4()}", server.access)


async def _read(bucket: S3Bucket, key: str, version_id: str | None = None) -> bytes:
    return b"".join([chunk async for chunk in bucket.get(key, version_id)])


async def test_writes_and_reads_small_and_large(bucket: S3Bucket) -> None:
    large = bytes(range(256)) * 4096  # 1 MiB
    await bucket.put("small", chunks(b"a", b"b"))
    await bucket.put("empty", chunks())
    await bucket.put("large", chunks(*[large] * 20))

    assert await _read(bucket, "small") == b"ab"
    assert await _read(bucket, "empty") == b""
    assert await _read(bucket, "large") == large * 20
    assert [u async for u in bucket.uploads("")] == []


async def test_overwrites_only_when_told(bucket: S3Bucket) -> None:
    await bucket.put("key", chunks(b"old"))
    with pytest.raises(ObjectExists):
        await bucket.put("key", chunks(b"new"))
    assert await _read(bucket, "key") == b"old"

    await bucket.put("key", chunks(b"new"), overwrite=True)
    versions = [v async for v in bucket.versions("key")]
    assert [await _read(bucket, "key", v.id) for v in versions] == [b"new", b"old"]
    assert [v.latest for v in versions] == [True, False]


async def test_a_failed_upload_leaves_nothing(bucket: S3Bucket) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * (9 << 20)
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="the source failed"):
        await bucket.put("key", failing())
    assert [u async for u in bucket.uploads("")] == []
    assert [v async for v in bucket.versions("")] == []


async def test_lists_versions_and_markers_over_many_pages(bucket: S3Bucket, client: Any) -> None:
    for number in range(5):
        for content in (b"1", b"2"):
            await bucket.put(f"own/calls/1/{number}", chunks(content), overwrite=True)
        await client.delete_object(Bucket=bucket.name, Key=f"own/calls/1/{number}")
    await bucket.put("own/calls/12/0", chunks(b"another's"))

    listed = [v async for v in bucket.versions("own/calls/1/")]

    assert len(listed) == 15
    assert sum(v.marker for v in listed) == 5
    assert {v.key for v in listed} == {f"own/calls/1/{n}" for n in range(5)}
    assert await bucket.delete(listed) == []
    assert [v async for v in bucket.versions("own/calls/1/")] == []
    assert len([v async for v in bucket.versions("own/calls/12/")]) == 1


async def test_addresses_what_is_older_than_versioning(s3_server: S3Server, client: Any) -> None:
    async with _open(s3_server) as bucket:
        await bucket.create()
        await bucket.put("key", chunks(b"old"))
        (before,) = [v async for v in bucket.versions("")]
        assert (before.id, before.latest) == ("null", True)
        versioning = {"Status": "Enabled"}
        await client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=versioning)
        await bucket.put("key", chunks(b"new"), overwrite=True)

        assert await bucket.delete([v async for v in bucket.versions("")]) == []
        assert [v async for v in bucket.versions("")] == []


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_keys_may_be_odd(bucket: S3Bucket, key: str) -> None:
    await bucket.put(key, chunks(b"x"))
    listed = [v async for v in bucket.versions("own/calls/1/")]
    assert [v.key for v in listed] == [key]
    assert await bucket.delete(listed) == []
    assert [v async for v in bucket.versions("")] == []


async def test_finds_and_drops_unfinished_uploads(bucket: S3Bucket, client: Any) -> None:
    for key in (*ODD_KEYS, "own/calls/12/other"):
        await client.create_multipart_upload(Bucket=bucket.name, Key=key)

    uploads = [u async for u in bucket.uploads("own/calls/1/")]
    assert {u.key for u in uploads} == set(ODD_KEYS)
    for upload in (*uploads, uploads[0]):
        await bucket.abort(upload)
    assert [u.key async for u in bucket.uploads("")] == ["own/calls/12/other"]


async def test_tells_a_lock_from_a_missing_right(s3_server: S3Server, client: Any) -> None:
    async with _open(s3_server) as bucket:
        await bucket.create(locks=True)
        for key in ("held", "retained", "forbidden", "free"):
            await bucket.put(key, chunks(b"x"))
        by_key = {v.key: v async for v in bucket.versions("")}
        await hold(client, bucket.name, "held", by_key["held"].id)
        await retain(client, bucket.name, "retained", LATER, by_key["retained"].id)
        await _forbid(client, bucket.name, "s3:DeleteObject", "forbidden")

        refused = await bucket.delete(list(by_key.values()))

        assert {r.version.key: type(r.error) for r in refused} == dict.fromkeys(
            ("held", "retained", "forbidden"), AccessDenied
        )
        assert await bucket.has_locks()
        assert {key: await bucket.lock(by_key[key]) for key in ("held", "retained", "forbidden")} == {
            "held": Lock(None),
            "retained": Lock(LATER),
            "forbidden": None,
        }
        await hold(client, bucket.name, "held", by_key["held"].id, "OFF")
        assert await bucket.lock(by_key["held"]) is None


async def test_a_bucket_without_locks_says_so(bucket: S3Bucket) -> None:
    await bucket.put("key", chunks(b"x"))
    assert not await bucket.has_locks()
    assert [await bucket.lock(v) async for v in bucket.versions("")] == [None]


async def test_a_missing_bucket_is_never_an_empty_one(s3_server: S3Server) -> None:
    async with _open(s3_server) as bucket:
        with pytest.raises(BucketMissing):
            await bucket.region()
        with pytest.raises(BucketMissing):
            [v async for v in bucket.versions("own/")]
        with pytest.raises(BucketMissing):
            [u async for u in bucket.uploads("own/")]
        with pytest.raises(BucketMissing):
            await bucket.put("key", chunks(b"x"))
        with pytest.raises(BucketMissing):
            await bucket.has_locks()


async def test_errors_name_no_key(bucket: S3Bucket, client: Any) -> None:
    key = f"own/calls/{uuid4()}"
    with pytest.raises(ObjectMissing) as missing:
        await _read(bucket, key)
    await bucket.put(key, chunks(b"x"))
    await _forbid(client, bucket.name, "s3:GetObject", key)
    with pytest.raises(AccessDenied) as denied:
        await _read(bucket, key)

    for error in (missing.value, denied.value):
        assert key not in "".join(traceback.format_exception(error))
    assert key not in repr([v async for v in bucket.versions("")])


async def test_who_does_not_answer_is_unavailable() -> None:
    async with open_bucket("b", Access(REGION, "http://127.0.0.1:9", "key-id", "secret")) as bucket:
        with pytest.raises(Unavailable):
            await bucket.region()


async def test_says_where_it_is(bucket: S3Bucket) -> None:
    assert await bucket.region() == REGION
    await bucket.create(versioned=True)  # again, without harm


async def _forbid(client: Any, bucket: str, action: str, key: str) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{bucket}/{key}"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    await client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


async def test_a_retention_that_has_run_out_is_shown_with_its_date(s3_server: S3Server, client: Any) -> None:
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    async with _open(s3_server) as bucket:
        await bucket.create(locks=True)
        await bucket.put("key", chunks(b"x"))
        (version,) = [v async for v in bucket.versions("")]
        await retain(client, bucket.name, "key", past, version.id)
        assert await bucket.lock(version) == Lock(past)
        assert await bucket.delete([version]) == []

"""A portable copy on a real server: written by connectors, fetched as a ZIP, deleted."""

import hashlib
import io
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from joserfc.jwk import OctKey

from services.connectors.port import Transient
from services.connectors.storage import RequestBundle
from services.kit.bundle import Copy, delete_bundle, stream_zip
from services.kit.objects import Access, S3Bucket, open_bucket
from tests.support.inventory import sample_inventory
from tests.support.s3 import REGION, S3Server, chunks

BLOCK = bytes(range(256)) * 256  # 64 KiB


@pytest.fixture
async def bucket(s3_server: S3Server) -> AsyncIterator[S3Bucket]:
    async with open_bucket(f"bundles-{uuid4()}", s3_server.access) as bucket:
        await bucket.create(versioned=True)
        yield bucket


async def test_from_writing_to_deleting(bucket: S3Bucket) -> None:
    key, request, other = OctKey.generate_key(256), uuid4(), uuid4()
    large = RequestBundle(bucket, key, request, 2, "recordings", uuid4)
    small = RequestBundle(bucket, key, request, 2, "app", uuid4)
    members = [
        await large.write("recordings/0001.wav", "recordings", chunks(*[BLOCK] * 300), review=True),
        await small.write("customers/contact.csv", "customers", chunks(b"id,email\r\n1,a@example.org\r\n")),
    ]
    await RequestBundle(bucket, key, other, 1, "app", uuid4).write("customers/contact.json", "customers", chunks(b"[]"))

    copy = Copy(request, "acme", datetime(2026, 6, 1, tzinfo=UTC), members, released=True)
    zipped = zipfile.ZipFile(io.BytesIO(b"".join([c async for c in stream_zip(bucket, key, copy, sample_inventory())])))

    assert hashlib.sha256(zipped.read("recordings/recordings/0001.wav")).hexdigest() == members[0].sha256
    assert zipped.read("recordings/recordings/0001.wav") == BLOCK * 300
    assert zipped.testzip() is None

    await delete_bundle(bucket, request)
    assert [v async for v in bucket.versions(f"{request}/")] == []
    assert len([v async for v in bucket.versions(f"{other}/")]) == 1


async def test_memory_stays_flat(bucket: S3Bucket) -> None:
    bundle = RequestBundle(bucket, OctKey.generate_key(256), uuid4(), 1, "recordings", uuid4)
    tracemalloc.start()
    try:
        await bundle.write("recordings/0001.wav", "recordings", chunks(*[BLOCK] * 1600))  # 100 MiB
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 << 20


async def test_storage_that_is_away_is_tried_again() -> None:
    async with open_bucket("bundles", Access(REGION, "http://127.0.0.1:9", "key-id", "secret")) as bucket:
        bundle = RequestBundle(bucket, OctKey.generate_key(256), uuid4(), 1, "app", uuid4)
        with pytest.raises(Transient, match="storage_unavailable"):
            await bundle.write("customers/contact.json", "customers", chunks(b"[]"))

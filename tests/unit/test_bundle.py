"""The portable copy: members sealed and read back, and the ZIP that a person receives."""

import asyncio
import csv
import hashlib
import io
import json
import random
import re
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from uuid import UUID, uuid4

import pyrage
import pytest
from joserfc.jwk import OctKey

from contracts.reports import Member
from services.connectors.port import Terminal, Transient
from services.connectors.storage import RequestBundle
from services.kit.bundle import Copy, Damaged, delete_bundle, identity, read_member, stream_zip
from services.kit.bundle.age import decrypt, encrypt
from services.kit.objects import AccessDenied, Lock, Upload
from tests.support.inventory import sample_inventory
from tests.support.memory_bucket import MemoryBucket
from tests.support.s3 import chunks

REQUEST = UUID(int=7)
MADE_AT = datetime(2026, 6, 2, 10, 30, tzinfo=UTC)
CSV = (
    b'id,email,note\r\n1,ada@example.org,"two\r\nlines, and ""quotes"""\r\n'
    b"2,bo@example.org,<script>alert(1)</script>\r\n"
)


@pytest.fixture
def key() -> OctKey:
    return OctKey.generate_key(256)


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


def writer(bucket: MemoryBucket, key: OctKey, store: str = "app", round_: int = 2) -> RequestBundle:
    numbers = count(len(bucket.contents))
    return RequestBundle(bucket, key, REQUEST, round_, store, lambda: UUID(int=next(numbers)))


async def read(content: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in content])


async def archive(bucket: MemoryBucket, key: OctKey, *members: Member, released: bool = False) -> zipfile.ZipFile:
    copy = Copy(REQUEST, "acme", MADE_AT, members, released)
    return zipfile.ZipFile(io.BytesIO(await read(stream_zip(bucket, key, copy, sample_inventory()))))


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# --- members at rest


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_000_000])
async def test_a_member_is_read_back_as_it_was_written(bucket: MemoryBucket, key: OctKey, size: int) -> None:
    content = noise(size)
    member = await writer(bucket, key).write("usage/1.bin", "usage", chunks(content[:100], content[100:]))

    assert (member.size, member.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert re.fullmatch(rf"{REQUEST}/2/app/[0-9a-f-]{{36}}", member.object)
    assert await read(read_member(bucket, key, member)) == content


async def test_what_rests_is_sealed_and_any_age_tool_opens_it(bucket: MemoryBucket, key: OctKey) -> None:
    member = await writer(bucket, key).write("customers/contact.csv", "customers", chunks(CSV))

    (resting,) = bucket.contents.values()
    assert resting is not None
    assert b"ada@example.org" not in resting
    assert resting.startswith(b"age-encryption.org/v1")
    assert pyrage.decrypt(resting, [pyrage.x25519.Identity.from_str(identity(key))]) == CSV
    with pytest.raises(Damaged):
        await read(read_member(bucket, OctKey.generate_key(256), member))


async def test_a_second_attempt_disturbs_nothing_of_the_first(bucket: MemoryBucket, key: OctKey) -> None:
    bundle = writer(bucket, key)
    first = await bundle.write("usage/1.json", "usage", chunks(b"1"))
    second = await bundle.write("usage/1.json", "usage", chunks(b"2"))

    assert await read(read_member(bucket, key, first)) == b"1"
    assert await read(read_member(bucket, key, second)) == b"2"


class LyingBucket(MemoryBucket):
    """Gives back something else than it was given."""

    async def get(self, key: str, version_id: str | None = None) -> AsyncIterator[bytes]:
        for at, chunk in enumerate([chunk async for chunk in super().get(key, version_id)]):
            yield bytes([chunk[0] ^ 1]) + chunk[1:] if at == 3 else chunk


class ForgetfulBucket(MemoryBucket):
    """Keeps the name and loses the content."""

    async def get(self, key: str, version_id: str | None = None) -> AsyncIterator[bytes]:
        async for _ in super().get(key, version_id):
            return
        yield b""


@pytest.mark.parametrize("bad", [LyingBucket, ForgetfulBucket])
async def test_what_reads_back_otherwise_was_not_written(bad: type[MemoryBucket], key: OctKey) -> None:
    with pytest.raises(Transient, match="bundle_damaged"):
        await writer(bad(), key).write("usage/1.json", "usage", chunks(noise(10_000)))


async def test_a_lost_bucket_is_for_a_person_to_mend(bucket: MemoryBucket, key: OctKey) -> None:
    bucket.lost = True
    with pytest.raises(Terminal, match="bucket_missing"):
        await writer(bucket, key).write("usage/1.json", "usage", chunks(b"x"))


async def test_a_source_that_fails_is_not_storage_that_fails(bucket: MemoryBucket, key: OctKey) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield noise(200_000)
        raise Transient("the_source")

    with pytest.raises(Transient, match="the_source"):
        await writer(bucket, key).write("usage/1.json", "usage", failing())
    assert bucket.contents == {}


async def test_sealing_holds_no_more_in_memory_than_its_buffers(key: OctKey) -> None:
    given = taken = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(500):
            given += 65_536
            yield bytes(65_536)

    async for chunk in decrypt(encrypt(source(), key), key):
        taken += len(chunk)
        assert given - taken < 4 << 20
    assert taken == given


async def test_whoever_stops_reading_leaves_nothing_running(key: OctKey) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield bytes(65_536)

    before = asyncio.all_tasks()
    sealed = encrypt(endless(), key)
    await anext(sealed)
    seen = -1
    while seen != given:  # until every buffer on the way is full
        seen = given
        await asyncio.sleep(0.1)
    await asyncio.wait_for(sealed.aclose(), 30)  # type: ignore[attr-defined]
    async with asyncio.timeout(30):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0)


async def test_deleting_a_bundle_takes_all_of_it_and_nothing_else(bucket: MemoryBucket, key: OctKey) -> None:
    member = await writer(bucket, key).write("usage/1.json", "usage", chunks(b"1"))
    await writer(bucket, key, round_=3).write("usage/1.json", "usage", chunks(b"2"))
    bucket.hide(member.object)
    other = f"{uuid4()}/1/app/1"
    await bucket.put(other, chunks(b"another's"))
    bucket.uploads_ = [Upload(f"{REQUEST}/2/app/9", "u1"), Upload(other, "u2")]

    await delete_bundle(bucket, REQUEST)
    await delete_bundle(bucket, REQUEST)

    assert [name for name, _ in bucket.contents] == [other]
    assert [upload.id for upload in bucket.uploads_] == ["u2"]


async def test_a_bundle_that_stays_is_no_deleted_bundle(bucket: MemoryBucket, key: OctKey) -> None:
    member = await writer(bucket, key).write("usage/1.json", "usage", chunks(b"1"))
    bucket.locks[member.object] = Lock(None)
    with pytest.raises(AccessDenied):
        await delete_bundle(bucket, REQUEST)


# --- the archive


async def test_the_archive_holds_each_member_under_its_store(bucket: MemoryBucket, key: OctKey) -> None:
    app, analytics = writer(bucket, key), writer(bucket, key, "analytics")
    members = [
        await app.write("customers/contact.csv", "customers", chunks(CSV)),
        await app.write("customers/contact.json", "customers", chunks(b"[]")),
        await analytics.write("usage/event.json", "usage", chunks(noise(300_000))),
    ]

    zipped = await archive(bucket, key, *members)

    assert zipped.testzip() is None
    assert zipped.namelist() == [
        "analytics/usage/event.json", "app/customers/contact.csv", "app/customers/contact.json", "manifest.json",
        "index.html",
    ]  # fmt: skip
    assert zipped.read("app/customers/contact.csv") == CSV
    manifest = json.loads(zipped.read("manifest.json"))
    for entry in manifest["members"]:
        content = zipped.read(entry["path"])
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert manifest["request_id"] == str(REQUEST)
    assert manifest["categories"]["customers"] == {
        "purpose": "customer relationship",
        "basis": "contract",
        "origin": "provided",
    }


async def test_the_manifest_says_what_a_tables_fields_mean(bucket: MemoryBucket, key: OctKey) -> None:
    member = await writer(bucket, key).write("customers/contact.csv", "customers", chunks(CSV))

    (entry,) = json.loads((await archive(bucket, key, member)).read("manifest.json"))["members"]

    assert entry["rows"] == len(list(csv.reader(io.StringIO(CSV.decode())))) - 1 == 2
    assert entry["fields"] == {
        "id": "contact_id: marks one person",
        "email": "email: marks one person",
        "note": None,
    }


async def test_rows_are_counted_beyond_the_preview(bucket: MemoryBucket, key: OctKey) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["id", "page"], *([str(n), f'"quoted"\n{n}'] for n in range(10_000))])
    member = await writer(bucket, key).write("usage/event.csv", "usage", chunks(text.getvalue().encode()))

    zipped = await archive(bucket, key, member)

    (entry,) = json.loads(zipped.read("manifest.json"))["members"]
    assert entry["rows"] == 10_000
    assert zipped.read("index.html").decode().count("<tr>") == 1 + 5


async def test_what_holds_a_second_voice_waits_for_its_release(bucket: MemoryBucket, key: OctKey) -> None:
    bundle = writer(bucket, key, "recordings")
    members = [
        await bundle.write("recordings/0001.wav", "recordings", chunks(noise(5000)), review=True),
        await bundle.write("recordings/0002.wav", "recordings", chunks(noise(5001)), review=True),
    ]

    kept = await archive(bucket, key, *members)
    released = await archive(bucket, key, *members, released=True)

    assert kept.namelist() == ["manifest.json", "index.html"]
    assert json.loads(kept.read("manifest.json"))["withheld"] == {"recordings": 2}
    assert "2 more were left out" in kept.read("index.html").decode()
    assert "recordings/recordings/0002.wav" in released.namelist()
    assert json.loads(released.read("manifest.json"))["withheld"] == {}
    assert "left out because" not in released.read("index.html").decode()


async def test_a_later_round_adds_beside_the_first(bucket: MemoryBucket, key: OctKey) -> None:
    first, later = writer(bucket, key), writer(bucket, key, round_=4)
    members = [
        await first.write("usage/device.json", "usage", chunks(b"[1]")),
        await first.write("customers/contact.json", "customers", chunks(b"[2]")),
        await later.write("usage/device.json", "usage", chunks(b"[1, 3]")),
        await later.write("customers/contact.json", "customers", chunks(b"[2]")),
    ]

    zipped = await archive(bucket, key, *members)

    tables = {name: zipped.read(name) for name in zipped.namelist() if name.startswith("app/")}
    assert tables == {
        "app/customers/contact.json": b"[2]",
        "app/usage/device.json": b"[1]",
        "app/usage/device-2.json": b"[1, 3]",
    }


async def test_the_page_can_be_read_offline(bucket: MemoryBucket, key: OctKey) -> None:
    bundle = writer(bucket, key)
    members = [
        await bundle.write("customers/contact.csv", "customers", chunks(CSV)),
        await bundle.write("customers/contact.json", "customers", chunks(b"[]")),
    ]

    zipped = await archive(bucket, key, *members)
    page = zipped.read("index.html").decode()

    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert set(links) == {"app/customers/contact.csv", "app/customers/contact.json", "manifest.json"}
    assert set(links) <= set(zipped.namelist())
    assert not re.search(r"https?://|//\w|@import|url\(", page)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    for said in ("customer relationship", "contract", "provided", "ada@example.org", "2 rows"):
        assert said in page


async def test_a_damaged_member_leaves_no_archive_that_opens(bucket: MemoryBucket, key: OctKey) -> None:
    bundle = writer(bucket, key)
    good = await bundle.write("usage/1.json", "usage", chunks(b"1"))
    bad = good.model_copy(update={"name": "usage/2.json", "sha256": hashlib.sha256(b"2").hexdigest()})
    received = bytearray()

    async def receive() -> None:
        async for chunk in stream_zip(bucket, key, Copy(REQUEST, "acme", MADE_AT, [good, bad]), sample_inventory()):
            received.extend(chunk)

    with pytest.raises(Damaged):
        await receive()

    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(received))


async def test_the_archive_streams(bucket: MemoryBucket, key: OctKey) -> None:
    member = await writer(bucket, key).write("usage/1.bin", "usage", chunks(noise(4 << 20)))
    copy = Copy(REQUEST, "acme", MADE_AT, [member])
    sizes = [len(chunk) async for chunk in stream_zip(bucket, key, copy, sample_inventory())]
    assert max(sizes) < 1 << 18

"""Recordings over a bucket in memory: whose keys are whose, what is locked, and that trouble stays with its subject."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest

from contracts.reports import Level, Locked
from services.connectors.port import (
    Erasure,
    Export,
    Findings,
    Identifier,
    Revoked,
    Scope,
    Subject,
    Terminal,
    Transient,
)
from services.connectors.recordings.batch import free_on
from services.connectors.recordings.connector import RecordingsConnector
from services.connectors.recordings.prefixes import prefixes
from services.kit.inventory import KeyRule, RecordingsStore, Role
from services.kit.objects import Lock, Refusal, Unavailable, Upload, Version
from tests.support.inventory import sample_inventory
from tests.support.memory_bucket import MemoryBucket
from tests.support.port import NOW, MemoryBundle, Permits, StillClock
from tests.support.s3 import chunks

OURS = Scope("acme", Role.CONTROLLER)
GLOBEX = Scope("globex", Role.PROCESSOR, "42")
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def subject(*calls: str, scope: Scope = OURS, request: UUID | None = None) -> Subject:
    return Subject(request or uuid4(), scope, frozenset(Identifier("call_id", call) for call in calls))


def connector(bucket: MemoryBucket, rows: int = 100) -> RecordingsConnector:
    inventory = sample_inventory()
    inventory = inventory.model_copy(update={"limits": inventory.limits.model_copy(update={"rows_per_request": rows})})
    store = inventory.stores["recordings"]
    assert isinstance(store, RecordingsStore)
    return RecordingsConnector(store, inventory, bucket, StillClock())


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


async def put(bucket: MemoryBucket, *keys: str) -> None:
    for key in keys:
        await bucket.put(key, chunks(key.encode()), overwrite=True)


async def erase(bucket: MemoryBucket, *subjects: Subject) -> Sequence[object]:
    return await connector(bucket).erase(subjects, Permits.of(subjects))


# --- whose keys


def test_a_controllers_request_and_a_processors_reach_different_keys() -> None:
    rules = sample_inventory().stores["recordings"].keys  # type: ignore[union-attr]
    assert [p.text for p in prefixes(rules, subject("1", "2"))] == ["own/calls/1/", "own/calls/2/"]
    assert [p.text for p in prefixes(rules, subject("1", scope=GLOBEX))] == ["42/calls/1/"]


def test_a_rule_of_two_kinds_needs_both() -> None:
    rules = [KeyRule(prefix="{contact_id}/{call_id}/", role=Role.CONTROLLER)]
    both = Subject(uuid4(), OURS, frozenset({Identifier("contact_id", "7"), Identifier("call_id", "1")}))
    assert [p.text for p in prefixes(rules, both)] == ["7/1/"]
    assert prefixes(rules, subject("1")) == []


@pytest.mark.parametrize("odd", ["", "1/../2", "..", ".", "1/", "a b", "1\n", "*", "é", "%2e", "1\\2", "{tenant}"])
async def test_a_value_that_could_widen_the_prefix_is_refused(bucket: MemoryBucket, odd: str) -> None:
    await put(bucket, "own/calls/1/audio.wav", "own/calls//audio.wav")
    bad, good = subject(odd), subject("1")

    answers = await erase(bucket, bad, good)

    assert isinstance(answers[0], Terminal)
    assert answers[0].code == "odd_identifier"
    assert isinstance(answers[1], Erasure)
    assert list(bucket.contents) == [("own/calls//audio.wav", "v2")]


async def test_call_12_is_not_call_123(bucket: MemoryBucket) -> None:
    await put(bucket, "own/calls/12/audio.wav", "own/calls/123/audio.wav", "42/calls/12/audio.wav")
    await erase(bucket, subject("12"))
    assert {key for key, _ in bucket.contents} == {"own/calls/123/audio.wav", "42/calls/12/audio.wav"}


# --- what is erased


async def test_every_version_marker_and_upload_goes_and_each_key_counts_once(bucket: MemoryBucket) -> None:
    await put(bucket, "own/calls/1/audio.wav", "own/calls/1/audio.wav", "own/calls/1/transcript.json")
    bucket.hide("own/calls/1/audio.wav")
    bucket.uploads_ = [Upload("own/calls/1/waveform.json", "u"), Upload("own/calls/1/audio.wav", "u")]
    who = subject("1")

    (found,) = await connector(bucket).discover([who], Permits.of([who]))
    (done,) = await erase(bucket, who)

    assert isinstance(found, Findings)
    assert found.found == {"recordings": 3}
    assert done == Erasure(frozenset({"call_id"}), Level.EFFECTIVE, erased={"recordings": 3})
    assert (bucket.contents, bucket.uploads_) == ({}, [])


class Counting(MemoryBucket):
    """Counts what a delete is given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    async def delete(self, versions: Sequence[Version]) -> Sequence[Refusal]:
        self.batches += [len(versions)] if versions else []
        return await super().delete(versions)


async def test_many_subjects_share_a_batch_of_a_thousand() -> None:
    bucket = Counting()
    for call in range(12):
        await put(bucket, *(f"own/calls/{call}/{n:03d}" for n in range(100)))
    subjects = [subject(str(call)) for call in range(12)]

    answers = await erase(bucket, *subjects)

    assert [a.erased for a in answers if isinstance(a, Erasure)] == [{"recordings": 100}] * 12
    assert bucket.batches == [1000, 200]


async def test_two_requests_may_hold_the_same_call(bucket: MemoryBucket) -> None:
    await put(bucket, "own/calls/1/audio.wav")
    answers = await erase(bucket, subject("1"), subject("1"))
    assert [a.erased for a in answers if isinstance(a, Erasure)] == [{"recordings": 1}] * 2


# --- locks


async def test_a_lock_is_told_with_its_end_and_is_not_forced(bucket: MemoryBucket) -> None:
    await put(bucket, "own/calls/1/a.wav", "own/calls/1/b.wav", "own/calls/1/c.wav", "own/calls/1/d.wav")
    bucket.locks = {"own/calls/1/a.wav": Lock(LATER), "own/calls/1/b.wav": Lock(LATER), "own/calls/1/c.wav": Lock(None)}
    locked = {
        Locked(category="recordings", count=2, until=date(2027, 1, 1)),
        Locked(category="recordings", count=1, until=None),
    }
    who = subject("1")

    (found,) = await connector(bucket).discover([who], Permits.of([who]))
    (done,) = await erase(bucket, who)

    assert isinstance(found, Findings)
    assert (found.found, set(found.locked)) == ({"recordings": 4}, locked)
    assert isinstance(done, Erasure)
    assert (done.erased, set(done.locked)) == ({"recordings": 1}, locked)
    assert {key for key, _ in bucket.contents} == set(bucket.locks)


async def test_the_marker_of_a_locked_object_stays_on_top_of_it(bucket: MemoryBucket) -> None:
    await put(bucket, "own/calls/1/a.wav", "own/calls/1/b.wav")
    bucket.hide("own/calls/1/a.wav")
    bucket.hide("own/calls/1/b.wav")
    bucket.locks = {"own/calls/1/a.wav": Lock(None)}

    (done,) = await erase(bucket, subject("1"))

    assert isinstance(done, Erasure)
    assert (done.erased, [lock.count for lock in done.locked]) == ({"recordings": 1}, [1])
    assert [v.marker async for v in bucket.versions("") if v.latest] == [True]


async def test_a_missing_right_is_no_lock_and_fails_its_subject_alone(bucket: MemoryBucket) -> None:
    await put(bucket, "own/calls/1/a.wav", "own/calls/2/a.wav")
    bucket.locks = {"own/calls/1/a.wav": None}

    refused, done = await erase(bucket, subject("1"), subject("2"))

    assert isinstance(refused, Terminal)
    assert refused.code == "access_denied"
    assert isinstance(done, Erasure)


async def test_a_retention_that_has_run_out_is_no_lock(bucket: MemoryBucket) -> None:
    await put(bucket, "own/calls/1/a.wav")
    bucket.locks = {"own/calls/1/a.wav": Lock(NOW)}
    who = subject("1")
    (found,) = await connector(bucket).discover([who], Permits.of([who]))
    assert isinstance(found, Findings)
    assert found.locked == ()


@pytest.mark.parametrize(
    ("until", "free"),
    [
        (datetime(2027, 1, 1, tzinfo=UTC), date(2027, 1, 1)),
        (datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC), date(2027, 1, 2)),
        (None, None),
    ],
)
def test_the_first_day_free_of_a_lock(until: datetime | None, free: date | None) -> None:
    assert free_on(Lock(until)) == free


# --- trouble


class Failing(MemoryBucket):
    """Can't list call 1."""

    async def versions(self, prefix: str) -> AsyncIterator[Version]:
        if prefix == "own/calls/1/":
            raise Unavailable
        async for version in super().versions(prefix):
            yield version


async def test_one_subjects_failure_is_not_anothers() -> None:
    bucket = Failing()
    await put(bucket, "own/calls/1/a.wav", "own/calls/2/a.wav")
    failed, done = await erase(bucket, subject("1"), subject("2"))
    assert isinstance(failed, Transient)
    assert isinstance(done, Erasure)
    assert [key for key, _ in bucket.contents] == ["own/calls/1/a.wav"]


class Rewritten(MemoryBucket):
    """The application writes the object again as soon as it is deleted."""

    async def delete(self, versions: Sequence[Version]) -> Sequence[Refusal]:
        refusals = await super().delete(versions)
        for key in {version.key for version in versions}:
            await put(self, key)
        return refusals


async def test_what_is_written_meanwhile_is_not_called_erased() -> None:
    bucket = Rewritten()
    await put(bucket, "own/calls/1/a.wav")
    (answer,) = await erase(bucket, subject("1"))
    assert isinstance(answer, Transient)
    assert answer.code == "written_meanwhile"


async def test_the_permit_is_asked_before_each_batch(bucket: MemoryBucket) -> None:
    for call in ("1", "2"):
        await put(bucket, f"own/calls/{call}/a.wav")
    first, second = subject("1"), subject("2")
    listing_only = Permits.of([first, second], calls=1)
    assert [type(a) for a in await connector(bucket).erase([first, second], listing_only)] == [Revoked, Revoked]
    assert len(bucket.contents) == 2


# --- the copy


async def test_the_copy_names_no_call_and_says_what_each_file_is(bucket: MemoryBucket) -> None:
    await put(
        bucket, "own/calls/77/audio.wav", "own/calls/77/audio.wav", "own/calls/77/Mr Smith.x;y", "own/calls/8/t.json"
    )
    bucket.hide("own/calls/8/t.json")
    who, bundle = subject("77", "8"), MemoryBundle()

    export = await connector(bucket).export(who, bundle, Permits.of([who]))

    assert isinstance(export, Export)
    assert list(bundle.contents) == [
        "recordings/0001", "recordings/0002.wav", "recordings/objects.json", "recordings/objects.csv",
    ]  # fmt: skip
    assert all(member.review for member in export.members)
    assert bundle.contents["recordings/0002.wav"] == b"own/calls/77/audio.wav"
    header, first, second = bundle.contents["recordings/objects.csv"].decode().splitlines()
    assert header == "file,call_id,object,stored_at,bytes,sha256"
    assert first.startswith("0001,77,Mr Smith.x;y,2026-06-01T00:00:03+00:00,25,")
    assert second.startswith("0002.wav,77,audio.wav,")


# --- the bucket itself


async def test_a_bucket_that_is_gone_or_elsewhere_is_a_problem(bucket: MemoryBucket) -> None:
    assert (await connector(bucket).check()).problems == ()
    bucket.region_ = "us-east-1"
    (outside,) = (await connector(bucket).check()).problems
    assert "us-east-1" in outside.what
    bucket.lost = True
    (gone,) = (await connector(bucket).check()).problems
    assert "bucket_missing" in gone.what

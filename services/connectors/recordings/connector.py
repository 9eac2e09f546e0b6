"""Call recordings in S3 as a store: the port's four methods."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from contracts.reports import Level, Locked
from services.connectors.port import (
    BundleWriter,
    Checkpoint,
    Erasure,
    Export,
    Findings,
    Health,
    Problem,
    Revoked,
    StoreConnector,
    Subject,
    Terminal,
    Transient,
)
from services.connectors.recordings.batch import Case, Held, each, free_on, parts, permitted, runs
from services.connectors.recordings.export import Exporter
from services.connectors.recordings.prefixes import Prefix, prefixes, searchable
from services.connectors.storage import failure_of
from services.kit.clock import Clock
from services.kit.inventory import Inventory, RecordingsStore
from services.kit.objects import (
    BATCH,
    Access,
    AccessDenied,
    Bucket,
    BucketMissing,
    ObjectsError,
    Unavailable,
    Upload,
    Version,
    open_bucket,
)
from services.kit.settings import Settings


@asynccontextmanager
async def connect(store: str, inventory: Inventory, settings: Settings, clock: Clock) -> AsyncIterator[StoreConnector]:
    """Open the bucket of the store named `store`."""
    declared = inventory.stores[store]
    assert isinstance(declared, RecordingsStore)
    async with open_bucket(declared.bucket, Access.of(settings)) as bucket:
        yield RecordingsConnector(declared, inventory, bucket, clock)


class RecordingsConnector:
    """Counts objects, as a person would: a key counts once, with however many versions, markers and unfinished uploads.
    Nothing is left only when none of these is left."""

    def __init__(self, store: RecordingsStore, inventory: Inventory, bucket: Bucket, clock: Clock) -> None:
        self._store, self._inventory, self._bucket, self._clock = store, inventory, bucket, clock

    async def discover(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint
    ) -> Sequence[Findings | Transient | Terminal | Revoked]:
        """Lists what lies under each subject's prefixes; where the bucket can lock, asks what is locked."""
        cases = await self._find(subjects, checkpoint)
        await self._see_locks([case for case in cases if case.held.versions], checkpoint)
        return [
            case.end or Findings(case.asked_with, found=self._count(len(case.held.keys)), locked=self._locked(case))
            for case in cases
        ]

    async def erase(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint
    ) -> Sequence[Erasure | Transient | Terminal | Revoked]:
        """Deletes versions first and markers after them, for many subjects in one call; then lists again.

        The marker of an object that can't be deleted stays: without it, the object would be in plain sight again.
        """
        cases = await self._find(subjects, checkpoint)
        await each(_uploads(cases), checkpoint, self._abort)
        await self._delete([(c, v) for c in cases for v in c.held.versions if not v.marker], checkpoint)
        markers = [(c, v) for c in cases for v in c.held.versions if v.marker and v.key not in c.refused_keys]
        await self._delete(markers, checkpoint)
        await each(_prefixes(cases), checkpoint, self._look_again)
        await each(((c, v) for c in cases for v in c.left.versions if v in c.refused), checkpoint, self._why_refused)
        return [case.end or self._erasure(case) for case in cases]

    async def export(
        self, subject: Subject, bundle: BundleWriter, checkpoint: Checkpoint
    ) -> Export | Transient | Terminal | Revoked:
        """The current version of each object, and a table of them."""
        category = self._inventory.categories[self._store.category]
        (case,) = await self._find([subject], checkpoint)
        if case.end:
            return case.end
        current = [version for version in case.held.versions if version.latest and not version.marker]
        if not category.portable or not current:
            return Export(())
        exporter = Exporter(self._bucket, bundle, checkpoint, case, self._store.category, category.third_party)
        try:
            return await exporter.run(sorted(current, key=lambda version: version.key))
        except ObjectsError as error:
            return failure_of(error)

    async def check(self) -> Health:
        """Whether the bucket is there, may be listed, and lies where data may reside."""
        where = f"bucket {self._store.bucket}"
        try:
            region = await self._bucket.region()
            await self._list("letheia-check/")
        except ObjectsError as error:
            fix = (
                "create it, restore it, or correct the inventory"
                if isinstance(error, BucketMissing)
                else "grant s3:ListBucketVersions, s3:ListBucketMultipartUploads and s3:DeleteObjectVersion to us"
                if isinstance(error, AccessDenied)
                else "see that the endpoint answers"
            )
            return Health((Problem(where, f"can't be worked with ({error.code})", fix),))
        residency = self._inventory.residency
        if region and residency and region not in residency:
            what = f"lies in {region}, outside {', '.join(residency)}"
            return Health((Problem(where, what, "move it, or add the region to residency in the inventory"),))
        return Health()

    async def _find(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> list[Case]:
        cases = [self._case(subject) for subject in subjects]
        await each(_prefixes(cases), checkpoint, self._look)
        return cases

    def _case(self, subject: Subject) -> Case:
        asked_with = frozenset(kind for rule in searchable(self._store.keys, subject) for kind in rule.kinds)
        try:
            return Case(subject, asked_with, prefixes(self._store.keys, subject))
        except Terminal as failure:
            return Case(subject, asked_with, [], end=failure)

    async def _look(self, case: Case, prefix: Prefix) -> None:
        listed = await self._list(prefix.text)
        case.held.versions += listed.versions
        case.held.uploads += listed.uploads
        if len(case.held.keys) > self._inventory.limits.rows_per_request:
            case.end = Terminal("row_limit")

    async def _look_again(self, case: Case, prefix: Prefix) -> None:
        listed = await self._list(prefix.text)
        case.left.versions += listed.versions
        case.left.uploads += listed.uploads

    async def _list(self, prefix: str) -> Held:
        versions = [version async for version in self._bucket.versions(prefix) if version.key.startswith(prefix)]
        uploads = [upload async for upload in self._bucket.uploads(prefix) if upload.key.startswith(prefix)]
        return Held(versions, uploads)

    async def _see_locks(self, cases: Sequence[Case], checkpoint: Checkpoint) -> None:
        await permitted(cases, checkpoint)
        try:
            if cases and await self._bucket.has_locks():
                await each(((c, v) for c in cases for v in c.held.versions), checkpoint, self._see_lock)
        except ObjectsError as error:
            raise failure_of(error) from error

    async def _see_lock(self, case: Case, version: Version) -> None:
        lock = await self._bucket.lock(version)
        if lock and runs(lock, self._clock.now()):
            case.keep(version.key, lock)

    async def _abort(self, case: Case, upload: Upload) -> None:
        await self._bucket.abort(upload)

    async def _delete(self, work: Sequence[tuple[Case, Version]], checkpoint: Checkpoint) -> None:
        for part in parts(work, BATCH):
            await permitted((case for case, _ in part), checkpoint)
            owners: dict[Version, list[Case]] = {}
            for case, version in part:
                if case.end is None:
                    owners.setdefault(version, []).append(case)
            try:
                refusals = await self._bucket.delete(list(owners))
            except ObjectsError as error:
                for case in {case for of in owners.values() for case in of}:
                    case.end = failure_of(error)
                continue
            for refusal in refusals:
                for case in owners[refusal.version]:
                    case.refused[refusal.version] = refusal.error

    async def _why_refused(self, case: Case, version: Version) -> None:
        """A lock, or else what the store said. S3 refuses a locked version as it refuses one we have no right to."""
        error = case.refused[version]
        if isinstance(error, Unavailable):
            raise error
        lock = await self._bucket.lock(version)
        if lock is None or not runs(lock, self._clock.now()):
            raise error
        case.keep(version.key, lock)

    def _erasure(self, case: Case) -> Erasure | Transient:
        if case.left.keys - case.locks.keys():
            return Transient("written_meanwhile")
        gone = len(case.held.keys - case.left.keys)
        return Erasure(case.asked_with, Level.EFFECTIVE, erased=self._count(gone), locked=self._locked(case))

    def _count(self, count: int) -> dict[str, int]:
        return {self._store.category: count} if count else {}

    def _locked(self, case: Case) -> tuple[Locked, ...]:
        counts = Counter(free_on(lock) for lock in case.locks.values())
        return tuple(Locked(category=self._store.category, count=n, until=until) for until, n in counts.items())


def _prefixes(cases: Sequence[Case]) -> list[tuple[Case, Prefix]]:
    return [(case, prefix) for case in cases for prefix in case.prefixes]


def _uploads(cases: Sequence[Case]) -> list[tuple[Case, Upload]]:
    return [(case, upload) for case in cases for upload in case.held.uploads]

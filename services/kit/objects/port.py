"""What is asked of object storage: a port over one bucket, with typed errors that name no key.

What erasing needs is stranger than what storing needs. A plain DELETE in a versioned bucket only hides an object
behind a marker, so everything here speaks of versions; a listing shows no unfinished upload; a lock is refused in the
same words as a missing right (Amazon S3 user guide, "Deleting object versions", "Managing Object Lock").
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

BATCH: Final = 1000
"""Versions that one delete takes at the most."""


class ObjectsError(Exception):
    """Storage refused or failed. Its text is `code` alone, since the vendor's own quotes keys."""

    code = "storage_refused"

    def __init__(self) -> None:
        super().__init__(self.code)


class BucketMissing(ObjectsError):
    """There is no such bucket: lost, or misspelt in the inventory."""

    code = "bucket_missing"


class ObjectMissing(ObjectsError):
    """There is no such object, version or upload."""

    code = "object_missing"


class ObjectExists(ObjectsError):
    """The key is taken, and overwriting was not asked for."""

    code = "object_exists"


class AccessDenied(ObjectsError):
    """Credentials or rights do not suffice, or, of a version, it is locked: ask `Bucket.lock`."""

    code = "access_denied"


class Unavailable(ObjectsError):
    """Time-outs, throttling, conflicts with another writer, 5xx: another attempt may do."""

    code = "storage_unavailable"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or a delete marker."""

    key: str = field(repr=False)
    id: str
    """`null` for what was written before versioning began."""
    size: int
    modified: datetime
    latest: bool
    marker: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that nobody has finished; its parts rest in the bucket."""

    key: str = field(repr=False)
    id: str


@dataclass(frozen=True, slots=True)
class Lock:
    """What keeps a version: a retention until a moment, or (None) a legal hold until somebody lifts it."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that was not deleted, and why."""

    version: Version
    error: ObjectsError


class Bucket(Protocol):
    """One bucket. Every method raises `ObjectsError`s; a missing bucket is `BucketMissing`, never an empty answer."""

    async def put(self, key: str, content: AsyncIterator[bytes], *, overwrite: bool = False) -> None:
        """Write an object, a part at a time. Raises `ObjectExists`."""
        ...

    def get(self, key: str, version_id: str | None = None) -> AsyncIterator[bytes]:
        """An object's content, a chunk at a time; the current version if none is named. Raises `ObjectMissing`."""
        ...

    def versions(self, prefix: str) -> AsyncIterator[Version]:
        """Every version and delete marker of every key under a prefix."""
        ...

    def uploads(self, prefix: str) -> AsyncIterator[Upload]:
        """Every unfinished upload under a prefix."""
        ...

    async def delete(self, versions: Sequence[Version]) -> Sequence[Refusal]:
        """Delete for good these versions and markers, `BATCH` at the most. Locks are respected, never bypassed.

        What is gone already counts as deleted. Only what is refused by itself is answered, even by stores that refuse
        a whole batch for one locked version.
        """
        ...

    async def abort(self, upload: Upload) -> None:
        """Drop an unfinished upload; one that is gone is no error."""
        ...

    async def has_locks(self) -> bool:
        """True if objects of this bucket can be locked."""
        ...

    async def lock(self, version: Version) -> Lock | None:
        """What keeps this version. A legal hold comes before a retention, which it may outlast; a retention may have
        run out. S3 shows neither to who lacks `s3:GetObjectLegalHold` and `s3:GetObjectRetention`."""
        ...

    async def region(self) -> str | None:
        """Where the bucket is, if the store says so."""
        ...

"""A bucket in memory, for tests of what is built on the port."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from services.kit.objects import (
    AccessDenied,
    BucketMissing,
    Lock,
    ObjectExists,
    ObjectMissing,
    Refusal,
    Upload,
    Version,
)

START = datetime(2026, 6, 1, tzinfo=UTC)


class MemoryBucket:
    """A `Bucket` with versions. Tests set `uploads_`, `locks`, `region_` and `lost` as they like."""

    def __init__(self) -> None:
        self.contents: dict[tuple[str, str], bytes | None] = {}
        """By key and version, oldest first; None for a delete marker."""
        self.uploads_: list[Upload] = []
        self.locks: dict[str, Lock | None] = {}
        """By key what keeps all its versions; None where only rights are missing."""
        self.lost = False
        self.region_ = "eu-west-3"
        self._numbers = count(1)

    async def put(self, key: str, content: AsyncIterator[bytes], *, overwrite: bool = False) -> None:
        self._there()
        if not overwrite and self._current(key) is not None:
            raise ObjectExists
        whole = b"".join([chunk async for chunk in content])
        self.contents[key, f"v{next(self._numbers)}"] = whole

    def hide(self, key: str) -> None:
        """Put a delete marker on top."""
        self.contents[key, f"v{next(self._numbers)}"] = None

    async def get(self, key: str, version_id: str | None = None) -> AsyncIterator[bytes]:
        self._there()
        content = self.contents.get((key, version_id)) if version_id else self._current(key)
        if content is None:
            raise ObjectMissing
        for at in range(0, len(content), 1000):
            yield content[at : at + 1000]

    async def versions(self, prefix: str) -> AsyncIterator[Version]:
        self._there()
        latest = dict(self.contents.keys())
        for (key, id_), content in sorted(self.contents.items(), key=lambda item: item[0]):
            if key.startswith(prefix):
                at = START + timedelta(seconds=int(id_[1:]))
                yield Version(key, id_, len(content or b""), at, latest[key] == id_, content is None)

    async def uploads(self, prefix: str) -> AsyncIterator[Upload]:
        self._there()
        for upload in list(self.uploads_):
            if upload.key.startswith(prefix):
                yield upload

    async def delete(self, versions: Sequence[Version]) -> Sequence[Refusal]:
        self._there()
        refused = [version for version in versions if version.key in self.locks and not version.marker]
        for version in versions:
            if version not in refused:
                self.contents.pop((version.key, version.id), None)
        return [Refusal(version, AccessDenied()) for version in refused]

    async def abort(self, upload: Upload) -> None:
        self._there()
        self.uploads_ = [other for other in self.uploads_ if other != upload]

    async def has_locks(self) -> bool:
        self._there()
        return bool(self.locks)

    async def lock(self, version: Version) -> Lock | None:
        return self.locks.get(version.key)

    async def region(self) -> str | None:
        self._there()
        return self.region_

    def _there(self) -> None:
        if self.lost:
            raise BucketMissing

    def _current(self, key: str) -> bytes | None:
        versions = [content for (other, _), content in self.contents.items() if other == key]
        return versions[-1] if versions else None

"""A bundle's members where they rest: one encrypted object each, under `{request id}/{round}/{store}/`."""

import hashlib
from collections.abc import AsyncIterator
from uuid import UUID

from joserfc.jwk import OctKey

from contracts.reports import Member
from services.kit.bundle.age import Damaged, decrypt, encrypt
from services.kit.objects import BATCH, Bucket, Unavailable, Version


class _Measure:
    """Size and hash of content on its way."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    async def of(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in content:
            self.size += len(chunk)
            self._hash.update(chunk)
            yield chunk


async def write_member(bucket: Bucket, key: OctKey, like: Member, content: AsyncIterator[bytes]) -> Member:
    """Write the content of a member at `like.object`, read it back, and say what was read. Never overwrites.

    Memory stays flat, and nothing lies anywhere in the clear. Raises `ObjectsError`, or `Damaged` when what was read
    back differs.
    """
    written, read = _Measure(), _Measure()
    await bucket.put(like.object, encrypt(written.of(content), key))
    async for _ in read.of(decrypt(bucket.get(like.object), key)):
        pass
    if (read.size, read.sha256) != (written.size, written.sha256):
        raise Damaged
    return like.model_copy(update={"size": read.size, "sha256": read.sha256})


async def read_member(bucket: Bucket, key: OctKey, member: Member) -> AsyncIterator[bytes]:
    """The member's content. Raises `Damaged` after the last chunk if it is not what was reported, or `ObjectsError`."""
    read = _Measure()
    async for chunk in read.of(decrypt(bucket.get(member.object), key)):
        yield chunk
    if (read.size, read.sha256) != (member.size, member.sha256):
        raise Damaged


async def delete_bundle(bucket: Bucket, request_id: UUID) -> None:
    """Delete everything ever written for a request, unfinished uploads too. May be repeated.

    Raises the `ObjectsError` of the first object that stays.
    """
    prefix = f"{request_id}/"
    async for upload in bucket.uploads(prefix):
        await bucket.abort(upload)
    batch: list[Version] = []
    async for version in bucket.versions(prefix):
        batch.append(version)
        if len(batch) == BATCH:
            await _delete(bucket, batch)
            batch = []
    await _delete(bucket, batch)
    async for _ in bucket.versions(prefix):
        raise Unavailable  # written while we deleted


async def _delete(bucket: Bucket, batch: list[Version]) -> None:
    for refusal in await bucket.delete(batch):
        raise refusal.error

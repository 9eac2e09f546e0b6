"""Portable copies, made into a ZIP while they are fetched."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from contracts.reports import Member
from contracts.status import StatusDocument
from services.console.problems import Problem
from services.kit.bundle import Copy, stream_zip
from services.kit.inventory import Inventory
from services.kit.objects import Bucket
from services.kit.postgres import Pool
from services.kit.vault import Vault


@dataclass(frozen=True, slots=True)
class Bundles:
    """Where they lie, and what opens them."""

    pool: Pool
    vault: Vault
    bucket: Bucket
    inventory: Inventory

    async def open(self, status: StatusDocument, now: datetime) -> AsyncIterator[bytes]:
        """The archive of a request, its first chunk at hand already.

        Raises `Problem`: 404 where no copy was made, 410 past its pickup; `ObjectsError` when storage gives nothing.
        """
        if status.bundle is None or status.controller is None:
            raise Problem(404, "no_bundle", "There is no portable copy of this request, or not yet: see its status.")
        async with self.pool.acquire() as db:
            row = await db.fetchrow(
                "SELECT members, released, ready_at, expires_at FROM coordinator.bundles WHERE request_id = $1",
                status.request_id,
            )
            keys = await self.vault.keys(db, [status.request_id], "bundle")
        if row is None or status.request_id not in keys or row["expires_at"] <= now:
            raise Problem(410, "bundle_expired", f"It could be fetched until {status.bundle.expires_on}, and is gone.")
        members = [Member.read(member) for of_store in row["members"].values() for member in of_store]
        copy = Copy(status.request_id, status.controller, row["ready_at"], members, row["released"])
        chunks = stream_zip(self.bucket, keys[status.request_id], copy, self.inventory)
        return _after(await anext(chunks), chunks)


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk

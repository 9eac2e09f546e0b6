"""The portable copy of one subject's recordings: the objects under numbers, and a table that says what each one is."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from contracts.reports import Member
from services.connectors.port import BundleWriter, Checkpoint, Export, Revoked
from services.connectors.recordings.batch import Case
from services.kit.objects import Bucket, Version

_ENDING: Final = re.compile(r"\.[a-z0-9]{1,5}")
_CHECK_EVERY: Final = 16 << 20
"""Bytes between two checkpoints within one object."""


class Withdrawn(Exception):
    """The permit went while an object was being copied."""


class Exporter:
    """Streams objects into the bundle, one after the other."""

    def __init__(
        self, bucket: Bucket, bundle: BundleWriter, checkpoint: Checkpoint, case: Case, category: str,
        third_party: str | None,
    ) -> None:  # fmt: skip
        self._bucket, self._bundle, self._checkpoint, self._case = bucket, bundle, checkpoint, case
        self._category, self._review = category, third_party == "review"

    async def run(self, versions: Sequence[Version]) -> Export | Revoked:
        """A member for each version, whose name holds neither key nor call; then the table, as JSON and as CSV."""
        try:
            members = []
            rows = []
            for number, version in enumerate(versions, 1):
                ending = PurePosixPath(version.key).suffix.lower()
                name = f"{number:04d}{ending if _ENDING.fullmatch(ending) else ''}"
                member = await self._write(name, self._content(version))
                members.append(member)
                rows.append(self._row(version, member))
            for name, text in (("objects.json", _json(rows)), ("objects.csv", _csv(rows))):
                members.append(await self._write(name, _once(text)))
            return Export(tuple(members))
        except Withdrawn:
            return Revoked()

    async def _write(self, name: str, content: AsyncIterator[bytes]) -> Member:
        return await self._bundle.write(f"{self._category}/{name}", self._category, content, review=self._review)

    def _row(self, version: Version, member: Member) -> dict[str, str | int]:
        prefix = next(prefix for prefix in self._case.prefixes if version.key.startswith(prefix.text))
        return {
            "file": PurePosixPath(member.name).name,
            **prefix.record,
            "object": version.key.removeprefix(prefix.text),
            "stored_at": version.modified.isoformat(),
            "bytes": member.size,
            "sha256": member.sha256,
        }

    async def _content(self, version: Version) -> AsyncIterator[bytes]:
        await self._check()
        unchecked = 0
        async for chunk in self._bucket.get(version.key, version.id):
            unchecked += len(chunk)
            if unchecked > _CHECK_EVERY:
                unchecked = 0
                await self._check()
            yield chunk

    async def _check(self) -> None:
        if self._case.subject.request_id not in await self._checkpoint():
            raise Withdrawn


def _json(rows: Sequence[dict[str, str | int]]) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=1)


def _csv(rows: Sequence[dict[str, str | int]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


async def _once(text: str) -> AsyncIterator[bytes]:
    yield text.encode()

"""What connectors are handed, in memory: a checkpoint, a bundle, a clock."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from contracts.reports import Member
from services.connectors.port import LeaseLost, Subject
from services.kit.settings import Settings

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)


@dataclass
class StillClock:
    """Stands still, unless moved."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Permits:
    """A checkpoint: these requests are permitted; with `calls`, only for so many calls; `lost` has lost the lease."""

    ids: frozenset[UUID]
    calls: int | None = None
    lost: bool = False
    asked: int = 0

    @classmethod
    def of(cls, subjects: Iterable[Subject], calls: int | None = None) -> "Permits":
        return cls(frozenset(subject.request_id for subject in subjects), calls)

    async def __call__(self) -> frozenset[UUID]:
        self.asked += 1
        if self.lost:
            raise LeaseLost
        return self.ids if self.calls is None or self.asked <= self.calls else frozenset()


@dataclass
class MemoryBundle:
    """A bundle's members by name, in the clear."""

    contents: dict[str, bytes] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)

    async def write(self, name: str, category: str, content: AsyncIterator[bytes], *, review: bool = False) -> Member:
        assert name not in self.contents, f"{name} was written before"
        self.contents[name] = b"".join([part async for part in content])
        digest = hashlib.sha256(self.contents[name]).hexdigest()
        member = Member(name=name, category=category, size=len(self.contents[name]), sha256=digest, review=review)
        self.members.append(member)
        return member


def settings() -> Settings:
    """Of a service that is handed everything else."""
    return Settings.model_construct()

"""A batch of subjects on its way through the bucket: who is still permitted, who has failed, what each one holds."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final, TypeVar

from services.connectors.port import Checkpoint, Revoked, Subject, Terminal, Transient
from services.connectors.recordings.prefixes import Prefix
from services.connectors.storage import failure_of
from services.kit.objects import Lock, ObjectsError, Upload, Version

_SIDE_BY_SIDE: Final = 8
"""Calls under way at once."""

Item = TypeVar("Item")


@dataclass
class Held:
    """What lies under a subject's prefixes."""

    versions: list[Version] = field(default_factory=list)
    """Delete markers among them."""
    uploads: list[Upload] = field(default_factory=list)

    @property
    def keys(self) -> frozenset[str]:
        """The objects, as a person would count them."""
        return frozenset(version.key for version in self.versions) | {upload.key for upload in self.uploads}


@dataclass(eq=False)
class Case:
    """One subject of a batch."""

    subject: Subject
    asked_with: frozenset[str]
    prefixes: Sequence[Prefix]
    held: Held = field(default_factory=Held)
    left: Held = field(default_factory=Held)
    """What a second look found after the deletion."""
    refused: dict[Version, ObjectsError] = field(default_factory=dict)
    locks: dict[str, Lock] = field(default_factory=dict)
    """By key, what keeps it longest."""
    end: Transient | Terminal | Revoked | None = None
    """Why nothing more is done for them."""

    @property
    def refused_keys(self) -> frozenset[str]:
        """Objects of which some version could not be deleted."""
        return frozenset(version.key for version in self.refused)

    def keep(self, key: str, lock: Lock) -> None:
        """Note a lock on one of the key's versions; nobody knows the end of a legal hold, so it outlasts all."""
        known = self.locks.get(key)
        if known is None or (known.until and (lock.until is None or lock.until > known.until)):
            self.locks[key] = lock


def parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """In lists of at most `size`."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


async def permitted(cases: Iterable[Case], checkpoint: Checkpoint) -> None:
    """Ask the checkpoint, and end what is permitted no more."""
    ids = await checkpoint()
    for case in cases:
        if case.end is None and case.subject.request_id not in ids:
            case.end = Revoked()


async def each(
    work: Iterable[tuple[Case, Item]], checkpoint: Checkpoint, do: Callable[[Case, Item], Awaitable[None]]
) -> None:
    """Do it for each item, some side by side. What storage refuses ends the item's case and no other."""

    async def one(case: Case, item: Item) -> None:
        try:
            await do(case, item)
        except ObjectsError as error:
            case.end = failure_of(error)

    for part in parts(work, _SIDE_BY_SIDE):
        await permitted((case for case, _ in part), checkpoint)
        async with asyncio.TaskGroup() as group:
            for case, item in part:
                if case.end is None:
                    group.create_task(one(case, item))


def free_on(lock: Lock) -> date | None:
    """The first date (UTC) on which it keeps nothing any more; None for a legal hold."""
    if lock.until is None:
        return None
    last = lock.until.astimezone(UTC) - timedelta(microseconds=1)
    return last.date() + timedelta(days=1)


def runs(lock: Lock, now: datetime) -> bool:
    """True unless its retention has run out."""
    return lock.until is None or lock.until > now

"""A store over a dict, with every guarantee of the port: for the worker's tests, and to try the suite on."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TypeVar
from uuid import UUID

from contracts.reports import ConflictCode, Level, Retained
from services.connectors.port import (
    BundleWriter,
    Checkpoint,
    Contested,
    Erasure,
    Export,
    Findings,
    Health,
    Identifier,
    Problem,
    Revoked,
    Scope,
    Standing,
    StoreFailure,
    Subject,
    Terminal,
    Transient,
)
from services.kit.inventory import KindClass

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Record:
    """What the store holds; its identifiers of `person` kinds are its owners."""

    name: str
    scope: Scope
    category: str
    identifiers: frozenset[Identifier]
    reveals: frozenset[Identifier] = frozenset()
    retained_until: date | None = None
    anonymised: bool = False


@dataclass
class _Holdings:
    own: list[Record] = field(default_factory=list)
    contested: list[tuple[Identifier, Record]] = field(default_factory=list)
    known: set[Identifier] = field(default_factory=set)


@dataclass
class MemoryStore:
    """Put records into `records`; a failure in `failures` is that subject's answer; `broken` fails every call."""

    kinds: Mapping[str, KindClass]
    row_limit: int = 100_000
    records: dict[str, Record] = field(default_factory=dict)
    failures: dict[UUID, Transient | Terminal] = field(default_factory=dict)
    broken: StoreFailure | None = None

    def put(self, *records: Record) -> None:
        self.records |= {record.name: record for record in records}

    async def discover(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint
    ) -> Sequence[Findings | Transient | Terminal | Revoked]:
        return await self._each(subjects, checkpoint, self._findings)

    async def erase(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint
    ) -> Sequence[Erasure | Transient | Terminal | Revoked]:
        return await self._each(subjects, checkpoint, self._erasure)

    async def export(
        self, subject: Subject, bundle: BundleWriter, checkpoint: Checkpoint
    ) -> Export | Transient | Terminal | Revoked:
        (found,) = await self._each([subject], checkpoint, lambda its: self._search(its, learn=True))
        if not isinstance(found, _Holdings):
            return found
        members = [
            await bundle.write(f"{category}.json", category, _json(r for r in found.own if r.category == category))
            for category in sorted({record.category for record in found.own if record.retained_until is None})
        ]
        return Export(tuple(members))

    async def check(self) -> Health:
        return Health((Problem("memory", self.broken.code, "mend it"),) if self.broken else ())

    async def _each(
        self, subjects: Sequence[Subject], checkpoint: Checkpoint, act: Callable[[Subject], Answer]
    ) -> list[Answer | Transient | Terminal | Revoked]:
        answers: list[Answer | Transient | Terminal | Revoked] = []
        for subject in subjects:
            if subject.request_id not in await checkpoint():
                answers.append(Revoked())
            elif self.broken:
                raise self.broken
            elif subject.request_id in self.failures:
                answers.append(self.failures[subject.request_id])
            else:
                try:
                    answers.append(act(subject))
                except Terminal as failure:
                    answers.append(failure)
        return answers

    def _search(self, subject: Subject, *, learn: bool) -> _Holdings:
        known = {identifier for identifier in subject.identifiers if identifier.usable}
        while True:
            found = _Holdings(known=known)
            for record in self.records.values():
                if record.scope == subject.scope and (by := record.identifiers & known):
                    weak = self._contested(record, known, subject)
                    found.contested.extend([(min(by, key=lambda i: i.kind), record)] if weak else [])
                    found.own.extend([] if weak else [record])
            new = {i for record in found.own for i in record.reveals if not subject.find(i.kind, i.value)} - known
            if len(found.own) > self.row_limit:
                raise Terminal("row_limit")
            if not learn or not new:
                return found
            known = known | new

    def _contested(self, record: Record, known: set[Identifier], subject: Subject) -> bool:
        confirmed = {i for i in subject.identifiers if i.standing is Standing.CONFIRMED}
        alone = {i for i in subject.identifiers if i.alone}
        owners = {i for i in record.identifiers if self.kinds[i.kind] is KindClass.PERSON}
        sure = {i for i in record.identifiers & known if self.kinds[i.kind] is not KindClass.SHARED} | confirmed
        return not record.identifiers & sure and (bool(owners) or not record.identifiers & alone)

    def _asked_with(self, subject: Subject) -> frozenset[str]:
        return subject.usable_kinds(self.kinds)

    def _findings(self, subject: Subject) -> Findings:
        found = self._search(subject, learn=True)
        return Findings(
            self._asked_with(subject),
            found=_count(record for record in found.own if not record.anonymised),
            retained=_retained(found.own),
            revealed=frozenset().union(*(record.reveals for record in found.own)),
            contested=_contests(found),
        )

    def _erasure(self, subject: Subject) -> Erasure:
        found = self._search(subject, learn=False)
        new = {i for record in found.own for i in record.reveals if subject.find(i.kind, i.value) is None}
        stay = {record.name: record for record in found.own if record.reveals & new}
        above = {i for record in stay.values() for i in record.identifiers}
        stay |= {record.name: record for record in found.own if record.reveals & above}
        erased, anonymised = [], []
        for record in found.own:
            if record.name in stay or record.anonymised:
                continue
            if record.retained_until is None:
                erased.append(self.records.pop(record.name))
            else:
                anonymised.append(record)
                self.records[record.name] = replace(record, anonymised=True)
        return Erasure(
            self._asked_with(subject),
            Level.EFFECTIVE,
            erased=_count(erased),
            anonymised=_count(anonymised),
            retained=_retained(found.own),
            found=_count(stay.values()),
            revealed=frozenset().union(*(record.reveals for record in stay.values())),
            contested=_contests(found),
        )


def _count(records: Iterable[Record]) -> dict[str, int]:
    return dict(Counter(record.category for record in records))


def _retained(records: Iterable[Record]) -> tuple[Retained, ...]:
    kept = Counter((record.category, record.retained_until) for record in records)
    return tuple(
        Retained(category=category, count=count, basis="law", until=until)
        for (category, until), count in kept.items()
        if until is not None
    )


def _contests(found: _Holdings) -> tuple[Contested, ...]:
    counts = Counter((identifier, record.category) for identifier, record in found.contested)
    return tuple(
        Contested(ConflictCode.SHARED_IDENTIFIER, identifier, category, count)
        for (identifier, category), count in counts.items()
    )


async def _json(records: Iterable[Record]) -> AsyncIterator[bytes]:
    yield json.dumps([record.name for record in records]).encode()

"""The CRM connector. README.md beside it says what it does not reach, and why."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

from contracts.reports import Level, Member
from services.connectors.crm.client import CONTACTS, ENGAGEMENTS, MOST_IDS, REFUSED, HubSpot, Record
from services.connectors.crm.holdings import CRM_ID, EMAIL, ENGAGEMENT_ID, PHONE, Holdings
from services.connectors.crm.members import files
from services.connectors.crm.reader import Batch, Reader, Wanted
from services.connectors.port import (
    BundleWriter,
    Checkpoint,
    Erasure,
    Export,
    Findings,
    Health,
    Problem,
    Revoked,
    StoreFailure,
    Subject,
    Terminal,
    Transient,
)
from services.kit.clock import Clock
from services.kit.inventory import CrmStore, Inventory
from services.kit.settings import Settings

_REVEALABLE: Final = frozenset({EMAIL, CRM_ID, ENGAGEMENT_ID})
_MATCHABLE: Final = _REVEALABLE | {PHONE}
_NEEDED: Final[Mapping[str, frozenset[str]]] = {
    CONTACTS: frozenset({"email", "hs_additional_emails", "phone", "mobilephone"}),
    **{kind: frozenset(content) for kind, content in ENGAGEMENTS.items()},
}

Failure = Transient | Terminal | Revoked
Answer = TypeVar("Answer")
Act = Callable[[Sequence[Subject], Checkpoint], Awaitable[list[Answer | Failure]]]


@asynccontextmanager
async def connect(store: str, inventory: Inventory, settings: Settings, clock: Clock) -> AsyncIterator["CrmConnector"]:
    """Open the HubSpot account that the inventory names `store`."""
    declared = inventory.stores[store]
    assert isinstance(declared, CrmStore), f"{store} is no crm store"
    async with HubSpot.open(declared.url, declared.token) as client:
        yield CrmConnector(client, declared, inventory, clock)


class CrmConnector:
    """Contacts by every address, number and id; calls and notes by their contacts and, once these are gone, by id."""

    def __init__(self, client: HubSpot, store: CrmStore, inventory: Inventory, clock: Clock) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._limit, self._category = inventory.limits.rows_per_request, inventory.categories[store.category]

    async def discover(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> Sequence[Findings | Failure]:
        return await apart(subjects, checkpoint, self._discover)

    async def erase(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> Sequence[Erasure | Failure]:
        return await apart(subjects, checkpoint, self._erase)

    async def export(self, subject: Subject, bundle: BundleWriter, checkpoint: Checkpoint) -> Export | Failure:
        batch = self._batch([subject], checkpoint)
        held = await self._reader(batch).holdings(learn=True)
        ids = defaultdict[str, dict[str, list[UUID]]](dict)
        for its in held.values() if self._category.portable else ():
            ids[CONTACTS] = {contact.id: [subject.request_id] for contact in its.contacts}
            for engagement in its.engagements:
                ids[engagement.kind][engagement.id] = [subject.request_id]
        records = {kind: await self._whole(batch, kind, wanted) for kind, wanted in ids.items() if wanted}
        await batch.ask()
        if not batch.subjects:
            return Revoked()
        return Export(tuple([member for kind in records for member in await self._write(bundle, kind, records[kind])]))

    async def check(self) -> Health:
        return Health((*self._undoable(), *[problem async for problem in self._missing()]))

    async def _discover(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> list[Findings | Failure]:
        batch = self._batch(subjects, checkpoint)
        held = await self._reader(batch).holdings(learn=True)
        return [self._findings(s, held[s.request_id]) if s.request_id in held else Revoked() for s in subjects]

    def _findings(self, subject: Subject, held: Holdings) -> Findings:
        return Findings(
            self._asked_with(subject),
            found=self._counted(held),
            revealed=held.revealed(self._store.reveals),
            contested=held.contested(self._store.category),
        )

    async def _erase(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> list[Erasure | Failure]:
        batch, known = self._batch(subjects, checkpoint), {subject.request_id: subject for subject in subjects}
        reader = self._reader(batch)
        held = {id_: its for id_, its in (await reader.holdings(learn=False)).items() if its.count <= self._limit}
        goes = {id_: its.without(its.unseen(known[id_], self._store.reveals)) for id_, its in held.items()}
        await self._erase_engagements(batch, goes)
        # Parents go last, and their children are looked for again: one logged meanwhile would be orphaned unknown.
        now = await reader.again(learn=False)
        stays = {id_: now[id_].unseen(known[id_], self._store.reveals) for id_ in held.keys() & now.keys()}
        goes = {id_: goes[id_].without(stays[id_]) for id_ in stays}
        failed = await self._erase_contacts(batch, goes)
        left = {subject.request_id for subject in batch.subjects}

        def answer(subject: Subject) -> Erasure | Failure:
            id_ = subject.request_id
            if id_ not in left:
                return Revoked()
            if id_ not in held:
                return Terminal("row_limit")
            return failed.get(id_) or self._erasure(subject, goes[id_], stays[id_])

        return [answer(subject) for subject in subjects]

    async def _erase_engagements(self, batch: Batch, goes: Mapping[UUID, Holdings]) -> None:
        """Before the contacts that lead to them."""
        for kind in ENGAGEMENTS:
            doomed = _wanted((e.id, id_) for id_, its in goes.items() for e in its.engagements if e.kind == kind)
            async for chunk in batch.chunks(doomed, MOST_IDS):
                await self._client.empty(kind, chunk)
            async for chunk in batch.chunks(doomed, MOST_IDS):
                await self._client.archive(kind, chunk)

    async def _erase_contacts(self, batch: Batch, goes: Mapping[UUID, Holdings]) -> dict[UUID, Transient | Terminal]:
        """One request each, and one's failure is not another's."""
        failed: dict[UUID, Transient | Terminal] = {}
        doomed = _wanted((contact.id, id_) for id_, its in goes.items() for contact in its.contacts)
        async for (contact_id,) in batch.chunks(doomed, 1):
            try:
                await self._client.gdpr_delete(contact_id)
            except (Transient, Terminal) as failure:
                failed |= dict.fromkeys(doomed[contact_id], failure)
        return failed

    def _erasure(self, subject: Subject, goes: Holdings, stays: Holdings) -> Erasure:
        ordered = bool(goes.contacts)
        return Erasure(
            self._asked_with(subject),
            Level.ACCEPTED if ordered else Level.EFFECTIVE,
            bound_on=self._clock.now() + timedelta(seconds=self._store.bound_s) if ordered else None,
            erased=self._counted(goes),
            found=self._counted(stays),
            revealed=stays.revealed(self._store.reveals),
            contested=goes.contested(self._store.category),
        )

    async def _whole(self, batch: Batch, kind: str, wanted: Wanted) -> list[Record]:
        await batch.ask()
        names = await self._client.properties(kind)
        chunks = batch.chunks(wanted, MOST_IDS)
        return [record async for chunk in chunks for record in await self._client.read(kind, chunk, names)]

    async def _write(self, bundle: BundleWriter, kind: str, records: Sequence[Record]) -> list[Member]:
        category, review = self._store.category, self._category.third_party == "review"
        return [
            await bundle.write(f"{category}/{kind}.{ending}", category, content, review=review)
            for ending, content in files(records)
        ]

    def _undoable(self) -> Iterator[Problem]:
        for says, declared, able in (
            ("match", self._store.match, _MATCHABLE),
            ("reveals", self._store.reveals, _REVEALABLE),
        ):
            for kind in sorted(set(declared) - able):
                yield Problem(says, f"{kind} is nothing that HubSpot knows", f"use some of {', '.join(sorted(able))}")

    async def _missing(self) -> AsyncIterator[Problem]:
        for kind, needed in _NEEDED.items():
            try:
                absent = needed - await self._client.properties(kind)
            except StoreFailure as failure:
                yield Problem(kind, f"can't be read: {failure.code}", "check the URL, the token and its scopes")
            else:
                for name in sorted(absent):
                    yield Problem(kind, f"has no property {name}", "restore it in HubSpot's settings")

    def _batch(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> Batch:
        """Each subject by what this store may be searched by in the request's name, and nothing else."""

        def narrowed(subject: Subject) -> Subject:
            kinds = self._store.matches(subject.scope.role)
            return replace(subject, identifiers=frozenset(i for i in subject.identifiers if i.kind in kinds))

        return Batch([narrowed(subject) for subject in subjects], checkpoint)

    def _reader(self, batch: Batch) -> Reader:
        return Reader(self._client, batch, self._store.match)

    def _asked_with(self, subject: Subject) -> frozenset[str]:
        return subject.usable_kinds(self._store.matches(subject.scope.role))

    def _counted(self, held: Holdings) -> dict[str, int]:
        return {self._store.category: held.count} if held.count else {}


async def apart(subjects: Sequence[Subject], checkpoint: Checkpoint, act: Act[Answer]) -> list[Answer | Failure]:
    """Act for all at once; where the vendor refuses that, for each alone, so that nobody's odd value fails another."""
    try:
        return await act(subjects, checkpoint)
    except Terminal as failure:
        if failure.code != REFUSED:
            raise
        if len(subjects) == 1:
            return [failure]
    return [answer for subject in subjects for answer in await apart([subject], checkpoint, act)]


def _wanted(pairs: Iterable[tuple[str, UUID]]) -> dict[str, list[UUID]]:
    wanted = defaultdict[str, list[UUID]](list)
    for value, request_id in pairs:
        wanted[value].append(request_id)
    return wanted

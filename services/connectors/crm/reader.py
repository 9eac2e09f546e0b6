"""Reads what the CRM holds on a batch of subjects, in as few requests as the vendor's limits allow."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from itertools import islice
from uuid import UUID

from services.connectors.crm.client import CONTACTS, ENGAGEMENTS, MOST_FILTERS, MOST_IDS, HubSpot, Json
from services.connectors.crm.holdings import (
    CONTACT_PROPERTIES,
    CRM_ID,
    EMAIL,
    ENGAGEMENT_ID,
    PHONE,
    Contact,
    Engagement,
    Holdings,
    holdings,
    national,
    own_contacts,
    usable,
)
from services.connectors.port import Checkpoint, Identifier, Subject

Wanted = Mapping[str, Collection[UUID]]
"""What to ask the vendor for, and for whose sake."""


class Batch:
    """The subjects of one call, fewer as permits are withdrawn."""

    def __init__(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> None:
        self.subjects, self._checkpoint = tuple(subjects), checkpoint

    async def ask(self) -> None:
        """Drop those not permitted any more: one that was not, once, is left alone for the rest of the call."""
        permitted = await self._checkpoint()
        self.subjects = tuple(subject for subject in self.subjects if subject.request_id in permitted)

    async def chunks(self, wanted: Wanted, size: int) -> AsyncIterator[list[str]]:
        """Up to `size` at a time, each chunk after a checkpoint and without what only the withdrawn wanted."""
        values = iter(wanted)
        while chunk := list(islice(values, size)):
            await self.ask()
            permitted = {subject.request_id for subject in self.subjects}
            if still := [value for value in chunk if permitted.intersection(wanted[value])]:
                yield still


class Reader:
    """One reading, of subjects that have no identifiers but of the kinds in `match`.

    It believes the index only about where to look, and reads what it names by id.
    """

    def __init__(self, client: HubSpot, batch: Batch, match: Collection[str]) -> None:
        self._client, self._batch, self._match = client, batch, match
        self._contacts: dict[str, Contact] = {}

    async def holdings(self, *, learn: bool) -> dict[UUID, Holdings]:
        """By request id, for those still permitted. With `learn`, what is found is searched by as well."""
        asked = set[Identifier]()
        await self._batch.ask()
        while new := self._wanted(asked, learn=learn):
            asked |= new.keys()
            await self._find(new)
        return await self.again(learn=learn)

    async def again(self, *, learn: bool) -> dict[UUID, Holdings]:
        """The same, with the calls and notes of the contacts found as they are now."""
        engagements = [e for kind in ENGAGEMENTS for e in await self._engagements(kind, learn=learn)]
        contacts = self._contacts.values()
        return {s.request_id: holdings(s, contacts, engagements, learn=learn) for s in self._batch.subjects}

    def _wanted(self, asked: set[Identifier], *, learn: bool) -> dict[Identifier, set[UUID]]:
        wanted = defaultdict[Identifier, set[UUID]](set)
        for subject in self._batch.subjects:
            known = {identifier for identifier in subject.identifiers if identifier.usable}
            for contact in own_contacts(subject, self._contacts.values(), learn=True) if learn else ():
                known |= {i for i in usable(subject, contact.identifiers) if i.kind in self._match}
            for identifier in known - asked:
                wanted[identifier].add(subject.request_id)
        return wanted

    async def _find(self, wanted: Mapping[Identifier, Collection[UUID]]) -> None:
        emails, phones, ids = (_of_kind(wanted, kind) for kind in (EMAIL, PHONE, CRM_ID))
        candidates = defaultdict[str, set[UUID]](set)
        async for chunk in self._batch.chunks(emails, MOST_IDS):
            await self._read(chunk, by="email")
        async for chunk in self._batch.chunks(emails, MOST_FILTERS):
            filters = [_condition("hs_additional_emails", "CONTAINS_TOKEN", value=email) for email in chunk]
            await self._search(filters, candidates, chunk, emails)
        async for chunk in self._batch.chunks(phones, MOST_IDS):
            await self._search(_phone_conditions(chunk), candidates, chunk, phones)
        numeric = {id_: whose for id_, whose in ids.items() if id_.isdecimal()}  # no other can be HubSpot's
        async for chunk in self._batch.chunks({**candidates, **numeric}, MOST_IDS):
            await self._read(chunk)

    async def _search(
        self, filters: Sequence[Json], into: dict[str, set[UUID]], chunk: Iterable[str], wanted: Wanted
    ) -> None:
        whose = {request for value in chunk for request in wanted[value]}
        after: str | None = "0"
        while after and self._batch.subjects:
            ids, after = await self._client.search(filters, after)
            for id_ in ids:
                into[id_] |= whose
            if after:
                await self._batch.ask()

    async def _read(self, ids: Iterable[str], by: str | None = None) -> None:
        for record in await self._client.read(CONTACTS, ids, CONTACT_PROPERTIES, by):
            self._contacts[record.id] = Contact.of(record)

    async def _engagements(self, kind: str, *, learn: bool) -> list[Engagement]:
        """Those tied to the subjects' contacts, and those known from before that are still there."""
        whose, known = defaultdict[str, set[UUID]](set), defaultdict[str, set[UUID]](set)
        for subject in self._batch.subjects:
            for contact in own_contacts(subject, self._contacts.values(), learn=learn):
                whose[contact.id].add(subject.request_id)
            for id_ in subject.values(ENGAGEMENT_ID):
                known[id_].add(subject.request_id)
        found = defaultdict[str, set[UUID]](set)
        for contact_id, id_ in await self._ties(CONTACTS, kind, whose):
            found[id_] |= whose[contact_id]
        for id_ in found.keys() & known.keys():
            found[id_] |= known[id_]  # its other contacts are read for their sake, too
        unread = {id_: requests for id_, requests in known.items() if id_ not in found and id_.isdecimal()}
        async for chunk in self._batch.chunks(unread, MOST_IDS):
            for record in await self._client.read(kind, chunk):
                found[record.id] |= known[record.id]
        owners = defaultdict[str, set[str]](set)
        for id_, contact_id in await self._ties(kind, CONTACTS, found):
            owners[id_].add(contact_id)
        return [Engagement(kind, id_, frozenset(owners[id_])) for id_ in found]

    async def _ties(self, kind: str, to: str, wanted: Wanted) -> list[tuple[str, str]]:
        pairs, starts = list[tuple[str, str]](), dict.fromkeys(wanted, "0")
        while starts:
            rest: dict[str, str] = {}
            async for chunk in self._batch.chunks({id_: wanted[id_] for id_ in starts}, MOST_IDS):
                more, begin = await self._client.ties(kind, to, {id_: starts[id_] for id_ in chunk})
                pairs += more
                rest |= begin
            starts = rest
        return pairs


def _of_kind(wanted: Mapping[Identifier, Collection[UUID]], kind: str) -> Wanted:
    return {identifier.value: whose for identifier, whose in wanted.items() if identifier.kind == kind}


def _condition(property_: str, operator: str, **values: object) -> Json:
    return {"propertyName": property_, "operator": operator, **values}


def _phone_conditions(numbers: Iterable[str]) -> list[Json]:
    """The number as it stands, and without its country as HubSpot reckons it from whatever was typed."""
    numbers = list(numbers)
    indexed = [digits for number in numbers if (digits := national(number))]
    typed = [_condition(name, "IN", values=numbers) for name in ("phone", "mobilephone")]
    searchable = ("hs_searchable_calculated_phone_number", "hs_searchable_calculated_mobile_number")
    return typed + [_condition(name, "IN", values=indexed) for name in searchable if indexed]

"""Whose a contact, a call or a note is: pure decisions over what was read (DESIGN §2)."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import phonenumbers

from contracts.reports import ConflictCode
from services.connectors.crm.client import Record
from services.connectors.port import Contested, Identifier, Standing, Subject

EMAIL, PHONE, CRM_ID, ENGAGEMENT_ID = "email", "phone", "crm_id", "engagement_id"
CONTACT_PROPERTIES: Final = ("email", "hs_additional_emails", "hs_merged_object_ids", "phone", "mobilephone")


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact with what it can be found by."""

    id: str
    identifiers: frozenset[Identifier] = field(repr=False)
    """Of `person` kinds: its owners."""
    phones: frozenset[str] = field(repr=False)
    """As typed into the CRM."""

    @classmethod
    def of(cls, record: Record) -> "Contact":
        """From an answer with `CONTACT_PROPERTIES`."""
        emails = record.listed("email") | record.listed("hs_additional_emails")
        ids = record.listed("hs_merged_object_ids") | {record.id}
        owners = {Identifier(EMAIL, email.lower()) for email in emails} | {Identifier(CRM_ID, id_) for id_ in ids}
        return cls(record.id, frozenset(owners), record.listed("phone") | record.listed("mobilephone"))

    def has_phone(self, number: str) -> bool:
        """True if an E.164 number is one of its own, however it was typed; without a country, any country's."""
        return any(_same_number(typed, number) for typed in self.phones)


@dataclass(frozen=True, slots=True)
class Engagement:
    """A logged call or note, and the ids of the contacts it is tied to."""

    kind: str
    id: str
    owners: frozenset[str]

    @property
    def identifier(self) -> Identifier:
        """What finds it when its contact is gone."""
        return Identifier(ENGAGEMENT_ID, self.id)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the CRM holds on one subject."""

    contacts: tuple[Contact, ...]
    engagements: tuple[Engagement, ...]
    """Theirs alone."""
    shared: tuple[Engagement, ...]
    """Tied to somebody else as well: not the subject's to erase. The tie goes with the contact."""
    strangers: Mapping[Identifier, int]
    """How many contacts each phone number matched that are not surely the subject's."""
    phones: frozenset[Identifier]
    """Phone numbers that matched, each with whether it is the subject's alone."""

    @property
    def count(self) -> int:
        """Records to erase."""
        return len(self.contacts) + len(self.engagements)

    def revealed(self, kinds: Collection[str]) -> frozenset[Identifier]:
        """All that these records tell about the subject."""
        owners = (identifier for contact in self.contacts for identifier in contact.identifiers)
        records = (engagement.identifier for engagement in self.engagements + self.shared)
        return frozenset(i for i in (*owners, *records) if i.kind in kinds) | self.phones

    def contested(self, category: str) -> tuple[Contested, ...]:
        """What a person must judge."""
        code = ConflictCode.SHARED_IDENTIFIER
        return tuple(Contested(code, phone, category, count) for phone, count in self.strangers.items())

    def unseen(self, subject: Subject, kinds: Collection[str]) -> "Holdings":
        """The part that reveals what the subject was not known by, with the contacts it hangs from."""

        def new(identifier: Identifier) -> bool:
            return identifier.kind in kinds and subject.find(identifier.kind, identifier.value) is None

        engagements = tuple(e for e in self.engagements if new(e.identifier))
        shared = tuple(e for e in self.shared if new(e.identifier))
        above = {owner for engagement in engagements + shared for owner in engagement.owners}
        contacts = tuple(c for c in self.contacts if c.id in above or any(map(new, c.identifiers)))
        return Holdings(contacts, engagements, shared, {}, frozenset())

    def without(self, other: "Holdings") -> "Holdings":
        """What is left when another's records stay."""
        return replace(
            self,
            contacts=tuple(c for c in self.contacts if c not in other.contacts),
            engagements=tuple(e for e in self.engagements if e not in other.engagements),
        )


def own_contacts(subject: Subject, contacts: Iterable[Contact], *, learn: bool) -> tuple[Contact, ...]:
    """The contacts that a chain of trusted links leads to; with `learn`, through what they reveal, too."""
    sure, own, rest = _sure(subject), list[Contact](), list(contacts)
    confirmed = [i.value for i in subject.identifiers if i.kind == PHONE and i.standing is Standing.CONFIRMED]
    while found := [c for c in rest if c.identifiers & sure or any(map(c.has_phone, confirmed))]:
        own += found
        rest = [contact for contact in rest if contact not in found]
        if learn:
            sure |= {i for contact in found for i in usable(subject, contact.identifiers)}
    return tuple(own)


def usable(subject: Subject, identifiers: Iterable[Identifier]) -> Iterable[Identifier]:
    """Without those that a person set aside, or has yet to judge."""
    known = ((identifier, subject.find(identifier.kind, identifier.value)) for identifier in identifiers)
    return (identifier for identifier, as_known in known if as_known is None or as_known.usable)


def holdings(
    subject: Subject, contacts: Iterable[Contact], engagements: Iterable[Engagement], *, learn: bool
) -> Holdings:
    """Sort what was read for many into what is this subject's."""
    contacts, engagements = tuple(contacts), tuple(engagements)
    own = own_contacts(subject, contacts, learn=learn)
    ids, known = {contact.id for contact in own}, subject.values(ENGAGEMENT_ID)
    tied = [e for e in engagements if e.owners & ids or (e.id in known and not e.owners)]
    strangers, phones = _by_phone(subject, contacts, own)
    return Holdings(
        own,
        tuple(e for e in tied if e.owners <= ids),
        tuple(e for e in tied if not e.owners <= ids),
        strangers,
        phones,
    )


def national(number: str) -> str | None:
    """Area code and local number of an E.164 number, which is how HubSpot indexes numbers; None for other texts."""
    try:
        return str(phonenumbers.parse(number).national_number)
    except phonenumbers.NumberParseException:
        return None


def _sure(subject: Subject) -> set[Identifier]:
    emails = {Identifier(EMAIL, email.lower()) for email in subject.values(EMAIL)}
    return emails | {Identifier(CRM_ID, id_) for id_ in subject.values(CRM_ID)}


def _by_phone(
    subject: Subject, contacts: Collection[Contact], own: Collection[Contact]
) -> tuple[dict[Identifier, int], frozenset[Identifier]]:
    strangers, phones, judged = dict[Identifier, int](), set[Identifier](), set[str]()
    for phone in sorted((i for i in subject.identifiers if i.kind == PHONE and i.usable), key=lambda i: i.value):
        matched = [contact for contact in contacts if contact.has_phone(phone.value)]
        others = [contact for contact in matched if contact not in own]
        if matched:
            phones.add(replace(phone, alone=not others))
        if new := {contact.id for contact in others} - judged:
            strangers[phone] = len(new)
            judged |= new
    return strangers, frozenset(phones)


def _same_number(typed: str, number: str) -> bool:
    digits, whole = _digits(typed), _digits(number)
    if typed.strip().startswith(("+", "00")):
        return bool(whole) and digits.removeprefix("00") == whole
    local = digits.lstrip("0")
    return bool(local) and whole.endswith(local) and local == national(number)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))

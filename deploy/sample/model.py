"""What a sample is made of: people, and the exact rows, objects, events and CRM records that are theirs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID


class Kind(StrEnum):
    """Whose contact a person is."""

    CUSTOMER = "customer"
    PROSPECT = "prospect"
    APPLICANT = "applicant"
    CALLER = "caller"
    """Heard on the calls of our customers, for whom we are only the processor."""


class Trait(StrEnum):
    """What makes a person's data hard to erase."""

    SECOND_EMAIL = "second_email"
    """Known only to the CRM; a job application lies under it, and its interview's recording under that."""
    SWITCHBOARD = "switchboard"
    """Shares the phone number with a colleague, who has the trait as well."""
    FAMILY_TABLET = "family_tablet"
    """Shares a device with someone else, who has the trait as well."""
    TYPED_EMAIL = "typed_email"
    """Typed an address into a free field: may be anybody's."""
    SOFT_DELETED = "soft_deleted"
    """The application marked the contact as deleted, and kept it."""
    OVERWRITTEN = "overwritten"
    """Objects with older versions, one under a delete marker, one with an upload never finished."""
    BOTH_TENANTS = "both_tenants"
    """Called two customers of ours."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A row of `contact`."""

    id: int
    email: str
    phone_e164: str
    full_name: str
    company: str
    job_title: str
    stage: str
    created_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Device:
    """A row of `device`."""

    id: int
    contact_id: int
    device_id: str
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A row of `own_call`: a call between us and a contact."""

    id: UUID
    contact_id: int
    started_at: datetime
    seconds: int


@dataclass(frozen=True, slots=True)
class Call:
    """A row of `call`: a call between a customer of ours (the tenant `customer_id`) and somebody."""

    id: UUID
    customer_id: str
    caller_e164: str
    caller_email: str | None
    started_at: datetime
    seconds: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """A row of `invoice`."""

    id: int
    contact_id: int
    contact_name: str
    amount_cents: int
    issued_on: date


@dataclass(frozen=True, slots=True)
class Applicant:
    """A row of `applicant`."""

    id: int
    email: str
    full_name: str
    job: str
    typed_email: str | None
    interview_call_id: UUID | None
    applied_at: datetime


Row = Contact | Device | OwnCall | Call | Invoice | Applicant

TABLES: Mapping[type[Row], str] = {
    Contact: "contact",
    Device: "device",
    OwnCall: "own_call",
    Call: "call",
    Invoice: "invoice",
    Applicant: "applicant",
}
"""The table of each kind of row, parents first."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in the recordings' bucket."""

    key: str
    versions: tuple[bytes, ...]
    """Oldest first."""
    deleted: bool = False
    """A delete marker lies on top."""
    unfinished: bytes | None = None
    """The first part of a multipart upload that nobody finished."""


@dataclass(frozen=True, slots=True)
class CrmContact:
    """A contact of the CRM with what was logged about it, as the vendor's properties."""

    properties: Mapping[str, str]
    calls: tuple[Mapping[str, str], ...]
    notes: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the analytics table `event`."""

    id: UUID
    device_id: str
    at: datetime
    page: str
    ip: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the four stores hold."""

    rows: tuple[Row, ...] = ()
    objects: tuple[StoredObject, ...] = ()
    crm: tuple[CrmContact, ...] = ()
    events: tuple[Event, ...] = ()

    @classmethod
    def merged(cls, parts: Iterable["Holdings"]) -> "Holdings":
        """All parts as one."""
        parts = tuple(parts)
        return cls(
            tuple(row for part in parts for row in part.rows),
            tuple(stored for part in parts for stored in part.objects),
            tuple(contact for part in parts for contact in part.crm),
            tuple(event for part in parts for event in part.events),
        )


@dataclass(frozen=True, slots=True)
class Person:
    """One person, and everything that is theirs alone."""

    kind: Kind
    traits: frozenset[Trait]
    name: str
    email: str
    phone: str
    other_emails: tuple[str, ...] = ()
    shares: frozenset[str] = frozenset()
    """Identifiers that lead to a partner's data as well."""
    held: Holdings = Holdings()
    """What we hold as controller."""
    processed: Mapping[str, Holdings] = field(default_factory=dict)
    """What we hold as processor, by tenant."""

    @property
    def unattended(self) -> bool:
        """True if our controller's request by this person's email needs no person's decision on whose data it is."""
        return self.held != Holdings() and not self.traits & {Trait.FAMILY_TABLET, Trait.TYPED_EMAIL}

    def holdings(self, tenant: str | None) -> Holdings:
        """What a request reaches: our controller's (no tenant), or that of the customer with this tenant."""
        return self.held if tenant is None else self.processed.get(tenant, Holdings())

    def identifiers(self, tenant: str | None) -> frozenset[str]:
        """What leads to these holdings and to nobody else's, as plain text."""
        rows = [row for row in self.holdings(tenant).rows if not isinstance(row, Invoice)]
        keys = {str(row.id) for row in rows} | {row.device_id for row in rows if isinstance(row, Device)}
        if tenant is not None:
            return frozenset(keys)
        return frozenset({self.email, self.phone, *self.other_emails, *keys}) - self.shares


@dataclass(frozen=True, slots=True)
class Sample:
    """People and their data; nobody else's."""

    people: tuple[Person, ...]
    shared: Holdings = Holdings()
    """What two of them share, so that it is neither's alone: events of a family's tablet."""

    def having(self, trait: Trait) -> tuple[Person, ...]:
        """The people with a trait, partners side by side."""
        return tuple(person for person in self.people if trait in person.traits)

    @property
    def holdings(self) -> Holdings:
        """Everything that the stores hold."""
        return Holdings.merged(
            [self.shared, *(part for person in self.people for part in (person.held, *person.processed.values()))]
        )

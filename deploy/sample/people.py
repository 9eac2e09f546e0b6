"""Makes sample people. The file to read first: `CAST` says which situations a sample shows."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import UUID

from faker import Faker

from deploy.sample import media
from deploy.sample.model import (
    Applicant,
    Call,
    Contact,
    CrmContact,
    Device,
    Event,
    Holdings,
    Invoice,
    Kind,
    OwnCall,
    Person,
    Row,
    Sample,
    StoredObject,
    Trait,
)

CAST: tuple[tuple[Kind, frozenset[Trait]], ...] = (
    (Kind.CUSTOMER, frozenset({Trait.SECOND_EMAIL, Trait.OVERWRITTEN, Trait.BOTH_TENANTS})),
    (Kind.CUSTOMER, frozenset()),
    (Kind.CUSTOMER, frozenset({Trait.SWITCHBOARD})),  # partners: an even place and the next
    (Kind.CUSTOMER, frozenset({Trait.SWITCHBOARD})),
    (Kind.CUSTOMER, frozenset({Trait.FAMILY_TABLET})),
    (Kind.CUSTOMER, frozenset({Trait.FAMILY_TABLET})),
    (Kind.CUSTOMER, frozenset({Trait.SOFT_DELETED})),
    (Kind.PROSPECT, frozenset()),
    (Kind.PROSPECT, frozenset({Trait.SECOND_EMAIL})),
    (Kind.APPLICANT, frozenset()),
    (Kind.APPLICANT, frozenset({Trait.TYPED_EMAIL})),
    (Kind.CALLER, frozenset({Trait.BOTH_TENANTS})),
    (Kind.CALLER, frozenset()),
)
"""The parts people play, over and over: the first `len(CAST)` people of any sample show every situation."""

TENANTS = ("42", "43")
"""Customers for whom we record calls, as processor."""

SEEDS = 10_000
PEOPLE = 10_000

_TODAY = datetime(2026, 6, 1, 9, tzinfo=UTC)
"""When samples are set: fixed, since a seed must always make the same people."""
_EXPIRED_YEAR, _RETAINED_YEAR = 2009, 2025
"""Invoices are kept for ten years."""
_MOBILE = ("60", "61", "62", "64", "65", "66", "67", "68", "73", "74")


def generate(count: int, seed: int) -> Sample:
    """Make people. Pure: the same count and seed, the same people; fewer are the first of the more.

    Samples of different seeds share no identifier, so people can be added to stores that hold others.
    Raises `ValueError` unless 0 <= count <= PEOPLE and 0 <= seed < SEEDS: identifiers are numbered within that.
    """
    if not (0 <= count <= PEOPLE and 0 <= seed < SEEDS):
        raise ValueError(f"a sample has at most {PEOPLE} people and a seed below {SEEDS}")
    fake = Faker("fr_FR")
    makers = [_Maker.of(fake, seed, place) for place in range(count)]
    tablets = [m for m in makers if Trait.FAMILY_TABLET in m.traits and m.place == m.first_partner]
    shared = Holdings(events=tuple(event for m in tablets for event in m.events(m.tablet)))
    return Sample(tuple(m.person() for m in makers), shared)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes one person; every identifier derives from the seed and the person's place in the sample."""

    seed: int
    place: int
    rng: Random
    kind: Kind
    traits: frozenset[Trait]
    first: str
    last: str
    company: str
    job: str

    @classmethod
    def of(cls, fake: Faker, seed: int, place: int) -> "_Maker":
        fake.seed_instance(f"{seed}/{place}")
        kind, traits = CAST[place % len(CAST)]
        first, last, company, job = fake.first_name(), fake.last_name(), fake.company(), fake.job()
        return cls(seed, place, Random(f"{seed}/{place}"), kind, traits, first, last, company, job)  # noqa: S311 - no secret

    @property
    def first_partner(self) -> int:
        part = self.place % len(CAST)
        return self.place - part % 2

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"

    @property
    def email(self) -> str:
        return self._address(_slug(self.company))

    @property
    def second_email(self) -> str:
        return self._address("home")

    @property
    def phone(self) -> str:
        """Valid, and nobody's in the sample but the partner's on a switchboard."""
        if Trait.SWITCHBOARD in self.traits:
            return f"+331{self._digits(self.first_partner)}"
        digits = self._digits(self.place)
        return f"+33{_MOBILE[int(digits[0])]}{digits[1:]}"

    @property
    def tablet(self) -> str:
        return _uuid(Random(f"{self.seed}/{self.first_partner}/tablet")).hex  # noqa: S311 - no secret

    def person(self) -> Person:
        held = {
            Kind.CUSTOMER: self._customer,
            Kind.PROSPECT: self._contact,
            Kind.APPLICANT: self._applicant,
            Kind.CALLER: Holdings,
        }[self.kind]()
        others = (self.second_email,) if Trait.SECOND_EMAIL in self.traits else ()
        if others:
            held = Holdings.merged([held, self._application(self.second_email, interviewed=True)])
        return Person(
            kind=self.kind,
            traits=self.traits,
            name=self.name,
            email=self.email,
            phone=self.phone,
            other_emails=others,
            shares=self._shares(),
            held=held,
            processed=self._processed(),
        )

    def _shares(self) -> frozenset[str]:
        by_trait = {Trait.SWITCHBOARD: self.phone, Trait.FAMILY_TABLET: self.tablet}
        return frozenset(by_trait[trait] for trait in self.traits if trait in by_trait)

    def events(self, device_id: str) -> tuple[Event, ...]:
        pages = ("/", "/pricing", "/calls", "/settings")
        return tuple(
            Event(_uuid(self.rng), device_id, self._moment(), page, f"192.0.2.{self.rng.randrange(256)}", 5 + n)
            for n, page in enumerate(self.rng.choices(pages, k=3))
        )

    def _customer(self) -> Holdings:
        """A contact with calls and invoices."""
        base = self._contact()
        contact = next(row for row in base.rows if isinstance(row, Contact))
        rows: list[Row] = [
            Invoice(self._id(), contact.id, self.name, self.rng.randrange(10_000, 500_000), date(year, 3, 1 + n))
            for n, year in enumerate((_RETAINED_YEAR, _EXPIRED_YEAR))
        ]
        objects: tuple[StoredObject, ...] = ()
        for n in range(2):
            call = OwnCall(_uuid(self.rng), contact.id, self._moment(), self.rng.randrange(30, 3600))
            rows.append(call)
            objects += self._recording("own", call.id, overwritten=n == 0 and Trait.OVERWRITTEN in self.traits)
        return Holdings.merged([base, Holdings(tuple(rows), objects)])

    def _contact(self) -> Holdings:
        """What we hold on everybody we sell to."""
        created = self._moment()
        deleted = created + timedelta(days=30) if Trait.SOFT_DELETED in self.traits else None
        stage = self.kind.value
        contact = Contact(
            self._id(), self.email, self.phone, self.name, self.company, self.job, stage, created, deleted
        )
        own = _uuid(self.rng).hex
        devices = (own, self.tablet) if Trait.FAMILY_TABLET in self.traits else (own,)
        rows = tuple(Device(self._id(), contact.id, device, created) for device in devices)
        return Holdings((contact, *rows), crm=(self._crm(),), events=self.events(own))

    def _crm(self) -> CrmContact:
        properties = {
            "email": self.email,
            "phone": self.phone,
            "firstname": self.first,
            "lastname": self.last,
            "company": self.company,
            "jobtitle": self.job,
        }
        if Trait.SECOND_EMAIL in self.traits:
            properties["hs_additional_emails"] = self.second_email
        call = {
            "hs_timestamp": _stamp(self._moment()),
            "hs_call_title": f"Call with {self.name}",
            "hs_call_body": f"{self.first} would like to hear more.",
        }
        note = {"hs_timestamp": _stamp(self._moment()), "hs_note_body": f"{self.name} prefers {self.email}."}
        return CrmContact(properties, (call,), (note,))

    def _applicant(self) -> Holdings:
        return self._application(self.email, interviewed=Trait.TYPED_EMAIL not in self.traits)

    def _application(self, email: str, *, interviewed: bool) -> Holdings:
        typed = self._address("typed") if Trait.TYPED_EMAIL in self.traits else None
        interview = _uuid(self.rng) if interviewed else None
        row = Applicant(self._id(), email, self.name, self.job, typed, interview, self._moment())
        return Holdings((row,), self._recording("own", interview) if interview else ())

    def _processed(self) -> Mapping[str, Holdings]:
        """Calls to customers of ours. They often know but the number, so the second call has no address."""
        tenants: tuple[str, ...] = ()
        if Trait.BOTH_TENANTS in self.traits:
            tenants = TENANTS
        elif self.kind is Kind.CALLER:
            tenants = (TENANTS[self.place // len(CAST) % len(TENANTS)],)
        return {tenant: self._calls(tenant) for tenant in tenants}

    def _calls(self, tenant: str) -> Holdings:
        calls = [
            Call(_uuid(self.rng), tenant, self.phone, email, self._moment(), self.rng.randrange(30, 3600))
            for email in (self.email, None)
        ]
        return Holdings.merged(Holdings((call,), self._recording(tenant, call.id)) for call in calls)

    def _recording(self, folder: str, call_id: UUID, *, overwritten: bool = False) -> tuple[StoredObject, ...]:
        turns = [("agent", "Good morning."), (self.name, f"{self.first} {self.last} speaking, about our contract.")]
        return media.recording(folder, str(call_id), turns, self.rng, overwritten=overwritten)

    def _address(self, domain: str) -> str:
        return f"{_slug(self.first)}.{_slug(self.last)}.{self._number(self.place)}@{domain}.example"

    def _number(self, place: int) -> int:
        return self.seed * PEOPLE + place

    def _digits(self, place: int) -> str:
        """Eight digits, another eight for every number: the factor has no divisor in common with their count."""
        return f"{(self._number(place) * 38_196_601 + 12_345_679) % 10**8:08d}"

    def _id(self) -> int:
        return self.rng.randrange(10**14, 10**15)

    def _moment(self) -> datetime:
        return _TODAY - timedelta(minutes=self.rng.randrange(60, 500_000))


def _uuid(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "".join(c for c in plain if c.isalnum())


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"

"""The inventory's shape (DESIGN §7). It doubles as the record of processing that GDPR Art. 30 asks for."""

import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

from contracts.requests import DecisionKind, Name, Right
from services.kit.calendars import zone_of


class Part(BaseModel):
    """Base: immutable, and unknown fields are refused, since a typo here decides what is erased."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Role(StrEnum):
    """In whose name data is held: as controller, or as processor for a customer (GDPR Art. 4(7), (8))."""

    CONTROLLER = "controller"
    PROCESSOR = "processor"


class KindClass(StrEnum):
    """What an identifier of a kind marks (DESIGN §2)."""

    PERSON = "person"
    SHARED = "shared"
    RECORD = "record"


class Trust(StrEnum):
    """Whether a column's content vouches for what it says; users type freely into `unverified` ones."""

    TRUSTED = "trusted"
    UNVERIFIED = "unverified"


class Controller(Part):
    """Who decides on a request: ourselves, or a customer for whom we process."""

    role: Role
    tenant: str | None = None
    term_days: PositiveInt | None = None
    """A processor's term by contract, in days; the law's month where it is missing."""
    calendar: str
    """Whose public holidays move a last day: ISO 3166 country or subdivision (`FR`, `DE-BY`)."""

    @field_validator("calendar")
    @classmethod
    def _known(cls, calendar: str) -> str:
        zone_of(calendar)
        return calendar


def _listed_or_all(value: Any) -> str:
    return "all" if isinstance(value, str) else "listed"


Amendments = Annotated[
    Annotated[tuple[DecisionKind, ...], Tag("listed")] | Annotated[Literal["all"], Tag("all")],
    Discriminator(_listed_or_all),
]
"""Told apart by type, so that a typo gets one error and not one for each."""


class Publisher(Part):
    """An internal system that may ask."""

    keys: str
    """Path of its public keys (JWKS), relative to the inventory."""
    rights: tuple[Right, ...]
    controllers: tuple[Name, ...]
    amendments: Amendments = ()
    approve: Literal["auto", "person"] | None = None
    """Whether a person approves before the first act; None: the shipped default, a person for erasure."""

    def may_amend(self, decision: DecisionKind) -> bool:
        """True if its amendments of that kind are heard."""
        return self.amendments == "all" or decision in self.amendments

    def approves_itself(self, right: Right) -> bool:
        """True if requests of this publisher go on without a person's approval."""
        return self.approve == "auto" or (self.approve is None and right is Right.PORTABILITY)


class Limits(Part):
    """What one request, and one publisher, may do at the most."""

    rows_per_request: PositiveInt = 100_000
    requests_per_publisher_per_day: PositiveInt = 1000


class Bundles(Part):
    """Where portable copies wait for pickup."""

    bucket: str
    pickup_days: PositiveInt = 14


class Category(Part):
    """A category of personal data."""

    purpose: str
    basis: Literal["consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"]
    origin: Literal["provided", "observed", "derived"]
    third_party: Literal["review"] | None = None

    @property
    def portable(self) -> bool:
        """True if Art. 20 covers it: provided or observed, on consent or contract."""
        return self.basis in ("consent", "contract") and self.origin in ("provided", "observed")


class Delete(Part):
    """Rows are deleted."""

    rule: Literal["delete"] = "delete"


class Anonymise(Part):
    """Rows stay, and these columns are emptied."""

    rule: Literal["anonymise"] = "anonymise"
    anonymise: Annotated[tuple[str, ...], Field(min_length=1)]


class Retain(Part):
    """Rows stay until a date on a legal ground (GDPR Art. 17(3)), then they are deleted."""

    rule: Literal["retain"] = "retain"
    basis: str
    years: PositiveInt
    from_: str = Field(alias="from")
    """Column with the date that the term runs from."""
    to_year_end: bool = False
    """The term runs from the end of that date's year."""
    anonymise: tuple[str, ...] = ()

    def until(self, start: date) -> date:
        """The last day of the term that runs from `start`; from 29 February it ends on 28 February."""
        if self.to_year_end:
            return date(start.year + self.years, 12, 31)
        try:
            return start.replace(year=start.year + self.years)
        except ValueError:
            return date(start.year + self.years, 2, 28)


def _tagged(value: Any) -> Any:
    """`delete`, `{anonymise: [...]}` and `{retain: {...}}`, as the file has them, with the rule's name inside."""
    if isinstance(value, str):
        return {"rule": value}
    if isinstance(value, dict) and "rule" not in value:
        rule = " and ".join(value)
        content = value.get(rule)
        return {"rule": rule, **content} if isinstance(content, dict) else {"rule": rule, rule: content}
    return value


Rule = Annotated[Delete | Anonymise | Retain, Field(discriminator="rule"), BeforeValidator(_tagged)]
"""What erasing means for the rows of a table."""


class Reveal(Part):
    """What a column of a matched row tells about the subject."""

    column: str
    trust: Trust = Trust.TRUSTED

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value


class Table(Part):
    """One table of a store."""

    match: dict[Name, str]
    """By kind, the column that holds identifiers of that kind."""
    reveals: dict[Name, Reveal] = {}
    one_per_person: bool = False
    category: Name
    role: Role
    tenant: str | None = None
    """Column that says whose data a row is; required for `role: processor`."""
    erase: Rule

    def column_of(self, kind: str) -> str | None:
        """The column that holds identifiers of a kind, whether matched or revealed."""
        revealed = self.reveals.get(kind)
        return self.match.get(kind) or (revealed.column if revealed else None)


class KeyRule(Part):
    """How the objects of one record are named: a prefix with `{kind}` (and `{tenant}`) in it."""

    prefix: str
    role: Role

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds a prefix needs filled in."""
        return frozenset(re.findall(r"\{(\w+)\}", self.prefix)) - {"tenant"}


class _Store(Part):
    def matches(self, role: Role) -> frozenset[str]:
        """Kinds this store can be searched by, in that role."""
        raise NotImplementedError

    def reveals_kinds(self, role: Role) -> frozenset[str]:
        """Kinds this store can reveal, in that role."""
        raise NotImplementedError


class _TableStore(_Store):
    tables: dict[str, Table]

    def in_role(self, role: Role) -> dict[str, Table]:
        """The tables that a request in that role may reach."""
        return {name: table for name, table in self.tables.items() if table.role is role}

    def matches(self, role: Role) -> frozenset[str]:
        return frozenset(kind for table in self.in_role(role).values() for kind in table.match)

    def reveals_kinds(self, role: Role) -> frozenset[str]:
        return frozenset(kind for table in self.in_role(role).values() for kind in table.reveals)


class PostgresStore(_TableStore):
    """An application database."""

    connector: Literal["postgres"]
    url: str = Field(repr=False)


class AnalyticsStore(_TableStore):
    """A ClickHouse database."""

    connector: Literal["analytics"]
    url: str = Field(repr=False)


class RecordingsStore(_Store):
    """Objects in S3."""

    connector: Literal["recordings"]
    bucket: str
    category: Name
    keys: tuple[KeyRule, ...]

    def matches(self, role: Role) -> frozenset[str]:
        return frozenset(kind for rule in self.keys if rule.role is role for kind in rule.kinds)

    def reveals_kinds(self, role: Role) -> frozenset[str]:
        return frozenset()


class CrmStore(_Store):
    """HubSpot."""

    connector: Literal["crm"]
    url: str
    token: str = Field(repr=False)
    bound_s: Annotated[float, Field(ge=0)] = 30 * 24 * 3600
    """Seconds that the vendor allows itself for a permanent deletion: HubSpot says up to 30 days."""
    category: Name
    role: Role
    match: tuple[Name, ...]
    reveals: tuple[Name, ...]

    def matches(self, role: Role) -> frozenset[str]:
        return frozenset(self.match) if role is self.role else frozenset()

    def reveals_kinds(self, role: Role) -> frozenset[str]:
        return frozenset(self.reveals) if role is self.role else frozenset()


Store = Annotated[PostgresStore | RecordingsStore | CrmStore | AnalyticsStore, Field(discriminator="connector")]


class Inventory(Part):
    """The whole file."""

    controllers: dict[Name, Controller]
    publishers: dict[Name, Publisher]
    residency: tuple[str, ...] = ()
    limits: Limits = Limits()
    bundles: Bundles
    kinds: dict[Name, KindClass]
    categories: dict[Name, Category]
    stores: dict[Name, Store]

    def kinds_of(self, class_: KindClass) -> frozenset[str]:
        """The kinds of one class."""
        return frozenset(kind for kind, its in self.kinds.items() if its is class_)

"""What the suite needs to know of a store. The file to read first; README.md says how to join."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.connectors.port import Identifier, Scope, StoreConnector, Subject
from services.kit.inventory import Role

OURS: Final = Scope("acme", Role.CONTROLLER)
GLOBEX: Final = Scope("globex", Role.PROCESSOR, "42")
INITECH: Final = Scope("initech", Role.PROCESSOR, "43")
SCOPES: Final = (OURS, GLOBEX, INITECH)
"""Whose requests there are in the sample inventory."""

ROW_LIMIT: Final = 20
"""`limits.rows_per_request` of the inventory that the connector under test is opened with."""


@dataclass(frozen=True)
class Prepared:
    """A person put into the store under test, and what the connector must say of them."""

    subject: Subject
    """Known by what a publisher, or another store, would know. Trusted, and enough to find everything here."""
    found: Mapping[str, int]
    """By category."""
    retained: Mapping[str, int] = field(default_factory=dict)
    """By category: what stays after erasing, anonymised."""
    reveals: frozenset[Identifier] = frozenset()
    """What the store must reveal, at least: all that it takes to find every record."""
    exported: frozenset[str] = frozenset()
    """Categories that a portable copy of this person holds."""


class Harness(Protocol):
    """One store with its connector, open for the whole run. Other tests' people may be in it: touch only your own."""

    connector: StoreConnector
    scopes: tuple[Scope, ...]
    """Those of `SCOPES` in which the store holds data."""

    async def person(self, scope: Scope, *, records: int = 3) -> Prepared:
        """Put a new person with `records` records (or one or two more) in the store, sharing nothing with anyone."""
        ...

    async def ambiguous(self, scope: Scope) -> Prepared | None:
        """Put a person in the store known by `shared` identifiers only, which the store can't tie to them alone, so
        that `found` would be theirs only if a person confirmed it. None if no shared kind matches here."""
        ...

    async def stored(self, person: Prepared) -> Mapping[str, object]:
        """Read past the connector: what lies in the store of this person, by record, in every byte. Retained records
        are in it."""
        ...

    def broken(self) -> AbstractAsyncContextManager[None]:
        """Inside, the structure is missing (table, bucket, index, endpoint); afterwards all is as before."""
        ...

    async def settle(self) -> None:
        """Wait until the store's own delays are over (a search index), so that what was erased can't be found."""
        ...

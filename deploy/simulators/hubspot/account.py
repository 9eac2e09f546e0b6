"""The CRM of one account: what creating, merging and deleting do to each other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from deploy.simulators.hubspot.disk import Disk
from deploy.simulators.hubspot.errors import conflict, invalid, not_found
from deploy.simulators.hubspot.record import Record, changed, emails_of
from deploy.simulators.hubspot.schema import KINDS
from services.kit.clock import Clock

_RECYCLE_BIN = timedelta(days=90)

Change = tuple[str, Mapping[str, str | None]]
"""An object's id and its new values."""


class Account:
    """Lives in memory, written through to disk."""

    def __init__(self, disk: Disk, clock: Clock, bound: timedelta, lag: timedelta) -> None:
        self._disk, self._clock, self._bound, self._lag = disk, clock, bound, lag
        self._records = {record.id: record for record in disk.records()}
        self._aliases, self._last_id = disk.aliases(), disk.last_id()
        self._links: defaultdict[str, set[str]] = defaultdict(set)
        for a, b in disk.links():
            self._tie(a, b)

    def now(self) -> datetime:
        """This moment. What was due to vanish by now has vanished."""
        now = self._clock.now()
        due = [record for record in self._records.values() if record.purge and record.purge <= now]
        if due:
            with self._disk.change():
                for record in due:
                    for email in record.emails() if record.archived is None else ():
                        self._disk.block(email, "erased")
                    self._remove(record)
        return now

    def create(
        self, kind: str, contents: Sequence[Mapping[str, str | None]], links: Sequence[Sequence[str]]
    ) -> list[Record]:
        """Create objects, each tied to those in `links` at its place: all, or none.

        An address on the blocklist is no obstacle: by API an erased contact comes back.
        """
        now, taken = self.now(), self._taken()
        made = []
        for at, content in enumerate(contents, self._last_id + 1):
            properties = changed(KINDS[kind], {}, content)
            self._claim(taken, properties, str(at))
            made.append(Record(id=str(at), kind=kind, properties=properties, created=now, updated=now))
        with self._disk.change():
            for record, others in zip(made, links, strict=True):
                self._put(record)
                for other in others:
                    self._join(record.id, other)
        return made

    def update(self, kind: str, changes: Iterable[Change]) -> tuple[list[Record], list[str]]:
        """Change objects; returns them and the ids that were not found."""
        now, taken = self.now(), self._taken()
        found, missing = [], []
        for id_, change in changes:
            record = self._find(kind, id_)
            if record is None:
                missing.append(id_)
                continue
            properties = changed(KINDS[kind], record.properties, change)
            self._claim(taken, properties, record.id)
            found.append((record, properties))
        with self._disk.change():
            for record, properties in found:
                record.write(properties, now, self._lag)
                self._put(record)
        return [record for record, _ in found], missing

    def read(self, kind: str, id_: str, id_property: str | None = None, *, archived: bool = False) -> Record | None:
        """One object; by the id of a record that was merged away, the one it was merged into."""
        self.now()
        return self._find(kind, id_, id_property, archived=archived)

    def all(self, kind: str, *, archived: bool = False) -> list[Record]:
        """Every object of a kind, oldest first."""
        self.now()
        return [r for r in self._records.values() if r.kind == kind and (r.archived is not None) == archived]

    def index(self, kind: str) -> list[tuple[Record, Mapping[str, str]]]:
        """Every object of a kind as the search index sees it."""
        now = self.now()
        seen = [(r, r.indexed(now, self._lag)) for r in self._records.values() if r.kind == kind]
        return [(record, content) for record, content in seen if content is not None]

    def archive(self, kind: str, ids: Iterable[str]) -> None:
        """Move objects to the recycle bin; those that are gone already are no error."""
        now = self.now()
        records = [record for id_ in ids if (record := self._find(kind, id_))]
        with self._disk.change():
            for record in records:
                record.archived, record.purge = now, now + _RECYCLE_BIN
                self._put(record)

    def gdpr_delete(self, id_: str, id_property: str | None) -> None:
        """Order a contact's deletion. By an address that is nobody's primary one, the address is blocklisted."""
        now = self.now()
        record = self._find("contacts", id_, id_property)
        if record is None and id_property != "email":
            raise not_found()
        with self._disk.change():
            if record is None:
                self._disk.block(id_, "miss")
            else:
                record.purge = record.purge or now + self._bound
                self._put(record)

    def merge(self, primary_id: str, other_id: str) -> Record:
        """Make a new contact of two, under a new id to which both old ones lead from now on."""
        now = self.now()
        primary, other = self._find("contacts", primary_id), self._find("contacts", other_id)
        if primary is None or other is None or primary is other:
            raise not_found()
        merged = Record(
            id=str(self._last_id + 1), kind="contacts", properties=_merged(primary, other), created=now, updated=now
        )
        with self._disk.change():
            self._put(merged)
            for old in (primary, other):
                for linked in tuple(self._links[old.id]):
                    self._join(merged.id, linked)
                self._remove(old)
                self._aliases[old.id] = merged.id
                self._disk.alias(old.id, merged.id)
        return merged

    def associated(self, record: Record, kind: str) -> list[str]:
        """Ids of the living objects of a kind that are tied to a record."""
        ids = (id_ for id_ in self._links[record.id] if self._find(kind, id_))
        return sorted(ids, key=int)

    def _find(self, kind: str, id_: str, by: str | None = None, *, archived: bool = False) -> Record | None:
        if by == "email" and kind == "contacts":
            found = (r for r in self._records.values() if r.properties.get("email") == id_.lower())
            record = next((r for r in found if r.kind == kind and (r.archived is not None) == archived), None)
        elif by in (None, "hs_object_id"):
            while id_ in self._aliases:
                id_ = self._aliases[id_]
            record = self._records.get(id_)
        else:
            raise invalid(f'"{by}" is not a property with unique values')
        return record if record and record.kind == kind and (record.archived is not None) == archived else None

    def _taken(self) -> dict[str, str]:
        living = (record for record in self._records.values() if record.archived is None)
        return {email: record.id for record in living for email in record.emails()}

    @staticmethod
    def _claim(taken: dict[str, str], properties: Mapping[str, str], owner: str) -> None:
        for email in emails_of(properties):
            if taken.setdefault(email, owner) != owner:
                raise conflict(taken[email])

    def _put(self, record: Record) -> None:
        self._records[record.id] = record
        self._last_id = max(self._last_id, int(record.id))
        self._disk.save(record)

    def _remove(self, record: Record) -> None:
        del self._records[record.id]
        for other in self._links.pop(record.id, set()):
            self._links[other].discard(record.id)
        self._disk.delete(record)

    def _tie(self, a: str, b: str) -> None:
        self._links[a].add(b)
        self._links[b].add(a)

    def _join(self, a: str, b: str) -> None:
        self._tie(a, b)
        self._disk.link(a, b)


def _merged(primary: Record, other: Record) -> dict[str, str]:
    """The primary's values win; every address and every former id is kept."""
    properties = {**other.properties, **primary.properties}
    emails = [email for email in primary.emails() + other.emails() if email != properties.get("email")]
    former = [primary.id, other.id]
    for record in (primary, other):
        former += filter(None, record.properties.get("hs_merged_object_ids", "").split(";"))
    listed = {"hs_additional_emails": ";".join(emails), "hs_merged_object_ids": ";".join(former)}
    return {**properties, **{name: value for name, value in listed.items() if value}}

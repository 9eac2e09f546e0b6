"""One object of the CRM, and what the search index knows of it."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import phonenumbers
from pydantic import BaseModel

from deploy.simulators.hubspot.errors import invalid
from deploy.simulators.hubspot.schema import KINDS, Kind

_CALCULATED_FROM = {
    "hs_searchable_calculated_phone_number": "phone",
    "hs_searchable_calculated_mobile_number": "mobilephone",
}


class Record(BaseModel):
    """A contact, a call or a note."""

    id: str
    kind: str
    properties: dict[str, str]
    created: datetime
    updated: datetime
    stale: dict[str, str] | None = None
    """What search goes on showing until the index has caught up; None: nothing."""
    archived: datetime | None = None
    purge: datetime | None = None
    """When it vanishes for good: the end of a GDPR deletion, or of the recycle bin's 90 days."""

    def write(self, properties: dict[str, str], now: datetime, lag: timedelta) -> None:
        """Take over new content."""
        if now - self.updated >= lag:
            self.stale = self.properties
        self.properties, self.updated = properties, now

    def indexed(self, now: datetime, lag: timedelta) -> Mapping[str, str] | None:
        """What search sees: older content, deleted ones for a moment more, new ones not at once."""
        if self.archived and now - self.archived >= lag:
            return None
        content = self.properties if now - self.updated >= lag else self.stale
        return None if content is None else self.view(content)

    def view(self, content: Mapping[str, str] | None = None) -> dict[str, str]:
        """All properties that have a value."""
        kind, values = KINDS[self.kind], self.properties if content is None else content
        calculated = {name: _national(values[source]) for name, source in _CALCULATED_FROM.items() if source in values}
        own = {"hs_object_id": self.id, kind.created: stamp(self.created), kind.updated: stamp(self.updated)}
        return {**values, **calculated, **own}

    def emails(self) -> list[str]:
        """Primary and additional addresses."""
        return emails_of(self.properties)


def stamp(moment: datetime) -> str:
    """As the vendor writes a moment."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def emails_of(properties: Mapping[str, str]) -> list[str]:
    """Primary and additional addresses."""
    listed = properties.get("email", "") + ";" + properties.get("hs_additional_emails", "")
    return [email for email in listed.split(";") if email]


def shape(record: Record, wanted: Iterable[str], content: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An object as the vendor answers it; a property that was asked for and has no value is null."""
    kind = KINDS[record.kind]
    values = record.view() if content is None else content
    names = kind.own | (frozenset(wanted) & kind.properties or kind.shown)
    answer: dict[str, Any] = {"id": record.id, "properties": {name: values.get(name) for name in sorted(names)}}
    answer |= {"createdAt": stamp(record.created), "updatedAt": stamp(record.updated)}
    answer["archived"] = record.archived is not None
    return answer | ({"archivedAt": stamp(record.archived)} if record.archived else {})


def changed(kind: Kind, before: Mapping[str, str], change: Mapping[str, str | None]) -> dict[str, str]:
    """Content after a change, where an empty value clears a property; raises the vendor's 400."""
    for name in change:
        if name not in kind.properties:
            raise invalid(f'Property "{name}" does not exist', "PROPERTY_DOESNT_EXIST")
        if name not in kind.writable:
            raise invalid(f'"{name}" is a read only property; its value cannot be set.', "READ_ONLY_VALUE")
    after = {name: value for name, value in {**before, **change}.items() if value}
    for name in after.keys() & {"email", "hs_additional_emails"}:
        after[name] = after[name].lower()
    if not all("@" in email for email in emails_of(after)):
        raise invalid("Property values were not valid: an email address is invalid", "INVALID_EMAIL")
    if "hs_timestamp" in kind.writable and "hs_timestamp" not in after:
        raise invalid("Some required properties were not set.", "MISSING_REQUIRED_PROPERTY")
    return after


def _national(number: str) -> str:
    """Area code and local number alone, which is all that phone searches look at ("Search the CRM")."""
    try:
        return str(phonenumbers.parse(number).national_number)
    except phonenumbers.NumberParseException:
        return "".join(filter(str.isdigit, number)).lstrip("0")

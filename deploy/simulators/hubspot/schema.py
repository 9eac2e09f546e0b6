"""Kinds of objects and their properties, as the vendor names them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object."""

    name: str
    singular: str
    writable: frozenset[str]
    calculated: frozenset[str]
    created: str
    """The property that holds the time of creation."""
    updated: str
    shown: frozenset[str]
    """Properties that an answer holds when none were asked for, besides the vendor's own three."""

    @property
    def own(self) -> frozenset[str]:
        """Properties that every answer holds."""
        return frozenset({"hs_object_id", self.created, self.updated})

    @property
    def properties(self) -> frozenset[str]:
        """All there are."""
        return self.writable | self.calculated | self.own


def _engagement(name: str, singular: str, *writable: str) -> Kind:
    fields = frozenset({"hs_timestamp", "hubspot_owner_id", *writable})
    return Kind(name, singular, fields, frozenset(), "hs_createdate", "hs_lastmodifieddate", frozenset())


_CONTACT = Kind(
    name="contacts",
    singular="contact",
    writable=frozenset(
        (
            *("email", "hs_additional_emails", "firstname", "lastname", "phone", "mobilephone", "company", "jobtitle"),
            *("address", "city", "zip", "country", "lifecyclestage"),
        )
    ),
    calculated=frozenset(
        (
            "hs_merged_object_ids",
            "hs_searchable_calculated_phone_number",
            "hs_searchable_calculated_mobile_number",
        )
    ),
    created="createdate",
    updated="lastmodifieddate",
    shown=frozenset({"email", "firstname", "lastname"}),
)
_CALL = _engagement(
    *("calls", "call", "hs_call_title", "hs_call_body", "hs_call_direction", "hs_call_status", "hs_call_duration"),
    *("hs_call_from_number", "hs_call_to_number", "hs_call_recording_url"),
)
_NOTE = _engagement("notes", "note", "hs_note_body", "hs_attachment_ids")

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (_CONTACT, _CALL, _NOTE)}

ASSOCIATION_TYPES: Mapping[tuple[str, str], int] = {
    ("contacts", "calls"): 193,
    ("calls", "contacts"): 194,
    ("contacts", "notes"): 201,
    ("notes", "contacts"): 202,
}
"""The vendor's numbers ("Associations v4", association type ids)."""

"""What one part of the inventory says of another: read from the plain data, so that it is checked beside the shape."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

Place = tuple[str | int, ...]
"""Where something stands: the keys and indexes that lead to it."""

Problem = tuple[Place, str]
"""What is wrong there."""

_DECLARED: Final = {
    "publishers.*.controllers.*": "controllers",
    "stores.*.category": "categories",
    "stores.*.tables.*.category": "categories",
    "stores.*.match.*": "kinds",
    "stores.*.reveals.*": "kinds",
    "stores.*.tables.*.match.@": "kinds",
    "stores.*.tables.*.reveals.@": "kinds",
}
"""Names that must be declared in a section. `*` is every entry, `@` every key."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """The end of a sentence that refuses `name`."""
    names = sorted(candidates)
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names) or 'none'}"


def wrong_references(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Every name that is not declared, every rule about roles and tenants that is broken."""
    for pattern, section in _DECLARED.items():
        declared = data.get(section)
        names = {str(name) for name in declared} if isinstance(declared, dict) else set()
        for place, name in _at(data, pattern):
            if isinstance(name, str) and name not in names:
                yield place, f"{name!r} is not declared in {section}{nearest(name, names)}"
    for pattern in ("controllers.*", "stores.*.tables.*"):
        for place, part in _at(data, pattern):
            if isinstance(part, dict):
                yield from _wrong_tenant(place, part)
    for place, table in _at(data, "stores.*.tables.*"):
        if isinstance(table, dict):
            yield from _unfindable_later(place, table)
    for place, rule in _at(data, "stores.*.keys.*"):
        if isinstance(rule, dict) and isinstance(rule.get("prefix"), str):
            yield from _wrong_prefix(place, rule, data.get("kinds"))


def _at(node: Any, pattern: str, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    part, _, rest = pattern.partition(".")
    entries: Mapping[Any, Any] = {}
    if isinstance(node, dict):
        entries = node if part in ("*", "@") else {part: node[part]} if part in node else {}
    elif isinstance(node, list) and part == "*":
        entries = dict(enumerate(node))
    for key, value in entries.items():
        if rest:
            yield from _at(value, rest, (*place, key))
        else:
            yield (*place, key), key if part == "@" else value


def _wrong_tenant(place: Place, part: Mapping[str, Any]) -> Iterator[Problem]:
    """A processor's data without a tenant would be every customer's (DESIGN §2)."""
    if part.get("role") == "processor" and not part.get("tenant"):
        yield place, "role processor needs a tenant, or one customer's request would reach another's data"
    if part.get("role") == "controller" and part.get("tenant"):
        yield (*place, "tenant"), "role controller has no tenant: leave it out, or write role: processor"


def _unfindable_later(place: Place, table: Mapping[str, Any]) -> Iterator[Problem]:
    """What a retained row is found by must outlive its anonymising, or nobody finds it when its term ends."""
    matched = set(table["match"].values()) if isinstance(table.get("match"), dict) else set()
    for at, column in _at(table, "erase.retain.anonymise.*"):
        if column in matched:
            yield (*place, *at), f"column {column!r} is matched: emptied, the row could not be found when its term ends"


def _wrong_prefix(place: Place, rule: Mapping[str, Any], kinds: Any) -> Iterator[Problem]:
    named = set(re.findall(r"\{(\w*)\}", rule["prefix"]))
    place = (*place, "prefix")
    declared = {str(kind) for kind in kinds} if isinstance(kinds, dict) else set()
    for name in sorted(named - declared - {"tenant"}):
        yield place, f"{{{name}}} is not declared in kinds{nearest(name, declared)}"
    if not named - {"tenant"}:
        yield place, "names no kind in braces, so it would hold everybody's objects"
    if ("tenant" in named) != (rule.get("role") == "processor"):
        yield place, "{tenant} belongs in a prefix of role processor, and only there"
    if not rule["prefix"].endswith("/"):
        yield place, "must end with '/', or record 12 would take the objects of record 123 with it"

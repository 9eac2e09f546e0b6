"""Whether a change to a message breaks those who built on v1.

Two directions count. What others wrote after the old schema must still be read as it was meant: publishers that were
not rebuilt, and messages that lie in a topic or a replay. So nothing may be **removed, newly required, narrowed or
given another default**. And what Letheia writes now must be readable by those who built on the old schema: followers
of the status topic, and its own other half during a rolling upgrade. There, moreover, nothing may become **optional or
wider** (a new value of an enum is a refusal in a strict reader). New optional fields are always fine.

Unknown keywords must stay equal: rather a false alarm than a break.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]

_LOWER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_NO_CONSTRAINT: Final = frozenset({"$schema", "$id", "$defs", "title", "description", "examples", "deprecated"})
_STRUCTURE: Final = frozenset(
    {"type", "enum", "const", "anyOf", "default", "properties", "required", "items", "additionalProperties"}
    | {"patternProperties"}
)

_WIDENED: Final = ("integer", "number")


def breaking_changes(old: Schema, new: Schema, *, written: bool) -> list[str]:
    """What in `new` breaks those who built on `old`: sentences, each with the field's path; empty if nothing does.

    `written`: Letheia writes this message, so that its readers count as well as its past.
    """
    changes = {f"{field}: removed" for field in _fields(old, old) - _fields(new, new)}
    changes |= {f"{what} (refuses what v1 allowed)" for what in _Reading(old, new).refusals(old, new, "")}
    if written:
        changes |= {
            f"{what} (v1 readers refuse what is written now)" for what in _Reading(new, old).refusals(new, old, "")
        }
    return sorted(changes)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Messages written after one schema, read after another; the roots hold the definitions that `$ref` names."""

    written_root: Schema
    read_root: Schema

    def refusals(self, written: Schema, read: Schema, at: str) -> Iterator[str]:
        """Why the reader could refuse, or misread, what was written. Each way of writing needs one that reads it."""
        if "default" in written and "default" in read and written["default"] != read["default"]:
            yield f"{at}: where it is missing, means {read['default']!r} instead of {written['default']!r}"
        readers = _branches(read, self.read_root)
        for branch in _branches(written, self.written_root):
            attempts = [list(self._plain(branch, reader, at)) for reader in readers]
            yield from min(attempts, key=len)

    def _plain(self, written: Schema, read: Schema, at: str) -> Iterator[str]:
        if "type" in read and written.get("type") != read["type"] and (written.get("type"), read["type"]) != _WIDENED:
            yield f"{at}: takes {read['type']}, not {written.get('type', 'just anything')}"
            return
        yield from _values(written, read, at)
        yield from _bounds(written, read, at)
        yield from self._object(written, read, at)
        if "items" in read:
            yield from self.refusals(written.get("items", {}), read["items"], f"{at}/*")
        for keyword in sorted(read.keys() - _STRUCTURE - _LOWER - _UPPER - _NO_CONSTRAINT):
            if written.get(keyword) != read[keyword]:
                yield f"{at}: {keyword} {read[keyword]!r} instead of {written.get(keyword, 'none')!r}"

    def _object(self, written: Schema, read: Schema, at: str) -> Iterator[str]:
        for name in sorted(set(read.get("required", ())) - set(written.get("required", ()))):
            yield f"{at}/{name}: required"
        for name, inner in read.get("properties", {}).items():
            if name in written.get("properties", {}):
                yield from self.refusals(written["properties"][name], inner, f"{at}/{name}")
        for pattern, inner in read.get("patternProperties", {}).items():
            yield from self.refusals(written.get("patternProperties", {}).get(pattern, {}), inner, f"{at}/*")
        others, taken = written.get("additionalProperties", True), read.get("additionalProperties", True)
        if taken is False and others is not False:
            yield f"{at}: takes no unknown fields"
        elif isinstance(taken, Mapping) and others is not False:
            yield from self.refusals(others if isinstance(others, Mapping) else {}, taken, f"{at}/*")


def _values(written: Schema, read: Schema, at: str) -> Iterator[str]:
    taken, sent = _enumerated(read), _enumerated(written)
    if taken is not None and sent is None:
        yield f"{at}: takes only {', '.join(map(repr, taken))}"
    elif taken is not None and sent is not None:
        yield from (f"{at}: takes no {value!r}" for value in sent if value not in taken)


def _enumerated(schema: Schema) -> list[Any] | None:
    values: list[Any] | None = [schema["const"]] if "const" in schema else schema.get("enum")
    return values


def _bounds(written: Schema, read: Schema, at: str) -> Iterator[str]:
    for keyword in sorted((_LOWER | _UPPER) & read.keys()):
        sign = 1 if keyword in _LOWER else -1
        if sign * read[keyword] > sign * written.get(keyword, -sign * math.inf):
            yield f"{at}: {keyword} {read[keyword]} instead of {written.get(keyword, 'none')}"


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target: Schema = root["$defs"][reference.removeprefix("#/$defs/")]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _branches(schema: Schema, root: Schema) -> list[Schema]:
    plain = _resolved(schema, root)
    return [_resolved(branch, root) for branch in plain.get("anyOf", [plain])]


def _fields(schema: Schema, root: Schema, at: str = "") -> frozenset[str]:
    """Paths of all fields, those of nested messages too."""
    found: set[str] = set()
    for branch in _branches(schema, root):
        for name, inner in branch.get("properties", {}).items():
            found |= {f"{at}/{name}"} | _fields(inner, root, f"{at}/{name}")
        for inner in (branch.get("items"), *branch.get("patternProperties", {}).values()):
            if inner is not None:
                found |= _fields(inner, root, f"{at}/*")
    return frozenset(found)

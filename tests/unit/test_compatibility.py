"""What breaks those who built on v1: one row a kind of change."""

from typing import Any

import pytest

from contracts.schemas.compatibility import breaking_changes

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0, "maximum": 9}
FEW: Json = {**COUNT, "maximum": 3}
CODE: Json = {"type": "string", "enum": ["a", "b"]}
MAYBE: Json = {"anyOf": [TEXT, {"type": "null"}], "default": None}


def message(**fields: Json) -> Json:
    """A message whose fields are required unless they have a default."""
    return {
        "type": "object",
        "properties": fields,
        "required": [name for name, field in fields.items() if "default" not in field],
    }


def change(old: Json, new: Json, *, written: bool = False) -> list[str]:
    return breaking_changes(message(it=old), message(it=new), written=written)


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("field", [TEXT, COUNT, CODE, MAYBE, {"type": "array", "items": CODE}, message(x=COUNT)])
def test_the_same_breaks_nothing(field: Json, written: bool) -> None:
    assert change(field, field, written=written) == []


@pytest.mark.parametrize("written", [True, False])
def test_a_removed_field_breaks(written: bool) -> None:
    assert "/b: removed" in breaking_changes(message(a=TEXT, b=TEXT), message(a=TEXT), written=written)
    assert breaking_changes(message(a=TEXT, b=MAYBE), message(a=TEXT), written=written) == ["/b: removed"]


@pytest.mark.parametrize("written", [True, False])
def test_a_new_required_field_breaks_and_an_optional_one_does_not(written: bool) -> None:
    old = message(a=TEXT)
    assert breaking_changes(old, message(a=TEXT, b=TEXT), written=written) == ["/b: required (refuses what v1 allowed)"]
    assert breaking_changes(old, message(a=TEXT, b=MAYBE), written=written) == []


NARROWED = [
    ({"type": "number"}, {"type": "integer"}, "/it: takes integer, not number"),
    (MAYBE, {**TEXT, "default": None}, "/it: takes string, not null"),
    (CODE, {**CODE, "enum": ["a"]}, "/it: takes no 'b'"),
    (TEXT, CODE, "/it: takes only 'a', 'b'"),
    (CODE, {"type": "string", "const": "a"}, "/it: takes no 'b'"),
    (COUNT, {**COUNT, "minimum": 1}, "/it: minimum 1 instead of 0"),
    (COUNT, {**COUNT, "maximum": 8}, "/it: maximum 8 instead of 9"),
    (TEXT, {**TEXT, "maxLength": 8}, "/it: maxLength 8 instead of none"),
    (TEXT, {**TEXT, "minLength": 1}, "/it: minLength 1 instead of none"),
    (TEXT, {**TEXT, "pattern": "^a"}, "/it: pattern '^a' instead of 'none'"),
    (TEXT, {**TEXT, "format": "uuid"}, "/it: format 'uuid' instead of 'none'"),
    ({"type": "array", "items": CODE}, {"type": "array", "items": {**CODE, "enum": ["b"]}}, "/it/*: takes no 'a'"),
    ({"type": "array"}, {"type": "array", "items": CODE}, "/it/*: takes string, not just anything"),
    ({"type": "array"}, {"type": "array", "maxItems": 3}, "/it: maxItems 3 instead of none"),
    (message(x=COUNT), message(x=FEW), "/it/x: maximum 3 instead of 9"),
    (message(), {**message(), "additionalProperties": False}, "/it: takes no unknown fields"),
    (
        {"type": "object", "additionalProperties": COUNT},
        {"type": "object", "additionalProperties": FEW},
        "/it/*: maximum 3 instead of 9",
    ),
    (
        {"type": "object", "patternProperties": {"^a": COUNT}},
        {"type": "object", "patternProperties": {"^a": FEW}},
        "/it/*: maximum 3 instead of 9",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (TEXT, {"type": "integer"}, "/it: takes integer, not string"),
        (message(x=COUNT), message(x=TEXT), "/it/x: takes string, not integer"),
        ({**TEXT, "format": "date"}, {**TEXT, "format": "uuid"}, "/it: format 'uuid' instead of 'date'"),
    ],
)
def test_what_became_something_else_breaks_both_ways(old: Json, new: Json, said: str) -> None:
    assert f"{said} (refuses what v1 allowed)" in change(old, new)
    assert f"{said} (v1 readers refuse what is written now)" in change(new, old, written=True)


@pytest.mark.parametrize(("old", "new", "said"), NARROWED)
def test_what_is_narrowed_breaks(old: Json, new: Json, said: str) -> None:
    assert change(old, new) == [f"{said} (refuses what v1 allowed)"]


@pytest.mark.parametrize(("new", "old", "said"), NARROWED)
def test_what_is_widened_breaks_readers_of_what_letheia_writes(old: Json, new: Json, said: str) -> None:
    assert change(old, new) == []
    assert change(old, new, written=True) == [f"{said} (v1 readers refuse what is written now)"]


def test_what_was_always_there_and_is_now_optional_breaks_readers() -> None:
    old, new = message(a=TEXT), {**message(a=TEXT), "required": []}
    assert breaking_changes(old, new, written=False) == []
    assert breaking_changes(old, new, written=True) == ["/a: required (v1 readers refuse what is written now)"]


@pytest.mark.parametrize("field", [{"type": "boolean", "default": False}, {**MAYBE, "default": False}])
def test_another_default_means_something_else(field: Json) -> None:
    assert change(field, {**field, "default": True}) == [
        "/it: where it is missing, means True instead of False (refuses what v1 allowed)"
    ]


def test_definitions_are_followed_in_each_schema_of_its_own() -> None:
    old = {**message(it={"$ref": "#/$defs/Code"}), "$defs": {"Code": CODE}}
    new = {**message(it={"$ref": "#/$defs/Other"}), "$defs": {"Other": {**CODE, "enum": ["a"]}}}
    assert breaking_changes(old, new, written=False) == ["/it: takes no 'b' (refuses what v1 allowed)"]


def test_names_and_descriptions_are_free() -> None:
    assert change(TEXT, {**TEXT, "title": "T", "description": "Said better."}, written=True) == []


def test_an_unknown_keyword_must_stay_equal() -> None:
    assert change(TEXT, {**TEXT, "contentEncoding": "base64"}) == [
        "/it: contentEncoding 'base64' instead of 'none' (refuses what v1 allowed)"
    ]

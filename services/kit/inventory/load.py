"""Reads the inventory, and refuses it with everything that is wrong in it at once."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from services.kit.errors import LetheiaError
from services.kit.inventory.model import Inventory
from services.kit.inventory.references import Place, Problem, nearest, wrong_references

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


class InventoryError(LetheiaError):
    """The inventory can't be used. One problem a line: where, what is wrong, and the nearest right name."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load_inventory(path: Path, environ: Mapping[str, str]) -> Inventory:
    """Read, fill in `${VARIABLE}` from `environ`, and validate.

    YAML 1.2: `NO` is Norway, not false. Raises `InventoryError` with every problem, each with file and line.
    """
    node = _parsed(path)
    problems: list[Problem] = []
    data = _filled(node, environ, (), problems)
    inventory = None
    try:
        inventory = Inventory.model_validate(data)
    except ValidationError as error:
        schema = Inventory.model_json_schema()
        problems += [_explained(detail, schema) for detail in error.errors(include_url=False)]
    problems += wrong_references(data)
    if inventory is None or problems:
        lines = sorted({(*_position(node, place), text) for place, text in problems})
        raise InventoryError(f"{path}:{line}: {dotted}: {text}" for line, dotted, text in lines)
    return inventory


def _parsed(path: Path) -> CommentedMap:
    try:
        node = YAML().load(path)
    except OSError as error:
        raise InventoryError([f"{path}: can't be read ({error.strerror}): LETHEIA_INVENTORY names it"]) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InventoryError([f"{path}:{line}: is no YAML: {error.problem}"]) from error
    except YAMLError as error:
        raise InventoryError([f"{path}: is no YAML: {error}"]) from error
    if not isinstance(node, CommentedMap):
        raise InventoryError([f"{path}:1: holds no mapping: begin with `controllers:`"])
    return node


def _filled(node: Any, environ: Mapping[str, str], place: Place, problems: list[Problem]) -> Any:
    """Plain values with variables filled in."""
    if isinstance(node, CommentedMap):
        return {key: _filled(value, environ, (*place, key), problems) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_filled(value, environ, (*place, index), problems) for index, value in enumerate(node)]
    if not isinstance(node, str):
        return node
    missing = sorted(set(_VARIABLE.findall(node)) - set(environ))
    problems += [(place, f"the environment has no {name}: set it") for name in missing]
    return _VARIABLE.sub(lambda found: environ.get(found[1], ""), node)


def _explained(detail: ErrorDetails, schema: Mapping[str, Any]) -> Problem:
    place, context = detail["loc"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return place, f"unknown field{nearest(str(place[-1]), _fields(schema, place[:-1]))}"
        case "missing":
            return place[:-1], f"field {place[-1]!r} is missing"
        case "union_tag_invalid":
            place = (*place, *_quoted(context["discriminator"]))
            return place, f"{context['tag']!r} is unknown{nearest(context['tag'], _quoted(context['expected_tags']))}"
        case "union_tag_not_found":
            return place, f"field {context['discriminator']} is missing"
        case "enum" | "literal_error":
            value = detail["input"]
            return place, f"{value!r} is unknown{nearest(str(value), _quoted(context['expected']))}"
    return place, detail["msg"].removeprefix("Value error, ").replace("tuple", "list")


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _fields(schema: Mapping[str, Any], place: Place) -> list[str]:
    """Names of the fields that may stand at a place, from the JSON Schema of the whole."""
    node: Any = schema
    for part in (*place, None):
        while "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        if part is None:
            break
        tagged = {tag: {"$ref": ref} for tag, ref in node.get("discriminator", {}).get("mapping", {}).items()}
        inside = node.get("properties", {}) | tagged
        named = next(iter(node.get("patternProperties", {}).values()), None) or node.get("additionalProperties")
        node = inside.get(part) or named or node.get("items") or node
    return list(node.get("properties", ()))


def _position(node: CommentedMap, place: Place) -> tuple[int, str]:
    """Line and dotted name of the deepest part of `place` that stands in the file: pydantic also names tags."""
    current: Any = node
    line, known = 1, []
    for part in place:
        if isinstance(current, CommentedMap) and part in current:
            line = current.lc.key(part)[0] + 1
        elif isinstance(current, CommentedSeq) and isinstance(part, int) and part < len(current):
            line = current.lc.item(part)[0] + 1
        else:
            continue
        current = current[part]
        known.append(str(part))
    return line, ".".join(known) or "inventory"

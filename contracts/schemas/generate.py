"""From pydantic models to the committed files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from contracts.base import Message
from contracts.reports import TaskReported
from contracts.requests import Amendment, SealedMessage, Submission
from contracts.schemas.asyncapi import asyncapi
from contracts.schemas.compatibility import breaking_changes
from contracts.status import StatusChanged
from contracts.tasks import TaskIssued

FOLDER: Final = Path(__file__).parent
BASELINE: Final = FOLDER / "v1-baseline"
"""The schemas as last released: what v1 means to those who built on it."""

READ: Final[tuple[type[Message], ...]] = (SealedMessage, Submission, Amendment)
"""Written by publishers, read by Letheia, strictly."""

WRITTEN: Final[tuple[type[Message], ...]] = (TaskIssued, TaskReported, StatusChanged)
"""Written by Letheia, read tolerantly by itself (in other releases too) and by whoever follows."""


class _WithoutFieldTitles(GenerateJsonSchema):
    """Pydantic makes a title of every field's name, which says nothing new."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema(model: type[Message]) -> dict[str, Any]:
    """One message's JSON Schema (draft 2020-12)."""
    body = model.model_json_schema(schema_generator=_WithoutFieldTitles)
    if model in WRITTEN:
        body = _open(body)
    return {"$schema": GenerateJsonSchema.schema_dialect, "$id": f"urn:letheia:schema:v1:{model.__name__}", **body}


def schemas() -> dict[str, dict[str, Any]]:
    """Every message's schema by file name."""
    return {f"{model.__name__}.json": schema(model) for model in (*READ, *WRITTEN)}


def files() -> dict[str, str]:
    """Everything generated, by file name."""
    documents: Mapping[str, Any] = {**schemas(), "asyncapi.json": asyncapi()}
    return {name: as_text(document) for name, document in documents.items()}


def as_text(document: Any) -> str:
    """The committed form of a document."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def stale(folder: Path = FOLDER) -> list[str]:
    """Names of committed files that differ from what the models say, are missing, or have no model any more."""
    wanted = files()
    found = {path.name: path.read_text() for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def breaks(folder: Path = BASELINE) -> list[str]:
    """What in today's messages breaks those who built on the baseline; the first release has none."""
    today, written = schemas(), {f"{model.__name__}.json" for model in WRITTEN}
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name in today:
            changes = breaking_changes(json.loads(path.read_text()), today[path.name], written=path.name in written)
            found += [f"{path.name} {change}" for change in changes]
        else:
            found.append(f"{path.name}: removed")
    return found


def _open(node: Any) -> Any:
    """The same schema without its refusal of unknown fields."""
    match node:
        case dict():
            return {key: _open(value) for key, value in node.items() if (key, value) != ("additionalProperties", False)}
        case list():
            return [_open(value) for value in node]
        case _:
            return node

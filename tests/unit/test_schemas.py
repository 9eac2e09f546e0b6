"""The generated schemas and the AsyncAPI document: fresh, valid, true of what is sent, and no break of v1."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from contracts.base import Message
from contracts.envelope import Envelope
from contracts.reports import Level, Locked, Member, Result, Retained, TaskReported
from contracts.requests import (
    Amendment,
    DecisionKind,
    GivenIdentifier,
    Identity,
    Right,
    SealedMessage,
    Submission,
)
from contracts.schemas.asyncapi import asyncapi
from contracts.schemas.generate import BASELINE, FOLDER, READ, WRITTEN, as_text, breaks, files, schema, schemas, stale
from contracts.status import Outcome, Phase, StatusChanged
from contracts.tasks import Action, TaskIssued
from contracts.topics import MessageType

ID = UUID("01890000-0000-7000-8000-000000000001")
AT = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
DAY = date(2026, 12, 1)

EXAMPLES: list[Message] = [
    SealedMessage(schema_version=1, request_id=ID, sealed="eyJ"),
    Submission(
        request_id=ID,
        right=Right.ERASURE,
        controller="acme",
        received_on=DAY,
        issued_at=AT,
        identity=Identity(verified=True, method="account_login"),
        identifiers=(GivenIdentifier(kind="email", value="someone@example.org"),),
    ),
    Amendment(
        request_id=ID, decision_id=ID, decision=DecisionKind.HOLD, reason="court_order", decided_by="dpo", issued_at=AT
    ),
    TaskIssued(task_id=ID, request_id=ID, round=1, attempt=1, store="app", action=Action.ERASE, due_at=AT),
    TaskReported(
        task_id=ID,
        request_id=ID,
        round=1,
        attempt=1,
        store="app",
        action=Action.ERASE,
        result=Result.DONE,
        asked_with=("email",),
        erased={"customers": 1},
        retained=(Retained(category="billing", count=2, basis="Code de commerce L123-22", until=DAY),),
        locked=(Locked(category="recordings", count=1, until=None),),
        level=Level.ACCEPTED,
        bound_on=AT,
        members=(Member(name="1.json", category="usage", size=2, sha256="00"),),
    ),
    StatusChanged(
        request_id=ID,
        revision=3,
        right=None,
        phase=Phase.CLOSED,
        outcome=Outcome.COMPLETED,
        code=None,
        due_on=DAY,
        journal_head="00",
    ),
]


def test_committed_files_are_fresh() -> None:
    assert stale() == [], "run `make schemas`"


def test_a_stale_missing_or_left_over_file_is_seen(tmp_path: Path) -> None:
    for name, text in files().items():
        (tmp_path / name).write_text(text)
    assert stale(tmp_path) == []
    (tmp_path / "TaskIssued.json").write_text("{}\n")
    (tmp_path / "Submission.json").unlink()
    (tmp_path / "TaskForgotten.json").write_text("{}\n")
    assert stale(tmp_path) == ["Submission.json", "TaskForgotten.json", "TaskIssued.json"]


def test_nothing_breaks_v1() -> None:
    assert list(BASELINE.glob("*.json")), "the baseline is gone: `python -m contracts.schemas --freeze`"
    assert breaks() == []


def test_a_break_is_seen_whether_of_a_field_or_of_a_message(tmp_path: Path) -> None:
    before = schema(Submission)
    before["properties"]["nickname"] = {"type": "string"}
    (tmp_path / "Submission.json").write_text(as_text(before))
    (tmp_path / "TaskForgotten.json").write_text("{}")
    assert breaks(tmp_path) == ["Submission.json /nickname: removed", "TaskForgotten.json: removed"]


def test_every_message_has_an_example_here() -> None:
    assert {type(example) for example in EXAMPLES} == {*READ, *WRITTEN}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_what_is_sent_is_valid(example: Message) -> None:
    document = schema(type(example))
    Draft202012Validator.check_schema(document)
    Draft202012Validator(document).validate(json.loads(example.model_dump_json()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_unknown_fields_are_refused_only_where_publishers_write(example: Message) -> None:
    body = json.loads(example.model_dump_json()) | {"unheard_of": 1}
    assert Draft202012Validator(schema(type(example))).is_valid(body) is (type(example) in WRITTEN)


def test_the_document_is_asyncapi_3() -> None:
    official = json.loads((Path(__file__).parent / "vendored" / "asyncapi-3.0.0.json").read_text())
    errors = Draft7Validator(official).iter_errors(asyncapi())
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_official_schema_would_object() -> None:
    official = json.loads((Path(__file__).parent / "vendored" / "asyncapi-3.0.0.json").read_text())
    broken = asyncapi()
    broken["operations"]["issueTask"]["action"] = "publish"
    assert not Draft7Validator(official).is_valid(broken)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi()
    for reference in references(document):
        file, _, path = reference.partition("#")
        found: Any = json.loads((FOLDER / file).read_text()) if file else document
        for step in filter(None, path.split("/")):
            found = found[step]
        assert found


def test_every_message_is_in_the_document() -> None:
    messages = asyncapi()["components"]["messages"]
    assert {message["name"] for message in messages.values()} == set(MessageType)
    assert {f"./{name}" for name in schemas()} <= set(references(messages))


@pytest.mark.parametrize("kind", MessageType)
def test_the_headers_that_are_sent_are_valid(kind: MessageType) -> None:
    to = "app" if kind is MessageType.TASK_ISSUED else None
    sent = Envelope("1", "coordinator", kind, AT, f"00-{'a' * 32}-{'b' * 16}-01", to).headers()
    name = kind.value.split(".")[1]
    headers = asyncapi()["components"]["messages"][name]["headers"]
    Draft202012Validator(headers).validate({key: value.decode() for key, value in sent})

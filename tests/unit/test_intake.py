"""What a publisher sends, and the fate of everything that can't be acted on."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from contracts.base import Message
from contracts.requests import Submission
from contracts.sealing import seal
from contracts.topics import MessageType, Topic
from services.coordinator.intake import Intake, OpenedAmendment, OpenedSubmission, Unusable
from services.coordinator.reading import Reported, read
from services.kit.inventory import Inventory, Publisher
from services.kit.kafka import RawRecord
from tests.support.inventory import sample_inventory
from tests.support.publisher import (
    CONSOLE,
    NOW,
    PORTAL,
    PUBLISHERS,
    RECEIVING_KEYS,
    REQUEST,
    amendment,
    envelope,
    record,
    sent,
    submission,
)

SECRET = "jeanne.doe@example.org"
OTHER_ID = UUID(int=5)
STRANGER = OKPKey.generate_key("Ed25519", {"kid": "stranger"})
THIEF = OKPKey.generate_key("Ed25519", {"kid": "portal"})
AMENDED = MessageType.REQUEST_AMENDED


class Free(Message):
    """A payload that a publisher signs without our models."""

    model_config = {"extra": "allow"}


def free(**changes: object) -> Free:
    """A submission's fields with some changed; None takes one out, which `seal` does."""
    return Free.model_validate(submission().model_dump(mode="json") | changes)


def freely_amended(**changes: object) -> Free:
    return Free.model_validate(amendment("withdraw").model_dump(mode="json") | changes)


def inventory() -> Inventory:
    """The sample, with a publisher that may do less."""
    sample = sample_inventory()
    narrow = Publisher(keys="-", rights=("portability",), controllers=("globex",))
    return sample.model_copy(update={"publishers": {**sample.publishers, "narrow": narrow}})


NARROW = OKPKey.generate_key("Ed25519", {"kid": "narrow"})
INTAKE = Intake(inventory(), RECEIVING_KEYS, {**PUBLISHERS, "narrow": ("narrow", NARROW)})


def opened(raw: RawRecord) -> Submission:
    content = INTAKE.open(raw)
    assert isinstance(content, OpenedSubmission)
    return content.submission


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def refused(raw: RawRecord) -> Unusable:
    with pytest.raises(Unusable) as caught:
        INTAKE.open(raw)
    for error in causes(caught.value):
        assert SECRET not in f"{error} {error!r} {error.args}"
        assert "+33" not in f"{error} {error!r}"
    return caught.value


def to_another() -> dict[str, object]:
    other = ECKey.generate_key("P-256", {"kid": "r1"})
    return {"schema_version": 1, "request_id": str(REQUEST), "sealed": seal(submission(), PORTAL, other)}


def captured() -> RawRecord:
    return sent(submission(), request_id=str(OTHER_ID))


def identified(*values: str, kind: str = "email") -> list[dict[str, str]]:
    return [{"kind": kind, "value": value} for value in values]


MISMATCH = "request_id_mismatch"
LONG_AGO = NOW - timedelta(days=7, seconds=1)
FATES: dict[str, tuple[RawRecord, str]] = {
    "undecodable bytes": (record(b"\xff\xfe" + SECRET.encode()), "undecodable"),
    "no JSON": (record(SECRET.encode()), "undecodable"),
    "nothing": (record(b""), "undecodable"),
    "too deep": (record(b"[" * 100_000), "undecodable"),
    "a list": (record([SECRET]), "invalid_envelope"),
    "a newer schema": (sent(submission(), schema_version=2), "unknown_schema_version"),
    "no schema version": (sent(submission(), schema_version=None), "unknown_schema_version"),
    "a body in clear": (record(submission().model_dump(mode="json")), "unknown_schema_version"),
    "an envelope with more": (sent(submission(), email=SECRET), "invalid_envelope"),
    "no id": (sent(submission(), request_id=SECRET), "invalid_envelope"),
    "an unknown type": (record(envelope(submission()), "letheia.Deleted.v1"), "unknown_type"),
    "no type": (record(envelope(submission()), None), "unknown_type"),
    "sealed to another key": (record(to_another()), "sealed_to_another_key"),
    "not sealed": (sent(submission(), sealed=SECRET), "sealed_to_another_key"),
    "an unknown publisher": (sent(submission(), STRANGER), "unknown_publisher"),
    "a failing signature": (sent(submission(), THIEF), "bad_signature"),
    "a right it may not ask": (sent(submission(controller="globex"), NARROW), "right_not_allowed"),
    "a controller it may not ask for": (sent(submission(right="portability"), NARROW), "controller_not_allowed"),
    "an unknown controller": (sent(submission(controller="umbrella")), "unknown_controller"),
    "nothing but an id": (sent(Free.model_validate({"request_id": str(REQUEST)})), "no_identifiers"),
    "an amendment it may not make": (sent(amendment("approve")), "amendment_not_allowed"),
    "any amendment": (sent(amendment("withdraw"), NARROW), "amendment_not_allowed"),
    "another id than the signed one": (captured(), MISMATCH),
    "an amendment under another id": (sent(amendment("hold"), CONSOLE, request_id=str(OTHER_ID)), MISMATCH),
    "signed long ago": (sent(submission(issued_at=LONG_AGO)), "stale_signature"),
    "an amendment signed long ago": (sent(amendment("withdraw", issued_at=LONG_AGO)), "stale_signature"),
    "kept back by the sender": (sent(submission(), at=NOW + timedelta(days=8)), "stale_signature"),
    "signed tomorrow": (sent(submission(issued_at=NOW + timedelta(days=1))), "future_signature"),
    "no identifiers": (sent(free(identifiers=[])), "no_identifiers"),
    "identifiers left out": (sent(free(identifiers=None)), "no_identifiers"),
    "an empty identifier": (sent(free(identifiers=identified("  "))), "malformed_identifier"),
    "an identifier without a kind": (sent(free(identifiers=[{"value": SECRET}])), "malformed_identifier"),
    "a phone that is none": (sent(submission(identifiers=identified(SECRET, kind="phone"))), "malformed_identifier"),
    "a phone of no country": (sent(free(identifiers=identified("0123456789", kind="phone"))), "malformed_identifier"),
    "an unknown kind": (sent(submission(identifiers=identified(SECRET, kind="emial"))), "unknown_kind"),
    "a right that does not exist": (sent(free(right="oblivion")), "unknown_right"),
    "a misspelt option": (sent(free(export_frist=True)), "invalid_payload"),
    "a misspelt option of an amendment": (sent(freely_amended(untill="2026-12-01")), "invalid_payload"),
    "too many identifiers": (sent(free(identifiers=identified(SECRET) * 101)), "malformed_identifier"),
    "one of them empty": (sent(free(identifiers=identified(SECRET, " "))), "malformed_identifier"),
    "a moment without a zone": (sent(free(issued_at="2026-11-02T09:00:00")), "invalid_payload"),
    "a moment before the calendar": (sent(free(issued_at="0001-01-01T00:00:00+14:00")), "invalid_payload"),
    "received tomorrow": (sent(submission(received_on="2026-11-03")), "received_in_future"),
    "an amendment that does not exist": (sent(freely_amended(decision="forget")), "invalid_payload"),
}  # fmt: skip


@pytest.mark.parametrize("case", FATES)
def test_bad_input_has_a_code_and_no_value(case: str) -> None:
    raw, code = FATES[case]
    if "amendment" in case:
        raw = replace(raw, headers=(("ce_type", AMENDED.encode()),))
    assert refused(raw).code == code
    fate = read(INTAKE, raw)
    assert isinstance(fate.content, Unusable)
    assert SECRET not in repr(fate)


@pytest.mark.parametrize(
    ("raw", "claims", "is_submission"),
    [
        (sent(submission(), THIEF), REQUEST, True),
        (captured(), OTHER_ID, True),
        (record(b"\xff", key=str(REQUEST).encode()), REQUEST, True),
        (record([], key=str(REQUEST).encode()), REQUEST, True),
        (record(b"\xff", key=b"\xff"), None, True),
        (record(b"\xff", key=SECRET.encode()), None, True),
        (record(b"\xff"), None, True),
        (sent(amendment("approve")), REQUEST, False),
        (record(b"\xff", AMENDED, key=str(REQUEST).encode()), REQUEST, False),
        (record(b"\xff", None, key=str(REQUEST).encode()), REQUEST, True),
    ],
)
def test_what_can_be_read_of_it_is_told(raw: RawRecord, claims: UUID | None, is_submission: bool) -> None:
    unusable = refused(raw)
    assert (unusable.request_id, unusable.submission) == (claims, is_submission)


@pytest.mark.parametrize(
    ("controller", "at", "received_on", "accepted"),
    [
        ("acme", "2026-11-02T22:59", "2026-11-02", True),
        ("acme", "2026-11-02T22:59", "2026-11-03", False),
        ("acme", "2026-11-02T23:30", "2026-11-03", True),  # in Paris it is past midnight
        ("acme", "2026-11-02T23:30", "2026-11-04", False),
        ("acme", "2026-07-02T22:30", "2026-07-03", True),  # and in summer an hour earlier
        ("acme", "2026-07-02T21:30", "2026-07-03", False),
        ("acme", "2026-11-02T00:30", "2026-11-02", True),
        ("acme", "2026-11-02T00:30", "0001-01-01", True),
    ],
)
def test_the_future_is_the_controllers(controller: str, at: str, received_on: str, accepted: bool) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    raw = sent(submission(controller=controller, received_on=received_on, issued_at=moment), at=moment)
    if accepted:
        assert opened(raw).received_on == date.fromisoformat(received_on)
    else:
        assert refused(raw).code == "received_in_future"


@pytest.mark.parametrize("age", [timedelta(days=7), timedelta(), timedelta(hours=-1)])
def test_a_signature_holds_for_seven_days_of_the_brokers_time(age: timedelta) -> None:
    assert opened(sent(submission(issued_at=NOW - age))).request_id == REQUEST


def test_a_valid_submission_is_opened_with_its_phone_in_one_form() -> None:
    given = [*identified(SECRET), *identified("+33 1 23 45 67 89", kind="phone")]
    content = INTAKE.open(sent(submission(identifiers=given)))
    assert isinstance(content, OpenedSubmission)
    assert content.publisher == "crm-portal"
    assert [identifier.value for identifier in content.submission.identifiers] == [SECRET, "+33123456789"]
    assert content.content["identifiers"] == given, "recognised again by what was said, not by what we made of it"
    assert SECRET not in repr(content)
    assert "issued_at" not in content.content


def test_the_same_content_is_the_same_whatever_its_sealing_and_its_moment() -> None:
    first, again = (
        INTAKE.open(sent(submission(issued_at=NOW - timedelta(hours=hours)))) for hours in (0, 5)
    )  # fmt: skip
    without_option = INTAKE.open(sent(free(export_first=None)))
    assert isinstance(first, OpenedSubmission)
    assert isinstance(again, OpenedSubmission)
    assert isinstance(without_option, OpenedSubmission)
    assert first.content == again.content == without_option.content


@pytest.mark.parametrize("value", ["unknown", "+33000000000", "+33 00 00 00 00 00", "noreply@example.org", " None "])
def test_a_placeholder_is_opened_for_a_person_to_judge(value: str) -> None:
    kind = "phone" if value.startswith("+") else "email"
    assert opened(sent(submission(identifiers=identified(value, kind=kind)))).identifiers


def test_an_amendment_is_opened() -> None:
    said = amendment("hold", note="as agreed with her lawyer", until=date(2026, 12, 1))
    content = INTAKE.open(sent(said, CONSOLE))
    assert content == OpenedAmendment("console", said)
    assert "lawyer" not in repr(content)


@given(
    value=st.binary(max_size=60), type_=st.sampled_from([*MessageType, "", None]), key=st.none() | st.binary(max_size=9)
)
def test_any_record_is_read(value: bytes, type_: str | None, key: bytes | None) -> None:
    for topic in (Topic.REQUESTS, Topic.REPORTS):
        assert isinstance(read(INTAKE, record(value, type_, key=key, topic=topic)).content, Unusable)


def test_what_nobody_foresaw_is_unprocessable_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(INTAKE, "open", fails)
    fate = read(INTAKE, record({"request_id": str(OTHER_ID)}, key=str(REQUEST).encode()))
    assert fate.unprocessable
    assert fate.request_id == REQUEST


@pytest.mark.parametrize("value", [b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"schema_version": 2}'])
def test_a_report_that_says_nothing_is_undecodable(value: bytes) -> None:
    fate = read(INTAKE, record(value, MessageType.TASK_REPORTED, key=str(REQUEST).encode(), topic=Topic.REPORTS))
    assert isinstance(fate.content, Unusable)
    assert (fate.content.code, fate.request_id) == ("undecodable", REQUEST)


def test_a_report_is_read_with_its_body() -> None:
    body = {
        "task_id": str(OTHER_ID), "request_id": str(REQUEST), "round": 1, "attempt": 1, "store": "app",
        "action": "discover", "result": "done", "mac": "00", "newer": 1,
    }  # fmt: skip
    fate = read(INTAKE, record(body, MessageType.TASK_REPORTED, topic=Topic.REPORTS))
    assert isinstance(fate.content, Reported)
    assert fate.content.body == body
    assert not fate.unprocessable
    assert (fate.given_up().unprocessable, fate.given_up().request_id) == (True, REQUEST)

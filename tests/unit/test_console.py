"""What the console lets whom do, and what it says when it does not. No database: nothing here gets that far."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from contracts.requests import DecisionKind as D
from contracts.status import BundleStatus, Phase, StatusDocument
from services.console import rules
from services.console.access import ALLOWED, DECISIONS, Deed, Role, load_principals, whose
from services.console.app import build_app
from services.console.documents import NewRequest
from services.console.gate import MAX_BODY
from services.console.problems import Problem
from services.kit.errors import LetheiaError
from tests.support.console import NOW, PRINCIPALS, REQUEST, asking, call, console, principal, status_document
from tests.support.inventory import sample_inventory

API = "/api/v1/requests"
CANARY = "camille.canari@example.org"
PLAIN: dict[str, Any] = {
    "right": "erasure",
    "controller": "acme",
    "identity": {"verified": True, "method": "account_login"},
    "identifiers": [{"kind": "email", "value": CANARY}],
}
DPO = PRINCIPALS[0]


@pytest.fixture
def app() -> FastAPI:
    return build_app(console())


@pytest.mark.parametrize("path", ["/openapi.json", API, "/nowhere", f"{API}/{REQUEST}/bundle"])
@pytest.mark.parametrize("token", [None, "wrong", ""])
async def test_nothing_but_keys_and_health_answers_without_a_token(app: FastAPI, path: str, token: str | None) -> None:
    answer = await call(app, "GET", path, token=token)
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_keys_and_health_do(app: FastAPI) -> None:
    assert (await call(app, "GET", "/livez", token=None)).status == 200
    keys = (await call(app, "GET", "/.well-known/jwks.json", token=None)).json["keys"]
    assert [key["kid"] for key in keys] == ["receiving-1"]
    assert "d" not in keys[0]


async def test_a_body_is_not_read_before_the_token(app: FastAPI) -> None:
    assert (await call(app, "POST", API, token=None, chunks=[b"{not json"])).status == 401


async def test_the_document_describes_the_api(app: FastAPI) -> None:
    document = (await call(app, "GET", "/openapi.json")).json
    assert "/api/v1/requests/{request_id}/decisions" in document["paths"]
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


DENIED = [
    ("sre", "POST", API),
    ("auditor", "POST", API),
    ("auditor", "POST", f"{API}/{REQUEST}/decisions"),
    ("crm-portal", "POST", f"{API}/{REQUEST}/decisions"),
    ("sre", "GET", f"{API}/{REQUEST}/bundle"),
    ("auditor", "GET", f"{API}/{REQUEST}/bundle"),
    ("crm-portal", "GET", "/api/v1/dead-letters"),
]


@pytest.mark.parametrize(("who", "method", "path"), DENIED)
async def test_what_a_role_may_not_do(app: FastAPI, who: str, method: str, path: str) -> None:
    body = {"decision": "retry", "reason": "ticket"} if path.endswith("decisions") else PLAIN
    answer = await call(app, method, path, token=f"{who}-token", json_=body if method == "POST" else None)
    assert (answer.status, answer.json["type"]) == (403, "urn:letheia:problem:forbidden")


def test_every_role_has_its_line_in_the_table() -> None:
    assert set(ALLOWED) == set(Role)
    assert {role for role in Role if Deed.DECIDE in ALLOWED[role]} == set(DECISIONS)


def test_a_token_names_its_holder() -> None:
    assert whose("sre-token", PRINCIPALS) == PRINCIPALS[1]
    assert whose("sre-token ", PRINCIPALS) is None
    assert whose("", PRINCIPALS) is None


def test_tokens_are_read_from_a_file_that_holds_their_digests(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([holder.model_dump(mode="json") for holder in PRINCIPALS]))
    assert load_principals(path) == PRINCIPALS
    path.write_text('[{"principal": "x", "role": "king", "controllers": [], "token_sha256": "S3CRET"}]')
    with pytest.raises(LetheiaError, match="2 errors") as refused:
        load_principals(path)
    assert "S3CRET" not in str(refused.value)
    with pytest.raises(LetheiaError, match="No such file"):
        load_principals(tmp_path / "none.json")


INVALID: list[tuple[dict[str, Any], str, str]] = [
    ({"right": CANARY}, "right", "enum (expected 'erasure' or 'portability')"),
    ({"request_id": CANARY}, "request_id", "uuid_parsing"),
    ({"received_on": CANARY}, "received_on", "date_from_datetime_parsing"),
    ({CANARY: 1}, "body", "holds a field that is not known here"),
    ({"identity": {"verified": True, CANARY: 1}}, "identity", "holds a field that is not known here"),
    ({"identity": {}}, "identity.verified", "required"),
    ({"identifiers": []}, "identifiers", "too_short (min_length 1)"),
    ({"identifiers": [{"kind": CANARY, "value": "x"}]}, "identifiers.0.kind", "string_pattern_mismatch"),
    (
        {"identifiers": [{"kind": "shoe", "value": CANARY}]},
        "identifiers.0.kind",
        "not a kind that the inventory declares",
    ),
    ({"controller": "hooli"}, "controller", "not one that this token may ask for"),
    ({"received_on": "2026-11-04"}, "received_on", "in the future, by the controller's local time"),
]


@pytest.mark.parametrize(("change", "field", "reason"), INVALID)
async def test_what_can_not_be_used_is_named_and_never_echoed(
    app: FastAPI, change: dict[str, Any], field: str, reason: str
) -> None:
    answer = await call(app, "POST", API, json_=PLAIN | change)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    reasons = {error["field"]: error["reason"] for error in answer.json["errors"]}
    assert reasons[field].startswith(reason)
    assert "canari" not in answer.body.decode()


@pytest.mark.parametrize("body", [b"{", b'"' + CANARY.encode() + b'"', b"[]", b"", b"\xff"])
async def test_what_is_no_request_at_all(app: FastAPI, body: bytes) -> None:
    answer = await call(app, "POST", API, chunks=[body])
    assert answer.status in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "canari" not in answer.body.decode()


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/requests/{CANARY}",
        f"/api/v1/requests?phase={CANARY}",
        f"/api/v1/requests?cursor={CANARY}",
        f"/{CANARY}",
    ],
)
async def test_no_url_is_echoed_either(app: FastAPI, path: str) -> None:
    answer = await call(app, "GET", path)
    assert answer.status == (404 if path == f"/{CANARY}" else 422)
    assert "canari" not in answer.body.decode()


@pytest.mark.parametrize("chunk", [1000, 2_000_000])
async def test_two_megabytes_are_too_much_even_unannounced(app: FastAPI, chunk: int) -> None:
    body = json.dumps(PLAIN | {"request_id": "x" * 2_000_000}).encode()
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
    answer = await call(app, "POST", API, chunks=pieces)
    assert (answer.status, answer.json["type"]) == (413, "urn:letheia:problem:too_large")
    assert str(MAX_BODY) in answer.json["detail"]


def test_what_is_missing_is_filled_in_by_the_controllers_own_clock() -> None:
    body = NewRequest.model_validate({name: value for name, value in PLAIN.items() if name != "controller"})
    submission = rules.completed(body, DPO, sample_inventory(), NOW, REQUEST)
    assert (submission.controller, submission.received_on) == ("acme", date(2026, 11, 3))
    assert (submission.request_id, submission.issued_at) == (REQUEST, NOW)


def test_a_token_asks_for_its_own_controllers_only() -> None:
    other = principal("globex-dpo", Role.DPO, frozenset({"globex"}))
    with pytest.raises(Problem):
        rules.completed(NewRequest.model_validate(PLAIN), other, sample_inventory(), NOW, REQUEST)


BUNDLE = BundleStatus(ready_on=NOW.date(), expires_on=NOW.date() + timedelta(14))
OFFERED: list[tuple[StatusDocument, set[D]]] = [
    (status_document(), {D.WITHDRAW, D.HOLD, D.EXTEND, D.INFORM}),
    (asking("approval", "approve", "reject", phase=Phase.AWAITING_DECISION),
     {D.APPROVE, D.REJECT, D.WITHDRAW, D.HOLD, D.EXTEND, D.INFORM}),
    (status_document(phase="on_hold"), {D.RELEASE, D.WITHDRAW, D.HOLD, D.EXTEND, D.INFORM}),
    (status_document(phase="closed", outcome="completed"), {D.INFORM}),
    (status_document(phase="closed", outcome="completed", bundle=BUNDLE), {D.INFORM, D.RELEASE_BUNDLE}),
    (asking("invalid_submission", "reject").model_copy(update={"right": None}), {D.REJECT, D.INFORM}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "offered"), OFFERED)
def test_what_a_request_offers(status: StatusDocument, offered: set[D]) -> None:
    assert set(rules.choices(status)) == offered
    for decision in D:
        if decision in offered:
            rules.check_decision(decision, status, DPO)
            continue
        with pytest.raises(Problem) as refused:
            rules.check_decision(decision, status, DPO)
        assert refused.value.status_code == 409
        assert set(refused.value.extra["choices"]) == {choice.value for choice in offered}


def test_an_sre_retries_and_holds_and_decides_nothing_else() -> None:
    status = asking("store_failed", "retry", "record", "accept")
    for decision in (D.RETRY, D.HOLD):
        rules.check_decision(decision, status, PRINCIPALS[1])
    with pytest.raises(Problem) as refused:
        rules.check_decision(D.ACCEPT, status, PRINCIPALS[1])
    assert refused.value.status_code == 403

"""The API over a real database, as the console's own role sees it; the coordinator's part is played by the test."""

import asyncio
import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI

from contracts.reports import Member
from contracts.requests import Amendment, Submission
from contracts.sealing import Key, open_sealed, seal
from contracts.status import StatusDocument
from services.console.access import Principal
from services.console.app import build_app
from services.console.store import Store
from services.kit.bundle import write_member
from services.kit.postgres import Pool, open_pool
from services.kit.vault import Vault
from tests.support.console import (
    KEYRING,
    NOW,
    RECEIVING,
    RECEIVING_SET,
    SIGNING,
    Answer,
    StoppedClock,
    asking,
    call,
    console,
    status_document,
)
from tests.support.letheia_database import letheia_database
from tests.support.memory_bucket import MemoryBucket
from tests.support.postgres import PostgresServer

API = "/api/v1/requests"
PLAIN: dict[str, Any] = {
    "right": "erasure",
    "controller": "acme",
    "identity": {"verified": True, "method": "account_login"},
    "identifiers": [{"kind": "email", "value": "camille@example.org"}],
}


@dataclass
class Desk:
    """The application, and behind it the coordinator's hand on the tables."""

    app: FastAPI
    coordinator: Pool
    bucket: MemoryBucket
    clock: StoppedClock

    async def saga(self, status: StatusDocument, digest: bytes | None = None) -> UUID:
        """Write a request as the coordinator would."""
        await self.coordinator.execute(
            "INSERT INTO sagas (request_id, digest, controller, publisher, phase, attention, due_on, state, status,"
            " opened_at) VALUES ($1, $2, $3, $4, $5, $6, $7, '{}', $8, $9)"
            " ON CONFLICT (request_id) DO UPDATE SET phase = $5, attention = $6, status = $8",
            status.request_id, digest, status.controller, status.publisher, status.phase.value,
            status.attention and status.attention.code, status.strict_due_on, status.model_dump(mode="json"), NOW,
        )  # fmt: skip
        return status.request_id

    async def get(self, path: str, who: str = "dpo") -> Answer:
        return await call(self.app, "GET", path, token=f"{who}-token")

    async def post(self, path: str, body: Any, who: str = "dpo") -> Answer:
        return await call(self.app, "POST", path, token=f"{who}-token", json_=body)

    async def sent(self, db: Pool) -> list[tuple[dict[str, str], Any]]:
        """Headers and values of what lies in the console's outbox."""
        rows = await db.fetch("SELECT headers, value FROM console.outbox ORDER BY id")
        return [(dict(row["headers"]), json.loads(row["value"])) for row in rows]


@pytest.fixture(scope="module")
async def pools(postgres_server: PostgresServer) -> AsyncIterator[tuple[Pool, Pool]]:
    database = await letheia_database(postgres_server)
    url = database.url
    async with open_pool(url("letheia_console")) as own, open_pool(url("letheia_coordinator")) as theirs:
        yield own, theirs


@pytest.fixture
async def db(pools: tuple[Pool, Pool]) -> Pool:
    own, coordinator = pools
    await coordinator.execute("DELETE FROM sagas")
    await own.execute("DELETE FROM outbox")
    return own


@pytest.fixture
def desk(db: Pool, pools: tuple[Pool, Pool]) -> Desk:
    bucket, clock = MemoryBucket(), StoppedClock()
    return Desk(build_app(console(db, bucket, clock)), pools[1], bucket, clock)


def opened(message: Any) -> Any:
    def key_of(kid: str) -> Key | None:
        return SIGNING if kid == SIGNING.kid else None

    return open_sealed(message["sealed"], RECEIVING_SET, key_of).payload


async def test_it_is_ready_when_the_tables_are_there(desk: Desk) -> None:
    assert (await desk.get("/readyz")).json == {"ready": True, "missing": []}


async def test_a_plain_request_goes_out_signed_and_sealed(desk: Desk, db: Pool) -> None:
    answer = await desk.post(API, PLAIN, "crm-portal")
    assert answer.status == 202
    [(headers, message)] = await desk.sent(db)
    assert headers["ce_type"] == "letheia.RequestSubmitted.v1"
    assert headers["ce_source"] == "console"
    assert "camille" not in json.dumps(message)
    submission = Submission.model_validate(opened(message))
    assert str(submission.request_id) == message["request_id"] == answer.json["request_id"]
    assert (submission.received_on, submission.issued_at) == (date(2026, 11, 3), NOW)
    assert answer.json["status_url"] == f"{API}/{submission.request_id}"


async def test_a_dry_run_sends_nothing_and_says_what_was_understood(desk: Desk, db: Pool) -> None:
    answer = await desk.post(f"{API}?dry_run=true", {**PLAIN, "controller": None})
    assert answer.status == 202
    assert (answer.json["controller"], answer.json["received_on"]) == ("acme", "2026-11-03")
    assert await desk.sent(db) == []


async def test_a_sealed_request_is_passed_on_as_it_came(desk: Desk, db: Pool) -> None:
    payload = Submission.model_validate({**PLAIN, "request_id": uuid4(), "received_on": "2026-11-01", "issued_at": NOW})
    body = {"schema_version": 1, "request_id": str(payload.request_id), "sealed": seal(payload, SIGNING, RECEIVING)}
    assert (await desk.post(API, body)).status == 202
    [(_, message)] = await desk.sent(db)
    assert message == body


async def test_the_same_request_again_is_fine_and_another_under_its_id_is_not(desk: Desk) -> None:
    request_id = uuid4()
    submission = Submission.model_validate(
        {**PLAIN, "request_id": request_id, "received_on": "2026-11-03", "issued_at": NOW - timedelta(days=1)}
    )
    await desk.saga(status_document(request_id=request_id), KEYRING.content_digest(submission.content()))
    assert (await desk.post(API, {**PLAIN, "request_id": str(request_id)})).status == 202
    other = await desk.post(API, {**PLAIN, "request_id": str(request_id), "export_first": True})
    assert (other.status, other.json["type"]) == (409, "urn:letheia:problem:other_content")


async def test_the_status_counts_days_by_the_controllers_clock(desk: Desk) -> None:
    acme = await desk.saga(status_document(strict_due_on="2026-12-01"))
    assert (await desk.get(f"{API}/{acme}")).json["days_left"] == 28  # Paris has 3 November
    desk.clock.at = datetime(2026, 12, 2, 12, tzinfo=UTC)
    assert (await desk.get(f"{API}/{acme}")).json["days_left"] == -1


async def test_who_sees_what(desk: Desk) -> None:
    theirs = await desk.saga(status_document(request_id=uuid4(), controller="globex", our_role="processor"))
    ours = await desk.saga(status_document(request_id=uuid4()))
    unread = await desk.saga(status_document(request_id=uuid4(), controller=None, publisher=None, right=None))
    mine = (await desk.post(API, PLAIN, "shop")).json["request_id"]
    signed = await desk.saga(status_document(request_id=mine, publisher="console"))
    seen = {
        who: {UUID(request["request_id"]) for request in (await desk.get(API, who)).json["requests"]}
        for who in ("dpo", "auditor", "globex-dpo", "crm-portal", "shop")
    }
    everything = {theirs, ours, unread, signed}
    assert seen == {
        "dpo": everything, "auditor": everything, "globex-dpo": {theirs}, "crm-portal": {theirs, ours}, "shop": {signed}
    }  # fmt: skip
    for path in ("", "/journal", "/stream", "/bundle"):
        assert (await desk.get(f"{API}/{ours}{path}", "shop")).status == 404


async def test_asking_under_somebody_elses_id_shows_nothing_of_it(desk: Desk) -> None:
    theirs = await desk.saga(status_document(request_id=uuid4()))
    await desk.post(API, {**PLAIN, "request_id": str(theirs)}, "shop")
    assert (await desk.get(f"{API}/{theirs}", "shop")).status == 404


async def test_the_list_goes_by_deadline_and_closed_ones_come_last(desk: Desk) -> None:
    days = [date(2026, 11, 20), date(2026, 11, 8), date(2026, 12, 1)]
    late, soon, last = [await desk.saga(status_document(request_id=uuid4(), strict_due_on=day)) for day in days]
    closed = await desk.saga(status_document(request_id=uuid4(), phase="closed", outcome="completed"))
    expected = [str(id_) for id_ in (soon, late, last, closed)]
    found, cursor = [], ""
    while cursor is not None:
        page = (await desk.get(f"{API}?limit=1{cursor and '&cursor=' + cursor}")).json
        found += [request["request_id"] for request in page["requests"]]
        cursor = page["next"]
    assert found == expected
    within = (await desk.get(f"{API}?due_within=5")).json["requests"]
    assert [request["request_id"] for request in within] == expected[:1]


async def test_the_list_can_be_narrowed(desk: Desk) -> None:
    asks = await desk.saga(asking("store_failed", "retry").model_copy(update={"request_id": uuid4()}))
    held = await desk.saga(status_document(request_id=uuid4(), phase="on_hold"))
    for query, expected in (("attention=true", asks), ("phase=on_hold", held), ("attention=false", held)):
        requests = (await desk.get(f"{API}?{query}")).json["requests"]
        assert [request["request_id"] for request in requests] == [str(expected)]


async def test_the_journal_in_order(desk: Desk) -> None:
    request_id = await desk.saga(status_document(request_id=uuid4()))
    for seq, previous, hash_ in ((1, "", "aa"), (2, "aa", "bb")):
        entry = {"kind": "phase", "detail": {"round": seq}}
        await desk.coordinator.execute(
            "INSERT INTO journal VALUES ($1, $2, $3, $4, $5, $6)", request_id, seq, NOW, entry, previous, hash_
        )
    journal = (await desk.get(f"{API}/{request_id}/journal", "auditor")).json
    assert [(line["seq"], line["previous"], line["hash"]) for line in journal["entries"]] == [
        (1, "", "aa"),
        (2, "aa", "bb"),
    ]
    assert journal["entries"][0]["entry"]["detail"] == {"round": 1}


async def test_a_decision_goes_out_in_the_principals_name(desk: Desk, db: Pool) -> None:
    request_id = await desk.saga(asking("store_failed", "retry", "record", "accept"))
    body = {"decision": "accept", "reason": "legal_ground", "store": "crm", "basis": "Art. 17(3)(b)", "note": "seen"}
    answer = await desk.post(f"{API}/{request_id}/decisions", body)
    assert answer.status == 202
    [(headers, message)] = await desk.sent(db)
    assert headers["ce_type"] == "letheia.RequestAmended.v1"
    amendment = Amendment.model_validate(opened(message))
    assert (amendment.decided_by, amendment.issued_at, amendment.note) == ("dpo", NOW, "seen")
    assert (amendment.store, amendment.basis) == ("crm", "Art. 17(3)(b)")
    assert str(amendment.decision_id) == answer.json["decision_id"]


async def test_a_decision_that_is_not_offered_names_those_that_are(desk: Desk, db: Pool) -> None:
    request_id = await desk.saga(asking("nothing_found", "accept", "retry", "reject"))
    answer = await desk.post(f"{API}/{request_id}/decisions", {"decision": "approve", "reason": "sure"})
    assert answer.status == 409
    assert answer.json["choices"] == ["accept", "retry", "reject", "withdraw", "hold", "extend", "inform"]
    assert await desk.sent(db) == []
    assert (await desk.post(f"{API}/{uuid4()}/decisions", {"decision": "retry", "reason": "x"})).status == 404


class Watched(Store):
    """Counts how often somebody looks."""

    looks = 0

    async def status(self, principal: Principal, request_id: UUID, now: datetime) -> StatusDocument:
        self.looks += 1
        return await super().status(principal, request_id, now)


async def test_the_stream_tells_news_once_and_ends_with_the_request(desk: Desk, db: Pool) -> None:
    parts = console(db)
    store = Watched(db, parts.inventory)
    request_id = await desk.saga(status_document(revision=1))
    path = f"{API}/{request_id}/stream"
    streaming = asyncio.create_task(call(build_app(replace(parts, store=store)), "GET", path, token="sre-token"))
    async with asyncio.timeout(60):
        while store.looks < 4:
            await asyncio.sleep(0.05)
        await desk.saga(status_document(revision=2, phase="closed", outcome="completed"))
        answer = await streaming
    assert answer.headers["content-type"].startswith("text/event-stream")
    data = [line.removeprefix("data: ") for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    assert [(event["revision"], event["phase"]) for event in map(json.loads, data)] == [(1, "erasing"), (2, "closed")]


async def contact_of(desk: Desk, request_id: UUID, ready_at: datetime) -> None:
    """A bundle of one table, and one recording with a second voice."""
    vault = Vault(KEYRING, frozenset(), frozenset())

    async def content() -> AsyncIterator[bytes]:
        yield b"id,email\n7,camille@example.org\n"

    async with desk.coordinator.acquire() as db:
        key = await vault.create_key(db, request_id, "bundle")
    members = []
    for name, category, review in (("contact.csv", "customers", False), ("call.csv", "recordings", True)):
        like = Member(
            name=name, category=category, size=0, sha256="", review=review, object=f"{request_id}/1/app/{name}"
        )
        members.append(await write_member(desk.bucket, key, like, content()))
    await desk.coordinator.execute(
        "INSERT INTO bundles (request_id, members, ready_at, expires_at) VALUES ($1, $2, $3, $4)",
        request_id, {"app": [member.model_dump(mode="json") for member in members]}, ready_at, ready_at + timedelta(14),
    )  # fmt: skip


def with_bundle(request_id: UUID) -> StatusDocument:
    bundle = {"ready_on": "2026-11-02", "expires_on": "2026-11-16"}
    return status_document(request_id=request_id, phase="closed", outcome="completed", bundle=bundle)


async def test_a_bundle_is_fetched_and_remembered(desk: Desk) -> None:
    request_id = await desk.saga(with_bundle(uuid4()))
    await contact_of(desk, request_id, NOW)
    answer = await desk.get(f"{API}/{request_id}/bundle", "crm-portal")
    assert answer.status == 200
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert [name for name in archive.namelist() if name.startswith("app/")] == ["app/contact.csv"]
    assert list(csv.reader(io.StringIO(archive.read("app/contact.csv").decode())))[1][1] == "camille@example.org"
    status = (await desk.get(f"{API}/{request_id}")).json
    assert status["bundle"]["fetched_on"] == "2026-11-03"


async def test_no_bundle_an_old_one_and_one_that_storage_lost(desk: Desk) -> None:
    none = await desk.saga(status_document(request_id=uuid4()))
    assert (await desk.get(f"{API}/{none}/bundle")).status == 404
    request_id = await desk.saga(with_bundle(uuid4()))
    await contact_of(desk, request_id, NOW - timedelta(days=15))
    assert (await desk.get(f"{API}/{request_id}/bundle")).status == 410
    forgotten = await desk.saga(with_bundle(uuid4()))
    assert (await desk.get(f"{API}/{forgotten}/bundle")).status == 410
    lost = await desk.saga(with_bundle(uuid4()))
    await contact_of(desk, lost, NOW)
    desk.bucket.lost = True
    assert (await desk.get(f"{API}/{lost}/bundle")).status == 503
    assert (await desk.get(f"{API}/{lost}")).json["bundle"]["fetched_on"] is None


async def test_dead_letters_are_listed_without_their_content(desk: Desk) -> None:
    for offset in range(3):
        await desk.coordinator.execute(
            "INSERT INTO vault.dead_letters (consumer, topic, partition, \"offset\", reason, sealed, epoch, at)"
            " VALUES ('coordinator', 'letheia.requests.v1', 0, $1, 'undecodable', 'S3CRET', 'e', $2)", offset, NOW,
        )  # fmt: skip
    first = await desk.get("/api/v1/dead-letters?limit=2", "sre")
    second = await desk.get(f"/api/v1/dead-letters?cursor={first.json['next']}", "sre")
    letters = first.json["dead_letters"] + second.json["dead_letters"]
    assert [(letter["offset"], letter["reason"]) for letter in letters] == [(n, "undecodable") for n in (2, 1, 0)]
    assert b"S3CRET" not in first.body


async def test_the_consoles_role_writes_nothing_of_the_coordinators(db: Pool) -> None:
    for statement in (
        "UPDATE coordinator.sagas SET phase = 'closed'",
        "DELETE FROM vault.keys",
        "TABLE vault.identifiers",
    ):
        with pytest.raises(Exception, match="permission denied"):
            await db.execute(statement)

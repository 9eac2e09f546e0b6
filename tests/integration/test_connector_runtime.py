"""The connectors' runtime over real PostgreSQL: what it may do, what it says, and what a crash leaves."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.reports import Conflict, ConflictCode, LearntCount, Level, Member, Result
from contracts.tasks import Action
from contracts.topics import TO_HEADER, Topic
from services.connectors import lease, queue
from services.connectors.inbox import Inbox
from services.connectors.port import (
    Checkpoint,
    Contested,
    Erasure,
    Export,
    Findings,
    Identifier,
    Scope,
    Standing,
    Terminal,
    Transient,
)
from services.kit.inventory import Role
from services.kit.kafka import RawRecord
from services.kit.postgres import connect
from tests.support.letheia_database import letheia_database
from tests.support.port import NOW
from tests.support.postgres import PostgresServer
from tests.support.runtime import KEYRING, ROLE, SOURCE, STORE, Runtime, known, open_runtime, results, task_of, until

EMAIL = frozenset({"email"})


@pytest.fixture
async def runtime(postgres_server: PostgresServer) -> AsyncIterator[Runtime]:
    async with open_runtime(await letheia_database(postgres_server)) as opened:
        yield opened


async def test_what_a_store_finds_and_reveals_is_reported_and_kept(runtime: Runtime) -> None:
    email, phone = known("email", "a@example.org"), known("phone", "+33100000000")
    request = await runtime.asked(email, phone)
    runtime.store.replies[request] = Findings(
        EMAIL,
        found={"customers": 1},
        revealed=frozenset(
            {
                Identifier("email", "a@example.org"),
                Identifier("contact_id", "7"),
                Identifier("phone", "+33100000000", alone=True),
                Identifier("email", "typed@example.org", Standing.UNVERIFIED),
                *(Identifier("call_id", str(number)) for number in range(3)),
            }
        ),
        contested=(
            Contested(ConflictCode.SHARED_IDENTIFIER, Identifier("phone", "+33100000000"), "recordings", 2),
            Contested(ConflictCode.SHARED_IDENTIFIER, Identifier("phone", "+33100000001"), "recordings", 1),
        ),
    )
    assert await runtime.work()
    (report,) = await runtime.reports()
    assert (report.result, report.asked_with, report.found) == (Result.DONE, ("email",), {"customers": 1})
    assert report.learnt == {
        "call_id": LearntCount(trusted=3),
        "contact_id": LearntCount(trusted=1),
        "email": LearntCount(unverified=1),
        "phone": LearntCount(trusted=2),
    }
    assert report.conflicts == (
        Conflict(code=ConflictCode.SHARED_IDENTIFIER, kind="phone", category="recordings", count=3),
    )
    assert await runtime.identifiers(request) == {
        email,
        known("phone", "+33100000000", alone=True, contested="shared_identifier"),
        known("phone", "+33100000001", found_by=STORE, contested="shared_identifier"),
        known("contact_id", "7", found_by=STORE),
        known("email", "typed@example.org", standing="unverified", found_by=STORE, contested="unverified"),
        *(known("call_id", str(number), found_by=STORE) for number in range(3)),
    }
    assert not await runtime.work()


async def test_the_same_again_is_not_news(runtime: Runtime) -> None:
    request = await runtime.asked()
    reveals = frozenset({Identifier("contact_id", "7"), Identifier("email", "x@example.org", Standing.UNVERIFIED)})
    runtime.store.replies[request] = Findings(EMAIL, revealed=reveals | {Identifier("call_id", "1")})
    await runtime.work()
    before = await runtime.identifiers(request)
    await runtime.permit(request, 2)
    await runtime.issue(task_of(request, 2))
    await runtime.work()
    first, second = await runtime.reports()
    assert first.learnt
    assert second.learnt == {}
    assert await runtime.identifiers(request) == before
    assert {i.kind for i in runtime.store.calls[1][0].identifiers if i.usable} == {"email", "contact_id", "call_id"}


async def test_what_another_store_taught_meanwhile_is_not_news(runtime: Runtime) -> None:
    request = await runtime.asked()
    runtime.store.replies[request] = Findings(EMAIL, revealed=frozenset({Identifier("contact_id", "7")}))

    async def other_store_learns(_: Checkpoint) -> None:
        async with runtime.admin.acquire() as db, db.transaction():
            key = (await runtime.vault.keys(db, [request]))[request]
            await runtime.vault.add(db, request, "acme", key, [known("contact_id", "7", found_by="crm")])

    runtime.store.before = other_store_learns
    await runtime.work()
    (report,) = await runtime.reports()
    assert report.learnt == {}


async def test_what_the_erasure_did(runtime: Runtime) -> None:
    request = await runtime.asked(action=Action.ERASE)
    runtime.store.replies[request] = Erasure(EMAIL, Level.ACCEPTED, NOW, erased={"customers": 2}, found={"usage": 1})
    await runtime.work(Action.ERASE)
    (report,) = await runtime.reports()
    assert (report.level, report.bound_on, report.erased, report.found) == (
        Level.ACCEPTED, NOW, {"customers": 2}, {"usage": 1},
    )  # fmt: skip


async def test_an_export_needs_the_key_of_the_bundle(runtime: Runtime) -> None:
    request = await runtime.asked(action=Action.EXPORT)
    member = Member(name="customers.json", category="customers", size=1, sha256="00")
    runtime.store.replies[request] = Export((member,))
    await runtime.work(Action.EXPORT)
    async with runtime.admin.acquire() as db:
        await runtime.vault.create_key(db, request, "bundle")
    await runtime.issue(task_of(request, action=Action.EXPORT, attempt=2))
    await runtime.work(Action.EXPORT)
    without, exported = await runtime.reports()
    assert (without.result, without.code) == (Result.TERMINAL, "no_bundle_key")
    assert (exported.result, exported.members) == (Result.DONE, (member,))


async def test_a_processor_request_reaches_one_tenant(runtime: Runtime) -> None:
    request = await runtime.request(controller="globex")
    await runtime.permit(request)
    await runtime.issue(task_of(request))
    await runtime.work()
    assert runtime.store.calls[0][0].scope == Scope("globex", Role.PROCESSOR, "42")


async def test_nearest_deadline_first_and_one_action_at_a_time(runtime: Runtime) -> None:
    requests = [await runtime.request() for _ in range(3)]
    for request, due in zip(requests, (30, 10, 20), strict=True):
        await runtime.permit(request)
        await runtime.issue(task_of(request, due_in_days=due), task_of(request, action=Action.ERASE))
    await runtime.work()
    (call,) = runtime.store.calls
    assert [subject.request_id for subject in call] == [requests[1], requests[2], requests[0]]
    assert len(await runtime.reports()) == 3


class TestAskedAgain:
    async def test_while_it_waits_nothing_changes(self, runtime: Runtime) -> None:
        request = await runtime.asked()
        await runtime.issue(task_of(request), task_of(request))
        await runtime.work()
        assert len(await runtime.reports()) == 1
        assert not await runtime.work()

    async def test_once_done_the_stored_report_is_sent_again(self, runtime: Runtime) -> None:
        request = await runtime.asked()
        runtime.store.replies[request] = Transient("store_away", 1.5)
        await runtime.work()
        await runtime.issue(task_of(request))
        assert not await runtime.work()
        first, again = await runtime.reports()
        assert first == again

    async def test_what_did_nothing_is_tried_anew(self, runtime: Runtime) -> None:
        """Forged before it was due, a task must not stand in the way of the genuine one that bears its id."""
        request, unknown = await runtime.request(), uuid4()
        await runtime.issue(task_of(request), task_of(unknown))
        await runtime.work()
        (early,) = await runtime.reports()
        assert (early.result, runtime.store.calls) == (Result.REVOKED, [])
        await runtime.permit(request)
        await runtime.issue(task_of(request), task_of(unknown))
        await runtime.work()
        (report,) = await runtime.reports()
        assert (report.request_id, report.result) == (request, Result.DONE)


class TestWithoutAPermit:
    @pytest.mark.parametrize(("round_", "action"), [(2, Action.DISCOVER), (1, Action.ERASE), (None, None)])
    async def test_nothing_is_done(self, runtime: Runtime, round_: int | None, action: Action | None) -> None:
        request = await runtime.request()
        await runtime.permit(request, round_, action)
        await runtime.issue(task_of(request))
        await runtime.work()
        assert results(await runtime.reports()) == {request: (Result.REVOKED, None)}
        assert runtime.store.calls == []

    async def test_withdrawn_on_the_way(self, runtime: Runtime) -> None:
        stays, goes = await runtime.asked(), await runtime.asked()

        async def withdraw(checkpoint: Checkpoint) -> None:
            assert await checkpoint() == {stays, goes}
            await runtime.permit(goes, None, None)

        runtime.store.before = withdraw
        await runtime.work()
        assert results(await runtime.reports()) == {stays: (Result.DONE, None), goes: (Result.REVOKED, None)}

    async def test_a_request_closed_meanwhile_leaves_no_trace(self, runtime: Runtime) -> None:
        request = await runtime.asked()
        runtime.store.replies[request] = Findings(EMAIL, revealed=frozenset({Identifier("contact_id", "7")}))

        async def close(_: Checkpoint) -> None:
            async with runtime.admin.acquire() as db, db.transaction():
                await runtime.vault.destroy(db, request)

        runtime.store.before = close
        await runtime.work()
        assert await runtime.reports() == []
        assert await runtime.admin.fetchval("SELECT count(*) FROM vault.identifiers") == 0
        assert not await runtime.work()

    async def test_two_attempts_are_not_made_at_once(self, runtime: Runtime) -> None:
        request = await runtime.asked()
        await runtime.issue(task_of(request, attempt=2))
        await runtime.work()
        assert {r.attempt: r.result for r in await runtime.reports()} == {1: Result.DONE, 2: Result.REVOKED}
        assert [len(call) for call in runtime.store.calls] == [1]


class TestFailures:
    async def test_one_person_s_failure_fails_nobody_else(self, runtime: Runtime) -> None:
        good, bad, odd, last = [await runtime.asked() for _ in range(4)]
        runtime.store.replies[bad] = ZeroDivisionError("about a@example.org")
        runtime.store.replies[odd] = Findings(EMAIL, found={"customers": -1})
        await runtime.work()
        failed = (Result.TRANSIENT, "connector_error")
        done = (Result.DONE, None)
        assert results(await runtime.reports()) == {good: done, bad: failed, odd: failed, last: done}

    async def test_an_answer_short_is_no_answer(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        request = await runtime.asked()

        async def nothing(*_: Any) -> list[Any]:
            return []

        monkeypatch.setattr(runtime.store, "discover", nothing)
        await runtime.work()
        assert results(await runtime.reports()) == {request: (Result.TRANSIENT, "connector_error")}

    async def test_a_failure_of_the_store_is_everyone_s_at_once(self, runtime: Runtime) -> None:
        requests = [await runtime.asked() for _ in range(3)]

        async def fail(_: Checkpoint) -> None:
            raise Terminal("missing_table")

        runtime.store.before = fail
        await runtime.work()
        assert results(await runtime.reports()) == dict.fromkeys(requests, (Result.TERMINAL, "missing_table"))
        assert len(runtime.store.calls) == 1

    async def test_a_call_that_never_comes_to_a_checkpoint_is_ended(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = await runtime.asked()
        monkeypatch.setattr(lease, "CALL_TIMEOUT_S", 0.1)

        async def hang(checkpoint: Checkpoint) -> None:
            for _ in range(4):
                await checkpoint()
                await asyncio.sleep(0.05)
            await asyncio.Event().wait()

        runtime.store.before = hang
        async with asyncio.timeout(60):
            await runtime.work()
        assert results(await runtime.reports()) == {request: (Result.TRANSIENT, "call_timeout")}


class TestLeases:
    async def test_a_killed_worker_s_task_is_taken_over_once_its_lease_ran_out(self, runtime: Runtime) -> None:
        request = await runtime.asked()
        async with runtime.pool.acquire() as db:
            await queue.claim(db, Action.DISCOVER, 1, uuid4(), runtime.clock.now())
        assert not await runtime.work()
        runtime.pass_time(queue.LEASE + timedelta(seconds=1))
        assert await runtime.work()
        assert results(await runtime.reports()) == {request: (Result.DONE, None)}

    @pytest.mark.parametrize("looks", [True, False])
    async def test_who_lost_the_lease_writes_nothing(self, runtime: Runtime, looks: bool) -> None:
        """Whether it finds out at a checkpoint, and takes that for a failure of its store, or only at the end."""
        request = await runtime.asked()
        runtime.store.replies[request] = Findings(EMAIL, found={"customers": 1})
        stuck, go = asyncio.Event(), asyncio.Event()

        class Slow:
            async def discover(self, subjects: Any, checkpoint: Checkpoint) -> list[Any]:
                stuck.set()
                await go.wait()
                try:
                    await (checkpoint() if looks else asyncio.sleep(0))
                except Exception:
                    return [Transient("store_away")]
                return [Findings(EMAIL, revealed=frozenset({Identifier("contact_id", "7")}))]

        slow: Any = Slow()
        async with runtime.pool.acquire() as db:
            working = asyncio.create_task(runtime.worker(store=slow).work(db))
            await until(stuck.is_set)
            runtime.pass_time(queue.LEASE + timedelta(seconds=1))
            assert await runtime.work()
            go.set()
            assert await working
        (report,) = await runtime.reports()
        assert (report.result, report.found) == (Result.DONE, {"customers": 1})
        assert {identifier.kind for identifier in await runtime.identifiers(request)} == {"email"}

    async def test_a_slow_call_keeps_its_lease(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lease, "_RENEW_S", 0.01)
        await runtime.asked()

        async def wait_for_renewal(_: Checkpoint) -> None:
            now = runtime.pass_time(timedelta(seconds=15))
            while await runtime.admin.fetchval(f"SELECT lease_until FROM connector_{STORE}.inbox") != now + queue.LEASE:
                await asyncio.sleep(0.01)

        runtime.store.before = wait_for_renewal
        await runtime.work()
        assert [report.result for report in await runtime.reports()] == [Result.PROGRESS, Result.DONE]

    @pytest.mark.parametrize("at", ["the checkpoint", "the end"])
    async def test_an_outage_of_our_database_is_waited_for(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture, at: str
    ) -> None:
        """Work that a store has done is not forgotten because we could not write it down at once."""
        request = await runtime.asked(action=Action.ERASE)

        async def cut() -> None:
            """Our database is away until somebody was seen to wait for it."""
            await runtime.admin.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
            terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"
            await runtime.admin.execute(terminate, ROLE)

        async def mend() -> None:
            await until(lambda: any(record.msg == "trying_again" for record in caplog.records))
            await runtime.admin.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")

        class Store:
            async def erase(self, subjects: Any, checkpoint: Checkpoint) -> list[Any]:
                if at == "the checkpoint":
                    await cut()
                assert await checkpoint() == {request}
                if at == "the end":
                    await cut()
                return [Erasure(EMAIL, Level.EFFECTIVE, erased={"customers": 1})]

        store: Any = Store()
        mending = asyncio.create_task(mend())
        db = await connect(runtime.database.url(ROLE))
        try:
            await runtime.worker(Action.ERASE, store).work(db)
        finally:
            db.terminate()
            await mending
        (report,) = await runtime.reports()
        assert report.erased == {"customers": 1}


class TestProgress:
    async def test_is_said_now_and_then_of_what_is_worked_on(self, runtime: Runtime) -> None:
        request = await runtime.asked()

        async def take_long(checkpoint: Checkpoint) -> None:
            for _ in range(5):
                runtime.pass_time(timedelta(seconds=4))
                await checkpoint()

        runtime.store.before = take_long
        await runtime.work()
        reports = await runtime.reports()
        assert [(r.request_id, r.result) for r in reports] == [
            (request, Result.PROGRESS), (request, Result.PROGRESS), (request, Result.DONE),
        ]  # fmt: skip

    async def test_is_said_rarely_of_what_waits_behind(self, runtime: Runtime) -> None:
        first = await runtime.asked(action=Action.ERASE)
        behind: list[UUID] = []

        async def take_long(checkpoint: Checkpoint) -> None:
            behind.append(await runtime.asked(action=Action.ERASE))
            for _ in range(61):
                runtime.pass_time(timedelta(seconds=10))
                await checkpoint()

        runtime.store.before = take_long
        await runtime.work(Action.ERASE)
        said = [r.request_id for r in await runtime.reports() if r.result is Result.PROGRESS]
        assert (said.count(first), said.count(behind[0])) == (61, 2)


class TestInbox:
    def record(self, value: bytes, store: str = STORE, offset: int = 0, key: bytes = b"") -> RawRecord:
        headers = ((TO_HEADER, store.encode()), ("traceparent", b"\x00"))
        return RawRecord(Topic.TASKS, 0, offset, NOW, key, value, headers)

    def inbox(self, runtime: Runtime) -> Inbox:
        return Inbox(STORE, "nowhere:9092", runtime.pool, KEYRING, runtime.clock)

    async def test_takes_what_is_for_its_store(self, runtime: Runtime) -> None:
        request = await runtime.request()
        task = task_of(request).model_dump_json().encode()
        for store in (STORE, STORE, "crm"):
            await self.inbox(runtime).keep(self.record(task, store))
        rows = await runtime.pool.fetch("SELECT task_id, traceparent FROM inbox")
        assert [tuple(row) for row in rows] == [(task_of(request).task_id, None)]

    async def test_keeps_what_it_can_t_use_sealed_and_once(self, runtime: Runtime) -> None:
        request = uuid4()
        forged = task_of(request).model_copy(update={"round": 2}).model_dump_json().encode()
        hostile = [b"jean@example.org", b"", b"[" * 100_000, b'{"task_id": 1}']
        for _ in range(2):
            for offset, value in enumerate([forged, *hostile]):
                await self.inbox(runtime).keep(self.record(value, offset=offset, key=str(request).encode()))
        rows = await runtime.admin.fetch('SELECT * FROM vault.dead_letters ORDER BY "offset"')
        assert [row["reason"] for row in rows] == ["forged_task", *["undecodable"] * 4]
        assert {(row["consumer"], row["request_id"]) for row in rows} == {(SOURCE, request)}
        assert b"jean@example.org".hex().encode() in KEYRING.open(rows[1]["sealed"], rows[1]["epoch"])
        assert await runtime.pool.fetchval("SELECT count(*) FROM inbox") == 0

    async def test_tries_until_it_is_stored(self, runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
        await runtime.admin.execute(f"ALTER TABLE connector_{STORE}.inbox RENAME TO away")
        task = task_of(await runtime.request()).model_dump_json().encode()
        keeping = asyncio.create_task(self.inbox(runtime).keep(self.record(task)))
        await until(lambda: len(caplog.records) > 1 or keeping.done())
        await runtime.admin.execute(f"ALTER TABLE connector_{STORE}.away RENAME TO inbox")
        await keeping
        assert await runtime.pool.fetchval("SELECT count(*) FROM inbox") == 1


async def test_old_finished_tasks_go(runtime: Runtime) -> None:
    await runtime.asked()
    await runtime.work()
    await runtime.asked()
    async with runtime.pool.acquire() as db:
        await queue.clear(db, runtime.clock.now() + timedelta(days=6))
        assert await db.fetchval("SELECT count(*) FROM inbox") == 2
        await queue.clear(db, runtime.clock.now() + timedelta(days=8))
        assert await db.fetchval("SELECT count(*) FROM inbox WHERE state = 'queued'") == 1
        assert await db.fetchval("SELECT count(*) FROM inbox") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM coordinator.sagas",
        "UPDATE vault.permits SET round = 1, action = 'erase'",
        "DELETE FROM vault.identifiers",
        "SELECT sealed FROM vault.dead_letters",
        "INSERT INTO vault.keys VALUES (gen_random_uuid(), 'subject', '', '')",
    ],
)
async def test_its_role_may_do_no_more_than_it_must(runtime: Runtime, statement: str) -> None:
    async with runtime.pool.acquire() as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute(statement)


async def test_a_worker_is_woken(runtime: Runtime) -> None:
    working = asyncio.create_task(runtime.worker().loop())
    try:
        await runtime.asked()
        await until(lambda: bool(runtime.store.calls))
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

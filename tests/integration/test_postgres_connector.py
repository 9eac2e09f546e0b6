"""The postgres connector on a real PostgreSQL: what a double could not show."""

import asyncio
import csv
import io
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.reports import ConflictCode, Retained
from services.connectors.port import (
    Erasure,
    Export,
    Findings,
    Identifier,
    Scope,
    Standing,
    StoreConnector,
    Subject,
    Terminal,
    Transient,
)
from services.connectors.postgres import connect
from services.connectors.postgres.walk import CHUNK
from services.kit.inventory import Inventory, InventoryError, Role
from tests.support.port import MemoryBundle, Permits, StillClock, settings
from tests.support.postgres import PostgresServer

OURS = Scope("acme", Role.CONTROLLER)
GLOBEX = Scope("globex", Role.PROCESSOR, "42")

SCHEMA = """
    CREATE TABLE contact (id bigint PRIMARY KEY, email text NOT NULL, phone text, name text NOT NULL);
    CREATE INDEX ON contact (email);
    CREATE TABLE call (id uuid PRIMARY KEY, contact_id bigint NOT NULL REFERENCES contact, at timestamptz NOT NULL);
    CREATE INDEX ON call (contact_id);
    CREATE TABLE invoice (id bigint PRIMARY KEY, contact_id bigint NOT NULL, name text NOT NULL, issued_on date);
    CREATE INDEX ON invoice (contact_id);
"""
RETAINED = {"retain": {"basis": "law", "years": 10, "from": "issued_on", "to_year_end": True, "anonymise": ["name"]}}
TABLES: dict[str, Any] = {
    "contact": {
        "match": {"email": "email", "contact_id": "id"},
        "reveals": {"contact_id": "id", "email": "email"},
        "one_per_person": True,
        "category": "customers",
        "role": "controller",
        "erase": "delete",
    },
    "call": {
        "match": {"contact_id": "contact_id"},
        "reveals": {"call_id": "id"},
        "category": "recordings",
        "role": "controller",
        "erase": "delete",
    },
    "invoice": {
        "match": {"contact_id": "contact_id"},
        "category": "billing",
        "role": "controller",
        "erase": RETAINED,
    },
}


def inventory(url: str, tables: dict[str, Any], limit: int = 100_000) -> Inventory:
    category = {"purpose": "any", "basis": "contract", "origin": "provided"}
    return Inventory.model_validate(
        {
            "controllers": {},
            "publishers": {},
            "bundles": {"bucket": "bundles"},
            "limits": {"rows_per_request": limit},
            "kinds": {
                "email": "person",
                "contact_id": "person",
                "phone": "shared",
                "device_id": "shared",
                "call_id": "record",
            },
            "categories": {
                "customers": category,
                "recordings": {**category, "third_party": "review"},
                "billing": {**category, "basis": "legal_obligation"},
            },
            "stores": {"app": {"connector": "postgres", "url": url, "tables": tables}},
        }
    )


@dataclass
class App:
    """A database with its connector."""

    connector: StoreConnector
    sql: Any
    url: str

    async def discover(self, *subjects: Subject) -> list[Any]:
        return list(await self.connector.discover(subjects, Permits.of(subjects)))

    async def findings(self, subject: Subject) -> Findings:
        (found,) = await self.discover(subject)
        assert isinstance(found, Findings), found
        return found

    async def known(self, *identifiers: Identifier, scope: Scope = OURS) -> Subject:
        """A subject with what discovery adds to these."""
        subject = person(*identifiers, scope=scope)
        return replace(subject, identifiers=(await self.findings(subject)).revealed | subject.identifiers)

    async def erase(self, *subjects: Subject) -> list[Any]:
        return list(await self.connector.erase(subjects, Permits.of(subjects)))

    async def erasure(self, subject: Subject) -> Erasure:
        (done,) = await self.erase(subject)
        assert isinstance(done, Erasure), done
        return done

    async def count(self, table: str) -> int:
        return int(await self.sql.fetchval(f"SELECT count(*) FROM {table}"))


def person(*identifiers: Identifier, scope: Scope = OURS) -> Subject:
    return Subject(uuid4(), scope, frozenset(identifiers))


def email(value: str) -> Identifier:
    return Identifier("email", value)


def assert_refused(answer: object, code: str) -> None:
    """It says why, and nothing of what the server quoted."""
    assert isinstance(answer, Terminal), answer
    assert answer.code == code
    text = "".join(traceback.format_exception(answer))
    assert "Key (" not in text
    assert "anna@x" not in text


@asynccontextmanager
async def opened(
    server: PostgresServer, schema: str = SCHEMA, tables: dict[str, Any] = TABLES, limit: int = 100_000
) -> AsyncIterator[App]:
    url = await server.database(schema)
    async with (
        connect("app", inventory(url, tables, limit), settings(), StillClock()) as connector,
        server.connection(url) as connection,
    ):
        yield App(connector, connection, url)


@pytest.fixture
async def app(postgres_server: PostgresServer) -> AsyncIterator[App]:
    """Anna with a call and an invoice under retention; Bob with as much."""
    async with opened(postgres_server) as app:
        await write(app, anna=1, bob=2)
        yield app


class Meddling(Permits):
    """A checkpoint at which, once, somebody else writes."""

    def __init__(self, subject: Subject, at: int, meddle: Callable[[], Awaitable[object]]) -> None:
        super().__init__(frozenset({subject.request_id}))
        self._at, self._meddle = at, meddle

    async def __call__(self) -> frozenset[UUID]:
        permitted = await super().__call__()
        if self.asked == self._at:
            await self._meddle()
        return permitted


async def write(app: App, **people: int) -> None:
    """People by name and id, each with a call and an invoice under retention."""
    for name, id_ in people.items():
        await app.sql.execute("INSERT INTO contact VALUES ($1, $2, NULL, $3)", id_, f"{name}@x", name)
        await app.sql.execute("INSERT INTO call VALUES (gen_random_uuid(), $1, now())", id_)
        await app.sql.execute("INSERT INTO invoice VALUES ($1, $1, $2, '2025-05-01')", id_, name)


async def checkpoints(app: App) -> int:
    """How many times the erasure of somebody such as Anna asks for its permit."""
    await write(app, carl=99)
    subject = await app.known(email("carl@x"))
    permits = Permits.of([subject])
    await app.connector.erase([subject], permits)
    return permits.asked


async def test_a_call_written_after_discovery_stays_with_the_contact_it_hangs_from(app: App) -> None:
    subject = await app.known(email("anna@x"))
    late = await app.sql.fetchval("INSERT INTO call VALUES (gen_random_uuid(), 1, now()) RETURNING id")

    done = await app.erasure(subject)

    assert done.erased == {"recordings": 1}
    assert done.found == {"customers": 1, "recordings": 1}
    assert Identifier("call_id", str(late)) in done.revealed
    rest = await app.erasure(await app.known(email("anna@x")))
    assert (rest.erased, rest.found) == ({"customers": 1, "recordings": 1}, {})
    assert (await app.count("contact"), await app.count("call")) == (1, 1)


@pytest.mark.parametrize("table", ["call", "invoice"])
async def test_a_child_written_between_children_and_parent_keeps_the_parent(app: App, table: str) -> None:
    last = await checkpoints(app)
    subject = await app.known(email("anna@x"))
    row = {"call": "gen_random_uuid(), 1, now()", "invoice": "9, 1, 'Anna', '2026-01-01'"}[table]

    (done,) = await app.connector.erase(
        [subject], Meddling(subject, last, lambda: app.sql.execute(f"INSERT INTO {table} VALUES ({row})"))
    )

    assert isinstance(done, Erasure)
    assert done.found == {"customers": 1, TABLES[table]["category"]: 1}
    assert done.erased == {"recordings": 1}
    assert await app.count("contact") == 2


async def test_waits_for_a_child_that_another_transaction_is_writing(app: App, postgres_server: PostgresServer) -> None:
    subject = await app.known(email("anna@x"))
    async with postgres_server.connection(app.url) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("INSERT INTO call VALUES (gen_random_uuid(), 1, now())")
        erasing = asyncio.create_task(app.erasure(subject))
        while not await app.sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not erasing.done()
        await transaction.commit()
        done = await erasing

    assert done.found == {"customers": 1, "recordings": 1}
    assert await app.count("contact") == 2


async def test_a_row_that_changed_hands_meanwhile_stays(app: App) -> None:
    last = await checkpoints(app)
    subject = await app.known(email("anna@x"))
    moved = await app.sql.fetchval("SELECT id FROM call WHERE contact_id = 1")

    (done,) = await app.connector.erase(
        [subject],
        Meddling(subject, last - 2, lambda: app.sql.execute("UPDATE call SET contact_id = 2 WHERE id = $1", moved)),
    )

    assert isinstance(done, Erasure)
    assert await app.sql.fetchval("SELECT contact_id FROM call WHERE id = $1", moved) == 2
    assert done.found["recordings"] == 1


async def test_a_lock_not_got_fails_one_person_for_a_while(app: App, postgres_server: PostgresServer) -> None:
    anna, bob = await app.known(email("anna@x")), await app.known(email("bob@x"))
    async with postgres_server.connection(app.url) as other, other.transaction():
        await other.execute("SELECT FROM call WHERE contact_id = 1 FOR UPDATE")
        failed, done = await app.erase(anna, bob)

    assert isinstance(failed, Transient)
    assert failed.code == "lock_not_got"
    assert isinstance(done, Erasure)
    assert (await app.erasure(anna)).erased == {"customers": 1, "recordings": 1}


async def test_a_store_that_is_away_is_transient_and_no_reason_not_to_start() -> None:
    url = "postgresql://app:secret@127.0.0.1:1/app"
    async with connect("app", inventory(url, TABLES), settings(), StillClock()) as connector:
        subject = person(email("anna@x"))
        (failed,) = await connector.discover([subject], Permits.of([subject]))
        (problem,) = (await connector.check()).problems
    assert isinstance(failed, Transient)
    assert failed.code == "store_unreachable"
    assert "store_unreachable" in problem.what


async def test_a_connection_lost_in_the_middle_is_transient(app: App, postgres_server: PostgresServer) -> None:
    subject = await app.known(email("anna@x"))
    async with postgres_server.connection(app.url) as other, other.transaction():
        await other.execute("SELECT FROM contact WHERE id = 1 FOR UPDATE")
        erasing = asyncio.create_task(app.erase(subject))
        waiting = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
        while not await app.sql.fetch(waiting):
            assert not erasing.done()
        (failed,) = await erasing

    assert isinstance(failed, Transient)
    assert (await app.erasure(subject)).erased == {"customers": 1}


async def test_a_table_missing_in_one_role_fails_nobody_of_the_other(app: App) -> None:
    tables = TABLES | {"gone": {**TABLES["contact"], "role": "processor", "tenant": "tenant"}}
    async with connect("app", inventory(app.url, tables), settings(), StillClock()) as connector:
        subjects = [person(email("anna@x"), scope=GLOBEX), person(email("anna@x"))]
        refused, found = await connector.discover(subjects, Permits.of(subjects))

    assert_refused(refused, "missing_table")
    assert isinstance(found, Findings)


async def test_a_refused_password_is_terminal(app: App) -> None:
    url = app.url.replace(":secret@", ":wrong@")
    async with connect("app", inventory(url, TABLES), settings(), StillClock()) as connector:
        subject = person(email("anna@x"))
        (refused,) = await connector.discover([subject], Permits.of([subject]))
    assert_refused(refused, "refused_credential")


async def test_a_table_that_references_without_being_declared_stops_the_erasure(app: App) -> None:
    await app.sql.execute("CREATE TABLE vip (contact_id bigint REFERENCES contact); INSERT INTO vip VALUES (1)")

    (refused,) = await app.erase(await app.known(email("anna@x")))

    assert_refused(refused, "referenced")
    assert await app.count("contact") == 2


@pytest.mark.parametrize(
    ("statement", "code", "ways_out"),
    [
        (
            "CREATE TABLE vip (contact_id bigint REFERENCES contact ON DELETE CASCADE)",
            "uncounted_cascade",
            ["declare vip", "make the key ON DELETE NO ACTION"],
        ),
        (
            "ALTER TABLE invoice ADD FOREIGN KEY (contact_id) REFERENCES contact",
            "kept_under_deleted",
            ["keep contact as well", "drop the key"],
        ),
        ("ALTER TABLE call DROP CONSTRAINT call_pkey", "no_key", ["give it a primary key"]),
        ("ALTER TABLE contact ALTER email TYPE jsonb USING to_jsonb(email)", "unsearchable_column", ["uuid"]),
        ("ALTER TABLE invoice ALTER name TYPE jsonb USING to_jsonb(name)", "unemptiable_column", ["drop its NOT NULL"]),
    ],
)
async def test_what_can_not_be_erased_from_safely_is_refused(
    app: App, statement: str, code: str, ways_out: list[str]
) -> None:
    subject = await app.known(email("anna@x"))
    await app.sql.execute(statement)

    with pytest.raises(InventoryError) as refused:
        async with connect("app", inventory(app.url, TABLES), settings(), StillClock()):
            pass
    assert all(way in str(refused.value) for way in ways_out)
    for call in (app.connector.discover, app.connector.erase):
        (failed,) = await call([subject], Permits.of([subject]))
        assert_refused(failed, code)


async def test_a_policy_that_would_hide_rows_raises(app: App, postgres_server: PostgresServer) -> None:
    await app.sql.execute("ALTER TABLE call ENABLE ROW LEVEL SECURITY")
    name = app.url.rpartition("/")[2]
    async with postgres_server.connection(postgres_server.url(name, "postgres")) as admin:
        await admin.execute(
            f"CREATE ROLE eraser_{name} LOGIN PASSWORD 'secret';"
            f"GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO eraser_{name}"
        )
    url = postgres_server.url(name, f"eraser_{name}")
    subject = await app.known(email("anna@x"))
    async with connect("app", inventory(url, TABLES), settings(), StillClock()) as connector:
        (hidden,) = await connector.erase([subject], Permits.of([subject]))
        await app.sql.execute("ALTER TABLE call DISABLE ROW LEVEL SECURITY; REVOKE UPDATE ON call FROM PUBLIC")
        await app.sql.execute(f"REVOKE DELETE ON call FROM eraser_{name}")
        (forbidden,) = await connector.discover([subject], Permits.of([subject]))
    assert_refused(hidden, "insufficient_privilege")
    assert_refused(forbidden, "insufficient_privilege")


async def test_a_trigger_that_keeps_rows_is_no_success(app: App) -> None:
    await app.sql.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER keep BEFORE DELETE ON call FOR EACH ROW EXECUTE FUNCTION keep()"
    )

    (refused,) = await app.erase(await app.known(email("anna@x")))

    assert_refused(refused, "rows_not_erased")


async def test_retention_by_the_rows_date(app: App) -> None:
    await app.sql.execute(
        "INSERT INTO invoice VALUES (11, 1, 'Anna', '2016-01-01'), (12, 1, 'Anna', '2015-12-31'),"
        "(13, 1, '', '2025-06-01')"
    )
    subject = await app.known(email("anna@x"))
    found = await app.findings(subject)
    assert found.found == {"customers": 1, "recordings": 1, "billing": 3}

    done = await app.erasure(subject)

    kept = (
        Retained(category="billing", count=1, basis="law", until=date(2026, 12, 31)),
        Retained(category="billing", count=2, basis="law", until=date(2035, 12, 31)),
    )
    assert found.retained == done.retained == kept
    assert done.erased == {"customers": 1, "recordings": 1, "billing": 1}
    assert done.anonymised == {"billing": 2}
    left = await app.sql.fetch("SELECT id, name FROM invoice WHERE contact_id = 1 ORDER BY id")
    assert [tuple(row) for row in left] == [(1, ""), (11, ""), (13, "")]
    after = await app.findings(subject)
    assert (after.found, after.retained) == ({}, kept)


async def test_a_retained_row_without_its_date_fails_its_person_before_anything_is_erased(app: App) -> None:
    anna, bob = await app.known(email("anna@x")), await app.known(email("bob@x"))
    await app.sql.execute("UPDATE invoice SET issued_on = NULL WHERE contact_id = 1")

    refused, done = await app.erase(anna, bob)

    assert_refused(refused, "no_retention_date")
    assert isinstance(done, Erasure)
    assert await app.sql.fetchval("SELECT count(*) FROM call WHERE contact_id = 1") == 1


async def test_rows_under_a_foreign_key_go_with_their_parent_unless_somebody_else_wrote_them(
    postgres_server: PostgresServer,
) -> None:
    schema = """
        CREATE TABLE post (site text, n int, email text NOT NULL, PRIMARY KEY (n, site));
        CREATE TABLE reply (id int PRIMARY KEY, site text, n int, email text,
                            FOREIGN KEY (site, n) REFERENCES post (site, n) ON DELETE CASCADE);
        CREATE TABLE image (id int PRIMARY KEY, reply_id int REFERENCES reply);
        INSERT INTO post VALUES ('a', 1, 'anna@x'), ('a', 2, 'anna@x'), ('b', 1, 'bob@x');
        INSERT INTO reply VALUES (1, 'a', 1, NULL), (2, 'a', 2, 'anna@x'), (3, 'b', 1, NULL);
        INSERT INTO image SELECT id, id FROM reply;
    """
    rule = {"category": "customers", "role": "controller", "erase": "delete"}
    tables = {
        "post": {"match": {"email": "email"}, **rule},
        "reply": {"match": {"email": "email"}, **rule},
        "image": {"match": {}, **rule},
    }
    async with opened(postgres_server, schema, tables) as app:
        subject = person(email("anna@x"))
        assert (await app.findings(subject)).found == {"customers": 6}
        assert (await app.erasure(subject)).erased == {"customers": 6}
        assert [row["id"] for row in await app.sql.fetch("SELECT id FROM reply")] == [3]
        assert [row["id"] for row in await app.sql.fetch("SELECT id FROM image")] == [3]

        await app.sql.execute(
            "INSERT INTO post VALUES ('c', 1, 'anna@x');INSERT INTO reply VALUES (4, 'c', 1, 'bob@x')"
        )
        assert (await app.findings(subject)).found == {"customers": 1}
        (refused,) = await app.erase(subject)
        assert_refused(refused, "referenced")
        assert await app.count("reply") == 2


async def test_names_types_and_schemas_as_they_come(postgres_server: PostgresServer) -> None:
    schema = '''
        CREATE SCHEMA "Billing";
        CREATE DOMAIN address AS varchar(40);
        CREATE TABLE "Billing"."Customer ""A""" (
            "E-mail" address, ref uuid, code char(6), tenant int, "select" int,
            PRIMARY KEY ("select", tenant)) PARTITION BY LIST (tenant);
        CREATE TABLE p42 PARTITION OF "Billing"."Customer ""A""" FOR VALUES IN (42);
        CREATE TABLE p43 PARTITION OF "Billing"."Customer ""A""" FOR VALUES IN (43);
        INSERT INTO "Billing"."Customer ""A""" VALUES
            ('anna@x', '6da23d9f-b4f2-4b88-b687-3b0611732bd1', 'c1', 42, 1),
            ('anna@x', '6da23d9f-b4f2-4b88-b687-3b0611732bd1', 'c1', 43, 1);
    '''
    tables = {
        'Billing.Customer "A"': {
            "match": {"email": "E-mail", "contact_id": "ref", "call_id": "code"},
            "category": "customers",
            "role": "processor",
            "tenant": "tenant",
            "erase": "delete",
        }
    }
    async with opened(postgres_server, schema, tables) as app:
        for identifier in (
            email("anna@x"),
            Identifier("contact_id", "6DA23D9F-B4F2-4B88-B687-3B0611732BD1"),
        ):
            assert (await app.findings(person(identifier, scope=GLOBEX))).found == {"customers": 1}
        assert (await app.findings(person(email("anna@x" + "-" * 40), scope=GLOBEX))).found == {}
        assert (await app.erasure(person(email("anna@x"), scope=GLOBEX))).erased == {"customers": 1}
        assert (await app.count("p42"), await app.count("p43")) == (0, 1)


async def test_what_a_column_can_not_hold_disturbs_nobody(app: App) -> None:
    strange = person(
        email("a\0b"), email("\ud800"), Identifier("contact_id", "no number"), Identifier("contact_id", "9" * 30)
    )

    nothing, found = await app.discover(strange, person(email("anna@x")))

    assert isinstance(nothing, Findings)
    assert nothing.found == {}
    assert nothing.asked_with == {"email", "contact_id"}
    assert isinstance(found, Findings)
    assert found.found["customers"] == 1


async def test_more_rows_than_one_transaction_takes(app: App) -> None:
    await app.sql.execute(f"INSERT INTO call SELECT gen_random_uuid(), 1, now() FROM generate_series(1, {CHUNK + 200})")
    subject = await app.known(email("anna@x"))
    permits = Permits.of([subject])

    (done,) = await app.connector.erase([subject], permits)

    assert isinstance(done, Erasure)
    assert done.erased == {"customers": 1, "recordings": CHUNK + 201}
    assert permits.asked == await checkpoints(app) + 1


async def test_one_row_of_somebody_else_is_never_enough_to_be_searched_by(app: App) -> None:
    await app.sql.execute("INSERT INTO contact VALUES (3, 'anna@x', NULL, 'Anna again')")

    found = await app.findings(person(email("anna@x")))

    assert found.found == {}
    assert found.revealed == frozenset()
    assert [(c.code, c.category, c.count) for c in found.contested] == [(ConflictCode.NOT_ONE_PERSON, "customers", 2)]


async def test_a_freely_typed_address_is_revealed_and_not_followed(postgres_server: PostgresServer) -> None:
    schema = SCHEMA + (
        "CREATE TABLE applicant (id int PRIMARY KEY, email text, typed text); CREATE INDEX ON applicant (email);"
        "INSERT INTO applicant VALUES (1, 'anna@x', 'bob@x'); INSERT INTO contact VALUES (2, 'bob@x', NULL, 'Bob')"
    )
    applicant = {
        "match": {"email": "email"},
        "reveals": {"email": {"column": "typed", "trust": "unverified"}},
        "category": "customers",
        "role": "controller",
        "erase": "delete",
    }
    async with opened(postgres_server, schema, TABLES | {"applicant": applicant}) as app:
        found = await app.findings(person(email("anna@x")))

    assert found.found == {"customers": 1}
    assert [(i.value, i.standing) for i in found.revealed] == [("bob@x", Standing.UNVERIFIED)]


async def test_an_identifier_that_was_set_aside_is_not_followed_when_a_row_reveals_it(app: App) -> None:
    aside = replace(Identifier("contact_id", "1"), standing=Standing.SET_ASIDE)

    found = await app.findings(person(email("anna@x"), aside))

    assert found.found == {"customers": 1}


async def test_what_an_identifier_set_aside_leads_to_keeps_nothing(postgres_server: PostgresServer) -> None:
    schema = SCHEMA + (
        "CREATE TABLE letter (id int PRIMARY KEY, email text); INSERT INTO letter VALUES (1, 'anna@x');"
        "INSERT INTO contact VALUES (1, 'anna@x', NULL, 'Anna')"
    )
    letter = {"match": {"email": "email"}, "category": "customers", "role": "controller", "erase": "delete"}
    async with opened(postgres_server, schema, TABLES | {"letter": letter}) as app:
        aside = replace(email("anna@x"), standing=Standing.SET_ASIDE)
        done = await app.erasure(person(Identifier("contact_id", "1"), aside))

        assert (done.erased, done.found) == ({"customers": 1}, {})
        assert await app.count("letter") == 1


async def test_a_copy_holds_every_row_and_every_digit(app: App) -> None:
    await app.sql.execute(
        "ALTER TABLE contact ADD balance numeric, ADD tags jsonb, ADD photo bytea;"
        "UPDATE contact SET balance = 12345678901234567890.10, tags = '{\"a\": [1]}', photo = '\\x00ff' WHERE id = 1;"
        f"INSERT INTO call SELECT gen_random_uuid(), 1, '2026-01-01 12:00+02' FROM generate_series(1, {CHUNK})"
    )
    subject = await app.known(email("anna@x"))
    bundle = MemoryBundle()

    export = await app.connector.export(subject, bundle, Permits.of([subject]))

    assert isinstance(export, Export)
    assert {(member.name, member.review) for member in export.members} == {
        ("customers/contact.json", False),
        ("customers/contact.csv", False),
        ("recordings/call.json", True),
        ("recordings/call.csv", True),
    }
    (contact,) = json.loads(bundle.contents["customers/contact.json"], parse_float=str)
    assert (contact["balance"], contact["tags"], contact["photo"]) == ("12345678901234567890.10", {"a": [1]}, "\\x00ff")
    assert "email" in contact
    assert "phone" in contact
    (header, line) = csv.reader(io.StringIO(bundle.contents["customers/contact.csv"].decode()))
    assert dict(zip(header, line, strict=True)) == {
        "id": "1",
        "email": "anna@x",
        "phone": "",
        "name": "anna",
        "balance": "12345678901234567890.10",
        "tags": '{"a": [1]}',
        "photo": "\\x00ff",
    }
    calls = json.loads(bundle.contents["recordings/call.json"])
    assert len(calls) == CHUNK + 1
    assert "2026-01-01T10:00:00+00:00" in {call["at"] for call in calls}
    assert len(bundle.contents["recordings/call.csv"].splitlines()) == CHUNK + 2


async def test_check_tells_of_everything_at_once(app: App) -> None:
    await app.sql.execute(
        "DROP INDEX contact_email_idx; CREATE TABLE newsletter (address_id int, user_email text);"
        "CREATE TABLE country (code text); ALTER TABLE invoice DROP issued_on"
    )

    problems = {problem.where: problem for problem in (await app.connector.check()).problems}

    assert set(problems) == {"contact.email", "newsletter", "invoice.issued_on"}
    assert "create index on contact (email)" in problems["contact.email"].fix
    assert "user_email" in problems["newsletter"].what

"""What the CRM connector does about HubSpot's nasty sides, against the simulator's process."""

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.reports import Level
from services.connectors.crm import connect
from services.connectors.crm.client import HubSpot
from services.connectors.crm.connector import CrmConnector
from services.connectors.port import (
    Connect,
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
from services.kit.inventory import CrmStore, Role
from services.kit.settings import Settings
from tests.support.crm import CATEGORY, Door, inventory
from tests.support.hubspot import Simulator, running
from tests.support.port import NOW, MemoryBundle, Permits, StillClock

OURS = Scope("acme", Role.CONTROLLER)
BOUND_S, UNLIMITED = 0.5, 1_000_000


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    limits = {"requests_per_ten_seconds": UNLIMITED, "searches_per_second": UNLIMITED}
    with running(tmp_path_factory.mktemp("crm") / "state", bound_s=BOUND_S, index_lag_s=0.2, **limits) as simulator:
        yield simulator


class Listening(HubSpot):
    """Writes down what it asks for."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.asked: list[str] = []

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        self.asked.append(f"{method} {path}")
        return await super()._call(method, path, body)


@asynccontextmanager
async def opened(simulator: Simulator, **how: Any) -> AsyncIterator[tuple[CrmConnector, Listening]]:
    declared = inventory(simulator.url, bound_s=BOUND_S, **how)
    store = declared.stores["crm"]
    assert isinstance(store, CrmStore)
    async with Listening.open(store.url, store.token) as client:
        assert isinstance(client, Listening)
        yield CrmConnector(client, store, declared, StillClock()), client


@pytest.fixture
async def crm(simulator: Simulator) -> AsyncIterator[CrmConnector]:
    async with opened(simulator) as (connector, _):
        yield connector


@pytest.fixture
async def door(simulator: Simulator) -> AsyncIterator[Door]:
    async with Door.open(simulator.url) as door:
        yield door


@dataclass
class Withdrawing:
    """A checkpoint that withdraws one permit after so many questions."""

    ids: frozenset[UUID]
    one: UUID
    after: int
    asked: int = 0

    async def __call__(self) -> frozenset[UUID]:
        self.asked += 1
        return self.ids if self.asked <= self.after else self.ids - {self.one}


def address() -> str:
    return f"{uuid4().hex}@example.org"


def number() -> str:
    return f"+331{uuid4().int % 10**8:08d}"


def known_by(*identifiers: Identifier) -> Subject:
    return Subject(uuid4(), OURS, frozenset(identifiers))


def email(value: str, standing: Standing = Standing.TRUSTED) -> Identifier:
    return Identifier("email", value, standing)


async def discover(crm: StoreConnector, subject: Subject) -> Findings:
    (found,) = await crm.discover([subject], Permits.of([subject]))
    assert isinstance(found, Findings), found
    return found


async def erase(crm: StoreConnector, subject: Subject) -> Erasure:
    (done,) = await crm.erase([subject], Permits.of([subject]))
    assert isinstance(done, Erasure), done
    return done


async def all_known(crm: StoreConnector, subject: Subject) -> Subject:
    return replace(subject, identifiers=(await discover(crm, subject)).revealed | subject.identifiers)


async def gone(door: Door, *contacts: str) -> None:
    """Wait for the vendor's bound."""
    async with asyncio.timeout(60):
        while await door.read("contacts", *contacts):
            await asyncio.sleep(0.05)


async def in_index(door: Door, property_: str, value: str) -> None:
    async with asyncio.timeout(60):
        while not await door.found(property_, value):
            await asyncio.sleep(0.05)


async def test_opens_what_the_inventory_declares(simulator: Simulator, tmp_path: Path) -> None:
    factory: Connect = connect
    settings = Settings.model_construct()

    async with factory("crm", inventory(simulator.url), settings, StillClock()) as connector:
        assert (await connector.check()).problems == ()


async def test_is_not_fooled_by_an_index_that_lags(crm: CrmConnector, door: Door) -> None:
    by_email, by_id = address(), address()
    await door.contact(email=by_email)
    id_ = await door.contact(email=by_id)

    assert (await discover(crm, known_by(email(by_email.upper())))).found == {CATEGORY: 1}
    assert (await discover(crm, known_by(Identifier("crm_id", id_)))).found == {CATEGORY: 1}


async def test_finds_by_an_address_that_only_the_crm_knew(crm: CrmConnector, door: Door) -> None:
    first, second, third = address(), address(), address()
    id_ = await door.contact(email=first, hs_additional_emails=f"{second};{third}")
    await in_index(door, "email", first)

    found = await discover(crm, known_by(email(third)))

    assert found.found == {CATEGORY: 1}
    assert found.revealed == {email(first), email(second), email(third), Identifier("crm_id", id_)}


async def test_takes_no_similar_address_for_the_subjects(crm: CrmConnector, door: Door) -> None:
    name = uuid4().hex
    await door.contact(email=address(), hs_additional_emails=f"jo.{name}@example.org", lastname=name)
    await in_index(door, "lastname", name)

    assert (await discover(crm, known_by(email(f"{name}@example.org")))).found == {}


async def test_follows_old_ids_to_the_merged_contact(crm: CrmConnector, door: Door) -> None:
    emails = [address(), address()]
    old = [await door.contact(email=one) for one in emails]
    call = await door.logged("calls", "hello", old[1])
    merged = await door.post("/crm/v3/objects/contacts/merge", {"primaryObjectId": old[0], "objectIdToMerge": old[1]})
    subject = known_by(Identifier("crm_id", old[1]))

    found = await discover(crm, subject)

    ids = {Identifier("crm_id", id_) for id_ in (*old, merged["id"])}
    assert found.revealed == {*map(email, emails), *ids, Identifier("engagement_id", call)}
    done = await erase(crm, replace(subject, identifiers=found.revealed))
    assert done.erased == found.found == {CATEGORY: 2}
    await gone(door, merged["id"])


async def test_what_the_vendor_accepted_is_found_until_its_bound(crm: CrmConnector, door: Door) -> None:
    id_ = await door.contact(email=address())
    subject = await all_known(crm, known_by(Identifier("crm_id", id_)))

    done = await erase(crm, subject)

    assert done.level is Level.ACCEPTED
    assert done.bound_on == NOW + timedelta(seconds=BOUND_S)
    assert (await discover(crm, subject)).found == {CATEGORY: 1}
    await gone(door, id_)
    assert (await discover(crm, subject)).found == {}
    again = await erase(crm, subject)
    assert (again.level, again.erased, again.bound_on) == (Level.EFFECTIVE, {}, None)


async def test_leaves_a_call_that_is_somebody_elses_too(crm: CrmConnector, door: Door) -> None:
    own, other = await door.contact(email=address()), await door.contact(email=address())
    alone, both = await door.logged("notes", "one", own), await door.logged("calls", "two", own, other)
    subject = await all_known(crm, known_by(Identifier("crm_id", own)))
    bystander = await all_known(crm, known_by(Identifier("crm_id", other)))
    assert (await discover(crm, subject)).found == {CATEGORY: 2}

    await erase(crm, subject)
    await gone(door, own)

    assert await door.read("notes", alone) == {}
    assert (await door.read("calls", both))[both]["hs_call_body"] == "two"
    assert (await discover(crm, subject)).found == {}
    assert (await discover(crm, bystander)).found == {CATEGORY: 2}, "by now it is the other's alone"
    assert (await erase(crm, bystander)).erased == {CATEGORY: 2}


async def test_two_who_shared_a_call_leave_nothing_when_both_are_erased(crm: CrmConnector, door: Door) -> None:
    contacts = [await door.contact(email=address()) for _ in range(2)]
    both = await door.logged("calls", "two", *contacts)
    subjects = [await all_known(crm, known_by(Identifier("crm_id", id_))) for id_ in contacts]

    await crm.erase(subjects, Permits.of(subjects))
    await gone(door, *contacts)

    assert [(await discover(crm, subject)).found for subject in subjects] == [{CATEGORY: 1}] * 2
    await crm.erase(subjects, Permits.of(subjects))
    assert await door.read("calls", both) == {}


async def test_finds_its_remainder_when_the_contact_is_gone(crm: CrmConnector, door: Door) -> None:
    id_ = await door.contact(email=address())
    note = await door.logged("notes", "she prefers mornings", id_)
    subject = await all_known(crm, known_by(Identifier("crm_id", id_)))
    await door.post("/crm/v3/objects/contacts/gdpr-delete", {"objectId": id_})
    await gone(door, id_)

    assert (await discover(crm, subject)).found == {CATEGORY: 1}
    done = await erase(crm, subject)

    assert (done.erased, done.level) == ({CATEGORY: 1}, Level.EFFECTIVE)
    assert await door.read("notes", note) == {}
    assert "hs_note_body" not in (await door.read("notes", note, archived=True))[note]


@pytest.mark.parametrize("with_somebody", [False, True])
async def test_a_call_logged_after_discovery_stays_with_its_contact(
    crm: CrmConnector, door: Door, with_somebody: bool
) -> None:
    id_ = await door.contact(email=address())
    old = await door.logged("calls", "old", id_)
    subject = await all_known(crm, known_by(Identifier("crm_id", id_)))
    new = await door.logged("calls", "new", id_, *([await door.contact(email=address())] if with_somebody else []))

    done = await erase(crm, subject)

    assert done.erased == {CATEGORY: 1}
    assert done.found == {CATEGORY: 1 if with_somebody else 2}
    assert Identifier("engagement_id", new) in done.revealed
    assert (await door.read("calls", old, new)).keys() == {new}
    assert await door.read("contacts", id_)


async def test_a_call_logged_while_erasing_stays_with_its_contact(simulator: Simulator, door: Door) -> None:
    id_ = await door.contact(email=address())
    await door.logged("notes", "old", id_)
    late: list[str] = []
    async with opened(simulator) as (crm, client):
        subject = await all_known(crm, known_by(Identifier("crm_id", id_)))
        archive = client.archive

        async def log_meanwhile(kind: str, ids: Iterable[str]) -> None:
            await archive(kind, ids)
            late.append(await door.logged("calls", "late", id_))

        client.archive = log_meanwhile  # type: ignore[method-assign]
        done = await erase(crm, subject)

    assert (done.erased, done.found) == ({CATEGORY: 1}, {CATEGORY: 2})
    assert done.revealed >= {Identifier("engagement_id", call) for call in late}
    assert await door.read("contacts", id_)


async def test_a_withdrawn_permit_makes_nobodys_call_an_orphan(simulator: Simulator, door: Door) -> None:
    contacts = [await door.contact(email=address()) for _ in range(2)]
    both = await door.logged("calls", "two", *contacts)
    async with opened(simulator) as (crm, _):
        first, second = [await all_known(crm, known_by(Identifier("crm_id", id_))) for id_ in contacts]
        only_the_call = replace(second, identifiers=frozenset({Identifier("engagement_id", both)}))
        calls, withdrawn = 0, True
        while withdrawn:
            permits = Withdrawing(frozenset({first.request_id, second.request_id}), first.request_id, after=calls)
            await crm.erase([first, only_the_call], permits)
            assert await door.read("calls", both), f"permit withdrawn after {calls} questions"
            withdrawn, calls = permits.asked > calls, calls + 1


async def test_a_colleague_on_the_same_switchboard_is_left_to_a_person(crm: CrmConnector, door: Door) -> None:
    switchboard, own, other = number(), address(), address()
    local = f"0{switchboard.removeprefix('+33')}"
    typed = " ".join(local[at : at + 2] for at in range(0, 10, 2))
    await door.contact(email=own, phone=switchboard)
    colleague = await door.contact(email=other, phone=typed)
    await in_index(door, "email", other)
    subject = known_by(email(own), Identifier("phone", switchboard))

    found = await discover(crm, subject)

    assert found.found == {CATEGORY: 1}
    (contested,) = found.contested
    assert (contested.identifier.kind, contested.count) == ("phone", 1)
    assert [i.alone for i in found.revealed if i.kind == "phone"] == [False]
    assert email(other) not in found.revealed
    done = await erase(crm, replace(subject, identifiers=found.revealed))
    assert done.erased == {CATEGORY: 1}
    assert done.contested == found.contested
    assert await door.read("contacts", colleague)


async def test_says_when_a_number_is_the_subjects_alone(crm: CrmConnector, door: Door) -> None:
    own, mobile = address(), number()
    await door.contact(email=own, mobilephone=mobile)
    await in_index(door, "mobilephone", mobile)

    found = await discover(crm, known_by(email(own), Identifier("phone", mobile)))

    assert [i.alone for i in found.revealed if i.kind == "phone"] == [True]
    assert found.contested == ()


async def test_does_not_search_by_what_was_set_aside(crm: CrmConnector, door: Door) -> None:
    own, doubtful = address(), address()
    await door.contact(email=own, hs_additional_emails=doubtful)
    await in_index(door, "email", own)

    assert (await discover(crm, known_by(email(doubtful, Standing.SET_ASIDE)))).found == {}
    both = known_by(email(own), email(doubtful, Standing.SET_ASIDE))
    assert (await discover(crm, both)).found == {CATEGORY: 1}
    assert (await erase(crm, await all_known(crm, both))).erased == {CATEGORY: 1}


async def test_never_puts_an_address_on_the_blocklist(simulator: Simulator, crm: CrmConnector) -> None:
    nobody = known_by(email(address()), Identifier("crm_id", "1"), Identifier("crm_id", "of-another-crm"))

    assert (await erase(crm, nobody)).erased == {}

    with sqlite3.connect(simulator.state) as db:
        assert db.execute("select count(*) from blocklist where reason = 'miss'").fetchone() == (0,)
    db.close()


async def test_pages_through_hundreds_of_calls(simulator: Simulator, door: Door) -> None:
    id_ = await door.contact(email=address())
    for _ in range(6):
        await door.logged_often("calls", ["again"] * 100, id_)
    async with opened(simulator, rows=1000) as (crm, client):
        subject = await all_known(crm, known_by(Identifier("crm_id", id_)))
        client.asked.clear()
        assert (await erase(crm, subject)).erased == {CATEGORY: 601}
    assert len(client.asked) < 50


async def test_asks_once_for_many_and_names_nobody_in_a_url(simulator: Simulator, door: Door) -> None:
    emails = [address() for _ in range(50)]
    ids = [await door.contact(email=one, phone=number()) for one in emails]
    for id_ in ids[::2]:
        await door.logged("calls", "hello", id_)
    subjects = [known_by(email(one), Identifier("phone", number())) for one in emails]
    async with opened(simulator) as (crm, client):
        answers = await crm.discover(subjects, Permits.of(subjects))

        assert [a.found if isinstance(a, Findings) else a for a in answers] == [{CATEGORY: 2}, {CATEGORY: 1}] * 25
        assert len(client.asked) <= 10 + 15, "ten searches of five addresses, and a handful of batches"
        known = [i.value for subject in subjects for i in subject.identifiers]
        assert not [value for value in known if value in " ".join(client.asked)]


async def test_waits_out_short_limits_and_hands_on_long_ones(tmp_path: Path) -> None:
    subject = known_by(email(address()))
    with running(tmp_path / "a", requests_per_ten_seconds=3, searches_per_second=1) as simulator:
        async with opened(simulator) as (crm, client):
            results = [await crm.discover([subject], Permits.of([subject])) for _ in range(4)]
            assert [[type(answer) for answer in answers] for answers in results] == [[Findings]] * 4
    with running(tmp_path / "b", requests_per_day=1) as simulator:
        async with opened(simulator) as (crm, client):
            with pytest.raises(Transient) as caught:
                await crm.discover([subject], Permits.of([subject]))
            assert (caught.value.code, caught.value.retry_after_s) == ("rate_limited", 3600)
            assert len(client.asked) == 2


async def test_tells_a_refused_token_from_a_vendor_that_is_away(tmp_path: Path) -> None:
    subject = known_by(email(address()))
    with running(tmp_path / "state") as simulator:
        async with opened(simulator, token="wrong") as (crm, _):
            with pytest.raises(Terminal, match="refused_credential"):
                await crm.erase([subject], Permits.of([subject]))
            assert {problem.where for problem in (await crm.check()).problems} == {"contacts", "calls", "notes"}
        async with opened(simulator) as (crm, _):
            simulator.kill()
            with pytest.raises(Transient, match="store_unreachable"):
                await crm.discover([subject], Permits.of([subject]))
            assert len((await crm.check()).problems) == 3


async def test_exports_every_property_that_has_a_value(simulator: Simulator, crm: CrmConnector, door: Door) -> None:
    own = address()
    id_ = await door.contact(email=own, firstname="Ada", city='Züri; "H"')
    note = await door.logged("notes", "she asked\nfor a quote", id_)
    subject, bundle = known_by(email(own)), MemoryBundle()

    export = await crm.export(subject, bundle, Permits.of([subject]))

    assert isinstance(export, Export)
    assert not any(member.review for member in export.members)
    (contact,) = json.loads(bundle.contents[f"{CATEGORY}/contacts.json"])
    assert (contact["id"], contact["city"], "lastname" in contact) == (id_, 'Züri; "H"', False)
    (row,) = csv.DictReader(io.StringIO(bundle.contents[f"{CATEGORY}/notes.csv"].decode(), newline=""))
    assert (row["id"], row["hs_note_body"]) == (note, "she asked\nfor a quote")

    async with opened(simulator, basis="legal_obligation") as (narrow, _):
        nothing = await narrow.export(subject, MemoryBundle(), Permits.of([subject]))
        assert nothing == Export(())
    async with opened(simulator, third_party="review") as (careful, _):
        reviewed = await careful.export(subject, MemoryBundle(), Permits.of([subject]))
        assert isinstance(reviewed, Export)
        assert all(member.review for member in reviewed.members)

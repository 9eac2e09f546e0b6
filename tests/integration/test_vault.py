"""The vault on a real database: sealed, judged, tied, and gone when its key is."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from joserfc.jwk import OctKey

from contracts.sealing import SealError
from contracts.tasks import Action
from services.kit.errors import LetheiaError
from services.kit.keys import Keyring
from services.kit.postgres import Connection, open_pool
from services.kit.vault import Permit, Vault, VaultIdentifier
from tests.support.letheia_database import letheia_database
from tests.support.postgres import PostgresServer

E1, E2 = OctKey.generate_key(256), OctKey.generate_key(256)
HASH = OctKey.generate_key(256)
KEYRING = Keyring({"e1": E1}, "e1", HASH)
VAULT = Vault(KEYRING, frozenset({"email"}), frozenset({"call_id"}))
REQUEST = UUID(int=1)


@pytest.fixture
async def db(postgres_server: PostgresServer) -> AsyncIterator[Connection]:
    database = await letheia_database(postgres_server)
    async with open_pool(database.url("letheia_coordinator")) as pool, pool.acquire() as db:
        yield db


def known(kind: str, value: str, standing: str = "trusted", **more: bool | str | None) -> VaultIdentifier:
    return VaultIdentifier(kind, value, standing, "app", **more)  # type: ignore[arg-type]


async def keep(db: Connection, key: OctKey, *identifiers: VaultIdentifier) -> list[VaultIdentifier]:
    await VAULT.add(db, REQUEST, "acme", key, identifiers)
    return (await VAULT.identifiers(db, {REQUEST: key}))[REQUEST]


async def test_what_is_kept_is_read_by_its_key_alone(db: Connection) -> None:
    key = await VAULT.create(db, REQUEST, "acme")
    many = [known("call_id", f"call-{number:05}") for number in range(1200)]
    kept = await keep(db, key, known("email", "a@example.org"), *many)
    assert {(i.kind, i.value) for i in kept} == {(i.kind, i.value) for i in many} | {("email", "a@example.org")}
    assert await db.fetchval("SELECT count(*) FROM vault.identifiers") == 4, "record ids lie many a row"
    assert "a@example.org" not in repr(kept)
    with pytest.raises(SealError):
        await VAULT.identifiers(db, {REQUEST: OctKey.generate_key(256)})
    assert {key.raw_value for key in (await VAULT.keys(db, [REQUEST])).values()} == {key.raw_value}


async def test_long_record_ids_are_read_again(db: Connection) -> None:
    key = await VAULT.create(db, REQUEST, "acme")
    assert len(await keep(db, key, *[known("call_id", f"{number:03}" + "x" * 900) for number in range(500)])) == 500


async def test_who_is_in_doubt_does_not_draw_others_into_it(db: Connection) -> None:
    key = await VAULT.create(db, REQUEST, "acme")
    doubt = known("call_id", "2", contested="placeholder")
    await keep(db, key, known("call_id", "1"), doubt, known("call_id", "3"))
    await VAULT.settle(db, REQUEST, "placeholder", "set_aside")
    kept = await keep(db, key)
    assert {i.value: i.standing for i in kept} == {"1": "trusted", "2": "set_aside", "3": "trusted"}


async def test_what_is_known_keeps_its_standing_and_its_tie_to_others(db: Connection) -> None:
    key = await VAULT.create(db, REQUEST, "acme")
    await keep(db, key, known("phone", "+331", alone=None, contested="shared_identifier"))
    await VAULT.settle(db, REQUEST, "shared_identifier", "confirmed")
    for tie, so in ((None, None), (True, True), (None, True), (False, False), (True, False)):
        kept = await keep(db, key, known("phone", "+331", standing="unverified", alone=tie))
        assert [(i.standing, i.alone) for i in kept] == [("confirmed", so)]


async def test_doubts_of_the_last_discovery_go_but_not_what_a_person_must_still_judge(db: Connection) -> None:
    key = await VAULT.create(db, REQUEST, "acme")
    codes = ["shared_identifier", "not_one_person", "placeholder", "unverified"]
    await keep(db, key, *[known("email", code, contested=code) for code in codes])
    await VAULT.uncontest(db, REQUEST)
    assert [i.contested for i in await keep(db, key)] == [None, None, "placeholder", "unverified"]


async def test_the_permit_allows_one_round_and_action_or_nothing(db: Connection) -> None:
    await VAULT.create(db, REQUEST, "acme")
    assert (await VAULT.permits(db, [REQUEST, uuid4()])) == {REQUEST: Permit(REQUEST, "acme", None, None)}
    await VAULT.permit(db, REQUEST, 3, Action.ERASE)
    assert (await VAULT.permits(db, [REQUEST]))[REQUEST] == Permit(REQUEST, "acme", 3, "erase")


async def test_what_is_forgotten_is_gone_and_keys_of_other_purposes_stay(db: Connection) -> None:
    key = await VAULT.create(db, REQUEST, "acme")
    await keep(db, key, known("email", "a@example.org"))
    record = await VAULT.create_key(db, REQUEST, "record")
    assert (await VAULT.create_key(db, REQUEST, "record")).raw_value == record.raw_value
    async with db.transaction():
        await VAULT.destroy(db, REQUEST)
    assert not await VAULT.keys(db, [REQUEST])
    assert not await VAULT.permits(db, [REQUEST])
    assert await db.fetchval("SELECT count(*) FROM vault.identifiers") == 0
    assert set(await VAULT.keys(db, [REQUEST], "record")) == {REQUEST}


async def test_a_key_outlives_the_change_of_epochs_and_not_the_loss_of_its_own(db: Connection) -> None:
    key = await VAULT.create(db, REQUEST, "acme")
    later = Vault(Keyring({"e2": E2, "e1": E1}, "e2", HASH), frozenset(), frozenset())
    assert (await later.keys(db, [REQUEST]))[REQUEST].raw_value == key.raw_value
    lost = Vault(Keyring({"e2": E2}, "e2", HASH), frozenset(), frozenset())
    with pytest.raises(LetheiaError, match="e1"):
        await lost.keys(db, [REQUEST])


def test_a_person_is_recognised_per_controller_whatever_the_letters_case() -> None:
    one = KEYRING.person_hash("acme", "email", "A@Example.org")
    assert one == KEYRING.person_hash("acme", "email", "a@example.ORG")
    others = [
        ("globex", "email", "a@example.org"),
        ("acme", "crm_id", "a@example.org"),
        ("acme", "email", "b@example.org"),
    ]
    assert one not in {KEYRING.person_hash(*other) for other in others}
    assert one != Keyring({"e1": E1}, "e1", E2).person_hash("acme", "email", "a@example.org")

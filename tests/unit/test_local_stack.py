"""The local stack's table, its memory of ports and keys, and the homes that an interruption left half-written."""

import hashlib
import json
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.local.home import Home, Refused, holder, locked, write_atomically
from deploy.local.keys import make_keys
from deploy.local.parts import Part, subset, table
from deploy.local.stack import STORES, Stack, choose_ports
from services.console.access import load_principals, whose
from services.kit.inventory import load_inventory
from services.kit.keys import Keyring, private_key, public_key_set, receiving_keys


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    return made


@pytest.fixture
def stack(home: Home) -> Stack:
    return Stack.open(home, lambda _: None)


def test_every_part_comes_after_parts_that_exist_and_can_be_started(stack: Stack) -> None:
    started: set[str] = set()
    left = {part.name: part for part in table(stack, people=5)}
    while left:
        startable = [name for name, part in left.items() if set(part.after) <= started]
        assert startable, f"never started: {list(left)}"
        started.update(startable)
        for name in startable:
            del left[name]
    assert {f"connector-{store}" for store in STORES} < started


def test_the_sample_inventory_finds_its_stores_and_variables(stack: Stack) -> None:
    coordinator = next(part for part in table(stack) if part.name == "coordinator")
    inventory = load_inventory(Path(coordinator.environment["LETHEIA_INVENTORY"]), coordinator.environment)
    assert set(inventory.stores) == set(STORES)


def test_no_two_parts_share_a_port_and_each_service_has_its_role(stack: Stack) -> None:
    assert len(set(stack.ports.values())) == len(stack.ports)
    urls = [part.environment["LETHEIA_DATABASE_URL"] for part in table(stack) if part.name.startswith("connector-")]
    assert len(set(urls)) == len(STORES)


def test_a_subset_brings_along_what_it_comes_after() -> None:
    parts = [Part("a", ()), Part("b", (), after=("a",)), Part("c", (), after=("b",)), Part("d", ())]
    assert [part.name for part in subset(parts, ["c"])] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("remembered", "taken", "chosen"),
    [
        ({}, [], {"a": 1, "b": 2}),
        ({}, [1], {"a": 2, "b": 3}),
        ({"a": 9, "b": 1}, [], {"a": 9, "b": 1}),
        ({"b": 1}, [], {"a": 2, "b": 1}),  # never another name's
        ({"a": 9, "b": 8}, [9], {"a": 1, "b": 8}),  # taken meanwhile
        ({"gone": 1}, [], {"a": 1, "b": 2}),
    ],
)
def test_ports(remembered: dict[str, int], taken: Sequence[int], chosen: dict[str, int]) -> None:
    assert choose_ports(("a", "b"), remembered, lambda port: port not in taken, [1, 2, 3, 4]) == chosen


def test_a_port_that_was_taken_is_replaced_and_told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = stack.ports["kafka"]
    monkeypatch.setattr("deploy.local.stack.is_free", lambda port: port != taken)
    told: list[str] = []
    again = Stack.open(stack.home, told.append)
    assert again.ports["kafka"] != taken
    assert told == [f"port {taken} of kafka was taken by another program: now {again.ports['kafka']}"]
    assert {**again.ports, "kafka": 0} == {**stack.ports, "kafka": 0}


def test_a_home_opened_again_is_the_same(stack: Stack) -> None:
    before = {path: path.read_bytes() for path in stack.home.path.rglob("*") if path.is_file()}
    again = Stack.open(stack.home, lambda _: None)
    assert {path: path.read_bytes() for path in stack.home.path.rglob("*") if path.is_file()} == before
    assert (again, Stack.of(stack.home)) == (stack, stack)


def test_secrets_are_for_their_owner_alone(stack: Stack) -> None:
    readable = [path for path in stack.home.path.rglob("*.j*") if stat.S_IMODE(path.stat().st_mode) != 0o600]
    assert readable == []
    assert stat.S_IMODE(stack.home.path.stat().st_mode) == 0o700


def test_keys_are_those_that_the_services_read(home: Home) -> None:
    make_keys(home)
    before = {path: path.read_bytes() for path in home.keys.iterdir()}
    assert len(receiving_keys(home.keys).keys) == 2
    shown = public_key_set(home.keys)["keys"]
    assert [key["letheia_state"] for key in shown] == ["current", "next"]
    assert not any("d" in key for key in shown)
    ring = Keyring.load(home.keys)
    assert ring.open(*ring.seal(b"x")) == b"x"
    public = json.loads((home.keys / "crm-portal.jwks").read_text())["keys"][0]
    assert public["kid"] == private_key(home.keys / "publisher-crm-portal.jwk").kid
    assert "d" not in public

    (home.keys / "console.jwks").unlink()  # interrupted
    make_keys(home)
    assert {path: path.read_bytes() for path in home.keys.iterdir()} == before


def test_tokens_are_in_clear_in_the_endpoints_alone(stack: Stack) -> None:
    endpoints = json.loads(stack.home.endpoints.read_text())
    principals = load_principals(stack.home.path / "tokens.json")
    for role, token in endpoints["console"]["tokens"].items():
        holder_ = whose(token, principals)
        assert holder_ is not None
        assert (holder_.role, holder_.token_sha256) == (role, hashlib.sha256(token.encode()).hexdigest())
        files = [path for path in stack.home.path.rglob("*") if path.is_file() and token in path.read_text()]
        assert files == [stack.home.endpoints]


def test_the_endpoints_are_those_of_the_interface(stack: Stack) -> None:
    endpoints = json.loads(stack.home.endpoints.read_text())
    assert set(endpoints) == {"kafka", "console", "jwks_url", "publisher", "postgres", "stores", "spans", "logs"}
    assert set(endpoints["kafka"]) == {
        "bootstrap_servers",
        "security_protocol",
        "sasl_mechanism",
        "username",
        "password",
    }
    assert set(endpoints["console"]["tokens"]) == {"dpo", "sre", "auditor", "system"}
    assert {name: set(store) for name, store in endpoints["stores"].items()} == {
        "app": {"url"},
        "recordings": {"endpoint", "region", "access_key", "secret_key", "bucket"},
        "crm": {"url", "token"},
        "analytics": {"url", "user", "password", "database"},
    }


def test_content_half_made_is_made_again(home: Home) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.make_once("kafka", interrupted)
    folder = home.make_once("kafka", lambda folder: (folder / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_content_once_made_is_never_silently_made_anew(home: Home) -> None:
    def never(_: Path) -> None:
        raise AssertionError

    folder = home.make_once("kafka", lambda folder: (folder / "whole").touch())
    home.make_once("kafka", never)
    home.accept_loss(["kafka"])  # nothing is lost
    home.make_once("kafka", never)

    (folder / "whole").unlink()
    folder.rmdir()
    with pytest.raises(Refused, match="letheia up --accept-loss kafka"):
        home.make_once("kafka", never)
    home.accept_loss(["kafka"])
    home.make_once("kafka", lambda folder: None)


def test_a_file_is_replaced_whole(home: Home) -> None:
    path = home.path / "some.json"
    write_atomically(path, "old and long")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [file.name for file in home.path.iterdir() if file.is_file()] == ["some.json"]


def test_who_holds_a_home_is_known_and_forgotten(home: Home) -> None:
    assert holder(home) is None
    with locked(home):
        assert holder(home) is not None
        with pytest.raises(Refused, match="already runs"), locked(home):
            raise AssertionError
    assert holder(home) is None

"""The inventory is refused with every problem at once, each with file, line and the nearest right name."""

import json
from datetime import date
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, OKPKey

from services.kit.inventory import (
    Delete,
    Inventory,
    InventoryError,
    PostgresStore,
    Retain,
    Role,
    load_inventory,
    publisher_keys,
)

SAMPLE = Path(__file__).parents[2] / "deploy" / "inventory" / "sample.yaml"
ENVIRON = {
    "APP_DATABASE_URL": "postgresql://app",
    "CRM_URL": "http://crm",
    "CRM_TOKEN": "t0ken",
    "CLICKHOUSE_URL": "http://ch",
}


def problems(folder: Path, text: str, environ: dict[str, str] = ENVIRON) -> tuple[str, ...]:
    """What is wrong with `text`, without the path, which every line begins with."""
    path = folder / "inventory.yaml"
    path.write_text(text)
    with pytest.raises(InventoryError) as refused:
        load_inventory(path, environ)
    prefix = f"{path}:"
    assert all(problem.startswith(prefix) for problem in refused.value.problems)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return tuple(problem.removeprefix(prefix) for problem in refused.value.problems)


def sample(**changes: str) -> str:
    """The sample with words replaced where they stand first."""
    text = SAMPLE.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    return text


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


def test_the_sample_is_in_order() -> None:
    inventory = load_inventory(SAMPLE, ENVIRON)

    app = inventory.stores["app"]
    assert isinstance(app, PostgresStore)
    assert app.url == "postgresql://app"
    assert app.tables["contact"].erase == Delete()
    assert app.tables["invoice"].erase == Retain(
        basis="Code de commerce L123-22", years=10, from_="issued_on", to_year_end=True, anonymise=("contact_name",)
    )
    assert app.matches(Role.PROCESSOR) == {"phone", "email"}
    assert "postgresql" not in repr(inventory)
    assert "t0ken" not in repr(inventory)


def test_norway_stays_norway(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(sample(FR="NO"))

    assert load_inventory(path, ENVIRON).controllers["acme"].calendar == "NO"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("category: billing", "category: biling", "'biling' is not declared in categories; did you mean 'billing'?"),
        ("match: {email: email,", "match: {emial: email,", "'emial' is not declared in kinds; did you mean 'email'?"),
        ("reveals: {contact_id", "reveals: {contactid", "'contactid' is not declared in kinds; did you mean 'contact_"),
        ("one_per_person: true", "one_per_persn: true", "unknown field; did you mean 'one_per_person'?"),
        ("{column: typed_email", "{colum: typed_email", "unknown field; did you mean 'column'?"),
        ("connector: postgres", "connector: postgrs", "'postgrs' is unknown; did you mean 'postgres'?"),
        ("erase: delete", "erase: delte", "'delte' is unknown; did you mean 'delete'?"),
        ("erase: {retain:", "erase: {retian:", "'retian' is unknown; did you mean 'retain'?"),
        ("calendar: FR", "calendar: FX", "no calendar 'FX': write one of AT, BE,"),
        ("years: 10", "yeers: 10", "unknown field; did you mean 'years'?"),
        ("years: 10", "years: 0", "Input should be greater than 0"),
        ("email: person", "email: persn", "'persn' is unknown; did you mean 'person'?"),
        ("basis: consent", "basis: consnt", "'consnt' is unknown; did you mean 'consent'?"),
        ("rights: [erasure", "rights: [erasur", "'erasur' is unknown; did you mean 'erasure'?"),
        ("[acme, globex", "[acne, globex", "'acne' is not declared in controllers; did you mean 'acme'?"),
        ("[withdraw,", "[withdrw,", "'withdrw' is unknown; did you mean 'withdraw'?"),
        ("approve: auto", "aprove: auto", "unknown field; did you mean 'approve'?"),
        ("own/calls/{call_id}", "own/calls/{cal_id}", "{cal_id} is not declared in kinds; did you mean 'call_id'?"),
        ("own/calls/{call_id}/", "own/calls/", "names no kind in braces"),
        ("own/calls/{call_id}/", "own/calls/{call_id}", "must end with '/'"),
        ("{tenant}/calls", "calls", "{tenant} belongs in a prefix of role processor"),
        ("tenant: customer_id, ", "", "role processor needs a tenant"),
        ('role: processor, tenant: "42"', "role: processor", "role processor needs a tenant"),
        ("role: controller, calendar", 'role: controller, tenant: "1", calendar', "role controller has no tenant"),
        ("anonymise: [contact_name]", "anonymise: [contact_id]", "column 'contact_id' is matched"),
        ("match: [email, phone,", "match: [email, fone,", "'fone' is not declared in kinds; did you mean 'phone'?"),
        ("calendar: FR}", "}", "field 'calendar' is missing"),
    ],
)
def test_a_typo_is_named_with_its_line_and_the_nearest_right_name(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    text = sample(**{old: new})

    found = problems(tmp_path, text)

    line = line_of(SAMPLE.read_text(), old)
    assert any(problem.startswith(f"{line}: ") and expected in problem for problem in found), found


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    text = sample(
        **{"category: billing": "category: biling", "years: 10": "yeers: 10", "bucket: calls": "bukket: calls"}
    )

    found = problems(tmp_path, text, {})

    assert len([p for p in found if "biling" in p or "yeers" in p or "bukket" in p]) == 3
    assert len([p for p in found if "the environment has no" in p]) == 4
    assert [int(p.partition(":")[0]) for p in found] == sorted(int(p.partition(":")[0]) for p in found)


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    text = sample()
    environ = {name: value for name, value in ENVIRON.items() if name != "CRM_TOKEN"}

    assert problems(tmp_path, text, environ) == (
        f"{line_of(text, 'CRM_TOKEN')}: stores.crm.token: the environment has no CRM_TOKEN: set it",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kinds: [a\nstores: {}\n", "2: is no YAML: expected ',' or ']'"),
        ("kinds: {}\nkinds: {}\n", "2: is no YAML: found duplicate key"),
        ("- a\n", "1: holds no mapping"),
        ("", "1: holds no mapping"),
    ],
)
def test_what_is_no_inventory_at_all_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path, text)

    assert problem.startswith(expected)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"nowhere\.yaml: can't be read \(No such file"):
        load_inventory(tmp_path / "nowhere.yaml", ENVIRON)


@pytest.mark.parametrize(
    ("start", "to_year_end", "until"),
    [
        (date(2026, 3, 5), True, date(2036, 12, 31)),
        (date(2026, 3, 5), False, date(2036, 3, 5)),
        (date(2028, 2, 29), False, date(2038, 2, 28)),
    ],
)
def test_a_term_ends(start: date, to_year_end: bool, until: date) -> None:
    assert Retain(basis="law", years=10, from_="issued_on", to_year_end=to_year_end).until(start) == until


def key_file(folder: Path, name: str, *keys: OKPKey | ECKey, private: bool = False) -> None:
    (folder / "keys").mkdir(exist_ok=True)
    document = {"keys": [key.as_dict(private=private) for key in keys]}
    (folder / "keys" / f"{name}.jwks").write_text(json.dumps(document))


def signing_key(kid: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid})


@pytest.fixture
def inventory() -> Inventory:
    return load_inventory(SAMPLE, ENVIRON)


def test_a_publisher_is_known_by_its_keys(inventory: Inventory, tmp_path: Path) -> None:
    old, new = signing_key("portal-1"), ECKey.generate_key("P-256", {"kid": "portal-2"})
    key_file(tmp_path, "crm-portal", old, new)
    key_file(tmp_path, "console", signing_key("console-1"))

    keys = publisher_keys(inventory, tmp_path / "inventory.yaml")

    assert {kid: name for kid, (name, _) in keys.items()} == {
        "portal-1": "crm-portal",
        "portal-2": "crm-portal",
        "console-1": "console",
    }
    assert keys["portal-1"][1].as_dict() == old.as_dict(private=False)


def test_keys_that_can_not_name_one_publisher_are_refused(inventory: Inventory, tmp_path: Path) -> None:
    key_file(tmp_path, "crm-portal", signing_key("same"))
    key_file(tmp_path, "console", signing_key("same"))

    with pytest.raises(InventoryError, match=r"console\.jwks: key id 'same' is crm-portal's already"):
        publisher_keys(inventory, tmp_path / "inventory.yaml")


def test_every_unusable_key_file_is_named(inventory: Inventory, tmp_path: Path) -> None:
    key_file(tmp_path, "crm-portal", signing_key("private"), private=True)

    with pytest.raises(InventoryError) as refused:
        publisher_keys(inventory, tmp_path / "inventory.yaml")

    assert "a private key lies there" in refused.value.problems[0]
    assert "console.jwks: keys of publisher console can't be used" in refused.value.problems[1]


@pytest.mark.parametrize("content", ["", "[]", '{"keys": 3}', '{"keys": ["x"]}', '{"keys": [{"kty": "RSA"}]}'])
def test_what_is_no_key_set_is_refused(inventory: Inventory, tmp_path: Path, content: str) -> None:
    key_file(tmp_path, "console", signing_key("console"))
    (tmp_path / "keys" / "crm-portal.jwks").write_text(content)

    with pytest.raises(InventoryError, match=r"crm-portal\.jwks: keys of publisher crm-portal can't be used"):
        publisher_keys(inventory, tmp_path / "inventory.yaml")

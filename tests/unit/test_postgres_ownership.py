"""Whose rows are whose: the rules of DESIGN §2 by table, and what must hold for any rows at all."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.reports import ConflictCode
from services.connectors.port import Contested, Identifier, Standing
from services.connectors.postgres.ownership import PERSONS, Judgement, Match, Row, Tables, judge
from services.kit.inventory import Delete, KindClass, Reveal, Role, Table, Trust

KINDS = {
    "email": KindClass.PERSON,
    "contact_id": KindClass.PERSON,
    "phone": KindClass.SHARED,
    "device_id": KindClass.SHARED,
    "call_id": KindClass.RECORD,
}


def table(
    match: dict[str, str], reveals: dict[str, str] | None = None, typed: str | None = None, one_per_person: bool = False
) -> Table:
    trust = {column: Trust.UNVERIFIED if column == typed else Trust.TRUSTED for column in (reveals or {}).values()}
    return Table(
        match=match,
        reveals={kind: Reveal(column=column, trust=trust[column]) for kind, column in (reveals or {}).items()},
        one_per_person=one_per_person,
        category="any",
        role=Role.CONTROLLER,
        erase=Delete(),
    )


TABLES = Tables(
    {
        "contact": table(
            {"email": "email", "phone": "phone", "contact_id": "id"},
            {"contact_id": "id", "email": "email"},
            one_per_person=True,
        ),
        "device": table({"contact_id": "contact_id", "device_id": "device_id"}, {"device_id": "device_id"}),
        "call": table({"phone": "phone", "email": "email"}, {"call_id": "id"}),
        "lead": table({"email": "email", "phone": "phone"}, {"email": "email", "contact_id": "id"}, typed="email"),
        "note": table({"call_id": "call_id"}, {"contact_id": "author"}),
        "visit": table({"device_id": "device_id"}),
    },
    KINDS,
)

ANNA, BOB = Identifier("email", "anna@x"), Identifier("email", "bob@x")
SEVEN, EIGHT = Identifier("contact_id", "7"), Identifier("contact_id", "8")
PHONE, TABLET, CALL = Identifier("phone", "+331"), Identifier("device_id", "d1"), Identifier("call_id", "c1")


@dataclass(frozen=True)
class R:
    """A row by its table and what stands in its columns."""

    table: str
    key: str
    values: dict[str, str | None]
    under_own: bool = False

    def match(self, known: Iterable[Identifier]) -> Match:
        its = TABLES.tables[self.table]
        columns = {*its.match.values(), *(reveal.column for reveal in its.reveals.values())}
        row = Row(self.table, (self.key,), dict.fromkeys(columns) | self.values)
        held = {(kind, row.values[column]) for kind, column in its.match.items()}
        by = {i: TABLES.trusts(self.table, i.kind) for i in known if (i.kind, i.value) in held}
        return Match(row, by, self.under_own)


def contact(id_: str, email: str | None = None, phone: str | None = None) -> R:
    return R("contact", id_, {"id": id_, "email": email, "phone": phone})


def device(key: str, contact_id: str | None, device_id: str = "d1") -> R:
    return R("device", key, {"contact_id": contact_id, "device_id": device_id})


def call(key: str, phone: str | None = "+331", email: str | None = None) -> R:
    return R("call", key, {"id": key, "phone": phone, "email": email})


def judged(known: Iterable[Identifier], rows: Iterable[R]) -> Judgement:
    known = frozenset(known)
    matches = [row.match(known) for row in rows]
    return judge(TABLES, known, [match for match in matches if match.by or match.under_own])


def own(judgement: Judgement) -> set[str]:
    return {match.row.key[0] for match in judgement.own}


def shared(identifier: Identifier, count: int = 1) -> Contested:
    return Contested(ConflictCode.SHARED_IDENTIFIER, identifier, "any", count)


def several(identifier: Identifier, count: int = 2) -> Contested:
    return Contested(ConflictCode.NOT_ONE_PERSON, identifier, "any", count)


@pytest.mark.parametrize(
    ("known", "rows", "expected", "contested"),
    [
        pytest.param(
            [ANNA], [contact("7", "anna@x")], {"7"}, [], id="a person identifier leads to an id not known yet"
        ),
        pytest.param(
            [ANNA, SEVEN], [contact("7", "other@x")], {"7"}, [], id="and to another address of the same person"
        ),
        pytest.param(
            [PHONE], [contact("7", "anna@x", "+331")], set(), [shared(PHONE)], id="a phone alone names nobody"
        ),
        pytest.param(
            [ANNA, SEVEN, PHONE],
            [contact("7", "anna@x", "+331"), contact("8", "bob@x", "+331")],
            {"7"},
            [shared(PHONE)],
            id="two colleagues on one switchboard",
        ),
        pytest.param(
            [ANNA, SEVEN, PHONE],
            [contact("7", "anna@x", "+331"), call("c1")],
            {"7", "c1"},
            [],
            id="a phone that only their contact has makes calls without an owner theirs",
        ),
        pytest.param(
            [ANNA, SEVEN, PHONE],
            [contact("7", "anna@x", "+331"), contact("8", "bob@x", "+331"), call("c1")],
            {"7"},
            [shared(PHONE), shared(PHONE)],
            id="a phone that two contacts have does not",
        ),
        pytest.param([PHONE], [call("c1")], set(), [shared(PHONE)], id="no table ties the phone to anybody"),
        pytest.param([ANNA, PHONE], [call("c1"), call("c2", email="anna@x")], {"c1", "c2"}, [], id="a call that does"),
        pytest.param(
            [ANNA, PHONE], [call("c1", email="bob@x")], set(), [shared(PHONE)], id="their phone under another's address"
        ),
        pytest.param(
            [SEVEN, TABLET], [device("a", "7"), device("b", "8")], {"a"}, [shared(TABLET)], id="a family's tablet"
        ),
        pytest.param(
            [SEVEN, TABLET],
            [device("a", "7"), device("b", "8"), R("visit", "v", {"device_id": "d1"})],
            {"a"},
            [shared(TABLET), shared(TABLET)],
            id="and its visits",
        ),
        pytest.param(
            [SEVEN, TABLET],
            [device("a", "7"), R("visit", "v", {"device_id": "d1"})],
            {"a", "v"},
            [],
            id="a device of their own, and its visits",
        ),
        pytest.param(
            [replace(TABLET, alone=True)],
            [R("visit", "v", {"device_id": "d1"})],
            {"v"},
            [],
            id="another store ties the device to them alone",
        ),
        pytest.param(
            [SEVEN, replace(TABLET, alone=False)],
            [device("a", "7"), R("visit", "v", {"device_id": "d1"})],
            {"a"},
            [shared(TABLET)],
            id="another store ties it to others too",
        ),
        pytest.param(
            [SEVEN, replace(TABLET, alone=True)],
            [device("b", "8"), R("visit", "v", {"device_id": "d1"})],
            set(),
            [shared(TABLET), shared(TABLET)],
            id="another store ties it to them alone, and this one to somebody else",
        ),
        pytest.param(
            [replace(PHONE, standing=Standing.CONFIRMED)],
            [contact("7", "anna@x", "+331"), call("c1", email="bob@x")],
            {"7", "c1"},
            [],
            id="a person confirmed the phone",
        ),
        pytest.param(
            [ANNA],
            [contact("7", "anna@x"), contact("8", "anna@x")],
            set(),
            [several(ANNA)],
            id="two contacts, one address",
        ),
        pytest.param(
            [ANNA, SEVEN],
            [contact("7", "anna@x"), contact("8", "anna@x"), call("c1", email="anna@x")],
            {"7"},
            [several(ANNA, 1), several(ANNA, 1)],
            id="the address is nobody's then, the id still is",
        ),
        pytest.param(
            [replace(ANNA, standing=Standing.CONFIRMED)],
            [contact("7", "anna@x"), contact("8", "anna@x")],
            {"7", "8"},
            [],
            id="a person confirmed the address",
        ),
        pytest.param(
            [ANNA, PHONE],
            [contact("7", "anna@x"), contact("8", "anna@x"), call("c1", email="anna@x")],
            set(),
            [several(ANNA), several(ANNA, 1)],
            id="a doubted address ties no phone",
        ),
        pytest.param(
            [ANNA], [R("lead", "l", {"email": "anna@x", "id": "8"})], set(), [shared(ANNA)], id="typed by somebody else"
        ),
        pytest.param([ANNA], [R("lead", "l", {"email": "anna@x"})], {"l"}, [], id="typed, and nobody else is named"),
        pytest.param(
            [ANNA, SEVEN], [R("lead", "l", {"email": "anna@x", "id": "7"})], {"l"}, [], id="typed into their own record"
        ),
        pytest.param(
            [SEVEN, PHONE],
            [contact("7", None, "+331"), R("lead", "l", {"email": "bob@x", "phone": "+331"})],
            {"7"},
            [shared(PHONE)],
            id="a typed address speaks against, too",
        ),
        pytest.param(
            [ANNA, PHONE],
            [R("lead", "l", {"email": "anna@x", "phone": "+331"}), call("c1")],
            {"l"},
            [shared(PHONE)],
            id="a typed address ties no phone",
        ),
        pytest.param([CALL], [R("note", "n", {"call_id": "c1"})], {"n"}, [], id="a record of theirs leads on"),
        pytest.param(
            [CALL],
            [R("note", "n", {"call_id": "c1", "author": "8"})],
            set(),
            [shared(CALL)],
            id="but not to another person",
        ),
        pytest.param(
            [CALL, SEVEN], [R("note", "n", {"call_id": "c1", "author": "7"})], {"n"}, [], id="unless it is the same"
        ),
        pytest.param(
            [], [R("note", "n", {}, under_own=True)], {"n"}, [], id="a row under theirs that names nobody is theirs"
        ),
        pytest.param(
            [], [R("note", "n", {"author": "8"}, under_own=True)], set(), [], id="one that names another is not theirs"
        ),
    ],
)
def test_rows_are_the_subjects_or_contested(
    known: list[Identifier], rows: list[R], expected: set[str], contested: list[Contested]
) -> None:
    judgement = judged(known, rows)

    assert own(judgement) == expected
    assert sum(c.count for c in judgement.contested) == sum(c.count for c in contested)
    assert {(c.code, c.identifier) for c in judgement.contested} == {(c.code, c.identifier) for c in contested}


def test_more_persons_than_one_chain_can_have_are_nobodys() -> None:
    info = Identifier("email", "info@x")
    rows = [R("call", f"c{n}", {"id": f"c{n}", "email": "info@x"}) for n in range(PERSONS + 2)]
    leads = [R("lead", f"l{n}", {"email": "info@x", "id": str(n)}) for n in range(PERSONS)]
    ids = [Identifier("contact_id", str(n)) for n in range(PERSONS)]

    assert own(judged([info], rows)) == {row.key for row in rows}
    assert own(judged([info, *ids[:-1]], [*rows, *leads[:-1]])) == {row.key for row in [*rows, *leads[:-1]]}
    endless = judged([info, *ids], [*rows, *leads])
    assert own(endless) == set()
    assert {c.code for c in endless.contested} == {ConflictCode.NOT_ONE_PERSON}
    assert sum(c.count for c in endless.contested) == len(rows) + len(leads)
    assert endless.revealed == set()


def test_reveals_what_rows_of_theirs_say_and_whose_the_shared_ones_are() -> None:
    judgement = judged(
        [ANNA, SEVEN, PHONE, TABLET],
        [
            contact("7", "anna@x", "+331"),
            contact("8", "bob@x", "+331"),
            device("a", "7"),
            R("lead", "l", {"email": "typed@x", "id": "7", "phone": "+331"}),
        ],
    )

    said = {(i.kind, i.value): (i.standing, i.alone) for i in judgement.revealed}
    assert said == {
        ("email", "anna@x"): (Standing.TRUSTED, None),
        ("contact_id", "7"): (Standing.TRUSTED, None),
        ("device_id", "d1"): (Standing.TRUSTED, True),
        ("phone", "+331"): (Standing.TRUSTED, False),
    }


def test_what_is_typed_freely_is_revealed_as_unverified() -> None:
    judgement = judged([ANNA], [R("lead", "l", {"email": "anna@x"}), R("lead", "m", {"email": "anna@x"})])
    assert {(i, i.standing) for i in judgement.revealed} == {(ANNA, Standing.UNVERIFIED)}


_VALUE = st.sampled_from(["1", "2", "3"]) | st.none()
_ROWS = st.lists(
    st.one_of(
        st.builds(contact, st.sampled_from(["1", "2", "3"]), _VALUE, _VALUE),
        st.builds(device, st.sampled_from(["a", "b", "c"]), _VALUE, st.sampled_from(["1", "2"])),
        st.builds(call, st.sampled_from(["x", "y", "z"]), _VALUE, _VALUE),
    ),
    unique_by=lambda row: (row.table, row.key),
)
_KNOWN = st.sets(st.builds(Identifier, st.sampled_from(sorted(KINDS)), st.sampled_from(["1", "2", "3"])))


@given(_KNOWN, _KNOWN, _ROWS)
def test_knowing_more_never_takes_a_row_away(known: set[Identifier], more: set[Identifier], rows: list[R]) -> None:
    assert own(judged(known, rows)) <= own(judged(known | more, rows))


@given(_KNOWN, _ROWS)
def test_no_row_that_names_only_others_is_taken(known: set[Identifier], rows: list[R]) -> None:
    judgement = judged(known, rows)

    for match in judgement.own:
        owners = {owner for owner, _ in TABLES.owners(match.row)}
        assert not owners or owners & known
    counted = len(judgement.own) + sum(c.count for c in judgement.contested)
    assert counted == len([row for row in rows if row.match(known).by])

"""What erasing does to a row, in which order, and what makes a database unfit for it."""

from datetime import date, timedelta
from graphlib import CycleError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connectors.port import Terminal, Transient
from services.connectors.postgres.catalog import Catalog, Column, ForeignKey, LiveTable, OnDelete
from services.connectors.postgres.database import failure
from services.connectors.postgres.faults import faults, slow
from services.connectors.postgres.ownership import Row, Tables
from services.connectors.postgres.plan import Act, Fate, fate, order
from services.connectors.postgres.statements import can_hold
from services.kit.inventory import Anonymise, Delete, KindClass, Retain, Role, Table
from services.kit.inventory.model import Rule

TODAY = date(2026, 6, 1)
RETAIN = Retain(basis="law", years=10, from_="issued_on", to_year_end=True, anonymise=("name",))
KINDS = {"email": KindClass.PERSON, "contact_id": KindClass.PERSON}


def table(erase: Rule, match: dict[str, str] | None = None, reveals: dict[str, str] | None = None) -> Table:
    return Table.model_validate(
        {
            "match": match or {"contact_id": "contact_id"},
            "reveals": reveals or {},
            "category": "any",
            "role": Role.CONTROLLER,
            "erase": erase,
        }
    )


def row(start: date | None = None, *, emptied: bool = False) -> Row:
    return Row("any", ("1",), {}, start, emptied)


@pytest.mark.parametrize(
    ("erase", "its", "expected"),
    [
        (Delete(), row(), Fate(Act.DELETE)),
        (Anonymise(anonymise=("name",)), row(), Fate(Act.EMPTY)),
        (Anonymise(anonymise=("name",)), row(emptied=True), Fate(Act.NOTHING)),
        (RETAIN, row(date(2020, 1, 1)), Fate(Act.EMPTY, "law", date(2030, 12, 31))),
        (RETAIN, row(date(2020, 1, 1), emptied=True), Fate(Act.NOTHING, "law", date(2030, 12, 31))),
        (RETAIN, row(date(2016, 1, 1)), Fate(Act.EMPTY, "law", date(2026, 12, 31))),
        (RETAIN, row(date(2015, 12, 31), emptied=True), Fate(Act.DELETE)),
    ],
)
def test_what_there_is_to_do_with_a_row(erase: Rule, its: Row, expected: Fate) -> None:
    assert fate(table(erase), its, TODAY) == expected


def test_the_last_day_of_a_term_still_keeps_the_row() -> None:
    rule = RETAIN.model_copy(update={"to_year_end": False})
    start = date(2016, 6, 1)

    assert fate(table(rule), row(start), TODAY).until == TODAY
    assert fate(table(rule), row(start), TODAY + timedelta(days=1)) == Fate(Act.DELETE)


@pytest.mark.parametrize("start", [None, date.max])
def test_a_term_without_a_beginning_is_for_a_person(start: date | None) -> None:
    with pytest.raises(Terminal, match="no_retention_date"):
        fate(table(RETAIN), row(start), TODAY)


def live(*columns: str, key: tuple[str, ...] = ("id",), type_: str = "bigint", not_null: bool = False) -> LiveTable:
    return LiveTable({name: Column(type_, not_null) for name in ("id", *columns)}, key, frozenset({"id", *columns}))


def foreign_key(child: str, parent: str, on_delete: OnDelete = OnDelete.NO_ACTION, column: str = "up") -> ForeignKey:
    return ForeignKey(child, (column,), parent, ("id",), on_delete)


def test_dependants_go_first() -> None:
    tables = Tables(
        {
            "contact": table(Delete(), {"email": "email"}, {"contact_id": "id"}),
            "invoice": table(Delete()),
            "orders": table(Delete()),
            "line": table(Delete(), {"email": "email"}),
        },
        KINDS,
    )
    catalog = Catalog({}, (foreign_key("line", "orders"), foreign_key("orders", "contact")))

    names = order(tables, catalog)

    assert names.index("line") < names.index("orders") < names.index("contact")
    assert names.index("invoice") < names.index("contact")


def test_a_foreign_key_weighs_more_than_what_tables_reveal_to_each_other() -> None:
    tables = Tables(
        {
            "contact": table(Delete(), {"email": "email"}, {"contact_id": "id"}),
            "alias": table(Delete(), {"contact_id": "contact_id"}, {"email": "email"}),
        },
        KINDS,
    )

    assert order(tables, Catalog({}, (foreign_key("alias", "contact"),))) == ["alias", "contact"]
    assert order(tables, Catalog({}, (foreign_key("contact", "alias"),))) == ["contact", "alias"]


def test_foreign_keys_in_a_circle_have_no_order() -> None:
    tables = Tables({"a": table(Delete()), "b": table(Delete())}, KINDS)

    with pytest.raises(CycleError):
        order(tables, Catalog({}, (foreign_key("a", "b"), foreign_key("b", "a"))))


BOTH = {"contact": live("contact_id"), "invoice": live("contact_id", "up", "name", "issued_on")}


@pytest.mark.parametrize(
    ("child", "key", "expected"),
    [
        (Delete(), foreign_key("invoice", "contact"), []),
        (Delete(), foreign_key("invoice", "contact", OnDelete.CASCADE), []),
        (Delete(), foreign_key("undeclared", "contact"), []),
        (Delete(), foreign_key("undeclared", "contact", OnDelete.SET_NULL), []),
        (Delete(), foreign_key("undeclared", "contact", OnDelete.CASCADE), ["uncounted_cascade"]),
        (Delete(), foreign_key("contact", "contact", OnDelete.CASCADE), ["uncounted_cascade"]),
        (Delete(), foreign_key("contact", "contact"), []),
        (RETAIN, foreign_key("invoice", "contact"), ["kept_under_deleted"]),
        (RETAIN, foreign_key("invoice", "contact", OnDelete.CASCADE), ["kept_under_deleted"]),
        (RETAIN, foreign_key("invoice", "contact", OnDelete.SET_NULL), []),
        (RETAIN, foreign_key("invoice", "contact", OnDelete.SET_NULL, column="contact_id"), ["kept_under_deleted"]),
        (Anonymise(anonymise=("name",)), foreign_key("invoice", "contact"), ["kept_under_deleted"]),
    ],
)
def test_deleting_a_parent_takes_nothing_uncounted_and_nothing_kept(
    child: Rule, key: ForeignKey, expected: list[str]
) -> None:
    tables = Tables({"contact": table(Delete()), "invoice": table(child)}, KINDS)

    found = faults(tables, Catalog(BOTH, (key,)))

    assert [fault.code for fault in found] == expected
    assert all(" or " in fault.problem.fix or key.child == key.parent for fault in found)


def test_what_is_missing_is_told_before_what_is_wrong() -> None:
    tables = Tables({"contact": table(Delete()), "invoice": table(RETAIN), "gone": table(Delete())}, KINDS)
    catalog = Catalog({"contact": live("contact_id", key=()), "invoice": live("contact_id", "name")})

    found = faults(tables, catalog)

    assert [(fault.code, fault.problem.where) for fault in found] == [
        ("missing_column", "invoice.issued_on"),
        ("missing_table", "gone"),
    ]


@pytest.mark.parametrize(
    ("its", "expected"),
    [
        (live("contact_id", "name", "issued_on", key=()), ["no_key"]),
        (live("contact_id", "name", "issued_on", type_="jsonb", not_null=True), ["unsearchable", "unemptiable"]),
        (live("contact_id", "name", "issued_on", type_="jsonb"), ["unsearchable"]),
        (live("contact_id", "name", "issued_on", not_null=True), []),
    ],
)
def test_a_table_that_can_not_be_erased_from_is_named(its: LiveTable, expected: list[str]) -> None:
    found = faults(Tables({"invoice": table(RETAIN)}, KINDS), Catalog({"invoice": its}))

    assert [fault.code.removesuffix("_column") for fault in found] == expected


def test_searches_that_read_a_whole_table_are_named() -> None:
    indexed = LiveTable(live("contact_id", "up").columns, ("id",), frozenset({"id"}))
    catalog = Catalog({"invoice": indexed}, (foreign_key("invoice", "contact"),))

    problems = slow(Tables({"invoice": table(Delete())}, KINDS), catalog)

    assert [problem.where for problem in problems] == ["invoice.contact_id", "invoice.up"]


@pytest.mark.parametrize(
    ("type_", "value", "holds"),
    [
        ("text", "anna@x", True),
        ("text", "a\0b", False),
        ("citext", "\ud800", False),
        ("integer", "7", True),
        ("integer", "-7", True),
        ("integer", "07", False),
        ("integer", "7 ", False),
        ("integer", "1_0", False),
        ("integer", "\u0667", False),
        ("integer", "anna@x", False),
        ("integer", "2147483648", False),
        ("bigint", "2147483648", True),
        ("bigint", "9223372036854775808", False),
        ("uuid", "6DA23D9F-b4f2-4b88-b687-3b0611732bd1", True),
        ("uuid", "6da23d9fb4f24b88b6873b0611732bd1", False),
        ("uuid", "urn:uuid:6da23d9f-b4f2-4b88-b687-3b0611732bd1", False),
    ],
)
def test_a_column_is_searched_only_by_what_it_can_hold(type_: str, value: str, holds: bool) -> None:
    assert can_hold(type_, value) is holds


@given(st.text())
def test_any_text_at_all_can_be_asked_about(value: str) -> None:
    for type_ in ("text", "bigint", "uuid"):
        can_hold(type_, value)


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("40001", Transient("postgres_40001")),
        ("40P01", Transient("deadlock")),
        ("55P03", Transient("lock_not_got")),
        ("57014", Transient("timed_out")),
        ("08006", Transient("postgres_08006")),
        ("53300", Transient("postgres_53300")),
        ("42P01", Terminal("missing_table")),
        ("42703", Terminal("missing_column")),
        ("42501", Terminal("insufficient_privilege")),
        ("23503", Terminal("referenced")),
        ("23514", Terminal("postgres_23514")),
        ("28P01", Terminal("refused_credential")),
        ("P0001", Terminal("postgres_p0001")),
    ],
)
def test_an_error_of_the_server_says_what_may_mend_it(sqlstate: str, expected: Transient | Terminal) -> None:
    found = failure(sqlstate)

    assert (type(found), found.code) == (type(expected), expected.code)

"""What the command says to a person."""

from datetime import date

import pytest

from contracts.status import StoreStatus
from services.cli import show
from services.cli.failures import WrongUsage
from services.cli.publish import typed
from tests.support.console import asking, status_document

STORE = StoreStatus.model_validate(
    {
        "store": "app", "state": "erased", "asked_with": ["email"], "found": {"customers": 1, "usage": 0},
        "attempts": 2,
        "retained": [{"category": "billing", "count": 2, "basis": "L123-22", "until": date(2036, 12, 31)}],
        "locked": [{"category": "recordings", "count": 1, "until": None}],
    }
)  # fmt: skip


def test_a_request_in_full() -> None:
    document = status_document(stores=[STORE], days_left=28, informed_on="2026-11-03")
    summary, dates, columns, store = show.status(document).splitlines()
    assert summary == f"{document.request_id}: erasure for acme, erasing"
    assert dates == "received 2026-11-01, due 2026-12-01, 28 days left; the person was told on 2026-11-03"
    assert columns.split() == ["store", "state", "asked", "with", "found", "retained", "attempts"]
    assert " customers 1 " in store
    assert store.endswith("billing 2 until 2036-12-31, recordings 1 locked until lifted  2")


def test_a_request_in_one_line() -> None:
    stuck = STORE.model_copy(update={"error": "no_answer"})
    document = asking("store_failed", "retry").model_copy(update={"stores": (stuck,)})
    assert show.line(document) == "needs_attention needs:store_failed app=no_answer"


def test_what_an_entry_holds() -> None:
    assert show.plain({"found": {"usage": 3, "billing": 0}, "asked_with": ["email", "phone"], "round": 2}) == (
        "found usage 3, asked_with email phone, round 2"
    )


def test_columns_without_anything_are_left_out() -> None:
    assert show.table(("a", "b"), [("1", None), ("22", "")]) == "a\n1\n22"


@pytest.mark.parametrize("wrong", ["email", "=x", "email=", "E MAIL=x"])
def test_a_typed_identifier_that_is_none_is_not_quoted(wrong: str) -> None:
    with pytest.raises(WrongUsage) as refused:
        typed((), (), (wrong,))
    assert wrong not in refused.value.message


def test_typed_identifiers() -> None:
    found = typed(("a@example.org",), ("+33",), ("contact_id=7=8",))
    assert [(given.kind, given.value) for given in found] == [
        ("email", "a@example.org"), ("phone", "+33"), ("contact_id", "7=8"),
    ]  # fmt: skip

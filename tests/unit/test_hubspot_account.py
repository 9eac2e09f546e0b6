"""What time does in the HubSpot simulator: index lag, deletions, recycle bin, rate limits."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from deploy.simulators.hubspot.account import Account
from deploy.simulators.hubspot.disk import Disk
from deploy.simulators.hubspot.errors import VendorError
from deploy.simulators.hubspot.limits import RateLimits
from deploy.simulators.hubspot.record import Record
from deploy.simulators.hubspot.search import Search
from tests.support.port import NOW, StillClock

LAG, BOUND, MOMENT = timedelta(seconds=10), timedelta(days=30), timedelta(milliseconds=1)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def account(tmp_path: Path, clock: StillClock) -> Account:
    return Account(Disk(tmp_path / "state"), clock, BOUND, LAG)


def contact(account: Account, **properties: str) -> Record:
    (made,) = account.create("contacts", [properties], [[]])
    return made


def indexed(account: Account) -> list[Mapping[str, str]]:
    return [content for _, content in account.index("contacts")]


def test_the_index_shows_what_was_true_a_lag_ago(account: Account, clock: StillClock) -> None:
    made = contact(account, email="ada@example.org")
    assert indexed(account) == []
    clock.at += LAG
    account.update("contacts", [(made.id, {"email": "lovelace@example.org"})])
    assert [content["email"] for content in indexed(account)] == ["ada@example.org"]
    clock.at += LAG
    assert [content["email"] for content in indexed(account)] == ["lovelace@example.org"]
    account.archive("contacts", [made.id])
    assert len(indexed(account)) == 1
    clock.at += LAG
    assert indexed(account) == []


def test_a_gdpr_deletion_ends_at_its_bound_however_often_it_is_ordered(account: Account, clock: StillClock) -> None:
    made = contact(account, email="ada@example.org")
    account.gdpr_delete(made.id, None)
    clock.at += BOUND - MOMENT
    account.gdpr_delete("ADA@example.org", "email")
    assert account.read("contacts", made.id)
    clock.at += MOMENT
    assert account.read("contacts", made.id) is None
    assert indexed(account) == []


def test_the_recycle_bin_keeps_ninety_days(account: Account, clock: StillClock) -> None:
    made = contact(account, email="ada@example.org")
    account.archive("contacts", [made.id])
    assert contact(account, email="ada@example.org").id != made.id
    clock.at += timedelta(days=90) - MOMENT
    assert account.read("contacts", made.id, archived=True)
    clock.at += MOMENT
    assert account.read("contacts", made.id, archived=True) is None


def test_a_batch_is_created_whole_or_not_at_all(account: Account) -> None:
    twice = {"email": "ada@example.org"}
    with pytest.raises(VendorError):
        account.create("contacts", [twice, twice], [[], []])
    assert account.all("contacts") == []


def test_a_burst_passes_and_the_day_begins_anew_at_midnight() -> None:
    limits = RateLimits(per_ten_seconds=2, per_day=3, searches_per_second=1)
    limits.admit(NOW, search=False)
    limits.admit(NOW, search=False)
    assert refused(limits, NOW + timedelta(seconds=9.9)) == "TEN_SECONDLY_ROLLING"
    limits.admit(NOW + timedelta(seconds=10), search=True)
    assert refused(limits, NOW + timedelta(hours=14, minutes=59)) == "DAILY"
    limits.admit(NOW + timedelta(hours=15), search=True)
    assert refused(limits, NOW + timedelta(hours=15, seconds=0.9), search=True) == "SECONDLY"


def refused(limits: RateLimits, now: datetime, *, search: bool = False) -> object:
    with pytest.raises(VendorError) as caught:
        limits.admit(now, search=search)
    return caught.value.body()["policyName"]


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ({"operator": "EQ", "value": "ADA@example.org"}, True),
        ({"operator": "NEQ", "value": "ada@example.org"}, False),
        ({"operator": "IN", "values": ["ada@example.org"]}, True),
        ({"operator": "IN", "values": ["ADA@example.org"]}, False),
        ({"operator": "NOT_IN", "values": ["ada@example.org"]}, False),
        ({"operator": "HAS_PROPERTY"}, True),
        ({"operator": "NOT_HAS_PROPERTY"}, False),
        ({"operator": "CONTAINS_TOKEN", "value": "example.org"}, True),
        ({"operator": "CONTAINS_TOKEN", "value": "exam"}, False),
        ({"operator": "NOT_CONTAINS_TOKEN", "value": "exam"}, True),
    ],
)
def test_operators(condition: Mapping[str, object], met: bool) -> None:
    search = Search.model_validate({"filterGroups": [{"filters": [{"propertyName": "email", **condition}]}]})
    assert search.met_by({"email": "ada@example.org"}) == met

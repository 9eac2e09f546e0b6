"""The legal deadline: tables from Regulation 1182/71 and the EDPB's examples, and what holds for every date."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.saga.deadline import (
    Calendar,
    Suspension,
    contract_deadline,
    legal_deadline,
    receipt_date,
)
from services.kit.calendars import ELSEWHERE, ZONES, zone_of


def calendar(code: str) -> Calendar:
    return Calendar(code, zone_of(code))


FR = calendar("FR")


def day(text: str) -> date:
    return date.fromisoformat(text)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("received", "strict", "due"),
    [
        ("2026-03-05", "2026-04-05", "2026-04-07"),  # Easter Sunday, then Easter Monday
        ("2026-08-31", "2026-09-30", "2026-09-30"),  # 31 September does not exist
        ("2026-01-31", "2026-02-28", "2026-03-02"),  # ... a Saturday
        ("2026-01-30", "2026-02-28", "2026-03-02"),
        ("2028-01-31", "2028-02-29", "2028-02-29"),  # leap year
        ("2026-02-28", "2026-03-28", "2026-03-30"),  # the same date, not the month's last day
        ("2026-11-01", "2026-12-01", "2026-12-01"),  # received on a Sunday and holiday: the period starts all the same
        ("2026-11-25", "2026-12-25", "2026-12-28"),  # Christmas, a Friday, and the weekend
        ("2026-12-01", "2027-01-01", "2027-01-04"),  # across the year
        ("2027-04-01", "2027-05-01", "2027-05-03"),  # Labour Day, a Saturday
        ("2026-04-14", "2026-05-14", "2026-05-15"),  # Ascension: one day, the Friday is a working day
    ],
)
def test_one_month(received: str, strict: str, due: str) -> None:
    it = legal_deadline(day(received), FR)
    assert (it.strict_due_on, it.due_on) == (day(strict), day(due))


@pytest.mark.parametrize(
    ("received", "strict", "due"),
    [
        ("2026-03-05", "2026-06-05", "2026-06-05"),  # not 7 June: from receipt, not from the rolled 7 April
        ("2026-11-30", "2027-02-28", "2027-03-01"),
        ("2026-01-31", "2026-04-30", "2026-04-30"),  # not 28 April: from receipt, not from the first date
        ("2026-08-31", "2026-11-30", "2026-11-30"),
    ],
)
def test_extended_runs_three_months_from_receipt(received: str, strict: str, due: str) -> None:
    it = legal_deadline(day(received), FR, extended=True)
    assert (it.strict_due_on, it.due_on) == (day(strict), day(due))


@pytest.mark.parametrize(
    ("code", "received", "due"),
    [
        ("FR", "2026-11-26", "2026-12-28"),  # 26 December is a Saturday in 2026
        ("FR", "2025-11-26", "2025-12-26"),
        ("FR-57", "2025-11-26", "2025-12-29"),  # Saint Stephen's in Moselle
        ("FR", "2026-03-03", "2026-04-03"),
        ("FR-57", "2026-03-03", "2026-04-07"),  # Good Friday in Moselle
        ("DE", "2026-03-03", "2026-04-07"),
        ("DE", "2027-05-27", "2027-06-28"),
        ("DE-BE", "2027-02-08", "2027-03-09"),  # Women's Day, Berlin only
        ("DE-BY", "2027-02-08", "2027-03-08"),
        ("NO", "2027-04-17", "2027-05-18"),  # Constitution Day: 'NO' is Norway
    ],
)
def test_holidays_are_the_controllers(code: str, received: str, due: str) -> None:
    assert legal_deadline(day(received), calendar(code)).due_on == day(due)


@pytest.mark.parametrize(
    ("asks", "due"),
    [
        ([], "2026-07-08"),
        ([("2026-06-09", "2026-06-15")], "2026-07-15"),  # 6 days: 14 July, the national day, rolls
        ([("2026-06-08", "2026-06-18")], "2026-07-20"),  # 10 days: Saturday 18 July rolls after they are added
        ([("2026-06-11", "2026-06-12")], "2026-07-09"),  # third working day: still prompt
        ([("2026-06-12", "2026-06-30")], "2026-07-08"),  # fourth: not prompt, suspends nothing
        ([("2026-06-05", "2026-06-30")], "2026-07-08"),  # before receipt: nothing to suspend
        ([("2026-06-09", "2026-06-11"), ("2026-06-10", "2026-06-12")], "2026-07-13"),  # overlap counts once: 3 days
        ([("2026-06-09", "2026-06-09")], "2026-07-08"),  # answered the same day
    ],
)
def test_only_a_prompt_ask_suspends(asks: list[tuple[str, str]], due: str) -> None:
    it = legal_deadline(day("2026-06-08"), FR, suspensions=[Suspension(day(a), day(b)) for a, b in asks])
    assert it.due_on == day(due)
    assert it.strict_due_on == day("2026-07-08")


def test_a_weekend_is_no_delay_in_asking() -> None:
    friday = day("2026-06-05")
    it = legal_deadline(friday, FR, suspensions=[Suspension(day("2026-06-10"), day("2026-06-11"))])
    assert it.due_on == day("2026-07-06")


def test_a_suspension_cannot_end_before_it_begins() -> None:
    with pytest.raises(ValueError, match="2026-06-09"):
        Suspension(day("2026-06-10"), day("2026-06-09"))


@pytest.mark.parametrize(
    ("code", "received", "due_at"),
    [
        ("FR", "2026-11-01", "2026-12-01T23:00Z"),  # winter time
        ("FR", "2026-06-01", "2026-07-01T22:00Z"),  # summer time
        ("FR", "2027-02-26", "2027-03-26T23:00Z"),  # the clock changes two days later
        ("FR", "2027-02-28", "2027-03-30T22:00Z"),  # Sunday of the change, then Easter Monday
        ("FR-974", "2026-11-01", "2026-12-01T20:00Z"),
        ("IE", "2026-11-01", "2026-12-02T00:00Z"),
    ],
)
def test_the_last_hour_is_local(code: str, received: str, due_at: str) -> None:
    it = legal_deadline(day(received), calendar(code))
    assert (it.due_at, it.due_at.tzinfo) == (at(due_at), UTC)


def test_a_midnight_that_the_clock_skips_still_ends_the_day() -> None:
    azores = calendar("PT-20")  # on 28 March 2027 the clock goes from 00:00 to 01:00
    assert azores.end_of(day("2027-03-27")) == at("2027-03-28T01:00Z")


@pytest.mark.parametrize(
    ("instant", "code", "expected"),
    [
        ("2026-11-01T22:59:59Z", "FR", "2026-11-01"),
        ("2026-11-01T23:30:00Z", "FR", "2026-11-02"),
        ("2026-07-01T22:00:00Z", "FR", "2026-07-02"),
        ("2026-07-01T23:30:00-04:00", "DE", "2026-07-02"),
    ],
)
def test_receipt_is_a_local_date(instant: str, code: str, expected: str) -> None:
    assert receipt_date(at(instant), calendar(code)) == day(expected)


def test_receipt_needs_an_aware_moment() -> None:
    with pytest.raises(ValueError, match="time zone"):
        receipt_date(at("2026-11-01T12:00:00"), FR)


@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        ("2026-04-05T21:59:59Z", True),
        ("2026-04-05T22:00:00Z", False),  # the strict first date, a Sunday, is over; the law's rolled one is not
        ("2026-04-06T12:00:00Z", False),
    ],
)
def test_an_extension_counts_only_within_the_strict_first_month(now: str, allowed: bool) -> None:
    assert legal_deadline(day("2026-03-05"), FR).extension_allowed(at(now)) is allowed


def test_there_is_one_extension() -> None:
    assert not legal_deadline(day("2026-03-05"), FR, extended=True).extension_allowed(at("2026-03-06T00:00Z"))


def test_a_contract_term_is_neither_rolled_nor_extended() -> None:
    it = contract_deadline(day("2026-11-01"), calendar("DE"), 20)
    assert it.strict_due_on == it.due_on == day("2026-11-21")  # a Saturday
    assert it.due_at == it.strict_due_at == at("2026-11-21T23:00Z")
    assert not it.extension_allowed(at("2026-11-02T00:00Z"))


def test_warnings_come_before_the_strict_date() -> None:
    it = legal_deadline(day("2026-03-05"), FR)
    assert it.warn_at == (at("2026-03-25T23:00Z"), at("2026-03-30T22:00Z"), at("2026-04-03T22:00Z"))


def test_a_short_term_has_no_warning_before_receipt() -> None:
    assert contract_deadline(day("2026-11-02"), FR, 5).warn_at == (at("2026-11-05T23:00Z"),)


@pytest.mark.parametrize("code", ["XX", "fr", "US", "", "False"])
def test_an_unknown_calendar_says_what_to_write(code: str) -> None:
    with pytest.raises(ValueError, match=r"FR.*FR-57"):
        zone_of(code)


def test_an_unknown_part_of_a_country_says_what_to_write() -> None:
    with pytest.raises(ValueError, match="write 'DE'"):
        zone_of("DE-XX")


@pytest.mark.parametrize("code", [*ZONES, *ELSEWHERE])
def test_every_calendar_has_its_clock_and_its_holidays(code: str) -> None:
    assert not calendar(code).is_working_day(day("2027-01-01"))


def test_a_part_of_a_country_may_have_its_own_clock() -> None:
    assert zone_of("FR-971") == ZoneInfo("America/Guadeloupe")
    assert zone_of("FR-57") == ZoneInfo("Europe/Paris")


DATES = st.dates(date(2018, 5, 25), date(2090, 1, 1))
CALENDARS = st.sampled_from(["FR", "FR-57", "FR-974", "DE", "DE-BY", "NO", "IE", "PT-20", "SE"]).map(calendar)


@st.composite
def suspensions(draw: st.DrawFn, received_on: date) -> list[Suspension]:
    asks = draw(st.lists(st.tuples(st.integers(-3, 40), st.integers(0, 60)), max_size=3))
    return [
        Suspension(received_on + timedelta(days=asked), received_on + timedelta(days=asked + length))
        for asked, length in asks
    ]


@given(DATES, CALENDARS, st.booleans(), st.data())
def test_for_every_receipt(received_on: date, where: Calendar, extended: bool, data: st.DataObject) -> None:
    asks = data.draw(suspensions(received_on))
    it = legal_deadline(received_on, where, extended=extended, suspensions=asks)

    months = (it.strict_due_on.year - received_on.year) * 12 + it.strict_due_on.month - received_on.month
    last_of_month = monthrange(it.strict_due_on.year, it.strict_due_on.month)[1]
    assert months == (3 if extended else 1)
    assert it.strict_due_on.day == min(received_on.day, last_of_month)

    assert where.is_working_day(it.due_on)
    assert it.strict_due_on <= it.due_on
    suspended = sum(length.days for length in (ask.until - ask.asked_on for ask in asks))
    assert it.due_on - it.strict_due_on <= timedelta(days=suspended + 14)

    assert receipt_date(it.due_at, where) == it.due_on + timedelta(days=1)
    assert receipt_date(it.due_at - timedelta(microseconds=1), where) == it.due_on
    assert sorted(it.warn_at) == list(it.warn_at)
    assert all(received_on < receipt_date(moment, where) < it.strict_due_on for moment in it.warn_at)


@given(DATES, CALENDARS)
def test_without_suspension_only_days_off_are_skipped(received_on: date, where: Calendar) -> None:
    it = legal_deadline(received_on, where)
    skipped = [it.strict_due_on + timedelta(days=n) for n in range((it.due_on - it.strict_due_on).days)]
    assert not any(where.is_working_day(day) for day in skipped)


@given(DATES, DATES, CALENDARS)
def test_who_asks_earlier_is_never_due_later(one: date, other: date, where: Calendar) -> None:
    first, second = sorted([one, other])
    assert legal_deadline(first, where).due_at <= legal_deadline(second, where).due_at


@given(DATES, CALENDARS)
def test_the_extension_closes_with_the_strict_first_month(received_on: date, where: Calendar) -> None:
    it = legal_deadline(received_on, where)
    assert it.extension_allowed(it.strict_due_at - timedelta(microseconds=1))
    assert not it.extension_allowed(it.strict_due_at)

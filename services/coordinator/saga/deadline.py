"""When a request must be answered. Pure: the time is handed in.

One month from receipt (GDPR Art. 12(3)), reckoned by Regulation (EEC, Euratom) 1182/71:

- the period ends with the last hour of the same date one month on, or of that month's last day where the date is
  missing (Art. 3(2)(c)): received 5 March, due to the end of 5 April; received 31 August, to the end of 30 September;
- a last day on a Saturday, a Sunday or a public holiday of the member state moves to the next working day (Art. 3(4));
- receipt and last hour are the controller's local time.

Some read the regulation one day later; the earlier date is taken. Two dates stand side by side: `due_on` is the law's
last day, `strict_due_on` the same unrolled and unsuspended. Alerts go by the strict one, so that nobody relies on a
holiday table.
"""

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import holidays

WARN_DAYS_BEFORE: Final = (10, 5, 1)
"""Warnings come at the start of the day so many days before the strict date."""

PROMPT_WORKING_DAYS: Final = 3
"""An ask for identity evidence suspends the clock only if made so soon after receipt. Neither law nor guidelines name a
number ("without undue delay", EDPB 01/2022, 5.3); this is the house's policy."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Where a controller is established: its public holidays (`FR`, `DE-BY`) and its clock."""

    code: str
    zone: ZoneInfo

    def is_working_day(self, day: date) -> bool:
        """False on Saturdays, Sundays and public holidays."""
        return day.isoweekday() <= 5 and day not in _public_holidays(self.code)

    def end_of(self, day: date) -> datetime:
        """The moment (UTC) at which a local day's last hour expires: from here on it is too late."""
        return datetime.combine(day + timedelta(days=1), time.min, self.zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Suspension:
    """The clock stood still in `[asked_on, until)`, local dates: evidence of identity was asked for, on a stated doubt.

    Give an ask that is not answered yet today's date as `until`. Nothing else suspends; a hold does not.
    Raises `ValueError` if it ends before it begins.
    """

    asked_on: date
    until: date

    def __post_init__(self) -> None:
        if self.until < self.asked_on:
            raise ValueError(f"a suspension can't end on {self.until}, before it begins on {self.asked_on}")


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a request must be answered. Dates are local to the controller, moments are in UTC and exclusive."""

    received_on: date
    strict_due_on: date
    """Unrolled and unsuspended: what alerts and priorities go by."""
    strict_due_at: datetime
    due_on: date
    """The law's last day: suspended days added, then rolled to a working day. Never before `strict_due_on`."""
    due_at: datetime
    """From here on the deadline is breached."""
    warn_at: tuple[datetime, ...]
    """When to warn, in order; those that would fall on or before the day of receipt are left out."""
    extendable_until: datetime | None
    """None: no (further) extension. A refusal must be told before the same moment (GDPR Art. 12(4))."""

    def extension_allowed(self, now: datetime) -> bool:
        """True if an extension is valid whose reason and whose notice to the person are recorded at `now`."""
        return self.extendable_until is not None and now < self.extendable_until


def receipt_date(instant: datetime, calendar: Calendar) -> date:
    """The local day on which something arrived. `instant` is aware; raises `ValueError` otherwise."""
    if instant.tzinfo is None:
        raise ValueError("the moment of receipt needs a time zone")
    return instant.astimezone(calendar.zone).date()


def legal_deadline(
    received_on: date, calendar: Calendar, *, extended: bool = False, suspensions: Iterable[Suspension] = ()
) -> Deadline:
    """One month from receipt; if `extended`, three months from receipt (not two from the rolled first date)."""
    first = _months_on(received_on, 1)
    strict = _months_on(received_on, 3) if extended else first
    suspended = timedelta(days=_suspended_days(received_on, calendar, suspensions))
    return _deadline(
        received_on,
        calendar,
        strict_due_on=strict,
        due_on=_working_day_from(strict + suspended, calendar),
        extendable_until=None if extended else calendar.end_of(first),
    )


def contract_deadline(received_on: date, calendar: Calendar, term_days: int) -> Deadline:
    """A processor's term: so many calendar days from receipt, as the contract with the customer says.

    The regulation does not govern contracts, so nothing rolls it; extending and asking for evidence are the
    customer's (the controller's) business, so nothing extends or suspends it.
    """
    due_on = received_on + timedelta(days=term_days)
    return _deadline(received_on, calendar, strict_due_on=due_on, due_on=due_on, extendable_until=None)


def _deadline(
    received_on: date, calendar: Calendar, *, strict_due_on: date, due_on: date, extendable_until: datetime | None
) -> Deadline:
    warn_on = (strict_due_on - timedelta(days=days) for days in WARN_DAYS_BEFORE)
    return Deadline(
        received_on=received_on,
        strict_due_on=strict_due_on,
        strict_due_at=calendar.end_of(strict_due_on),
        due_on=due_on,
        due_at=calendar.end_of(due_on),
        warn_at=tuple(calendar.end_of(day - timedelta(days=1)) for day in warn_on if day > received_on),
        extendable_until=extendable_until,
    )


def _months_on(day: date, months: int) -> date:
    year, month0 = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month0 + 1, min(day.day, monthrange(year, month0 + 1)[1]))


def _working_day_from(day: date, calendar: Calendar) -> date:
    while not calendar.is_working_day(day):
        day += timedelta(days=1)
    return day


def _suspended_days(received_on: date, calendar: Calendar, suspensions: Iterable[Suspension]) -> int:
    last_prompt = received_on
    for _ in range(PROMPT_WORKING_DAYS):
        last_prompt = _working_day_from(last_prompt + timedelta(days=1), calendar)
    prompt = [s for s in suspensions if received_on <= s.asked_on <= last_prompt]
    return len({day for s in prompt for day in range(s.asked_on.toordinal(), s.until.toordinal())})


@cache
def _public_holidays(code: str) -> holidays.HolidayBase:
    country, _, subdivision = code.partition("-")
    return holidays.country_holidays(country, subdiv=subdivision or None)

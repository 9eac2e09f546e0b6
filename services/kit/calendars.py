"""From the inventory's `calendar: FR` to the clock that the controller lives by."""

from typing import Final
from zoneinfo import ZoneInfo

import holidays

ZONES: Final = {
    "AT": "Europe/Vienna",
    "BE": "Europe/Brussels",
    "BG": "Europe/Sofia",
    "CY": "Asia/Nicosia",
    "CZ": "Europe/Prague",
    "DE": "Europe/Berlin",
    "DK": "Europe/Copenhagen",
    "EE": "Europe/Tallinn",
    "ES": "Europe/Madrid",
    "FI": "Europe/Helsinki",
    "FR": "Europe/Paris",
    "GR": "Europe/Athens",
    "HR": "Europe/Zagreb",
    "HU": "Europe/Budapest",
    "IE": "Europe/Dublin",
    "IS": "Atlantic/Reykjavik",
    "IT": "Europe/Rome",
    "LI": "Europe/Vaduz",
    "LT": "Europe/Vilnius",
    "LU": "Europe/Luxembourg",
    "LV": "Europe/Riga",
    "MT": "Europe/Malta",
    "NL": "Europe/Amsterdam",
    "NO": "Europe/Oslo",
    "PL": "Europe/Warsaw",
    "PT": "Europe/Lisbon",
    "RO": "Europe/Bucharest",
    "SE": "Europe/Stockholm",
    "SI": "Europe/Ljubljana",
    "SK": "Europe/Bratislava",
}
"""The capital's zone of each country where the GDPR applies (EEA)."""

ELSEWHERE: Final = {
    "ES-CN": "Atlantic/Canary",
    "FR-971": "America/Guadeloupe",
    "FR-972": "America/Martinique",
    "FR-973": "America/Cayenne",
    "FR-974": "Indian/Reunion",
    "FR-976": "Indian/Mayotte",
    "FR-BL": "America/St_Barthelemy",
    "FR-MF": "America/Marigot",
    "FR-NC": "Pacific/Noumea",
    "FR-PF": "Pacific/Tahiti",
    "FR-PM": "America/Miquelon",
    "FR-TF": "Indian/Kerguelen",
    "FR-WF": "Pacific/Wallis",
    "PT-20": "Atlantic/Azores",
    "PT-30": "Atlantic/Madeira",
}
"""Parts of a country with a clock of their own."""


def zone_of(calendar: str) -> ZoneInfo:
    """The time zone of a calendar code: an EEA country (`FR`) or, with its own holidays, a part of one (`DE-BY`).

    Raises `ValueError` for a code without a known zone or public holidays; the text says what to write instead.
    """
    country, _, part = calendar.partition("-")
    if country not in ZONES:
        raise ValueError(f"no calendar {calendar!r}: write one of {', '.join(ZONES)}, or a part of one such as FR-57")
    if part:
        try:
            holidays.country_holidays(country, subdiv=part)
        except NotImplementedError:
            raise ValueError(
                f"no public holidays known for {calendar!r}: write {country!r} for the whole country"
            ) from None
    return ZoneInfo(ELSEWHERE.get(calendar, ZONES[country]))

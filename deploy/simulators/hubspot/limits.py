"""The vendor's rate limits: a rolling burst, a day, and searches by the second ("API usage guidelines")."""

from collections import deque
from collections.abc import Mapping
from datetime import date, datetime, timedelta

from deploy.simulators.hubspot.errors import rate_limited


class _Window:
    """At most `limit` events in any stretch of `length`."""

    def __init__(self, limit: int, length: timedelta) -> None:
        self.limit, self._length = limit, length
        self._events: deque[datetime] = deque()

    def remaining(self, now: datetime) -> int:
        while self._events and now - self._events[0] >= self._length:
            self._events.popleft()
        return self.limit - len(self._events)

    def note(self, now: datetime) -> None:
        self._events.append(now)


class RateLimits:
    """Counts in memory: a restart forgives."""

    def __init__(self, per_ten_seconds: int, per_day: int, searches_per_second: int) -> None:
        self._burst = _Window(per_ten_seconds, timedelta(seconds=10))
        self._searches = _Window(searches_per_second, timedelta(seconds=1))
        self._per_day, self._today = per_day, 0
        self._day: date | None = None

    def admit(self, now: datetime, *, search: bool) -> None:
        """Count one request; raises the vendor's 429 when it is one too many. A day ends at midnight UTC."""
        if now.date() != self._day:
            self._day, self._today = now.date(), 0
        if self._today >= self._per_day:
            raise rate_limited("DAILY")
        window, policy = (self._searches, "SECONDLY") if search else (self._burst, "TEN_SECONDLY_ROLLING")
        if window.remaining(now) <= 0:
            raise rate_limited(policy)
        window.note(now)
        self._today += 1

    def headers(self, now: datetime) -> Mapping[str, str]:
        """On every answer but a search's."""
        return {
            "X-HubSpot-RateLimit-Daily": str(self._per_day),
            "X-HubSpot-RateLimit-Daily-Remaining": str(self._per_day - self._today),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(self._burst.limit),
            "X-HubSpot-RateLimit-Remaining": str(self._burst.remaining(now)),
        }

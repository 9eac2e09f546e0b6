"""HubSpot over HTTP: the endpoints an erasure needs, its rate limits honoured, its answers classified.

Every request that names a person is a POST, so that no URL and no access log holds an address or a number. Each method
is one request. Limits and error answers: HubSpot, "API usage guidelines", "Error handling".
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from services.connectors.port import StoreFailure, Terminal, Transient

CONTACTS: Final = "contacts"
ENGAGEMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "calls": (
        "hs_call_title",
        "hs_call_body",
        "hs_call_from_number",
        "hs_call_to_number",
        "hs_call_recording_url",
    ),
    "notes": ("hs_note_body", "hs_attachment_ids"),
}
"""What is logged about a contact, with the properties that hold content."""

MOST_IDS: Final = 100
"""Objects in one batch request."""
MOST_FILTERS: Final = 5
"""Alternatives in one search."""

_MOST_RESULTS = 10_000
_TIMEOUT = ClientTimeout(total=30)
_BETWEEN_SEARCHES_S = 0.21
"""The account has five searches a second."""
_WAITS_S = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0, "DAILY": 3600.0}
"""How long to wait where the vendor names no delay, by the policy that was hit."""
_LONGEST_WAIT_S, _PATIENCE = 10.0, 3
"""Longer waits, and more of them, are the coordinator's business."""
_RATE_LIMITED, _MISSING, REFUSED = "rate_limited", "missing_endpoint", "http_400"
_CODES = {401: "refused_credential", 403: "refused_credential", 404: _MISSING}
_PASSING = frozenset({408, 423, 477})
"""A time-out, a record locked, an account being moved."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """An object as HubSpot answers it."""

    id: str
    properties: Mapping[str, str | None] = field(repr=False)

    def listed(self, name: str) -> frozenset[str]:
        """A property's values: the vendor divides several by semicolons."""
        return frozenset(filter(None, (self.properties.get(name) or "").split(";")))


class HubSpot:
    """One account. Raises `Transient` or `Terminal`; what is not found is left out, never an error."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._searching, self._next_search = asyncio.Lock(), 0.0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, token: str) -> AsyncIterator["HubSpot"]:
        """Connect to the account that the token belongs to."""
        async with ClientSession(url, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT) as session:
            yield cls(session)

    async def search(self, filters: Sequence[Json], after: str) -> tuple[list[str], str | None]:
        """Ids of contacts that meet any of the filters, and where the next page begins.

        The index lags behind and matches by words: read what it names before believing it.
        """
        groups = [{"filters": [filter_]} for filter_ in filters]
        await self._search_turn()
        answer = await self._call(
            "POST", f"/crm/v3/objects/{CONTACTS}/search", {"filterGroups": groups, "limit": 200, "after": after}
        )
        if answer["total"] > _MOST_RESULTS:
            raise Terminal("too_many_matches")
        return [result["id"] for result in answer["results"]], _next(answer)

    async def read(
        self, kind: str, ids: Iterable[str], properties: Iterable[str] = (), by: str | None = None
    ) -> list[Record]:
        """Up to `MOST_IDS` objects by id, or by the property `by`. A merged contact answers to its old ids."""
        body: Json = {"inputs": _inputs(ids), "properties": list(properties)}
        answer = await self._call(
            "POST", f"/crm/v3/objects/{kind}/batch/read", body | ({"idProperty": by} if by else {})
        )
        return [Record(result["id"], result["properties"]) for result in answer["results"]]

    async def ties(self, kind: str, to: str, starts: Mapping[str, str]) -> tuple[list[tuple[str, str]], dict[str, str]]:
        """Pairs of ids that are tied, from up to `MOST_IDS` objects on, and where to go on for those with more.

        `starts` says for each object where to begin: at `"0"`, or at what an earlier call answered.
        """
        inputs = [{"id": id_, "after": after} for id_, after in starts.items()]
        answer = await self._call("POST", f"/crm/v4/associations/{kind}/{to}/batch/read", {"inputs": inputs})
        pairs = [(str(r["from"]["id"]), str(tie["toObjectId"])) for r in answer["results"] for tie in r["to"]]
        return pairs, {str(r["from"]["id"]): after for r in answer["results"] if (after := _next(r))}

    async def empty(self, kind: str, ids: Iterable[str]) -> None:
        """Take the content out of up to `MOST_IDS` calls or notes, since the recycle bin keeps what is archived."""
        blank = dict.fromkeys(ENGAGEMENTS[kind], "")
        inputs = [{"id": id_, "properties": blank} for id_ in ids]
        await self._call("POST", f"/crm/v3/objects/{kind}/batch/update", {"inputs": inputs})

    async def archive(self, kind: str, ids: Iterable[str]) -> None:
        """Move up to `MOST_IDS` objects to the recycle bin, which the vendor clears after 90 days."""
        await self._call("POST", f"/crm/v3/objects/{kind}/batch/archive", {"inputs": _inputs(ids)})

    async def gdpr_delete(self, contact_id: str) -> None:
        """Order a contact's permanent deletion. By id only: by address, a miss would blocklist the address."""
        try:
            await self._call("POST", f"/crm/v3/objects/{CONTACTS}/gdpr-delete", {"objectId": contact_id})
        except Terminal as failure:
            if failure.code != _MISSING:  # 404 also says: this contact is gone already
                raise

    async def properties(self, kind: str) -> frozenset[str]:
        """Names of the properties that objects of a kind have, without what the vendor reckons from others."""
        answer = await self._call("GET", f"/crm/v3/properties/{kind}")
        return frozenset(one["name"] for one in answer["results"] if not one.get("calculated"))

    async def _search_turn(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._searching:
            await asyncio.sleep(self._next_search - loop.time())
            self._next_search = loop.time() + _BETWEEN_SEARCHES_S

    async def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        for _ in range(_PATIENCE):
            try:
                return await self._once(method, path, body)
            except Transient as failure:
                wait = failure.retry_after_s
                if failure.code != _RATE_LIMITED or wait is None or wait > _LONGEST_WAIT_S:
                    raise
                await asyncio.sleep(wait)
        return await self._once(method, path, body)

    async def _once(self, method: str, path: str, body: Json | None) -> Json:
        try:
            async with self._session.request(method, path, json=body, allow_redirects=False) as response:
                if response.status >= 300:
                    raise await _failure(response)
                return {} if response.status == 204 else _whole(await response.json())
        except (ClientError, TimeoutError, ValueError):
            raise Transient("store_unreachable") from None


async def _failure(response: ClientResponse) -> StoreFailure:
    """What a refusal means for the one who asked. The vendor's text is not passed on: it may quote a value."""
    status, named = response.status, response.headers.get("Retry-After", "")
    delay = float(named) if named.isdigit() else None
    if status == 429:
        policy = (await response.json()).get("policyName", "")
        return Transient(_RATE_LIMITED, delay or _WAITS_S.get(policy, _LONGEST_WAIT_S))
    if status >= 500 or status in _PASSING:
        return Transient(f"http_{status}", delay)
    return Terminal(_CODES.get(status, f"http_{status}"))


def _whole(answer: Json) -> Json:
    """A batch's answer, in which 'not found' is no error and everything else is."""
    if any(error.get("category") != "OBJECT_NOT_FOUND" for error in answer.get("errors", ())):
        raise Terminal(REFUSED)
    return answer


def _inputs(ids: Iterable[str]) -> list[Json]:
    return [{"id": id_} for id_ in ids]


def _next(page: Json) -> str | None:
    after: str | None = page.get("paging", {}).get("next", {}).get("after")
    return after

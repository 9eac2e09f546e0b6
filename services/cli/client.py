"""The command's way to the console: its REST API, as the principal of a token."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Final

import aiohttp

from services.cli.failures import Failure, NotFound, Unreachable, WrongUsage

_API: Final = "/api/v1"
_SILENCE_S: Final = 60
"""The console gives a sign of life more often, even where nothing changes."""
_CONTENT_IS_WRONG: Final = (400, 413, 422)


def endpoints(home: Path) -> Any:
    """What `letheia up` left in the home. Raises `Unreachable` where nothing runs."""
    try:
        return json.loads((home / "endpoints.json").read_text())
    except (OSError, ValueError):
        raise Unreachable(
            f"no stack has its endpoints in {home}: start one with `letheia up`, or name its --home"
        ) from None


class Client:
    """One session with the console. Every call raises `Failure` with a sentence for the person at the terminal."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def get(self, path: str, **query: str) -> Any:
        """A document."""
        async with self._call("GET", _API + path, params=query) as response:
            return await response.json()

    async def post(self, path: str, body: Mapping[str, Any], **query: str) -> Any:
        """What the console made of a body."""
        async with self._call("POST", _API + path, params=query, json=body) as response:
            return await response.json()

    async def key_set(self) -> Any:
        """The keys that requests are sealed to, the current one first."""
        async with self._call("GET", "/.well-known/jwks.json") as response:
            return await response.json()

    async def events(self, path: str) -> AsyncIterator[Any]:
        """The documents of a stream of server-sent events, until it ends."""
        async with self._call("GET", _API + path) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    async def download(self, path: str, file: IO[bytes]) -> None:
        """Write a body to `file`, however large."""
        async with self._call("GET", _API + path) as response:
            async for chunk in response.content.iter_chunked(1 << 16):
                file.write(chunk)

    @asynccontextmanager
    async def _call(self, method: str, path: str, **arguments: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(method, self._url + path, **arguments) as response:
                if response.status >= 400:
                    raise _failure(response.status, await response.read())
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(
                f"the console at {self._url} can't be reached ({type(error).__name__}): see `letheia ps`"
            ) from error


@asynccontextmanager
async def open_client(home: Path) -> AsyncIterator[Client]:
    """With `LETHEIA_URL` and `LETHEIA_TOKEN`, or as the DPO of the stack in the home."""
    url, token = os.environ.get("LETHEIA_URL"), os.environ.get("LETHEIA_TOKEN")
    if not (url and token):
        console = endpoints(home)["console"]
        url, token = url or console["url"], token or console["tokens"]["dpo"]
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE_S)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield Client(session, url.rstrip("/"))


def _failure(status: int, body: bytes) -> Failure:
    try:
        problem = json.loads(body)
        text = problem.get("detail") or problem["title"]
    except (ValueError, KeyError, AttributeError):
        return Unreachable(f"the console answered {status} without a reason: is LETHEIA_URL the console's?")
    text += "".join(f" {error['field']}: {error['reason']}." for error in problem.get("errors", ()))
    if "choices" in problem:
        text += f" It offers: {', '.join(problem['choices'])}."
    if status == 404:
        return NotFound(text)
    if status in _CONTENT_IS_WRONG:
        return WrongUsage(text)
    return Unreachable(text) if status >= 500 else Failure(text)

"""`python -m deploy.local.clickhouse HOME`: the ClickHouse engine in this process, behind ClickHouse's HTTP interface.

So much of the interface as clients use: the statement in `query`, in the body, or begun in the one and ended in the
other; `database`, `default_format`, `param_*` and settings in the URL; Basic or X-ClickHouse-* credentials; errors as
`Code: N. DB::Exception: …` with their HTTP status. Calls run one after the other.
Source: https://clickhouse.com/docs/interfaces/http
"""

import asyncio
import base64
import hmac
import re
import sys
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import uvicorn
from chdb.session import Session
from fastapi import FastAPI, Request, Response

from deploy.local.home import Home, read_json
from deploy.local.process import launch
from deploy.local.stack import ANALYTICS

_CODE: Final = re.compile(r"Code: (\d+)\. DB::Exception")
_CODES: Final = {
    400: {6, 8, 25, 26, 27, 36, 38, 41, 44, 53, 62, 72, 117, 376},  # can't be parsed, does not fit
    403: {192, 193, 497, 516},  # unknown user, wrong password, not granted
    404: {46, 47, 50, 56, 60, 63, 73, 81, 115},  # unknown function, identifier, type, table, database, setting …
    408: {159},
    501: {48},
}
"""HTTP statuses and the codes that have them; all others have 500 (exceptionCodeToHTTPStatus.cpp)."""
_NO_SETTINGS: Final = {"query", "database", "default_format", "user", "password", "query_id", "wait_end_of_query"}
_AUTHENTICATION_FAILED: Final = "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"


class EngineError(Exception):
    """The engine refused a statement. Its text begins with `Code: N. DB::Exception`."""


class Engine:
    """The engine, one statement at a time, on one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1)
        self._keeps_it_open = Session(str(folder))

    async def run(
        self, statement: str, database: str, format_: str, parameters: Mapping[str, str], settings: Mapping[str, str]
    ) -> bytes:
        """The answer to one statement. Raises `EngineError`."""
        work = asyncio.get_running_loop().run_in_executor
        return await work(self._thread, self._run, statement, database, format_, parameters, settings)

    def close(self) -> None:
        self._thread.shutdown()
        self._keeps_it_open.close()

    def _run(
        self, statement: str, database: str, format_: str, parameters: Mapping[str, str], settings: Mapping[str, str]
    ) -> bytes:
        before: dict[str, str] = {}
        with closing(Session(str(self._folder))) as session:  # a database of its own; settings it has to give back
            try:
                session.query(f"USE `{database.replace('`', '')}`")
                for name, value in settings.items():
                    known = session.query(
                        "SELECT value FROM system.settings WHERE name = {n:String}", params={"n": name}
                    )
                    session.query(f"SET `{name.replace('`', '')}` = {_quoted(value)}")
                    before[name] = known.bytes().decode().strip().strip('"')
                answer: bytes = session.query(statement, format_, params=dict(parameters)).bytes()
                return answer
            except RuntimeError as error:
                raise EngineError(str(error)) from error
            finally:
                for name, value in before.items():
                    session.query(f"SET `{name}` = {_quoted(value)}")


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def credentials(request: Request) -> tuple[str, str]:
    """User and password of a request, from wherever ClickHouse takes them."""
    headers, url = request.headers, request.query_params
    kind, _, encoded = headers.get("Authorization", "").partition(" ")
    if kind == "Basic":
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        return user, password
    return (
        headers.get("X-ClickHouse-User") or url.get("user", "default"),
        headers.get("X-ClickHouse-Key") or url.get("password", ""),
    )


def build(engine: Engine, user: str, password: str) -> FastAPI:
    """ClickHouse's HTTP interface over an engine, for one user."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.get("/ping")
    async def ping() -> Response:
        return Response("Ok.\n")

    @app.api_route("/", methods=["GET", "POST"])
    async def query(request: Request) -> Response:
        given, url = credentials(request), request.query_params
        if not hmac.compare_digest(":".join(given).encode(), f"{user}:{password}".encode()):
            return _refused(_AUTHENTICATION_FAILED)
        begun, rest = url.get("query", ""), (await request.body()).decode()
        database = request.headers.get("X-ClickHouse-Database") or url.get("database", "default")
        format_ = request.headers.get("X-ClickHouse-Format") or url.get("default_format", "TabSeparated")
        parameters = {name.removeprefix("param_"): value for name, value in url.items() if name.startswith("param_")}
        settings = {k: v for k, v in url.items() if k not in _NO_SETTINGS and not k.startswith("param_")}
        try:
            answer = await engine.run("\n".join(filter(None, (begun, rest))), database, format_, parameters, settings)
        except EngineError as error:
            return _refused(str(error))
        return Response(answer, media_type="text/plain; charset=UTF-8", headers={"X-ClickHouse-Format": format_})

    return app


def _refused(text: str) -> Response:
    found = _CODE.search(text)
    code = int(found[1]) if found else 1002
    status = next((status for status, codes in _CODES.items() if code in codes), 500)
    return Response(f"{text}\n", status, {"X-ClickHouse-Exception-Code": str(code)}, "text/plain; charset=UTF-8")


def _make(folder: Path) -> None:
    with closing(Session(str(folder))) as session:
        session.query(f"CREATE DATABASE {ANALYTICS}")


def main() -> None:
    home = Home(Path(sys.argv[1]))
    folder = home.make_once("clickhouse", _make)
    port, password = read_json(home.path / "ports.json")["clickhouse"], read_json(home.path / "credentials.json")
    app = build(Engine(folder), ANALYTICS, password["clickhouse"])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    launch(main)

"""The stores that the local stack builds itself: ClickHouse behind its door, S3 that keeps its content over a stop."""

import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.local.control import memory
from deploy.local.home import Home, read_json
from deploy.local.probes import Answer, Bucket, Http, Probe
from deploy.local.stack import BUCKET, Stack
from deploy.sample.stores import open_s3

PATIENCE_S = 60


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    home = Home(tmp_path / "home")
    home.make()
    return Stack.open(home, lambda _: None)


@contextmanager
def running(stack: Stack, part: str) -> Iterator["subprocess.Popen[bytes]"]:
    """One of its stores, killed in the end."""
    with subprocess.Popen([sys.executable, "-m", f"deploy.local.{part}", str(stack.home.path)]) as process:
        try:
            yield process
        finally:
            process.kill()


async def answered(probe: Probe) -> Answer:
    deadline = time.monotonic() + PATIENCE_S
    while (answer := await probe.ask()) is Answer.NOT_YET:
        assert time.monotonic() < deadline
    return answer


def clickhouse_probe(stack: Stack) -> Probe:
    return Http(stack.ports["clickhouse"], "/ping")


def s3_probe(stack: Stack) -> Probe:
    return Bucket(stack.ports["s3"], BUCKET, stack.home.made("stores"))


class Door:
    """ClickHouse over HTTP, as a client of any make speaks to it."""

    def __init__(self, session: aiohttp.ClientSession, stack: Stack) -> None:
        self._session, self._url = session, stack.url("clickhouse")
        self.right = {"X-ClickHouse-User": "analytics", "X-ClickHouse-Key": stack.credentials["clickhouse"]}

    async def ask(
        self, body: str = "", *, headers: dict[str, str] | None = None, **url: str
    ) -> tuple[int, str, str | None]:
        """Status, text, and the code of an exception."""
        params = {"database": "analytics", **url}
        given = self.right if headers is None else headers
        async with self._session.post(self._url, params=params, data=body.encode(), headers=given) as answer:
            return answer.status, await answer.text(), answer.headers.get("X-ClickHouse-Exception-Code")


@pytest.fixture
async def door(stack: Stack) -> AsyncIterator[Door]:
    with running(stack, "clickhouse"):
        assert await answered(clickhouse_probe(stack)) is Answer.READY
        async with aiohttp.ClientSession() as session:
            yield Door(session, stack)


async def test_statements_come_in_the_url_in_the_body_or_in_both(door: Door) -> None:
    assert await door.ask(query="CREATE TABLE t (id UInt32, name String) ENGINE = MergeTree ORDER BY id") == (
        200,
        "",
        None,
    )
    rows = '{"id": 1, "name": "a\\tb"}\n{"id": 2, "name": "c"}'
    assert (await door.ask(rows, query="INSERT INTO t FORMAT JSONEachRow"))[0] == 200
    assert await door.ask("SELECT id FROM t ORDER BY id") == (200, "1\n2\n", None)
    assert await door.ask("SELECT id FROM t LIMIT 1 FORMAT JSONEachRow") == (200, '{"id":1}\n', None)
    assert await door.ask("SELECT 1 AS x", default_format="JSONEachRow") == (200, '{"x":1}\n', None)


async def test_parameters_are_values_and_never_part_of_the_statement(door: Door) -> None:
    hostile = "x'); DROP TABLE t --"
    assert await door.ask("SELECT {v:String}", param_v=hostile) == (200, hostile.replace("'", "\\'") + "\n", None)
    assert await door.ask("SELECT arraySort({v:Array(String)})", param_v="['b','a']") == (200, "['a','b']\n", None)


async def test_settings_hold_for_their_own_statement(door: Door) -> None:
    setting = "SELECT getSetting('mutations_sync')"
    before = await door.ask(setting)
    assert await door.ask(setting, mutations_sync="2") == (200, "2\n", None)
    assert await door.ask(setting) == before
    assert (await door.ask("SELECT 1", no_such_setting="1"))[2] == "115"


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [("SELECT * FROM nowhere", 404, "60"), ("SELEC 1", 400, "62"), ("SELECT {a:String}", 500, "456")],
)
async def test_errors_are_clickhouses(door: Door, statement: str, status: int, code: str) -> None:
    answer = await door.ask(statement)
    assert (answer[0], answer[2]) == (status, code)
    assert answer[1].startswith(f"Code: {code}. DB::Exception: ")


async def test_who_may_come_in(door: Door, stack: Stack) -> None:
    basic = aiohttp.encode_basic_auth("analytics", stack.credentials["clickhouse"])
    assert (await door.ask("SELECT 1", headers={"Authorization": basic}))[0] == 200
    wrong = aiohttp.encode_basic_auth("analytics", "wrong")
    assert (await door.ask("SELECT 1", headers={"Authorization": wrong}))[::2] == (403, "516")
    assert (await door.ask("SELECT 1", headers={}))[0] == 403


async def test_clickhouse_keeps_its_content_when_killed(stack: Stack) -> None:
    async with aiohttp.ClientSession() as session:
        door = Door(session, stack)
        with running(stack, "clickhouse"):
            await answered(clickhouse_probe(stack))
            await door.ask("CREATE TABLE t (id UInt32) ENGINE = MergeTree ORDER BY id")
            await door.ask("INSERT INTO t VALUES (7)")
        with running(stack, "clickhouse"):
            await answered(clickhouse_probe(stack))
            assert await door.ask("SELECT * FROM t") == (200, "7\n", None)


async def _versions(s3: Any) -> list[tuple[str, str]]:
    listed = await s3.list_object_versions(Bucket=BUCKET)
    return [(each["Key"], each["VersionId"]) for kind in ("Versions", "DeleteMarkers") for each in listed.get(kind, ())]


async def test_s3_keeps_every_version_over_a_stop_and_has_lost_all_when_killed(stack: Stack) -> None:
    recordings = read_json(stack.home.endpoints)["stores"]["recordings"]
    async with open_s3(recordings) as s3:
        with running(stack, "s3") as process:
            assert await answered(s3_probe(stack)) is Answer.READY
            where = {"LocationConstraint": recordings["region"]}
            await s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=True)
            stack.home.made("stores").touch()
            for body in (b"one", b"two"):
                await s3.put_object(Bucket=BUCKET, Key="a", Body=body)
            await s3.delete_object(Bucket=BUCKET, Key="a")
            before = await _versions(s3)
            assert len(before) == 3
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        with running(stack, "s3"):
            assert await answered(s3_probe(stack)) is Answer.READY
            assert await _versions(s3) == before
            old = await s3.get_object(Bucket=BUCKET, Key="a", VersionId=before[1][1])
            assert await old["Body"].read() == b"one"
        with running(stack, "s3"):  # killed above: the older copy must not come back
            assert await answered(s3_probe(stack)) is Answer.LOST


async def test_listing_costs_s3_no_memory(stack: Stack) -> None:
    recordings = read_json(stack.home.endpoints)["stores"]["recordings"]
    megabyte = 1024 * 1024
    with running(stack, "s3") as process:
        await answered(s3_probe(stack))
        async with open_s3(recordings) as s3:
            await s3.create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": recordings["region"]}
            )
            for name in "abcdefgh":
                await s3.put_object(Bucket=BUCKET, Key=name, Body=bytes(megabyte))
            await s3.list_object_versions(Bucket=BUCKET)
            before = memory(process.pid)
            for _ in range(20):  # whose copies would be 160 MB
                await s3.list_object_versions(Bucket=BUCKET)
            assert memory(process.pid) - before < 40 * megabyte

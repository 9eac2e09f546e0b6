"""The supervisor, as a process of its own over cheap parts: what dies, what is started again, what is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.control import down, memory
from deploy.local.home import Home
from deploy.local.stack import choose_ports, is_free
from deploy.local.supervisor import State

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60

Row = dict[str, Any]


@dataclass
class Running:
    """A supervisor and what is known of its parts."""

    home: Home
    process: subprocess.Popen[str]

    def parts(self) -> dict[str, Row]:
        if not self.home.state.exists():
            return {}
        state = json.loads(self.home.state.read_text())
        return {part["name"]: part for part in state["parts"]} if state["pid"] == self.process.pid else {}

    def pids(self) -> list[int]:
        return [part["pid"] for part in self.parts().values() if part["pid"]]

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, self.parts()
            time.sleep(0.02)

    def until_ready(self) -> None:
        self.until(lambda: self.home.state.exists() and json.loads(self.home.state.read_text())["ready"])

    def end(self) -> str:
        """What it said, once it ended by itself."""
        return self.process.communicate(timeout=PATIENCE_S)[0]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a supervisor over a table."""
    started: list[subprocess.Popen[str]] = []

    def start(*table: Row) -> Running:
        home = Home(tmp_path / "home")
        command = [sys.executable, "-m", "tests.support.tiny_stack", str(home.path), json.dumps(table)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return Running(home, process)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Row:
    """A part that answers 200 while the file `served/calls` exists, else 404."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "calls").touch()
    port = choose_ports(["server"], {}, is_free, range(18_000, 20_000))["server"]
    program = (
        "import functools, http.server as h\n"
        f"handler = functools.partial(h.SimpleHTTPRequestHandler, directory={str(tmp_path / 'served')!r})\n"
        f"h.ThreadingHTTPServer(('127.0.0.1', {port}), handler).serve_forever()"
    )
    return {"name": "server", "program": program, "port": port}


def one_shot(name: str, program: str, *after: str) -> Row:
    return {"name": name, "program": program, "after": list(after)}


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_part_that_dies_is_started_again_and_it_is_told(start: Callable[..., Running], server: Row) -> None:
    running = start(server)
    running.until_ready()
    before = running.parts()["server"]
    os.kill(before["pid"], signal.SIGKILL)
    running.until(lambda: running.parts()["server"]["restarts"] == 1)
    running.until(lambda: running.parts()["server"]["state"] == State.READY)
    after = running.parts()["server"]
    assert after["pid"] != before["pid"]
    assert after["exit_code"] == -signal.SIGKILL
    assert memory(after["pid"]) > 0


def test_a_store_that_lost_its_content_is_told_of_and_left_as_it_is(
    start: Callable[..., Running], server: Row, tmp_path: Path
) -> None:
    running = start(server)
    running.until_ready()
    running.home.made("stores").touch()
    (tmp_path / "served" / "calls").unlink()
    os.kill(running.parts()["server"]["pid"], signal.SIGKILL)
    running.until(lambda: running.parts()["server"]["state"] == State.LOST)
    assert "letheia up --accept-loss server" in running.parts()["server"]["note"]
    assert down(running.home.path)

    again = start(server)
    assert "server has lost its content" in again.end()
    assert again.process.returncode == 1


def test_a_killed_supervisor_leaves_nothing_behind(start: Callable[..., Running], server: Row) -> None:
    running = start(server, {**one_shot("late", "import time; time.sleep(600)"), "after": ["server"]})
    running.until(lambda: len(running.pids()) == 2)
    pids = running.pids()
    running.process.kill()
    running.until(lambda: not any(alive(pid) for pid in pids))


def test_a_second_start_is_refused_with_the_reason(start: Callable[..., Running], server: Row) -> None:
    running = start(server)
    running.until_ready()
    second = start(server)
    assert f"process {running.process.pid}" in second.end()
    assert second.process.returncode == 1
    assert running.parts()["server"]["state"] == State.READY


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything(start: Callable[..., Running], server: Row, number: signal.Signals) -> None:
    running = start(server)
    running.until_ready()
    pids = running.pids()
    running.process.send_signal(number)
    running.end()
    assert running.process.returncode == 0
    assert not any(alive(pid) for pid in pids)


def test_down_returns_when_all_is_gone_and_dependants_went_first(
    start: Callable[..., Running], server: Row, tmp_path: Path
) -> None:
    gone, grandchild = tmp_path / "gone", tmp_path / "grandchild"
    program = (
        "import pathlib, signal, subprocess, sys, time, urllib.request\n"
        f"child = subprocess.Popen(['sleep', '600']); pathlib.Path({str(grandchild)!r}).write_text(str(child.pid))\n"
        "def end(*_):\n"
        "    time.sleep(0.5)\n"
        f"    answer = urllib.request.urlopen('http://127.0.0.1:{server['port']}/calls').status\n"
        f"    pathlib.Path({str(gone)!r}).write_text(str(answer)); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "time.sleep(600)"
    )
    running = start(server, one_shot("slow", program, "server"))
    running.until(lambda: grandchild.exists() and grandchild.read_text())
    pids = [*running.pids(), int(grandchild.read_text())]
    assert len(pids) == 3
    assert down(running.home.path)
    assert gone.read_text() == "200"  # the server still served when its dependant ended
    running.until(lambda: not alive(pids[2]))  # an orphan: its end is for the system to collect
    assert not any(alive(pid) for pid in pids)
    assert not down(running.home.path)


def test_a_part_that_never_stays_fails_the_start_with_the_end_of_its_log(
    start: Callable[..., Running], server: Row
) -> None:
    running = start(server, {**server, "name": "broken", "program": "import sys; sys.exit('no disk')", "port": 1})
    said = running.end()
    assert running.process.returncode == 1
    assert "broken ended with 1" in said
    assert "no disk" in said
    assert {part["state"] for part in running.parts().values()} == {State.STOPPED}
    assert running.pids() == []


def test_parts_start_in_order_and_a_one_shot_that_fails_is_not_tried_again(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    write = f"open({str(trace)!r}, 'a').write('{{}}\\n')"
    running = start(
        one_shot("third", write.format("third") + "; raise SystemExit(3)", "second"),
        one_shot("second", "import time; time.sleep(0.3); " + write.format("second"), "first"),
        one_shot("first", write.format("first")),
    )
    assert "third ended with 3" in running.end()
    assert trace.read_text().split() == ["first", "second", "third"]

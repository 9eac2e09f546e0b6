"""What a person does with a stack: start it, before their eyes or behind, stop it, and look at it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from deploy.local.home import Home, already_runs, holder, locked, read_json
from deploy.local.kafka.jars import jars, java
from deploy.local.parts import Part, table
from deploy.local.stack import Stack
from deploy.local.supervisor import StartFailed, State, Supervisor, Tell

_STOP_S: Final = 60.0
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Wish:
    """What `up` is asked for."""

    path: Path
    """The home."""
    people: int = 0
    """How many sample people to load, once a home."""
    accept_loss: Sequence[str] = ()
    """Stores that may be made anew, empty, if their content is gone."""

    @property
    def home(self) -> Home:
        return Home(self.path.absolute())


def run(wish: Wish, tell: Tell, on_ready: Callable[[], None]) -> None:
    """Run a stack until SIGINT, SIGTERM or SIGHUP. When this ends, so has every part.

    Raises `Refused` when the home is in use, `StartFailed` when a part does not get ready, `LetheiaError` when
    the machine lacks something.
    """
    _prepare(wish.home)
    with locked(wish.home):
        wish.home.accept_loss(wish.accept_loss)
        parts = table(Stack.open(wish.home, tell), wish.people)
        asyncio.run(supervise(wish.home, parts, tell, on_ready))


async def supervise(home: Home, parts: Sequence[Part], tell: Tell, on_ready: Callable[[], None]) -> None:
    """Run a table of parts until a signal. The home's lock is held."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Supervisor(home, parts, tell).run(stop, on_ready)


def detach(wish: Wish, tell: Tell) -> None:
    """Run a stack in a process of its own and return once it is ready. Raises what `run` does."""
    home = wish.home
    _prepare(home)
    if holder(home) is not None:
        raise already_runs(home)
    losses = [word for part in wish.accept_loss for word in ("--accept-loss", part)]
    command = [sys.executable, "-m", "deploy.local", str(home.path), "--people", str(wish.people), *losses]
    with home.log("supervisor").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _follow(home, process, tell)
    except BaseException:
        process.terminate()  # it stops its parts first
        process.wait()
        raise


def _prepare(home: Home) -> None:
    java()
    jars()
    home.make()


def _follow(home: Home, process: subprocess.Popen[bytes], tell: Tell) -> None:
    told = ""
    while True:
        code = process.poll()
        state = read_json(home.state) or {}
        if state.get("pid") == process.pid:
            if failure := code is not None and state["failure"]:
                raise StartFailed(failure["text"], timed_out=failure["timed_out"])
            if state["ready"]:
                return
            waiting = [part["name"] for part in state["parts"] if part["state"] not in (State.READY, State.DONE)]
            if (now := f"waiting for {', '.join(waiting)}") != told:
                tell(told := now)
        if code is not None:
            raise StartFailed(f"the supervisor ended with {code}: see {home.log('supervisor')}")
        time.sleep(_POLL_S)


def down(path: Path) -> bool:
    """Stop what runs in a home and wait until all of it is gone. False if nothing ran. Raises `TimeoutError`."""
    home = Home(path.absolute())
    pid = holder(home)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while holder(home) == pid:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} still stops its parts after {_STOP_S:.0f} s: see {home.logs}")
        time.sleep(_POLL_S)
    return True


def survey(path: Path) -> dict[str, Any] | None:
    """What runs in a home: each part's state, health as of now, memory in bytes. None if nothing does."""
    home = Home(path.absolute())
    pid, stack = holder(home), Stack.of(home)
    if pid is None or stack is None:
        return None
    state = read_json(home.state)
    if state is None or state["pid"] != pid:  # it has just begun
        state = {"ready": False, "parts": []}
    probes = {part.name: part.ready for part in table(stack)}

    async def examined(part: dict[str, Any]) -> dict[str, Any]:
        probe = probes.get(part["name"])
        asked = probe is not None and part["state"] in (State.READY, State.LOST)
        health = await probe.ask() if probe is not None and asked else part["state"]
        return {**part, "health": health, "memory_bytes": memory(part["pid"]) if part["pid"] else 0}

    async def all_examined() -> list[dict[str, Any]]:
        return await asyncio.gather(*(examined(part) for part in state["parts"]))

    supervisor = {"name": "supervisor", "pid": pid, "memory_bytes": memory(pid, children=False), "health": State.READY}
    parts = [{**supervisor, "restarts": 0, "exit_code": None, "note": ""}, *asyncio.run(all_examined())]
    return {"home": str(home.path), "ready": state["ready"], "parts": parts}


def memory(pid: int, *, children: bool = True) -> int:
    """Resident bytes of a process and its children; pages that several share count once in all (PSS)."""
    try:
        process = psutil.Process(pid)
        family = [process, *(process.children(recursive=True) if children else ())]
        return sum(int(member.memory_full_info().pss) for member in family)
    except psutil.NoSuchProcess:
        return 0

"""Starts parts in the order of their table, starts again those that die, and stops them all, whatever happens.

Every part is a child of this process and dies with it, so that even `kill -9` leaves nothing behind.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from deploy.local.home import Home, lost_content, write_atomically
from deploy.local.parts import Part
from deploy.local.probes import Answer
from deploy.local.process import kill_group, spawn
from services.kit.errors import LetheiaError

_POLL_S: Final = 0.1
_GRACE_S: Final = 10.0
"""How long a part may take to stop before it is killed."""
_START_S: Final = 300.0
"""How long the whole may take to be ready, thousands of sample people included."""
_ATTEMPTS: Final = 3
"""How often a part may die before all are ready; then the start has failed."""
_PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY_S: Final = 30.0
"""A part that ran so long starts again without the pause of earlier deaths."""
_LOG_LINES: Final = 12

Tell = Callable[[str], None]


class State(StrEnum):
    """What is the case with a part."""

    WAITING = "waiting"
    """For the parts it comes after."""
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    """A one-shot that ended well."""
    DEAD = "dead"
    """About to be started again."""
    LOST = "lost content"
    STOPPED = "stopped"


class StartFailed(LetheiaError):
    """Some part does not get ready: which, and the end of its log."""

    def __init__(self, text: str, *, timed_out: bool = False) -> None:
        super().__init__(text)
        self.timed_out = timed_out


@dataclass(slots=True)
class Watched:
    """A part and what became of it."""

    part: Part
    state: State = State.WAITING
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    exit_code: int | None = None
    note: str = ""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it was ready, and ever after."""

    def document(self) -> dict[str, Any]:
        pid = self.process.pid if self.process and self.process.returncode is None else None
        known = {"name": self.part.name, "state": self.state, "pid": pid, "restarts": self.restarts}
        return {**known, "exit_code": self.exit_code, "note": self.note}


class _Stop(Exception):
    """Ends the group of tasks that keep parts running."""


class Supervisor:
    """Runs a table of parts for a home whose lock this process holds."""

    def __init__(self, home: Home, parts: Sequence[Part], tell: Tell) -> None:
        self._home, self._tell = home, tell
        self._watched = {part.name: Watched(part) for part in parts}
        self._began = time.monotonic()
        self._all_ready = False
        self._failure: StartFailed | None = None

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Until `stop` is set; when this returns or raises, no part runs any more. Raises `StartFailed`."""
        try:
            async with asyncio.TaskGroup() as group:
                for watched in self._watched.values():
                    group.create_task(self._keep(watched))
                group.create_task(self._announce(on_ready))
                await stop.wait()
                raise _Stop
        except* _Stop:
            self._tell("stopping")
        except* StartFailed as failed:
            first = failed.exceptions[0]
            assert isinstance(first, StartFailed)
            self._failure = first
        finally:
            await self._stop_all()
        if self._failure is not None:
            raise self._failure

    async def _keep(self, watched: Watched) -> None:
        part, deaths = watched.part, 0
        for name in part.after:
            await self._watched[name].ready.wait()
        while True:
            began = time.monotonic()
            watched.process = spawn(part.command, part.environment, self._home.log(part.name))
            self._set(watched, State.STARTING)
            watched.exit_code = await self._until_exit(watched, watched.process)
            if part.ready is None and watched.exit_code == 0:
                self._set(watched, State.DONE)
                return
            deaths = 1 if time.monotonic() - began > _STEADY_S else deaths + 1
            if not self._all_ready and (part.ready is None or deaths >= _ATTEMPTS):
                raise StartFailed(f"{part.name} ended with {watched.exit_code}; its log {self._log_end(part)}")
            pause = _PAUSES_S[min(deaths, len(_PAUSES_S)) - 1]
            self._set(watched, State.DEAD, f"ended with {watched.exit_code}, see {self._home.log(part.name)}")
            self._tell(f"{part.name} ended with {watched.exit_code}: started again in {pause} s")
            await asyncio.sleep(pause)
            watched.restarts += 1

    async def _until_exit(self, watched: Watched, process: subprocess.Popen[bytes]) -> int:
        """Its exit code; on the way, note when it serves."""
        while (code := process.poll()) is None:
            if watched.state is State.STARTING and watched.part.ready is not None:
                self._hear(watched, await watched.part.ready.ask())
            await asyncio.sleep(_POLL_S)
        kill_group(process)
        return code

    def _hear(self, watched: Watched, answer: Answer) -> None:
        if answer is Answer.READY:
            self._set(watched, State.READY)
        elif answer is Answer.LOST:
            note = lost_content(watched.part.name, "it was killed, and keeps what it holds in memory")
            if not self._all_ready:
                raise StartFailed(note)
            self._tell(note)
            self._set(watched, State.LOST, note)

    async def _announce(self, on_ready: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(_START_S):
                for watched in self._watched.values():
                    await watched.ready.wait()
        except TimeoutError:
            late = [watched.part for watched in self._watched.values() if not watched.ready.is_set()]
            names = ", ".join(part.name for part in late)
            text = f"not ready after {_START_S:.0f} s: {names}; the log {self._log_end(late[0])}"
            raise StartFailed(text, timed_out=True) from None
        self._all_ready = True
        self._record()
        on_ready()

    def _set(self, watched: Watched, state: State, note: str = "") -> None:
        watched.state, watched.note = state, note
        if state in (State.READY, State.DONE) and not watched.ready.is_set():
            watched.ready.set()
            waiting = [name for name, other in self._watched.items() if not other.ready.is_set()]
            took = f"{watched.part.name} {state} after {time.monotonic() - self._began:.1f} s"
            self._tell(f"{took}; waiting for {', '.join(waiting)}" if waiting else took)
        self._record()

    async def _stop_all(self) -> None:
        gone = {name: asyncio.Event() for name in self._watched}

        async def stop(watched: Watched) -> None:
            name = watched.part.name
            for dependant in self._watched.values():
                if name in dependant.part.after:
                    await gone[dependant.part.name].wait()
            if watched.process is not None:
                watched.exit_code = await _end(watched.process, watched.part.stop)
            self._set(watched, State.STOPPED)
            gone[name].set()

        await asyncio.gather(*(stop(watched) for watched in self._watched.values()))

    def _record(self) -> None:
        failure = {"text": str(self._failure), "timed_out": self._failure.timed_out} if self._failure else None
        parts = [watched.document() for watched in self._watched.values()]
        known = {"pid": os.getpid(), "ready": self._all_ready, "failure": failure, "parts": parts}
        write_atomically(self._home.state, json.dumps(known, indent=1))

    def _log_end(self, part: Part) -> str:
        path = self._home.log(part.name)
        lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:] if path.exists() else []
        return "\n  ".join([f"({path}) ends:", *lines])


async def _end(process: subprocess.Popen[bytes], stop: signal.Signals) -> int:
    """Stop a process, by force when it takes too long, and whatever it left in its group."""
    if process.returncode is not None:  # its number, and its group's, may be somebody else's by now
        return process.returncode
    process.send_signal(stop)
    deadline = time.monotonic() + _GRACE_S
    while process.poll() is None and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_S / 2)
    kill_group(process)
    return process.wait()

"""Loaded by every service of a faulty stack: kills the process at a point that a test armed.

A test arms a point by putting a file of that name into the folder `LETHEIA_TEST_POINTS`. Whoever passes the point
takes the file away and dies by SIGKILL, once.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


def _pass(point: str) -> None:
    folder = os.environ.get("LETHEIA_TEST_POINTS")
    if folder is None:
        return
    try:
        (Path(folder) / point).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _after(owner: Any, name: str, point: Callable[[Any], str]) -> None:
    """Die when `owner.name` has done its work, before whoever called it hears of it."""
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def deadly(*args: Any, **kwargs: Any) -> Any:
        answer = await original(*args, **kwargs)
        _pass(point(args))
        return answer

    setattr(owner, name, deadly)


def _before(owner: Any, name: str, point: Callable[[Any], str]) -> None:
    """Die before `owner.name` begins."""
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def deadly(*args: Any, **kwargs: Any) -> Any:
        _pass(point(args))
        return await original(*args, **kwargs)

    setattr(owner, name, deadly)


def _arm(module: str, store: str) -> None:
    from services.kit import outbox

    _before(outbox, "_forget", lambda _: f"relay-{module}{store}")
    if module == "coordinator":
        from services.coordinator.handler import Handler

        _after(Handler, "handle", lambda _: "coordinator")
    if module == "connectors":
        from services.connectors.worker import Worker

        _before(Worker, "_finish", lambda args: f"{args[0]._action.value}-{store}")
    if store == "crm":
        from services.connectors.crm.client import HubSpot

        _after(HubSpot, "archive", lambda _: "crm-notes-gone")
        _after(HubSpot, "gdpr_delete", lambda _: "crm-contact-gone")


def _main() -> None:
    if os.environ.get("LETHEIA_TEST_POINTS") is None:
        return
    command = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
    for module in ("coordinator", "connectors", "console"):
        if f"services.{module}" in command:
            store = command[command.index(f"services.{module}") + 1] if module == "connectors" else ""
            _arm(module, store)


_main()

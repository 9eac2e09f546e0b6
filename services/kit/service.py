"""How a service lives: loops that outlast their dependencies, health over HTTP, a clean end on a signal."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from services.kit.telemetry import log

Loop = Callable[[], Coroutine[Any, Any, None]]
Ready = Callable[[], Awaitable[list[str]]]

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0


async def keep(name: str, loop: Loop) -> None:
    """Run `loop` for ever: what ends it (a broker or database that went away, mostly) is logged, and it starts anew."""
    pause = _FIRST_PAUSE_S
    while True:
        try:
            await loop()
            pause = _FIRST_PAUSE_S
        except Exception as error:
            log("loop_ended", error=error, loop=name, again_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)


async def run(loops: Mapping[str, Loop], health_port: int, ready: Ready) -> None:
    """Run a service's loops and its health endpoint until SIGTERM or SIGINT; then end them, and wait for it."""
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop.set)
    runner = await _health(health_port, ready)
    tasks = [asyncio.create_task(keep(name, loop), name=name) for name, loop in loops.items()]
    try:
        await stop.wait()
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()


async def _health(port: int, ready: Ready) -> web.AppRunner:
    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = await ready()
        return web.json_response({"ready": not missing, "missing": missing}, status=503 if missing else 200)

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner

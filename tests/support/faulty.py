"""`python -m tests.support.faulty HOME [PART=MODULE ...]`: a stack whose services die where a test says, or lie.

It is the product's own table of parts, run by the product's own supervisor. Beside them a second coordinator; every
service loads `killpoints`; and a part can be told to run another module in its place.
"""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.control import supervise
from deploy.local.home import Home, locked
from deploy.local.parts import Part, table
from deploy.local.probes import Http
from deploy.local.stack import Stack as LocalStack
from tests.support.stack import PATIENCE_S, Stack

_KILLPOINTS = Path(__file__).with_name("killpoints")
_ROOT = Path(__file__).parents[2]
_READY = "the faulty stack is ready"


def _parts(home: Home, people: int, modules: Mapping[str, str]) -> Iterator[Part]:
    points = home.path.parent / "points"
    points.mkdir(exist_ok=True)
    extra = {"PYTHONPATH": f"{_KILLPOINTS}:{_ROOT}", "LETHEIA_TEST_POINTS": str(points)}
    for part in table(LocalStack.open(home, lambda _: None), people):
        if "LETHEIA_HEALTH_PORT" not in part.environment:
            yield part
            continue
        command = part.command
        if part.name in modules:
            command = (*command[:2], modules[part.name], *command[3:])
        yield replace(part, command=command, environment={**part.environment, **extra})
        if part.name == "coordinator":
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
            again = {**part.environment, **extra, "LETHEIA_HEALTH_PORT": str(port)}
            yield replace(part, name="coordinator-2", environment=again, ready=Http(port, "/readyz"))


def main(path: str, people: str, *modules: str) -> None:
    """Run until a signal, in the foreground."""
    home = Home(Path(path))
    home.make()
    with locked(home):
        parts = tuple(_parts(home, int(people), dict(each.split("=") for each in modules)))
        asyncio.run(supervise(home, parts, print, lambda: print(_READY, flush=True)))


@contextmanager
def running(home: Path, people: int = 0, **modules: str) -> Iterator[Stack]:
    """A faulty stack of this test's own."""
    swaps = [f"{part.replace('_', '-')}={module}" for part, module in modules.items()]
    command = [sys.executable, "-m", "tests.support.faulty", str(home), str(people), *swaps]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            told = []
            for line in process.stdout:
                told.append(line)
                if line.strip() == _READY:
                    break
            else:
                raise AssertionError("".join(told))
            yield Stack(home, json.loads((home / "endpoints.json").read_text()))
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One faulty stack for all tests of faults."""
    with running(tmp_path_factory.mktemp("faulty") / "home") as stack:
        yield stack


if __name__ == "__main__":
    main(*sys.argv[1:])

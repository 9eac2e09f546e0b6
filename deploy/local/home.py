"""The one folder that a local stack keeps everything in, and the rules that let a half-written one recover."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from services.kit.errors import LetheiaError

_LOCK_PATIENCE_S: Final = 1.0


class Refused(LetheiaError):
    """The stack as it is does not allow what was asked."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where things lie in the folder. Absolute, so that every part understands it from wherever it runs."""

    path: Path

    @property
    def lock(self) -> Path:
        """Held by the supervisor, and by it alone, for as long as any part runs. Holds its process id."""
        return self.path / "lock"

    @property
    def state(self) -> Path:
        """What the supervisor last knew of every part."""
        return self.path / "state.json"

    @property
    def endpoints(self) -> Path:
        """INTERFACE's `endpoints --json`: the only file with the console's tokens in clear."""
        return self.path / "endpoints.json"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def inventory(self) -> Path:
        return self.path / "inventory.yaml"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def data(self, part: str) -> Path:
        """The folder of a store's content."""
        return self.path / "data" / part

    def made(self, part: str) -> Path:
        """Exists once a store's content was made. Apart from the content, so that it outlives a loss."""
        return self.path / "made" / part

    def make(self) -> None:
        """Make the folders, for their owner alone."""
        for folder in (self.path, self.keys, self.logs, self.path / "data", self.path / "made"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make_once(self, part: str, make: Callable[[Path], None]) -> Path:
        """The folder of a store's content, made by `make` at its first start.

        What an interruption left half-made is made again. Raises `Refused` when the content was made and is gone:
        an empty store would answer 'nothing found' about people it held.
        """
        folder, made = self.data(part), self.made(part)
        if made.exists():
            if not folder.is_dir():
                raise Refused(lost_content(part, f"{folder} is gone"))
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        make(folder)
        made.touch()
        return folder

    def accept_loss(self, parts: Iterable[str]) -> None:
        """Let stores that lost their content be made anew, empty. What is still there stays."""
        for part in parts:
            if not self.data(part).exists():
                self.made(part).unlink(missing_ok=True)
                self.made("stores").unlink(missing_ok=True)


def lost_content(part: str, why: str) -> str:
    """What to tell about a store that lost what it held."""
    return (
        f"{part} has lost its content ({why}): start anew with another --home,"
        f" or `letheia up --accept-loss {part}` goes on with it empty"
    )


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file so that a reader, or a crash, sees the old content or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """A JSON document, or None where there is none yet."""
    return json.loads(path.read_text()) if path.exists() else None


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Hold the home for this process. Raises `Refused` when another supervisor has it."""
    with home.lock.open("a+") as file:
        deadline = time.monotonic() + _LOCK_PATIENCE_S  # whoever asks for the `holder` has the lock for a moment
        while not _try(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise already_runs(home)
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(home: Home) -> int | None:
    """Process id of the supervisor that runs in this home, or None."""
    if not home.lock.exists():
        return None
    with home.lock.open() as file:
        while not _try(file, fcntl.LOCK_SH):
            if pid := file.read():
                return int(pid)
            time.sleep(0.01)  # it has the lock since just now
            file.seek(0)
    return None


def already_runs(home: Home) -> Refused:
    """Why a home can't be used for a second stack."""
    return Refused(f"a stack already runs in {home.path} (process {holder(home)}): `letheia down` stops it")


def _try(file: IO[str], operation: int) -> bool:
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Where Kafka's jars are, and how they get there."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from services.kit.errors import LetheiaError

_POM: Final = Path(__file__).with_name("pom.xml")


def java() -> str:
    """The machine's Java. Raises `LetheiaError` when there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if found is None:
        raise LetheiaError("Java is missing and Kafka needs it, 17 or later: `make setup` says how to install it")
    return found


def jars() -> Path:
    """The folder of Kafka's jars. Raises `LetheiaError` when they were not fetched."""
    folder = _folder()
    if not folder.is_dir():
        raise LetheiaError(f"Kafka's jars are not in {folder}: `make setup` fetches them")
    return folder


def fetch() -> None:
    """Have Maven resolve the jars unless they are there. Raises `LetheiaError` without Maven, and when it fails."""
    folder = _folder()
    if folder.is_dir():
        return
    maven = shutil.which("mvn")
    if maven is None:
        raise LetheiaError("Maven is missing and fetches Kafka's jars: install it (Debian, Ubuntu: apt install maven)")
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    done = subprocess.run([maven, "-q", "-B", "-f", str(_POM), *goal], check=False)
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        raise LetheiaError(f"Maven could not fetch Kafka's jars (exit {done.returncode}, see above): run it again")
    partial.rename(folder)


def _folder() -> Path:
    """Of these jars, as this pom names them; beside the programs, where no removal of a home takes them away."""
    version = hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]
    return Path(sys.prefix) / "share" / "letheia" / "kafka" / version

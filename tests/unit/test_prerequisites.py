"""A machine that lacks something says so at once, by name and with the way out."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "prerequisites.sh"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with everything that is needed, Java 17 and Maven included."""
    for tool in ("sh", "uname", "sed", "head"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    has(tmp_path, "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
    has(tmp_path, "mvn", "true")
    return tmp_path


def has(machine: Path, tool: str, script: str) -> None:
    (machine / tool).write_text(f"#!/bin/sh\n{script}\n")
    (machine / tool).chmod(0o755)


def complaints(machine: Path, python: str = sys.executable) -> list[str]:
    """What the script complains of; its exit code agrees."""
    ran = subprocess.run(
        [str(machine / "sh"), str(SCRIPT), python, "java", "maven"],
        env={"PATH": str(machine)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == (1 if ran.stderr else 0)
    return ran.stderr.splitlines()


def test_nothing_is_lacking(machine: Path) -> None:
    assert complaints(machine) == []


def test_everything_lacking_is_named_together(machine: Path) -> None:
    (machine / "java").unlink()
    (machine / "mvn").unlink()
    java, maven = complaints(machine)
    assert "Java 17 or later is missing" in java
    assert "apt install openjdk-17" in java
    assert "Maven is missing" in maven
    assert "apt install maven" in maven


def test_an_old_java_will_not_do(machine: Path) -> None:
    has(machine, "java", "echo 'java version \"1.8.0_402\"' >&2")
    (complaint,) = complaints(machine)
    assert "Java 17" in complaint


def test_another_python_will_not_do(machine: Path) -> None:
    has(machine, "python3.10", "exit 1")
    (complaint,) = complaints(machine, "python3.10")
    assert "Python 3.11" in complaint
    assert "make PYTHON=" in complaint

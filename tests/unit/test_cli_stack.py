"""The stack's commands where there is nothing to do, or no way to do it: one sentence and the right exit code."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.local.home import Home, locked
from deploy.local.stack import Stack
from services.cli.main import main


def run(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--home", str(home)])


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Kafka could be started."""
    monkeypatch.setattr("deploy.local.control.java", lambda: "java")
    monkeypatch.setattr("deploy.local.control.jars", lambda: tmp_path)


def test_nothing_runs(tmp_path: Path) -> None:
    assert (run(tmp_path, "ps").exit_code, run(tmp_path, "ps").stdout) == (1, "")
    assert run(tmp_path, "endpoints").exit_code == 3
    stopped = run(tmp_path, "down", "--json")
    assert (stopped.exit_code, json.loads(stopped.stdout)) == (0, {"stopped": False})


@pytest.mark.usefixtures("jars")
@pytest.mark.parametrize("how", [[], ["--detach"]])
def test_a_home_in_use_is_refused_with_the_reason(tmp_path: Path, how: list[str]) -> None:
    home = Home(tmp_path)
    home.make()
    with locked(home):
        refused = run(tmp_path, "up", *how)
    assert refused.exit_code == 1
    assert f"process {os.getpid()}" in refused.stderr
    assert refused.stdout == ""


def test_without_java_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = run(tmp_path / "home", "up")
    assert refused.exit_code == 1
    assert "Java is missing" in refused.stderr
    assert not (tmp_path / "home").exists()


def test_the_endpoints_are_shown_without_the_publishers_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    Stack.open(home, lambda _: None)
    document = json.loads(run(tmp_path, "endpoints", "--json").stdout)
    shown = run(tmp_path, "endpoints").stdout
    assert document["console"]["url"] in shown
    assert document["publisher"]["key"]["d"] not in shown

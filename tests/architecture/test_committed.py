"""What is committed works on every machine: no package registry's host, no path of somebody's own machine."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).relative_to(ROOT).as_posix()

REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|registry\.yarnpkg\.com|repo1?\.maven\.(?:apache\.)?org"
    r"|index-url|proxy\.golang\.org|crates\.io"
)
MACHINE_PATH = re.compile(r"(?<![\w.}-])/(?:work|root|home|Users)/[\w.]|[A-Z]:\\Users\\")


def offences(text: str) -> list[str]:
    return [
        f"{number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern in (REGISTRY, MACHINE_PATH)
        for match in pattern.finditer(line.replace("--no-emit-index-url", ""))
    ]


def committed() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return (Path(name) for name in listed.split("\0") if name and name != HERE and (ROOT / name).is_file())


def test_no_registry_host_and_no_machine_path() -> None:
    texts = ((path, (ROOT / path).read_text(errors="replace")) for path in committed())
    assert [f"{path}:{offence}" for path, text in texts for offence in offences(text)] == []


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://example.org/simple",
        "https://files.pythonhosted.org/packages/x.whl",
        "cd /home/jo/letheia",
        "PATH=/root/.pyenv/bin",
        r"C:\Users\jo",
    ],
)
def test_an_offence_is_seen(line: str) -> None:
    assert len(offences(f"first line\n{line}")) == 1


@pytest.mark.parametrize("line", ["https://example.org/home/page", "/usr/share/zoneinfo", "tests/work/x", "${HOME}/x"])
def test_what_is_fine_is_left_alone(line: str) -> None:
    assert offences(line) == []

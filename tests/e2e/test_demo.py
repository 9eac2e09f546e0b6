"""The demo looks for itself: it is not content with what Letheia says."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from deploy.demo import Demo, perform
from tests.support.faulty import running


class _OnAStackThatLies(Demo):
    """Its application database's connector says it erased, and did not."""

    def __init__(self, home: Path, console: Console) -> None:
        super().__init__(home, console)
        self._running = running(home, people=200, connector_app="tests.support.lying_connector")

    def start(self) -> None:
        self._running.__enter__()

    def stop(self) -> None:
        self._running.__exit__(None, None, None)


def test_the_demo_ends_with_one_when_a_connector_lies(tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    assert perform(_OnAStackThatLies(tmp_path / "home", console), console) == 1
    said = console.export_text()
    assert "erasure  completed" in said, "Letheia believed the lie"
    assert "is still there" in said, "the demo did not"


def test_the_demo_ends_with_zero(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from rich.console import Console; from deploy.demo import Demo, perform;"
    )
    script += f"sys.exit(perform(Demo(Path({str(tmp_path / 'home')!r}), Console(width=160)), Console()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "byte for byte" in done.stdout

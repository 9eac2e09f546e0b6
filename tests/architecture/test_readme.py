"""What the README shows is what the code is."""

from pathlib import Path

from tests.architecture.arrows import README, draw, drawn_in

_PUBLISHER = Path(__file__).parents[2] / "deploy" / "sample" / "publisher.py"


def test_the_arrows_are_those_of_the_code() -> None:
    assert drawn_in(README.read_text()) == draw(), "python -m tests.architecture.arrows --write"


def test_the_publisher_without_our_code_is_the_file_that_is_tested() -> None:
    code = _PUBLISHER.read_text().strip()
    assert code in README.read_text()
    assert len([line for line in code.splitlines() if line]) < 30
    assert "contracts" not in code
    assert "services" not in code

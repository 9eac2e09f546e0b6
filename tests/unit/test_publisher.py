"""The publisher without our code: short, on its own, and the one that the README shows."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy" / "sample" / "publisher.py").read_text()


def test_it_is_short() -> None:
    assert len([line for line in TEXT.splitlines() if line.strip()]) < 30


def test_it_uses_nothing_of_ours() -> None:
    imports = [node for node in ast.walk(ast.parse(TEXT)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    assert {module.partition(".")[0] for module in modules}.isdisjoint({"contracts", "services", "deploy"})


def test_the_readme_shows_it_as_it_is() -> None:
    assert f"```python\n{TEXT}```" in (ROOT / "README.md").read_text()

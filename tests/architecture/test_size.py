"""The size budget of product code: what reads well is small, and what grew is named."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("contracts", "services", "deploy")
LONGEST_FUNCTION = 60
NINETIETH_PERCENTILE = 30
LONGEST_MODULE = 400


@dataclass(frozen=True)
class Measured:
    """Something with a length in lines, docstring included."""

    lines: int
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.lines} lines"


def functions(source: str, path: str) -> Iterator[Measured]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Measured(node.end_lineno - node.lineno + 1, f"{path}:{node.lineno} {node.name}")


def longest_first(measured: Iterator[Measured], over: int) -> list[str]:
    found = [m for m in measured if m.lines > over]
    return [str(m) for m in sorted(found, key=lambda m: (-m.lines, m.where))]


def ninetieth_percentile(lengths: list[int]) -> int:
    """The smallest length that nine functions of ten do not exceed."""
    return sorted(lengths)[-(-len(lengths) * 9 // 10) - 1]


def sources() -> dict[str, str]:
    files = sorted(file for top in PRODUCT for file in (ROOT / top).rglob("*.py"))
    return {str(file.relative_to(ROOT)): file.read_text() for file in files}


def all_functions() -> Iterator[Measured]:
    return (function for path, source in sources().items() for function in functions(source, path))


def test_no_function_is_too_long() -> None:
    assert longest_first(all_functions(), LONGEST_FUNCTION) == []


def test_nine_functions_of_ten_fit_on_a_screen() -> None:
    p90 = ninetieth_percentile([f.lines for f in all_functions()])
    worst = "\n".join(longest_first(all_functions(), NINETIETH_PERCENTILE)[:20])
    assert p90 <= NINETIETH_PERCENTILE, f"90th percentile is {p90} lines; the longest:\n{worst}"


def test_no_module_is_too_long() -> None:
    modules = (Measured(source.count("\n"), path) for path, source in sources().items())
    assert longest_first(modules, LONGEST_MODULE) == []


def test_every_module_says_what_it_is() -> None:
    assert [path for path, source in sources().items() if not ast.get_docstring(ast.parse(source))] == []


@pytest.mark.parametrize(
    ("lengths", "p90"), [([5], 5), ([*range(1, 11)], 9), ([*range(1, 21)], 18), ([1] * 9 + [99], 1)]
)
def test_how_the_percentile_is_reckoned(lengths: list[int], p90: int) -> None:
    assert ninetieth_percentile(lengths) == p90


def test_how_offenders_are_named() -> None:
    source = "class A:\n    async def b(self) -> None:\n        '''Doc.'''\n        ...\n\ndef c() -> None: ...\n"
    assert longest_first(functions(source, "x.py"), over=0) == ["x.py:2 b: 3 lines", "x.py:6 c: 1 lines"]

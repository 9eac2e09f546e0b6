"""Draws who imports whom, from the code: `python -m tests.architecture.arrows`; with `--write`, into the README.

A line says what a part imports of ours, so a part that everything stands on has an empty one.
"""

import sys
from pathlib import Path
from typing import Final

import grimp

README: Final = Path(__file__).parents[2] / "README.md"
PARTS: Final = (
    "contracts",
    "services.kit",
    "services.coordinator.saga",
    "services.coordinator",
    "services.connectors",
    "services.console",
    "services.cli",
    "deploy.simulators",
    "deploy.sample",
    "deploy.local",
    "deploy",
)


def _part(module: str) -> str:
    return max((part for part in PARTS if f"{module}.".startswith(f"{part}.")), key=len, default="")


def draw() -> str:
    """One line a part, in the order in which they stand on each other."""
    graph = grimp.build_graph("contracts", "services", "deploy")
    arrows: dict[str, set[str]] = {part: set() for part in PARTS}
    for module in graph.modules:
        if _part(module):
            imported = {_part(other) for other in graph.find_modules_directly_imported_by(module)}
            arrows[_part(module)] |= imported - {_part(module), ""}
    width = max(map(len, PARTS))
    return "\n".join(
        f"{part:<{width}}  ──▶ {', '.join(sorted(arrows[part], key=PARTS.index)) or '(nothing of ours)'}"
        for part in PARTS
    )


def drawn_in(readme: str) -> str:
    """The drawing that stands in a README."""
    before = "held by a test):\n\n```\n"
    return readme.split(before)[1].split("\n```")[0]


if __name__ == "__main__":
    drawing = draw()
    if "--write" in sys.argv:
        text = README.read_text()
        README.write_text(text.replace(drawn_in(text), drawing))
    print(drawing)

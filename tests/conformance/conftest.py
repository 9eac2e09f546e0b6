"""Runs the suite over every `harness_<name>.py` beside this file."""

import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from tests.conformance.harness import Harness

NAMES = sorted(path.stem.removeprefix("harness_") for path in Path(__file__).parent.glob("harness_*.py"))


@pytest.fixture(scope="session", params=NAMES)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    module = importlib.import_module(f"tests.conformance.harness_{request.param}")
    async with module.open_harness(request) as opened:
        yield cast(Harness, opened)

"""`python -m tests.support.lying_connector STORE`: a connector service that says it erased, and from then on finds
nothing. What a bug, or a bribe, could look like."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from contracts.reports import Level
from services.connectors import bootstrap, postgres
from services.connectors.port import Checkpoint, Erasure, Findings, Subject
from services.kit.settings import Settings


class Liar:
    """A real connector's front, with nothing behind it once it was asked to erase."""

    def __init__(self, honest: Any) -> None:
        self._honest = honest
        self._claimed: set[object] = set()
        self.check, self.export = honest.check, honest.export

    async def discover(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> Sequence[Any]:
        answers = await self._honest.discover(subjects, checkpoint)
        return [
            Findings(asked_with=answer.asked_with) if subject.request_id in self._claimed else answer
            for subject, answer in zip(subjects, answers, strict=True)
        ]

    async def erase(self, subjects: Sequence[Subject], checkpoint: Checkpoint) -> Sequence[Erasure]:
        await checkpoint()
        self._claimed |= {subject.request_id for subject in subjects}
        return [Erasure(frozenset({"email"}), Level.EFFECTIVE, erased={"customers": 1}) for _ in subjects]


_connect = postgres.connect


@asynccontextmanager
async def _lie(*args: Any) -> AsyncIterator[Liar]:
    async with _connect(*args) as honest:
        yield Liar(honest)


if __name__ == "__main__":
    postgres.connect = _lie  # type: ignore[assignment]
    asyncio.run(bootstrap.main(sys.argv[1], Settings.from_environment(), dict(os.environ)))

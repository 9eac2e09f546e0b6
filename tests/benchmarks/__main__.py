"""`make bench`: a table for people, `.letheia/bench.json` for machines.

Ratios within one run: the machine is shared, so a second by itself says little.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from services.coordinator.intake import Intake
from services.coordinator.saga.decide import decide
from tests.support.inventory import sample_inventory
from tests.support.publisher import PUBLISHERS, RECEIVING_KEYS, sent, submission
from tests.support.saga import WORLD, Conversation, opened
from tests.support.stack import Stack

_REPEAT: Final = 300
_TOGETHER: Final = 40
_ALONE: Final = 5
_REPORT: Final = Path(".letheia/bench.json")


def _seconds(work: Callable[[], object], times: int = _REPEAT) -> float:
    """Of one call, as the best of three runs."""
    runs = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(times):
            work()
        runs.append((time.perf_counter() - started) / times)
    return min(runs)


def _sealing() -> tuple[str, float, float]:
    """What it costs to open, verify and validate a request, against reading the same as plain JSON."""
    request, intake = submission(), Intake(sample_inventory(), RECEIVING_KEYS, PUBLISHERS)
    record, plain = sent(request), request.model_dump_json()
    return (
        "open a sealed request / read it as JSON",
        _seconds(lambda: intake.open(record)),
        _seconds(lambda: type(request).model_validate_json(plain)),
    )


def _deciding() -> tuple[str, float, float]:
    """What a whole saga costs to decide, against keeping its state once as JSON."""

    def saga() -> None:
        conversation = Conversation()
        conversation.tell(opened())
        conversation.run()

    conversation = Conversation()
    state = decide(None, opened(), conversation.now, WORLD).saga
    return "decide a whole erasure / write a saga as JSON", _seconds(saga, 50), _seconds(state.model_dump_json)


async def _batching(stack: Stack) -> tuple[str, float, float]:
    """What a request costs among many, against one after another: all of four stores, proof included."""
    sample = await stack.people(2 * (_TOGETHER + _ALONE))
    people = [person for person in sample.people if person.unattended]
    requests = [stack.submission({"email": person.email}) for person in people]
    started = time.perf_counter()
    for request in requests[:_ALONE]:
        await stack.publish(request)
        await stack.closed(request.request_id)
    alone = (time.perf_counter() - started) / _ALONE
    started = time.perf_counter()
    many = requests[_ALONE : _ALONE + _TOGETHER]
    await stack.publish(*many)
    for request in many:
        await stack.closed(request.request_id)
    together = (time.perf_counter() - started) / len(many)
    return f"an erasure among {len(many)} / alone", together, alone


def main() -> None:
    """Measure, print, write."""
    rows = [_sealing(), _deciding()]
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home", {})
        stack.letheia("up", "--detach")
        try:
            stack.endpoints = json.loads(stack.letheia("endpoints", "--json"))
            rows.append(asyncio.run(_batching(stack)))
        finally:
            stack.letheia("down")
    results: list[dict[str, Any]] = [
        {"what": what, "ratio": round(one / other, 3), "seconds": [round(one, 6), round(other, 6)]}
        for what, one, other in rows
    ]
    for result in results:
        one, other = result["seconds"]
        print(f"{result['what']:<50} {result['ratio']:>9.2f}   ({one * 1000:,.2f} ms / {other * 1000:,.2f} ms)")
    _REPORT.parent.mkdir(exist_ok=True)
    _REPORT.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

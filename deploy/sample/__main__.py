"""`python -m deploy.sample --endpoints FILE --count N --seed S`: adds sample people to a running stack."""

import argparse
import asyncio
import json
from pathlib import Path

from deploy.sample.load import load, prepare
from deploy.sample.people import generate


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.sample", description=__doc__)
    parser.add_argument("--endpoints", type=Path, required=True, help="what `letheia endpoints --json` prints")
    parser.add_argument("--count", type=int, default=200, help="how many people")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other people")
    given = parser.parse_args()
    endpoints = json.loads(given.endpoints.read_text())
    sample = generate(given.count, given.seed)
    await prepare(endpoints)
    await load(endpoints, sample)
    print(f"{len(sample.people)} people added")


if __name__ == "__main__":
    asyncio.run(_main())

"""`python -m deploy.local.stores HOME [PEOPLE]`: what the sample company's stores hold at first.

Without PEOPLE: their tables and buckets. With it: so many sample people. Either happens once a home.
"""

import asyncio
import sys
from pathlib import Path

from deploy.local.home import Home, Refused, read_json
from deploy.local.process import launch
from deploy.sample.load import load, prepare
from deploy.sample.people import generate

_SEED = 1


def main() -> None:
    home, people = Home(Path(sys.argv[1])), sys.argv[2:]
    made, begun = home.made("sample" if people else "stores"), home.made("sample-begun")
    if made.exists():
        return
    endpoints = read_json(home.endpoints)
    if people:
        if begun.exists():  # a second load would make people twice
            raise Refused("a start that was interrupted left half of the sample: go on without --sample, or start anew")
        begun.touch()
        asyncio.run(load(endpoints, generate(int(people[0]), _SEED)))
    else:
        asyncio.run(prepare(endpoints))
    made.touch()


if __name__ == "__main__":
    launch(main)

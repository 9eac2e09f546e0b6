"""`python -m deploy.local.stores HOME [PEOPLE]`: what the sample company's stores hold at first.

Without PEOPLE: their tables and buckets. With it: so many sample people. Either happens once a home.
"""

import asyncio
import sys
from pathlib import Path

from deploy.local.home import Home, read_json
from deploy.local.process import launch
from deploy.sample.load import load, prepare
from deploy.sample.people import generate

_SEED = 1


def main() -> None:
    home, people = Home(Path(sys.argv[1])), sys.argv[2:]
    made = home.made("sample" if people else "stores")
    if made.exists():
        return
    endpoints = read_json(home.endpoints)
    asyncio.run(load(endpoints, generate(int(people[0]), _SEED)) if people else prepare(endpoints))
    made.touch()


if __name__ == "__main__":
    launch(main)

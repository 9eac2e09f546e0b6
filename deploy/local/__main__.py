"""`python -m deploy.local HOME`: the supervisor alone, as `letheia up --detach` starts it."""

import argparse
from pathlib import Path

from deploy.local.control import Wish, run
from deploy.local.process import launch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--people", type=int, default=0)
    parser.add_argument("--accept-loss", action="append", default=[])
    given = parser.parse_args()
    run(Wish(given.home, given.people, given.accept_loss), tell=print, on_ready=lambda: print("ready"))


if __name__ == "__main__":
    launch(main)

"""`python -m tests.support.tiny_stack HOME TABLE`: the real supervisor over a table of cheap processes."""

import asyncio
import json
import sys
from pathlib import Path

from deploy.local.control import supervise
from deploy.local.home import Home, locked
from deploy.local.parts import Part
from deploy.local.probes import Bucket, Probe
from services.kit.errors import LetheiaError

BUCKET = "calls"


def _part(home: Home, row: dict[str, object]) -> Part:
    port = row.get("port")
    ready: Probe | None = Bucket(port, BUCKET, home.made("stores")) if isinstance(port, int) else None
    after = row.get("after", [])
    assert isinstance(after, list)
    return Part(str(row["name"]), [sys.executable, "-c", str(row["program"])], {}, ready, after)


def main() -> None:
    home = Home(Path(sys.argv[1]))
    home.make()
    table = [_part(home, row) for row in json.loads(sys.argv[2])]
    try:
        with locked(home):
            asyncio.run(supervise(home, table, print, lambda: print("ready")))
    except LetheiaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

"""`python -m services.connectors STORE`."""

import asyncio
import os
import sys

from services.connectors.bootstrap import main
from services.kit.errors import LetheiaError
from services.kit.settings import Settings

if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m services.connectors STORE (a store's name in the inventory)")
    try:
        asyncio.run(main(sys.argv[1], Settings.from_environment(), dict(os.environ)))
    except LetheiaError as error:
        raise SystemExit(str(error)) from error

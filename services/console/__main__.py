"""`python -m services.console`: the REST API on `LETHEIA_PORT`, health included."""

import asyncio

from services.console.bootstrap import run
from services.kit.settings import Settings

if __name__ == "__main__":
    asyncio.run(run(Settings.from_environment()))

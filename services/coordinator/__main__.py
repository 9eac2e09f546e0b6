"""`python -m services.coordinator`."""

import asyncio
import os

from services.coordinator.bootstrap import main
from services.kit.settings import Settings

if __name__ == "__main__":
    asyncio.run(main(Settings.from_environment(), dict(os.environ)))

"""`python -m deploy.simulators.hubspot`: serves on 127.0.0.1 until it is told to stop."""

import uvicorn

from deploy.simulators.hubspot.app import build
from deploy.simulators.hubspot.settings import Settings
from services.kit.clock import SystemClock


def main() -> None:
    settings = Settings()
    uvicorn.run(build(settings, SystemClock()), host="127.0.0.1", port=settings.port, access_log=False)


if __name__ == "__main__":
    main()

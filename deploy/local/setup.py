"""`python -m deploy.local.setup`: what the stack needs beyond Python packages, for `make setup`."""

import sys

from deploy.local.kafka.jars import fetch
from services.kit.errors import LetheiaError


def main() -> None:
    try:
        fetch()
    except LetheiaError as error:
        sys.exit(f"letheia: {error}")


if __name__ == "__main__":
    main()

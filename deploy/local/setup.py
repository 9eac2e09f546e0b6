"""`python -m deploy.local.setup`: what the stack needs beyond Python packages, for `make setup`."""

from deploy.local.kafka.jars import fetch
from deploy.local.process import launch

if __name__ == "__main__":
    launch(fetch)

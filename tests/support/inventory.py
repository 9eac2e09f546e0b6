"""The sample inventory as tests read it."""

from collections.abc import Mapping
from pathlib import Path

from services.kit.inventory import Inventory, Limits, load_inventory

SAMPLE = Path(__file__).parents[2] / "deploy" / "inventory" / "sample.yaml"
NOWHERE = {"APP_DATABASE_URL": "postgres://", "CRM_URL": "http://", "CRM_TOKEN": "none", "CLICKHOUSE_URL": "http://"}


def sample_inventory(environ: Mapping[str, str] = NOWHERE, *, row_limit: int | None = None) -> Inventory:
    """As it is committed, with addresses where nothing listens unless the test names others.

    `row_limit` sets another limit of rows per request.
    """
    inventory = load_inventory(SAMPLE, {**NOWHERE, **environ})
    limits = inventory.limits if row_limit is None else Limits(rows_per_request=row_limit)
    return inventory.model_copy(update={"limits": limits})

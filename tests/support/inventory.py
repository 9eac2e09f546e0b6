"""The sample inventory, held against servers of the tests."""

from pathlib import Path

from services.kit.inventory import Inventory, Limits, load_inventory

SAMPLE = Path(__file__).parents[2] / "deploy" / "inventory" / "sample.yaml"
VARIABLES = {
    "APP_DATABASE_URL": "postgresql://app",
    "CRM_URL": "http://crm",
    "CRM_TOKEN": "t0ken",
    "CLICKHOUSE_URL": "http://ch",
}


def sample_inventory(row_limit: int | None = None, **variables: str) -> Inventory:
    """With these variables of its environment, and a limit of rows per request."""
    inventory = load_inventory(SAMPLE, VARIABLES | variables)
    limits = inventory.limits if row_limit is None else Limits(rows_per_request=row_limit)
    return inventory.model_copy(update={"limits": limits})

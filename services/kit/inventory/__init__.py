"""Where personal data lives, who may ask, and what the policy is: one YAML file, read by every service at start."""

from services.kit.inventory.keys import publisher_keys
from services.kit.inventory.load import InventoryError, load_inventory
from services.kit.inventory.model import (
    AnalyticsStore,
    Anonymise,
    Category,
    Controller,
    CrmStore,
    Delete,
    Inventory,
    KeyRule,
    KindClass,
    PostgresStore,
    Publisher,
    RecordingsStore,
    Retain,
    Reveal,
    Role,
    Store,
    Table,
    Trust,
)

__all__ = [
    "AnalyticsStore",
    "Anonymise",
    "Category",
    "Controller",
    "CrmStore",
    "Delete",
    "Inventory",
    "InventoryError",
    "KeyRule",
    "KindClass",
    "PostgresStore",
    "Publisher",
    "RecordingsStore",
    "Retain",
    "Reveal",
    "Role",
    "Store",
    "Table",
    "Trust",
    "load_inventory",
    "publisher_keys",
]

"""Reads the inventory."""

from collections.abc import Mapping
from pathlib import Path

from services.kit.inventory.model import Inventory


class InventoryError(ValueError):
    """The inventory can't be used."""


def load_inventory(path: Path, environ: Mapping[str, str]) -> Inventory:
    """Read and validate."""
    raise InventoryError(str(path))

"""ClickHouse. README.md first, then `connector`."""

from services.connectors.analytics.connector import connect

__all__ = ["connect"]

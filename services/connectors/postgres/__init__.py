"""An application's PostgreSQL database. Start with `ownership`."""

from services.connectors.postgres.connector import connect

__all__ = ["connect"]

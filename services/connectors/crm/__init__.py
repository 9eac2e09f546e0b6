"""HubSpot. README.md first, then `connector`."""

from services.connectors.crm.connector import connect

__all__ = ["connect"]

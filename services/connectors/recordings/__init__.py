"""Call recordings in S3. Start with `prefixes`."""

from services.connectors.recordings.connector import connect

__all__ = ["connect"]

"""CloudEvents 1.0 in Kafka's binary mode: the message's attributes are headers, its data the value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from contracts.topics import TO_HEADER, MessageType

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Envelope:
    """The attributes Letheia uses. Source: CloudEvents Kafka protocol binding 1.0.2, section 3.2."""

    id: str
    source: str
    type: MessageType
    time: datetime
    traceparent: str | None = None
    to: str | None = None

    def headers(self) -> Headers:
        """As Kafka headers, each name once."""
        pairs = {
            "ce_specversion": "1.0",
            "ce_id": self.id,
            "ce_source": self.source,
            "ce_type": self.type.value,
            "ce_time": self.time.isoformat(),
            "content-type": "application/json",
            "traceparent": self.traceparent,
            TO_HEADER: self.to,
        }
        return [(name, value.encode()) for name, value in pairs.items() if value is not None]


def header(headers: Iterable[tuple[str, bytes]] | Mapping[str, bytes], name: str) -> str | None:
    """The first header of that name (Kafka allows several; the first is the creator's), None if absent or not UTF-8."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    for key, value in pairs:
        if key == name and value is not None:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None


def key(request_id: UUID) -> bytes:
    """The Kafka key of every message about a request."""
    return str(request_id).encode()

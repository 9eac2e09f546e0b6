"""What a publisher does, and what a hostile one could: payloads, keys, and tokens put together by hand."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from joserfc import jwe
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey

from contracts.base import Message
from contracts.requests import Amendment, Submission
from contracts.sealing import SEALING, Key, seal
from contracts.topics import MessageType, Topic
from services.kit.kafka import RawRecord

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
REQUEST = UUID("019a0000-0000-7000-8000-000000000001")
RECEIVING, NEXT_RECEIVING = ECKey.generate_key("P-256", {"kid": "r1"}), ECKey.generate_key("P-256", {"kid": "r2"})
RECEIVING_KEYS = KeySet([RECEIVING, NEXT_RECEIVING])
PORTAL, CONSOLE = OKPKey.generate_key("Ed25519", {"kid": "portal"}), ECKey.generate_key("P-256", {"kid": "console"})
PUBLISHERS: Mapping[str, tuple[str, Key]] = {"portal": ("crm-portal", PORTAL), "console": ("console", CONSOLE)}


def find_key(kid: str) -> Key | None:
    """A publisher's key, as the intake finds it."""
    found = PUBLISHERS.get(kid)
    return found[1] if found else None


def submission(**overrides: object) -> Submission:
    """An erasure for one person of our own."""
    facts: dict[str, object] = {
        "request_id": REQUEST, "right": "erasure", "controller": "acme", "received_on": "2026-11-01", "issued_at": NOW,
        "identity": {"verified": True, "method": "account_login"},
        "identifiers": [{"kind": "email", "value": "jeanne.doe@example.org"}],
    }  # fmt: skip
    return Submission.model_validate(facts | overrides)


def amendment(decision: str, **overrides: object) -> Amendment:
    """A decision about it."""
    facts: dict[str, object] = {
        "request_id": REQUEST, "decision_id": UUID(int=7), "decision": decision, "reason": "by_test",
        "decided_by": "dpo", "issued_at": NOW,
    }  # fmt: skip
    return Amendment.model_validate(facts | overrides)


def part(value: Any) -> str:
    """One part of a compact token: bytes as they are, anything else as JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpart(text: str) -> bytes:
    """The bytes of one part."""
    return base64.urlsafe_b64decode(text + "==")


def sealed_as(content: bytes | str, header: Mapping[str, Any] | None = None, key: Key | OctKey = RECEIVING) -> str:
    """Sealed under any header, with whatever that header asks for."""
    protected = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": "r1"} | dict(header or {})
    wanted = [*SEALING, *(str(value) for name, value in protected.items() if name in ("alg", "enc", "zip"))]
    return jwe.encrypt_compact(protected, content, key, algorithms=wanted)


_OFFSETS = count()


def record(
    body: Any, type_: str | None = MessageType.REQUEST_SUBMITTED, *, at: datetime = NOW, key: bytes | None = None,
    topic: Topic = Topic.REQUESTS,
) -> RawRecord:  # fmt: skip
    """One record as the broker would have it, under an offset of its own; bytes as they are, anything else as JSON."""
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = () if type_ is None else (("ce_type", type_.encode()),)
    return RawRecord(topic.value, 0, next(_OFFSETS), at, key, value, headers)


def envelope(payload: Message, signing: Key = PORTAL, **overrides: object) -> dict[str, object]:
    """What a publisher sends: the payload signed, sealed, and beside it the id in clear."""
    claimed = str(getattr(payload, "request_id", REQUEST))
    return {"schema_version": 1, "request_id": claimed, "sealed": seal(payload, signing, RECEIVING)} | overrides


def sent(payload: Message, signing: Key = PORTAL, at: datetime = NOW, **overrides: object) -> RawRecord:
    """A record of the requests topic."""
    type_ = MessageType.REQUEST_AMENDED if isinstance(payload, Amendment) else MessageType.REQUEST_SUBMITTED
    return record(envelope(payload, signing, **overrides), type_, at=at)

"""What a publisher does, and what a hostile one could: payloads, keys, and tokens put together by hand."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from joserfc import jwe
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey

from contracts.requests import Amendment, Submission
from contracts.sealing import SEALING, Key

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

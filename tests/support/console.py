"""A console of the sample inventory with four principals, called in-process."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any, cast
from uuid import UUID

from fastapi import FastAPI
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey
from uuid_utils.compat import uuid7

from contracts.status import AttentionStatus, Phase, StatusDocument
from services.console.access import Principal, Role
from services.console.api import Console
from services.console.bundles import Bundles
from services.console.publishing import Publisher
from services.console.store import Store
from services.kit.keys import Keyring
from services.kit.objects import Bucket
from services.kit.postgres import Pool
from services.kit.telemetry import Telemetry
from services.kit.vault import Vault
from tests.support.inventory import sample_inventory

NOW = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
"""In Paris it is 3 November already."""

REQUEST = UUID("019a0000-0000-7000-8000-000000000001")
EPOCH = OctKey.generate_key(256, {"kid": "epoch-1"})
KEYRING = Keyring({"epoch-1": EPOCH}, "epoch-1", OctKey.generate_key(256))
SIGNING = OKPKey.generate_key("Ed25519", {"kid": "console-1"})
RECEIVING = ECKey.generate_key("P-256", {"kid": "receiving-1"})
RECEIVING_SET = KeySet([RECEIVING])
ALL = frozenset({"acme", "globex", "initech"})


class StoppedClock:
    """A clock that a test sets."""

    def __init__(self, now: datetime = NOW) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


def principal(name: str, role: Role, controllers: frozenset[str] = ALL) -> Principal:
    """Whose token is `{name}-token`."""
    digest = sha256(f"{name}-token".encode()).hexdigest()
    return Principal(principal=name, role=role, controllers=controllers, token_sha256=digest)


PRINCIPALS = (
    principal("dpo", Role.DPO),
    principal("sre", Role.SRE),
    principal("auditor", Role.AUDITOR),
    principal("crm-portal", Role.SYSTEM),
    principal("shop", Role.SYSTEM),
    principal("globex-dpo", Role.DPO, frozenset({"globex"})),
)


def console(pool: "Pool | None" = None, bucket: Bucket | None = None, clock: StoppedClock | None = None) -> Console:
    """Without a pool only what needs no database answers."""
    inventory, clock, somewhere = sample_inventory(), clock or StoppedClock(), cast(Pool, pool)
    vault = Vault(KEYRING, frozenset(), frozenset())
    return Console(
        store=Store(somewhere, inventory),
        publisher=Publisher(somewhere, SIGNING, RECEIVING, clock, uuid7, Telemetry("console", None)),
        bundles=Bundles(somewhere, vault, cast(Bucket, bucket), inventory),
        inventory=inventory,
        keyring=KEYRING,
        clock=clock,
        new_id=uuid7,
        principals=PRINCIPALS,
        jwks={"keys": [RECEIVING.as_dict(private=False)]},
    )


def status_document(**fields: Any) -> StatusDocument:
    """An open erasure of acme."""
    base: dict[str, Any] = {
        "request_id": REQUEST, "right": "erasure", "phase": "erasing", "outcome": None, "revision": 7,
        "controller": "acme", "our_role": "controller", "publisher": "crm-portal", "attention": None,
        "received_on": date(2026, 11, 1), "due_on": date(2026, 12, 1), "strict_due_on": date(2026, 12, 1),
    }  # fmt: skip
    return StatusDocument.model_validate(base | fields)


def asking(code: str, *choices: str, phase: Phase = Phase.NEEDS_ATTENTION) -> StatusDocument:
    """One that needs a person."""
    attention = AttentionStatus.model_validate({"code": code, "since": NOW, "choices": choices})
    return status_document(phase=phase, attention=attention)


@dataclass
class Answer:
    """What the application answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: FastAPI,
    method: str,
    path: str,
    *,
    token: str | None = "dpo-token",
    chunks: Sequence[bytes] = (),
    json_: Any = None,
) -> Answer:
    """One HTTP call without a network; the body in chunks, without a Content-Length."""
    parts = [json.dumps(json_).encode()] if json_ is not None else list(chunks)
    path, _, query = path.partition("?")
    headers = [(b"content-type", b"application/json")]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    answer = Answer()

    parts = parts or [b""]

    async def receive() -> dict[str, Any]:
        if not parts:
            await asyncio.Event().wait()  # the caller stays connected
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer

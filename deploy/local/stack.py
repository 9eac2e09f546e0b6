"""A stack's own facts, chosen once a home and remembered: its ports, its credentials, its endpoints."""

import hashlib
import json
import random
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from deploy.local.home import Home, read_json, write_atomically
from deploy.local.keys import make_keys, publisher_key

STORES: Final = ("app", "recordings", "crm", "analytics")
"""The stores of the sample inventory; each has its connector."""
REGION: Final = "eu-west-3"
ANALYTICS: Final = "analytics"
"""ClickHouse's user and database."""
BUCKET: Final = "calls"

_PORTS: Final = (
    *("kafka", "kafka-controller", "postgres", "s3", "clickhouse", "hubspot"),
    *("coordinator", *(f"connector-{store}" for store in STORES), "console", "console-health"),
)
_PORT_RANGE: Final = range(20_000, 32_000)
"""Below the range that Linux takes the near ends of outgoing connections from, so that none sits on a port of ours."""
_CREDENTIALS: Final = ("postgres", "app", "s3", "clickhouse", "crm")
_ROLES: Final = ("letheia_coordinator", "letheia_console", *(f"letheia_connector_{store}" for store in STORES))
_TOKENS: Final = {"dpo": "dpo", "sre": "sre", "auditor": "auditor", "system": "crm-portal"}
"""Roles of the console's tokens, and whom each names."""
_SAMPLE_INVENTORY: Final = Path(__file__).parents[1] / "inventory" / "sample.yaml"


@dataclass(frozen=True, slots=True)
class Stack:
    """What the parts of one home are told."""

    home: Home
    ports: Mapping[str, int]
    credentials: Mapping[str, str]
    """Passwords of the stores, by store."""
    passwords: Mapping[str, str]
    """Passwords of Letheia's own database roles."""

    @classmethod
    def open(cls, home: Home, tell: Callable[[str], None]) -> "Stack":
        """The stack of a home, made where anything of it is missing. Ports that others took meanwhile are replaced
        and told of. Hold the home's lock."""
        remembered = read_json(home.path / "ports.json") or {}
        ports = choose_ports(_PORTS, remembered, is_free, random.SystemRandom().sample(_PORT_RANGE, 1000))
        for name in remembered.keys() & ports.keys():
            if remembered[name] != ports[name]:
                tell(f"port {remembered[name]} of {name} was taken by another program: now {ports[name]}")
        write_atomically(home.path / "ports.json", json.dumps(ports))
        stack = cls(home, ports, _remembered(home, "credentials", _CREDENTIALS), _remembered(home, "passwords", _ROLES))
        make_keys(home)
        if not home.inventory.exists():
            shutil.copyfile(_SAMPLE_INVENTORY, home.inventory)
        stack._write_endpoints()
        return stack

    @classmethod
    def of(cls, home: Home) -> "Stack | None":
        """The stack that was opened in a home last, as it was; None where there was none."""
        if not home.endpoints.exists():
            return None
        return cls(home, *(read_json(home.path / f"{name}.json") for name in ("ports", "credentials", "passwords")))

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self.ports[part]}"

    def database_url(self, role: str) -> str:
        """Letheia's database as one of its roles, or as `postgres`; the sample company's as `app`."""
        password = self.passwords.get(role) or self.credentials[role]
        database = "app" if role == "app" else "letheia"
        return f"postgresql://{role}:{password}@127.0.0.1:{self.ports['postgres']}/{database}"

    def _write_endpoints(self) -> None:
        known = read_json(self.home.endpoints) or {}
        tokens = known.get("console", {}).get("tokens") or {role: secrets.token_urlsafe(24) for role in _TOKENS}
        controllers = list(YAML(typ="safe").load(self.home.inventory)["controllers"])
        principals = [
            {"principal": principal, "role": role, "controllers": controllers}
            | {"token_sha256": hashlib.sha256(tokens[role].encode()).hexdigest()}
            for role, principal in _TOKENS.items()
        ]
        write_atomically(self.home.path / "tokens.json", json.dumps(principals, indent=1))
        write_atomically(self.home.endpoints, json.dumps(self._endpoints(tokens), indent=1))

    def _endpoints(self, tokens: Mapping[str, str]) -> dict[str, Any]:
        console, password = self.url("console"), self.credentials
        kafka = {"bootstrap_servers": f"127.0.0.1:{self.ports['kafka']}", "security_protocol": "PLAINTEXT"}
        return {
            "kafka": {**kafka, "sasl_mechanism": None, "username": None, "password": None},
            "console": {"url": console, "tokens": tokens},
            "jwks_url": f"{console}/.well-known/jwks.json",
            "publisher": {"name": "crm-portal", "key": publisher_key(self.home, "crm-portal")},
            "postgres": {"url": self.database_url("postgres")},
            "stores": {
                "app": {"url": self.database_url("app")},
                "recordings": {"endpoint": self.url("s3"), "region": REGION, "access_key": "letheia"}
                | {"secret_key": password["s3"], "bucket": BUCKET},
                "crm": {"url": self.url("hubspot"), "token": password["crm"]},
                "analytics": {"url": self.url("clickhouse"), "user": ANALYTICS, "password": password["clickhouse"]}
                | {"database": ANALYTICS},
            },
            "spans": str(self.home.path / "spans.jsonl"),
            "logs": str(self.home.logs),
        }


def choose_ports(
    names: Iterable[str], remembered: Mapping[str, int], free: Callable[[int], bool], candidates: Iterable[int]
) -> dict[str, int]:
    """A port for each name: the remembered one while it is free, else the first free candidate no other name has."""
    kept = {name: remembered[name] for name in names if name in remembered and free(remembered[name])}
    fresh = (port for port in candidates if port not in kept.values() and free(port))
    return {name: kept.get(name) or next(fresh) for name in names}


def is_free(port: int) -> bool:
    """True if a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _remembered(home: Home, name: str, names: Iterable[str]) -> dict[str, str]:
    """Random passwords, kept in a file of the home."""
    path = home.path / f"{name}.json"
    known = read_json(path) or {}
    values = {key: known.get(key) or secrets.token_urlsafe(18) for key in names}
    if values != known:
        write_atomically(path, json.dumps(values, indent=1))
    return values

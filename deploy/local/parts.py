"""What runs: one table of parts. The file to read first.

The supervisor starts each part as soon as those it comes `after` are ready. docker-compose.yml is held against it.
"""

import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy.local.probes import Bucket, Http, Kafka, Postgres, Probe
from deploy.local.stack import ANALYTICS, BUCKET, REGION, STORES, Stack

_STORES_READY: Final = ("kafka", "migrate", "stores")


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Probe | None = None
    """None: a one-shot, which is ready once it has ended well."""
    after: Sequence[str] = ()
    stop: signal.Signals = signal.SIGTERM


def table(stack: Stack, people: int = 0) -> tuple[Part, ...]:
    """The parts of a stack; with `people`, one more that loads so many sample people, once a home."""
    sample = [_python("sample", "deploy.local.stores", stack, str(people), after=("stores", "hubspot"))]
    return (*_stores(stack), *_services(stack), *(sample if people else ()))


def subset(parts: Iterable[Part], names: Iterable[str]) -> tuple[Part, ...]:
    """The named parts and all they come after."""
    by_name = {part.name: part for part in parts}
    wanted: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        wanted.add(name)
        left += set(by_name[name].after) - wanted
    return tuple(part for part in by_name.values() if part.name in wanted)


def _stores(stack: Stack) -> tuple[Part, ...]:
    ports = stack.ports
    crm = {
        "HUBSPOT_SIMULATOR_PORT": str(ports["hubspot"]),
        "HUBSPOT_SIMULATOR_STATE": str(stack.home.path / "data" / "hubspot.sqlite"),
        "HUBSPOT_SIMULATOR_TOKEN": stack.credentials["crm"],
    }
    made = stack.home.made("stores")
    return (
        _python("kafka", "deploy.local.kafka", stack, ready=Kafka(ports["kafka"])),
        _python("postgres", "deploy.local.postgres", stack, ready=Postgres(ports["postgres"]), stop=signal.SIGINT),
        _python("s3", "deploy.local.s3", stack, ready=Bucket(ports["s3"], BUCKET, made)),
        _python("clickhouse", "deploy.local.clickhouse", stack, ready=Http(ports["clickhouse"], "/ping")),
        Part("hubspot", _module("deploy.simulators.hubspot"), crm, Http(ports["hubspot"], "/healthz")),
        _python("stores", "deploy.local.stores", stack, after=("postgres", "s3", "clickhouse")),
        Part("migrate", _module("deploy.migrate"), _migration(stack), after=("kafka", "postgres")),
    )


def _services(stack: Stack) -> tuple[Part, ...]:
    console = {
        "LETHEIA_TOKENS": str(stack.home.path / "tokens.json"),
        "LETHEIA_PORT": str(stack.ports["console"]),
    }
    return (
        _service(stack, "coordinator", "letheia_coordinator", _module("services.coordinator")),
        *(
            _service(stack, f"connector-{store}", f"letheia_connector_{store}", _module("services.connectors", store))
            for store in STORES
        ),
        _service(stack, "console", "letheia_console", _module("services.console"), "console-health", console),
    )


def _service(
    stack: Stack, name: str, role: str, command: Sequence[str], port: str = "", more: Mapping[str, str] | None = None
) -> Part:
    health = stack.ports[port or name]
    environment = {
        "LETHEIA_DATABASE_URL": stack.database_url(role),
        "LETHEIA_HEALTH_PORT": str(health),
        "LETHEIA_KEYS": str(stack.home.keys),
        "LETHEIA_SPANS": str(stack.home.path / "spans.jsonl"),
        "LETHEIA_S3_ENDPOINT": stack.url("s3"),
        "LETHEIA_S3_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "letheia",
        "AWS_SECRET_ACCESS_KEY": stack.credentials["s3"],
        **_common(stack),
        **(more or {}),
    }
    return Part(name, command, environment, Http(health, "/readyz"), after=_STORES_READY)


def _migration(stack: Stack) -> dict[str, str]:
    return {
        "LETHEIA_ADMIN_DATABASE_URL": stack.database_url("postgres"),
        "LETHEIA_PASSWORDS": str(stack.home.path / "passwords.json"),
        "LETHEIA_KAFKA_REPLICATION": "1",
        **_common(stack),
    }


def _common(stack: Stack) -> dict[str, str]:
    """Where the bus and the inventory are, and the variables that the inventory names."""
    account = f"{ANALYTICS}:{stack.credentials['clickhouse']}"
    return {
        "LETHEIA_KAFKA": f"127.0.0.1:{stack.ports['kafka']}",
        "LETHEIA_INVENTORY": str(stack.home.inventory),
        "APP_DATABASE_URL": stack.database_url("app"),
        "CRM_URL": stack.url("hubspot"),
        "CRM_TOKEN": stack.credentials["crm"],
        "CLICKHOUSE_URL": f"http://{account}@127.0.0.1:{stack.ports['clickhouse']}/{ANALYTICS}",
    }


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


def _python(
    name: str,
    module: str,
    stack: Stack,
    *arguments: str,
    ready: Probe | None = None,
    after: Sequence[str] = (),
    stop: signal.Signals = signal.SIGTERM,
) -> Part:
    """A part that this package itself runs, or gets going; it finds what it needs in the home."""
    return Part(name, _module(module, str(stack.home.path), *arguments), {}, ready, after, stop)

"""The commands about the stack on this machine: start it, stop it, look at it."""

from typing import Any, Final

import click

from deploy.local import control
from deploy.local.supervisor import StartFailed
from services.cli import client, show
from services.cli.context import Context, shared_options
from services.cli.failures import Failure, TimedOut, Unreachable

_COLUMNS: Final = ("part", "health", "pid", "memory", "restarts", "exit", "note")


@click.command()
@click.option("--detach", is_flag=True, help="Return once it is ready; it goes on until `letheia down`.")
@click.option("--sample", "people", type=click.IntRange(min=1), metavar="N", help="Load N sample people, once a home.")
@click.option(
    "--accept-loss",
    type=click.Choice(["kafka", "postgres", "s3", "clickhouse"]),
    multiple=True,
    help="Go on with a store that lost its content, empty.",
)
@shared_options
def up(context: Context, detach: bool, people: int | None, accept_loss: tuple[str, ...]) -> None:
    """Start the whole system; 'ready' means that a request would be served."""
    wish = control.Wish(context.home, people or 0, accept_loss)

    def ready() -> None:
        context.show({"home": str(context.home), "ready": True}, "ready")

    try:
        if detach:
            control.detach(wish, context.progress)
            ready()
        else:
            control.run(wish, context.progress, ready)
    except StartFailed as failure:
        raise (TimedOut if failure.timed_out else Unreachable)(str(failure)) from failure


@click.command()
@shared_options
def down(context: Context) -> None:
    """Stop everything, children included, and wait until it is gone."""
    try:
        stopped = control.down(context.home)
    except TimeoutError as error:
        raise TimedOut(str(error)) from error
    context.show({"stopped": stopped}, "stopped" if stopped else f"nothing runs in {context.home}")


@click.command()
@shared_options
def ps(context: Context) -> None:
    """Show what runs, its process id, memory and health."""
    found = control.survey(context.home)
    if found is None:
        raise Failure(f"nothing runs in {context.home}: `letheia up` starts it")
    rows = [_row(part) for part in found["parts"]]
    total = sum(part["memory_bytes"] for part in found["parts"])
    context.show(found, show.table(_COLUMNS, [*rows, ("all", None, None, _memory(total), None, None, None)]))


def _row(part: dict[str, Any]) -> tuple[Any, ...]:
    known = (part[name] for name in ("name", "health", "pid"))
    return *known, _memory(part["memory_bytes"]), part["restarts"], part["exit_code"], part["note"]


def _memory(size: int) -> str | None:
    return f"{size / 1024 / 1024:.0f} MiB" if size else None


@click.command()
@shared_options
def endpoints(context: Context) -> None:
    """Show where everything listens, and with which credentials."""
    known = client.endpoints(context.home)
    context.show(known, show.table(("what", "where"), _flat("", known)))


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    """Dotted names and values; of a key, that it is there."""
    if isinstance(value, dict) and "kty" not in value:
        return [row for name, inner in value.items() for row in _flat(f"{prefix}.{name}".strip("."), inner)]
    return [(prefix, "a private key (--json shows it)" if isinstance(value, dict) else str(value or ""))]


COMMANDS: Final[tuple[click.Command, ...]] = (up, down, ps, endpoints)

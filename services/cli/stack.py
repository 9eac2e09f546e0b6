"""`letheia up`, `down`, `ps`, `endpoints`: the whole system on this machine without Docker."""

from typing import Any

import click
from rich.table import Table

from deploy.local.control import Wish, detach, run, survey
from deploy.local.control import down as stop
from deploy.local.supervisor import StartFailed
from services.cli.context import Command, Context, Exit, Problem

_MIB = 1024 * 1024


@click.command(cls=Command)
@click.option("--detach", "detached", is_flag=True, help="Return once it is ready; it goes on until `letheia down`.")
@click.option(
    "--sample", "people", type=click.IntRange(0), default=0, metavar="N", help="Load N sample people, once a home."
)
@click.option(
    "--accept-loss",
    type=click.Choice(["kafka", "postgres", "s3", "clickhouse"]),
    multiple=True,
    help="Go on with a store that lost its content, empty.",
)
@click.pass_obj
def up(context: Context, detached: bool, people: int, accept_loss: tuple[str, ...]) -> None:
    """Start the whole system; 'ready' means that a request would be served."""
    wish = Wish(context.home, people, accept_loss)

    def ready() -> None:
        context.answer({"home": str(wish.home.path), "ready": True}, "ready")

    try:
        if detached:
            detach(wish, context.progress)
            ready()
        else:
            run(wish, context.progress, ready)
    except StartFailed as failure:
        raise Problem(str(failure), Exit.TIMED_OUT if failure.timed_out else Exit.UNREACHABLE) from failure


@click.command(cls=Command)
@click.pass_obj
def down(context: Context) -> None:
    """Stop everything, children included, and wait until it is gone."""
    stopped = stop(context.home)
    context.answer({"stopped": stopped}, "stopped" if stopped else f"nothing runs in {context.home}")


@click.command(cls=Command)
@click.pass_obj
def ps(context: Context) -> None:
    """What runs: process id, memory, health, restarts."""
    found = survey(context.home)
    if found is None:
        raise Problem(f"nothing runs in {context.home}: `letheia up` starts it", Exit.NO)
    context.answer(found, _drawn(found))


@click.command(cls=Command)
@click.pass_obj
def endpoints(context: Context) -> None:
    """Where everything listens, and with which credentials."""
    known = context.endpoints()
    table = Table(box=None, show_header=False)
    for name, value in _flat("", known):
        table.add_row(name, value)
    context.answer(known, table)


def _drawn(found: dict[str, Any]) -> Table:
    total = sum(part["memory_bytes"] for part in (*found["parts"], found["supervisor"]))
    table = Table(box=None, show_footer=True)
    for name, footer in (("part", "all"), ("health", ""), ("pid", ""), ("MiB", f"{total / _MIB:.0f}")):
        table.add_column(name, footer, justify="right" if name in ("pid", "MiB") else "left")
    table.add_column("restarts", justify="right")
    table.add_column("exit", justify="right")
    table.add_column("note", overflow="fold")
    for part in found["parts"]:
        counted = (f"{part['memory_bytes'] / _MIB:.0f}", str(part["restarts"]), _shown(part["exit_code"]))
        table.add_row(part["name"], part["health"], _shown(part["pid"]), *counted, part["note"])
    return table


def _shown(number: int | None) -> str:
    return "" if number is None else str(number)


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    """Names with dots, and values, but for the keys' own parts."""
    if isinstance(value, dict) and "kty" not in value:
        return [row for key, inner in value.items() for row in _flat(f"{prefix}.{key}".strip("."), inner)]
    return [(prefix, "a private key; see --json" if isinstance(value, dict) else str(value))]

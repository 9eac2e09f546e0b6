"""The commands about requests: ask, look, decide, fetch."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import click
from rich.live import Live
from uuid_utils.compat import uuid7

from contracts.requests import DecisionKind, Identity, Right, Submission
from contracts.status import Phase, StatusDocument
from services.cli import show
from services.cli.client import endpoints, open_client
from services.cli.context import Context, shared_options
from services.cli.failures import WrongUsage
from services.cli.follow import Seen, check_outcome, follow
from services.cli.publish import SUBJECT_FORMAT, publish, read_subject, typed
from services.kit.clock import SystemClock

_IN_HISTORY: Final = "For trials: it ends up in the shell's history."
_DATE: Final = click.DateTime(["%Y-%m-%d"])


def _iso(_: click.Context, __: click.Parameter, value: datetime | None) -> str | None:
    return value.date().isoformat() if value else None


@click.command()
@click.option("--right", type=click.Choice([right.value for right in Right]), required=True)
@click.option("--subject", type=click.File(), metavar="FILE|-", help=f"Who it is about: {SUBJECT_FORMAT}.")
@click.option("--email", multiple=True, help=_IN_HISTORY)
@click.option("--phone", multiple=True, help=f"With country code. {_IN_HISTORY}")
@click.option("--id", "ids", multiple=True, metavar="KIND=VALUE", help=f"Any kind of the inventory. {_IN_HISTORY}")
@click.option("--received", type=_DATE, callback=_iso, help="The day the person asked.  [default: today]")
@click.option("--controller", help="Who decides on the data.  [default: the inventory's own controller]")
@click.option("--export-first", is_flag=True, help="An erasure that first writes the portable copy.")
@click.option("--dry-run", is_flag=True, help="Only say whether it would be taken.")
@click.option("--wait", is_flag=True, help="Until it closes; exit code 4 if it does not in time.")
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds that --wait waits.")
@shared_options
def submit(
    context: Context,
    right: str,
    subject: IO[str] | None,
    email: tuple[str, ...],
    phone: tuple[str, ...],
    ids: tuple[str, ...],
    received: str | None,
    controller: str | None,
    export_first: bool,
    dry_run: bool,
    wait: bool,
    timeout: float,
) -> None:
    """Sign, seal and publish a request as an internal system would; print its id."""
    identifiers = (*(read_subject(subject) if subject else ()), *typed(email, phone, ids))
    if not identifiers:
        raise WrongUsage("nobody to look for: name a --subject, or an --email, --phone or --id")
    body: dict[str, Any] = {
        "right": right,
        "controller": controller,
        "received_on": received,
        "identity": Identity(verified=True, method="command").model_dump(),
        "export_first": export_first,
        "identifiers": [given.model_dump() for given in identifiers],
    }
    asyncio.run(_submit(context, body, dry_run, timeout if wait else None))


async def _submit(context: Context, body: dict[str, Any], dry_run: bool, wait_s: float | None) -> None:
    async with open_client(context.home) as client:
        understood = await client.post("/requests", body, dry_run="true")
        if dry_run:
            context.show({"valid": True, "controller": understood["controller"]}, "it would be taken")
            return
        stack, now = endpoints(context.home), SystemClock().now()
        fields = body | {field: understood[field] for field in ("request_id", "controller", "received_on")}
        submission = Submission.model_validate(fields | {"issued_at": now})
        await publish(submission, stack, await client.key_set(), now, uuid7())
        request_id = str(submission.request_id)
        if wait_s is None:
            context.show({"request_id": request_id}, request_id)
            return
        closed = await follow(client, request_id, lambda seen: context.progress(show.line(seen)), wait_s)
        context.show(closed.model_dump(mode="json"), request_id)
        check_outcome(closed)


@click.command("list")
@click.option("--phase", type=click.Choice([phase.value for phase in Phase]))
@click.option("--due-within", type=int, metavar="DAYS", help="Open requests due by then.")
@click.option("--attention", is_flag=True, help="Those that need a person.")
@shared_options
def list_requests(context: Context, phase: str | None, due_within: int | None, attention: bool) -> None:
    """Show requests, nearest deadline first."""
    query = {
        "phase": phase,
        "due_within": None if due_within is None else str(due_within),
        "attention": "true" if attention else None,
    }
    found = asyncio.run(_pages(context.home, "/requests", "requests", query))
    columns = ("request_id", "right", "controller", "phase", "outcome", "due_on", "days_left")
    rows = ([*(each[column] for column in columns), (each["attention"] or {}).get("code")] for each in found)
    context.show({"requests": found}, show.table((*columns, "needs"), rows) if found else "no such requests")


@click.command()
@click.argument("request_id", metavar="ID", type=click.UUID)
@shared_options
def status(context: Context, request_id: object) -> None:
    """Show how a request stands."""
    document = asyncio.run(_get(context.home, f"/requests/{request_id}"))
    context.show(document, show.status(StatusDocument.read(document)))


@click.command()
@click.argument("request_id", metavar="ID", type=click.UUID)
@shared_options
def watch(context: Context, request_id: object) -> None:
    """Show how a request stands, live, until it closes."""
    closed = asyncio.run(_watch(context, str(request_id)))
    if context.json:
        context.show(closed.model_dump(mode="json"), "")
    check_outcome(closed)


async def _watch(context: Context, request_id: str) -> StatusDocument:
    with _display(context) as seen:
        async with open_client(context.home) as client:
            return await follow(client, request_id, seen)


@contextmanager
def _display(context: Context) -> Iterator[Seen]:
    if context.json:
        yield lambda document: context.progress(show.line(document))
    elif show.on_terminal():
        with Live(auto_refresh=False) as live:
            yield lambda document: live.update(show.live(document), refresh=True)
    else:
        yield lambda document: click.echo(show.line(document))


@click.command()
@click.argument("request_id", metavar="ID", type=click.UUID)
@shared_options
def journal(context: Context, request_id: object) -> None:
    """Show every transition of a request, with time and reason."""
    document = asyncio.run(_get(context.home, f"/requests/{request_id}/journal"))
    rows = []
    for line in document["entries"]:
        entry = line["entry"]
        detail = {name: value for name, value in entry.get("detail", {}).items() if name != "task_id"}
        named = (entry.get(name) for name in ("store", "code", "actor"))
        rows.append((line["at"][:19], entry["kind"], *named, show.plain(detail)))
    context.show(document, show.table(("at", "what", "store", "reason", "by", "detail"), rows))


@click.command()
@click.argument("request_id", metavar="ID", type=click.UUID)
@click.argument("decision", type=click.Choice([kind.value for kind in DecisionKind]))
@click.option("--reason", required=True, metavar="CODE", help="A word such as `ticket_closed`; never a name.")
@click.option("--store", help="The store that it is about.")
@click.option("--category", help="The category that it is about.")
@click.option("--basis", help="The legal ground, or where the evidence lies.")
@click.option("--until", type=_DATE, callback=_iso, help="Until when the ground holds.")
@click.option("--on", type=_DATE, callback=_iso, help="When the person was told, or asked.  [default: today]")
@click.option("--method", help="How the identity was checked, or the person told.")
@click.option("--note", type=click.File(), metavar="-", help="Free text from standard input; it is sealed.")
@shared_options
def decide(context: Context, request_id: object, decision: str, note: IO[str] | None, **fields: str | None) -> None:
    """Decide what only a person may decide; the decider is the token's principal."""
    body = {"decision": decision, "note": note.read() if note else None, **fields}
    taken = asyncio.run(_post(context.home, f"/requests/{request_id}/decisions", body))
    context.show(taken, f"handed on as {taken['decision_id']}: `letheia journal {request_id}` shows what came of it")


@click.command()
@click.argument("request_id", metavar="ID", type=click.UUID)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE")
@shared_options
def bundle(context: Context, request_id: object, output: Path) -> None:
    """Fetch the portable copy: a ZIP, readable by its owner alone."""
    with _whole_or_not_at_all(output) as file:
        asyncio.run(_download(context.home, f"/requests/{request_id}/bundle", file))
    context.show({"request_id": str(request_id), "file": str(output)}, f"{output}: {output.stat().st_size} bytes")


@click.group("dead-letters")
def dead_letters() -> None:
    """What could not be handled."""


@dead_letters.command("list")
@shared_options
def list_dead_letters(context: Context) -> None:
    """Show where each came from and why it was set aside; its content stays sealed."""
    found = asyncio.run(_pages(context.home, "/dead-letters", "dead_letters", {}))
    columns = ("id", "at", "reason", "consumer", "topic", "partition", "offset", "request_id")
    rows = ([each[column] for column in columns] for each in found)
    context.show({"dead_letters": found}, show.table(columns, rows) if found else "no dead letters")


COMMANDS: Final[tuple[click.Command, ...]] = (
    submit, list_requests, status, watch, journal, decide, bundle, dead_letters,
)  # fmt: skip


async def _get(home: Path, path: str) -> Any:
    async with open_client(home) as client:
        return await client.get(path)


async def _post(home: Path, path: str, body: dict[str, Any]) -> Any:
    async with open_client(home) as client:
        return await client.post(path, body)


async def _pages(home: Path, path: str, name: str, query: dict[str, str | None]) -> list[Any]:
    given = {"limit": "200", **{key: value for key, value in query.items() if value is not None}}
    found: list[Any] = []
    async with open_client(home) as client:
        while True:
            page = await client.get(path, **given)
            found += page[name]
            if page["next"] is None:
                return found
            given["cursor"] = str(page["next"])


async def _download(home: Path, path: str, file: IO[bytes]) -> None:
    async with open_client(home) as client:
        await client.download(path, file)


@contextmanager
def _whole_or_not_at_all(output: Path) -> Iterator[IO[bytes]]:
    """A file beside the wanted one, for its owner alone, moved there when whole."""
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)

"""What every command has at hand: the home, how to answer, how to fail."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType

from services.kit.errors import LetheiaError


class Exit(IntEnum):
    """Exit codes that scripts rely on."""

    DONE = 0
    NO = 1
    """The answer is no: not found, a check that failed, a request rejected."""
    USAGE = 2
    UNREACHABLE = 3
    TIMED_OUT = 4


class Problem(click.ClickException):
    """Ends a command with one sentence on standard error (what, where, what to do) and an exit code."""

    def __init__(self, sentence: str, exit_: Exit) -> None:
        super().__init__(sentence)
        self.exit_code = exit_

    def show(self, file: Any = None) -> None:
        click.echo(f"letheia: {self.message}", err=True)


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to each command by `click.pass_obj`."""

    home: Path
    json: bool = False

    def progress(self, text: str) -> None:
        """What goes on, for somebody who watches."""
        if sys.stderr.isatty():
            click.echo(text, err=True)

    def answer(self, document: Mapping[str, Any], human: RenderableType) -> None:
        """The command's answer: `document` with --json, else `human`. Once a command, and nothing else on stdout."""
        if self.json:
            click.echo(json.dumps(document, indent=2))
        else:
            Console(soft_wrap=True).print(human)

    def endpoints(self) -> dict[str, Any]:
        """Where everything of the home's stack listens (INTERFACE, `endpoints --json`)."""
        try:
            known: dict[str, Any] = json.loads((self.home / "endpoints.json").read_text())
        except FileNotFoundError:
            raise Problem(f"no stack was ever started in {self.home}: `letheia up` starts one", Exit.NO) from None
        return known


class Command(click.Command):
    """A command with --home and --json besides its own options, whose errors end it with a sentence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--home"], type=click.Path(path_type=Path, file_okay=False), help="The stack's folder."),
            click.Option(["--json"], is_flag=True, help="One JSON document on standard output."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        home, as_json = ctx.params.pop("home"), ctx.params.pop("json")
        ctx.obj = replace(ctx.obj, home=home or ctx.obj.home, json=as_json or ctx.obj.json)
        try:
            return super().invoke(ctx)
        except LetheiaError as error:
            raise Problem(str(error), Exit.NO) from error


class Group(click.Group):
    """A group of such commands; groups inside it are of its kind."""

    command_class = Command
    group_class = type

"""What every command takes, and how it speaks: documents to standard output, progress to a terminal alone."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Context:
    """The options that all commands share."""

    home: Path
    """Absolute."""
    json: bool

    def show(self, document: Any, text: str) -> None:
        """The command's answer: the document with `--json`, else the text."""
        click.echo(json.dumps(document, indent=2) if self.json else text)

    def progress(self, text: str) -> None:
        """Something to read while waiting."""
        if sys.stderr.isatty():
            click.echo(text, err=True)


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--json` and `--home`; it gets a `Context` as its first argument."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, nothing else there.")
    @click.option(
        "--home", envvar="LETHEIA_HOME", default=".letheia", show_default=True,
        type=click.Path(file_okay=False, path_type=Path), help="The stack's folder.",
    )  # fmt: skip
    @wraps(command)
    def with_context(*, home: Path, as_json: bool, **own: Any) -> None:
        command(Context(home.absolute(), as_json), **own)

    return with_context

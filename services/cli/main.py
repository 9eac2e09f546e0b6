"""The `letheia` command: a group; its commands live in the modules beside this one, by theme."""

from typing import Any

import click

from services.cli import requests, stack
from services.cli.failures import Failure
from services.kit.errors import LetheiaError


class _Letheia(click.Group):
    """Ends a command that the house's own errors end with their one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LetheiaError as error:
            raise Failure(str(error)) from error


@click.group(cls=_Letheia, commands=(*stack.COMMANDS, *requests.COMMANDS))
@click.version_option(package_name="letheia")
def main() -> None:
    """Forgets people on request, across stores, and proves it.

    Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 a service can't be reached, 4 timed out waiting.
    """


if __name__ == "__main__":
    main(prog_name="letheia")

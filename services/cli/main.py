"""The `letheia` command: a group; its commands live in the modules beside this one, by theme."""

from pathlib import Path

import click

from services.cli import stack
from services.cli.context import Context, Group


@click.group(cls=Group)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=".letheia",
    envvar="LETHEIA_HOME",
    show_envvar=True,
    show_default=True,
    help="The folder that a stack on this machine keeps everything in.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.version_option(package_name="letheia")
@click.pass_context
def letheia(ctx: click.Context, home: Path, as_json: bool) -> None:
    """Forgets people on request, proves it, and keeps the legal deadline.

    Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 a service can't be reached, 4 timed out waiting.
    """
    ctx.obj = Context(home, as_json)


for command in (stack.up, stack.down, stack.ps, stack.endpoints):
    letheia.add_command(command)


def main() -> None:
    """The console script."""
    letheia(prog_name="letheia")


if __name__ == "__main__":
    main()

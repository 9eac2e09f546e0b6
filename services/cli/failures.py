"""How a command ends when it does not end well: one sentence, and INTERFACE's exit code."""

import click


class Failure(click.ClickException):
    """The answer is no."""

    exit_code = 1


class NotFound(Failure):
    """There is no such request, bundle or letter."""


class WrongUsage(Failure):
    """The command, or what it was given, can't be used."""

    exit_code = 2


class Unreachable(Failure):
    """A service can't be reached."""

    exit_code = 3


class TimedOut(Failure):
    """It did not come to pass in time; it still may."""

    exit_code = 4

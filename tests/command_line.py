"""The command `shotfix` as somebody at a terminal meets it, without a process of its own."""

from __future__ import annotations

from click.testing import CliRunner

from shotfix.commands import main


def run(*arguments):
    """Exit code, standard output, standard error; an error that is no exit is raised."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr

"""The command line's own parts: numbers, exit codes, and how a command ends that could not do what it was asked."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import click

JUDGED: Final = 1
USAGE: Final = 2
BAD_DATA: Final = 65
UNAVAILABLE: Final = 69
INPUT_OUTPUT: Final = 74
CONFIGURATION: Final = 78
INTERRUPTED: Final = 130
"""Exit codes: of commands that judge, of sysexits.h, and of a shell whose command was interrupted."""

ENDINGS: Final = (
    ("localization.study.table", "SceneError", BAD_DATA),
    ("shotfix.results", "OutputError", USAGE),
    ("shotfix.results", "UnavailableError", UNAVAILABLE),
    ("sensors.source", "SourceError", UNAVAILABLE),
    ("shotfix.toml_file", "ConfigError", CONFIGURATION),
    ("shotfix.charter", "CharterError", CONFIGURATION),
    ("sensors.identity", "IdentityError", CONFIGURATION),
    ("shotfix.disk", "LockedError", UNAVAILABLE),
    ("shotfix.nats_stream", "StreamError", UNAVAILABLE),
    ("sensors.transport", "TransportError", UNAVAILABLE),
    ("sensors.time_source", "TimeSourceError", UNAVAILABLE),
    ("shotfix.segment", "JournalError", INPUT_OUTPUT),
    ("shotfix.checkpoint", "CheckpointError", INPUT_OUTPUT),
    ("shotfix.backup_manifest", "BackupError", INPUT_OUTPUT),
    ("alerts.record.database", "UnreachableError", UNAVAILABLE),
    ("alerts.record.database", "StoreError", INPUT_OUTPUT),
    ("sensors.spool_file", "SpoolError", INPUT_OUTPUT),
)
"""Errors of the world by module and name, and the exit code of each. Only a module that is loaded can have raised one,
so that asking for help loads none of them."""

FOLDER = click.Path(path_type=Path, file_okay=False)
SOMEWHERE = click.Path(path_type=Path)


class Number(click.types.FloatParamType):
    """A finite number."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert it; nan and inf are errors of usage, as is what is no number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class Within(click.FloatRange):
    """A finite number within bounds: by themselves they stop no nan, which is below none and above none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert it, as `Number` does; outside the bounds it is an error of usage."""
        return float(super().convert(NUMBER.convert(value, param, ctx), param, ctx))


NUMBER: Final = Number()


class Commands(click.Group):
    """The group whose commands end with one line and an exit code, never with a traceback over bad input."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn what went wrong outside the program into lines and a code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            interrupted(ctx)
        except SystemError as error:
            if not isinstance(error.__cause__, KeyboardInterrupt):  # which is how it looks from inside a kernel
                raise
            interrupted(ctx)
        except BrokenPipeError:
            raise  # click ends quietly when nobody reads any more
        except Exception as error:
            code = ending(error)
            if code is None:
                raise
            if code == USAGE:
                raise click.UsageError(one_line(error)) from None
            for line in str(error).splitlines() if code == CONFIGURATION else [str(error)]:
                complain(one_line(line))
            ctx.exit(code)


def ending(error: Exception) -> int | None:
    """The exit code for an error of the world; None for one of ours."""
    for module, name, code in ENDINGS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return code
    return INPUT_OUTPUT if isinstance(error, OSError) else None


def interrupted(ctx: click.Context) -> NoReturn:
    """End as a shell expects of an interrupted command."""
    complain("interrupted; what was not finished was not written")
    ctx.exit(INTERRUPTED)


def one_line(error: object) -> str:
    """The error's text, on one line and without control characters: file names may hold anything."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(error).split()))


def complain(message: str) -> None:
    """Say what went wrong, on standard error."""
    click.echo(f"shotfix: {message}", err=True)


OUT = click.option("--out", "out", type=FOLDER, required=True, metavar="DIR", help="Folder for the results.")
FORCE = click.option("--force", is_flag=True, help="Overwrite an earlier run in DIR.")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
CONFIG = click.option(
    "--config", "config", type=SOMEWHERE, required=True, metavar="FILE", help="site.toml or node.toml."
)

"""A TOML file as it comes from a person: its table, or what is wrong with it, each mistake on a line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from shotfix.toml_lines import syntax_words

Table: TypeAlias = dict[str, Any]

LARGEST_FILE: Final = 4_000_000  # bytes: a network of ten thousand sensors
MOST_PROBLEMS: Final = 100  # that are told
MOST_PARTS: Final = 100  # of a key; the parser's time grows with their square
_JOINT: Final = re.compile(r"""[\w"'-][ \t]*\.[ \t]*(?=[\w"'-])""")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake: the file and line, the key, and in words what is wrong and what is expected."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        said = f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"
        return "".join(letter if letter.isprintable() else "?" for letter in said)


class ConfigError(ValueError):
    """A configuration that cannot be used; as text, a line for each of its ``problems``."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        told = [str(problem) for problem in self.problems[:MOST_PROBLEMS]]
        if len(self.problems) > MOST_PROBLEMS:
            told.append(
                f"{self.problems[0].file}: and {len(self.problems) - MOST_PROBLEMS} more at least; mend these first"
            )
        super().__init__("\n".join(told))


def parsed(path: Path, largest: int = LARGEST_FILE) -> tuple[Table, str]:
    """The table in a TOML file of at most ``largest`` bytes, and the file's text.

    Raises
    ------
    ConfigError
        When it cannot be read, is too large, or is not TOML.
    """
    text = _text(path, largest)

    def problem(message: str, line: int = 0) -> ConfigError:
        return ConfigError([Problem(path.name, line, "", message)])

    for number, each in enumerate(text.splitlines(), 1):
        if len(each) > MOST_PARTS and len(_JOINT.findall(each)) > MOST_PARTS:
            raise problem(f"a key of more than {MOST_PARTS} parts", number)
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        message, line = syntax_words(str(error), text)
        raise problem(message, line) from None
    except RecursionError:
        raise problem("not TOML: nested too deeply") from None
    except ValueError:  # of a number with thousands of digits
        raise problem("not TOML: a number has too many digits") from None


def _text(path: Path, largest: int) -> str:
    def problem(message: str, line: int = 0) -> ConfigError:
        return ConfigError([Problem(path.name, line, "", message)])

    try:
        if not path.exists():
            raise problem("no such file; `shotfix init` writes a working example")
        if not path.is_file():
            raise problem("not a regular file; name the TOML file itself")
        with path.open("rb") as stream:
            content = stream.read(largest + 1)
    except OSError as error:
        raise problem(f"cannot be read ({error.strerror}); check its owner and mode") from None
    if len(content) > largest:
        raise problem(f"larger than {largest} bytes; is it a configuration?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise problem("not UTF-8 text; save it as UTF-8", line) from None
    return text

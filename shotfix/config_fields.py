"""Fields of a configuration: what a key may hold, said once, for its check, its message, its schema and its page."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from alerts.policy import Policy

Role: TypeAlias = Literal["file", "secret", "store", "inside"]
"""What a path is for: something that must be there, a file that nobody else may read, a folder to write to, or a file
inside such a folder."""

NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
CITY_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"  # as sensors.nats_link.check_city takes it
CITY_FORM: Final = "1 to 40 letters, digits, - or _, the first a letter or digit"
NAME_FORM: Final = "1 to 64 letters, digits, - or _, the first a letter or digit"


class FieldError(ValueError):
    """A value that its record refuses; ``key`` is the field to blame, ``way`` leads on inside it."""

    def __init__(self, key: str, message: str, *way: str | int) -> None:
        super().__init__(f"{key}: {message}")
        self.key, self.message, self.way = key, message, way


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field may hold beyond its type.

    Parameters
    ----------
    says : str
        What the key is for, a sentence for the page and the schema.
    low, high : float or None
        Bounds of a number, both allowed.
    pattern, form : str
        A regular expression that the whole text must match, and the same in words.
    role : str or None
        Of a path; see `Role`.
    longest : int
        Most characters of a text, and most entries of a list.
    schemes : tuple of str
        Of a URL.
    secret : bool
        The value is never shown, and may be given as ``env:NAME``.
    also : callable or None
        Takes a value that is right otherwise; says what is wrong with it, or nothing.
    """

    says: str
    low: float | None = None
    high: float | None = None
    pattern: str = ""
    form: str = ""
    role: Role | None = None
    longest: int = 1000
    schemes: tuple[str, ...] = ()
    secret: bool = False
    also: Callable[[Any], str] | None = None

    @property
    def span(self) -> str:
        """The bounds in words, or nothing."""
        if self.low is None and self.high is None:
            return ""
        if self.high is None:
            return f" of {self.low:g} or more"
        return f" from {self.low:g} to {self.high:g}"


def number(says: str, low: float, high: float | None = None, *, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds a number, or a whole one where it is declared ``int``."""
    return _field(Rule(says, low, high), default)


def text(
    says: str,
    pattern: str = "",
    form: str = "",
    *,
    longest: int = 200,
    also: Callable[[Any], str] | None = None,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field that holds text, of a form where one is given."""
    return _field(Rule(says, pattern=pattern, form=form, longest=longest, also=also), default)


def name(says: str, *, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds a name that is safe in subjects, file names and labels."""
    return text(says, NAME_PATTERN, NAME_FORM, default=default)


def url(says: str, *schemes: str, secret: bool = False, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds a URL of one of these schemes, without a password in it."""
    return _field(Rule(says, schemes=schemes, secret=secret), default, shown=not secret)


def path(says: str, role: Role, *, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds a path; in a file, one relative to the file."""
    return _field(Rule(says, role=role), default)


def plain(
    says: str,
    *,
    default: Any = dataclasses.MISSING,
    longest: int = 1000,
    also: Callable[[Any], str] | None = None,
) -> Any:
    """A field whose type says everything: a flag, a choice, a list, a record."""
    return _field(Rule(says, longest=longest, also=also), default)


def _field(rule: Rule, default: Any, *, shown: bool = True) -> Any:
    metadata = {"rule": rule}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata, repr=shown)
    return dataclasses.field(default=default, metadata=metadata, repr=shown)


OF_OTHERS: Final[dict[type, dict[str, Rule]]] = {
    Policy: {
        "prior": Rule(
            "Probability that a bang which several sensors hear is gunfire, before its sound is judged.", 0, 1
        ),
        "publish": Rule("From this probability on an incident is published.", 0, 1),
        "review": Rule("From here on a person looks before anybody is sent.", 0, 1),
        "review_unplaced": Rule("The same for an incident without a place, which is never published.", 0, 1),
        "round_correlation": Rule("How alike the evidence of two rounds of one incident is.", 0, 1),
    }
}
"""Rules for the fields of records from other rooms."""


def rule_of(kind: type, each: dataclasses.Field[Any]) -> Rule:
    """The rule of a field; one without a rule says nothing."""
    rule = each.metadata.get("rule", OF_OTHERS.get(kind, {}).get(each.name))
    return rule if isinstance(rule, Rule) else Rule("")


def hints_of(kind: Any) -> dict[str, Any]:
    """The types of a record's fields; asked of `typing.get_type_hints` once, since it is slow."""
    return _hints(kind)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def check(record: Any) -> None:
    """Refuse a record whose values break the rules of their fields.

    Raises
    ------
    FieldError
        For the first of them.
    """
    hints = hints_of(type(record))
    for each in dataclasses.fields(record):
        problem = trouble(getattr(record, each.name), hints[each.name], rule_of(type(record), each))
        if problem:
            raise FieldError(each.name, problem)


def parts(hint: Any) -> tuple[Any, bool]:
    """A type without its ``None``, and whether ``None`` was in it."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [part for part in get_args(hint) if part is not types.NoneType]
        return inner[0], len(inner) < len(get_args(hint))
    return hint, False


def expected(hint: Any, rule: Rule) -> str:
    """What a key wants, in words: "a number from 0 to 30"."""
    kind, _ = parts(hint)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return "a list of tables" if dataclasses.is_dataclass(inner) else f"a list of {PLURALS[inner]}"
    if dataclasses.is_dataclass(kind):
        return "a table"
    if rule.schemes:
        return "a URL that begins with " + " or ".join(f"{scheme}://" for scheme in rule.schemes)
    if rule.form:
        return rule.form
    return {
        float: f"a number{rule.span}",
        int: f"a whole number{rule.span}",
        bool: "true or false",
        str: "text in quotes",
        Path: "a path in quotes",
    }[kind]


PLURALS: Final = {str: 'texts, as ["one"]', float: "numbers, as [1, 2]"}


def trouble(value: Any, hint: Any, rule: Rule) -> str:
    """What is wrong with a value, in words, or nothing."""
    problem = _plain_trouble(value, hint, rule)
    return problem or ("" if value is None or rule.also is None else rule.also(value))


def _plain_trouble(value: Any, hint: Any, rule: Rule) -> str:
    kind, optional = parts(hint)
    if value is None and optional:
        return ""
    if not _is(value, kind):
        return f"{shown(value, rule)}; expected {expected(hint, rule)}"
    if isinstance(value, tuple):
        return "" if len(value) <= rule.longest else f"{len(value)} entries; expected at most {rule.longest}"
    if kind in (int, float) and not _within(value, rule):
        return f"{value:g} is out of range; expected {expected(hint, rule)}"
    if isinstance(value, str):
        return _text_trouble(value, hint, rule)
    return ""


def shown(value: Any, rule: Rule) -> str:
    """A value as a message may show it: short, on one line, and nothing of a secret."""
    if rule.secret:
        return "not shown, since it may be secret"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list, tuple)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, (int, float)):
        said = repr(value)
    else:
        scheme, address, _ = str(value).partition("://")
        safe = f"{scheme}://..." if address else str(value)  # a URL may hold a password or a token, wherever it stands
        said = '"' + "".join(letter if letter.isprintable() else "?" for letter in safe) + '"'
    return said if len(said) <= 60 else f"{said[:40]}...{said[-10:]}"


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is(each, get_args(kind)[0]) for each in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _within(value: float, rule: Rule) -> bool:
    low = -math.inf if rule.low is None else rule.low
    high = math.inf if rule.high is None else rule.high
    return low <= value <= high and not math.isinf(value)  # a NaN is within nothing


def _text_trouble(value: str, hint: Any, rule: Rule) -> str:
    if len(value) > rule.longest:
        return f"{len(value)} characters; expected at most {rule.longest}"
    if not value.isprintable() or not value:
        return f"{shown(value, rule)}; expected printable text"
    if rule.pattern and not re.fullmatch(rule.pattern, value):
        return f"{shown(value, rule)}; expected {expected(hint, rule)}"
    return _url_trouble(value, hint, rule) if rule.schemes else ""


def _url_trouble(value: str, hint: Any, rule: Rule) -> str:
    wanted = f"expected {expected(hint, rule)}"
    try:
        split = urlsplit(value)
        port = split.port
    except ValueError:
        return f"{shown(value, rule)}; {wanted}, a host, and a port that is a number"
    # A database on this machine is reached through a socket file, and has no host.
    nowhere = not split.hostname and split.scheme != "postgresql"
    if split.scheme not in rule.schemes or nowhere or port == 0 or not value.isascii() or " " in value:
        return f"{shown(value, rule)}; {wanted}, and a host"
    if split.username is not None and not rule.secret:
        return "has a user or a password in it, where everybody reads it; expected a URL without"
    return ""

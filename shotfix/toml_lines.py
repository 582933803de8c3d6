"""Lines of a TOML file: where each key stands, and where it goes wrong, in words."""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from typing import Final, TypeAlias

Key: TypeAlias = tuple[str | int, ...]
"""The way to a value from the top: names of keys, and places in arrays, from 0."""

DEEPEST: Final = 12  # parts of a key that are kept: no configuration goes deeper, and a hostile file might
_BLANK: Final = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_BARE: Final = re.compile(r"[^\s.=\]\[{}\"',#]+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
_STRINGS: Final = {
    '"""': re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL),
    "'''": re.compile(r"'''(?:[^']|'(?!''))*'{3,5}", re.DOTALL),
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    "'": re.compile(r"'[^'\n]*'"),
}

WORDS: Final = {
    "Invalid value": "expected text in quotes, a number, true, false, a [list] or a {table}",
    "Illegal character": "a character that cannot stand here; is a quote not closed?",
    "Cannot overwrite": "this key stands twice; keep one",
    "Cannot declare": "this table stands twice; keep one",
    "Invalid statement": "expected key = value, or [table]",
    "Expected '='": "expected key = value",
    "Expected ']'": "expected ] at the end of a table's name",
}
"""What the parser says, from its first words on, and what a person understands."""


def key_lines(text: str) -> dict[Key, int]:
    """On which line each key of a TOML document stands.

    Parameters
    ----------
    text : str
        A document that `tomllib` reads. Of any other, the keys up to where it goes wrong are found.

    Returns
    -------
    dict
        From the way to a value to its line, counted from 1: of a table its header, of an entry of an array where it
        begins. A table that is opened several times (``[a.b]`` before ``[a]``) has the line of its own header, if it
        has one. Only the first `DEEPEST` parts of a key are told apart.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    with contextlib.suppress(_LostError, RecursionError):  # what was found until there is of use all the same
        scanner.document()
    return scanner.lines


class _LostError(Exception):
    """The text is not what a document has here."""


class _Scanner:
    """Goes through a document once, and understands of values only where they end."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.lines: dict[Key, int] = {}
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._counts: dict[Key, int] = {}  # of the tables of an array, [[so]]

    def document(self) -> None:
        table: Key = ()
        while self._blank() < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header("[[", "]]")
            elif self.text.startswith("[", self.at):
                table = self._header("[", "]")
            else:
                self._pair(table)

    def _header(self, opening: str, closing: str) -> Key:
        line = self._line()
        self.at += len(opening)
        names = self._dotted()
        self._take(closing)
        way = self._resolved(names[:-1]) + names[-1:]
        self._note_ways(way, line)
        if opening == "[[":
            self.lines.setdefault(way, line)
            count = self._counts.get(way, 0)
            self._counts[way] = count + 1
            way = (*way, count)
        elif way in self._counts:
            way = (*way, self._counts[way] - 1)
        self.lines[way] = line
        return way

    def _resolved(self, names: tuple[str, ...]) -> Key:
        """The way to a table, through the last entry of each array of tables on it."""
        way: Key = ()
        for each in names:
            way = (*way, each)
            if way in self._counts:
                way = (*way, self._counts[way] - 1)
        return way

    def _pair(self, table: Key) -> None:
        line = self._line()
        way = (table + self._dotted())[:DEEPEST]
        self._take("=")
        self._note_ways(way, line)
        self.lines[way] = line
        self._value(way)

    def _value(self, way: Key) -> None:
        self._blank()
        rest = self.text[self.at : self.at + 3]
        for quotes, string in _STRINGS.items():
            if rest.startswith(quotes):
                self._match(string)
                return
        if rest.startswith("["):
            self._array(way)
        elif rest.startswith("{"):
            self._inline(way)
        else:
            self._match(_SCALAR)

    def _array(self, way: Key) -> None:
        self.at += 1
        place = 0
        while not self._ends("]"):
            inner = (*way, place)[:DEEPEST]
            self.lines.setdefault(inner, self._line())
            self._value(inner)
            place += 1
            self._comma("]")

    def _inline(self, way: Key) -> None:
        self.at += 1
        while not self._ends("}"):
            self._pair(way)
            self._comma("}")

    def _comma(self, closing: str) -> None:
        self._blank()
        if self.text.startswith(",", self.at):
            self.at += 1
        elif not self.text.startswith(closing, self.at):
            raise _LostError

    def _ends(self, closing: str) -> bool:
        if self._blank() >= len(self.text):
            raise _LostError
        if self.text.startswith(closing, self.at):
            self.at += 1
            return True
        return False

    def _dotted(self) -> tuple[str, ...]:
        names = [self._name()]
        while self._blank() < len(self.text) and self.text[self.at] == ".":
            self.at += 1
            names.append(self._name())
        return tuple(names[:DEEPEST])

    def _name(self) -> str:
        self._blank()
        if self.text.startswith('"', self.at):
            return _unescaped(self._match(_STRINGS['"']))
        if self.text.startswith("'", self.at):
            return self._match(_STRINGS["'"])[1:-1]
        return self._match(_BARE)

    def _take(self, wanted: str) -> None:
        self._blank()
        if not self.text.startswith(wanted, self.at):
            raise _LostError
        self.at += len(wanted)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise _LostError
        self.at = found.end()
        return found.group()

    def _blank(self) -> int:
        """Go past white space, ends of lines and comments; where that is."""
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at

    def _line(self) -> int:
        self._blank()
        return bisect_right(self._starts, self.at)

    def _note_ways(self, way: Key, line: int) -> None:
        for length in range(1, len(way)):
            self.lines.setdefault(way[:length], line)


def _unescaped(quoted: str) -> str:
    """A quoted key as it is meant."""
    import tomllib  # keys in quotes are rare

    try:
        return str(tomllib.loads(f"key = {quoted}")["key"])
    except tomllib.TOMLDecodeError:
        return quoted[1:-1]


def syntax_words(said: str, text: str) -> tuple[str, int]:
    """What the parser of the standard library said, so that a person understands it, and the line it said it of."""
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
    if found is None:
        return f"not TOML: {said}", 0
    what = said[: found.start()]
    if found[1] is None:
        return f"not TOML: {what} at the end of the file; is a quote or a bracket not closed?", len(text.splitlines())
    said_plainly = next((ours for theirs, ours in WORDS.items() if what.startswith(theirs)), what)
    return f"not TOML: {said_plainly} (column {found[2]})", int(found[1])

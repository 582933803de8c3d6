"""Uses of tokens: what nobody shows for long counts no more, whatever becomes of the clock on the wall."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import msgspec

from sensors.known_type import known
from shotfix.disk import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

DAY_S: Final = 86_400.0
LARGEST_FILE: Final = 1_000_000
PROGRAM: Final = frozenset({"courier"})
"""Roles of programs alone: an alert may be long in coming."""


class UsesError(ValueError):
    """The file of uses cannot be used; the message names it and says what to do."""


class Token(Protocol):
    """What is asked of a token: `shotfix.api.people.Person` is one."""

    @property
    def sha256(self) -> str:
        """Its digest."""

    @property
    def roles(self) -> tuple[str, ...]:
        """What its owner may do."""

    @property
    def renewed_ns(self) -> int | None:
        """When it was last renewed."""


@dataclass(frozen=True, slots=True)
class IdleRule:
    """After how many days without a use a token ends; ``program_days`` for one whose only role is a program's."""

    days: float = 30.0
    program_days: float = 90.0

    def longest_s(self, token: Token) -> float:
        """How long this one may lie unused, s."""
        return DAY_S * (self.program_days if PROGRAM.issuperset(token.roles) else self.days)


BY_ITSELF: Final = IdleRule()


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds of a token: how long it lay unused, when it was last used, which renewal it was told of."""

    idle_s: Annotated[float, msgspec.Meta(ge=0.0, le=1e12)]
    used_ns: int | None = None
    renewed_ns: int | None = None

    def is_idle(self, token: Token, rule: IdleRule) -> bool:
        """Whether this one lay unused for too long when it was written, and was not renewed since."""
        return self.renewed_ns == token.renewed_ns and self.idle_s >= rule.longest_s(token)


def uses_file(people_file: Path) -> Path:
    """Where the uses of the tokens in a file of people are kept."""
    return people_file.with_suffix(".uses.json")


def read_uses(path: Path) -> dict[str, Use]:
    """What is kept, by the digest of each token; nothing without a file.

    Raises
    ------
    UsesError, OSError
        When it cannot be used.
    """
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE)  # what is longer ends in the middle, and is no JSON
    try:
        return msgspec.json.decode(content, type=known(dict[str, Use]))
    except (ValueError, RecursionError):  # msgspec's own errors are such
        raise UsesError(f"{path}: no list of uses; delete it, and each token counts as used just now") from None


@dataclass(slots=True)
class _Seen:
    last_s: float
    used_ns: int | None
    renewed_ns: int | None


class Uses:
    """How long each token has lain unused while the centre ran; safe for several threads.

    It goes by a clock that nobody sets, and stands still while the centre does: neither a wall clock that lies nor a
    month's standstill ends what is in daily use. What a token is not known for begins at zero. A file out of a backup
    is believed as it stands: a token that had lain idle when it was made goes on from there, whatever use came later;
    the next use ends that, and `shotfix token renew` lets it count again where none came in time.

    Parameters
    ----------
    path : Path
        The file. What it holds and cannot be read is the caller's to tell: `UsesError`, `OSError`.
    rule : IdleRule
        How long is too long.
    seconds : callable
        A clock that never goes back, in seconds.
    """

    def __init__(self, path: Path, rule: IdleRule, seconds: Callable[[], float]) -> None:
        self.path = path
        self._rule = rule
        self._seconds = seconds
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def take_up(self) -> None:
        """Go on from what the file holds.

        Raises
        ------
        UsesError, OSError
            When it cannot be used; every token is then as if used just now.
        """
        now_s = self._seconds()
        kept = read_uses(self.path)
        self._seen = {name: _Seen(now_s - use.idle_s, use.used_ns, use.renewed_ns) for name, use in kept.items()}

    def follow(self, tokens: Iterable[Token]) -> None:
        """Begin to count for tokens that are new, and anew for those that were renewed."""
        now_s = self._seconds()
        with self._lock:
            for token in tokens:
                seen = self._seen.get(token.sha256)
                if seen is None or seen.renewed_ns != token.renewed_ns:
                    used_ns = None if seen is None else seen.used_ns
                    self._seen[token.sha256] = _Seen(now_s, used_ns, token.renewed_ns)

    def note(self, token: Token, now_ns: int) -> None:
        """It is used, at this instant of the wall clock, which is for people to read; in memory only, see `keep`."""
        with self._lock:
            seen = self._seen.get(token.sha256)
            if seen is not None:
                seen.last_s, seen.used_ns = self._seconds(), now_ns

    def is_idle(self, token: Token) -> bool:
        """Whether it lay unused for too long."""
        seen = self._seen.get(token.sha256)
        return seen is not None and self._seconds() - seen.last_s >= self._rule.longest_s(token)

    def keep(self, digests: Collection[str]) -> None:
        """Write down what is known of these; whole or not at all. A kill costs what came after.

        Raises
        ------
        OSError
            When the disk refuses.
        """
        now_s = self._seconds()
        with self._lock:
            uses = {
                name: Use(max(round(now_s - seen.last_s), 0), seen.used_ns, seen.renewed_ns)
                for name, seen in self._seen.items()
                if name in digests
            }
        content = msgspec.json.encode(uses)
        write_whole(self.path, lambda file: file.write(content))

"""The file of people, written: a token added, tokens renewed or revoked; whole or not at all, one writer at a time."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from acoustic.instant import SECOND
from shotfix.api.people import PeopleError, Person, digest_of, encode_people, new_token, read_people
from shotfix.disk import Lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shotfix.api.permissions import Role

_one: Final = threading.Lock()
DAY_S: Final = 86_400
ID_DIGITS: Final = 12
MOST_KEPT: Final = 2_000
"""Tokens in the file; beyond, those that ended longest ago go first, revoked or expired."""


def token_id_of(person: Person) -> str:
    """A short name for a token: the first digits of its digest, which help nobody to make it."""
    return person.sha256[:ID_DIGITS]


def add_token(path: Path, name: str, roles: tuple[str, ...], days: int, now_ns: int) -> tuple[Person, str]:
    """Put a new token into the file; who has it, and the token, which is written nowhere.

    Raises
    ------
    ValueError, OSError, LockedError
        When the name or a role is none, or the file cannot be used.
    """
    token, now_ns = new_token(), now_ns // SECOND * SECOND
    known = cast("tuple[Role, ...]", tuple(dict.fromkeys(roles)))  # a Person refuses what is none
    person = Person(name, known, digest_of(token), now_ns, now_ns + days * DAY_S * SECOND)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(path):
        others = read_people(path)
        alike = [other.name for other in others if other.name.casefold() == name.casefold() and other.name != name]
        if alike:  # reviews take both for one person
            raise ValueError(f"{alike[0]} is somebody already; take the same letters, or another name")
        _write(path, (*_fewer(others, now_ns), person))
    return person, token


def revoke_tokens(path: Path, name: str | None, token_id: str | None, now_ns: int) -> tuple[Person, ...]:
    """Mark tokens as revoked: all of a person's, or one; those that were marked now.

    Raises
    ------
    LookupError
        When there is none to revoke.
    PeopleError, OSError, LockedError
        When the file cannot be used.
    """
    at_ns = now_ns // SECOND * SECOND
    words = "no such token, or it is revoked already; shotfix token list names them"
    meant = (name, token_id, words)
    return _mark(path, meant, lambda one: one.revoked_ns is None, lambda one: replace(one, revoked_ns=at_ns))


def renew_tokens(path: Path, name: str | None, token_id: str | None, now_ns: int) -> tuple[Person, ...]:
    """Mark tokens that lay unused as wanted: all of a person's, or one; when they expire stays as it was.

    Raises
    ------
    LookupError
        When there is none that is neither revoked nor expired.
    PeopleError, OSError, LockedError
        When the file cannot be used.
    """
    at_ns = now_ns // SECOND * SECOND
    words = "no such token, or it is revoked or expired; shotfix token add gives another"
    meant = (name, token_id, words)
    return _mark(path, meant, lambda one: not one.why_not(now_ns), lambda one: replace(one, renewed_ns=at_ns))


def _mark(
    path: Path,
    meant: tuple[str | None, str | None, str],
    may: Callable[[Person], bool],
    marked: Callable[[Person], Person],
) -> tuple[Person, ...]:
    """Change those that are meant by a name or by digits, and may be changed; the words say that there is none."""
    name, token_id, words = meant
    if not path.exists():
        raise LookupError("nobody has a token")
    with _alone(path):
        people = read_people(path)
        found = [person for person in people if may(person) and _is_meant(person, name, token_id)]
        if not found:
            raise LookupError(words)
        if token_id is not None and len(found) > 1:
            raise LookupError("several tokens begin with these digits; give more of them")
        changed = {person.sha256: marked(person) for person in found}
        _write(path, tuple(changed.get(person.sha256, person) for person in people))
    return tuple(changed.values())


def _is_meant(person: Person, name: str | None, token_id: str | None) -> bool:
    if token_id is not None:
        return len(token_id) >= 4 and person.sha256.startswith(token_id)
    return name is not None and person.name.casefold() == name.casefold()


def _fewer(people: tuple[Person, ...], now_ns: int) -> tuple[Person, ...]:
    """As many as may be kept beside one more.

    Raises
    ------
    PeopleError
        When too many still count.
    """
    ended = sorted(
        (p for p in people if p.why_not(now_ns)), key=lambda p: min(p.expires_ns, p.revoked_ns or p.expires_ns)
    )
    surplus = len(people) + 1 - MOST_KEPT
    if surplus > len(ended):
        raise PeopleError(f"{len(people)} tokens count already; revoke some first")
    gone = {person.sha256 for person in ended[: max(surplus, 0)]}
    return tuple(person for person in people if person.sha256 not in gone)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two who write at once would forget each other's token."""
    with _one:  # a lock of the system's keeps out other processes only
        lock = Lock(path.with_name(f".{path.name}.lock"))
        try:
            yield
        finally:
            lock.release()


def _write(path: Path, people: tuple[Person, ...]) -> None:
    work = path.with_name(f".{path.name}.new")
    handle = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(encode_people(people))
            file.flush()
            os.fsync(file.fileno())
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)

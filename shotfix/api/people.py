"""People: who may speak to the API, each known by the digest of a token that only they hold."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import threading
import time
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from acoustic.instant import check_instant, instant_text, parse_instant
from alerts.act import NO_PERSON
from alerts.words import plain
from shotfix.api.permissions import ROLES, Role
from shotfix.api.token_uses import BY_ITSELF, Uses, UsesError, uses_file
from shotfix.disk import why_not_ours

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shotfix.api.token_uses import IdleRule

PEOPLE: Final = "people.toml"
"""The file's name, in the centre's data folder."""
PREFIX: Final = "shotfix_"
"""How every token begins, so that programs which look for leaked secrets know it."""
TOKEN_BYTES: Final = 32
LONGEST_TOKEN: Final = 128
LARGEST_FILE: Final = 1_000_000
LOOK_S: Final = 0.5
"""How long a change of the file may go unseen."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_OPTIONAL: Final = frozenset({"renewed", "revoked"})
_KEYS: Final = frozenset({"name", "roles", "sha256", "created", "expires"}) | _OPTIONAL

_log = logging.getLogger(__name__)


class PeopleError(ValueError):
    """The file of people cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Person:
    """One token of one person or program: what they may do, and from when to when. Several may share a name.

    Parameters
    ----------
    name : str
        Who, opaquely: 1 to 64 of letters, digits and ``_.@-``, the first a letter or digit; none of `NO_PERSON`.
    roles : tuple of str
        Some of `shotfix.api.permissions.ROLES`.
    sha256 : str
        Of the whole token, in hexadecimal. The token itself is written nowhere: 256 random bits need no slow hash.
    created_ns, expires_ns : int
        UTC; it counts before ``expires_ns``.
    revoked_ns : int or None
        From when on it counts no more.
    renewed_ns : int or None
        When somebody last said that it is still wanted: from then on it counts as used anew.

    Raises
    ------
    ValueError
        When one of them is none of this.
    """

    name: str
    roles: tuple[Role, ...]
    sha256: str
    created_ns: int
    expires_ns: int
    revoked_ns: int | None = None
    renewed_ns: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.casefold() in NO_PERSON:
            never = ", ".join(sorted(NO_PERSON))
            raise ValueError(f"a name has 1 to 64 letters, digits and _.@-, the first no sign; it is not {never}")
        if not self.roles or len(set(self.roles)) != len(self.roles) or not set(self.roles) <= set(ROLES):
            raise ValueError(f"roles are some of {', '.join(ROLES)}, each once")
        if not _DIGEST.fullmatch(self.sha256):
            raise ValueError("sha256 has 64 hexadecimal digits; a token itself never stands here")
        check_instant(self.created_ns, "created")
        check_instant(self.expires_ns, "expires")
        if self.expires_ns <= self.created_ns:
            raise ValueError("it expires after it was created")
        for name, at_ns in (("revoked", self.revoked_ns), ("renewed", self.renewed_ns)):
            if at_ns is not None:
                check_instant(at_ns, name)

    def why_not(self, now_ns: int) -> str:
        """Why it does not count at this instant, as "expired" or "revoked"; empty when it does."""
        if self.revoked_ns is not None and self.revoked_ns <= now_ns:
            return "revoked"
        return "" if now_ns < self.expires_ns else "expired"


def digest_of(token: str) -> str:
    """SHA-256 of a token, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """A fresh token: 256 random bits, in letters that a header takes."""
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def decode_people(content: bytes, where: str) -> tuple[Person, ...]:
    """The tokens in the file's bytes.

    Raises
    ------
    PeopleError
        When they are no such file: the message names the entry, and never a value.
    """
    if len(content) > LARGEST_FILE:
        raise PeopleError(f"{where}: more than {LARGEST_FILE} bytes; is this the file of people?")
    try:
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError):
        raise PeopleError(f"{where}: not TOML; restore it, or write it with `shotfix token add`") from None
    entries = table.get("person", [])
    if set(table) - {"person"} or not isinstance(entries, list):
        raise PeopleError(f"{where}: holds entries [[person]] and nothing else")
    people = tuple(_person(entry, f"{where}: person {number}") for number, entry in enumerate(entries, start=1))
    if len({person.sha256 for person in people}) != len(people):
        raise PeopleError(f"{where}: two entries have the same sha256; each token stands there once")
    return people


def encode_people(people: tuple[Person, ...]) -> bytes:
    """The file's bytes."""
    import tomli_w  # only who writes pays for it

    return tomli_w.dumps({"person": [_table(person) for person in people]}).encode()


def _table(person: Person) -> dict[str, Any]:
    later = {"renewed": person.renewed_ns, "revoked": person.revoked_ns}
    return {
        "name": person.name,
        "roles": list(person.roles),
        "sha256": person.sha256,
        "created": instant_text(person.created_ns, 0),
        "expires": instant_text(person.expires_ns, 0),
    } | {key: instant_text(at_ns, 0) for key, at_ns in later.items() if at_ns is not None}


def _person(entry: object, where: str) -> Person:
    if not isinstance(entry, dict) or set(entry) - _KEYS or _KEYS - _OPTIONAL - set(entry):
        raise PeopleError(f"{where}: has name, roles, sha256, created, expires, and where it is so renewed and revoked")
    roles = entry["roles"]
    if not isinstance(roles, list) or not all(isinstance(each, str) for each in (*roles, entry["name"])):
        raise PeopleError(f"{where}: name is a text, and roles a list of texts")
    renewed, revoked = (entry.get(key) for key in sorted(_OPTIONAL))
    try:
        return Person(
            name=str(entry["name"]),
            roles=tuple(roles),
            sha256=str(entry["sha256"]),
            created_ns=_instant(entry["created"]),
            expires_ns=_instant(entry["expires"]),
            revoked_ns=None if revoked is None else _instant(revoked),
            renewed_ns=None if renewed is None else _instant(renewed),
        )
    except ValueError as error:
        raise PeopleError(f"{where}: {error}") from None


def _instant(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError("an instant is a text, as 2026-01-31T12:00:00Z")  # noqa: TRY004  (the file is wrong, not we)
    try:
        return parse_instant(value)
    except ValueError:
        raise ValueError("an instant is a text, as 2026-01-31T12:00:00Z") from None


def read_people(path: Path) -> tuple[Person, ...]:
    """Everybody in the file; nobody without one. A pipe in its place is not waited for, and a huge one not read.

    Raises
    ------
    PeopleError, OSError
        When it cannot be used.
    """
    if not path.exists():
        return ()
    if not path.is_file():
        raise PeopleError(f"{path}: it is no file; move it away, and restore the file")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        return decode_people(file.read(LARGEST_FILE + 1), str(path))


class People:
    """The register of people, as the file has it now; safe for several threads.

    A change of the file counts within `LOOK_S`. Without a file there is nobody. A file that others may write, or that
    cannot be read as one, changes nothing while people are known from before: ``trouble`` says so until it is mended.
    What lay unused for too long counts no more; uses are remembered beside the file, by `keep`.

    Parameters
    ----------
    path : Path
        The file.
    seconds : callable
        A clock that never goes back, in seconds.
    idle : IdleRule
        How long a token may lie unused.
    """

    def __init__(self, path: Path, seconds: Callable[[], float] = time.monotonic, idle: IdleRule = BY_ITSELF) -> None:
        self.path = path
        self.trouble = ""
        """Why the file is not believed; empty when it is."""
        self.revision = 0
        """One more with each change that was taken over."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._by_digest: dict[str, Person] = {}
        self._seen: tuple[int, ...] | None = None
        self._looked_s: float | None = None
        self._uses = Uses(uses_file(path), idle, seconds)
        try:
            self._uses.take_up()
        except (UsesError, OSError) as error:
            _log.error("how long tokens lay unused is forgotten, and counts anew from now on: %s", plain(str(error)))

    def __len__(self) -> int:
        self.look()
        return len(self._by_digest)

    def of(self, token: str) -> Person | None:
        """Whose token this is, expired and revoked ones too; None when nobody's.

        It is looked up by its digest: what the look-up's time tells of digests says nothing about tokens.
        """
        self.look()
        if len(token) > LONGEST_TOKEN or not token.startswith(PREFIX):
            return None
        digest = digest_of(token)
        person = self._by_digest.get(digest)
        return person if person is not None and hmac.compare_digest(person.sha256, digest) else None

    def everybody(self) -> tuple[Person, ...]:
        """Every token, those that count no more among them."""
        self.look()
        return tuple(self._by_digest.values())

    def why_not(self, person: Person, now_ns: int) -> str:
        """Why somebody counts no more: "revoked", "expired", "idle", "changed"; empty when they still do."""
        self.look()
        now = self._by_digest.get(person.sha256)
        if now is None:
            return "revoked"
        idle = "idle" if self._uses.is_idle(now) else ""
        return now.why_not(now_ns) or idle or ("" if now == person else "changed")

    def use(self, person: Person, now_ns: int) -> None:
        """Somebody whose token counts shows it; remembered in memory, which costs nothing."""
        self._uses.note(person, now_ns)

    def keep(self) -> None:
        """Write down how long each token has lain unused: each hour, and at the end.

        Raises
        ------
        OSError
            When the disk refuses.
        """
        self.look()
        if known := self._by_digest:  # nobody: there may be no file of people, or one that is broken
            self._uses.keep(known)

    def is_due(self) -> bool:
        """Whether it is time to look at the file again."""
        looked_s = self._looked_s
        return looked_s is None or self._seconds() - looked_s >= LOOK_S

    def look(self) -> None:
        """Take over what the file says now, unless it was looked at within `LOOK_S`; a large one takes a second."""
        if not self.is_due():  # without the lock: nobody who need not look waits for who does
            return
        with self._lock:
            if not self.is_due():
                return
            try:
                self._read()
            except (PeopleError, OSError) as error:
                words = plain(str(error) if isinstance(error, PeopleError) else f"{self.path}: {error.strerror}")
                if words != self.trouble:
                    _log.error("the register of people stays as it was: %s", words)
                self.trouble = words
            self._looked_s = self._seconds()  # afterwards: until then whoever asks waits for what is being read

    def _read(self) -> None:
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            self._take((), None)
            return
        seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino, facts.st_mode)
        if seen == self._seen:
            return
        try:
            self._take(self._believed(facts), seen)
        except PeopleError:
            self._seen = seen  # not read again until it changes: a large one would keep a processor busy
            raise

    def _believed(self, facts: os.stat_result) -> tuple[Person, ...]:
        why = why_not_ours(facts)
        if why is not None:
            raise PeopleError(f"{self.path}: {why}; make it yours, and chmod 600 it")
        return read_people(self.path)

    def _take(self, people: tuple[Person, ...], seen: tuple[int, ...] | None) -> None:
        fresh = {person.sha256: person for person in people}
        if fresh != self._by_digest:
            self.revision += 1
        self._uses.follow(people)
        self._by_digest, self._seen, self.trouble = fresh, seen, ""

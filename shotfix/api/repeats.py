"""Repeats: a request that comes twice under one Idempotency-Key is done once, and answered twice alike."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shotfix.api.problems import Problem

if TYPE_CHECKING:
    from starlette.responses import Response

KEPT_S: Final = 86_400.0
MOST_BYTES: Final = 32 << 20
MOST_OF_ONE: Final = 4 << 20
"""Bytes of the answers that are kept, in all and of one person; an act's is some 20 kB, with the alert that it made."""
OWN_BYTES: Final = 2_000
"""What is kept beside the body of one."""
_KEY: Final = re.compile(r'"?([A-Za-z0-9_.:-]{8,128})"?')


@dataclass(slots=True)
class _Kept:
    fingerprint: bytes
    at_s: float
    answer: Response | None = None

    @property
    def size(self) -> int:
        return OWN_BYTES + (0 if self.answer is None else len(self.answer.body))


class Repeats:
    """Answers to requests that carried an Idempotency-Key, each person's own, for a day or until the centre stops.

    Where they take too much room the oldest go, of that person alone, or of who has most. A request that comes again
    after that finds that the incident's version has moved on, and is answered with 409: it does not act twice either.
    """

    def __init__(self) -> None:
        self.repeated = 0
        """Requests that were answered without being done again."""
        self._kept: dict[str, OrderedDict[str, _Kept]] = {}
        self._bytes: Counter[str] = Counter()  # of each person's answers

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def begin(self, key: tuple[str, str], fingerprint: bytes, now_s: float) -> Response | None:
        """The answer that was given before; None when this is the first time, and the key is then held.

        Raises
        ------
        Problem
            When it was another request, or the first is not answered yet.
        """
        who, name = key
        mine = self._kept.setdefault(who, OrderedDict())
        while mine and next(iter(mine.values())).at_s < now_s - KEPT_S:
            self._let_go(who)
        kept = mine.get(name)
        if kept is None:
            mine[name] = _Kept(fingerprint, now_s)
            self._count(who, mine[name].size)
            return None
        if kept.fingerprint != fingerprint:
            raise Problem("key-reused", "this Idempotency-Key stood for another request; take a fresh one")
        if kept.answer is None:
            raise Problem("in-progress", "the first request of this Idempotency-Key is being answered; wait for it")
        self.repeated += 1
        return kept.answer

    def end(self, key: tuple[str, str], answer: Response | None) -> None:
        """Keep the answer; None lets go of the key, because nothing was done."""
        who, name = key
        kept = self._kept[who].get(name)
        if kept is not None and answer is None:
            self._bytes[who] -= self._kept[who].pop(name).size
        elif kept is not None:
            before, kept.answer = kept.size, answer
            self._count(who, kept.size - before)

    def _count(self, who: str, more: int) -> None:
        """So many bytes more are kept of somebody: let the oldest go where it is too much."""
        self._bytes[who] += more
        while self._bytes[who] > MOST_OF_ONE:
            self._let_go(who)
        while self._bytes.total() > MOST_BYTES:
            self._let_go(self._bytes.most_common(1)[0][0])

    def _let_go(self, who: str) -> None:
        _, kept = self._kept[who].popitem(last=False)
        self._bytes[who] -= kept.size


def key_of(header: str | None) -> str | None:
    """The key in a header; None without one.

    Raises
    ------
    Problem
        When it is none.
    """
    if header is None:
        return None
    found = _KEY.fullmatch(header)
    if found is None:
        raise Problem("bad-request", "an Idempotency-Key has 8 to 128 letters, digits and _.:-")
    return found[1]


def fingerprint_of(method: str, path: str, version: str, body: bytes) -> bytes:
    """What tells one request from another."""
    parts = (method.encode(), path.encode(), version.encode("utf-8", "replace"), body)
    return hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).digest()

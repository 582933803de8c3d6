"""Repeats: a request that comes twice under one Idempotency-Key is done once, and answered twice alike."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shotfix.api.problems import Problem

if TYPE_CHECKING:
    from starlette.responses import Response

KEPT_S: Final = 86_400.0
MOST_KEPT: Final = 20_000
_KEY: Final = re.compile(r'"?([A-Za-z0-9_.:-]{8,128})"?')


@dataclass(slots=True)
class _Kept:
    fingerprint: bytes
    at_s: float
    answer: Response | None = None


class Repeats:
    """Answers to requests that carried an Idempotency-Key, each person's own, for a day or until the centre stops.

    A request that comes again after a stop finds that the incident's version has moved on, and is answered with 409:
    it does not act twice either.
    """

    def __init__(self) -> None:
        self.repeated = 0
        """Requests that were answered without being done again."""
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, key: tuple[str, str], fingerprint: bytes, now_s: float) -> Response | None:
        """The answer that was given before; None when this is the first time, and the key is then held.

        Raises
        ------
        Problem
            When it was another request, or the first is not answered yet.
        """
        while self._kept and next(iter(self._kept.values())).at_s < now_s - KEPT_S:
            self._kept.popitem(last=False)
        kept = self._kept.get(key)
        if kept is None:
            self._kept[key] = _Kept(fingerprint, now_s)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return None
        if kept.fingerprint != fingerprint:
            raise Problem("key-reused", "this Idempotency-Key stood for another request; take a fresh one")
        if kept.answer is None:
            raise Problem("in-progress", "the first request of this Idempotency-Key is being answered; wait for it")
        self.repeated += 1
        return kept.answer

    def end(self, key: tuple[str, str], answer: Response | None) -> None:
        """Keep the answer; None lets go of the key, because nothing was done."""
        kept = self._kept.get(key)
        if kept is not None and answer is None:
            del self._kept[key]
        elif kept is not None:
            kept.answer = answer


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

"""Known types: what a decoder must know of a type is found out once, by one thread, before any other decodes it."""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

import msgspec

Kind = TypeVar("Kind")

_known: Final[set[Any]] = set()
_finding_out: Final = threading.Lock()


def known(kind: Kind) -> Kind:
    """The type itself, safe to decode into: ``msgspec.json.decode(body, type=known(Alert))``.

    msgspec (0.22) finds out a type's members when it first meets the type, and leaves what it has so far where other
    threads see it: one that decodes the same type meanwhile reads members that are not there, and the process ends
    (SIGSEGV). At the start of a centre its couriers, its engine and its API all meet an alert for the first time.
    """
    if kind not in _known:
        with _finding_out:  # types share members, hence one lock for all of them
            msgspec.json.Decoder(kind)
            _known.add(kind)
    return kind

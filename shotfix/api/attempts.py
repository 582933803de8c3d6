"""Attempts: wrong tokens are counted by address, and whoever shows many is not listened to for a while."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FREE: Final = 10
"""Wrong tokens that cost nothing: somebody pasted badly."""
WINDOW_S: Final = 60.0
"""After so long without another they are forgotten, once no lock-out lasts."""
FIRST_LOCK_S: Final = 10.0
LONGEST_LOCK_S: Final = 900.0
MOST_ADDRESSES: Final = 10_000


@dataclass(slots=True)
class _Record:
    failures: int = 0
    last_s: float = 0.0
    locked_until_s: float = 0.0


class Attempts:
    """Failures of each address; in a bounded memory, the longest quiet are forgotten first.

    A token has 256 random bits and cannot be guessed; this keeps guessing from costing us much. A right token is let in
    from a locked address too: those who share a proxy's address with a fool are not shut out with him.

    Parameters
    ----------
    seconds : callable
        A clock that never goes back, in seconds.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self.failed = 0
        """Wrong tokens since the start."""
        self.locked_out = 0
        """Requests that were refused because too many had failed before."""
        self._seconds = seconds
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def fail(self, address: str) -> float:
        """Count a failure; for how many seconds the address is locked out, 0 when it is not.

        The lock-out doubles with each further ten failures, up to `LONGEST_LOCK_S`.
        """
        now_s, key = self._seconds(), network_of(address)
        record = self._records.pop(key, None) or _Record()
        self._records[key] = record
        if len(self._records) > MOST_ADDRESSES:
            self._records.popitem(last=False)
        if record.locked_until_s > now_s:
            self.locked_out += 1
            return record.locked_until_s - now_s
        if now_s - max(record.last_s, record.locked_until_s) > WINDOW_S:
            record.failures = 0
        record.failures += 1
        record.last_s = now_s
        self.failed += 1
        rounds, rest = divmod(record.failures, FREE)
        if rest or not rounds:
            return 0.0
        lock_s = min(FIRST_LOCK_S * 2.0 ** min(rounds - 1, 30), LONGEST_LOCK_S)
        record.locked_until_s = now_s + lock_s
        return 0.0


def network_of(address: str) -> str:
    """What shares one record: an address of IPv4, a /64 of IPv6, whose addresses one host has by the billion."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found)

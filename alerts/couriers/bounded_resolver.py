"""A bounded resolver: however long the system looks for a name, whoever asks waits so long, and no more."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from alerts.couriers.destination import Resolver

LONGEST_S: Final = 5.0
"""How long an answer is awaited; glibc asks the first name server again after as long (resolv.conf(5), timeout)."""


class BoundedResolver:
    """A resolver for several threads that is never awaited for longer than ``within_s``.

    The system's own, getaddrinfo(3), has no time-out and cannot be broken off: with name servers that are silent it
    returns after half a minute or more, and would hold every delivery's thread. Hence it is asked in a thread of its
    own. Whoever asks while a look-up of that name is under way waits for the same one, so that those which hang are one
    to a name and do not pile up. Nothing is remembered: what is asked after an answer came is looked up anew.

    Parameters
    ----------
    resolve : Resolver
        That is asked.
    within_s : float
        Seconds.
    """

    def __init__(self, resolve: Resolver, within_s: float = LONGEST_S) -> None:
        self._resolve = resolve
        self._within_s = within_s
        self._one = threading.Lock()  # guards what is under way
        self._under_way: dict[tuple[str, int], Future[list[str]]] = {}

    def __call__(self, host: str, port: int) -> list[str]:
        """Addresses of a name.

        Raises
        ------
        OSError
            When there are none, or no answer came in time.
        UnicodeError
            When it is no name.
        """
        with self._one:
            asked = self._under_way.get((host, port))
            if asked is None:
                asked = self._ask(host, port)
        try:
            return list(asked.result(self._within_s))
        except TimeoutError:
            if asked.done():
                raise
            raise TimeoutError(f"no name server answered within {self._within_s:g} s") from None

    def _ask(self, host: str, port: int) -> Future[list[str]]:
        asked: Future[list[str]] = Future()
        # One that hangs must not hold up the end of the program.
        threading.Thread(target=self._look_up, args=(host, port, asked), name="resolver", daemon=True).start()
        self._under_way[host, port] = asked
        return asked

    def _look_up(self, host: str, port: int, asked: Future[list[str]]) -> None:
        try:
            found = self._resolve(host, port)
        except Exception as error:  # noqa: BLE001  (it is raised where it was asked)
            self._ended(host, port)
            asked.set_exception(error)
        else:
            self._ended(host, port)
            asked.set_result(found)

    def _ended(self, host: str, port: int) -> None:
        """Before the answer is given: whoever asks after it gets one of their own."""
        with self._one:
            del self._under_way[host, port]

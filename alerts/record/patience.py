"""A connection to PostgreSQL that does not wait for ever: a server that hangs keeps its sockets open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import psycopg

if TYPE_CHECKING:
    from psycopg.abc import PQGen

LOOK_S: Final = 0.25
"""How often it is looked whether the time is over, while nothing comes."""


class PatientConnection(psycopg.Connection[Any]):
    """Gives up, closed, once the server has said nothing for ``patience_s`` seconds: to a statement, or to a commit.

    Timeouts of the server's own do not help when it is the server that hangs. What was asked may have been done all the
    same.
    """

    patience_s: float = 30.0

    def wait(self, gen: PQGen[Any], interval: float = LOOK_S, *rest: Any, **named: Any) -> Any:
        """As the driver's, which every exchange with the server goes through.

        Raises
        ------
        OperationalError
            When nothing came for too long.
        """
        try:
            return super().wait(_bounded(gen, self.patience_s), min(interval, LOOK_S), *rest, **named)
        except _HungError:
            self.pgconn.finish()  # without a farewell, which might hang too
            raise psycopg.OperationalError(f"nothing came from the server for {self.patience_s:g} s") from None


class _HungError(Exception):
    pass


def _bounded(gen: PQGen[Any], patience_s: float) -> PQGen[Any]:
    """The same exchange; the driver comes by whenever something is ready, and every so often when nothing is."""
    heard_s = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > patience_s:
                gen.close()
                raise _HungError
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value

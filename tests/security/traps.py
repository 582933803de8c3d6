"""What listens inside and must not be called; and a proof that nothing was sent to anywhere."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
from datetime import UTC, datetime

from acoustic.instant import SECOND
from alerts.alert import encode
from alerts.couriers.webhook import Secret
from alerts.delivery import Delivery
from alerts.desk import Desk
from tests.strategies import fix_at

SECRET = Secret(bytes(range(32)))

_calls: list[object] = []
_watched = threading.local()


def _watch(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"} and getattr(_watched, "on", False):
        _calls.append(arguments[1])


sys.addaudithook(_watch)  # it stays for good: Python has no way to take one away


@contextlib.contextmanager
def nothing_sent():
    """Fails when this thread opens any connection, or sends any datagram, to anywhere."""
    _calls.clear()
    _watched.on = True
    try:
        yield
    finally:
        _watched.on = False
    assert _calls == []


class Trap:
    """Something that listens inside: on this machine, by IPv4 and IPv6, at one port."""

    def __init__(self):
        while True:
            self.v4 = socket.create_server(("127.0.0.1", 0))
            self.port = self.v4.getsockname()[1]
            try:
                self.all = [self.v4, socket.create_server(("::1", self.port), family=socket.AF_INET6)]
                break
            except OSError as error:
                if error.errno == errno.EADDRINUSE:  # by IPv6: another port
                    self.v4.close()
                    continue
                self.all = [self.v4]  # a machine without IPv6
                break
        for one in self.all:
            one.setblocking(False)

    def called(self):
        """Whether anybody connected: what was is in the backlog, whether somebody accepted it or not."""
        for one in self.all:
            with contextlib.suppress(BlockingIOError):
                one.accept()[0].close()
                return True
        return False

    def close(self):
        for one in self.all:
            one.close()


def any_letter():
    """A delivery of some alert."""
    (alert,) = Desk().receive(fix_at("a"))
    return Delivery(
        alert_id=alert.alert_id, revision=1, courier="room", kind="new", published_at=alert.published_at,
        document=encode(alert), queued_ns=now_ns(),
    )  # fmt: skip


def now_ns():
    return int(datetime.now(UTC).timestamp()) * SECOND

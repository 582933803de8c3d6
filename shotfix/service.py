"""A service under systemd: says that it is ready, alive, reloading or stopping, where somebody asked to be told."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(words: str) -> bool:
    """Send one state to the manager (sd_notify(3): a datagram to the socket named in NOTIFY_SOCKET).

    Parameters
    ----------
    words : str
        As ``READY=1``, ``WATCHDOG=1``, ``STATUS=...``; several are separated by line ends.

    Returns
    -------
    bool
        Whether it was sent; False where no manager asked for it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return False
    if address[0] == "@":  # an abstract name
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect(address)
        sender.sendall(words.encode())
        return True
    return False


def watchdog_s() -> float | None:
    """How often to say WATCHDOG=1: half of what the manager waits (sd_watchdog_enabled(3)); None where it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2e6

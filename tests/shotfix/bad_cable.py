"""A cable that can be cut and that loses packets: between this machine and a network namespace of its own.

Both ends are tun devices (Linux, Documentation/networking/tuntap.rst); each packet passes through `BadCable`, which
drops it by dice. Neither firewall nor scheduler of the kernel is needed (many kernels come without netem).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import struct
import subprocess
import threading
from pathlib import Path

import pytest

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_TUN_NO_PI = 0x1001


class BadCable:
    """``loss``: the share of packets that each direction loses; 1.0 is a cut."""

    def __init__(self):
        self.namespace = f"sf{os.getpid()}"
        net = f"10.213.{os.getpid() % 256}"
        self.here, self.there = f"{net}.1", f"{net}.2"
        self.within = ("ip", "netns", "exec", self.namespace)
        self.loss = 0.0
        self.passed = self.dropped = 0
        self._dice = random.Random(1)  # noqa: S311  (dice, no secrets)
        self._ends = []
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="cable")

    def __enter__(self):
        _ip("netns", "add", self.namespace)
        try:
            for name, address in ((f"{self.namespace}a", self.here), (f"{self.namespace}b", self.there)):
                end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                self._ends.append(end)
                fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_NO_PI))
                away = ("-n", self.namespace) if address == self.there else ()
                if away:
                    _ip("link", "set", name, "netns", self.namespace)
                _ip(*away, "address", "add", f"{address}/30", "dev", name)
                _ip(*away, "link", "set", name, "up")
        except BaseException:
            self._let_go()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.write(self._wake, b".")
        self._thread.join()
        self._let_go()

    def _let_go(self):
        for end in (*self._ends, self._woken, self._wake):
            os.close(end)
        _ip("netns", "del", self.namespace)

    def _carry(self):
        here, there = self._ends
        while True:
            ready, _, _ = select.select([here, there, self._woken], [], [])
            if self._woken in ready:
                return
            for end in ready:
                with contextlib.suppress(OSError):  # a device that is not up takes nothing
                    packet = os.read(end, 65_536)
                    if self._dice.random() < self.loss:
                        self.dropped += 1
                        continue
                    os.write(there if end == here else here, packet)
                    self.passed += 1


@pytest.fixture
def cable():
    """One of them; skips where namespaces or tun devices cannot be made, except where CI says they must be."""
    made = BadCable()
    try:
        made.__enter__()
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", None) or error
        reason = f"no network namespace with a tun device can be made here: {told}"
        if os.environ.get("CI") == "true" and os.geteuid() == 0 and Path("/dev/net/tun").exists():
            pytest.fail(reason)
        pytest.skip(reason)
    yield made
    made.__exit__()


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)

"""RTP over UDP: the socket around an `RtpStream`."""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

from acoustic.instant import SECOND
from sensors.rtp_stream import RtpCounts, RtpStream
from sensors.source import Raw, SourceError

MOST_BYTES: Final = 65_535
RECEIVE_BUFFER_BYTES: Final = 1 << 20  # a second of eight channels, while the interpreter is elsewhere
TICK_MS: Final = 20
MOST_AT_ONCE: Final = 256  # datagrams before what they gave is handed on
SO_TIMESTAMPNS: Final = 35  # Linux, asm-generic/socket.h; Python has no name for it
_STAMP: Final = struct.Struct("@qq")


class Rtp:
    """Sound that a camera, an intercom or a studio device sends as RTP with L16 or L24.

    The packets are stamped by the kernel as they arrive, less their length; what a sender's reports say of its own
    clock is given beside it as ``start_ns``. RTP proves nothing about who sends: keep it on a network of its own, and
    name the sender.

    Parameters
    ----------
    port : int
        Of RTP; RTCP is expected on the next one (RFC 3550, section 11). 0 for any pair that is free.
    encoding, rate_hz, channels, payload_type, hold_s
        As for `sensors.rtp_stream.RtpStream`.
    address : str
        Numeric: of the interface to listen on, or a multicast group to join.
    sender : str or None
        Numeric address of the only sender that is listened to; None for anybody.

    Raises
    ------
    ValueError
        As `RtpStream`, and for what is no port or no numeric address.
    """

    once = False

    def __init__(
        self,
        port: int,
        *,
        encoding: str = "L16",
        rate_hz: int = 48_000,
        channels: int = 1,
        payload_type: int = 97,
        address: str = "0.0.0.0",  # noqa: S104 - devices send from outside; the sender is named beside it
        sender: str | None = None,
        hold_s: float = 0.05,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 <= port <= 65_534:
            raise ValueError(f"port is {port}: expected 0 to 65534, RTCP follows on the next one")
        self._address = ipaddress.ip_address(address)
        self._sender = None if sender is None else ipaddress.ip_address(sender)
        self.rate_hz = rate_hz
        self.channels = channels
        self._make: Callable[[], RtpStream] = lambda: RtpStream(
            encoding, rate_hz, channels, payload_type, hold_s=hold_s
        )
        self._stream = self._make()
        self.port = port
        """Of RTP; once it is open, the one that was free."""
        self._asked_port = port
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._wake: socket.socket | None = None
        self.foreign = 0
        """Datagrams from others than the sender."""

    @property
    def name(self) -> str:
        """Where it listens."""
        return f"rtp {self._address} port {self.port}"

    @property
    def counts(self) -> RtpCounts:
        """What happened to the packets since it was opened."""
        return self._stream.counts

    def open(self) -> Iterator[Raw]:
        """Listen. That nobody sends is no error here: it shows as samples that do not come.

        Raises
        ------
        SourceError
            When the ports are taken, or the group cannot be joined.
        """
        self._stream = self._make()
        sockets = self._bound()
        woken, wake = socket.socketpair()
        with self._lock:
            self._wake = wake
        return self._pieces(*sockets, woken, wake)

    def counted(self) -> dict[str, int]:
        """Packets that were not played, by why."""
        counts = asdict(self.counts)
        return {"foreign": self.foreign, **{name: counts[name] for name in counts if name != "received"}}

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            if self._wake is not None:
                self._wake.send(b".")

    def _bound(self) -> tuple[socket.socket, socket.socket]:
        for _ in range(50 if not self._asked_port else 1):
            try:
                sound = self._listening(self._asked_port)
                self.port = sound.getsockname()[1]
                try:
                    return sound, self._listening(self.port + 1)
                except (OSError, OverflowError):
                    sound.close()
                    raise
            except (OSError, OverflowError) as error:
                why = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{self.name}: cannot be listened on ({why}); is another program there, or no such address?")

    def _listening(self, port: int) -> socket.socket:
        group = self._address.is_multicast
        family = socket.AF_INET if self._address.version == 4 else socket.AF_INET6
        listening = socket.socket(family, socket.SOCK_DGRAM)
        try:
            listening.setblocking(False)  # noqa: FBT003 - the socket's own way
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            with contextlib.suppress(OSError):
                listening.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            if group:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((str(self._address), port))
            if group and family == socket.AF_INET:
                member = self._address.packed + bytes(4)
                listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            elif group:
                member = self._address.packed + struct.pack("@I", 0)
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        except OSError:
            listening.close()
            raise
        return listening

    def _pieces(
        self, sound: socket.socket, reports: socket.socket, woken: socket.socket, wake: socket.socket
    ) -> Iterator[Raw]:
        waiting = select.poll()
        for one in (sound, reports, woken):
            waiting.register(one, select.POLLIN)
        try:
            while True:
                ready = {descriptor for descriptor, _ in waiting.poll(TICK_MS if self._stream.waiting else None)}
                if woken.fileno() in ready:
                    return
                if reports.fileno() in ready:
                    for datagram, wall_ns in self._received(reports):
                        self._stream.report(datagram, wall_ns)
                if sound.fileno() in ready:
                    for datagram, wall_ns in self._received(sound):
                        yield from self._stream.receive(datagram, wall_ns, self._monotonic())
                yield from self._stream.tick(self._monotonic())
        finally:
            with self._lock:
                self._wake = None
            for one in (sound, reports, woken, wake):
                one.close()

    def _received(self, listening: socket.socket) -> Iterator[tuple[bytes, int]]:
        """Datagrams that lie ready, with the instant of their arrival."""
        for _ in range(MOST_AT_ONCE):
            try:
                datagram, beside, _, sender = listening.recvmsg(MOST_BYTES, 64)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of what was sent from this address: nothing of ours
                continue
            if self._sender is not None and ipaddress.ip_address(sender[0].partition("%")[0]) != self._sender:
                self.foreign += 1
                continue
            yield datagram, _arrived_ns(beside)


def _arrived_ns(beside: list[tuple[int, int, bytes]]) -> int:
    """The kernel's stamp, which does not wait for us; the clock now where there is none."""
    for level, kind, data in beside:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack_from(data)
            return int(seconds) * SECOND + int(nanoseconds)
    return time.time_ns()

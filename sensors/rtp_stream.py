"""One sound out of packets that come late, twice, in another order, from strangers or not at all. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from acoustic.block import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from acoustic.instant import SECOND
from sensors.pcm import from_pcm, sample_bytes
from sensors.rtp import Packet, RtpError, SenderReport, parse_packet, parse_reports, signed_difference
from sensors.source import Raw

ENCODINGS: Final = MappingProxyType({"L16": "s16be", "L24": "s24be"})
"""RFC 3551, section 4.5.11, and RFC 3190, section 4."""

STATIC_TYPES: Final = MappingProxyType({10: ("L16", 44_100, 2), 11: ("L16", 44_100, 1)})  # RFC 3551, table 4

BLOCK_S: Final = 0.02
"""Packets are joined to pieces of this length: some senders send a thousand a second."""

MOST_HELD: Final = 64  # packets ahead of a missing one
MOST_DROPOUT: Final = 3_000  # as in RFC 3550, appendix A.1
MOST_MISORDER: Final = 100  # as there
PROBATION: Final = 2  # packets in sequence before a stranger is believed, as there
MOST_STRANGERS: Final = 32
SILENCE_S: Final = 1.0  # of the sender that is heard, before another one can take its place
LONGEST_LOSS_S: Final = 3600.0  # a timestamp that jumps further says nothing about what is missing
FARTHEST_REPORT_NS: Final = 86_400 * SECOND  # between a sender's clock and ours; such a clock was never set


@dataclass(slots=True)
class RtpCounts:
    """What happened to packets and reports since the stream was opened."""

    received: int = 0
    malformed: int = 0
    other_type: int = 0
    """Of another payload type than the one that is listened to."""
    strangers: int = 0
    """From another sender (SSRC), or far out of sequence, while the sender was heard."""
    repeated: int = 0
    late: int = 0
    """After their place had been given up."""
    missing: int = 0
    """Never came, or too late."""
    breaks: int = 0
    """Times that sound does not follow on: packets missing, timestamps that jumped, a new sender."""
    senders: int = 0
    """Senders, or new beginnings of one, that were taken up."""
    bad_reports: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    packet: Packet
    wall_ns: int
    now_s: float


@dataclass(slots=True)
class _Joined:
    """Packets that follow each other, on their way to be one piece."""

    count: int = 0
    frames: int = 0
    wall_ns: int = 0
    start_ns: int | None = None
    lost: bool = False
    since_s: float = 0.0
    payloads: list[bytes] = field(default_factory=list)


class RtpStream:
    """Datagrams in, samples out, in their order; what is missing is a loss, never joined over.

    Parameters
    ----------
    encoding : str
        ``L16`` or ``L24``.
    rate_hz, channels : int
    payload_type : int
        0 to 127; 10 and 11 are L16 at 44.1 kHz with two channels and with one.
    hold_s : float
        How long packets wait for one that is missing before them.

    Raises
    ------
    ValueError
        For another encoding, values out of range, or a static type with other values.
    """

    def __init__(self, encoding: str, rate_hz: int, channels: int, payload_type: int, *, hold_s: float = 0.05) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(f"encoding is {encoding!r}: expected one of {', '.join(ENCODINGS)}")
        if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ or not 1 <= channels <= 64 or not 0 <= payload_type <= 127:
            raise ValueError(
                f"{rate_hz} Hz, {channels} channels, payload type {payload_type}: expected {LOWEST_RATE_HZ} to "
                f"{HIGHEST_RATE_HZ}, 1 to 64, 0 to 127"
            )
        fixed = STATIC_TYPES.get(payload_type, (encoding, rate_hz, channels))
        if fixed != (encoding, rate_hz, channels):
            raise ValueError(f"payload type {payload_type} is {fixed[0]}/{fixed[1]}/{fixed[2]} by RFC 3551")
        self._encoding = ENCODINGS[encoding]
        self._frame_bytes = sample_bytes(self._encoding) * channels
        self._channels = channels
        self._rate_hz = rate_hz
        self._payload_type = payload_type
        self._hold_s = hold_s
        self._block_frames = round(BLOCK_S * rate_hz)
        self.counts = RtpCounts()
        self._ssrc: int | None = None
        self._heard_s = 0.0
        self._next = 0
        """Sequence number that is due, 16 bit."""
        self._held: dict[int, _Held] = {}
        """By how far they are ahead of ``_next`` on a line that does not roll over."""
        self._base = 0
        """What ``_next`` is on that line."""
        self._due_timestamp: int | None = None
        self._count = 0
        self._torn = False
        self._reports: dict[int, SenderReport] = {}
        self._strangers: dict[int, list[_Held]] = {}
        self._joined = _Joined()

    @property
    def waiting(self) -> bool:
        """Something is held that `tick` will release in time."""
        return bool(self._held or self._joined.frames)

    def receive(self, datagram: bytes, wall_ns: int, now_s: float) -> tuple[Raw, ...]:
        """A datagram has come, at an instant of the system clock and at a moment of one that never goes back."""
        self.counts.received += 1
        try:
            packet = parse_packet(datagram)
        except RtpError:
            self.counts.malformed += 1
            return ()
        if packet.payload_type != self._payload_type:
            self.counts.other_type += 1
            return ()
        if not packet.payload or len(packet.payload) % self._frame_bytes:
            self.counts.malformed += 1
            return ()
        said: list[Raw] = []
        held = _Held(packet, wall_ns, now_s)
        if not self._fits(packet):
            self._consider(held, said)
        else:
            self._place(held)
        self._release(now_s, said)
        return tuple(said)

    def tick(self, now_s: float) -> tuple[Raw, ...]:
        """Time has passed: what has waited long enough is given without what is missing."""
        said: list[Raw] = []
        self._release(now_s, said)
        if self._joined.frames and now_s - self._joined.since_s >= self._hold_s:
            self._give(said)
        return tuple(said)

    def report(self, datagram: bytes, wall_ns: int) -> None:
        """A datagram of RTCP has come. A sender's first one may come before it is heard."""
        try:
            reports = list(parse_reports(datagram))
        except RtpError:
            self.counts.bad_reports += 1
            return
        for report in reports:
            if abs(report.instant_ns - wall_ns) > FARTHEST_REPORT_NS:
                self.counts.bad_reports += 1
                continue
            self._reports[report.ssrc] = report
            if len(self._reports) > MOST_STRANGERS:
                self._reports.pop(next(ssrc for ssrc in self._reports if ssrc != self._ssrc))

    def _fits(self, packet: Packet) -> bool:
        if packet.ssrc != self._ssrc:
            return False
        return -MOST_MISORDER <= signed_difference(packet.sequence, self._next, 16) < MOST_DROPOUT

    def _consider(self, held: _Held, said: list[Raw]) -> None:
        """A stranger is taken up once several of its packets fit each other, and nobody else is heard."""
        if self._ssrc is not None and held.now_s - self._heard_s < SILENCE_S:
            self.counts.strangers += 1
            return
        ssrc, sequence = held.packet.ssrc, held.packet.sequence
        seen = self._strangers.pop(ssrc, [])
        near = [one for one in seen if 0 < abs(signed_difference(sequence, one.packet.sequence, 16)) < PROBATION * 8]
        self._strangers[ssrc] = [*near, held][-PROBATION * 8 :]
        if len(self._strangers[ssrc]) < PROBATION:
            while len(self._strangers) > MOST_STRANGERS:
                self._strangers.pop(next(iter(self._strangers)))
                self.counts.strangers += 1
            return
        self._take_up(self._strangers[ssrc], said)

    def _take_up(self, first: list[_Held], said: list[Raw]) -> None:
        self._skip_to_end(said)
        earliest = min(first, key=lambda one: signed_difference(one.packet.sequence, first[0].packet.sequence, 16))
        # A report of the same sender from before its new beginning speaks of another line of timestamps.
        fresh = self._reports.get(earliest.packet.ssrc) if earliest.packet.ssrc != self._ssrc else None
        self._ssrc = earliest.packet.ssrc
        self._reports = {self._ssrc: fresh} if fresh is not None else {}
        self._next = earliest.packet.sequence
        self._due_timestamp = None
        self._strangers.clear()
        self.counts.senders += 1
        for held in first:
            self._place(held)

    def _skip_to_end(self, said: list[Raw]) -> None:
        while self._held:
            self._skip(said)
        self._give(said)

    def _place(self, held: _Held) -> None:
        self._heard_s = held.now_s
        ahead = signed_difference(held.packet.sequence, self._next, 16)
        if ahead < 0:
            self.counts.late += 1
        elif self._base + ahead in self._held:
            self.counts.repeated += 1
        else:
            self._held[self._base + ahead] = held

    def _release(self, now_s: float, said: list[Raw]) -> None:
        while self._held:
            if self._base in self._held:
                self._play(self._held.pop(self._base), said)
                self._advance(1)
            elif len(self._held) > MOST_HELD or now_s - min(one.now_s for one in self._held.values()) >= self._hold_s:
                self._skip(said)
            else:
                return

    def _skip(self, said: list[Raw]) -> None:
        """Give up what is missing before the next packet that is there, and play that."""
        first = min(self._held)
        if first > self._base:
            self.counts.missing += first - self._base
            self._torn = True
        self._advance(first - self._base)
        self._play(self._held.pop(first), said)
        self._advance(1)

    def _advance(self, packets: int) -> None:
        self._base += packets
        self._next = (self._next + packets) & 0xFFFF

    def _play(self, held: _Held, said: list[Raw]) -> None:
        packet = held.packet
        frames = len(packet.payload) // self._frame_bytes
        jump = 0
        if self._due_timestamp is not None:
            jump = signed_difference(packet.timestamp, self._due_timestamp, 32)
        begins = self._due_timestamp is None and self._count > 0
        if self._torn or jump or begins:
            self._give(said)
            self.counts.breaks += 1
            self._joined.lost = True
            if 0 < jump <= LONGEST_LOSS_S * self._rate_hz:
                self._count += jump
        self._torn = False
        self._due_timestamp = (packet.timestamp + frames) & 0xFFFF_FFFF
        self._join(held, frames)
        if self._joined.frames >= self._block_frames:
            self._give(said)

    def _join(self, held: _Held, frames: int) -> None:
        joined = self._joined
        if not joined.frames:
            joined.count = self._count
            # The last sample of a packet had been taken when it came, at the latest.
            joined.wall_ns = held.wall_ns - frames * SECOND // self._rate_hz
            joined.start_ns = self._reported_ns(held.packet.timestamp)
            joined.since_s = held.now_s
        joined.payloads.append(held.packet.payload)
        joined.frames += frames
        self._count += frames

    def _reported_ns(self, timestamp: int) -> int | None:
        report = None if self._ssrc is None else self._reports.get(self._ssrc)
        if report is None:
            return None
        since = signed_difference(timestamp, report.timestamp, 32)
        return report.instant_ns + (2 * since * SECOND + self._rate_hz) // (2 * self._rate_hz)

    def _give(self, said: list[Raw]) -> None:
        joined = self._joined
        if not joined.frames:
            return
        samples = from_pcm(b"".join(joined.payloads), self._encoding, self._channels)
        said.append(
            Raw(
                np.ascontiguousarray(samples),
                joined.count,
                self._rate_hz,
                wall_ns=joined.wall_ns,
                start_ns=joined.start_ns,
                lost=joined.lost,
            )
        )
        self._joined = _Joined()

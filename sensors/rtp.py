"""RTP and RTCP as they stand in a datagram (RFC 3550). Pure: bytes in, records out, nothing is believed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from acoustic.instant import SECOND

VERSION: Final = 2
HEADER_BYTES: Final = 12
SENDER_REPORT: Final = 200
REPORT_TYPES: Final = range(192, 224)  # what RFC 5761, section 4 keeps for RTCP
UNIX_IN_NTP_S: Final = 2_208_988_800  # 1970 counted from 1900
NTP_ERA_S: Final = 2**32


class RtpError(ValueError):
    """A datagram that is not what it should be."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of RTP: header fields as in RFC 3550, section 5.1, and the payload without its padding."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SenderReport:
    """When, by its own clock, a sender took the sample of an RTP timestamp (RFC 3550, section 6.4.1).

    Parameters
    ----------
    ssrc : int
    instant_ns : int
        The sender's clock. How sure it is, nobody says: milliseconds at best.
    timestamp : int
        RTP's timestamp at that instant, 32 bit.
    """

    ssrc: int
    instant_ns: int
    timestamp: int


def parse_packet(datagram: bytes) -> Packet:
    """A packet of RTP.

    Raises
    ------
    RtpError
        For another version, a report of RTCP, and whatever ends before its header says.
    """
    if len(datagram) < HEADER_BYTES:
        raise RtpError(f"{len(datagram)} bytes: too short for RTP")
    flags, kind, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", datagram)
    if flags >> 6 != VERSION:
        raise RtpError(f"version {flags >> 6}: expected {VERSION}")
    if kind in REPORT_TYPES:
        raise RtpError("a report of RTCP on the port of RTP")
    start = HEADER_BYTES + 4 * (flags & 0x0F)
    if flags & 0x10:
        if len(datagram) < start + 4:
            raise RtpError("ends within its header's extension")
        start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
    end = len(datagram)
    if flags & 0x20:
        padding = datagram[-1]
        end -= padding
        if not padding or end < start:
            raise RtpError(f"{padding} bytes of padding in {len(datagram)}")
    if end < start:
        raise RtpError("ends within its header")
    return Packet(kind & 0x7F, sequence, timestamp, ssrc, datagram[start:end])


def parse_reports(datagram: bytes) -> Iterator[SenderReport]:
    """The sender reports of a datagram of RTCP; those that state no clock are left out.

    Raises
    ------
    RtpError
        For what is no RTCP, at the place where it stops being so.
    """
    at = 0
    while at < len(datagram):
        if len(datagram) < at + 4:
            raise RtpError("ends within a report's header")
        flags, kind, words = struct.unpack_from("!BBH", datagram, at)
        size = 4 * (words + 1)
        if flags >> 6 != VERSION or kind not in REPORT_TYPES or len(datagram) < at + size:
            raise RtpError("not a report of RTCP, or cut short")
        if kind == SENDER_REPORT:
            if size < 28:
                raise RtpError(f"a sender report of {size} bytes: expected 28 or more")
            ssrc, seconds, fraction, timestamp = struct.unpack_from("!IIII", datagram, at + 4)
            if seconds or fraction:
                yield SenderReport(ssrc, _instant_ns(seconds, fraction), timestamp)
        at += size


def _instant_ns(seconds: int, fraction: int) -> int:
    """NTP's timestamp as UTC; one without its first bit lies after the roll-over of 2036 (RFC 4330, section 3)."""
    era_s = 0 if seconds & 0x8000_0000 else NTP_ERA_S
    return (seconds + era_s - UNIX_IN_NTP_S) * SECOND + ((fraction * SECOND) >> 32)


def signed_difference(later: int, earlier: int, bits: int) -> int:
    """How far a counter of so many bits has gone on, across its roll-over: negative when it went back."""
    half = 1 << (bits - 1)
    return ((later - earlier + half) & ((1 << bits) - 1)) - half

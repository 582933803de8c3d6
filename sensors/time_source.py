"""Time sources: how far the system clock can be trusted, as those who discipline it say. Thin; one reading a call."""

from __future__ import annotations

import ctypes
import math
import re
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from acoustic.block import LARGEST_SIGMA_S
from acoustic.instant import SECOND
from sensors.clock_reading import BUILT_NS, DRIFT_PPM, ERA_NS, Reading, implausible

__all__ = [
    "BUILT_NS",
    "ERA_NS",
    "Chrony",
    "Kernel",
    "Ptp",
    "Pulse",
    "Reading",
    "Stated",
    "TimeSource",
    "TimeSourceError",
    "Timex",
    "implausible",
    "kernel_reading",
    "parse_ptp",
    "parse_pulse",
    "parse_tracking",
]

PATIENCE_S: Final = 3.0
INTERRUPT_S: Final = 1e-5  # how late a pulse may be noticed: latency of an interrupt on an idle machine
HAND_OVER_S: Final = 1e-5  # between a network card's clock and the system's, as phc2sys keeps them
PULSE_AGE_S: Final = 2.0
UNANSWERED_UPDATES: Final = 4.0  # of chronyd's updates may fail to come before it coasts
LEAST_AGE_S: Final = 64.0

_UNSYNC: Final = 0x0040
_NANO: Final = 0x2000
_LEAPS: Final = {1: "insert", 2: "delete"}
_CHRONY_LEAPS: Final = {"Normal": "", "Insert second": "insert", "Delete second": "delete"}
# Servers known to smear leap seconds: each says so of itself in its public description.
_SMEARS: Final = re.compile(
    r"(time\d?\.google\.com|time\.android\.com|216\.239\.35\.(0|4|8|12)|2001:4860:4806:[048c]?::"
    r"|169\.254\.169\.123|fd00:ec2::123|time\.aws\.com|time\d?\.facebook\.com)",
    re.IGNORECASE,
)


class TimeSourceError(Exception):
    """Nobody could be asked, or the answer cannot be read; the message is one line and says what to do."""


class TimeSource(Protocol):
    """Whoever can be asked about the system clock. Asking may take seconds: not in the thread that captures."""

    def read(self) -> Reading:
        """Ask now.

        Raises
        ------
        TimeSourceError
            When nobody answers.
        """


# chrony


def parse_tracking(line: str, now_ns: int) -> Reading:
    """Read one line of ``chronyc -c tracking`` (chrony 4.3).

    The bound is that of chronyc(1): the offset that is being corrected, and the root dispersion, and half the root
    delay. A negative offset means that the system clock is fast (measured against the long form's words).

    Parameters
    ----------
    line : str
        14 fields, comma separated.
    now_ns : int
        When it was asked: a reference heard long ago makes a clock that coasts.

    Raises
    ------
    TimeSourceError
        For anything else.
    """
    fields = line.strip().split(",")
    if len(fields) != 14:
        raise TimeSourceError(f"chronyc said {len(fields)} fields: expected the 14 of chrony 4; is chronyd older?")
    if not re.fullmatch(r"[0-9A-F]{8}", fields[0]) or not re.fullmatch(r"1?[0-9]", fields[2]):
        raise TimeSourceError(f"chronyc said {line.strip()[:80]!r}: not what `chronyc -c tracking` of chrony 4 says")
    reference_s, offset_s, _, _, _, _, skew_ppm, delay_s, dispersion_s, interval_s = _numbers(fields[3:13])
    bound_s = abs(offset_s) + dispersion_s + delay_s / 2.0
    if not 0.0 <= bound_s <= LARGEST_SIGMA_S or skew_ppm < 0.0:
        raise TimeSourceError(f"chronyc said {line.strip()[:80]!r}: an error bound of {bound_s:g} s")
    drift_ppm = min(max(skew_ppm, DRIFT_PPM), 1e6)
    leap = _CHRONY_LEAPS.get(fields[13])
    found = Reading("chrony", "locked", bound_s, offset_s, drift_ppm, leap or "")
    if leap is None:
        return found.doubted(f"chronyd says {fields[13]!r}")
    if fields[0] == "7F7F0101" or fields[2] == "0":
        return found.doubted("chronyd has no source but the local clock")
    if fields[0] == "00000000":
        return found.doubted("chronyd has selected no source")
    if _SMEARS.fullmatch(fields[1]):
        return found.doubted(f"{fields[1]} smears leap seconds; take a server that does not")
    if now_ns / SECOND - reference_s > max(LEAST_AGE_S, UNANSWERED_UPDATES * interval_s):
        return replace(found, state="holdover")
    return found


def _numbers(fields: list[str]) -> list[float]:
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise TimeSourceError(f"chronyc's answer has no number where one belongs: {error}") from None
    if not all(math.isfinite(number) for number in numbers):
        raise TimeSourceError("chronyc's answer has a number that is none: expected finite ones")
    return numbers


@dataclass(frozen=True, slots=True)
class Chrony:
    """chronyd on this machine; ``command`` for one on another port, as ``("chronyc", "-h", "127.0.0.1", "-p", "...")``.

    No root is needed: tracking is what anybody on the machine may ask.
    """

    command: tuple[str, ...] = ("chronyc",)

    def read(self) -> Reading:
        """Ask chronyd."""
        return parse_tracking(_said((*self.command, "-n", "-c", "tracking"), "is chronyd running?"), time.time_ns())


def _said(command: tuple[str, ...], advice: str) -> str:
    """What a program prints."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise TimeSourceError(f"{command[0]} is not installed: install it, or name another time source") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TimeSourceError(f"{command[0]} does not answer ({type(error).__name__}): {advice}") from None
    if done.returncode:
        complaint = (done.stdout.strip() or done.stderr.strip()).splitlines()[:1]
        raise TimeSourceError(f"{' '.join(command)}: {(complaint or ['no answer'])[0]}; {advice}")
    return done.stdout


# the kernel


class Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2), where a long has 64 bits."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("constant", ctypes.c_long),
        ("precision", ctypes.c_long), ("tolerance", ctypes.c_long), ("seconds", ctypes.c_long),
        ("fraction", ctypes.c_long), ("tick", ctypes.c_long), ("ppsfreq", ctypes.c_long), ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int), ("stabil", ctypes.c_long), ("jitcnt", ctypes.c_long), ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long), ("stbcnt", ctypes.c_long), ("tai", ctypes.c_int), ("padding", ctypes.c_int * 11),
    )  # fmt: skip


def kernel_reading(state: int, found: Timex) -> Reading:
    """What adjtimex(2) returned, as a reading.

    The bound is ``maxerror``, which the daemon that disciplines the clock sets and the kernel lets grow by 500 ppm: far
    too wide for an hour's silence, and never too narrow. Whoever smears leap seconds cannot be seen from here.
    """
    bound_s = min(max(found.maxerror, found.esterror, 0) * 1e-6, LARGEST_SIGMA_S)
    offset_s = found.offset * (1e-9 if found.status & _NANO else 1e-6)
    reading = Reading("kernel", "locked", bound_s, offset_s, leap=_LEAPS.get(state, ""))
    if found.status & _UNSYNC or state == 5:  # TIME_ERROR
        return reading.doubted("the kernel's clock is not synchronised: no time daemon runs, or it hears nobody")
    return reading


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel's own word, set by whatever daemon runs: the fallback."""

    def read(self) -> Reading:
        """Ask the kernel; needs no right."""
        try:
            adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        except (OSError, AttributeError):
            raise TimeSourceError("this system has no adjtimex: name another time source") from None
        found = Timex()
        state = adjtimex(ctypes.byref(found))
        if state < 0:
            raise TimeSourceError(f"adjtimex failed with errno {ctypes.get_errno()}: name another time source")
        return kernel_reading(state, found)


# pulses, PTP, somebody's word


def parse_pulse(text: str, now_ns: int) -> Reading:
    """Read ``assert`` of a pulse source in sysfs: when the system clock saw the last pulse, and its number.

    A pulse marks a second and does not say which: the reading is no more than how far the system clock is from whole
    seconds. Whether the seconds are numbered rightly somebody else must say (`Pulse.read` asks the kernel).
    """
    found = re.fullmatch(r"(\d{1,12})\.(\d{9})#(\d+)\s*", text)
    if found is None:
        raise TimeSourceError(f"the pulse source says {text[:40]!r}: expected seconds.nanoseconds#number")
    at_ns = int(found[1]) * SECOND + int(found[2])
    off_s = ((at_ns + SECOND // 2) % SECOND - SECOND // 2) / SECOND
    reading = Reading("pps", "locked", abs(off_s) + INTERRUPT_S, -off_s)
    age_s = (now_ns - at_ns) / SECOND
    if not int(found[3]) or not -PULSE_AGE_S < age_s < PULSE_AGE_S:
        return reading.doubted(f"no pulse for {age_s:.0f} s: is the antenna connected?")
    return reading


@dataclass(frozen=True, slots=True)
class Pulse:
    """A receiver's pulse each second, as the kernel sees it; and the kernel's word that the seconds are numbered."""

    path: Path = Path("/sys/class/pps/pps0/assert")

    def read(self) -> Reading:
        """Look at the last pulse."""
        try:
            text = self.path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise TimeSourceError(
                f"{self.path}: {type(error).__name__}; is the pulse source's driver loaded?"
            ) from None
        reading = parse_pulse(text, time.time_ns())
        numbered = Kernel().read()
        if numbered.state == "free" and reading.state == "locked":
            return reading.doubted("pulses come, but nobody says which second they mark: run chronyd with the pulses")
        return replace(reading, leap=numbered.leap)


def parse_ptp(text: str) -> Reading:
    """Read what ``pmc -u -b 0 'GET TIME_STATUS_NP'`` (linuxptp) says of the network card's clock.

    The system clock is another one: phc2sys keeps it to the card's, and `HAND_OVER_S` is what that is taken to cost.
    PTP counts TAI; a system clock that was set to it is 37 s ahead, which no one on this machine can see: the centre
    does (`sensors.clock_watch`).
    """
    found = dict(re.findall(r"^\s+(\w+)\s+(\S+)\s*$", text, re.MULTILINE))
    if not re.fullmatch(r"-?\d{1,15}", found.get("master_offset", "")) or "gmPresent" not in found:
        raise TimeSourceError("pmc did not tell TIME_STATUS_NP: is ptp4l running?")
    off_s = int(found["master_offset"]) / SECOND
    reading = Reading("ptp", "locked", min(abs(off_s) + HAND_OVER_S, LARGEST_SIGMA_S), -off_s)
    return reading if found["gmPresent"] == "true" else reading.doubted("no grandmaster is heard")


@dataclass(frozen=True, slots=True)
class Ptp:
    """ptp4l on this machine, asked through pmc; it needs the right to open ptp4l's socket."""

    command: tuple[str, ...] = ("pmc", "-u", "-b", "0", "GET TIME_STATUS_NP")

    def read(self) -> Reading:
        """Ask ptp4l."""
        return parse_ptp(_said(self.command, "is ptp4l running, and may this user ask it?"))


@dataclass(frozen=True, slots=True)
class Stated:
    """Somebody's word for it, where no machine can be asked."""

    sigma_s: float

    def read(self) -> Reading:
        """The word."""
        return Reading("stated", "stated", self.sigma_s)

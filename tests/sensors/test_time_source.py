"""Time sources: chronyd's own words, golden and live; the kernel, pulses, PTP; and what is not believed."""

from __future__ import annotations

import ctypes
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import SECOND, parse_instant
from sensors.time_source import (
    BUILT_NS,
    ERA_NS,
    Chrony,
    Kernel,
    Ptp,
    Pulse,
    Reading,
    Stated,
    TimeSourceError,
    Timex,
    implausible,
    kernel_reading,
    parse_ptp,
    parse_pulse,
    parse_tracking,
)

# As chronyd 4.3 said it of a reference clock that was 3 ms behind the system clock (its long form: "fast").
GOLDEN = (
    "54455354,TEST,1,1795331376.338310994,-0.003000000,-0.000000000,0.000000000,0.000,-0.000,0.125,0.000200000,"
    "0.000001988,1.0,Normal"
)
GOLDEN_NS = 1_795_331_377 * SECOND
FIELDS = GOLDEN.split(",")


def tracking(**changed):
    """The golden line with some of its fields replaced."""
    names = ("refid", "name", "stratum", "reference", "offset", "last", "rms", "frequency", "residual", "skew", "delay",
             "dispersion", "interval", "leap")  # fmt: skip
    return ",".join(str(changed.get(name, field)) for name, field in zip(names, FIELDS, strict=True))


def test_the_bound_is_offset_and_dispersion_and_half_the_delay():
    reading = parse_tracking(GOLDEN, GOLDEN_NS)
    assert (reading.source, reading.state, reading.leap, reading.doubt) == ("chrony", "locked", "", "")
    assert reading.bound_s == pytest.approx(0.003 + 0.000001988 + 0.0001)
    assert reading.offset_s == -0.003


@pytest.mark.parametrize(
    ("changed", "doubt"),
    [
        ({"refid": "7F7F0101", "name": ""}, "local clock"),
        ({"stratum": "0"}, "local clock"),
        ({"refid": "00000000", "name": ""}, "selected no source"),
        ({"leap": "Not synchronised"}, "Not synchronised"),
        ({"name": "time1.google.com"}, "smears leap seconds"),
        ({"name": "216.239.35.4"}, "smears leap seconds"),
        ({"name": "169.254.169.123"}, "smears leap seconds"),
        ({"name": "2001:4860:4806:8::"}, "smears leap seconds"),
    ],
)
def test_what_chronyd_does_not_vouch_for_is_not_believed(changed, doubt):
    reading = parse_tracking(tracking(**changed), GOLDEN_NS)
    assert reading.state == "free"
    assert doubt in reading.doubt


def test_a_reference_heard_long_ago_makes_a_clock_that_coasts():
    assert parse_tracking(tracking(interval="16.0"), GOLDEN_NS + 60 * SECOND).state == "locked"
    assert parse_tracking(tracking(interval="16.0"), GOLDEN_NS + 70 * SECOND).state == "holdover"
    assert parse_tracking(tracking(interval="1024.0"), GOLDEN_NS + 70 * SECOND).state == "locked"
    assert parse_tracking(tracking(interval="1024.0"), GOLDEN_NS + 5_000 * SECOND).state == "holdover"


def test_a_leap_second_to_come_is_told():
    assert parse_tracking(tracking(leap="Insert second"), GOLDEN_NS).leap == "insert"
    assert parse_tracking(tracking(leap="Delete second"), GOLDEN_NS).leap == "delete"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "506 Cannot talk to daemon",
        GOLDEN + ",more",
        ",".join(FIELDS[:13]),
        tracking(refid="7F7F01"),
        tracking(refid="54455354 "),
        tracking(stratum="-1"),
        tracking(stratum="one"),
        tracking(offset="nan"),
        tracking(dispersion="inf"),
        tracking(dispersion="-5"),
        tracking(dispersion="1e9"),
        tracking(skew="-1"),
        tracking(delay=""),
    ],
)
def test_anything_else_is_refused_in_one_line(line):
    with pytest.raises(TimeSourceError) as caught:
        parse_tracking(line, GOLDEN_NS)
    assert len(str(caught.value).splitlines()) == 1


@given(st.lists(st.one_of(st.sampled_from(FIELDS), st.text(max_size=12)), min_size=12, max_size=16))
def test_whatever_is_said_a_reading_or_an_error(fields):
    try:
        reading = parse_tracking(",".join(fields), GOLDEN_NS)
    except TimeSourceError:
        return
    assert reading.state in {"locked", "holdover", "free"}


# A real chronyd, that does not touch the system clock


@pytest.fixture
def chronyd(tmp_path):
    """Start a chronyd with these lines of configuration; the time source that asks it."""
    program = shutil.which("chronyd") or "/usr/sbin/chronyd"
    if not Path(program).exists() or not shutil.which("chronyc"):
        reason = "no chronyd and chronyc here: install Debian's package chrony"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    running = []

    def start(*lines):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        conf = tmp_path / "chrony.conf"
        conf.write_text("\n".join(
            ["port 0", f"cmdport {port}", "bindcmdaddress 127.0.0.1", f"bindcmdaddress {tmp_path}/no/socket",
             f"pidfile {tmp_path}/pid", *lines, ""]
        ))  # fmt: skip
        running.append(
            subprocess.Popen(
                [program, "-x", "-d", "-U", "-u", getpass.getuser(), "-f", str(conf)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        return Chrony(("chronyc", "-h", "127.0.0.1", "-p", str(port)))

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


def read_until(source, wanted, patience_s=60.0):
    """Readings until one is as wanted; the last one."""
    until, reading = time.monotonic() + patience_s, None
    while time.monotonic() < until:
        try:
            reading = source.read()
        except TimeSourceError:
            reading = None
        if reading is not None and wanted(reading):
            return reading
        time.sleep(0.2)
    return reading


def test_a_real_chronyd_without_a_source_is_free(chronyd):
    reading = read_until(chronyd("local stratum 3"), lambda reading: True)
    assert (reading.state, reading.doubt) == ("free", "chronyd has no source but the local clock")


def test_a_real_chronyd_that_has_heard_nobody_yet_is_free(chronyd):
    reading = read_until(chronyd("server 192.0.2.1 offline"), lambda reading: True)
    assert reading.state == "free"


class _Shared(ctypes.Structure):
    """The segment through which a reference clock is told to a time daemon (NTP's driver 28)."""

    _fields_ = (
        ("mode", ctypes.c_int), ("count", ctypes.c_int), ("clock_s", ctypes.c_long), ("clock_us", ctypes.c_int),
        ("receive_s", ctypes.c_long), ("receive_us", ctypes.c_int), ("leap", ctypes.c_int),
        ("precision", ctypes.c_int), ("samples", ctypes.c_int), ("valid", ctypes.c_int), ("clock_ns", ctypes.c_uint),
        ("receive_ns", ctypes.c_uint), ("more", ctypes.c_int * 8),
    )  # fmt: skip


@pytest.fixture
def reference_clock():
    """Start a reference clock by which the system clock is so fast, s; the number of its segment."""
    if not sys.platform.startswith("linux"):
        pytest.skip("System V shared memory as Linux has it")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype, libc.shmdt.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    unit, stop, threads, segments = 100 + os.getpid() % 100, threading.Event(), [], []

    def feed(shared, fast_s):
        while not stop.wait(0.1):
            now_ns = time.time_ns()
            clock_ns = now_ns - round(fast_s * SECOND)
            shared.valid, shared.count = 0, shared.count + 1
            shared.clock_s, shared.clock_ns = divmod(clock_ns, SECOND)
            shared.receive_s, shared.receive_ns = divmod(now_ns, SECOND)
            shared.clock_us, shared.receive_us = shared.clock_ns // 1000, shared.receive_ns // 1000
            shared.count, shared.valid = shared.count + 1, 1

    def start(fast_s):
        segment = libc.shmget(0x4E545030 + unit, ctypes.sizeof(_Shared), 0o1600)
        if segment < 0:
            pytest.skip(f"no shared memory here: errno {ctypes.get_errno()}")
        address = libc.shmat(segment, None, 0)
        segments.append((segment, address))
        shared = ctypes.cast(address, ctypes.POINTER(_Shared)).contents
        shared.mode, shared.precision = 1, -20
        threads.append(threading.Thread(target=feed, args=(shared, fast_s)))
        threads[-1].start()
        return unit

    yield start
    stop.set()
    for thread in threads:
        thread.join()
    for segment, address in segments:
        libc.shmdt(address)
        libc.shmctl(segment, 0, None)


def test_a_real_chronyd_with_a_reference_clock_is_locked_and_says_how_fast_we_are(chronyd, reference_clock):
    unit = reference_clock(0.003)
    source = chronyd(f"refclock SHM {unit} poll 0 refid TEST precision 1e-6")
    reading = read_until(source, lambda reading: reading.state == "locked")
    assert reading.state == "locked"
    assert reading.offset_s == pytest.approx(-0.003, abs=0.0005)
    assert reading.bound_s == pytest.approx(0.003, abs=0.001)


def test_nobody_there_is_an_error_with_advice():
    with pytest.raises(TimeSourceError, match="not installed"):
        Chrony(("no-such-program",)).read()
    with pytest.raises(TimeSourceError, match="is chronyd running"):
        Chrony(("false",)).read()
    with pytest.raises(TimeSourceError, match="not installed"):
        Ptp(("no-such-program",)).read()


# The kernel


def kernel(state=0, **fields):
    found = Timex()
    for name, value in fields.items():
        setattr(found, name, value)
    return kernel_reading(state, found)


def test_the_kernel_says_its_bound_in_microseconds():
    reading = kernel(maxerror=1_500, esterror=200, offset=250, status=0x2001)
    assert (reading.state, reading.bound_s) == ("locked", pytest.approx(0.0015))
    assert reading.offset_s == pytest.approx(250e-9)
    assert kernel(maxerror=1, offset=250, status=1).offset_s == pytest.approx(250e-6)


def test_a_kernel_that_nobody_disciplines_is_free():
    assert kernel(maxerror=16_000_000, status=0x40).state == "free"
    assert kernel(state=5).state == "free"


def test_the_kernel_tells_of_a_leap_second():
    assert [kernel(state=state).leap for state in (0, 1, 2, 3)] == ["", "insert", "delete", ""]


def test_this_kernel_can_be_asked():
    """The structure is as large as the kernel's: what lies behind it is whole, and the time in it is now."""
    guarded = (ctypes.c_char * (ctypes.sizeof(Timex) + 64))()
    found = Timex.from_buffer(guarded)
    if ctypes.CDLL(None).adjtimex(ctypes.byref(found)) < 0:
        pytest.skip("this kernel does not let itself be asked")
    assert bytes(guarded)[ctypes.sizeof(Timex) :] == bytes(64)
    assert abs(found.seconds - time.time()) < 60.0
    assert 9_000 <= found.tick <= 11_000
    assert Kernel().read().source == "kernel"


# Pulses, PTP, somebody's word


def test_a_pulse_tells_how_far_seconds_are_off():
    now_ns = parse_instant("2026-11-22T07:00:00.4Z")
    second = now_ns // SECOND
    for off_ns in (1_200, -3_000):
        at_ns = second * SECOND + off_ns
        reading = parse_pulse(f"{at_ns // SECOND}.{at_ns % SECOND:09d}#77\n", now_ns)
        assert reading.state == "locked"
        assert reading.bound_s == pytest.approx(abs(off_ns) * 1e-9 + 1e-5)
        assert reading.offset_s == pytest.approx(-off_ns * 1e-9)
    assert parse_pulse(f"{second - 30}.000000000#77", now_ns).state == "free"
    assert parse_pulse("0.000000000#0", now_ns).state == "free"
    for text in ("", "1.2#3", "a.000000000#1", "1.000000000"):
        with pytest.raises(TimeSourceError, match="pulse source says"):
            parse_pulse(text, now_ns)


def test_a_pulse_source_that_is_not_there(tmp_path):
    with pytest.raises(TimeSourceError, match="driver"):
        Pulse(tmp_path / "assert").read()


PMC = """sending: GET TIME_STATUS_NP
	7cfe90.fffe.f56dd4-0 seq 0 RESPONSE MANAGEMENT TIME_STATUS_NP
		master_offset              -138
		ingress_time               1528885425123456789
		gmPresent                  true
		gmIdentity                 7cfe90.fffe.f56dd5
"""


def test_ptp_tells_of_the_card_and_its_grandmaster():
    reading = parse_ptp(PMC)
    assert (reading.state, reading.offset_s) == ("locked", pytest.approx(138e-9))
    assert reading.bound_s == pytest.approx(1e-5 + 138e-9)
    assert parse_ptp(PMC.replace("true", "false")).doubt == "no grandmaster is heard"
    with pytest.raises(TimeSourceError, match="ptp4l"):
        parse_ptp("sending: GET TIME_STATUS_NP\n")


def test_somebodys_word():
    assert Stated(0.002).read() == Reading("stated", "stated", 0.002)
    with pytest.raises(ValueError, match="bound_s"):
        Stated(-1.0).read()


def test_dates_before_this_program_are_not_believed():
    assert implausible(BUILT_NS) == ""
    assert implausible(BUILT_NS + ERA_NS) == ""
    assert "roll-over? 1 x 1024 weeks" in implausible(parse_instant("2026-11-22T00:00:00Z") - ERA_NS)
    assert "roll-over? 2 x 1024 weeks" in implausible(parse_instant("2026-11-22T00:00:00Z") - 2 * ERA_NS)
    assert implausible(0).endswith("before this program was built")


@pytest.mark.parametrize(
    "wrong",
    [{"state": "fine"}, {"bound_s": -1.0}, {"bound_s": float("nan")}, {"offset_s": float("inf")}, {"drift_ppm": -1.0}],
)
def test_a_reading_checks_itself(wrong):
    with pytest.raises(ValueError, match="expected"):
        Reading(**{"source": "x", "state": "locked", "bound_s": 0.0} | wrong)

"""A real capture through PortAudio: a sound server of the test's own, with a loudspeaker that is a microphone."""

import itertools
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sensors.capture import Capture, _Deck, microphones
from sensors.source import Raw, SourceError
from sensors.supervised import Supervised
from sensors.supervisor import LIVE, Change

RATE_HZ = 48_000
SPACING = 4_800
CLICK = np.array([9_000, -21_000, 12_345, -777], np.int16)
PATIENCE_S = 120.0
PROMISE_S = 5.0


class SoundServer:
    """PulseAudio without hardware: what is played to its null sink is heard at the sink's monitor."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = folder / "native"
        self.process = None
        self.config = folder / "alsa.conf"
        server = f'server "unix:{self.socket}"'
        self.config.write_text(
            "</usr/share/alsa/alsa.conf>\n"
            f'pcm.street_mic {{ type pulse {server} device "street.monitor" }}\n'
            f"ctl.street_mic {{ type pulse {server} }}\n"
        )

    def start(self):
        home = {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder), "PULSE_RUNTIME_PATH": str(self.folder)}
        self.process = subprocess.Popen(
            [
                *(
                    "pulseaudio",
                    "-n",
                    "--daemonize=no",
                    "--exit-idle-time=-1",
                    "--use-pid-file=no",
                    "--disable-shm=yes",
                ),
                *("-L", f"module-native-protocol-unix socket={self.socket} auth-anonymous=1"),
                *("-L", f"module-null-sink sink_name=street rate={RATE_HZ} channels=1 format=s16le"),
            ],
            env={"PATH": os.environ["PATH"], **home},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        began_s = time.monotonic()
        while "street" not in self.ask("list", "short", "sinks"):
            assert time.monotonic() < began_s + PATIENCE_S, "PulseAudio does not start"
            time.sleep(0.05)

    def ask(self, *words):
        command = ["pactl", f"--server=unix:{self.socket}", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False).stdout

    def play(self, samples):
        """A player that has been given everything; it ends by itself."""
        raw = self.folder / "played.raw"
        samples.astype("<i2").tofile(raw)
        what = [
            f"--server=unix:{self.socket}",
            "--raw",
            "--format=s16le",
            f"--rate={RATE_HZ}",
            "--channels=1",
            "--latency-msec=100",
        ]
        return subprocess.Popen(
            ["pacat", "--playback", "--device=street", *what, str(raw)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None
            self.socket.unlink(missing_ok=True)


@pytest.fixture
def server(tmp_path, monkeypatch):
    missing = [program for program in ("pulseaudio", "pactl", "pacat") if shutil.which(program) is None]
    if missing or not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        reason = "no real capture: apt install pulseaudio pulseaudio-utils libasound2-plugins"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    server = SoundServer(tmp_path)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(server.config))
    server.start()
    yield server
    server.kill()


def take(source, seconds):
    pieces = []
    for raw in source.open():
        pieces.append(raw)
        if raw.end_count >= seconds * source.rate_hz:
            break
    source.close()
    return pieces


def test_a_played_click_train_is_captured_sample_by_sample(server):
    (street,) = [one for one in microphones() if one.name == "street_mic"]
    assert street.keys == ("street_mic",)
    train = np.zeros(19 * SPACING, np.int16)
    for click in range(2, 17):
        train[click * SPACING :][: len(CLICK)] = CLICK
    source = Capture(["absent", "street_m"], rate_hz=RATE_HZ)
    samples = source.open()
    first = next(samples)
    player = server.play(train)
    pieces = [first, *itertools.takewhile(lambda raw: raw.end_count < 3.5 * RATE_HZ, samples)]
    source.close()
    assert player.wait(PATIENCE_S) == 0
    assert source.name == "street_mic"
    assert not any(raw.lost for raw in pieces), "the machine is too busy to capture at all"
    assert [raw.count for raw in pieces[1:]] == [raw.end_count for raw in pieces[:-1]]
    heard = np.concatenate([raw.samples for raw in pieces]) * 2.0**15
    (places,) = np.nonzero(heard == CLICK[1])
    assert len(places) == 15
    assert set(np.diff(places)) == {SPACING}
    for place in places:
        np.testing.assert_array_equal(heard[place - 1 : place + 3], CLICK)
    assert np.count_nonzero(heard) == 15 * len(CLICK)
    # The stamps: as many nanoseconds a sample as the rate says, and in the past.
    counts = np.array([raw.count for raw in pieces])
    walls = np.array([raw.wall_ns - pieces[0].wall_ns for raw in pieces]) / 1e9
    slope = np.polyfit(counts, walls, 1)[0]
    assert slope * RATE_HZ == pytest.approx(1.0, rel=0.05)
    assert all(raw.wall_ns < time.time_ns() for raw in pieces)


@pytest.mark.parametrize(("bits", "channels"), [(24, 1), (32, 2)])
def test_every_width_is_scaled_alike(server, bits, channels):
    source = Capture(["street_mic"], rate_hz=RATE_HZ, channels=channels, bits=bits)
    samples = source.open()
    player = server.play(np.full(2 * RATE_HZ, -8_192, np.int16))
    for raw in samples:
        if raw.samples.any():
            break
        assert raw.count < PATIENCE_S * RATE_HZ
    last = next(itertools.islice(samples, 5, None))
    source.close()
    player.terminate()
    player.wait(PATIENCE_S)
    assert last.samples.shape[1:] == ((2,) if channels == 2 else ())
    np.testing.assert_array_equal(last.samples, np.float32(-0.25))


def gone_and_back(server):
    """Seconds from the moment that the server is there again until sound is."""
    supervised = Supervised(lambda: Capture(["street_mic"], rate_hz=RATE_HZ))
    live, gone = threading.Event(), threading.Event()
    changes = []

    def listen():
        for one in supervised.stream():
            if isinstance(one, Change):
                changes.append((time.monotonic(), one))
                (live if one.state == LIVE else gone).set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert live.wait(PATIENCE_S)
        gone.clear()
        server.kill()
        assert gone.wait(PATIENCE_S)
        live.clear()
        time.sleep(1.0)
        assert not live.is_set()
        server.start()
        back_s = time.monotonic()
        assert live.wait(PATIENCE_S)
    finally:
        supervised.stop()
        listener.join(PATIENCE_S)
    assert supervised.losses == 1
    assert any("street_mic" in change.reason for _, change in changes)
    return next(at_s for at_s, change in reversed(changes) if change.state == LIVE) - back_s


def test_a_microphone_that_goes_and_comes_back_is_heard_again(server):
    gone_and_back(server)


@pytest.mark.endurance
def test_a_microphone_that_comes_back_is_heard_within_the_promise(server):
    took = [gone_and_back(server) for _ in range(20)]
    assert max(took) <= PROMISE_S, took


def test_what_is_not_there_or_cannot_be_had_is_said_with_the_remedy(server):
    with pytest.raises(
        SourceError, match=r"no microphone: 'Blue Yeti' fits none; present: .*'street_mic'.*mend the keys"
    ):
        Capture(["Blue Yeti"]).open()
    with pytest.raises(SourceError, match=r"street_mic: has 32 channels, 64 are asked for"):
        Capture(["street_mic"], channels=64).open()
    with pytest.raises(ValueError, match="16, 24 or 32"):
        Capture(["street_mic"], bits=8)
    with pytest.raises(ValueError, match="changes at the next start"):
        Capture(["hw:1,0"])


def test_closing_from_another_thread_wakes_the_reader(server):
    source = Capture(["street_mic"], rate_hz=RATE_HZ)
    samples = source.open()
    assert isinstance(next(samples), Raw)
    threading.Timer(0.3, source.close).start()
    began_s = time.monotonic()
    for _ in samples:
        assert time.monotonic() < began_s + PATIENCE_S
    source.close()
    assert take(source, 0.1)[0].count == 0


def test_what_nobody_takes_is_counted_and_marked(server, monkeypatch):
    monkeypatch.setattr("sensors.capture.QUEUE_S", 0.2)
    source = Capture(["street_mic"], rate_hz=RATE_HZ)
    samples = source.open()
    next(samples)
    time.sleep(0.9)
    pieces = list(itertools.islice(samples, 25))
    source.close()
    assert source.dropped > 0
    (torn,) = [k for k, raw in enumerate(pieces) if raw.lost]
    assert pieces[torn].count - pieces[torn - 1].end_count == source.dropped
    # The stamps bear out the count: what is missing took its time.
    passed_s = (pieces[torn].wall_ns - pieces[torn - 1].wall_ns) / 1e9
    assert passed_s == pytest.approx((pieces[torn].count - pieces[torn - 1].count) / RATE_HZ, rel=0.2, abs=0.1)


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.endurance
def test_opening_and_closing_for_ever_leaves_nothing_behind(server):
    take(Capture(["street_mic"], rate_hz=RATE_HZ), 0.05)
    before = descriptors()
    for _ in range(30):
        take(Capture(["street_mic"], rate_hz=RATE_HZ), 0.05)
        with pytest.raises(SourceError):
            Capture(["street_mic"], rate_hz=RATE_HZ, channels=64).open()
    assert descriptors() == before


class Times:
    """What PortAudio hands to a callback, and its stream, whose clock stands somewhere else than ours."""

    def __init__(self, taken_s, time_s=5_000.0):
        self.inputBufferAdcTime = taken_s
        self.input_overflow = False
        self.time = time_s


class Timeless:
    @property
    def time(self):
        raise RuntimeError("Error getting stream time")


@pytest.mark.parametrize(
    ("stream", "latency_s", "taken_s", "delay_s"),
    [
        (Times(0.0), 0.1, 5_000.0 - 0.05, 0.05),  # a card's driver, which knows
        (Times(0.0), 0.1, 5_000.0 - 0.02, 0.02),
        (Times(0.0), 0.1, 5_000.0 + 0.01, 0.02),  # a block that ends in the future has just been taken
        (Times(0.0), 0.1, 5_000.0 - 0.45, 0.02),  # longer ago than anything is buffered
        (Times(0.0), 0.1, 0.0, 0.02),  # a driver without a time of its own
        (Times(0.0), 0.0, 5_000.0 - 0.05, 0.02),  # a sound server
        (Timeless(), 0.1, 5_000.0, 0.02),
        (None, 0.1, 5_000.0, 0.02),  # the first call may come before the stream is known
    ],
)
def test_a_block_is_stamped_by_what_is_buffered_or_else_by_its_length(monkeypatch, stream, latency_s, taken_s, delay_s):
    now_ns = 1_795_000_000_000_000_000
    monkeypatch.setattr("sensors.capture.time.time_ns", lambda: now_ns)
    deck = _Deck(RATE_HZ, 2)
    deck.stream, deck.latency_s = stream, latency_s
    deck.take(bytes(960 * 2), 960, Times(taken_s), Times(0.0))
    assert deck.next().wall_ns == pytest.approx(now_ns - delay_s * 1e9, abs=1_000)


def test_a_block_longer_than_was_asked_for_takes_several_slots(monkeypatch):
    monkeypatch.setattr("sensors.capture.time.time_ns", lambda: 1_795_000_000_000_000_000)
    deck = _Deck(RATE_HZ, 2)
    long = np.arange(5_000, dtype="<i2").tobytes()
    deck.take(long, 5_000, Times(0.0), Times(0.0))
    deck.lose()
    chunks = [deck.next() for _ in range(4)]
    assert chunks.pop() is None
    assert b"".join(deck.data(chunk) for chunk in chunks) == long
    assert [chunk.frames for chunk in chunks] == [1_920, 1_920, 1_160]
    assert [chunk.wall_ns - chunks[0].wall_ns for chunk in chunks] == [0, 40_000_000, 80_000_000]
    assert deck.lost

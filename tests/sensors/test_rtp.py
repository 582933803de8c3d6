"""RTP: whatever the network does to packets, sound is in its order, what is missing is said, strangers are not heard."""

import itertools
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import MILLISECOND, SECOND, parse_instant
from sensors.rtp import RtpError, parse_packet, parse_reports, signed_difference
from sensors.rtp_source import Rtp
from sensors.rtp_stream import MOST_STRANGERS, RtpStream
from sensors.source import SourceError

RATE_HZ = 8_000
FRAMES = 40  # 5 ms
WALL_NS = parse_instant("2026-11-21T02:00:00Z")
SSRC = 0xCAFE
PATIENCE_S = 60.0


def packet(sequence, timestamp, payload, *, ssrc=SSRC, kind=97, flags=0x80, before=b"", after=b""):
    """A packet as RFC 3550, section 5.1 draws it."""
    return struct.pack("!BBHII", flags, kind, sequence % 2**16, timestamp % 2**32, ssrc) + before + payload + after


def sender_report(instant_ns, timestamp, ssrc=SSRC):
    """As section 6.4.1 draws it, with a source description behind it as in every compound packet."""
    seconds, rest_ns = divmod(instant_ns, SECOND)
    ntp = ((seconds + 2_208_988_800) % 2**32, rest_ns * 2**32 // SECOND + 1)
    report = struct.pack("!BBHIIIIII", 0x80, 200, 6, ssrc, *ntp, timestamp % 2**32, 1, 2)
    return report + struct.pack("!BBHIBB2s", 0x81, 202, 2, ssrc, 1, 0, b"\0\0")


def ramp(k, frames=FRAMES):
    """Payload of packet k: samples that say which they are."""
    return np.arange(k * frames, (k + 1) * frames).astype(">i2").tobytes()


def train(count, *, sequence=0, timestamp=0, ssrc=SSRC):
    return [packet(sequence + k, timestamp + k * FRAMES, ramp(k), ssrc=ssrc) for k in range(count)]


def stream(**more):
    return RtpStream("L16", RATE_HZ, 1, 97, **more)


def play(machine, timed):
    """Everything said to datagrams that come at (seconds, bytes), and afterwards in silence."""
    said, now_s = [], 0.0
    for now_s, datagram in timed:
        said += machine.tick(now_s)
        said += machine.receive(datagram, WALL_NS + round(now_s * SECOND), now_s)
    for _ in range(3):
        now_s += 1.0
        said += machine.tick(now_s)
    assert not machine.waiting
    return said


def in_time(datagrams, every_s=0.005):
    return [(k * every_s, datagram) for k, datagram in enumerate(datagrams)]


def check_order(said):
    """Pieces never overlap, follow on where nothing is lost, and hold the samples that their place says."""
    for before, after in itertools.pairwise(said):
        assert after.count == before.end_count or (after.lost and after.count >= before.end_count)
    for raw in said:
        np.testing.assert_array_equal(np.diff(raw.samples * 2**15), 1.0)


@given(
    order=st.permutations(range(60)),
    reach=st.integers(0, 8),
    sequence=st.integers(0, 2**16 - 1),
    timestamp=st.integers(0, 2**32 - 1),
    twice=st.sets(st.integers(0, 59), max_size=10),
)
@settings(max_examples=60)
def test_packets_in_disorder_within_the_window_are_put_in_order(order, reach, sequence, timestamp, twice):
    datagrams = train(60, sequence=sequence, timestamp=timestamp)
    # Each packet is late by up to `reach` places; the first two keep theirs, since they say who is heard.
    places = sorted(range(2, 60), key=lambda k: (k + order[k] % (reach + 1), k))
    sent = [0, 1, *(k for k in places for _ in range(1 + (k in twice)))]
    machine = stream(hold_s=1.0)
    said = play(machine, in_time([datagrams[k] for k in sent]))
    heard = np.concatenate([raw.samples for raw in said]) * 2**15
    np.testing.assert_array_equal(heard, np.arange(60 * FRAMES))
    assert not any(raw.lost for raw in said)
    assert said[0].count == 0
    counts = machine.counts
    assert counts.repeated + counts.late == len(sent) - 60
    assert (counts.missing, counts.malformed, counts.strangers, counts.senders) == (0, 0, 0, 1)


@given(
    lost=st.sets(st.integers(2, 117), max_size=60),
    sequence=st.integers(0, 2**16 - 1),
    timestamp=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_what_is_missing_is_a_loss_of_its_length_and_never_joined_over(lost, sequence, timestamp):
    datagrams = train(120, sequence=sequence, timestamp=timestamp)
    machine = stream()
    said = play(machine, [(when_s, one) for k, (when_s, one) in enumerate(in_time(datagrams)) if k not in lost])
    check_order(said)
    for raw in said:
        np.testing.assert_array_equal(raw.samples * 2**15, np.arange(raw.count, raw.end_count))
    runs = sum(k - 1 not in lost for k in lost)
    assert sum(raw.lost for raw in said) == runs == machine.counts.breaks
    assert machine.counts.missing == len(lost)


def test_a_packet_that_is_missed_holds_the_others_no_longer_than_said():
    machine = stream(hold_s=0.05)
    datagrams = train(8)
    said = []
    for k in (0, 1, 2, 4, 5):
        said += machine.receive(datagrams[k], WALL_NS, k * 0.005)
    assert not any(raw.lost for raw in said)
    said += machine.tick(0.020 + 0.049)
    assert [(raw.count, raw.end_count, raw.lost) for raw in said] == [(0, 3 * FRAMES, False)]
    (torn,) = machine.tick(0.020 + 0.051)
    assert (torn.count, torn.end_count, torn.lost) == (4 * FRAMES, 6 * FRAMES, True)
    # What comes after its place was given up is counted, not played.
    machine.receive(datagrams[3], WALL_NS, 0.08)
    assert (machine.counts.missing, machine.counts.late) == (1, 1)


def test_a_sender_that_begins_anew_is_a_loss_of_unknown_length():
    first, second = train(40, ssrc=1), train(40, sequence=500, timestamp=9_999_999, ssrc=2)
    late = [(0.2 + 1.5 + k * 0.005, one) for k, one in enumerate(second)]
    machine = stream()
    said = play(machine, [*in_time(first), *late])
    assert machine.counts.senders == 2
    (torn,) = [raw for raw in said if raw.lost]
    assert torn.count == 40 * FRAMES
    assert torn.samples[0] == 0.0
    check_order(said)
    # The same with one and the same number, as a device that has been switched off and on.
    machine = stream()
    again = [(2.0 + k * 0.005, one) for k, one in enumerate(train(40, sequence=40_000, timestamp=7))]
    assert sum(raw.lost for raw in play(machine, [*in_time(train(40)), *again])) == 1
    assert machine.counts.senders == 2


def test_strangers_are_not_heard_while_the_sender_is():
    flood = [packet(k, 0, ramp(900), ssrc=7 + k % 3) for k in range(200)]
    both = [one for pair in zip(in_time(train(200)), in_time(flood), strict=True) for one in pair]
    machine = stream()
    said = play(machine, both)
    np.testing.assert_array_equal(np.concatenate([raw.samples for raw in said]) * 2**15, np.arange(200 * FRAMES))
    assert machine.counts.strangers >= 199
    # Nor are strangers that never send twice, however many they are; and the sender is found among them.
    crowd = [packet(1, 0, ramp(900), ssrc=1_000 + k) for k in range(10_000)]
    machine = stream()
    for k, one in enumerate(crowd):
        assert machine.receive(one, WALL_NS, 0.001 * k) == ()
        assert len(machine._strangers) <= MOST_STRANGERS + 1
    said = play(machine, [(20.0 + when_s, one) for when_s, one in in_time(train(40))])
    assert sum(len(raw.samples) for raw in said) == 40 * FRAMES


def test_silence_that_is_not_sent_is_a_gap_and_no_count_of_hours():
    talk = train(8)
    later = [packet(8 + k, 8 * FRAMES + 2 * RATE_HZ + k * FRAMES, ramp(k)) for k in range(8)]
    said = play(stream(), in_time([*talk, *later]))
    (torn,) = [raw for raw in said if raw.lost]
    assert torn.count == 8 * FRAMES + 2 * RATE_HZ
    odd = [packet(8 + k, 2**31 - 100 + k * FRAMES, ramp(k)) for k in range(8)]
    (torn,) = [raw for raw in play(stream(), in_time([*talk, *odd])) if raw.lost]
    assert torn.count == 8 * FRAMES


@pytest.mark.parametrize("era", ["2026-11-21T02:00:00Z", "2036-02-07T06:28:16Z", "2040-01-01T00:00:00Z"])
def test_a_senders_report_gives_its_own_time_across_the_roll_overs(era):
    began_ns = parse_instant(era)
    machine = stream()
    first = 2**32 - 30 * FRAMES
    datagrams = train(60, timestamp=first)
    said = []
    for k, one in enumerate(datagrams):
        if k == 2:
            machine.report(sender_report(began_ns + 10 * MILLISECOND, first + 80, ssrc=9), began_ns)
        if k == 4:
            machine.report(sender_report(began_ns + 10 * MILLISECOND, first + 80), began_ns)
        said += machine.receive(one, began_ns, k * 0.005)
    assert said[0].start_ns is None
    assert len(said) > 10
    for raw in said[1:]:
        assert abs(raw.start_ns - began_ns - raw.count * SECOND // RATE_HZ) <= 2
    machine.report(sender_report(began_ns + 2 * 86_400 * SECOND, 0), began_ns)
    machine.report(b"\x80\xc8\x00\x01", began_ns)
    assert machine.counts.bad_reports == 2


def test_headers_extension_and_padding_are_taken_off():
    extension = struct.pack("!HHI", 0xBEDE, 1, 5)
    made = packet(1, 2, b"sound!", flags=0x80 | 0x20 | 0x10 | 2, before=b"csrccsrc" + extension, after=b"\0\0\3")
    assert parse_packet(made) == parse_packet(packet(1, 2, b"sound!"))
    for cut in range(len(made)):
        try:
            assert len(parse_packet(made[:cut]).payload) <= 9
        except RtpError:
            continue
    for bad in (
        b"",
        bytes(12),
        packet(0, 0, b"", flags=0xA0),
        packet(0, 0, b"", flags=0x8F),
        packet(0, 0, b"", kind=200),
    ):
        with pytest.raises(RtpError):
            parse_packet(bad)
    assert list(parse_reports(b"")) == []
    assert list(parse_reports(sender_report(WALL_NS, 5))) != []
    assert [signed_difference(a, b, 16) for a, b in ((1, 65_535), (65_535, 1), (5, 5))] == [2, -2, 0]


@pytest.mark.parametrize("more", [{"encoding": "L8"}, {"rate_hz": 4_000}, {"payload_type": 10}, {"channels": 0}])
def test_what_is_no_format_is_refused(more):
    given_ = {"encoding": "L16", "rate_hz": 48_000, "channels": 1, "payload_type": 97} | more
    with pytest.raises(ValueError):
        RtpStream(**given_)


def fuzz(count, seed):
    """Datagrams of a true stream among mangled ones, cut ones, noise and packets of strangers."""
    dice = np.random.default_rng(seed)
    machine, sound = stream(), 0
    end = 0
    true = train(count, sequence=int(dice.integers(2**16)), timestamp=int(dice.integers(2**32)))
    for k, whole in enumerate(true):
        mangled = bytearray(whole)
        for _ in range(int(dice.integers(1, 4))):
            mangled[int(dice.integers(len(mangled)))] = int(dice.integers(256))
        kind = int(dice.integers(4))
        hostile = (
            mangled,
            whole[: int(dice.integers(len(whole)))],
            dice.bytes(int(dice.integers(1_500))),
            mangled[::-1],
        )
        for datagram in (bytes(hostile[kind]), whole):
            now_s = k * 0.005
            said = machine.receive(datagram, WALL_NS + round(now_s * SECOND), now_s)
            machine.report(datagram, WALL_NS)
            said += machine.tick(now_s)
            for raw in said:
                assert raw.count >= end
                end = raw.end_count
                sound += len(raw.samples)
        assert len(machine._held) < 3_000
    return sound


def test_hostile_datagrams_do_no_harm():
    assert fuzz(2_500, 1) > 0


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(50))
def test_many_hostile_datagrams_do_no_harm(seed):
    fuzz(10_000, seed)


def taken(source, frames):
    """What a source gives until there is so much of it, read on a thread of its own."""
    pieces = []

    def read():
        for raw in source.open():
            pieces.append(raw)
            if sum(len(one.samples) for one in pieces) >= frames:
                break

    reader = threading.Thread(target=read)
    reader.start()
    return reader, pieces


@pytest.mark.parametrize(
    ("codec", "encoding", "rate_hz", "channels"), [("pcm_s16be", "L16", 48_000, 2), ("pcm_s24be", "L24", 44_100, 1)]
)
def test_ffmpeg_as_a_sender_is_understood_sample_by_sample(codec, encoding, rate_hz, channels):
    """FFmpeg reports its clock once, in a datagram of its own, which a busy machine may lose; its sound never."""
    av = pytest.importorskip("av", reason="PyAV is the sender: install shotfix[cameras]")
    assert any(_reported(av, codec, encoding, rate_hz, channels) for _ in range(5))


def _reported(av, codec, encoding, rate_hz, channels):
    """One second from FFmpeg, compared; the pieces that know its clock."""
    source = Rtp(
        0,
        encoding=encoding,
        rate_hz=rate_hz,
        channels=channels,
        payload_type=98,
        address="127.0.0.1",
        sender="127.0.0.1",
    )
    words = np.random.default_rng(4).integers(-(2**15), 2**15, (rate_hz, channels)).astype(np.int16)
    reader, pieces = taken(source, rate_hz * 9 // 10)
    began_s = time.monotonic()
    while not source.port:
        assert time.monotonic() < began_s + PATIENCE_S
    with av.open(f"rtp://127.0.0.1:{source.port}", "w", format="rtp", options={"payload_type": "98"}) as out:
        sound = out.add_stream(codec, rate=rate_hz, layout="stereo" if channels == 2 else "mono")
        for at in range(0, rate_hz, 480):
            part = words[at : at + 480]
            # FFmpeg takes 24 bit in words of 32.
            if codec == "pcm_s24be":
                frame = av.AudioFrame.from_ndarray(part.T.astype(np.int32) << 16, "s32", "mono")
            else:
                frame = av.AudioFrame.from_ndarray(part.reshape(1, -1), "s16", "stereo")
            frame.sample_rate, frame.pts = rate_hz, at
            for one in sound.encode(frame):
                out.mux(one)
            time.sleep(0.004)
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    heard = np.concatenate([raw.samples for raw in pieces]).reshape(-1, channels)
    np.testing.assert_array_equal(heard, words[: len(heard)] * np.float32(2.0**-15))
    assert not any(raw.lost for raw in pieces)
    assert source.counts.malformed + source.counts.other_type + source.foreign == 0
    assert all(abs(raw.wall_ns - time.time_ns()) < 3_600 * SECOND for raw in pieces)
    # FFmpeg reports its clock with its first packets; ours is the same one.
    reported = [raw for raw in pieces if raw.start_ns is not None]
    assert all(abs(raw.start_ns - raw.wall_ns) < 60 * SECOND for raw in reported)
    return reported


def test_only_the_sender_that_is_named_is_heard_and_closing_wakes():
    source = Rtp(0, rate_hz=RATE_HZ, address="127.0.0.1", sender="127.0.0.2")
    reader, pieces = taken(source, 10**9)
    began_s = time.monotonic()
    while not source.port:
        assert time.monotonic() < began_s + PATIENCE_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for one in train(20):
            stranger.sendto(one, ("127.0.0.1", source.port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as friend:
        friend.bind(("127.0.0.2", 0))
        while sum(len(raw.samples) for raw in pieces) < 20 * FRAMES:
            assert time.monotonic() < began_s + PATIENCE_S
            for one in train(20):
                friend.sendto(one, ("127.0.0.1", source.port))
            time.sleep(0.01)
    source.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert source.foreign == 20
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken_:
        taken_.bind(("127.0.0.1", 0))
        with pytest.raises(SourceError, match="is another program there"):
            Rtp(taken_.getsockname()[1], address="127.0.0.1").open()


def test_opening_and_closing_for_ever_leaves_nothing_behind():
    def once():
        source = Rtp(0, rate_hz=RATE_HZ, address="127.0.0.1")
        samples = source.open()
        source.close()
        assert list(samples) == []

    once()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        once()
    assert len(list(Path("/proc/self/fd").iterdir())) == before

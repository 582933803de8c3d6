"""The listener: the same words for any chunking, and an honest word about what was heard."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.block import AudioBlock
from acoustic.classifier import NoClassifier
from acoustic.detection import Detection
from acoustic.instant import MILLISECOND, SECOND, after, parse_instant, sample_instant
from sensors.health import ClockState, Heartbeat
from sensors.listener import Listener
from tests.sounds import blast, noise, with_bangs

START_NS = parse_instant("2026-11-21T02:00:00Z")
RATE_HZ = 12_000


def listen(blocks, **more):
    listener = Listener("roof-1", **{"full_scale_db_spl": 110.0, "classifier": NoClassifier()} | more)
    said = [record for block in blocks for record in listener.hear(block)]
    return [*said, *listener.finish()]


def one(samples, rate_hz=RATE_HZ, start_ns=START_NS, *, after_gap=True):
    return AudioBlock(np.asarray(samples, dtype=np.float32), rate_hz, start_ns, after_gap=after_gap)


def chunks(block, lengths):
    """The block cut into these lengths, over and over; a length of 0 is an empty block."""
    if not len(block.samples):
        return [block]
    cut = []
    for length in itertools.cycle(lengths):
        head, block = block.split(min(length, len(block.samples)))
        cut.append(head)
        if not len(block.samples):
            break
    return cut


def detections(said):
    return [record for record in said if isinstance(record, Detection)]


def heartbeats(said):
    return [record for record in said if isinstance(record, Heartbeat)]


def heard_spans(said):
    """The stretches that the sensor vouches for, in seconds after the start."""
    beats = heartbeats(said)
    spans = [
        (first.heard_until_ns, second.heard_until_ns) for first, second in itertools.pairwise(beats) if first.listening
    ]
    return [((a - START_NS) / SECOND, (b - START_NS) / SECOND) for a, b in spans]


scenes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "bangs": st.lists(st.integers(0, 40_000), max_size=10),
        "faults": st.lists(
            st.tuples(st.integers(0, 40_000), st.integers(1, 2_000), st.sampled_from("nz1")), max_size=3
        ),
        "gaps": st.lists(st.tuples(st.integers(0, 40_000), st.integers(-30_000, 10**6)), max_size=2),
        "rate_hz": st.sampled_from([8_000, 11_025, 12_000]),
    }
)


def pieces(scene):
    """Blocks of about 3.5 s of sound in all, some after gaps, some that begin before the last one ended."""
    rate_hz = scene["rate_hz"]
    samples = with_bangs(noise(42_000, seed=scene["seed"]), rate_hz, scene["bangs"])
    for at, length, what in scene["faults"]:
        samples[at : at + length] = {"n": np.nan, "z": 0.0, "1": 1.0}[what]
    start_ns, done = START_NS, 0
    for at, gap in sorted(scene["gaps"]):
        yield one(samples[done:at], rate_hz, start_ns)
        start_ns, done = max(sample_instant(start_ns, at - done + gap, rate_hz), START_NS), at
    yield one(samples[done:], rate_hz, start_ns)


cuts = st.lists(st.integers(0, 9_000), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) > 99)


@given(scene=scenes, lengths=cuts)
@settings(max_examples=60)
def test_any_chunking_gives_the_same_words_bit_for_bit(scene, lengths):
    check_chunking(scene, lengths)


@pytest.mark.endurance
@given(scene=scenes, lengths=cuts)
@settings(max_examples=5_000)
def test_any_chunking_for_long(scene, lengths):
    check_chunking(scene, lengths)


def check_chunking(scene, lengths):
    whole = listen(pieces(scene), classifier=None)
    cut = listen((chunk for piece in pieces(scene) for chunk in chunks(piece, lengths)), classifier=None)
    assert cut == whole


@pytest.mark.parametrize("length", [1, 3])
def test_blocks_of_single_samples_give_the_same_words(length):
    block = one(with_bangs(noise(14_000), RATE_HZ, [6_000, 9_000]))
    assert listen(chunks(block, [length, 0])) == listen([block])


@given(scenes)
@settings(max_examples=60)
def test_the_word_heard_until_is_kept(scene):
    said = listen(pieces(scene))
    beats = [beat.heard_until_ns for beat in heartbeats(said)]
    assert beats == sorted(beats)
    assert not said or not said[-1].listening
    promised = None
    for record in said:
        if isinstance(record, Heartbeat):
            promised = record.heard_until_ns
        elif promised is not None:
            assert record.pick.onset_ns >= promised
    onsets = [detection.pick.onset_ns for detection in detections(said)]
    assert onsets == sorted(set(onsets))
    assert len({detection.pulse_id for detection in detections(said)}) == len(onsets)


@given(scenes)
@settings(max_examples=60)
def test_detections_lie_in_stretches_that_the_sensor_vouches_for(scene):
    said = listen(pieces(scene))
    spans = heard_spans(said)
    for detection in detections(said):
        at = (detection.pick.onset_ns - START_NS) / SECOND
        assert any(begin - 0.003 <= at <= end for begin, end in spans)


@pytest.mark.parametrize("rate_hz", [8_000, 12_000, 44_100, 48_000])
def test_a_bang_is_timed_below_the_sample(rate_hz):
    onset_s = 1.234_567_89
    sound = 0.3 * blast(rate_hz, 3.0, onset_s)
    samples = sound + noise(3 * rate_hz, 0.0003)
    (found,) = [d for d in detections(listen([one(samples, rate_hz)])) if d.pick.snr_db > 40.0]
    assert abs(found.pick.onset_ns - after(START_NS, onset_s)) < 0.05 * MILLISECOND
    assert found.pick.sigma_s < 5e-5
    assert found.pick.level_db_spl == pytest.approx(110.0 + 20.0 * np.log10(np.abs(sound).max()), abs=0.1)
    assert not found.pick.censored


def test_a_detection_comes_as_soon_as_its_features_are_heard():
    block = one(with_bangs(noise(3 * RATE_HZ), RATE_HZ, [RATE_HZ]))
    listener = Listener("roof-1")
    for k, chunk in enumerate(chunks(block, [12])):
        if detections(listener.hear(chunk)):
            assert 1.3 <= (k + 1) * 0.001 <= 1.302
            return
    raise AssertionError("no detection")


def test_clipped_bangs_are_censored_flagged_and_counted():
    samples = np.clip(with_bangs(noise(2 * RATE_HZ, 0.001), RATE_HZ, [RATE_HZ], 4.0), -1.0, 1.0)
    said = listen([one(samples)])
    first = detections(said)[0]
    assert first.pick.censored
    assert first.flags == ("clipped",)
    assert first.pick.level_db_spl == pytest.approx(110.0, abs=0.1)
    assert heartbeats(said)[-1].clipped_samples == np.count_nonzero(np.abs(samples) >= 0.97)


def test_echoes_of_a_bang_are_likely_outliers_and_its_next_round_is_not():
    samples = with_bangs(noise(4 * RATE_HZ, 0.0005), RATE_HZ, [RATE_HZ, 18_000])
    samples = with_bangs(samples, RATE_HZ, [RATE_HZ + 2_000], 0.02)
    first, echo, second = detections(listen([one(samples)]))
    assert first.pick.p_outlier < 0.1
    assert echo.pick.p_outlier > 0.9
    assert second.pick.p_outlier < 0.2


def test_heartbeats_come_every_second_and_whenever_listening_changes():
    samples = noise(6 * RATE_HZ)
    samples[3 * RATE_HZ : 4 * RATE_HZ] = 0.0
    said = heartbeats(listen([one(samples)]))
    heard_until = [(beat.heard_until_ns - START_NS) / SECOND for beat in said]
    assert heard_until == pytest.approx([0.3, 0.695, 1.695, 2.695, 3.0, 4.0, 4.3, 4.695, 5.695, 6.0], abs=0.001)
    assert [beat.listening for beat in said] == [True] * 4 + [False] * 2 + [True] * 3 + [False]
    assert said[-1].faulty_samples == RATE_HZ
    assert said[-1].gaps == 0


def test_noise_floor_is_told_in_sound_pressure():
    beats = heartbeats(listen([one(noise(3 * RATE_HZ, 0.01))]))
    # White noise at -40 dB of full scale, of which 300 to 5000 Hz pass: four fifths of the power.
    assert beats[-1].noise_floor_db_spl == pytest.approx(110.0 - 40.0 - 1.0, abs=1.5)
    assert heartbeats(listen([one(noise(3 * RATE_HZ))], full_scale_db_spl=None))[-1].noise_floor_db_spl is None


def test_padding_with_zeros_makes_no_detection():
    samples = np.zeros(8 * RATE_HZ, dtype=np.float32)
    samples[2 * RATE_HZ : 5 * RATE_HZ] = 0.1 + noise(3 * RATE_HZ, 0.02)
    assert detections(listen([one(samples)])) == []
    assert detections(listen([one(np.zeros(3 * RATE_HZ))])) == []
    assert not any(beat.listening for beat in heartbeats(listen([one(np.zeros(3 * RATE_HZ))])))


def test_an_impulse_just_before_the_stream_ends_is_still_reported():
    samples = with_bangs(noise(RATE_HZ), RATE_HZ, [RATE_HZ - 200])
    assert len(detections(listen([one(samples)]))) == 1
    silent = np.concatenate((samples, np.zeros(RATE_HZ, dtype=np.float32)))
    assert [d.pulse_id for d in detections(listen([one(silent)]))] == [
        d.pulse_id for d in detections(listen([one(samples)]))
    ]


def test_a_shift_of_less_than_half_a_sample_is_no_gap_and_more_is_one():
    samples = noise(2 * RATE_HZ)
    for shift_ns, gaps in ((0, 0), (40_000, 0), (-40_000, 0), (43_000, 1), (10**9, 1)):
        second = sample_instant(START_NS, RATE_HZ, RATE_HZ) + shift_ns
        said = listen([one(samples[:RATE_HZ]), one(samples[RATE_HZ:], start_ns=second, after_gap=False)])
        assert heartbeats(said)[-1].gaps == gaps


def test_times_count_from_the_gap_and_never_add_up_blocks():
    """A device whose every block is stamped 40 us late would drift by 4 s an hour if starts were chained."""
    block = one(with_bangs(noise(10 * RATE_HZ), RATE_HZ, [9 * RATE_HZ]))
    first, *others = chunks(block, [1_200])
    late = [first, *(replace(chunk, start_ns=chunk.start_ns + 40_000) for chunk in others)]
    assert detections(listen(late)) == detections(listen([block])) != []


def test_sound_that_is_told_twice_is_heard_once():
    samples = with_bangs(noise(4 * RATE_HZ), RATE_HZ, [2 * RATE_HZ])
    once = listen([one(samples)])
    again = listen([one(samples), one(samples)])
    assert detections(again) == detections(once)
    assert heartbeats(again)[-1].faulty_samples == 4 * RATE_HZ
    assert heartbeats(again)[-1].heard_until_ns == heartbeats(once)[-1].heard_until_ns


def test_another_rate_is_a_gap_and_counts_go_on():
    said = listen([one(np.append(noise(RATE_HZ), np.nan)), one(noise(48_000), 48_000, START_NS + 2 * SECOND)])
    assert heartbeats(said)[-1].gaps == 1
    assert heartbeats(said)[-1].faulty_samples == 1


def test_the_first_channel_is_listened_to_and_the_clock_is_passed_on():
    mono = with_bangs(noise(2 * RATE_HZ), RATE_HZ, [RATE_HZ])
    stereo = np.stack((mono, noise(2 * RATE_HZ, 0.3, 1)), axis=1)
    clock = ClockState("holdover", 0.003)
    assert listen([one(stereo)], clock=clock) == listen([one(mono)], clock=clock)
    assert heartbeats(listen([one(mono)], clock=clock))[0].clock == clock


def test_nothing_heard_is_nothing_said():
    listener = Listener("roof-1")
    assert listener.finish() == ()
    listener.hear(one(noise(100)))
    assert len(listener.finish()) == 1
    assert listener.finish() == ()

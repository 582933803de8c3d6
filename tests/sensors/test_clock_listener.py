"""A listener whose device has a disciplined clock: instants from the timings, whatever the blocks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.block import AudioBlock, Timing
from acoustic.classifier import NoClassifier
from acoustic.detection import Detection
from acoustic.instant import MICROSECOND, MILLISECOND, SECOND, after, parse_instant
from sensors.health import Heartbeat
from sensors.listener import SET_BACK_S, Listener
from tests.sounds import noise, with_bangs

START_NS = parse_instant("2026-11-21T02:00:00Z")
RATE_HZ = 8_000


def listen(blocks):
    listener = Listener("roof-1", classifier=NoClassifier())
    said = [record for block in blocks for record in listener.hear(block)]
    return [*said, *listener.finish()]


def detections(said):
    return [record for record in said if isinstance(record, Detection)]


def heartbeats(said):
    return [record for record in said if isinstance(record, Heartbeat)]


def timings_of(steps, length=RATE_HZ, first=0):
    """One timing every ``length`` samples: parts per million off, and nanoseconds away from the one before."""
    timing = Timing(first, START_NS, RATE_HZ * (1.0 + 1e-6 * steps[0][0]), 1e-5, "locked")
    made = [timing]
    for number, (ppm, jump_ns) in enumerate(steps[1:], 1):
        index = first + number * length
        timing = Timing(index, timing.instant(index) + jump_ns, RATE_HZ * (1.0 + 1e-6 * ppm), 1e-5 * number, "holdover")
        made.append(timing)
    return made


def timed(samples, timings, lengths, first=0, *, after_gap=True):
    """Samples from the device's number ``first`` on, cut into these lengths over and over and where timings change."""
    done, turn, blocks = 0, 0, []
    while done < len(samples):
        index = first + done
        timing = max((t for t in timings if t.index <= index), key=lambda t: t.index)
        stop = min([t.index - first for t in timings if t.index > index] + [len(samples)])
        stop = min(stop, done + lengths[turn % len(lengths)])
        turn += 1
        gap = after_gap and not blocks
        blocks.append(AudioBlock.timed(samples[done:stop], RATE_HZ, index, timing, after_gap=gap))
        done = stop
    return blocks


scenes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "bangs": st.lists(st.integers(0, 33_000), max_size=8),
        "steps": st.lists(
            st.tuples(st.floats(-150.0, 150.0), st.integers(-2 * MILLISECOND, 2 * MILLISECOND)), min_size=1, max_size=12
        ),
        "length": st.integers(900, 9_000),
        "first": st.integers(0, 10**7),
        "gap": st.tuples(st.integers(100, 33_000), st.integers(-20_000, 20_000)),
    }
)
cuts = st.lists(st.integers(0, 6_000), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) > 99)


def stream(scene, lengths):
    """Two pieces of one night; the second one's epoch begins anew, somewhere in time."""
    samples = with_bangs(noise(34_000, seed=scene["seed"]), RATE_HZ, scene["bangs"])
    at, gap = scene["gap"]
    timings = timings_of(scene["steps"], scene["length"], scene["first"])
    blocks = timed(samples[:at], timings, lengths, scene["first"])
    later_ns = blocks[-1].end_ns + gap * SECOND // RATE_HZ
    anew = [replace(t, index=t.index - scene["first"], instant_ns=t.instant_ns + later_ns - START_NS) for t in timings]
    return [*blocks, *timed(samples[at:], anew, lengths)]


@given(scene=scenes, lengths=cuts)
@settings(max_examples=60, deadline=None)
def test_any_cutting_gives_the_same_words_bit_for_bit(scene, lengths):
    check_cutting(scene, lengths)


@pytest.mark.endurance
@given(scene=scenes, lengths=cuts)
@settings(max_examples=5_000, deadline=None)
def test_any_cutting_for_long(scene, lengths):
    check_cutting(scene, lengths)


def check_cutting(scene, lengths):
    assert listen(stream(scene, lengths)) == listen(stream(scene, [10**6]))


@given(scene=scenes)
@settings(max_examples=40, deadline=None)
def test_the_word_heard_until_is_kept_but_for_a_clock_that_was_set_back(scene):
    promised = None
    for record in listen(stream(scene, [10**6])):
        if isinstance(record, Heartbeat):
            set_back = promised is not None and record.heard_until_ns < promised
            assert not set_back or promised - record.heard_until_ns > SET_BACK_S * SECOND - 100 * MILLISECOND
            promised = record.heard_until_ns
        elif promised is not None:
            assert record.pick.onset_ns >= promised


@given(seed=st.integers(0, 1000), cut=st.integers(1, 20_000))
@settings(max_examples=10, deadline=None)
def test_a_timing_at_the_nominal_rate_tells_what_none_would(seed, cut):
    samples = with_bangs(noise(24_000, seed=seed), RATE_HZ, [9_000, 15_000])
    plain = listen([AudioBlock(samples, RATE_HZ, START_NS, after_gap=True)])
    said = listen(timed(samples, [Timing(0, START_NS, float(RATE_HZ), 0.0002)], [cut]))
    assert [replace(d, pick=replace(d.pick, clock_sigma_s=None)) for d in detections(said)] == detections(plain)
    assert heartbeats(said) == heartbeats(plain)


def test_onsets_are_where_the_timings_say():
    """A crystal 100 parts per million fast, found so by its timings: the bangs are when they were."""
    onsets = [9_000, 17_000, 25_000]
    samples = with_bangs(noise(34_000), RATE_HZ, onsets)
    plain = [d.pick.onset_ns for d in detections(listen([AudioBlock(samples, RATE_HZ, START_NS, after_gap=True)]))]
    true = timings_of([(100.0, 0)] * 5)
    said = detections(listen(timed(samples, true, [480])))
    assert len(said) == len(plain) == len(onsets)
    for detection, nominal_ns in zip(said, plain, strict=True):
        expected_ns = START_NS + (nominal_ns - START_NS) / (1.0 + 100e-6)
        assert abs(detection.pick.onset_ns - expected_ns) < 10


def test_sigma_and_state_are_those_of_the_timing_that_holds_the_sample():
    timings = [
        Timing(0, START_NS, 8_000.0, 1e-6, "locked"),
        Timing(16_000, after(START_NS, 2.0), 8_000.0, 2e-3, "holdover"),
    ]
    samples = with_bangs(noise(34_000), RATE_HZ, [9_000, 25_000])
    said = listen(timed(samples, timings, [800]))
    assert [d.pick.clock_sigma_s for d in detections(said)] == [1e-6, 2e-3]
    clocks = [(beat.clock.state, beat.clock.sigma_s) for beat in heartbeats(said) if beat.listening]
    assert (clocks[0], clocks[-1]) == (("locked", 1e-6), ("holdover", 2e-3))


def test_a_clock_set_back_by_an_hour_does_not_make_the_sensor_deaf():
    samples = with_bangs(noise(24_000), RATE_HZ, [9_000, 18_000])
    wrong = Timing(0, after(START_NS, 3600.0), 8_000.0, 1e-3, "free")
    right = Timing(0, START_NS, 8_000.0, 1e-5, "locked")
    said = listen([*timed(samples, [wrong], [800]), *timed(samples, [right], [800])])
    assert len(detections(said)) == 4
    assert heartbeats(said)[-1].heard_until_ns == right.instant(24_000)
    assert heartbeats(said)[-1].gaps == 1


def test_a_step_of_the_timing_is_a_gap():
    samples = noise(34_000)
    steady, stepped = timings_of([(0.0, 0)] * 4), timings_of([(0.0, 0), (0.0, 50 * MILLISECOND), (0.0, 0), (0.0, 0)])
    assert heartbeats(listen(timed(samples, steady, [800])))[-1].gaps == 0
    assert heartbeats(listen(timed(samples, stepped, [800])))[-1].gaps == 1
    wavering = timings_of([(0.0, 0), (3.0, 20 * MICROSECOND), (1.0, -20 * MICROSECOND), (0.0, 0)])
    assert heartbeats(listen(timed(samples, wavering, [800])))[-1].gaps == 0


def test_samples_that_the_device_lost_are_a_gap_though_its_clock_ran_on():
    timing = Timing(0, START_NS, 8_000.0, 1e-5, "locked")
    samples = noise(34_000)
    blocks = timed(samples[:16_000], [timing], [800])
    lost = [
        AudioBlock.timed(np.ascontiguousarray(samples[k : k + 800]), RATE_HZ, k, timing)
        for k in range(16_008, 33_000, 800)
    ]
    assert heartbeats(listen([*blocks, *lost]))[-1].gaps == 1

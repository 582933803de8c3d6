"""Hearing: one code in three places, and the same words, bit for bit, in each."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.block import AudioBlock, Timing
from acoustic.detection import Detection
from acoustic.instant import SECOND, after, parse_instant
from sensors.chunker import Chunker
from sensors.health import Heartbeat
from sensors.hearing import Hearing, Setup
from sensors.listener import Listener
from sensors.recording import read_blocks
from sensors.snipper import Keeping
from sensors.snippet import Snippet
from tests.sounds import street, with_bangs

START_NS = parse_instant("2026-11-21T02:00:00Z")
RATE_HZ = 12_000
ALL = Keeping(telling_llr=-50.0)


def scene(seconds=12, bangs_s=(2.1, 2.6, 7.7), rate_hz=RATE_HZ):
    sound = with_bangs(street(rate_hz, seconds), rate_hz, [round(at * rate_hz) for at in bangs_s])
    return np.round(sound * 2.0**15).astype(np.float32) / np.float32(2.0**15)


def streamed(samples, generator, ppm=None, rate_hz=RATE_HZ, first=0):
    """Blocks of random lengths; with ppm, each second has the timing of a crystal so fast, to some microseconds."""
    blocks, at, timing = [], 0, None
    while at < len(samples):
        length = int(generator.integers(1, 2_000))
        if ppm is None:
            start_ns = START_NS + round(at * SECOND / rate_hz)
            blocks.append(AudioBlock(samples[at : at + length], rate_hz, start_ns, after_gap=at == 0))
        else:
            index = first + at
            if timing is None or index % rate_hz == 0:
                true_hz = rate_hz * (1.0 + ppm * 1e-6)
                jitter_ns = (index // rate_hz * 7_919) % 5_000  # the same for every cutting
                timing = Timing(index, after(START_NS, at / true_hz) + jitter_ns, true_hz, 1e-5, "locked")
            length = min(length, rate_hz - index % rate_hz)
            blocks.append(AudioBlock.timed(samples[at : at + length], rate_hz, index, timing, after_gap=at == 0))
        at += length
    return blocks


def said_of(hearing, blocks):
    return [*(message for block in blocks for message in hearing.hear(block)), *hearing.finish()]


def through_chunks(blocks):
    chunker = Chunker("roof-1", "s")
    return [c.block() for c in (*(c for b in blocks for c in chunker.take(b)), *chunker.finish())]


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, -20.0, 20.0]), st.sampled_from([0, 5_000]))
@settings(max_examples=15)
def test_any_cutting_and_either_placement_say_the_same(seed, ppm, first):
    blocks = streamed(scene(), np.random.default_rng(seed), ppm, first=first)
    plain = streamed(scene(), np.random.default_rng(0), ppm, first=first)
    said = said_of(Hearing("roof-1", keeping=ALL), blocks)
    assert said == said_of(Hearing("roof-1", keeping=ALL), plain)
    assert said == said_of(Hearing("roof-1", keeping=ALL), through_chunks(blocks))
    assert sum(isinstance(message, Snippet) for message in said) >= 2


def test_gaps_jumps_and_lost_channels_are_judged_alike_in_both_placements():
    sound = scene(18)
    pair = np.stack([sound, sound[::-1]], axis=1).copy()
    blocks = [
        AudioBlock(sound[:30_000], RATE_HZ, START_NS, after_gap=True),
        AudioBlock(sound[30_000:70_000], RATE_HZ, after(START_NS, 4.0)),
        AudioBlock(sound[70_000:90_000], RATE_HZ, after(START_NS, 8.0), after_gap=True),
        AudioBlock(pair[90_000:150_000], RATE_HZ, after(START_NS, 9.7)),
        AudioBlock(sound[150_000:], RATE_HZ, after(START_NS, 14.7)),
    ]
    said = said_of(Hearing("roof-1", keeping=ALL), blocks)
    assert said == said_of(Hearing("roof-1", keeping=ALL), through_chunks(blocks))
    assert max(message.gaps for message in said if isinstance(message, Heartbeat)) >= 3


def test_a_listener_alone_says_the_same_but_for_the_snippets():
    for ppm in (None, 15.0):
        blocks = streamed(scene(), np.random.default_rng(3), ppm)
        blocks[9] = replace(blocks[9], after_gap=True)
        listener = Listener("roof-1")
        alone = [*(message for block in blocks for message in listener.hear(block)), *listener.finish()]
        told = said_of(Hearing("roof-1", keeping=ALL), blocks)
        assert [message for message in told if not isinstance(message, Snippet)] == alone
        assert said_of(Hearing("roof-1", keeping=Keeping(wanted=False)), blocks) == alone


def test_a_long_block_is_heard_in_pieces():
    sound = scene(40, (5.0, 33.0))
    whole = [AudioBlock(sound, RATE_HZ, START_NS, after_gap=True)]
    hearing = Hearing("roof-1", keeping=Keeping(telling_llr=-50.0, ring_s=6.0))
    told = said_of(hearing, whole)
    assert told == said_of(
        Hearing("roof-1", keeping=Keeping(telling_llr=-50.0, ring_s=6.0)), streamed(sound, np.random.default_rng(1))
    )
    assert {round(message.clip.duration_s) for message in told if isinstance(message, Snippet)} == {2}


def test_a_setup_is_how_a_sensor_is_heard_anywhere():
    setup = Setup("roof-1", full_scale_db_spl=110.0, keeping=ALL)
    blocks = streamed(scene(), np.random.default_rng(0))
    mine = said_of(setup.hearing(), blocks)
    assert mine == said_of(Hearing("roof-1", full_scale_db_spl=110.0, keeping=ALL), blocks)
    assert all(m.pick.level_db_spl is not None for m in mine if isinstance(m, Detection))


def night(root, seconds, ppm):
    """Of each sensor of the demonstration night, what is said at the node and at the centre."""
    folder = root / "fixtures" / "scenes" / "demo-night"
    with (folder / "audio.csv").open() as table:
        rows = {row["sensor_id"]: row for row in reversed(list(csv.DictReader(table)))}
    for number, (sensor_id, row) in enumerate(sorted(rows.items())):
        samples = np.concatenate([block.samples for block in read_blocks(folder / row["path"], START_NS)])
        samples = samples[: round(seconds * RATE_HZ)]
        off = None if ppm is None else ppm * (-1) ** number
        blocks = streamed(samples, np.random.default_rng(number), off)
        chunker = Chunker(sensor_id, "s")
        chunks = [*(c for b in blocks for c in chunker.take(b)), *chunker.finish()]
        edge = said_of(Hearing(sensor_id), blocks)
        yield sensor_id, edge, said_of(Hearing(sensor_id), [chunk.block() for chunk in chunks])


def test_the_demonstration_night_at_the_edge_and_at_the_centre(root):
    sensors, heard = set(), 0
    for sensor_id, edge, centre in night(root, 75.0, 20.0):
        assert edge == centre, sensor_id
        sensors.add(sensor_id)
        heard += sum(isinstance(message, Detection) for message in edge)
    assert len(sensors) == 12
    assert heard > 200


@pytest.mark.endurance
@pytest.mark.parametrize("ppm", [None, -20.0, 0.3, 100.0])
def test_the_demonstration_night_by_other_clocks(root, ppm):
    found = list(night(root, 200.0, ppm))
    assert len(found) == 12
    for sensor_id, edge, centre in found:
        assert edge == centre, sensor_id


JUMPS = st.lists(
    st.tuples(
        st.integers(200, 2 * RATE_HZ),  # samples
        st.sampled_from([0.0] * 6 + [3e-5, 2e-3, 0.4, -0.4, 1.7, -5.0]),  # how far the clock jumps, s
        st.sampled_from([0] * 6 + [1, 4_000]),  # samples that the device counted and nobody got
        st.sampled_from([False] * 6 + [True]),  # said to come after a gap
        st.sampled_from([1] * 6 + [2]),  # channels
    ),
    min_size=2,
    max_size=12,
)


@given(JUMPS, st.booleans())
@settings(max_examples=25)
def test_whatever_devices_do_is_judged_alike_everywhere(jumps, timed):
    sound, at, index, start_ns, blocks = scene(25, (1.2, 3.3, 3.6, 8.4, 12.1, 17.0)), 0, 0, START_NS, []
    for length, jump_s, lost, after_gap, channels in jumps:
        index, start_ns = index + lost, after(start_ns, jump_s + lost / RATE_HZ)
        samples = sound[at : at + length]
        samples = samples if channels == 1 else np.stack([samples] * channels, axis=1)
        if timed:
            timing = Timing(index, start_ns, float(RATE_HZ), 1e-5)
            blocks.append(AudioBlock.timed(samples, RATE_HZ, index, timing, after_gap=after_gap))
        else:
            blocks.append(AudioBlock(samples, RATE_HZ, start_ns, after_gap=after_gap))
        at, index, start_ns = at + length, index + len(samples), blocks[-1].end_ns
    blocks = [block for block in blocks if len(block.samples)]
    told = said_of(Hearing("roof-1", keeping=ALL), blocks)
    listener = Listener("roof-1")
    alone = [*(message for block in blocks for message in listener.hear(block)), *listener.finish()]
    assert [message for message in told if not isinstance(message, Snippet)] == alone
    assert told == said_of(Hearing("roof-1", keeping=ALL), through_chunks(blocks))

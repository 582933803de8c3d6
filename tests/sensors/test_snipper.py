"""The snipper: what leaves a node is the sound around what it reported, and nothing else; and no more is in memory."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.block import AudioBlock
from acoustic.detection import Detection, pulse_identity
from acoustic.instant import SECOND, after, parse_instant
from acoustic.pick import Pick
from sensors.flac import steps_of, values_of
from sensors.health import Heartbeat
from sensors.hearing import Hearing
from sensors.ring import Tail
from sensors.snipper import LONGEST_RING_S, SIDE_S, Keeping, Snipper
from sensors.snippet import Snippet
from tests.sounds import street, with_bangs

START_NS = parse_instant("2026-11-21T02:00:00Z")
RATE_HZ = 8_000


def detection(at_s, llr=3.0):
    onset_ns = after(START_NS, at_s)
    return Detection(pulse_identity("roof-1", onset_ns), "roof-1", Pick(onset_ns, 0.001), llr)


def played(onsets_s, seconds=30, keeping=None, llr=3.0):
    """What a snipper says to a stream of which a listener reports these onsets, 0.3 s after each."""
    snipper, samples = Snipper("roof-1", keeping or Keeping()), street(RATE_HZ, seconds)
    told, most_s = [], 0.0
    for k in range(10 * seconds):
        block = AudioBlock(samples[k * 800 : (k + 1) * 800], RATE_HZ, after(START_NS, k / 10), after_gap=k == 0)
        said = [detection(onset_s, llr) for onset_s in onsets_s if round(10 * onset_s) + 3 == k]
        if k % 10 == 9:
            said.append(Heartbeat("roof-1", after(START_NS, (k + 1) / 10 - 0.32)))
        told += snipper.hear(block, said)
        most_s = max(most_s, snipper.kept_s)
    last = [detection(onset_s, llr) for onset_s in onsets_s if round(10 * onset_s) + 3 >= 10 * seconds]
    told += snipper.finish([*last, Heartbeat("roof-1", after(START_NS, seconds), listening=False)])
    return told, most_s, samples


def spans(told):
    return [
        (round((s.clip.start_ns - START_NS) / SECOND, 3), round((s.end_ns - START_NS) / SECOND, 3))
        for s in told
        if isinstance(s, Snippet)
    ]


def test_a_second_to_each_side():
    told, _, samples = played([5.0, 5.5, 7.0, 20.0])
    assert spans(told) == [(4.0, 8.0), (19.0, 21.0)]
    first = next(s for s in told if isinstance(s, Snippet))
    assert first.pulse_ids == tuple(detection(at_s).pulse_id for at_s in (5.0, 5.5, 7.0))
    assert np.array_equal(first.samples(), values_of(steps_of(samples[4 * RATE_HZ : 8 * RATE_HZ])))


def test_two_seconds_apart_are_two():
    assert spans(played([5.0, 7.0])[0]) == [(4.0, 6.0), (6.0, 8.0)]


def test_a_long_run_is_cut_between_impulses():
    told, most_s, _ = played([5.0 + k / 2 for k in range(30)])
    found = spans(told)
    assert found[0] == (4.0, 12.5)
    assert all(stop - start <= 8.5 for start, stop in found)
    named = [pulse for s in told if isinstance(s, Snippet) for pulse in s.pulse_ids]
    assert named == [detection(5.0 + k / 2).pulse_id for k in range(30)]
    assert most_s <= 12.0


def test_it_comes_before_the_word_that_vouches_for_two_seconds_more():
    told, _, _ = played([5.0, 12.7])
    for place, message in enumerate(told):
        if isinstance(message, Snippet):
            before = [m.heard_until_ns for m in told[:place] if isinstance(m, Heartbeat)]
            behind = [m.heard_until_ns for m in told[place:] if isinstance(m, Heartbeat)]
            assert before[-1] < message.end_ns + SECOND <= behind[0]


def test_the_ends_of_a_stream_cut_it_shorter():
    assert spans(played([0.4, 29.8])[0]) == [(0.0, 1.4), (28.8, 30.0)]


def test_what_is_no_gunshot_is_not_kept():
    assert spans(played([5.0], llr=-0.1)[0]) == []
    assert spans(played([5.0], llr=-0.1, keeping=Keeping(telling_llr=-1.0))[0]) == [(4.0, 6.0)]


def test_quiet_streets_are_hardly_kept():
    assert played([])[1] <= 4.0


@pytest.mark.parametrize("ring_s", [5.9, 30.1, float("nan")])
def test_rings_are_bounded_by_refusal(ring_s):
    with pytest.raises(ValueError, match=r"ring_s is .*: expected 6 to 30 s; a node keeps no more"):
        Keeping(ring_s=ring_s)


@given(
    st.lists(st.floats(0.5, 19.5), max_size=12),
    st.sampled_from([6.0, 9.0, LONGEST_RING_S]),
    st.lists(st.integers(211, 3 * RATE_HZ), min_size=1, max_size=4),
)
@settings(max_examples=15)
def test_no_sample_leaves_that_is_not_within_a_second_of_what_was_reported(bangs_s, ring_s, lengths):
    samples = with_bangs(street(RATE_HZ, 20.0), RATE_HZ, [round(at * RATE_HZ) for at in bangs_s])
    hearing = Hearing("roof-1", keeping=Keeping(telling_llr=-50.0, ring_s=ring_s))
    told, at, k = [], 0, 0
    while at < len(samples):
        piece = samples[at : at + lengths[k % len(lengths)]]
        told += hearing.hear(AudioBlock(piece, RATE_HZ, after(START_NS, at / RATE_HZ), after_gap=at == 0))
        assert hearing.kept_s <= ring_s
        at, k = at + len(piece), k + 1
    told += hearing.finish()
    onsets = {m.pulse_id: m.pick.onset_ns for m in told if isinstance(m, Detection)}
    for message in told:
        if isinstance(message, Snippet):
            mine = [onsets[pulse] for pulse in message.pulse_ids]
            times = message.clip.start_ns + np.arange(len(message.samples())) * (SECOND // RATE_HZ)
            assert np.abs(times[:, None] - np.array(mine)[None]).min(axis=1).max() <= SIDE_S * SECOND
            place = round((message.clip.start_ns - START_NS) * RATE_HZ / SECOND)
            mine_heard = values_of(steps_of(samples[place : place + len(times)]))
            assert np.array_equal(message.samples(), mine_heard)
        else:
            assert numbers_only(message)


def numbers_only(record):
    """Whether a record holds nothing that could be a waveform."""
    if dataclasses.is_dataclass(record):
        return all(numbers_only(getattr(record, f.name)) for f in dataclasses.fields(record))
    if isinstance(record, tuple):
        return len(record) <= 8 and all(numbers_only(part) for part in record)
    return record is None or isinstance(record, str | int | float | bool)


def test_nothing_at_all_where_no_sound_is_wanted():
    hearing = Hearing("roof-1", keeping=Keeping(wanted=False, telling_llr=-50.0))
    samples = with_bangs(street(RATE_HZ, 5.0), RATE_HZ, [24_000])
    told = [*hearing.hear(AudioBlock(samples, RATE_HZ, START_NS, after_gap=True)), *hearing.finish()]
    assert any(isinstance(message, Detection) for message in told)
    assert not any(isinstance(message, Snippet) for message in told)
    assert hearing.kept_s == 0.0


@given(st.integers(1, 50), st.lists(st.integers(0, 30), max_size=20), st.lists(st.integers(0, 300), max_size=20))
def test_a_tail_keeps_what_it_is_asked_to_and_no_more(most, lengths, forgotten):
    tail, given_ = Tail(most), []
    for k, length in enumerate(lengths):
        given_ += range(len(given_), len(given_) + length)
        tail.append(np.array(given_[len(given_) - length :], dtype=np.float32))
        if k < len(forgotten):
            tail.forget(min(forgotten[k], tail.end))
        assert tail.end == len(given_)
        assert len(tail) <= most
        assert tail.read(tail.begin, tail.end).tolist() == given_[tail.begin :]
        assert sum(piece.size for piece in tail._pieces) == len(tail)
    with pytest.raises(ValueError, match="are wanted"):
        tail.read(tail.begin, tail.end + 1)
    with pytest.raises(ValueError, match="most is 0"):
        Tail(0)

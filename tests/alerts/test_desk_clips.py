"""Sound in alerts: with the next revision and never for its own sake, in whatever order it comes."""

from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.detection import Clip
from acoustic.instant import SECOND, after
from alerts.alert import encode
from alerts.clips import Clips
from alerts.desk import MEMORY_NS, Desk
from alerts.draft import CLIPS
from alerts.incident import last_arrival_ns
from alerts.roster import LINGER_NS
from tests.strategies import NIGHT_NS, fix_at, unfixed_at

END_NS = after(NIGHT_NS, 3000.0)


def clips_of(shot):
    """A clip of two seconds for each arrival of a shot, with the pulse that it is of."""
    found = {}
    for number, arrival in enumerate(shot.arrivals):
        onset_ns = arrival.detection.pick.onset_ns
        found[arrival.detection.pulse_id] = Clip(onset_ns - SECOND, 2.0, f"{number:064x}")
    return found


def test_the_closing_revision_names_the_two_loudest():
    desk, shot = Desk(), fix_at("a", 0.0, 70.0, 30.0)
    (first,) = desk.receive(shot)
    assert first.audio == ()
    for pulse, clip in clips_of(shot).items():
        desk.receive_clip((pulse,), clip)
    assert desk.tick(last_arrival_ns(shot) + LINGER_NS - 1) == ()
    (last,) = desk.tick(last_arrival_ns(shot) + LINGER_NS)
    loudest = sorted(shot.arrivals, key=lambda a: -a.detection.pick.level_db_spl)[:CLIPS]
    named = [clips_of(shot)[arrival.detection.pulse_id] for arrival in loudest]
    assert [audio.sha256 for audio in last.audio] == [clip.sha256 for clip in named]
    assert [audio.duration for audio in last.audio] == [2.0, 2.0]


def test_sound_alone_is_no_news():
    desk, shot = Desk(), fix_at("a")
    desk.receive(shot)
    desk.tick(after(NIGHT_NS, 60.0))
    for pulse, clip in clips_of(shot).items():
        desk.receive_clip((pulse,), clip)
    assert desk.tick(after(NIGHT_NS, 120.0)) == ()
    desk.receive(fix_at("a", revision=2))
    (revised,) = desk.tick(after(NIGHT_NS, 180.0))
    assert (revised.reason, len(revised.audio)) == ("refined", CLIPS)


def test_what_has_no_place_has_sound_too():
    desk, shot = Desk(), unfixed_at("a", sensors=("s1",))
    desk.receive(shot)
    for pulse, clip in clips_of(shot).items():
        desk.receive_clip((pulse,), clip)
    (only,) = desk.tick(END_NS)
    assert len(only.audio) == 1


@given(st.permutations(range(6)), st.lists(st.floats(0.0, 30.0), max_size=5), st.integers(1, 3))
@settings(max_examples=60)
def test_the_last_revision_does_not_depend_on_when_clips_and_ticks_come(order, ticks_s, rounds):
    """Clips come in any order before the word that vouches for them, and ticks as often as they like."""
    shots = [fix_at(f"r{k}", 0.7 * k) for k in range(rounds)]
    clips = list(itertools.chain.from_iterable(clips_of(shot).items() for shot in shots))
    last = []
    for early in (True, False):
        desk = Desk()
        for shot in shots:
            desk.receive(shot)
        said, waiting = [], [clips[k % len(clips)] for k in order] + clips
        for tick_ns in [*sorted(after(NIGHT_NS, t) for t in ticks_s), END_NS]:
            due = [c for c in waiting if early or c[1].start_ns + 3 * SECOND <= tick_ns]
            waiting = [c for c in waiting if c not in due]
            for pulse, clip in due:
                desk.receive_clip((pulse,), clip)
            said += desk.tick(tick_ns)
        last.append(encode(said[-1]))
    assert last[0] == last[1]


def test_clips_are_forgotten_with_their_incidents():
    clips = Clips()
    clips.add(("a", "b"), Clip(NIGHT_NS, 2.0, "0" * 64))
    clips.add(("b", "c"), Clip(NIGHT_NS + SECOND, 2.0, "1" * 64))
    assert clips.of("b", END_NS).sha256 == "0" * 64
    clips.forget(NIGHT_NS + 1)
    assert clips.of("a", END_NS) is None
    assert clips.of("c", END_NS).sha256 == "1" * 64
    assert len(clips) == 1
    assert clips.of("c", NIGHT_NS + 4 * SECOND - 1) is None


def test_a_flood_of_clips_does_not_stay():
    desk = Desk()
    for k in range(3_000):
        desk.receive_clip((f"p{k}",), Clip(after(NIGHT_NS, k), 2.0, f"{k:064x}"))
        desk.tick(after(NIGHT_NS, k))
    assert desk.counts["clips"] == 3_000
    assert len(pickle.dumps(desk)) < 400 * (MEMORY_NS // SECOND)
    late = Clip(NIGHT_NS, 2.0, "f" * 64)
    desk.receive_clip(("late",), late)
    assert desk._clips.of("late", END_NS) is None


@pytest.mark.parametrize("copies", [1, 2])
def test_a_desk_can_be_kept_on_disk(copies):
    desk, shot = Desk(), fix_at("a")
    desk.receive(shot)
    for pulse, clip in clips_of(shot).items():
        desk.receive_clip((pulse,), clip)
    for _ in range(copies):
        desk = pickle.loads(pickle.dumps(desk))  # noqa: S301 - our own
    assert len(desk.tick(END_NS)[-1].audio) == CLIPS

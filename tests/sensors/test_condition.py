"""The condition of a sensor: what is wrong is said once, not at every flap, and taken back when it is over."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, parse_instant
from sensors.condition import STATES, TROUBLES, Condition, Episode, Patience, counts
from sensors.health import Heartbeat

START_NS = parse_instant("2026-11-21T03:00:00Z")


def at(seconds):
    return START_NS + round(seconds * SECOND)


def beat(seconds, listening=True, clipped=0):
    return Heartbeat("a", at(seconds), listening=listening, clipped_samples=clipped)


class Watched:
    """A condition, everything it said, and a clock in seconds."""

    def __init__(self, patience=None):
        self.condition, self.said, self.now_s = Condition("a", START_NS, patience), [], 0.0

    def beats(self, seconds, every_s=1.0, clipped=lambda _: 0, listening=lambda _: True):
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self.now_s += every_s
            heartbeat = beat(self.now_s, listening(self.now_s), clipped(self.now_s))
            self.said += self.condition.heartbeat(heartbeat, at(self.now_s))
            self.said += self.condition.tick(at(self.now_s))
        return self

    def silence(self, seconds):
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self.now_s += 0.5
            self.said += self.condition.tick(at(self.now_s))
        return self

    @property
    def state(self):
        return self.condition.state


def test_a_healthy_sensor_says_nothing():
    watched = Watched().beats(300)
    assert (watched.state, watched.condition.troubles, watched.said) == ("live", (), [])


def test_silence_is_stale_after_ten_seconds_and_over_when_it_was_heard_for_thirty():
    watched = Watched().beats(20).silence(9.5)
    assert watched.state == "live"
    watched.silence(0.5)
    assert watched.said == [Episode("a", "stale", at(20), None, "nothing heard for 10 s")]
    watched.silence(100).beats(29)
    assert watched.state == "stale"
    watched.beats(2)
    assert watched.state == "live"
    _, ended = watched.said
    assert (ended.since_ns, ended.until_ns) == (at(20), at(131))


def test_it_says_since_when_it_is_what_it_is():
    watched = Watched().beats(20)
    assert watched.condition.since_ns is None
    assert watched.silence(12.0).condition.since_ns == at(20)  # when it was last heard, not when that was noticed
    watched.beats(40)
    assert (watched.state, watched.condition.since_ns) == ("live", None)
    watched.condition.farewell(at(watched.now_s + 1.0))
    assert (watched.state, watched.condition.since_ns) == ("stopped", at(watched.now_s + 1.0))


def test_a_sensor_that_never_came_is_stale_too():
    assert Watched().silence(10).state == "stale"


def test_a_centre_that_was_away_waits_anew():
    watched = Watched().beats(5)
    watched.now_s = 3_600.0
    watched.condition.begin(at(3_600))
    assert watched.silence(9.5).state == "live"
    assert watched.silence(0.5).state == "stale"
    assert watched.said[0].since_ns == at(5)


def test_deaf_and_back():
    watched = Watched().beats(10).beats(2, listening=lambda _: False)
    assert watched.state == "live"
    watched.beats(3, listening=lambda _: False)
    assert watched.state == "no-audio"
    watched.beats(60)
    assert watched.state == "live"
    assert [(e.kind, e.since_ns, e.until_ns) for e in watched.said] == [
        ("no-audio", at(11), None),
        ("no-audio", at(11), at(16)),
    ]


def test_a_gap_now_and_then_is_no_trouble():
    watched = Watched().beats(3_600, listening=lambda s: s % 60 != 0)
    assert watched.said == []


def test_one_loud_shot_is_not_clipped_and_a_wrong_gain_is():
    assert Watched().beats(300, clipped=lambda s: 40 if s > 100 else 0).said == []
    watched = Watched().beats(60, clipped=lambda s: int(500 * s))
    assert watched.state == "clipped"
    watched.beats(60, clipped=lambda _: 30_000)
    assert watched.state == "live"
    assert Watched().beats(100, clipped=lambda s: int(1_000 * (30 - s % 30))).said == []  # a device that starts anew


def test_a_wrong_clock_is_told_in_the_words_of_its_watch():
    watched = Watched().beats(5)
    said = watched.condition.clock("ahead of us by 3600 s", at(6))
    assert said == (Episode("a", "clock-bad", at(6), None, "ahead of us by 3600 s"),)
    assert watched.condition.clock("", at(7)) == ()
    watched.now_s = 7.0
    assert watched.beats(29).said == []
    (ended,) = watched.beats(1).said
    assert (ended.since_ns, ended.until_ns) == (at(6), at(7))


def test_a_farewell_is_no_trouble_until_it_is_heard_again():
    watched = Watched().beats(5)
    assert watched.condition.farewell(at(6)) == ()
    watched.now_s = 6.0
    assert watched.silence(600).state == "stopped"
    assert watched.said == []
    assert watched.beats(5).state == "live"
    assert watched.silence(10).state == "stale"


def test_the_worst_is_shown_and_all_are_known():
    watched = Watched().beats(60, listening=lambda _: False, clipped=lambda s: int(500 * s))
    watched.condition.clock("it stands still", at(61))
    assert watched.condition.troubles == ("no-audio", "clock-bad", "clipped")
    assert watched.state == "no-audio"
    watched.now_s = 61.0
    assert watched.silence(11).state == "stale"


@pytest.mark.parametrize("kind", TROUBLES)
@pytest.mark.parametrize("period_s", [1.0, 2.0, 7.0, 25.0])
def test_a_hundred_flaps_are_one_trouble(kind, period_s):
    """Wrong for a while, right for a while, a hundred times, never right for thirty seconds: one beginning, one end."""
    condition, said, seconds = Condition("a", START_NS), [], 0.0
    clipped, silent_s = 0, 11.0 if kind == "stale" else period_s
    for _ in range(100):
        for wrong, length_s in ((True, silent_s), (False, period_s)):
            steps = max(int(length_s * 2), 1)
            for _ in range(steps):
                seconds += length_s / steps
                clipped += 50 if wrong and kind == "clipped" else 0
                if not (wrong and kind == "stale"):
                    deaf = wrong and kind == "no-audio"
                    said += condition.heartbeat(beat(seconds, not deaf, clipped), at(seconds))
                    said += condition.clock("it steps" if wrong and kind == "clock-bad" else "", at(seconds))
                said += condition.tick(at(seconds))
    for _ in range(80):
        seconds += 1.0
        said += condition.heartbeat(beat(seconds, True, clipped), at(seconds)) + condition.tick(at(seconds))
    assert [(e.kind, e.until_ns is None) for e in said] == [(kind, True), (kind, False)]
    assert said[0].since_ns == said[1].since_ns
    assert condition.state == "live"


steps = st.lists(
    st.tuples(
        st.floats(-5.0, 40.0),
        st.sampled_from(["heard", "beat", "deaf", "clip", "clock", "clock-well", "farewell", "tick", "begin"]),
    ),
    max_size=80,
)


def happens(condition, what, heartbeat, now_ns):
    if what in {"clock", "clock-well"}:
        return condition.clock("wrong" if what == "clock" else "", now_ns)
    if what in {"heard", "farewell", "tick", "begin"}:
        return getattr(condition, what)(now_ns) or ()
    return condition.heartbeat(heartbeat, now_ns)


@settings(max_examples=200, deadline=None)
@given(steps=steps)
def test_episodes_open_and_close_in_turn_whatever_happens(steps):
    condition, open_now, last_end, seconds, clipped = Condition("a", START_NS), {}, {}, 0.0, 0
    for wait_s, what in steps:
        seconds = max(seconds + wait_s, 0.0)  # times may go back: batches come in any order
        clipped += 100 if what == "clip" else 0
        condition = pickle.loads(pickle.dumps(condition))  # noqa: S301  (as a checkpoint does)
        said = happens(condition, what, beat(seconds, what != "deaf", clipped), at(seconds))
        for episode in said:
            if episode.until_ns is None:
                assert episode.kind not in open_now
                assert episode.since_ns >= last_end.get(episode.kind, START_NS)
                assert episode.detail
                open_now[episode.kind] = episode
            else:
                opened = open_now.pop(episode.kind)
                assert opened.since_ns == episode.since_ns <= episode.until_ns
                last_end[episode.kind] = episode.until_ns
        assert set(condition.troubles) == set(open_now)
        assert condition.state in STATES
    later_s = seconds + 300.0
    for k in range(100):
        condition.heartbeat(beat(later_s + k, True, clipped), at(later_s + k))
        condition.clock("", at(later_s + k))
    assert condition.state == "live"


def test_counts_are_of_every_state():
    conditions = [Watched().silence(20).condition, Watched().beats(5).condition, Watched().beats(5).condition]
    assert counts(conditions) == {"stale": 1, "no-audio": 0, "clock-bad": 0, "clipped": 0, "stopped": 0, "live": 2}


def test_patience_is_configurable_and_checked():
    assert Watched(Patience(stale_s=2.0)).silence(2).state == "stale"
    for wrong in ({"stale_s": -1.0}, {"calm_s": float("nan")}, {"no_audio_s": 1e9}):
        with pytest.raises(ValueError, match="expected 0 to 86400"):
            Patience(**wrong)


def test_what_is_no_episode():
    episode = Episode("a", "stale", at(0), at(1))
    for wrong in ({"kind": "odd"}, {"since_ns": at(2)}, {"until_ns": 10**19}):
        with pytest.raises(ValueError):
            replace(episode, **wrong)

"""The clock watch against nodes whose clocks, networks and habits are known."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, parse_instant
from sensors.clock_watch import (
    AHEAD,
    BACKWARD,
    BEHIND,
    CLEAR_S,
    DRIFT,
    FROZEN,
    GOOD,
    IMPLAUSIBLE,
    MOST_BINS,
    MOST_SENSORS,
    STEP,
    ClockWatch,
    Verdict,
    our_own_fault,
)
from sensors.time_source import ERA_NS

START_NS = parse_instant("2026-11-22T00:00:00Z")


def usual_network(rng, t):
    return 0.02 + rng.exponential(0.02)


@dataclass
class Node:
    """Sends a heartbeat a second; its clock shows ``shows(t)`` at true time t, and its messages take ``network``."""

    shows: object = staticmethod(lambda t: t)
    network: object = usual_network
    every_s: float = 1.0
    hears: object = None  # "heard until" at true time t; None: a second before what its clock shows
    state: str = "locked"

    def run(self, seconds, seed=0, watch=None, start_ns=START_NS, from_s=0.0):
        """The watch, and every change of its verdict with when it came, s."""
        rng, watch, told = np.random.default_rng(seed), watch or ClockWatch(), []
        arrivals = []
        for t in np.arange(from_s, from_s + seconds, self.every_s):
            heard = self.shows(t) - 1.0 if self.hears is None else self.hears(t)
            arrivals.append((t + self.network(rng, t), self.shows(t), heard))
        for arrived, sent, heard in sorted(arrivals):
            heard_ns = {"roof": START_NS + round(heard * SECOND)}
            verdict = watch.take(
                START_NS + round(arrived * SECOND), start_ns + round(sent * SECOND), self.state, 1e-4, heard_ns
            )
            if not told or told[-1][1].reason != verdict.reason:
                told.append((arrived, verdict))
        return watch, told


def after(at, shift):
    return lambda t: t + (shift if t >= at else 0.0)


# In order


@pytest.mark.parametrize(
    "network",
    [
        usual_network,
        lambda rng, t: 0.6 + rng.exponential(0.05),
        lambda rng, t: 0.02 + rng.exponential(0.02) + (rng.uniform(0.0, 4.0) if rng.random() < 0.3 else 0.0),
        lambda rng, t: 0.03 + 0.02 * np.sin(2.0 * np.pi * t / 86_400.0) + rng.exponential(0.02),
        lambda rng, t: (0.02 if t < 900.0 else 0.09) + rng.exponential(0.01),
    ],
    ids=["usual", "satellite", "lossy", "night and day", "another route"],
)
def test_a_node_in_order_is_never_blamed(network):
    for seed in range(3):
        _, told = Node(network=network).run(3600.0, seed)
        assert [verdict for _, verdict in told] == [GOOD]


def test_a_node_that_was_cut_off_for_an_hour_is_not_blamed():
    """What it says first was heard long ago; its messages are stamped when they are sent."""
    watch, told = Node().run(60.0)
    rng = np.random.default_rng(1)
    for k in range(300):
        t = 3660.0 + 0.02 * k
        heard = {"roof": START_NS + round((60.0 + 10.0 * k) * SECOND)}
        sent_ns = START_NS + round(t * SECOND)
        verdict = watch.take(sent_ns + round(usual_network(rng, t) * SECOND), sent_ns, "locked", 1e-4, heard)
        assert verdict is GOOD
    assert [verdict for _, verdict in told] == [GOOD]


def test_a_congested_network_may_look_like_a_clock_behind_and_the_words_say_so():
    congested = lambda rng, t: (3.0 if 100.0 < t < 130.0 else 0.02) + rng.exponential(0.02)  # noqa: E731
    watch, told = Node(network=congested).run(300.0)
    assert {verdict.reason for _, verdict in told} <= {"", STEP, BEHIND}
    blamed = [verdict for _, verdict in told if verdict.reason]
    assert blamed
    assert all(not verdict.sure and "or the network slow" in verdict.words for verdict in blamed)
    assert watch.verdict.good


# Lies


@pytest.mark.parametrize(
    ("shows", "reasons", "sure"),
    [
        (after(60.0, 1.0), {STEP, AHEAD}, True),
        (after(60.0, 3600.0), {STEP, AHEAD}, True),
        (after(60.0, -1.0), {STEP, BEHIND, BACKWARD}, None),
        (after(60.0, -3600.0), {BACKWARD}, True),
        (lambda t: min(t, 60.0), {FROZEN}, True),
        (after(60.0, -ERA_NS / SECOND), {IMPLAUSIBLE, BACKWARD}, True),
    ],
    ids=["1 s on", "1 h on", "1 s back", "1 h back", "frozen", "an era back"],
)
def test_a_lie_is_found_within_ten_seconds(shows, reasons, sure):
    for seed in range(5):
        watch, told = Node(shows).run(90.0, seed)
        at, verdict = told[1]
        assert 60.0 <= at <= 70.0
        assert not watch.verdict.good
        assert watch.verdict.reason in reasons | {FROZEN}
        assert verdict.words
        assert sure is None or watch.verdict.sure is sure


def test_the_size_of_a_step_is_told():
    for shift in (1.0, 3600.0):
        watch, _ = Node(after(60.0, shift)).run(75.0)
        assert watch.verdict.size_s == pytest.approx(shift, abs=0.2)
        assert watch.verdict.reason == STEP
        assert "jumped by +" in watch.verdict.words


def test_a_node_that_is_wrong_from_the_start():
    for shift, reason in ((1.0, AHEAD), (37.0, AHEAD), (-2.0, BEHIND), (-3600.0, BEHIND)):
        watch, told = Node(after(0.0, shift)).run(20.0)
        assert watch.verdict.reason == reason
        assert told[1][0] < 10.0
        assert watch.verdict.sure == (shift > 0.0 or shift < -30.0)
    watch, _ = Node(hears=lambda t: t).run(20.0, start_ns=START_NS - ERA_NS)
    assert watch.verdict.reason == IMPLAUSIBLE
    assert "roll-over" in watch.verdict.words


@pytest.mark.parametrize("ppm", [100.0, -100.0])
def test_a_drift_is_found_by_the_envelope_of_lags(ppm):
    """Within minutes, which is what a network allows; the node itself finds it in seconds."""
    for seed in range(3):
        watch, told = Node(lambda t: t + ppm * 1e-6 * t).run(900.0, seed)
        assert told[1][1].reason == DRIFT
        assert told[1][0] < 600.0
        assert not told[1][1].sure
        assert f"{ppm:+.0f}"[0] in told[1][1].words
        assert watch.verdict.size_s == pytest.approx(ppm * 1e-6 * told[1][0], rel=0.5)


def test_sound_that_stands_still_or_runs_back_is_found_though_messages_are_well():
    watch, told = Node(hears=lambda t: min(t, 60.0)).run(80.0)
    assert watch.verdict.reason == FROZEN
    assert told[1][0] < 70.0
    watch, told = Node(hears=lambda t: t - (100.0 if t > 60.0 else 0.0)).run(80.0)
    assert watch.verdict.reason == BACKWARD
    assert told[1][0] < 70.0
    watch, told = Node(hears=lambda t: t + (5.0 if t > 60.0 else -1.0)).run(80.0)
    assert watch.verdict.reason in {AHEAD, STEP}


def test_recorded_sound_has_its_own_time():
    """Last night played twenty times too fast: in order; run back or frozen, it is not."""
    past = -50_000.0
    _, told = Node(state="stated", hears=lambda t: past + 20.0 * t).run(600.0)
    assert [verdict for _, verdict in told] == [GOOD]
    watch, _ = Node(state="stated", hears=lambda t: past + 20.0 * min(t, 60.0)).run(80.0)
    assert watch.verdict.reason == FROZEN
    watch, _ = Node(state="stated", hears=lambda t: past + 20.0 * t - (500.0 if t > 60.0 else 0.0)).run(80.0)
    assert watch.verdict.reason == BACKWARD
    watch, _ = Node(state="stated", shows=after(0.0, 1e6), hears=lambda t: past + 20.0 * t).run(80.0)
    assert watch.verdict.good


def test_a_clock_put_right_is_believed_again_but_not_at_once():
    node = Node(lambda t: t + (1.0 if 60.0 <= t < 120.0 else 0.0))
    watch, _ = node.run(120.0)
    assert not watch.verdict.good
    watch, told = node.run(2.0 * CLEAR_S + 40.0, seed=1, watch=watch, from_s=120.0)
    assert watch.verdict.good
    assert told[-1][0] > 120.0 + CLEAR_S


def test_one_odd_message_is_not_enough():
    watch, told = Node(lambda t: t + (1.0 if t == 60.0 else 0.0)).run(120.0)
    assert [verdict for _, verdict in told] == [GOOD]
    assert watch.verdict is GOOD


def test_when_all_nodes_jump_at_once_it_is_our_clock():
    def verdicts(shifts):
        return [Node(after(60.0, shift)).run(80.0, seed)[0].verdict for seed, shift in enumerate(shifts)]

    words = our_own_fault(verdicts([1.0] * 5 + [0.0]))
    assert words.startswith("5 of 6 nodes are +")
    assert "our own clock" in words
    assert our_own_fault(verdicts([1.0, 0.0, 0.0, 0.0])) == ""
    assert our_own_fault(verdicts([1.0, 30.0, 500.0, 0.0])) == ""
    assert our_own_fault([]) == ""


def test_it_travels_and_goes_on():
    """A watch that was pickled says what it would have said."""
    node = Node(after(60.0, 1.0))
    whole, _ = node.run(80.0)
    half, _ = node.run(50.0)
    resumed = pickle.loads(pickle.dumps(half))  # noqa: S301 - our own
    for t in np.arange(50.0, 80.0):
        sent_ns = START_NS + round(node.shows(t) * SECOND)
        arguments = (START_NS + round((t + 0.03) * SECOND), sent_ns, "locked", 1e-4)
        assert half.take(*arguments) == resumed.take(*arguments)
    assert resumed.verdict.reason == whole.verdict.reason


@given(
    st.lists(
        st.tuples(
            st.integers(-(10**11), 10**13),
            st.integers(-(10**18), 10**18),
            st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 10**18), max_size=3),
        ),
        max_size=60,
    )
)
@settings(max_examples=100)
def test_whatever_comes_a_verdict(messages):
    watch, now_ns = ClockWatch(), START_NS
    for step_ns, off_ns, heard in messages:
        now_ns = min(max(now_ns + step_ns, 0), 2 * START_NS)
        verdict = watch.take(now_ns, now_ns + off_ns, "free", 3.0, heard)
        assert verdict.good == (verdict.words == "")


def test_memory_is_bounded():
    watch = ClockWatch()
    for k in range(5_000):
        now_ns = START_NS + k * SECOND // 3
        watch.take(now_ns, now_ns, heard={f"s{k}": START_NS})
    assert len(pickle.dumps(watch)) < 60 * (MOST_BINS + MOST_SENSORS + 100)
    with pytest.raises(ValueError, match="reason is"):
        Verdict("tired")

"""Bursts whose every round is known: what is counted, what is called an echo, and how fast it was."""

import numpy as np
import pytest

from acoustic.arrival import Arrival
from acoustic.burst import BurstTracker
from benchmarks.accuracy.bursts import Scene, heard, simulated
from tests.sounds import blast, noise

RATE_HZ = 12_000
NEAR_S = 0.003


def rounds_of(scene, seed):
    samples, times_s = simulated(scene, np.random.default_rng(seed))
    found = heard(samples, scene.rate_hz)
    return times_s, found, [(at_s, one) for at_s, one in found if one.p_outlier < 0.5]


def caught(times_s, kept):
    return sum(any(abs(at_s - time_s) < NEAR_S for at_s, _ in kept) for time_s in times_s)


@pytest.mark.parametrize("echoes", [0, 5])
@pytest.mark.parametrize("rounds_per_minute", [950.0, 1_200.0])
def test_thirty_rounds_are_counted(rounds_per_minute, echoes):
    for seed in (1, 2):
        times_s, _, kept = rounds_of(Scene(RATE_HZ, rounds_per_minute, echoes=echoes), seed)
        assert abs(len(kept) - 30) <= 2
        assert caught(times_s, kept) >= 28
        last = kept[-1][1]
        assert last.cadence.rounds_per_minute == pytest.approx(rounds_per_minute, rel=0.03)
        assert abs(last.cadence.rounds_per_minute - rounds_per_minute) < 4.0 * last.cadence.sigma + 5.0
        assert sum("full-automatic" in one.flags for _, one in kept) >= 20


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_aimed_fire_is_not_automatic(seed):
    times_s, _, kept = rounds_of(Scene(RATE_HZ, 200.0, rounds=6, echoes=4, snr_db=28.0), seed)
    assert len(kept) == caught(times_s, kept) == 6
    assert not any(one.flags for _, one in kept)
    assert [one.rounds for _, one in kept] == [1, 2, 3, 4, 5, 6]


def test_three_quick_rounds_are_not_yet_automatic():
    _, _, kept = rounds_of(Scene(RATE_HZ, 700.0, rounds=3), 4)
    assert len(kept) == 3
    assert not any(one.flags for _, one in kept)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_echoes_of_one_round_are_no_burst(seed):
    _, found, kept = rounds_of(Scene(RATE_HZ, rounds=1, echoes=8, snr_db=35.0), seed)
    assert len(found) > 1
    assert len(kept) <= 2
    assert kept[0][1].rounds == 1
    assert not any(one.flags for _, one in found)


def test_shock_waves_are_not_rounds_and_mark_what_follows():
    times_s, found, kept = rounds_of(Scene(48_000, 80.0, rounds=4, snr_db=30.0, supersonic=True), 3)
    cracks = [(at_s, one) for at_s, one in found if one.p_outlier > 0.95 and one.flags == ("shock-wave",)]
    assert len(cracks) == 4
    assert all(np.min(np.abs(times_s - 0.25 - at_s)) < NEAR_S for at_s, _ in cracks)
    assert caught(times_s, kept) == 4
    assert all("shock-wave" in one.flags for at_s, one in kept if np.min(np.abs(times_s - at_s)) < NEAR_S)


def window(at, rate_hz=RATE_HZ, phase_s=0.001, gain=0.2, seed=0):
    """A window of 0.3 s with a blast at sample ``at``, and nothing done to it but noise."""
    sound = gain * blast(rate_hz, 0.3, at / rate_hz, phase_s)
    return (sound + noise(len(sound), 1e-4, seed)).astype(np.float32)


def tell(tracker, index, start, *, sigma_s=20e-6, peak=0.2, **sound):
    arrival = Arrival(index, sigma_s, 40.0, peak, clipped=False)
    return tracker.receive(arrival, start, window(1_800.25, gain=peak, **sound))


def test_a_pick_moves_towards_the_rounds_before_and_no_further_than_its_sigma_allows():
    tracker = BurstTracker(RATE_HZ)
    first = tell(tracker, 1_800.25, 0)
    assert (first.onset, first.sigma_s) == (1_800.25, 20e-6)
    late = tell(tracker, 1_800.55, 2_400, seed=1)  # 25 us late, by a sigma of 20 us
    assert 2_400 + 1_800.25 < late.onset < 2_400 + 1_800.45
    assert late.sigma_s < 20e-6
    far = tell(tracker, 1_803.25, 4_800, seed=2)  # 250 us: not this pick's noise, so it stays
    assert far.onset == 4_800 + 1_803.25
    assert far.sigma_s == 20e-6
    assert far.p_outlier < 0.5


def test_a_round_picked_elsewhere_is_doubted_until_two_others_agree():
    tracker = BurstTracker(RATE_HZ)
    tell(tracker, 1_800.25, 0)
    doubted = tell(tracker, 1_810.25, 2_400, seed=1)  # 0.8 ms late: one of the two is not on the first arrival
    assert doubted.onset == 2_400 + 1_810.25
    assert doubted.p_outlier > 0.5
    tell(tracker, 1_800.25, 4_800, seed=2)
    tell(tracker, 1_800.25, 7_200, seed=3)
    known = tell(tracker, 1_810.25, 9_600, seed=4)
    assert known.onset == pytest.approx(9_600 + 1_800.25, abs=0.3)
    assert known.p_outlier < 0.1
    assert known.rounds == 5


def test_a_round_in_the_shadow_of_an_echo_is_found():
    """Automatic fire whose echo comes 8 ms before the next round: the gate is deaf for it, its likeness is there."""
    tracker = BurstTracker(RATE_HZ)
    for k in range(4):
        tell(tracker, 1_800.25, 800 * k, seed=k)
    sound = 0.2 * blast(RATE_HZ, 0.3, 1_800.25 / RATE_HZ) + 0.05 * blast(RATE_HZ, 0.3, 1_704.25 / RATE_HZ, 0.0005)
    both = (sound + noise(len(sound), 1e-4, 9)).astype(np.float32)
    found = tracker.receive(Arrival(1_704.25, 20e-6, 30.0, 0.2, clipped=False), 3_200, both)
    assert found.onset == pytest.approx(3_200 + 1_800.25, abs=0.3)
    assert found.p_outlier < 0.1
    assert found.rounds == 5


def test_something_else_is_not_a_round():
    tracker = BurstTracker(RATE_HZ)
    for k in range(3):
        tell(tracker, 1_800.25, 2_400 * k, seed=k)
    other = tell(tracker, 1_800.25, 7_200, seed=9, phase_s=0.004, peak=0.2)
    quiet = tell(tracker, 1_800.25, 9_600, seed=9, peak=0.02)
    assert other.rounds in (0, 1, 4)
    assert quiet.rounds != 5
    assert quiet.p_outlier > 0.9


def test_two_weapons_keep_their_own_count():
    """One at 700 and one at 560 rounds a minute, with other barrels: their delays do not repeat."""
    tracker, rounds = BurstTracker(RATE_HZ), {0.0006: [], 0.0025: []}
    times = sorted(
        [(60.0 / 700.0 * k, 0.0006) for k in range(8)] + [(0.031 + 60.0 / 560.0 * k, 0.0025) for k in range(6)]
    )
    for k, (time_s, phase_s) in enumerate(times):
        rounds[phase_s].append(tell(tracker, 1_800.25, round(time_s * RATE_HZ), phase_s=phase_s, seed=k))
    for found, rate in zip(rounds.values(), (700.0, 560.0), strict=True):
        assert found[-1].cadence.rounds_per_minute == pytest.approx(rate, rel=0.02)
        assert "full-automatic" in found[-1].flags
        assert found[-1].p_outlier < 0.2


def test_what_follows_every_round_at_one_delay_is_its_echo():
    """As loud as the rounds and of another shape, 110 ms behind each: no weapon keeps such time with another."""
    tracker, echoes, rounds = BurstTracker(RATE_HZ), [], []
    random = np.random.default_rng(2)
    for k in range(6):
        at = 4_000 * k + int(random.integers(400))
        rounds.append(tell(tracker, 1_800.25, at, seed=k))
        echoes.append(tell(tracker, 1_800.25, at + 1_320, phase_s=0.003, seed=50 + k))
    assert all(one.p_outlier < 0.2 for one in rounds)
    assert all(one.p_outlier > 0.9 and one.rounds == 0 for one in echoes[3:])


def test_a_weapon_behind_a_louder_bang_is_believed_in_the_end():
    """Twelve decibels below something else its first rounds look like echoes; but one bang has no five alike."""
    tracker = BurstTracker(RATE_HZ)
    tell(tracker, 1_800.25, 0, phase_s=0.004, peak=0.8)
    rounds = [tell(tracker, 1_800.25, 1_200 * (k + 1), seed=k, peak=0.2) for k in range(6)]
    assert rounds[0].p_outlier > 0.9
    assert rounds[-1].p_outlier < 0.1
    assert rounds[-1].flags == ("full-automatic",)


def test_memory_is_bounded_and_forgets_after_a_second():
    tracker = BurstTracker(RATE_HZ)
    random = np.random.default_rng(1)
    for k in range(200):
        arrival = Arrival(1_800.0, 20e-6, 30.0, 0.2, clipped=False)
        tracker.receive(arrival, 300 * k, random.standard_normal(3_600).astype(np.float32))
    assert len(tracker._families) <= 12
    assert tell(tracker, 1_800.25, 300 * 200 + 2 * RATE_HZ).rounds == 1
    assert len(tracker._families) == 1


def test_silence_and_the_edge_of_a_window_do_no_harm():
    tracker = BurstTracker(RATE_HZ)
    for k, index in enumerate((0.0, 2.5, 3_599.0)):
        arrival = Arrival(index, 20e-6, 20.0, 0.0, clipped=False)
        assert 0.0 <= tracker.receive(arrival, 4_000 * k, np.zeros(3_600, dtype=np.float32)).p_outlier <= 1.0

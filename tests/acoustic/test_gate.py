"""The gate against its slow twin, and against everything a broken microphone delivers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from acoustic import gate as gates
from acoustic import kernels
from acoustic.filters import detection_band
from acoustic.gate import TRANSITIONS, Gate
from tests import naive
from tests.sounds import bang, noise, with_bangs

NUMBERS = {
    "warmup_s": gates.WARMUP_S,
    "silence_s": gates.SILENCE_S,
    "on": gates.ON_RATIO,
    "rise": gates.RISE_RATIO,
    "dead_frames": gates.DEAD_FRAMES,
    "calm_frames": gates.CALM_FRAMES,
    "longest_coda_frames": gates.LONGEST_CODA_FRAMES,
    "lowest_floor": gates.LOWEST_FLOOR,
    "tokens": gates.TOKENS,
    "refill_per_s": gates.REFILL_PER_S,
    "reserve": gates.RESERVE_TOKENS,
    "strong": gates.STRONG_RATIO,
    "full_scale": kernels.FULL_SCALE,
    "largest": kernels.LARGEST,
}


def hear(gate, samples):
    """Everything a gate makes of samples: filtered, triggers and changes, counted from the first sample."""
    filtered, triggers, changes, done = [], [], [], 0
    while done < len(samples):
        heard = gate.hear(samples[done:])
        filtered.append(heard.filtered)
        triggers += [done + trigger for trigger in heard.triggers]
        done += heard.used
        if heard.change:
            changes.append((done, heard.change))
    return np.concatenate(filtered), triggers, changes


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    rate_hz=st.sampled_from([8_000, 11_025, 12_000]),
    bangs=st.lists(st.integers(0, 17_000), max_size=8),
    faults=st.lists(st.tuples(st.integers(0, 17_000), st.integers(1, 600), st.sampled_from("nzi1")), max_size=3),
)
def test_kernel_is_its_slow_twin(seed, rate_hz, bangs, faults):
    samples = with_bangs(noise(18_000, seed=seed), rate_hz, bangs)
    for at, length, what in faults:
        samples[at : at + length] = {"n": np.nan, "z": 0.0, "i": -np.inf, "1": 1.0}[what]
    gate = Gate(rate_hz)
    twin = naive.Gate(rate_hz, detection_band(rate_hz).tolist(), TRANSITIONS, NUMBERS)
    filtered, triggers, changes = hear(gate, samples)
    slow, slow_triggers, slow_changes = twin.hear(samples)
    np.testing.assert_array_equal(filtered, slow)
    assert triggers == [at for at, _ in slow_triggers]
    assert changes == slow_changes
    assert (gate.faulty_samples, gate.clipped_samples, gate.suppressed) == (
        twin.faulty,
        twin.clipped,
        twin.suppressed,
    )
    assert gate.tokens == pytest.approx(twin.tokens)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    rate_hz=st.sampled_from([8_000, 11_025, 48_000]),
    bangs=st.lists(st.integers(0, 17_000), max_size=8),
    cut=st.integers(1, 3_000),
)
def test_what_was_seen_to_already_is_heard_alike(seed, rate_hz, bangs, cut):
    """The way that a listener takes: no sample is checked again, and any chunking gives the same."""
    samples = with_bangs(noise(18_000, seed=seed), rate_hz, bangs)
    expected, triggers, _ = hear(Gate(rate_hz), samples)
    gate, filtered, told, done = Gate(rate_hz, trusted=True), [], [], 0
    while done < samples.size:
        heard = gate.hear(samples[done : done + cut])
        filtered.append(heard.filtered)
        told += [done + at for at in heard.triggers]
        done += heard.used
    np.testing.assert_array_equal(np.concatenate(filtered), expected)
    assert told == triggers


@pytest.mark.parametrize("rate_hz", [8_000, 12_000, 48_000])
def test_the_band_is_that_of_scipy(rate_hz):
    """A cascade of the same two sections, which begins as if the first sample had lasted for ever."""
    samples = (0.2 + noise(5_000, 0.1, 4)).astype(np.float32)
    b_a = np.insert(detection_band(rate_hz), 3, 1.0, axis=1)
    expected, _ = signal.sosfilt(b_a, samples.astype(float), zi=signal.sosfilt_zi(b_a) * float(samples[0]))
    np.testing.assert_allclose(gates.band_passed(samples, rate_hz), expected, atol=1e-7)


def test_noise_is_that_of_its_band():
    """White noise at -40 dB: 4.7 of 24 kHz pass, whose root is a little under the half."""
    part = noise(round(48_000 * (gates.NOISE_S + gates.SETTLE_S)), 0.01, 3)
    assert gates.noise_rms(part, 48_000) == pytest.approx(0.01 * np.sqrt(4.7 / 24.0 * np.pi / 2.8), rel=0.1)
    bang_within = part.copy()
    bang_within[1_500:1_520] += 0.5
    assert gates.noise_rms(bang_within, 48_000) < 1.5 * gates.noise_rms(part, 48_000)


def test_every_state_can_be_reached_and_survives_a_fault():
    states = {"warmup", "armed", "triggered", "coda"}
    assert {state for state, _ in TRANSITIONS} == states == set(TRANSITIONS.values())
    assert all(TRANSITIONS[state, "fault"] == "warmup" for state in states)


@pytest.mark.parametrize("rate_hz", [8_000, 12_000, 44_100, 48_000, 96_000])
def test_a_bang_fires_within_its_millisecond(rate_hz):
    at = rate_hz + 17
    samples = with_bangs(noise(2 * rate_hz), rate_hz, [at])
    _, triggers, _ = hear(Gate(rate_hz), samples)
    first = [trigger for trigger in triggers if trigger > at - 0.1 * rate_hz]
    assert abs(first[0] - at) <= 0.001 * rate_hz


def test_rounds_at_1200_a_minute_all_fire():
    rate_hz = 12_000
    onsets = [rate_hz + k * rate_hz // 20 for k in range(20)]
    samples = with_bangs(noise(3 * rate_hz, 0.001), rate_hz, onsets)
    _, triggers, _ = hear(Gate(rate_hz), samples)
    assert all(any(abs(trigger - at) <= 12 for trigger in triggers) for at in onsets)


@pytest.mark.parametrize("padding", [0.0, 0.3, -1.0])
def test_silence_and_its_edges_never_fire(padding):
    rate_hz = 12_000
    samples = np.full(6 * rate_hz, padding, dtype=np.float32)
    samples[2 * rate_hz : 4 * rate_hz] = 0.2 + noise(2 * rate_hz, 0.02)
    gate = Gate(rate_hz)
    _, triggers, changes = hear(gate, samples)
    end = next(at + change for at, change in changes if change < 0)
    assert end == 4 * rate_hz
    # What fires at the edge is known to lie in the silent stretch, and is not reported.
    assert [trigger for trigger in triggers if trigger + gate.frame <= end] == []
    # At the edges a few samples may stand still by chance.
    assert gate.faulty_samples == pytest.approx(4 * rate_hz, abs=3)


def test_a_constant_offset_fires_nothing():
    samples = noise(24_000) + np.float32(0.4)
    assert hear(Gate(12_000), samples)[1] == hear(Gate(12_000), noise(24_000))[1]


@pytest.mark.parametrize("frequency_hz", [1, 10, 30, 100, 1_000, 6_000])
def test_full_scale_square_waves_are_survived(frequency_hz):
    t = np.arange(36_000) / 12_000
    samples = np.where((t * frequency_hz) % 1.0 < 0.5, 1.0, -1.0).astype(np.float32)
    gate = Gate(12_000)
    filtered, triggers, _ = hear(gate, samples)
    assert np.isfinite(filtered).all()
    assert gate.clipped_samples == samples.size
    # A limited rate, whatever the wave does.
    assert len(triggers) <= gates.TOKENS + 3 * gates.REFILL_PER_S


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_one_bad_sample_costs_a_warm_up_and_no_more(bad):
    rate_hz = 12_000
    at = 3 * rate_hz
    samples = with_bangs(noise(4 * rate_hz, 0.001), rate_hz, [at])
    samples[rate_hz] = bad
    gate = Gate(rate_hz)
    filtered, triggers, changes = hear(gate, samples)
    assert np.isfinite(filtered).all()
    assert changes == [(3_600, 1), (rate_hz + 1, -1), (rate_hz + 1 + 3_600, 1)]
    assert gate.faulty_samples == 1
    assert any(abs(trigger - at) <= 12 for trigger in triggers)


def test_weak_impulses_give_way_first_and_are_counted():
    rate_hz = 12_000
    samples = noise(20 * rate_hz, 0.0005, seed=3)
    for k in range(18 * 40):  # forty a second, far more than is allowed
        at = rate_hz + k * rate_hz // 40
        sound = bang(rate_hz, 0.4 if k % 4 == 0 else 0.006)
        samples[at : at + sound.size] += sound
    gate = Gate(rate_hz)
    _, triggers, _ = hear(gate, samples)
    assert len(triggers) <= gates.TOKENS + 18 * gates.REFILL_PER_S + 1
    assert gate.suppressed > 100
    strong = [rate_hz + k * rate_hz // 40 for k in range(0, 18 * 40, 4)]
    found = [any(abs(trigger - at) <= 12 for trigger in triggers) for at in strong]
    assert np.mean(found) > 0.95

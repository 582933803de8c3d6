"""The watch: beside its slow twin, the same for any chunking, and never asleep when the gate would fire."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic import watch as watches
from acoustic import watch_kernels as kernels
from acoustic.background import background
from acoustic.gate import LOWEST_FLOOR, SILENCE_S, WARMUP_S, Gate, band_passed
from acoustic.watch import Kind, Watch
from tests import naive
from tests.sounds import blast, noise, with_bangs

scenes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "rate_hz": st.sampled_from([8_000, 11_025, 16_000, 22_050, 48_000]),
        "bangs": st.lists(st.integers(0, 30_000), max_size=6),
        "faults": st.lists(
            st.tuples(st.integers(0, 30_000), st.integers(1, 3_000), st.sampled_from("nizc1t")), max_size=4
        ),
    }
)
FAULTS = {"n": np.nan, "i": -np.inf, "z": 0.0, "c": 0.25, "1": 1.0}


def sound(scene):
    samples = with_bangs(noise(32_000, 0.003, scene["seed"]), scene["rate_hz"], scene["bangs"])
    for at, length, what in scene["faults"]:
        if what == "t":  # a tone that the comb does not hear is no silence
            lag = Watch(scene["rate_hz"]).lag
            samples[at : at + length] = 0.3 * np.sin(
                2.0 * np.pi * np.arange(samples[at : at + length].size) / max(lag, 2)
            )
        else:
            samples[at : at + length] = FAULTS[what]
    return samples.astype(np.float32)


def shape_of(rate_hz):
    return next(shape for most_hz, shape in watches.SHAPES.items() if rate_hz <= most_hz)


def noticed(happenings):
    return [(h.kind.name.lower(), h.at, h.back, h.faulty, h.clipped) for h in happenings]


@given(scenes)
@settings(max_examples=10)
def test_is_its_twin(scene):
    samples, rate_hz = sound(scene), scene["rate_hz"]
    watch = Watch(rate_hz)
    told = [*watch.look(samples), *watch.finish()]
    groups_per_s = rate_hz / (watch.block * kernels.GROUP)
    expected, faulty, clipped = naive.watch(
        samples, watch.block, watch.lag, kernels.GROUP, kernels.GROUPS, round(WARMUP_S * rate_hz),
        round(SILENCE_S * rate_hz), shape_of(rate_hz).loud_ratio, round(watches.LONGEST_LOUD_S * groups_per_s),
        watch.block * LOWEST_FLOOR**2, 0.97, 1e6,
    )  # fmt: skip
    assert noticed(told) == [tuple(row) for row in expected]
    assert (watch.faulty_samples, watch.clipped_samples) == (faulty, clipped)


@pytest.mark.parametrize(
    ("behind", "length", "clipped", "faulty"), [(1.0, 3, 3, 1), (0.25, 305, 0, 1), (0.25, 320, 0, 321)]
)
def test_what_comes_right_behind_a_fault_is_counted_once(behind, length, clipped, faulty):
    samples = noise(32_000, 0.003).astype(np.float32)
    samples[8_000], samples[8_001 : 8_001 + length] = np.nan, behind
    watch = Watch(16_000)
    watch.look(samples)
    assert (watch.clipped_samples, watch.faulty_samples) == (clipped, faulty)


@given(scenes, st.lists(st.integers(0, 4_000), min_size=1, max_size=6).filter(any))
@settings(max_examples=60)
def test_any_chunking_is_noticed_alike(scene, lengths):
    samples = sound(scene)
    whole, cut = Watch(scene["rate_hz"]), Watch(scene["rate_hz"])
    told, start, k = [], 0, 0
    while start < samples.size:
        told += cut.look(samples[start : start + lengths[k % len(lengths)]])
        start += lengths[k % len(lengths)]
        k += 1
    assert tuple(told) == whole.look(samples)
    assert cut.finish() == whole.finish()
    assert cut.watched == whole.watched


def street(rate_hz, duration_s, slope_db_per_octave, seed):
    generator = np.random.default_rng(seed)
    count = round(duration_s * rate_hz)
    return background(
        rate_hz, count, level_db_spl=55.0, slope_db_per_octave=slope_db_per_octave, generator=generator
    ).astype(np.float32)


@pytest.mark.parametrize(
    ("rate_hz", "seeds", "slope_db_per_octave", "least_db"),
    [
        *((rate_hz, 10, slope, 18.0) for rate_hz in (8_000, 12_000) for slope in (-3.0, -5.0)),
        *((rate_hz, 6, 0.0, 18.0) for rate_hz in (8_000, 12_000)),
        (48_000, 6, -3.0, 18.0),
        (192_000, 1, -5.0, 18.0),
    ],
)
def test_what_the_gate_fires_at_wakes_it(rate_hz, seeds, slope_db_per_octave, least_db):
    """Blasts a little above what the gate wants, in the noise of streets, at low rates in white noise too: all wake it.

    What hides from the watch at high rates, and that the gate then stays awake, is tests/sensors/test_ears.py.
    """
    fired = 0
    for seed in range(seeds):
        samples = street(rate_hz, 1.5, slope_db_per_octave, seed)
        at_s = 1.0 + 0.013 * seed
        shot = blast(rate_hz, 1.5, at_s)
        noise_there, peak = (
            f(band_passed(x.astype(np.float32), rate_hz)) for f, x in ((np.std, samples), (np.ptp, shot))
        )
        samples = (samples + noise_there * 10.0 ** ((least_db + 4.0 * (seed % 2)) / 20.0) * 1.5 * shot / peak).astype(
            np.float32
        )
        gate, triggers, done = Gate(rate_hz), [], 0
        while done < samples.size:
            heard = gate.hear(samples[done:])
            triggers += [(done + at) / rate_hz for at in heard.triggers]
            done += heard.used
        loud_s = np.array([h.at for h in Watch(rate_hz).look(samples) if h.kind is Kind.LOUD]) / rate_hz
        for trigger_s in triggers:
            if abs(trigger_s - at_s) < 0.01:
                fired += 1
                assert np.min(np.abs(loud_s - trigger_s)) < 0.005
    assert fired >= 0.8 * seeds


def test_a_quiet_street_wakes_nobody_for_long():
    """Six wakes of about a second in a minute at 48 kHz: the gate sleeps nine tenths of the time."""
    loud = [h for h in Watch(48_000).look(street(48_000, 60.0, -4.5, 3)) if h.kind is Kind.LOUD]
    assert len(loud) <= 10

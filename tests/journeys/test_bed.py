"""A city without a shot: from its sound to the desk, nobody is sent anywhere."""

from __future__ import annotations

import io
import math
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
EVENING = 20 * 60 + 3


@pytest.fixture(scope="module")
def beds():
    """The bed and what hears it, both scripts; without recordings, which not everybody has."""
    sys.path.insert(0, str(ROOT / "fixtures" / "builders"))
    try:
        import bed as builder  # noqa: PLC0415  (a script, not of a package)

        from benchmarks.endurance import bed as bench  # noqa: PLC0415
    finally:
        sys.path.remove(str(ROOT / "fixtures" / "builders"))
    return builder, bench


@pytest.fixture(scope="module")
def heard(beds):
    builder, bench = beds
    city = builder.Bed(minutes=3, seed=3, from_minute=EVENING, busy=6.0)
    kept = io.StringIO()
    tally, score = bench.hear(city, keep=kept)
    return city, tally, score, kept.getvalue()


def test_nobody_is_sent(heard):
    city, tally, score, _ = heard
    figures = score.figures()
    assert len(city.events) > 10
    assert sum(tally.pulses.values()) > 10
    assert figures["false_alerts"] == 0
    assert figures["array_days"] == pytest.approx(3.0 / 1440.0)


def test_every_second_is_accounted_for(heard):
    """Every sensor sends three minutes, but for a second in thirty of the one that loses them."""
    city, tally, _, _ = heard
    lost = sum(tally.sensor_s.values()) - 3 * 60 * city.sensors
    assert lost == pytest.approx(-tally.sensor_s["losing a second in thirty"] / 29.0)
    assert tally.pulses["dead"] == 0


def test_table(beds, heard):
    city, tally, score, _ = heard
    text = beds[1].table(city, tally, score)
    assert "| alerts published, all of them false | 0 | 0 | 0 to " in text
    assert "synthetic sounds only" in text


def test_decided_again(beds, heard):
    """What the sensors said is all that the centre needs: the same shots, from their words alone."""
    city, tally, _, kept = heard
    same, again, score = beds[1].decide_again(city, io.StringIO(kept))
    assert same.minutes == city.minutes
    assert again.shots == tally.shots
    assert again.outcomes == tally.outcomes
    assert again.pulses == tally.pulses
    assert score.figures()["false_fixes"] == heard[2].figures()["false_fixes"]


def test_stopped_on_its_way(beds):
    """Ten of eleven minutes were kept when somebody pulled the plug: a bed of ten minutes."""
    builder, bench = beds
    city = builder.Bed(minutes=11, sensors=3, seed=3, from_minute=4 * 60, busy=0.0)
    kept = io.StringIO()
    bench.hear(city, keep=kept)
    lines = kept.getvalue().splitlines(keepends=True)
    last = max(k for k, line in enumerate(lines[:-1]) if line.startswith('{"counted"'))
    shorter, tally, score = bench.decide_again(city, io.StringIO("".join(lines[: last + 4])))
    assert shorter.minutes == 10
    assert sum(tally.sensor_s.values()) == pytest.approx(3 * 600.0)
    assert score.figures()["array_days"] == pytest.approx(10.0 / 1440.0)


def test_a_later_hour_needs_no_earlier_one(beds):
    """A bed that begins two minutes later: the same events and, once the first second has faded in, the same sound."""
    builder, _ = beds
    whole = builder.Bed(minutes=3, seed=5, from_minute=EVENING)
    later = builder.Bed(minutes=1, seed=5, from_minute=EVENING + 2)
    since = [event for event in whole.events if event.time_s >= 120.0]
    assert [e.name for e in later.events] == [e.name for e in since]
    assert [e.time_s for e in later.events] == pytest.approx([e.time_s - 120.0 for e in since])
    first, second = whole.microphone(0), later.microphone(0)
    long, short = [first.minute() for _ in range(3)][-1][0], second.minute()[0]
    assert long.start_ns == short.start_ns
    from_s = max([1.0, *(last - 120.0 for _, last in first.bangs if last > 120.0)])
    if from_s < 59.0:
        a, b = (block.samples[math.ceil(from_s * 12_000) :] for block in (long, short))
        assert np.array_equal(a, b)


def test_minutes_join_without_a_step(beds):
    """Noise of one minute goes over into the next at constant power: nothing to hear at the seam."""
    microphone = beds[0].Bed(minutes=2, seed=8, from_minute=EVENING, busy=0.0).microphone(0)
    pressure = np.concatenate([block.samples for _ in range(2) for block in microphone.minute()])
    seam, second = len(pressure) // 2, 12_000
    steps = np.abs(np.diff(pressure))
    assert steps[seam - 5 : seam + 5].max() < 1.5 * np.quantile(steps[seam - second : seam + second], 0.9999)
    after, before = pressure[seam : seam + second].std(), pressure[seam - 4 * second : seam].std()
    assert 0.5 < after / before < 2.0


@pytest.mark.endurance
def test_hours_of_it(beds):
    """Three hours, the storm among them: no alert, and memory that does not grow after the first hour."""
    builder, bench = beds
    city = builder.Bed(minutes=180, seed=4, from_minute=14 * 60)
    tally = bench.Tally()
    ears, centre = bench.Ears(city, tally), bench.Centre(city, tally)
    grown = {}
    for minute in range(city.minutes):
        centre.decide(list(ears.minute()))
        grown[minute] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    centre.decide(list(ears.finish()))
    centre.finish()
    figures = bench.scored(city, tally).figures()
    print(bench.table(city, tally, bench.scored(city, tally)))
    assert figures["false_alerts"] <= 1
    assert grown[179] < 1.1 * grown[119]  # the storm of the second hour is the largest that there is

"""Strings of three rounds, as live fire has them, from sensors through the locator to the desk."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from acoustic.air import Air
from acoustic.instant import after, parse_instant, seconds_between
from alerts.alert import encode
from localization.study.simulate import simulate
from localization.study.specification import Event, Place, Sensor, Spec
from shotfix.playback import locate

START_NS = parse_instant("2026-11-22T02:00:00Z")
STRINGS, APART_S, CADENCE_S = 10, 40.0, 0.9


@functools.cache
def night():
    """Sixteen roofs over a town of 900 m; ten strings of three rounds at ten places, with echoes and missed pulses."""
    rng = np.random.default_rng(3)
    sensors = tuple(
        Sensor(f"n{k:02d}", Place((k % 4) * 300.0 - 450.0 + rng.uniform(-60.0, 60.0),
                                  (k // 4) * 300.0 - 450.0 + rng.uniform(-60.0, 60.0), rng.uniform(6.0, 14.0)))
        for k in range(16)
    )  # fmt: skip
    places = [Place(rng.uniform(-350.0, 350.0), rng.uniform(-350.0, 350.0), 1.5) for _ in range(STRINGS)]
    events = tuple(
        Event(f"s{k}r{r}", "muzzle", 10.0 + APART_S * k + CADENCE_S * r, place)
        for k, place in enumerate(places)
        for r in range(3)
    )
    air = Air(12.0, temperature_sigma_c=1.0, wind_sigma_m_per_s=1.5)
    until_s = APART_S * STRINGS + 30.0
    return simulate(Spec("strings", 0, "pulses", "local", START_NS, until_s, air, air, sensors, events)).scene


@functools.cache
def told():
    """Of each string every revision that tells of it, in order."""
    strings = [[] for _ in range(STRINGS)]
    for alert in locate(night()).alerts:
        since_s = seconds_between(START_NS, parse_instant(alert.discharge_time.first)) - 10.0
        number = round(since_s / APART_S)
        if alert.outcome != "suppressed" and abs(since_s - APART_S * number) < 4.0:
            strings[number].append(alert)
    return strings


@pytest.mark.parametrize("number", range(STRINGS))
def test_three_rounds_are_one_incident_with_three_rounds(number):
    revisions = told()[number]
    assert len({alert.incident_id for alert in revisions}) == 1
    last = revisions[-1]
    assert (last.status, last.what.rounds.best) == ("confirmed", 3)
    assert last.what.cadence_s == pytest.approx(CADENCE_S, abs=0.02)
    assert last.what.rounds.min <= 3 <= last.what.rounds.max


def test_a_string_is_told_in_few_words():
    assert {tuple(alert.reason for alert in revisions) for revisions in told()} == {("new", "more-rounds", "closed")}
    for revisions in told():
        first = revisions[0]
        assert parse_instant(first.published_at) < after(parse_instant(first.discharge_time.first), 5.0)


def test_told_again_it_is_the_same_to_the_byte():
    assert [encode(a) for a in locate(night()).alerts] == [encode(a) for a in locate(night()).alerts]

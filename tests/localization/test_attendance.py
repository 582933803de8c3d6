"""Attendance: who listened when, and over what noise; at its time, whatever was received since."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import after
from localization.attendance import FLOORS, REMEMBERED, Attendance
from sensors.health import Heartbeat
from tests import streets

SITES = streets.square().sites[:2]
FLOORS_DB = (50.0, 80.0, 45.0, 62.0)


def at(time_s):
    return after(streets.START_NS, time_s)


@given(st.permutations(range(4)), st.integers(0, 4), st.integers(-1, 40))
def test_noise_is_that_of_its_time(order, received, time_s):
    """A heartbeat speaks of every 10 s; those of later times change nothing, in whatever order they came."""
    told = [Heartbeat("A", at(10.0 * k), noise_floor_db_spl=FLOORS_DB[k]) for k in range(4)]
    attendance = Attendance()
    for k in order[:received]:
        attendance.note(told[k])
    known = [k for k in sorted(order[:received]) if 10.0 * k <= time_s]
    first, second = attendance.floors(SITES, at(float(time_s)))
    assert math.isnan(second)
    assert first == FLOORS_DB[known[-1]] if known else math.isnan(first)


def test_listening_lies_between_two_heartbeats():
    attendance = Attendance()
    for time_s, listening in ((0.0, True), (4.0, False), (7.0, True), (20.0, True)):
        attendance.note(Heartbeat("A", at(time_s), listening=listening))
    heard = [bool(attendance.listening(SITES, at(t))[0]) for t in (-0.1, 0.0, 3.9, 4.0, 6.9, 7.0, 19.9, 20.0)]
    assert heard == [False, True, True, False, False, True, True, False]


def test_what_is_forgotten_changes_nothing_later():
    attendance = Attendance()
    for k in range(100):
        attendance.note(Heartbeat("A", at(float(k)), noise_floor_db_spl=50.0 + k))
    attendance.forget(at(60.5))
    assert [attendance.floors(SITES, at(t))[0] for t in (60.5, 61.0, 99.5)] == [110.0, 111.0, 149.0]
    assert sum(map(len, attendance._floors.values())) == 40


def test_memory_is_bounded():
    attendance = Attendance()
    for k in range(10_000):
        attendance.note(Heartbeat("A", at(float(k)), listening=k % 3 != 0, noise_floor_db_spl=50.0))
    assert sum(map(len, attendance._floors.values())) <= FLOORS
    assert sum(map(len, attendance._spans.values())) <= REMEMBERED

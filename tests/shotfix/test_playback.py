"""Playback: what is put right at the door, before anything is heard."""

from __future__ import annotations

import dataclasses

import pytest

from acoustic.instant import after
from localization.fix import Fix
from localization.frame import Frame
from localization.study.scene import Pulse, Scene
from sensors.site import Network
from shotfix.playback import locate
from tests import streets

CITY = streets.square()
HERE = (60.0, -80.0)


def scene(offset_s, shot_id=None):
    """One bang; sensor B's clock is fast by so much, and its site says so."""
    sites = [dataclasses.replace(s, clock_offset_s=offset_s if s.sensor_id == "B" else 0.0) for s in CITY.sites]
    pulses = []
    for detection in streets.bang(CITY, HERE, 5.0):
        shown_ns = after(detection.pick.onset_ns, offset_s if detection.sensor_id == "B" else 0.0)
        pick = dataclasses.replace(detection.pick, onset_ns=shown_ns)
        pulses.append(Pulse(dataclasses.replace(detection, pick=pick), shot_id))
    pulses.sort(key=lambda p: p.detection.pick.onset_ns)
    return Scene(
        "s", streets.START_NS, streets.STILL, Frame(), Network(tuple(sites)), streets.SOURCE_UP_M, 1.0,
        pulses=tuple(pulses),
    )  # fmt: skip


@pytest.mark.parametrize("shot_id", [None, "given"])
@pytest.mark.parametrize("offset_s", [0.2, 5.0, 600.0, 3600.0, -3600.0])
def test_a_clock_that_is_known_to_be_fast_is_set_right(offset_s, shot_id):
    """Anything up to an hour, as if nothing were; whoever gave the pulses to the shot."""
    run = locate(scene(offset_s, shot_id))
    (fix,) = run.fixes
    assert isinstance(fix, Fix)
    assert streets.off_m(fix, HERE) < 0.5
    assert fix.n_sensors == len(CITY.sites)
    assert not run.passed_over
    plain = locate(scene(0.0, shot_id)).fixes[0]
    assert fix.best.place.east_m == pytest.approx(plain.best.place.east_m, abs=1e-3)

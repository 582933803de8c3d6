"""Picking: the pulses that detectors would report of a simulated scene, without making its sound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.detection import LLR_LIMIT, Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import after
from acoustic.pick import Pick
from localization.study.chance import child
from localization.study.paths import aimed_db
from localization.study.scene import Pulse
from localization.study.world import online

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from acoustic.propagation import Ray
    from localization.study.specification import Event, Picking, Sensor, Spec
    from localization.study.world import World

DEAD_TIME_S: Final = 0.02  # no detector reports two pulses closer together
SPECTRUM_HZ: Final = 1000.0  # where most of a blast's energy lies: its absorption stands for all


def pulses_of(spec: Spec, world: World) -> tuple[Pulse, ...]:
    """Every pulse of the scene, ordered by time: first arrivals, echoes and false alarms, without those missed.

    A first arrival is reported when it stands ``threshold_snr_db`` over the floor and is not among the
    ``missed_share``; echoes likewise, on average ``echo_pulses`` for each round and sensor where as many are loud
    enough. `llr` is drawn from the distributions that are calibrated by construction, Gaussian with variance
    ``separation`` squared and mean half of that, positive for gunshots and negative for everything else.
    """
    pulses: dict[str, Pulse] = {}
    for sensor in spec.sensors:
        found = [*_false(spec, sensor)]
        for event in spec.events:
            found += _arrivals(spec, world, sensor, event)
        last_s = -math.inf
        for time_s, pulse in sorted(found, key=lambda each: each[0]):
            if time_s - last_s >= DEAD_TIME_S and any(a <= time_s < b for a, b in online(spec, sensor)):
                pulses[pulse.detection.pulse_id] = pulse
                last_s = time_s
    return tuple(sorted(pulses.values(), key=lambda p: (p.detection.pick.onset_ns, p.detection.sensor_id)))


def _arrivals(spec: Spec, world: World, sensor: Sensor, event: Event) -> Iterator[tuple[float, Pulse]]:
    if event.place is None:
        if event.sensor_id != sensor.sensor_id:
            return
        loss: list[tuple[float, float]] = [(0.0, 0.0)]
    else:
        source, microphone = world.events[event.event_id], world.sensors[sensor.sensor_id]
        excess_db = event.excess_db + aimed_db(source, microphone, event.aim_deg)
        direct, _, *echoes = world.streets.rays((event.place.text, sensor.sensor_id), source, microphone, excess_db)
        per_m = float(spec.true_air.absorption_db_per_m(np.array([SPECTRUM_HZ]))[0])
        loss = [(ray.delay_s, _loss_db(ray, per_m, edges=bool(spec.buildings))) for ray in (direct, *echoes)]
    draw = child(spec.seed, "picks", event.event_id, sensor.sensor_id)
    common = float(child(spec.seed, "likeness", event.event_id).standard_normal())
    for time_s, gain in world.rounds[event.event_id]:
        level_db = event.peak_db_spl + 20.0 * math.log10(gain)
        shown_s = world.shift_s(event.event_id, sensor, time_s)
        for delay_s, loss_db in _reported(spec, loss, level_db, draw):
            arrives_s = time_s + delay_s + shown_s + spec.picking.time_sigma_s * float(draw.standard_normal())
            llr = _llr(spec.picking, draw, common, gunshot=event.sound == "gunshot")
            yield arrives_s, _pulse(spec, sensor, arrives_s, level_db - loss_db, llr)


def _reported(
    spec: Spec, loss: list[tuple[float, float]], level_db: float, draw: Generator
) -> list[tuple[float, float]]:
    """Which of a round's arrivals a detector reports, as (delay, loss)."""
    p = spec.picking
    number, missed = int(draw.poisson(p.echo_pulses)), float(draw.random()) < p.missed_share
    loud = [each for each in loss if level_db - each[1] - p.floor_db_spl >= p.threshold_snr_db]
    first = [each for each in loud if each is loss[0] and not missed]
    echoes = sorted((each for each in loud if each is not loss[0]), key=lambda each: each[1])
    return first + echoes[:number]


def _loss_db(ray: Ray, absorption_db_per_m: float, *, edges: bool) -> float:
    """What a ray loses; the low pass counts where ``edges`` made it: the gain of drawn ones is the whole of it."""
    if ray.gain == 0.0:
        return math.inf
    low_pass_db = 10.0 * math.log10(1.0 + (SPECTRUM_HZ / ray.cutoff_hz) ** 2) if edges else 0.0
    return 20.0 * math.log10(ray.length_m / abs(ray.gain)) + absorption_db_per_m * ray.length_m + low_pass_db


def _false(spec: Spec, sensor: Sensor) -> Iterator[tuple[float, Pulse]]:
    """False alarms all the time, and bursts of them while the device chatters."""
    p = spec.picking
    draw = child(spec.seed, "false", sensor.sensor_id)
    for _ in range(int(draw.poisson(p.false_per_hour * spec.duration_s / 3600.0))):
        yield _one_false(spec, sensor, float(draw.random()) * spec.duration_s, draw)
    draw = child(spec.seed, "chatter", sensor.sensor_id)
    for from_s, to_s, per_s in sensor.chatter:
        lasts_s = min(to_s, spec.duration_s) - min(from_s, spec.duration_s)
        for _ in range(int(draw.poisson(per_s * lasts_s))):
            yield _one_false(spec, sensor, from_s + float(draw.random()) * lasts_s, draw)


def _one_false(spec: Spec, sensor: Sensor, time_s: float, draw: Generator) -> tuple[float, Pulse]:
    p = spec.picking
    level_db = p.floor_db_spl + p.threshold_snr_db + 5.0 * float(draw.exponential())
    return time_s, _pulse(spec, sensor, time_s, level_db, _llr(p, draw, 0.0, gunshot=False, alone=True))


def _llr(p: Picking, draw: Generator, common: float, *, gunshot: bool, alone: bool = False) -> float:
    """Evidence of one pulse, of which ``correlation`` is shared by all that one event makes: ``common``."""
    shared = 0.0 if alone else p.correlation
    chance = math.sqrt(1.0 - shared) * float(draw.standard_normal()) + math.sqrt(shared) * common
    return 0.5 * p.separation**2 * (1.0 if gunshot else -1.0) + p.separation * chance


def _pulse(spec: Spec, sensor: Sensor, time_s: float, level_db: float, llr: float) -> Pulse:
    p = spec.picking
    llr = round(min(max(llr, -LLR_LIMIT), LLR_LIMIT), 4)
    onset_ns = after(spec.start_ns, time_s)
    pick = Pick(
        onset_ns,
        p.time_sigma_s,
        snr_db=round(level_db - p.floor_db_spl, 2),
        level_db_spl=round(level_db, 2),
    )
    identity = pulse_identity(sensor.sensor_id, onset_ns)
    return Pulse(Detection(identity, sensor.sensor_id, pick, llr, probabilities_from_llr(llr)))

"""Sounding: the pressure at each microphone of a simulation, and the samples that its converter makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic import sources
from acoustic.background import background, passing, wavering
from acoustic.instant import after
from acoustic.propagation import Heard, Path, Ray
from localization.study.chance import child
from localization.study.paths import aimed_db
from localization.study.scene_writing import Recording
from localization.study.world import online

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from localization.study.specification import Converter, Event, Sensor, Spec
    from localization.study.world import World

CACHED_SOUNDS: Final = 64
CRACKLE_DB: Final = -18.0  # of the median star beside the burst


class Voices:
    """The sounds of a scene at their sources, made once and kept while there are not too many."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._kept: dict[tuple[str, int], sources.Sound] = {}

    def of(self, event: Event, number: int) -> sources.Sound:
        """The sound of a round; blows and pops differ from one to the next, rounds of one firearm do not."""
        number = 0 if event.kind in {"muzzle", "salute"} else number
        key = (event.event_id, number)
        if key not in self._kept:
            if len(self._kept) >= CACHED_SOUNDS:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = _voice(event, self._spec.converter.rate_hz, self._generator(event, number))
        return self._kept[key]

    def _generator(self, event: Event, number: int) -> np.random.Generator:
        return child(self._spec.seed, "sound", event.event_id, str(number))


def _voice(event: Event, rate_hz: int, generator: np.random.Generator) -> sources.Sound:
    level, phase = event.peak_db_spl, event.positive_phase_s
    if event.kind == "muzzle":
        return sources.muzzle_blast(rate_hz, peak_db_spl=level, positive_phase_s=phase or 0.0009)
    if event.kind in {"salute", "crackle"}:
        crackle_db = CRACKLE_DB if event.kind == "crackle" else None
        return sources.firework(
            rate_hz, peak_db_spl=level, positive_phase_s=phase or 0.002, crackle_db=crackle_db, generator=generator
        )
    if event.kind == "thunder":
        return sources.thunder(rate_hz, peak_db_spl=level, duration_s=event.duration_s, generator=generator)
    make = {
        "backfire": sources.backfire,
        "hammer": sources.hammer,
        "door": sources.door,
        "handling": sources.handling,
    }[event.kind]
    return make(rate_hz, peak_db_spl=level, generator=generator)


def pressure_at(spec: Spec, world: World, sensor: Sensor, voices: Voices) -> NDArray[np.float64]:
    """Pressure at one microphone over the whole scene, by the samples of its own clock, Pa."""
    pressure_pa = _noise(spec, sensor)
    for event in spec.events:
        if event.sensor_id is not None and event.sensor_id != sensor.sensor_id:
            continue
        path = _path(spec, world, sensor, event)
        heard: Heard | None = None
        last = None
        for number, (time_s, gain) in enumerate(world.rounds[event.event_id]):
            sound = voices.of(event, number)
            if heard is None or sound is not last:
                heard, last = Heard(sound, path, spec.true_air), sound
            first, samples = heard.at(time_s + world.shift_s(event.event_id, sensor, time_s))
            _add(pressure_pa, first, gain * samples)
    return _high_passed(pressure_pa, spec.converter)


def _high_passed(pressure_pa: NDArray[np.float64], converter: Converter) -> NDArray[np.float64]:
    """What the microphone lets through: second order, causal, so that no front comes early or late."""
    from scipy import signal  # only who makes sound waits for it

    sections = signal.butter(2, converter.high_pass_hz, "highpass", fs=converter.rate_hz, output="sos")
    filtered: NDArray[np.float64] = signal.sosfilt(sections, pressure_pa)
    return filtered


def _path(spec: Spec, world: World, sensor: Sensor, event: Event) -> Path:
    if event.place is None:
        return Path((Ray(1.0, 0.0),))  # a knock travels through no air
    source, microphone = world.events[event.event_id], world.sensors[sensor.sensor_id]
    excess_db = event.excess_db + aimed_db(source, microphone, event.aim_deg)
    names = (event.place.text, sensor.sensor_id)
    return world.streets.path(names, source, microphone, excess_db, spec.converter.rate_hz)


def _add(track: NDArray[np.float64], first: int, samples: NDArray[np.float64]) -> None:
    begin, end = max(first, 0), min(first + len(samples), len(track))
    if begin < end:
        track[begin:end] += samples[begin - first : end - first]


def _noise(spec: Spec, sensor: Sensor) -> NDArray[np.float64]:
    rate_hz, noise = spec.converter.rate_hz, spec.noise
    count = round(spec.duration_s * rate_hz)
    draw = child(spec.seed, "noise", sensor.sensor_id)
    level_db = noise.level_db_spl + sensor.noise_db + noise.sensor_sigma_db * float(draw.standard_normal())
    gain = wavering(rate_hz, count, sigma_db=noise.variation_db, every_s=8.0, generator=draw)
    result = gain * background(
        rate_hz, count, level_db_spl=level_db, slope_db_per_octave=noise.slope_db_per_octave, generator=draw
    )
    for per_hour, level, length_s, highest_hz, name in (
        (noise.cars_per_hour, noise.car_db_spl, 2.0, 1500.0, "cars"),
        (noise.gusts_per_hour, noise.gust_db_spl, 1.0, 150.0, "gusts"),
    ):
        result += passing(
            rate_hz,
            count,
            per_hour=per_hour,
            level_db_spl=level,
            length_s=length_s,
            highest_hz=highest_hz,
            generator=child(spec.seed, name, sensor.sensor_id),
        )
    return result


def pieces_of(spec: Spec, sensor: Sensor, pressure_pa: NDArray[np.float64]) -> Iterator[Recording]:
    """The recordings that the sensor makes of this pressure: one, or several with gaps where it was offline."""
    converter = spec.converter
    for from_s, to_s in online(spec, sensor):
        first, last = round(from_s * converter.rate_hz), round(to_s * converter.rate_hz)
        if last > first:
            samples = converted(pressure_pa[first:last], converter.full_scale_db_spl, converter.bits)
            start_ns = after(spec.start_ns, first / converter.rate_hz)
            yield Recording(sensor.sensor_id, start_ns, converter.rate_hz, samples, converter.format)


def converted(
    pressure_pa: NDArray[np.float64], full_scale_db_spl: float, bits: int
) -> NDArray[np.int16] | NDArray[np.int32]:
    """Samples of a converter whose full scale is the peak pressure ``full_scale_db_spl``; what is louder is clipped.

    Up to 16 bits as int16, more as int32; the bits below ``bits`` are zero.
    """
    steps = float(2 ** (bits - 1))
    whole = np.rint(pressure_pa * (steps / sources.pascals(full_scale_db_spl)))
    clipped = np.clip(whole, -steps, steps - 1.0)
    if bits <= 16:
        return (clipped * 2.0 ** (16 - bits)).astype(np.int16)
    return (clipped * 2.0 ** (32 - bits)).astype(np.int32)

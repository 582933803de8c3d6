"""Sources: the pressure that a bang makes one metre away, before any street has touched it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from acoustic.spectra import (
    Spectrum,
    friedlander,
    later,
    n_wave,
    ringing,
    sampled,
    scaled,
    smeared,
    soft_pulse,
    total,
)

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from acoustic.air import Air

REFERENCE_PRESSURE_PA: Final = 20e-6  # 0 dB SPL
LEAD_S: Final = 0.004  # silence before the onset: room for what band limits and absorption smear ahead of it
SETTLED: Final = 12.0  # time constants after which a decay is over: e^-12 is -104 dB


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """The pressure at a reference distance from a source, free of reflections, band-limited to its sample rate.

    Parameters
    ----------
    pressure_pa : (n,) float64
        Pa, at ``reference_m`` from the source. Kept as a read-only array.
    rate_hz : int
        Samples a second.
    onset_s : float
        When in the array the sound begins, seconds after the first sample.
    reference_m : float
        The distance for which the pressure is given, above 0.
    """

    pressure_pa: NDArray[np.float64]
    rate_hz: int
    onset_s: float = LEAD_S
    reference_m: float = 1.0

    def __post_init__(self) -> None:
        if self.pressure_pa.dtype != np.float64 or self.pressure_pa.ndim != 1 or not len(self.pressure_pa):
            raise ValueError(f"pressure_pa is {self.pressure_pa.dtype} {self.pressure_pa.shape}: expected float64 (n,)")
        if not np.isfinite(self.pressure_pa).all():
            raise ValueError("pressure_pa holds NaN or infinity: expected finite pressures")
        if self.rate_hz <= 0 or not self.reference_m > 0.0:
            raise ValueError(f"rate_hz {self.rate_hz}, reference_m {self.reference_m}: expected values above 0")
        frozen = self.pressure_pa.view()
        frozen.flags.writeable = False
        object.__setattr__(self, "pressure_pa", frozen)

    @property
    def peak_db_spl(self) -> float:
        """Highest absolute pressure, dB re 20 uPa."""
        return level_db(float(np.abs(self.pressure_pa).max()))


def pascals(level_db_spl: float) -> float:
    """The pressure of a level: 94 dB SPL is 1.0024 Pa."""
    return float(REFERENCE_PRESSURE_PA * 10.0 ** (level_db_spl / 20.0))


def level_db(pressure_pa: float) -> float:
    """The level of a pressure, dB re 20 uPa; minus infinity for none."""
    return 20.0 * math.log10(pressure_pa / REFERENCE_PRESSURE_PA) if pressure_pa > 0.0 else -math.inf


def muzzle_blast(rate_hz: int, *, peak_db_spl: float = 160.0, positive_phase_s: float = 0.0008) -> Sound:
    """The muzzle blast of a firearm: Friedlander's wave, p(t) = P (1 - t/T) exp(-t/T).

    Parameters
    ----------
    rate_hz : int
        Samples a second.
    peak_db_spl : float
        P at one metre, to the side of the barrel: 159 to 164 dB for pistols and short rifles, 140 for .22, 175 with a
        muzzle brake (Dater, and Murphy and others 2018); a suppressor takes 17 to 24 dB away. The band limit rounds
        the front off: at 12 kHz the sampled peak is about 1 dB lower.
    positive_phase_s : float
        T, after which the pressure is under that of the air. Strong waves grow longer on the way, which linear
        propagation leaves out: give the length it has where it is heard, 0.5 to 1.5 ms (Maher 2007: 3 to 5 ms for
        the whole wave).

    Notes
    -----
    The directivity belongs to the caller (`directivity_db`), since one sound leaves in many directions.
    """
    return _sampled(rate_hz, SETTLED * positive_phase_s, friedlander(pascals(peak_db_spl), positive_phase_s))


def directivity_db(angle_rad: float, momentum_index: float = 0.5) -> float:
    """How much louder a muzzle is at an angle from the line of fire than to its side, dB.

    Fansler's scaling length, l(angle) / l(90 deg) with l = mu cos + sqrt(1 - mu^2 sin^2), taken as the ratio of far
    pressures; ``momentum_index`` mu, 0 to below 1: 0.5 makes the front 9.5 dB louder than the back.
    """
    mu = momentum_index
    length = mu * math.cos(angle_rad) + math.sqrt(1.0 - (mu * math.sin(angle_rad)) ** 2)
    return 20.0 * math.log10(length / math.sqrt(1.0 - mu**2))


def shock_wave(
    rate_hz: int,
    *,
    mach: float,
    miss_distance_m: float,
    bullet_diameter_m: float,
    bullet_length_m: float,
    air: Air,
) -> Sound:
    """The N-wave of a bullet faster than sound, at a microphone that it passes.

    Parameters
    ----------
    rate_hz : int
        At least 48 kHz to show it: it lasts 0.2 to 0.5 ms.
    mach : float
        The bullet's speed over that of sound where the wave left it, above 1.
    miss_distance_m : float
        Closest distance of the trajectory, above 0; the pressure is given there, and spreads no further.
    bullet_diameter_m, bullet_length_m : float
        Of the bullet.
    air : Air
        Its pressure and speed of sound.

    Notes
    -----
    Whitham (1952): amplitude 0.53 p0 (M^2 - 1)^(1/8) d / (x^(3/4) l^(1/4)), length
    1.82 d M x^(1/4) / (c (M^2 - 1)^(3/8) l^(1/4)), for x far above the bullet's length; rise (lambda / c) (p0 / P)
    with a mean free path of 68 nm. Within a few per cent of Mach 1 the formulas fail.
    """
    if not mach > 1.0:
        raise ValueError(f"mach is {mach}: expected above 1; a slower bullet makes no shock wave")
    c, p0, excess = air.sound_speed_m_per_s, air.pressure_pa, mach**2 - 1.0
    slender = (miss_distance_m / bullet_length_m) ** 0.25
    peak_pa = 0.53 * p0 * excess**0.125 * bullet_diameter_m * slender / miss_distance_m
    length_s = 1.82 * bullet_diameter_m * mach * slender / (c * excess**0.375)
    rise_s = 6.8e-8 / c * p0 / peak_pa
    spectrum = n_wave(peak_pa, length_s)

    def risen(s: NDArray[Any]) -> NDArray[Any]:
        risen: NDArray[Any] = spectrum(s) * np.sinc(s.imag * rise_s / (2.0 * math.pi))
        return risen

    sound = _sampled(rate_hz, 4.0 * length_s, risen)
    return Sound(sound.pressure_pa, rate_hz, reference_m=miss_distance_m)


def firework(
    rate_hz: int,
    *,
    peak_db_spl: float = 160.0,
    positive_phase_s: float = 0.002,
    crackle_db: float | None = None,
    crackle_s: float = 0.8,
    crackles_per_s: float = 150.0,
    generator: Generator | None = None,
) -> Sound:
    """A salute: one Friedlander wave, two to four times as long as a pistol's; with ``crackle_db``, crackling stars.

    Parameters
    ----------
    rate_hz : int
        Samples a second.
    peak_db_spl, positive_phase_s : float
        Of the burst, as for `muzzle_blast`: a gram of flash powder in a cardboard case, 1.5 to 4 ms.
    crackle_db : float or None
        Level of the median star's crack under the burst, negative; None for a plain salute.
    crackle_s, crackles_per_s : float
        How long the stars crackle, from 0.15 s after the burst, and how many a second.
    generator : Generator or None
        Draws the stars; needed with ``crackle_db``.
    """
    burst = friedlander(pascals(peak_db_spl), positive_phase_s)
    if crackle_db is None:
        return _sampled(rate_hz, SETTLED * positive_phase_s, burst)
    if generator is None:
        raise ValueError("a crackle needs a generator: pass numpy.random.default_rng(seed)")
    count = int(generator.poisson(crackle_s * crackles_per_s))
    times_s = 0.15 + crackle_s * generator.random(count)
    levels_db = peak_db_spl + crackle_db + 4.0 * generator.standard_normal(count)
    phases_s = 0.00015 * np.exp(0.3 * generator.standard_normal(count))
    stars = [
        later(float(time), friedlander(pascals(float(level)), float(phase)))
        for time, level, phase in zip(times_s, levels_db, phases_s, strict=True)
    ]
    return _sampled(rate_hz, 0.15 + crackle_s + 0.05, total([burst, *stars]))


def backfire(
    rate_hz: int, *, peak_db_spl: float = 138.0, pipe_hz: float = 85.0, generator: Generator | None = None
) -> Sound:
    """A car's backfire: a pressure pulse without a shock front, and the exhaust pipe ringing after it.

    Parameters
    ----------
    rate_hz : int
        Samples a second.
    peak_db_spl : float
        Highest absolute pressure at one metre from the tailpipe.
    pipe_hz : float
        Fundamental of the pipe, open at one end: a metre of hot pipe sounds at 80 to 120 Hz and odd multiples.
    generator : Generator or None
        Moves the pipe's modes and adds up to two weaker pops 60 to 200 ms later; None: one pop.

    Notes
    -----
    A model made to be plausible (rise of 0.5 ms, pulse of 4 ms), not fitted: no licensed recordings are known.
    """
    parts: list[Spectrum] = [soft_pulse(1.0, 0.0005, 0.004)]
    for k in range(1, 10, 2):
        shift = 1.0 if generator is None else 1.0 + 0.05 * float(generator.standard_normal())
        parts.append(ringing(0.5 / k, k * pipe_hz * shift, 0.035 / math.sqrt(k)))
    pop = total(parts)
    pops = [pop]
    if generator is not None:
        for k in range(int(generator.integers(0, 3))):
            delay_s = 0.06 + 0.1 * k + 0.04 * float(generator.random())
            pops.append(later(delay_s, scaled(float(generator.uniform(0.2, 0.6)), pop)))
    return _peaking(_sampled(rate_hz, 0.6, total(pops)), peak_db_spl)


def hammer(rate_hz: int, *, peak_db_spl: float = 118.0, generator: Generator | None = None) -> Sound:
    """A hammer on timber or a nail: a contact of half a millisecond that leaves some modes ringing.

    Parameters
    ----------
    rate_hz : int
        Samples a second.
    peak_db_spl : float
        Highest absolute pressure at one metre, 110 to 125 dB.
    generator : Generator or None
        Moves pitch, decay and strength of the modes from blow to blow; None: the middle of each.

    Notes
    -----
    Modes from 320 Hz to 4.1 kHz that decay by 60 dB in 30 to 200 ms, the higher the faster, as of a struck board.
    """
    return _struck(rate_hz, peak_db_spl, 0.0004, 0.8, (320.0, 560.0, 910.0, 1450.0, 2300.0, 4100.0), 0.2, generator)


def door(rate_hz: int, *, peak_db_spl: float = 108.0, generator: Generator | None = None) -> Sound:
    """A door that slams, or a heavy thing that falls: a contact of some milliseconds and a panel's low modes.

    Parameters are those of `hammer`; modes from 55 to 620 Hz, decays of 60 dB in 0.1 to 0.35 s.
    """
    return _struck(rate_hz, peak_db_spl, 0.003, 0.6, (55.0, 92.0, 140.0, 230.0, 370.0, 620.0), 0.35, generator)


def thunder(
    rate_hz: int,
    *,
    peak_db_spl: float = 165.0,
    duration_s: float = 6.0,
    channel_pulse_s: float = 0.012,
    generator: Generator,
) -> Sound:
    """Thunder from far away: hundreds of long N-waves, as the pieces of a crooked channel are heard one by one.

    Parameters
    ----------
    rate_hz : int
        Samples a second.
    peak_db_spl : float
        Highest absolute pressure, scaled to one metre as if it came from a point: 165 gives 95 dB at 3 km.
    duration_s : float
        From the first rumble to the last, above 2 s.
    channel_pulse_s : float
        Length of one piece's N-wave: 12 ms puts the maximum of the spectrum near 60 Hz (Few 1969).
    generator : Generator
        Draws the channel.

    Notes
    -----
    The picture of Ribner and Roy (1982): the sum of N-waves from short straight pieces. The rumble rises over a
    quarter of its length and holds three claps, 0.1 to 0.3 s long, where the channel lies across the line of sight.
    """
    count = int(60 * duration_s)
    rumble_s = duration_s * generator.beta(1.8, 3.0, count)
    claps = [
        float(generator.uniform(0.15, 0.6)) * duration_s + generator.uniform(0.04, 0.1) * generator.standard_normal(30)
        for _ in range(3)
    ]
    times_s = np.clip(np.concatenate([rumble_s, *claps]), 0.0, duration_s)
    lengths_s = channel_pulse_s * np.exp(0.35 * generator.standard_normal(len(times_s)))
    gains = np.exp(0.5 * generator.standard_normal(len(times_s)))
    pieces = [
        later(float(time), smeared(float(length) / 6.0, n_wave(float(gain), float(length))))
        for time, length, gain in zip(times_s, lengths_s, gains, strict=True)
    ]
    return _peaking(_sampled(rate_hz, duration_s + 0.3, total(pieces)), peak_db_spl)


def handling(rate_hz: int, *, peak_db_spl: float = 95.0, generator: Generator | None = None) -> Sound:
    """A knock on the microphone's own box: a low thud that no neighbour hears.

    ``peak_db_spl`` is that at the microphone itself: a bump travels through no air. Modes of a mast and a box, 18 to
    260 Hz, decays of 60 dB in 0.1 to 0.5 s.
    """
    return _struck(rate_hz, peak_db_spl, 0.006, 1.0, (18.0, 31.0, 74.0, 130.0, 260.0), 0.5, generator)


def _sampled(rate_hz: int, duration_s: float, spectrum: Spectrum) -> Sound:
    return Sound(sampled(rate_hz, duration_s, LEAD_S, spectrum), rate_hz)


def _struck(
    rate_hz: int,
    peak_db_spl: float,
    contact_s: float,
    ring: float,
    modes_hz: tuple[float, ...],
    longest_decay_s: float,
    generator: Generator | None,
) -> Sound:
    """A soft blow of ``contact_s`` and modes behind it, of ``ring`` times its height in all."""
    parts: list[Spectrum] = [soft_pulse(1.0, contact_s / 4.0, contact_s)]
    for frequency in modes_hz:
        draw = np.zeros(3) if generator is None else generator.standard_normal(3)
        decay_60_s = longest_decay_s * math.sqrt(modes_hz[0] / frequency) * math.exp(0.2 * draw[1])
        gain = ring / len(modes_hz) * math.exp(0.4 * draw[2])
        parts.append(ringing(gain, frequency * (1.0 + 0.06 * draw[0]), decay_60_s / math.log(1000.0)))
    return _peaking(_sampled(rate_hz, 2.0 * longest_decay_s, total(parts)), peak_db_spl)


def _peaking(sound: Sound, peak_db_spl: float) -> Sound:
    """The same sound with its highest absolute sample at ``peak_db_spl``."""
    gain = pascals(peak_db_spl) / float(np.abs(sound.pressure_pa).max())
    return Sound(gain * sound.pressure_pa, sound.rate_hz, sound.onset_s, sound.reference_m)

"""The street as the locator believes it: how often bangs happen, how far they carry, and how late sound arrives."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Street:
    """What is assumed of every place and hour until something better is known.

    Parameters
    ----------
    path_sigma_s : float
        What walls, ground and turbulence may add to a direct arrival while picks are being sorted. On the Pittsburgh
        live fire the residuals of surveyed shots have a root mean square of 7.7 ms, a few percent of them far larger.
    path_scales : tuple of (float, float)
        Prior of the same once the picks are chosen: sigmas, s, and the probability of each. The residuals of the bang
        speak for one or the other; with four sensors or five they say little, and this prior is what widens the region.
    path_scales_given : tuple of (float, float)
        The same where somebody has put the arrivals of a bang together, and left out those that came round corners.
        Chosen so that matched simulations hold 95 % and the live fire is no worse; the other one on the live fire.
    common_path : float
        Share of that sigma which sensors on one side have in common, since they hear through the same houses: it moves
        the place and does not average out over many sensors.
    late_scale_s, late_share : float
        Blocked paths: mean delay of arrivals that are not direct, and the share of them that is late rather than
        early. First arrivals round corners come 20 to 45 ms late.
    echo_scale_s, echo_early_s, echo_share : float
        Echoes and strays that stand in for an arrival: mean delay behind the direct sound, the same before it, and
        their share among arrivals that are not direct. Echoes come up to 300 ms late.
    rounding_s : float
        Within this of nought the densities of arrivals that are not direct are rounded.
    p_indirect : float
        Share of first arrivals that are not direct, whatever the pick says of itself.
    p_indirect_given : float
        The same where somebody has put the arrivals of a bang together, and left most of those out.
    near_share, half_range_m : float
        Probability that a listening sensor nearby reports a bang, and the distance at which it has fallen to half.
    bangs_per_s_m2 : float
        Impulsive sounds of any kind that are loud enough for several sensors: 3 an hour and square kilometre.
    repeats_per_s : float
        Rounds to be expected from a place that has just fired.
    farthest_m : float
        No bang is looked for farther than this from the first sensor that heard it.
    """

    path_sigma_s: float = 0.005
    path_scales: tuple[tuple[float, float], ...] = ((0.0, 0.1), (0.001, 0.2), (0.002, 0.25), (0.005, 0.3), (0.01, 0.15))
    late_scale_s: float = 0.03
    late_share: float = 0.9
    echo_scale_s: float = 0.15
    echo_early_s: float = 0.02
    echo_share: float = 0.6
    rounding_s: float = 0.002
    path_scales_given: tuple[tuple[float, float], ...] = ((0.0, 0.76), (0.0005, 0.16), (0.003, 0.02), (0.01, 0.06))
    common_path: float = 0.4
    p_indirect: float = 0.1
    p_indirect_given: float = 0.02
    near_share: float = 0.95
    half_range_m: float = 900.0
    bangs_per_s_m2: float = 3.0 / 3600.0 / 1e6
    repeats_per_s: float = 1.0
    farthest_m: float = 2500.0

    def lateness(self) -> NDArray[np.float64]:
        """What `localization.solver_kernels.late_parts` takes: four scales, the rounding, two densities at nought."""
        return _lateness(
            self.late_scale_s, self.late_share, self.echo_scale_s, self.echo_early_s, self.echo_share, self.rounding_s
        )


@functools.cache
def _lateness(
    late_scale_s: float,
    late_share: float,
    echo_scale_s: float,
    echo_early_s: float,
    echo_share: float,
    rounding_s: float,
) -> NDArray[np.float64]:
    early_scale_s = late_scale_s * (1.0 - late_share) / late_share
    # Rounded exponentials have no integral in closed form; this one is good to a millionth.
    r = np.linspace(-20.0 * echo_scale_s, 20.0 * echo_scale_s, 400_001)
    rounded = np.sqrt(r**2 + rounding_s**2)
    behind, before = 0.5 * (rounded + r), 0.5 * (rounded - r)
    near = float(np.trapezoid(np.exp(-behind / late_scale_s - before / early_scale_s), r))
    far = float(np.trapezoid(np.exp(-behind / echo_scale_s - before / echo_early_s), r))
    peaks = (1.0 - echo_share) / near, echo_share / far
    result = np.array([late_scale_s, early_scale_s, echo_scale_s, echo_early_s, rounding_s, *peaks])
    result.flags.writeable = False
    return result

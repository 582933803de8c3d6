"""Revision: what one arrival that comes late says of the places that were left in doubt."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from acoustic.instant import seconds_between
from localization.modes import weighed
from localization.solver_kernels import travel_time

if TYPE_CHECKING:
    from acoustic.detection import Detection
    from localization.fix import Fix, Mode
    from localization.frame import Frame
    from sensors.site import Site

FIT_S: Final = 0.01  # sigma of an arrival about a place that was solved without it
STRAY_PER_S: Final = 1.0  # density of arrivals that are nothing of the kind


def late_by(mode: Mode, fix: Fix, late: Detection, site: Site, frame: Frame) -> float:
    """How much later than a mode's sound the detection came to its site, s; negative where it came earlier."""
    (place,) = frame.local([site.position])
    air = fix.air
    travel_s = travel_time(
        place[0] - mode.place.east_m,
        place[1] - mode.place.north_m,
        place[2] - mode.place.up_m,
        air.sound_speed_m_per_s,
        air.wind_east_m_per_s,
        air.wind_north_m_per_s,
    )
    return float(seconds_between(mode.time_ns, late.pick.onset_ns) - travel_s)


def weighed_by(fix: Fix, late: Detection, site: Site, frame: Frame) -> Fix:
    """The fix with its modes weighed by how well each explains an arrival that it did not rest on."""
    modes = []
    for mode in fix.modes:
        off = late_by(mode, fix, late, site, frame) / FIT_S
        density = math.exp(-0.5 * off * off) / (FIT_S * math.sqrt(2.0 * math.pi)) + STRAY_PER_S
        modes.append(replace(mode, weight=min(1.0, mode.weight * density * FIT_S)))
    return replace(fix, modes=weighed(modes))

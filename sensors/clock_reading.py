"""A reading: what a time source says of the system clock; and dates that no clock in order shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from acoustic.block import LARGEST_SIGMA_S, STATES
from acoustic.instant import SECOND, instant_text, parse_instant

BUILT_NS: Final = parse_instant("2026-11-01T00:00:00Z")
"""No clock is right that shows less: a floor, to be raised with each release."""
ERA_NS: Final = 1024 * 7 * 86_400 * SECOND
"""GPS counts weeks modulo 1024 (IS-GPS-200, 20.3.3.3.1.1): a receiver that has lost count is off by whole eras."""
DRIFT_PPM: Final = 5.0  # of a clock that coasts on its last frequency: a crystal, and ten degrees between sun and cloud


@dataclass(frozen=True, slots=True)
class Reading:
    """What one source says of the system clock.

    Parameters
    ----------
    source : str
        Who says so.
    state : str
        One of `acoustic.block.STATES`.
    bound_s : float
        The system clock is off by this at most, as the source has it.
    offset_s : float
        What the source is about to add to the system clock, little by little: 0 when it is where it should be.
    drift_ppm : float
        How fast the bound grows while nobody is heard.
    leap : str
        ``insert`` or ``delete`` when the UTC day ends with a leap second; empty otherwise.
    doubt : str
        Why the source is not believed, in words; empty where it is.
    """

    source: str
    state: str
    bound_s: float
    offset_s: float = 0.0
    drift_ppm: float = DRIFT_PPM
    leap: str = ""
    doubt: str = ""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state is {self.state!r}: expected one of {', '.join(STATES)}")
        if not 0.0 <= self.bound_s <= LARGEST_SIGMA_S:
            raise ValueError(f"bound_s is {self.bound_s}: expected 0 to {LARGEST_SIGMA_S:g}")
        if not math.isfinite(self.offset_s) or not 0.0 <= self.drift_ppm <= 1e6:
            raise ValueError(f"offset_s is {self.offset_s}, drift_ppm {self.drift_ppm}: expected finite numbers")

    def doubted(self, doubt: str) -> Reading:
        """The same, not believed."""
        return replace(self, state="free", doubt=doubt)


def implausible(now_ns: int, floor_ns: int = BUILT_NS) -> str:
    """Why a clock cannot be right that shows this, in words; empty when it may be."""
    if now_ns >= floor_ns:
        return ""
    said = f"the clock shows {instant_text(now_ns, 0)}, before this program was built"
    eras = -((now_ns - floor_ns) // ERA_NS)
    if now_ns > floor_ns - 3 * ERA_NS and now_ns >= parse_instant("1980-01-06T00:00:00Z"):
        return f"{said}; GPS week roll-over? {eras} x 1024 weeks on it would be plausible"
    return said

"""Modes: the places that remain possible for one bang, weighed against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from localization.fix import Fix, Mode

LIGHTEST: Final = 0.02  # a mode of less weight is not told


def with_modes_of(fix: Fix, before: Fix) -> Fix:
    """A further round in doubt where the round before it was: the places that were left then are left now."""
    shift_ns = fix.time_ns - before.time_ns
    modes = list(fix.modes)
    for mode in before.modes[1:]:
        moved = replace(
            mode, time_ns=mode.time_ns + shift_ns, weight=mode.weight / before.best.weight * fix.best.weight
        )
        if all(apart(moved, other) for other in modes):
            modes.append(moved)
    return replace(fix, modes=weighed(modes))


def weighed(modes: Sequence[Mode]) -> tuple[Mode, ...]:
    """Modes with weights that sum to 1, heaviest first, those too light to matter left out."""
    total = math.fsum(mode.weight for mode in modes)
    heavy = [mode for mode in modes if mode.weight >= LIGHTEST * total]
    total = math.fsum(mode.weight for mode in heavy)
    return tuple(sorted((replace(m, weight=min(1.0, m.weight / total)) for m in heavy), key=lambda m: -m.weight))


def apart(one: Mode, other: Mode) -> bool:
    """Whether two modes are different places: not within the regions of each other, and 20 m at least."""
    east, north = one.place.east_m - other.place.east_m, one.place.north_m - other.place.north_m
    return math.hypot(east, north) > 20.0 and not (other.ellipse.holds(east, north) and one.ellipse.holds(east, north))

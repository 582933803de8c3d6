"""Faults of a node's clock that tests of the core and of whole cities have one liar show."""

from __future__ import annotations

from collections.abc import Callable


def clock_faults(fault_s: float) -> dict[str, Callable[[float], float]]:
    """What the liar's clock shows at true time t, s, by the name of what befell it at ``fault_s``."""
    return {
        "step 1 s": lambda t: t + (1.0 if t >= fault_s else 0.0),
        "step 1 h": lambda t: t + (3600.0 if t >= fault_s else 0.0),
        "drift 100 ppm": lambda t: t + 100e-6 * max(t - fault_s, 0.0),
        "backward 1 s": lambda t: t - (1.0 if t >= fault_s else 0.0),
        "backward 1 h": lambda t: t - (3600.0 if t >= fault_s else 0.0),
        "frozen": lambda t: min(t, fault_s),
    }

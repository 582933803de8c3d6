"""A pick: when one impulse arrived at one microphone, how loud, and how surely the time is that of its onset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from acoustic.instant import check_instant

LARGEST_LEVEL_DB: Final = 400.0  # either way; beyond it a number is no level


@dataclass(frozen=True, slots=True)
class Pick:
    """The onset of one impulse.

    Parameters
    ----------
    onset_ns : int
        Arrival of the first sound of the impulse, UTC.
    sigma_s : float
        One standard deviation of the onset given that it is no outlier: noise and band width of this pick alone,
        neither the device's clock nor what the path added. Above 0.
    p_outlier : float
        Probability that the time is not the onset of the direct sound at all (an echo, a neighbouring impulse).
    snr_db : float or None
        Peak of the impulse over the root mean square of the noise before it, in the detector's band; None when
        unknown.
    level_db_spl : float or None
        Peak sound pressure level re 20 uPa; None when the microphone's full scale is unknown.
    censored : bool
        The converter clipped: the true level is at least ``level_db_spl``.
    clock_sigma_s : float or None
        One standard deviation of the device's clock when it was taken, as the device knew it; None: as the network's
        table says.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range.
    """

    onset_ns: int
    sigma_s: float
    p_outlier: float = 0.0
    snr_db: float | None = None
    level_db_spl: float | None = None
    censored: bool = False
    clock_sigma_s: float | None = None

    def __post_init__(self) -> None:
        check_instant(self.onset_ns, "onset_ns")
        if not 0.0 < self.sigma_s < 3600.0:
            raise ValueError(f"sigma_s is {self.sigma_s}: expected above 0 and below 3600 s")
        if not 0.0 <= self.p_outlier <= 1.0:
            raise ValueError(f"p_outlier is {self.p_outlier}: expected 0 to 1")
        if self.clock_sigma_s is not None and not 0.0 <= self.clock_sigma_s <= 3600.0:
            raise ValueError(f"clock_sigma_s is {self.clock_sigma_s}: expected 0 to 3600 s, or nothing")
        for name in ("snr_db", "level_db_spl"):
            value = getattr(self, name)
            if value is not None and not abs(value) <= LARGEST_LEVEL_DB:  # NaN too
                raise ValueError(f"{name} is {value}: expected decibels, at most {LARGEST_LEVEL_DB:g}, or nothing")

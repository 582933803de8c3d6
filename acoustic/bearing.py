"""A bearing: from where one small array heard a pick."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bearing:
    """Direction of arrival at one array.

    Parameters
    ----------
    azimuth_deg : float
        Towards the source, clockwise from true north, 0 up to 360.
    sigma_deg : float
        One standard deviation, above 0 and up to 180.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    azimuth_deg: float
    sigma_deg: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.azimuth_deg < 360.0:
            raise ValueError(f"azimuth_deg is {self.azimuth_deg}: expected 0 up to 360")
        if not 0.0 < self.sigma_deg <= 180.0:
            raise ValueError(f"sigma_deg is {self.sigma_deg}: expected above 0, up to 180")

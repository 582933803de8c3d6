"""The United States National Grid: a place as a dispatcher reads it over the radio."""

from __future__ import annotations

import functools
from typing import Any, Final

BANDS: Final = "CDEFGHJKLMNPQRSTUVWX"  # 8 degrees each from 80 S; the last has 12
COLUMNS: Final = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")  # by zone, in turn
ROWS: Final = "ABCDEFGHJKLMNPQRSTUV"
SQUARE_M: Final = 100_000
SOUTH_OFFSET_M: Final = 10_000_000  # the equator's northing, seen from the south


def national_grid(latitude_deg: float, longitude_deg: float, digits: int = 4) -> str | None:
    """USNG of a place, as ``18T XM 9339 2639``; None beyond 80 S and 84 N, where the grid ends.

    FGDC-STD-011-2001: UTM truncated, never rounded, to ``digits`` for each axis (4 is 10 m, 5 is 1 m). On WGS84 the
    same as the Military Grid Reference System, with its wider zones at Norway and Svalbard.

    Parameters
    ----------
    latitude_deg, longitude_deg : float
        WGS84.
    digits : int
        1 to 5.

    Raises
    ------
    ValueError
        For another number of digits.
    """
    if not 1 <= digits <= 5:
        raise ValueError(f"digits is {digits}: expected 1 to 5")
    if not -80.0 <= latitude_deg <= 84.0:
        return None
    zone = _zone(latitude_deg, longitude_deg)
    east_m, north_m = _utm(zone, latitude_deg < 0.0)(longitude_deg, latitude_deg)
    # A hundredth of a millimetre up, so that a place exactly on a line is not thrown over it by rounding.
    east, north = int(east_m + 1e-5), int(north_m + 1e-5)
    if latitude_deg < 0.0:
        north = min(north, SOUTH_OFFSET_M - 1)  # the southern grid ends at the equator
    band = BANDS[min(int((latitude_deg + 80.0) // 8.0), len(BANDS) - 1)]
    column = COLUMNS[(zone - 1) % 3][east // SQUARE_M - 1]
    row = ROWS[(north // SQUARE_M + (0 if zone % 2 else 5)) % len(ROWS)]
    unit = 10 ** (5 - digits)
    return f"{zone:02d}{band} {column}{row} " + " ".join(
        f"{value % SQUARE_M // unit:0{digits}d}" for value in (east, north)
    )


def _zone(latitude_deg: float, longitude_deg: float) -> int:
    longitude_deg = (longitude_deg + 180.0) % 360.0 - 180.0
    zone = int((longitude_deg + 180.0) // 6.0) + 1
    if 56.0 <= latitude_deg < 64.0 and 3.0 <= longitude_deg < 12.0:
        return 32  # all of southern Norway
    if latitude_deg >= 72.0 and 0.0 <= longitude_deg < 42.0:  # Svalbard: four zones instead of seven
        return 31 + 2 * int((longitude_deg + 3.0) // 12.0)
    return zone


@functools.cache
def _utm(zone: int, south: bool) -> Any:
    import pyproj  # a fifth of a second that only a place on the Earth need pay

    return pyproj.Proj(proj="utm", zone=zone, ellps="WGS84", south=south)

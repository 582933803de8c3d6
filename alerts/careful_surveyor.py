"""A surveyor that never holds an alert up: where it cannot say what stands there, that is counted, and nothing told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerts.place import Surroundings

if TYPE_CHECKING:
    from alerts.place import Ring, Surveyor


class CarefulSurveyor:
    """Asks another surveyor.

    Parameters
    ----------
    surveyor : Surveyor
        Who knows what stands where, and may fail: its file is gone, or is another.
    """

    def __init__(self, surveyor: Surveyor) -> None:
        self._surveyor = surveyor
        self.failed = 0
        """How often it could not say."""

    def describe(self, latitude: float, longitude: float, polygon: Ring | None = None) -> Surroundings:
        """What stands at a place; nothing where it cannot be told."""
        try:
            return self._surveyor.describe(latitude, longitude, polygon)
        except Exception:  # noqa: BLE001  (whatever is wrong with an index of addresses: people must hear of the shot)
            self.failed += 1
            return Surroundings()

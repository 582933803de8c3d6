"""An association: detections of several sensors that are believed to be one bang."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from acoustic.detection import Detection


@dataclass(frozen=True, slots=True)
class Association:
    """Detections believed to be the direct arrivals of one bang, at most one a sensor.

    Parameters
    ----------
    detections : tuple of Detection
        Ordered by onset, then by sensor.
    silent : tuple of str
        Sensors that listened and were near enough, and heard nothing.
    score : float
        Natural logarithm of the odds that this is one bang rather than chance; 0 where it was given from outside.

    Raises
    ------
    ValueError
        When empty, or when one sensor hears the bang twice.
    """

    detections: tuple[Detection, ...]
    silent: tuple[str, ...] = ()
    score: float = 0.0

    def __post_init__(self) -> None:
        sensors = {detection.sensor_id for detection in self.detections}
        if not self.detections or len(sensors) < len(self.detections):
            raise ValueError("an association holds one detection or more, at most one of each sensor")
        ordered = tuple(sorted(self.detections, key=lambda d: (d.pick.onset_ns, d.sensor_id)))
        object.__setattr__(self, "detections", ordered)

    @property
    def shot_id(self) -> str:
        """Name of the bang: a hash of the first pulses that told of it, the same in every run."""
        first = "\n".join(detection.pulse_id for detection in self.detections[:3])
        return "s" + hashlib.sha256(first.encode()).hexdigest()[:16]

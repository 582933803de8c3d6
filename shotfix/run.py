"""A run: what came out of a scene."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from acoustic.detection import Detection
from acoustic.instant import instant_text
from alerts.alert import Alert
from alerts.geojson import collection, place_and_region
from localization.fix import Fix, Unfixed

if TYPE_CHECKING:
    from localization.fix import Mode
    from localization.study.scene import Scene


@dataclass(frozen=True, slots=True)
class Run:
    """Detections, shots and alerts of one scene.

    ``shots`` holds the last revision of each bang, ordered by time; ``incidents`` the incident of each, by its
    shot_id; ``alerts`` every revision of every alert, in the order of publication.
    """

    scene: Scene
    detections: tuple[Detection, ...]
    shots: tuple[Fix | Unfixed, ...]
    incidents: dict[str, str]
    alerts: tuple[Alert, ...]
    passed_over: dict[str, int]
    """What was not used, and why, by the counts of locator and desk."""
    audio_s: float = 0.0
    wall_s: float = 0.0
    inputs: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every file that was read, recordings too."""
    doubted: dict[str, str] = field(default_factory=dict)
    """Sensors that lost weight, and why: their clocks or places are not what the network's table says."""

    @classmethod
    def of(
        cls,
        scene: Scene,
        events: Iterable[Detection | Fix | Unfixed | Alert],
        passed_over: Callable[[], dict[str, int]],
        audio_s: float,
        doubted: Callable[[], dict[str, str]] = dict,
    ) -> Run:
        """Gather what happens; ``passed_over`` and ``doubted`` are asked when it has."""
        began = time.perf_counter()
        detections: list[Detection] = []
        shots: dict[str, Fix | Unfixed] = {}
        alerts: list[Alert] = []
        for event in events:
            if isinstance(event, Detection):
                detections.append(event)
            elif isinstance(event, Alert):
                alerts.append(event)
            else:
                shots[event.shot_id] = event
        detections.sort(key=lambda d: (d.pick.onset_ns, d.sensor_id))
        return cls(
            scene=scene,
            detections=tuple(detections),
            shots=tuple(sorted(shots.values(), key=lambda shot: (shot.time_ns, shot.shot_id))),
            incidents={shot.shot_id: alert.incident_id for alert in alerts for shot in alert.rounds},
            alerts=tuple(alerts),
            passed_over={name: count for name, count in passed_over().items() if count},
            audio_s=audio_s,
            wall_s=time.perf_counter() - began,
            inputs=_hashes(scene),
            doubted=doubted(),
        )

    @property
    def fixes(self) -> tuple[Fix, ...]:
        """The shots with a place."""
        return tuple(shot for shot in self.shots if isinstance(shot, Fix))

    def to_geojson(self) -> dict[str, Any]:
        """Point and region of each mode of each shot (RFC 7946); empty where no origin is known."""
        features = []
        for shot in self.fixes:
            for number, mode in enumerate(shot.modes, start=1):
                features += _features(shot, number, mode)
        return collection(features)


def _hashes(scene: Scene) -> dict[str, str]:
    hashes = dict(scene.hashes)
    for piece in scene.pieces:
        name = piece.name or piece.path.name
        if name not in hashes:
            with piece.path.open("rb") as stream:
                hashes[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return dict(sorted(hashes.items()))


def _features(shot: Fix, number: int, mode: Mode) -> list[dict[str, Any]]:
    centre = mode.geodetic
    if centre is None:
        return []
    about = {
        "shot_id": shot.shot_id,
        "mode": number,
        "weight": round(mode.weight, 6),
        "time_utc": instant_text(mode.time_ns, 6),
        "class": shot.sound,
        "p_gunshot": round(shot.p_gunshot, 6),
        "confidence": mode.ellipse.confidence,
        "semi_major_m": round(mode.ellipse.semi_major_m, 3),
        "semi_minor_m": round(mode.ellipse.semi_minor_m, 3),
        "azimuth_deg": round(mode.ellipse.azimuth_deg, 2),
    }
    point = {"type": "Point", "coordinates": [round(centre.longitude_deg, 7), round(centre.latitude_deg, 7)]}
    region = {"type": "Polygon", "coordinates": [mode.ellipse.outline(centre)]}
    return place_and_region(point, region, about)

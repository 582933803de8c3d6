"""Asking: why there was, or was no, alert at a place and time; from the folder of a run, in sentences and as JSON."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from acoustic.instant import SECOND, instant_text, parse_instant
from localization.study.scene_reading import read_scene
from localization.study.table import SceneError
from localization.study.testimony import Sound, Span
from localization.study.why import Account, Question, why
from sensors.recording import RecordingError, inspect
from sensors.site import Geodetic
from shotfix.reading import check_count, number, read_alerts, read_counts, read_rows, read_shots, read_summary
from shotfix.why_words import sentences

if TYPE_CHECKING:
    from localization.study.scene import Scene

DETECTIONS: Final = ("pulse_id", "sensor_id", "time_utc", "llr")
USES: Final = ("shot_id", "pulse_id", "time_utc", "weight")
"""What is read of detections.csv and pulses_used.csv."""
FARTHEST_M: Final = 200_000.0  # from the nearest sensor
AUDIBLE_NS: Final = 10 * SECOND  # from the farthest sensor that hears a shot, and its echoes


class PlaceError(ValueError):
    """The place that was asked for does not go with the scene; the message is one line and says what to do."""


def ask(
    run: Path,
    scene_path: Path,
    time_ns: int,
    *,
    metres: tuple[float, float] | None,
    degrees: tuple[float, float] | None,
    within_m: float,
    within_s: float,
) -> dict[str, Any]:
    """What became of a bang at a place and time, ready to be written as JSON.

    Parameters
    ----------
    run : Path
        What `replay` or `locate` left.
    scene_path : Path
        The scene that it ran on.
    time_ns : int
        When, UTC.
    metres, degrees : pairs of float
        East and north in the scene's plane, or latitude and longitude: one of the two.
    within_m, within_s : float
        How surely place and time are known.

    Raises
    ------
    SceneError
        When run or scene cannot be read, or do not belong together.
    PlaceError
        When the place is in degrees and the scene floats, or it lies in another part of the world.
    """
    summary = _summary(run)
    scene = read_scene(scene_path, audio=summary["audio_s"] > 0.0)
    _check_together(summary, scene, run)
    east_m, north_m = metres if metres is not None else _plane(scene, *(degrees or (0.0, 0.0)))
    _check_near(scene, east_m, north_m)
    try:
        question = Question(time_ns, east_m, north_m, within_m, within_s)
    except ValueError as error:
        raise PlaceError(str(error)) from None
    slack_ns = round(within_s * SECOND)
    sounds, alerts = _sounds(run, time_ns - slack_ns - SECOND, time_ns + slack_ns + AUDIBLE_NS), read_alerts(run)
    account = why(question, scene, read_shots(run), sounds, _spans(scene))
    return document(account, scene, alerts) | {"sentences": sentences(account, alerts)}


def document(account: Account, scene: Scene, alerts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The answer as plain values."""
    question = account.question
    return {
        "verdict": account.verdict,
        "asked": {
            "time_utc": instant_text(question.time_ns),
            **_place(scene, question.east_m, question.north_m),
            "within_m": question.within_m,
            "within_s": question.within_s,
        },
        "taken_for": {
            "time_utc": instant_text(account.time_ns),
            **_place(scene, *account.origin),
            "shot_id": account.shot.shot_id if account.shot else None,
            "alert": _told(alerts.get(account.shot.incident_id)) if account.shot else None,
        },
        "near": [
            {
                "shot_id": near.shot.shot_id,
                "distance_m": round(near.distance_m, 2),
                "later_s": round(near.later_s, 6),
                "class": near.shot.sound,
                "modes": len(near.shot.places),
                "semi_major_m": round(near.shot.places[0].ellipse.semi_major_m, 2),
                "incident_id": near.shot.incident_id,
                "alert": _told(alerts.get(near.shot.incident_id)),
            }
            for near in account.near
        ],
        "counts": {
            "sensors": len(account.witnesses),
            "expected": len(account.expected),
            "expected_and_listening": sum(witness.listening for witness in account.expected),
            "fitting": len(account.fitting),
        },
        "sensors": [
            {
                "sensor_id": witness.sensor_id,
                "distance_m": round(witness.distance_m, 1),
                "expected_utc": instant_text(witness.expected_ns, 6),
                "expected_level_db_spl": round(witness.level_db_spl, 1),
                "p_hears": round(witness.p_hears, 4),
                "listening": witness.listening,
                "pulse_id": witness.sound.pulse_id if witness.sound else None,
                "later_s": round(witness.later_s, 6) if witness.sound else None,
                "llr": witness.sound.llr if witness.sound else None,
                "became": witness.became,
                "shot_id": witness.of_shot or None,
            }
            for witness in account.witnesses
        ],
    }


def _told(alert: dict[str, Any] | None) -> dict[str, Any] | None:
    """Of an alert's last revision, what answers the question."""
    if alert is None:
        return None
    names = ("alert_id", "revision", "status", "outcome", "published_at")
    return {name: alert[name] for name in names} | {
        "p_gunshot": alert["what"]["p_gunshot"],
        "gate": alert["what"]["gate"],
    }


def _place(scene: Scene, east_m: float, north_m: float) -> dict[str, float | None]:
    try:
        geodetic = scene.frame.geodetic(east_m, north_m, scene.source_up_m)
    except ValueError:  # so far out that the plane has left the Earth
        geodetic = None
    return {
        "east_m": round(east_m, 3),
        "north_m": round(north_m, 3),
        "latitude_deg": round(geodetic.latitude_deg, 7) if geodetic else None,
        "longitude_deg": round(geodetic.longitude_deg, 7) if geodetic else None,
    }


def _plane(scene: Scene, latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
    origin = scene.frame.origin
    if origin is None:
        raise PlaceError("this scene floats: its frame has no origin on the Earth; give --east-m and --north-m")
    place = scene.frame.local([Geodetic(latitude_deg, longitude_deg, origin.height_m)])[0]
    # Below the horizon a place may be near in the plane: the other side of the Earth lies under one's feet.
    _check_away(float(np.linalg.norm(place)), "origin of the scene")
    east, north, _ = place
    return float(east), float(north)


def _check_near(scene: Scene, east_m: float, north_m: float) -> None:
    sensors = scene.frame.local([site.position for site in scene.network.sites])
    _check_away(float(np.min(np.hypot(sensors[:, 0] - east_m, sensors[:, 1] - north_m))), "nearest sensor")


def _check_away(away_m: float, what: str) -> None:
    """Refuse a place that nobody means: the plane is none so far away."""
    if not away_m <= FARTHEST_M:
        raise PlaceError(
            f"the place lies {away_m / 1e3:,.0f} km from the {what}: expected {FARTHEST_M / 1e3:g} km at most; are its "
            "coordinates those of this scene?"
        )


# the run


def _summary(run: Path) -> dict[str, Any]:
    summary = read_summary(run)
    try:
        return {"audio_s": number(summary["audio_s"]), "inputs": dict(summary["inputs_sha256"])}
    except (KeyError, ValueError, TypeError) as error:
        raise SceneError(f"{run / 'summary.json'}: not as a run writes it ({error}); run it again") from None


def _check_together(summary: dict[str, Any], scene: Scene, run: Path) -> None:
    """Refuse a run of other sensors: every distance would be wrong."""
    if summary["inputs"].get("sensors.csv") != scene.hashes.get("sensors.csv"):
        raise SceneError(f"{run}: was not made from this scene, or its sensors.csv has changed since; run it again")


def _sounds(run: Path, from_ns: int, to_ns: int) -> list[Sound]:
    """The run's pulses of a stretch of time, with the shots they were laid to."""
    uses: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for time_ns, pulse_id, shot_id, weight in read_rows(run / "pulses_used.csv", USES, _use):
        if from_ns <= time_ns < to_ns:
            uses[pulse_id].append((shot_id, weight))
    sounds, count = [], 0
    for sound in read_rows(run / "detections.csv", DETECTIONS, _sound):
        count += 1
        if from_ns <= sound.time_ns < to_ns:
            sounds.append(replace(sound, uses=tuple(uses.get(sound.pulse_id, ()))))
    check_count(run / "detections.csv", "rows", count, read_counts(run).get("detections"))
    return sounds


def _use(row: dict[str, str]) -> tuple[int, str, str, float]:
    return parse_instant(row["time_utc"]), row["pulse_id"], row["shot_id"], number(row["weight"])


def _sound(row: dict[str, str]) -> Sound:
    time_ns = parse_instant(row["time_utc"])
    return Sound(row["pulse_id"], row["sensor_id"], time_ns=time_ns, llr=number(row["llr"]), uses=())


def _spans(scene: Scene) -> dict[str, list[Span]]:
    """When each sensor listened: inside its recordings, or as sensors.csv says."""
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    if not scene.pieces:
        return {name: [(listening.from_ns, listening.to_ns)] for name, listening in scene.listening.items()}
    for piece in scene.pieces:
        try:
            info = inspect(piece.path)
        except RecordingError as error:
            raise SceneError(f"audio.csv row {piece.row}: {error}") from None
        spans[piece.sensor_id].append((piece.start_ns, piece.start_ns + info.frames * SECOND // info.rate_hz))
    return dict(spans)

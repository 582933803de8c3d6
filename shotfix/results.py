"""Results: what a run leaves in its folder; complete, or not there at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acoustic.instant import instant_text
from alerts.alert import encode
from localization.fix import Fix, Unfixed
from localization.study.folder import write_table
from shotfix.versions import versions

if TYPE_CHECKING:
    from acoustic.detection import Detection
    from localization.fix import Mode
    from shotfix.run import Run

FILES: Final = (
    "summary.json",
    "detections.csv",
    "shots.csv",
    "modes.csv",
    "shots.geojson",
    "pulses_used.csv",
    "alerts.jsonl",
    "map.png",
    "received.jsonl",
    "record.db",
    "record.db-wal",
    "record.db-shm",
    "secret",
)
"""Everything a run, or the demo, may leave; without the first one a folder holds no run."""

DETECTIONS: Final = (
    "pulse_id", "sensor_id", "time_utc", "time_sigma_s", "p_outlier", "snr_db", "level_db_spl",
    "llr", "p_gunshot", "class",
)  # fmt: skip
BEARINGS: Final = ("azimuth_deg", "azimuth_sigma_deg")
PLACE: Final = (
    "time_utc", "time_sigma_s", "latitude_deg", "longitude_deg", "east_m", "north_m", "up_m",
    "semi_major_m", "semi_minor_m", "azimuth_deg", "confidence", "cov_ee_m2", "cov_en_m2", "cov_nn_m2",
)  # fmt: skip
SHOTS: Final = (
    "shot_id", "incident_id", "status", "reason", *PLACE,
    "p_gunshot", "llr", "class", "n_sensors", "rms_residual_s", "modes", "height_decides",
)  # fmt: skip
MODES: Final = ("shot_id", "mode", "weight", *PLACE)
PULSES_USED: Final = ("shot_id", "pulse_id", "sensor_id", "time_utc", "residual_s", "weight")


class OutputError(OSError):
    """A folder that cannot be written to as asked; the message is one line and says what to do."""


class UnavailableError(Exception):
    """Something outside the program did not answer; the message is one line and says what."""


def check_free(folder: Path, *, force: bool, files: Sequence[str] = FILES, folders: Sequence[str] = ()) -> None:
    """Refuse a folder that holds something, unless that may be overwritten.

    ``files`` and, among them, ``folders`` are what an earlier result may have left; without the first it is none.

    Raises
    ------
    OutputError
        When it is a file, when it is not empty and ``force`` is false, or when what it holds is no run: that is for
        its owner to remove.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder")
    held = list(folder.iterdir()) if folder.is_dir() else []
    if held and not force:
        raise OutputError(f"{folder}: not empty; name another folder, or add --force to overwrite a run in it")
    foreign = [path for path in held if path.name in files and path.is_dir() != (path.name in folders)]
    if not (folder / files[0]).is_file():
        foreign += [path for path in held if path.name not in files]
    if foreign:
        raise OutputError(f"{folder}: holds {foreign[0].name}, which nothing of ours left there; name another folder")


def write_run(run: Run, folder: Path) -> None:
    """Write everything but the picture into an existing folder."""
    write_table(folder / "detections.csv", *_detections(run.detections))
    write_table(folder / "shots.csv", SHOTS, (_shot(shot, run.incidents) for shot in run.shots))
    write_table(
        folder / "modes.csv", MODES, (_mode(fix, n, mode) for fix in run.fixes for n, mode in enumerate(fix.modes, 1))
    )
    write_table(folder / "pulses_used.csv", PULSES_USED, (row for shot in run.shots for row in _pulses_used(shot)))
    (folder / "shots.geojson").write_text(json.dumps(run.to_geojson(), separators=(",", ":")) + "\n", encoding="utf-8")
    (folder / "alerts.jsonl").write_bytes(b"".join(encode(alert) + b"\n" for alert in run.alerts))
    (folder / "summary.json").write_text(json.dumps(summary(run), indent=2) + "\n", encoding="utf-8")


def summary(run: Run) -> dict[str, Any]:
    """Counts, times, versions and hashes of a run."""
    last = {alert.alert_id: alert for alert in run.alerts}
    return {
        "scene": run.scene.name,
        "counts": {
            "sensors": len(run.scene.network.sites),
            "detections": len(run.detections),
            "shots": len(run.shots),
            "fixes": len(run.fixes),
            "ambiguous": sum(len(fix.modes) > 1 for fix in run.fixes),
            "unfixed": dict(Counter(shot.reason for shot in run.shots if isinstance(shot, Unfixed))),
            "incidents": len(last),
            "alerts": dict(Counter(alert.outcome for alert in last.values())),
            "revisions": len(run.alerts),
            "passed_over": dict(sorted(run.passed_over.items())),
        },
        "wall_s": round(run.wall_s, 3),
        "audio_s": round(run.audio_s, 3),
        "sensors_doubted": run.doubted,
        "warnings": list(run.scene.warnings),
        "versions": versions(),
        "inputs_sha256": run.inputs,
    }


def _detections(detections: Sequence[Detection]) -> tuple[Sequence[str], Iterator[list[str]]]:
    bearings = any(detection.bearing for detection in detections)
    return (*DETECTIONS, *BEARINGS) if bearings else DETECTIONS, (_detection(d, bearings) for d in detections)


def _detection(d: Detection, bearings: bool) -> list[str]:
    pick = d.pick
    row = [
        d.pulse_id, d.sensor_id, instant_text(pick.onset_ns), _seconds(pick.sigma_s), f"{pick.p_outlier:.4f}",
        _decimals(pick.snr_db, 2), _decimals(pick.level_db_spl, 2), f"{d.llr:.4f}", f"{d.p_gunshot:.6f}", d.sound,
    ]  # fmt: skip
    if bearings:
        row += [f"{d.bearing.azimuth_deg:.3f}", f"{d.bearing.sigma_deg:.3f}"] if d.bearing else ["", ""]
    return row


def _shot(shot: Fix | Unfixed, incidents: dict[str, str]) -> list[str]:
    row = [shot.shot_id, incidents.get(shot.shot_id, "")]
    if isinstance(shot, Fix):
        row += ["fix", "", *_place(shot.best)]
    else:
        row += ["unfixed", shot.reason, instant_text(shot.time_ns), *[""] * (len(PLACE) - 1)]
    row += [f"{shot.p_gunshot:.6f}", f"{shot.llr:.4f}", shot.sound, str(shot.n_sensors)]
    if isinstance(shot, Fix):
        return [*row, f"{shot.rms_residual_s:.9f}", str(len(shot.modes)), str(int(shot.height_decides))]
    return [*row, "", "0", ""]


def _mode(fix: Fix, number: int, mode: Mode) -> list[str]:
    return [fix.shot_id, str(number), f"{mode.weight:.6f}", *_place(mode)]


def _place(mode: Mode) -> list[str]:
    geodetic, ellipse, covariance = mode.geodetic, mode.ellipse, mode.covariance
    return [
        instant_text(mode.time_ns), f"{mode.time_sigma_s:.9f}",
        f"{geodetic.latitude_deg:.9f}" if geodetic else "", f"{geodetic.longitude_deg:.9f}" if geodetic else "",
        f"{mode.place.east_m:.6f}", f"{mode.place.north_m:.6f}", f"{mode.place.up_m:.6f}",
        f"{ellipse.semi_major_m:.4f}", f"{ellipse.semi_minor_m:.4f}", f"{ellipse.azimuth_deg:.3f}",
        f"{ellipse.confidence:g}",
        f"{covariance.ee_m2:.9g}", f"{covariance.en_m2:.9g}", f"{covariance.nn_m2:.9g}",
    ]  # fmt: skip


def _pulses_used(shot: Fix | Unfixed) -> Iterator[list[str]]:
    for arrival in shot.arrivals:
        d = arrival.detection
        residual = f"{arrival.residual_s:.9f}" if isinstance(shot, Fix) else ""
        yield [shot.shot_id, d.pulse_id, d.sensor_id, instant_text(d.pick.onset_ns), residual, f"{arrival.weight:.6f}"]


def _seconds(sigma_s: float) -> str:
    """A sigma, which is above nought also where nine decimals would not show it."""
    return f"{sigma_s:.9f}" if sigma_s >= 1e-6 else f"{sigma_s:.4g}"


def _decimals(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"

"""Reading back what a run left: the shots for the scorer."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from acoustic.instant import parse_instant
from localization.ellipse import Ellipse
from localization.study.score import Place, Shot
from localization.study.table import SceneError


def read_shots(folder: Path) -> list[Shot]:
    """The shots of a run, every mode of each, with what became of their incident.

    Raises
    ------
    SceneError
        When the folder holds no run, or one that was changed by hand.
    """
    try:
        modes: dict[str, list[Place]] = {}
        for row in _rows(folder / "modes.csv"):
            modes.setdefault(row["shot_id"], []).append(_place(row))
        outcomes = {}
        with (folder / "alerts.jsonl").open(encoding="utf-8") as stream:
            for line in stream:
                alert = json.loads(line)
                outcomes[alert["incident_id"]] = alert["outcome"] if alert["status"] != "cancelled" else "cancelled"
        return [
            Shot(
                shot_id=row["shot_id"],
                time_ns=parse_instant(row["time_utc"]),
                sound=row["class"],
                places=tuple(modes.get(row["shot_id"], ())),
                incident_id=row["incident_id"],
                outcome=outcomes.get(row["incident_id"], ""),
            )
            for row in _rows(folder / "shots.csv")
        ]
    except FileNotFoundError as error:
        raise SceneError(f"{error.filename}: absent; is this the --out folder of a replay or locate?") from None
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise SceneError(f"{folder}: not as a run writes it ({error}); run it again") from None


def read_times(folder: Path) -> tuple[float, float]:
    """How long a run took and how much audio it heard, s.

    Raises
    ------
    SceneError
        As `read_shots`.
    """
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        return float(summary["wall_s"]), float(summary["audio_s"])
    except FileNotFoundError:
        raise SceneError(f"{path}: absent; is this the --out folder of a replay or locate?") from None
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise SceneError(f"{path}: not as a run writes it ({error}); run it again") from None


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _place(row: dict[str, str]) -> Place:
    ellipse = Ellipse(
        float(row["semi_major_m"]),
        float(row["semi_minor_m"]),
        float(row["azimuth_deg"]) % 180.0,
        float(row["confidence"]),
    )
    covariance = float(row["cov_ee_m2"]), float(row["cov_en_m2"]), float(row["cov_nn_m2"])
    return Place(float(row["east_m"]), float(row["north_m"]), ellipse, covariance, float(row["weight"]))

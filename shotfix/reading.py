"""Reading back what a run left: whole, or refused with the file and the row that is not."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from acoustic.instant import parse_instant
from localization.ellipse import Ellipse
from localization.study.score import Place, Shot
from localization.study.table import SceneError

T = TypeVar("T")

SHOT_COLUMNS: Final = ("shot_id", "incident_id", "status", "time_utc", "class")
MODE_COLUMNS: Final = (
    "shot_id", "weight", "east_m", "north_m", "semi_major_m", "semi_minor_m", "azimuth_deg", "confidence",
    "cov_ee_m2", "cov_en_m2", "cov_nn_m2",
)  # fmt: skip
"""What is read of shots.csv and modes.csv."""


def read_shots(folder: Path) -> list[Shot]:
    """The shots of a run, every mode of each, with what became of their incident.

    Raises
    ------
    SceneError
        When the folder holds no run, or one that was torn or changed by hand.
    """
    counts = read_counts(folder)
    modes: dict[str, list[Place]] = {}
    for shot_id, place in read_rows(folder / "modes.csv", MODE_COLUMNS, lambda row: (row["shot_id"], _place(row))):
        modes.setdefault(shot_id, []).append(place)
    check_count(folder / "modes.csv", "shots", len(modes), counts.get("fixes"))
    alerts = read_alerts(folder)
    outcomes = {
        name: alert["outcome"] if alert["status"] != "cancelled" else "cancelled" for name, alert in alerts.items()
    }

    def shot(row: dict[str, str]) -> Shot:
        if (row["status"] == "fix") != (row["shot_id"] in modes):
            raise ValueError(f"status is {row['status']!r}, and modes.csv says otherwise of {row['shot_id']!r}")
        return Shot(
            shot_id=row["shot_id"],
            time_ns=parse_instant(row["time_utc"]),
            sound=row["class"],
            places=tuple(modes.get(row["shot_id"], ())),
            incident_id=row["incident_id"],
            outcome=outcomes.get(row["incident_id"], ""),
        )

    shots = list(read_rows(folder / "shots.csv", SHOT_COLUMNS, shot))
    check_count(folder / "shots.csv", "rows", len(shots), counts.get("shots"))
    return shots


def read_times(folder: Path) -> tuple[float, float]:
    """How long a run took and how much audio it heard, s.

    Raises
    ------
    SceneError
        As `read_shots`.
    """
    summary = read_summary(folder)
    try:
        return number(summary["wall_s"]), number(summary["audio_s"])
    except (KeyError, ValueError, TypeError) as error:
        raise _not_ours(folder / "summary.json", error) from None


def read_counts(folder: Path) -> dict[str, Any]:
    """How much of everything the run's summary says there is; empty where it does not.

    Raises
    ------
    SceneError
        As `read_shots`.
    """
    counts = read_summary(folder).get("counts", {})
    return counts if isinstance(counts, dict) else {}


def read_summary(folder: Path) -> dict[str, Any]:
    """The run's summary.json.

    Raises
    ------
    SceneError
        As `read_shots`.
    """
    path = folder / "summary.json"
    try:
        _check_regular(path)
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _absent(path) from None
    except (ValueError, RecursionError) as error:
        raise _not_ours(path, error) from None
    if not isinstance(summary, dict):
        raise SceneError(f"{path}: not as a run writes it; run it again")
    return summary


def read_alerts(folder: Path) -> dict[str, dict[str, Any]]:
    """The last revision of each alert, by incident.

    Raises
    ------
    SceneError
        As `read_shots`.
    """
    path, row = folder / "alerts.jsonl", 0
    last: dict[str, dict[str, Any]] = {}
    try:
        _check_regular(path)
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                row += 1
                alert = json.loads(line)
                last[str(alert["incident_id"])] = {"outcome": alert["outcome"], "status": alert["status"], **alert}
    except FileNotFoundError:
        raise _absent(path) from None
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise SceneError(f"{path} row {row}: not as a run writes it ({error}); run it again") from None
    check_count(path, "rows", row, read_counts(folder).get("revisions"))
    return last


def read_rows(path: Path, columns: Sequence[str], take: Callable[[dict[str, str]], T]) -> Iterator[T]:
    """What ``take`` makes of each row of a table that a run wrote.

    Parameters
    ----------
    path : Path
        The table.
    columns : sequence of str
        Those that ``take`` needs.
    take : callable
        From the cells by column; its ValueError becomes a complaint about the row.

    Raises
    ------
    SceneError
        When the table is absent, is none, lacks a column, or ends in the middle of a row; with file and row.
    """
    row = 1
    try:
        _check_regular(path)
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            _check_header(header, columns)
            for cells in reader:
                row += 1
                _check_cells(header, cells)
                yield take(dict(zip(header, cells, strict=True)))
        _check_whole(path, row)
    except FileNotFoundError:
        raise _absent(path) from None
    except SceneError:
        raise
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise SceneError(f"{path} row {row}: not as a run writes it ({error}); run it again") from None


def check_count(path: Path, what: str, found: int, said: object) -> None:
    """Refuse a file that holds more or less than the run's summary says; one that says nothing is not asked.

    Raises
    ------
    SceneError
        When they differ.
    """
    if isinstance(said, int) and not isinstance(said, bool) and found != said:
        raise SceneError(
            f"{path}: {found} {what}, where summary.json counts {said}; was the run copied in part? copy it again, or "
            "run it again"
        )


def number(value: Any) -> float:
    """The finite number that a cell holds.

    Raises
    ------
    ValueError
        When it holds none.
    """
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"{value!r} where a finite number belongs")
    return result


def _check_header(header: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"no column {missing[0]}")


def _check_cells(header: Sequence[str], cells: Sequence[str]) -> None:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells under {len(header)} columns")


def _check_regular(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise SceneError(f"{path}: not a file")


def _check_whole(path: Path, row: int) -> None:
    """Every table of a run ends with a line feed: without it, its last cell may be half of one."""
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b"\n":
            raise SceneError(f"{path} row {row}: ends in the middle; copy the run again, or run it again")


def _absent(path: Path) -> SceneError:
    return SceneError(f"{path}: absent; is this the --out folder of a replay or locate?")


def _not_ours(path: Path, error: Exception) -> SceneError:
    return SceneError(f"{path}: not as a run writes it ({error}); run it again")


def _place(row: dict[str, str]) -> Place:
    ellipse = Ellipse(
        number(row["semi_major_m"]),
        number(row["semi_minor_m"]),
        number(row["azimuth_deg"]) % 180.0,
        number(row["confidence"]),
    )
    covariance = number(row["cov_ee_m2"]), number(row["cov_en_m2"]), number(row["cov_nn_m2"])
    return Place(number(row["east_m"]), number(row["north_m"]), ellipse, covariance, number(row["weight"]))

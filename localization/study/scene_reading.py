"""From a scene folder to a `Scene`: every mistake becomes one line that names the file and the row or key."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from acoustic.bearing import Bearing
from acoustic.detection import CLASSES, Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import SECOND, check_instant
from acoustic.pick import Pick
from localization.study.scene import Piece, Pulse, Scene, Truth
from localization.study.setting_reading import LOCAL_COLUMNS, WGS84_COLUMNS, SettingReader, channel_of, place_of
from localization.study.table import Row, SceneError
from sensors.site import Geodetic

if TYPE_CHECKING:
    from sensors.site import Network

WHOLE_SECONDS_S: Final = 0.25  # sigma from which a time may be a whole second: that of a second rounded away


def read_scene(folder: Path | str, *, audio: bool | None = None) -> Scene:
    """Read a scene folder.

    Parameters
    ----------
    folder : Path
        The folder; `scene.toml` and `sensors.csv` must be in it.
    audio : bool or None
        True: `audio.csv` is wanted; False: `pulses.csv` is; None: whichever is there.

    Raises
    ------
    SceneError
        When anything in the folder is wrong; the message is one line.
    """
    try:
        return _Reader(Path(folder)).scene(audio)
    except OSError as error:
        raise SceneError(f"{error.filename or folder}: cannot be read ({error.strerror})") from None


class _Reader(SettingReader):
    """Reads a folder with what happened there."""

    def scene(self, audio: bool | None) -> Scene:
        scene = self.setting()
        if audio is None:
            audio = self.has("audio.csv")
        start_ns, network = scene.start_ns, scene.network
        return replace(
            scene,
            pieces=self._pieces(start_ns, network) if audio else (),
            pulses=() if audio else self._pulses(start_ns, network),
            truth=self._truth(isinstance(network.sites[0].position, Geodetic), start_ns),
            warnings=tuple(self.warnings),
            hashes=dict(sorted(self.hashes.items())),
        )

    # audio.csv

    def _pieces(self, start_ns: int, network: Network) -> tuple[Piece, ...]:
        known = {site.sensor_id for site in network.sites}
        pieces = []
        for row in self.table("audio.csv", ("sensor_id", "path"), ("start_utc", "start_s", "channel")):
            begins_ns = row.instant("start", start_ns)
            if begins_ns is None:
                raise row.error("start_utc and start_s are both empty: say when the first sample was taken")
            row.checked(check_instant, begins_ns, "the recording's start")
            channel = channel_of(row) if row.cells.get("channel") else 0
            sensor_id = _known_sensor(row, known)
            name = row.text("path")
            pieces.append(Piece(sensor_id, self._inside(row, name), channel, begins_ns, row.number, name))
        if not pieces:
            raise SceneError("audio.csv: no recording in it; list each file with its sensor and start")
        return tuple(sorted(pieces, key=lambda piece: (piece.sensor_id, piece.start_ns)))

    def _inside(self, row: Row, text: str) -> Path:
        if "\0" in text or Path(text).is_absolute() or re.match(r"[A-Za-z]:|\\", text):
            raise row.error(f"path is {text!r}: expected a path relative to the scene's folder")
        try:
            path = (self.folder / text).resolve()
        except RuntimeError:  # links that lead in a circle, before Python 3.13
            raise row.error(f"{text}: no such file") from None
        if not path.is_relative_to(self.folder):
            raise row.error(f"path {text!r} leaves the scene's folder: put the file inside it")
        if not path.is_file():
            raise row.error(f"{text}: no such file")
        return path

    # pulses.csv

    def _pulses(self, start_ns: int, network: Network) -> tuple[Pulse, ...]:
        optional = (
            "time_utc", "time_s", "pulse_id", "time_sigma_s", "p_outlier", "snr_db", "level_db_spl", "llr", "p_gunshot",
            "class", "azimuth_deg", "azimuth_sigma_deg", "shot_id",
        )  # fmt: skip
        known = {site.sensor_id for site in network.sites}
        pulses: list[Pulse] = []
        seen: dict[str, int] = {}
        for row in self.table("pulses.csv", ("sensor_id",), optional):
            pulse = row.checked(_pulse, row, start_ns, known)
            if seen.setdefault(pulse.detection.pulse_id, row.number) != row.number:
                raise row.error(f"pulse {pulse.detection.pulse_id} stands in row {seen[pulse.detection.pulse_id]} too")
            pulses.append(pulse)
        picks = [pulse.detection.pick for pulse in pulses]
        if len(picks) >= 3 and all(pick.onset_ns % SECOND == 0 and pick.sigma_s < WHOLE_SECONDS_S for pick in picks):
            raise SceneError(
                "pulses.csv: every time is a whole second: sound goes 340 m in one, so write the fractions, or a "
                f"time_sigma_s of {WHOLE_SECONDS_S:g} or more"
            )
        return tuple(sorted(pulses, key=lambda pulse: (pulse.detection.pick.onset_ns, pulse.detection.sensor_id)))

    # truth.csv

    def _truth(self, wgs84: bool, start_ns: int) -> tuple[Truth, ...]:
        if not self.has("truth.csv"):
            return ()
        place = WGS84_COLUMNS[:2] if wgs84 else LOCAL_COLUMNS[:2]
        known = ("class", "time_s", "time_utc", "sigma_m", "pulse_ids", WGS84_COLUMNS[2], LOCAL_COLUMNS[2])
        truth: dict[str, Truth] = {}
        for row in self.table("truth.csv", ("shot_id", *place), known):
            shot = row.checked(_shot, row, wgs84, start_ns)
            if shot.shot_id in truth:
                raise row.error(f"shot {shot.shot_id} stands twice")
            truth[shot.shot_id] = shot
        return tuple(truth.values())


def _known_sensor(row: Row, known: set[str]) -> str:
    sensor_id = row.text("sensor_id")
    if sensor_id not in known:
        raise row.error(f"sensor {sensor_id!r} is not in sensors.csv")
    return sensor_id


def _pulse(row: Row, start_ns: int, known: set[str]) -> Pulse:
    onset_ns = row.instant("time", start_ns)
    if onset_ns is None:
        raise row.error("time_utc and time_s are both empty: say when the pulse arrived")
    sensor_id = _known_sensor(row, known)
    llr = row.real_or("llr", 0.0)
    sound = row.text("class", "") or None
    if sound is not None and sound not in CLASSES:
        raise row.error(f"class is {sound!r}: expected one of {', '.join(CLASSES)}")
    bearing = None
    if row.cells.get("azimuth_deg"):
        bearing = Bearing(row.real("azimuth_deg") % 360.0, row.real_or("azimuth_sigma_deg", 5.0))
    detection = Detection(
        pulse_id=row.text("pulse_id", "") or pulse_identity(sensor_id, onset_ns),
        sensor_id=sensor_id,
        pick=Pick(
            onset_ns=onset_ns,
            sigma_s=row.real_or("time_sigma_s", 0.001),
            p_outlier=row.real_or("p_outlier", 0.0),
            snr_db=row.number_or("snr_db", None),
            level_db_spl=row.number_or("level_db_spl", None),
        ),
        llr=llr,
        probabilities=_probabilities(llr, sound),
        bearing=bearing,
    )
    return Pulse(detection, row.text("shot_id", "") or None)


def _probabilities(llr: float, sound: str | None) -> tuple[float, ...]:
    """What the table says of the class: its llr for the gunshot, its class for how the rest is shared out."""
    if sound is None or sound == CLASSES[0]:
        return probabilities_from_llr(llr)
    return probabilities_from_llr(llr, [9.0 if name == sound else 1.0 for name in CLASSES[1:]])


def _shot(row: Row, wgs84: bool, start_ns: int) -> Truth:
    sound = row.text("class", CLASSES[0])
    if sound not in CLASSES:
        raise row.error(f"class is {sound!r}: expected one of {', '.join(CLASSES)}")
    sigma_m = row.real_or("sigma_m", 0.0)
    if not 0.0 <= sigma_m <= 1e4:
        raise row.error(f"sigma_m is {sigma_m}: expected 0 or more metres")
    return Truth(
        shot_id=row.text("shot_id"),
        sound=sound,
        time_ns=row.instant("time", start_ns),
        place=place_of(row, wgs84, flat=True),
        sigma_m=sigma_m,
        pulse_ids=tuple(row.text("pulse_ids", "").split()) if row.cells.get("pulse_ids") else (),
    )

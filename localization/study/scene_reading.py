"""From a scene folder to a `Scene`: every mistake becomes one line that names the file and the row or key."""

from __future__ import annotations

import hashlib
import math
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from acoustic.air import Air
from acoustic.bearing import Bearing
from acoustic.detection import CLASSES, Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import SECOND, check_instant, parse_instant
from acoustic.pick import Pick
from localization.frame import Frame
from localization.study.scene import (
    HILLINESS,
    LEAST_SOURCE_SIGMA_M,
    SOURCE_BELOW_SENSORS_M,
    Listening,
    Piece,
    Pulse,
    Scene,
    Truth,
)
from localization.study.table import Row, SceneError, rows
from sensors.site import Element, Geodetic, Local, Network, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WGS84_COLUMNS: Final = ("latitude_deg", "longitude_deg", "height_m")
LOCAL_COLUMNS: Final = ("east_m", "north_m", "up_m")
LARGEST_NUMBER: Final = 1e300
WHOLE_SECONDS_S: Final = 0.25  # sigma from which a time may be a whole second: that of a second rounded away
SMALLEST_SPREAD_M: Final = 2.0  # sensors closer together than this were probably given in degrees

_SCENE_KEYS: Final = {
    "": {"name", "description", "licence", "frame", "start_utc", "air", "origin", "source"},
    "air": {
        "temperature_c", "temperature_sigma_c", "relative_humidity_percent", "pressure_pa",
        "wind_speed_m_per_s", "wind_from_deg", "wind_sigma_m_per_s",
    },
    "origin": {"latitude_deg", "longitude_deg", "height_m"},
    "source": {"up_m", "height_m", "sigma_m"},
}  # fmt: skip


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


class _Reader:
    """Reads one folder, remembering warnings and what it read."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SceneError(f"{folder}: no such folder; a scene is a folder with scene.toml and sensors.csv")
        self.folder = folder.resolve()
        self.warnings: list[str] = []
        self.hashes: dict[str, str] = {}

    def scene(self, audio: bool | None) -> Scene:
        if not (self.folder / "scene.toml").is_file():
            raise SceneError(f"{self.folder.name}/scene.toml: absent; a scene folder needs it")
        table = self._toml()
        wgs84 = self._choice(table, "frame", ("wgs84", "local")) == "wgs84"
        start_ns = self._start(table)
        air = self._air(table.get("air", {}))
        origin = self._origin(table.get("origin"))
        if wgs84 and origin is not None:
            self.warnings.append("scene.toml: [origin] is ignored in frame wgs84; the origin is the sensors' mean")
        sites, listening = self._sites(wgs84, start_ns)
        network = self._network(sites)
        frame = Frame.of(network, origin)
        up_m, sigma_m = self._source(table.get("source", {}), frame, network)
        if audio is None:
            audio = self._has("audio.csv")
        return Scene(
            name=_shown(str(table.get("name", self.folder.name))),
            description=str(table.get("description", "")),
            licence=str(table.get("licence", "")),
            start_ns=start_ns,
            air=air,
            frame=frame,
            network=network,
            source_up_m=up_m,
            source_sigma_m=sigma_m,
            pieces=self._pieces(start_ns, network) if audio else (),
            pulses=() if audio else self._pulses(start_ns, network),
            listening=listening,
            truth=self._truth(wgs84, start_ns),
            warnings=tuple(self.warnings),
            hashes=dict(sorted(self.hashes.items())),
        )

    # scene.toml

    def _toml(self) -> dict[str, Any]:
        content = (self.folder / "scene.toml").read_bytes()
        self.hashes["scene.toml"] = hashlib.sha256(content).hexdigest()
        try:
            table = tomllib.loads(content.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SceneError(f"scene.toml: not TOML ({error})") from None
        except RecursionError:
            raise SceneError("scene.toml: not TOML (nested too deeply)") from None
        for section, known in _SCENE_KEYS.items():
            inner = table.get(section, {}) if section else table
            if not isinstance(inner, dict):
                raise SceneError(f"scene.toml: {section} must be a table, as [{section}]")
            unknown = sorted(set(inner) - known)
            if unknown:
                prefix = f"{section}." if section else ""
                self.warnings.append(f"scene.toml: ignored unknown key {', '.join(prefix + key for key in unknown)}")
        return table

    @staticmethod
    def _choice(table: dict[str, Any], key: str, choices: Sequence[str]) -> str:
        value = table.get(key)
        if value not in choices:
            found = "absent" if value is None else f"{value!r}"
            raise SceneError(f"scene.toml {key}: {found}; expected one of {', '.join(choices)}")
        return str(value)

    @staticmethod
    def _start(table: dict[str, Any]) -> int:
        value = table.get("start_utc")
        if value is None:
            raise SceneError("scene.toml start_utc: absent; give the scene's start, as 2026-11-21T03:00:00Z")
        text = value if isinstance(value, str) else getattr(value, "isoformat", lambda: repr(value))()
        try:
            return parse_instant(text)
        except ValueError as error:
            raise SceneError(f"scene.toml start_utc: {error}") from None

    @staticmethod
    def _numbers(section: str, table: dict[str, Any], keys: Sequence[str]) -> dict[str, float]:
        values = {key: table[key] for key in keys if key in table}
        for key, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise SceneError(f"scene.toml {section}.{key}: {value!r} is not a number")
            if abs(value) > LARGEST_NUMBER:  # an integer of TOML has no bound
                raise SceneError(f"scene.toml {section}.{key}: out of any range")
        return {key: float(value) for key, value in values.items()}

    def _air(self, table: dict[str, Any]) -> Air:
        values = self._numbers("air", table, sorted(_SCENE_KEYS["air"]))
        if not 0.0 <= values.get("wind_from_deg", 0.0) <= 360.0:
            raise SceneError(f"scene.toml air.wind_from_deg: {values['wind_from_deg']}; expected 0 to 360")
        if values.get("wind_speed_m_per_s", 0.0) < 0.0:
            raise SceneError(f"scene.toml air.wind_speed_m_per_s: {values['wind_speed_m_per_s']}; expected 0 or more")
        try:
            return Air.from_weather(**values)
        except ValueError as error:
            raise SceneError(f"scene.toml air: {error}") from None

    def _origin(self, table: dict[str, Any] | None) -> Geodetic | None:
        if table is None:
            return None
        values = self._numbers("origin", table, WGS84_COLUMNS)
        missing = [key for key in ("latitude_deg", "longitude_deg") if key not in values]
        if missing:
            raise SceneError(f"scene.toml origin.{missing[0]}: absent; an origin needs latitude_deg and longitude_deg")
        try:
            return Geodetic(values["latitude_deg"], values["longitude_deg"], values.get("height_m", 0.0))
        except ValueError as error:
            raise SceneError(f"scene.toml origin: {error}") from None

    def _source(self, table: dict[str, Any], frame: Frame, network: Network) -> tuple[float, float]:
        values = self._numbers("source", table, ("up_m", "height_m", "sigma_m"))
        if not 0.0 <= values.get("sigma_m", 0.0) <= 10_000.0:
            raise SceneError(f"scene.toml source.sigma_m: {values['sigma_m']}; expected 0 to 10000 metres")
        sensors_up = frame.local([site.position for site in network.sites])[:, 2]
        if "up_m" in values and "height_m" in values:
            raise SceneError("scene.toml source: up_m and height_m are both given; keep one")
        if "up_m" in values:
            up_m = values["up_m"]
        elif "height_m" in values:
            if frame.origin is None:
                raise SceneError("scene.toml source.height_m: this frame has no origin; give up_m")
            up_m = values["height_m"] - frame.origin.height_m
        else:
            sigma_m = math.hypot(LEAST_SOURCE_SIGMA_M, HILLINESS * float(np.std(sensors_up)))
            return float(np.median(sensors_up)) - SOURCE_BELOW_SENSORS_M, values.get("sigma_m", sigma_m)
        sigma_m = values.get("sigma_m", 5.0)
        if not abs(up_m) <= 20_000.0:
            raise SceneError(f"scene.toml source: height {up_m} m; expected metres")
        return up_m, sigma_m

    def _has(self, file: str) -> bool:
        """Whether a table is there, if only as a link that leads nowhere: that is for its reader to complain of."""
        return os.path.lexists(self.folder / file)

    # sensors.csv and elements.csv

    def _table(
        self, file: str, required: Sequence[str], known: Sequence[str], warn: Callable[[str], None] | None = None
    ) -> list[Row]:
        path = self.folder / file
        if path.is_file():
            with path.open("rb") as stream:
                self.hashes[file] = hashlib.file_digest(stream, "sha256").hexdigest()
        return list(rows(path, file, required, known, warn or self.warnings.append))

    def _sites(self, wgs84: bool, start_ns: int) -> tuple[list[Site], dict[str, Listening]]:
        place = WGS84_COLUMNS if wgs84 else LOCAL_COLUMNS
        optional = (
            "position_sigma_m", "up_sigma_m", "clock_sigma_s", "full_scale_db_spl", "listen_from_s", "listen_to_s",
        )  # fmt: skip
        table = self._table("sensors.csv", ("sensor_id", *place), optional)
        if not table:
            raise SceneError("sensors.csv: no sensor in it; a scene has one at least")
        elements = self._elements()
        sites: dict[str, Site] = {}
        listening: dict[str, Listening] = {}
        for row in table:
            site = row.checked(lambda row=row: self._site(row, wgs84, elements))  # type: ignore[misc]
            if site.sensor_id in sites:
                raise row.error(f"sensor {site.sensor_id} stands twice; sensor ids are unique")
            sites[site.sensor_id] = site
            from_ns, to_ns = row.offset("listen_from_s", start_ns), row.offset("listen_to_s", start_ns)
            if from_ns is not None and to_ns is not None and from_ns >= to_ns:
                raise row.error("listen_from_s is not before listen_to_s")
            listening[site.sensor_id] = Listening(from_ns, to_ns)
        unknown = sorted(set(elements) - set(sites))
        if unknown:
            raise SceneError(f"elements.csv: sensor {unknown[0]} is not in sensors.csv")
        return list(sites.values()), listening

    @staticmethod
    def _site(row: Row, wgs84: bool, elements: dict[str, tuple[Element, ...]]) -> Site:
        return Site(
            sensor_id=row.text("sensor_id"),
            position=_place(row, wgs84),
            position_sigma_m=row.real_or("position_sigma_m", 1.0),
            up_sigma_m=row.real_or("up_sigma_m", 5.0),
            clock_sigma_s=row.real_or("clock_sigma_s", 0.0002),
            full_scale_db_spl=row.number_or("full_scale_db_spl", None),
            elements=elements.get(row.text("sensor_id"), ()),
        )

    def _elements(self) -> dict[str, tuple[Element, ...]]:
        if not self._has("elements.csv"):
            return {}
        elements: dict[str, tuple[Element, ...]] = {}
        for row in self._table("elements.csv", ("sensor_id", "channel", *LOCAL_COLUMNS), ()):
            place = [row.real(column) for column in LOCAL_COLUMNS]
            element = row.checked(lambda row=row, place=place: Element(_channel(row), *place))  # type: ignore[misc]
            known = elements.setdefault(row.text("sensor_id"), ())
            if element.channel in {other.channel for other in known}:
                raise row.error(f"channel {element.channel} of sensor {row.text('sensor_id')} stands twice")
            elements[row.text("sensor_id")] = (*known, element)
        return elements

    def _network(self, sites: list[Site]) -> Network:
        network = Network(tuple(sites))
        if isinstance(sites[0].position, Local) and len(sites) >= 2:
            places = np.array([(s.position.east_m, s.position.north_m) for s in sites if isinstance(s.position, Local)])
            if np.all(np.ptp(places, axis=0) < SMALLEST_SPREAD_M):
                raise SceneError(
                    f"sensors.csv: all sensors lie within {SMALLEST_SPREAD_M:g} m; east_m and north_m are metres: "
                    'for degrees use frame = "wgs84" with latitude_deg and longitude_deg'
                )
        return network

    # audio.csv

    def _pieces(self, start_ns: int, network: Network) -> tuple[Piece, ...]:
        known = {site.sensor_id for site in network.sites}
        pieces = []
        for row in self._table("audio.csv", ("sensor_id", "path"), ("start_utc", "start_s", "channel")):
            begins_ns = row.instant("start", start_ns)
            if begins_ns is None:
                raise row.error("start_utc and start_s are both empty: say when the first sample was taken")
            row.checked(lambda begins_ns=begins_ns: check_instant(begins_ns, "the recording's start"))  # type: ignore[misc]
            channel = _channel(row) if row.cells.get("channel") else 0
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
        for row in self._table("pulses.csv", ("sensor_id",), optional):
            pulse = row.checked(lambda row=row: _pulse(row, start_ns, known))  # type: ignore[misc]
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
        if not self._has("truth.csv"):
            return ()
        place = WGS84_COLUMNS[:2] if wgs84 else LOCAL_COLUMNS[:2]
        known = ("class", "time_s", "time_utc", "sigma_m", "pulse_ids", WGS84_COLUMNS[2], LOCAL_COLUMNS[2])
        truth: dict[str, Truth] = {}
        for row in self._table("truth.csv", ("shot_id", *place), known):
            shot = row.checked(lambda row=row: _shot(row, wgs84, start_ns))  # type: ignore[misc]
            if shot.shot_id in truth:
                raise row.error(f"shot {shot.shot_id} stands twice")
            truth[shot.shot_id] = shot
        return tuple(truth.values())


def _place(row: Row, wgs84: bool, *, flat: bool = False) -> Geodetic | Local:
    """The row's place; ``flat`` allows the height to be left out."""
    east, north, up = WGS84_COLUMNS if wgs84 else LOCAL_COLUMNS
    kind = Geodetic if wgs84 else Local
    return kind(row.real(east), row.real(north), row.real_or(up, 0.0) if flat else row.real(up))


def _channel(row: Row) -> int:
    text = row.text("channel")
    if not text.isdecimal() or int(text) > 1023:
        raise row.error(f"channel is {text!r}: expected a whole number, 0 for the first")
    return int(text)


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
        place=_place(row, wgs84, flat=True),
        sigma_m=sigma_m,
        pulse_ids=tuple(row.text("pulse_ids", "").split()) if row.cells.get("pulse_ids") else (),
    )


def _shown(name: str) -> str:
    """A folder's name as text: what is not UTF-8 in it becomes question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")

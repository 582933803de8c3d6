"""From a scene folder, or a table of sensors, to where sensors stand, in what air and on what ground."""

from __future__ import annotations

import hashlib
import math
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from acoustic.air import Air
from acoustic.instant import parse_instant
from localization.frame import Frame
from localization.ground import GROUND_SIGMA_M, Ground
from localization.study.ground_reading import covers, read_grid
from localization.study.scene import HILLINESS, LEAST_SOURCE_SIGMA_M, SOURCE_BELOW_SENSORS_M, Listening, Scene
from localization.study.table import Row, SceneError, rows
from sensors.site import Element, Geodetic, Local, Network, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WGS84_COLUMNS: Final = ("latitude_deg", "longitude_deg", "height_m")
LOCAL_COLUMNS: Final = ("east_m", "north_m", "up_m")
GROUND_FILE: Final = "ground.asc"
LARGEST_NUMBER: Final = 1e300
SMALLEST_SPREAD_M: Final = 2.0  # sensors closer together than this were probably given in degrees

_SCENE_KEYS: Final = {
    "": {"name", "description", "licence", "frame", "start_utc", "air", "origin", "source", "ground"},
    "air": {
        "temperature_c", "temperature_sigma_c", "relative_humidity_percent", "pressure_pa",
        "wind_speed_m_per_s", "wind_from_deg", "wind_sigma_m_per_s",
    },
    "origin": {"latitude_deg", "longitude_deg", "height_m"},
    "source": {"up_m", "height_m", "sigma_m"},
    "ground": {"up_m", "height_m", "sigma_m"},
}  # fmt: skip


def read_setting(path: Path | str) -> Scene:
    """Read where sensors stand, in what air and on what ground: a scene without anything that happened.

    Parameters
    ----------
    path : Path
        A scene folder, whose recordings, pulses and truth are left alone; or a table of sensors by itself, in degrees
        or in metres, with the usual air.

    Raises
    ------
    SceneError
        When anything in it is wrong; the message is one line.
    """
    path = Path(path)
    try:
        if path.is_dir() or not path.exists():
            return SettingReader(path).setting()
        return SettingReader(path.parent).sensors_alone(path)
    except OSError as error:
        raise SceneError(f"{error.filename or path}: cannot be read ({error.strerror})") from None


class SettingReader:
    """Reads one folder, remembering warnings and what it read."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SceneError(f"{folder}: no such folder; a scene is a folder with scene.toml and sensors.csv")
        self.folder = folder.resolve()
        self.warnings: list[str] = []
        self.hashes: dict[str, str] = {}

    def setting(self) -> Scene:
        """The scene without what happened in it."""
        if not (self.folder / "scene.toml").is_file():
            raise SceneError(f"{self.folder.name}/scene.toml: absent; a scene folder needs it")
        table = self._toml()
        wgs84 = self._choice(table, "frame", ("wgs84", "local")) == "wgs84"
        start_ns = self._start(table)
        air = self._air(table.get("air", {}))
        origin = self._origin(table.get("origin"))
        if wgs84 and origin is not None:
            self.warnings.append("scene.toml: [origin] is ignored in frame wgs84; the origin is the sensors' mean")
        sites, listening, floors = self._sites(wgs84, start_ns)
        network = self._network(sites)
        frame = Frame.of(network, origin)
        up_m, sigma_m = self._source(table.get("source", {}), frame, network)
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
            ground=self._ground(table.get("ground", {}), frame, network, wgs84=wgs84),
            listening=listening,
            noise_floors_db_spl=floors,
            warnings=tuple(self.warnings),
            hashes=dict(sorted(self.hashes.items())),
        )

    def sensors_alone(self, path: Path) -> Scene:
        """A scene that consists of a table of sensors: in degrees where it has a column of them, else in metres."""
        if not path.is_file():
            raise SceneError(f"{path.name}: not a regular file; a table of sensors is read more than once")
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            wgs84 = "latitude_deg" in stream.readline(10_000)
        sites, listening, floors = self._sites(wgs84, 0, path.name)
        network = self._network(sites, path.name)
        frame = Frame.of(network)
        up_m, sigma_m = self._source({}, frame, network)
        return Scene(
            name=_shown(path.stem),
            start_ns=0,
            air=Air.from_weather(),
            frame=frame,
            network=network,
            source_up_m=up_m,
            source_sigma_m=sigma_m,
            listening=listening,
            noise_floors_db_spl=floors,
            warnings=tuple(self.warnings),
            hashes=dict(self.hashes),
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
        if "up_m" not in values and "height_m" not in values:
            sigma_m = math.hypot(LEAST_SOURCE_SIGMA_M, HILLINESS * float(np.std(sensors_up)))
            return float(np.median(sensors_up)) - SOURCE_BELOW_SENSORS_M, values.get("sigma_m", sigma_m)
        up_m = self._up(values, "source", frame)
        sigma_m = values.get("sigma_m", 5.0)
        if not abs(up_m) <= 20_000.0:
            raise SceneError(f"scene.toml source: height {up_m} m; expected metres")
        return up_m, sigma_m

    def _ground(self, table: dict[str, Any], frame: Frame, network: Network, *, wgs84: bool) -> Ground | None:
        values = self._numbers("ground", table, ("up_m", "height_m", "sigma_m"))
        sigma_m = values.get("sigma_m", GROUND_SIGMA_M)
        if not 0.0 <= sigma_m <= 10_000.0:
            raise SceneError(f"scene.toml ground.sigma_m: {sigma_m}; expected 0 to 10000 metres")
        stated = [key for key in ("up_m", "height_m") if key in values]
        if self.has(GROUND_FILE):
            if stated:
                raise SceneError(f"scene.toml ground.{stated[0]}: {GROUND_FILE} gives the heights too; keep one")
            raster = read_grid(self.folder / GROUND_FILE, degrees=wgs84)
            with (self.folder / GROUND_FILE).open("rb") as stream:
                self.hashes[GROUND_FILE] = hashlib.file_digest(stream, "sha256").hexdigest()
            ground = Ground(raster, sigma_m, frame if wgs84 else None)
            if not covers(ground, frame.local([site.position for site in network.sites])):
                self.warnings.append(
                    f"{GROUND_FILE}: lies beside every sensor, so that the height of its edge counts everywhere; is it "
                    f"in the scene's frame, {'degrees of WGS84' if wgs84 else 'metres as in sensors.csv'}?"
                )
            return ground
        if not stated:
            if values:
                raise SceneError(f"scene.toml ground: no height; give up_m, height_m or a file {GROUND_FILE}")
            return None
        up_m = self._up(values, "ground", frame)
        if not abs(up_m) <= 20_000.0:
            raise SceneError(f"scene.toml ground: height {up_m} m; expected metres")
        return Ground(up_m, sigma_m)

    @staticmethod
    def _up(values: dict[str, float], section: str, frame: Frame) -> float:
        """A height that is given as ``up_m`` of the plane or as ``height_m`` above the ellipsoid."""
        if "up_m" in values and "height_m" in values:
            raise SceneError(f"scene.toml {section}: up_m and height_m are both given; keep one")
        if "up_m" in values:
            return values["up_m"]
        if frame.origin is None:
            raise SceneError(f"scene.toml {section}.height_m: this frame has no origin; give up_m")
        return values["height_m"] - frame.origin.height_m

    def has(self, file: str) -> bool:
        """Whether a file is there, if only as a link that leads nowhere: that is for its reader to complain of."""
        return os.path.lexists(self.folder / file)

    # sensors.csv and elements.csv

    def table(
        self, file: str, required: Sequence[str], known: Sequence[str], warn: Callable[[str], None] | None = None
    ) -> list[Row]:
        """The rows of a table of this folder, whose hash is remembered."""
        path = self.folder / file
        if path.exists() and not path.is_file() and not path.is_dir():
            raise SceneError(f"{file}: not a regular file; a table of a scene is read more than once")
        if path.is_file():
            with path.open("rb") as stream:
                self.hashes[file] = hashlib.file_digest(stream, "sha256").hexdigest()
        return list(rows(path, file, required, known, warn or self.warnings.append))

    def _sites(
        self, wgs84: bool, start_ns: int, file: str = "sensors.csv"
    ) -> tuple[list[Site], dict[str, Listening], dict[str, float]]:
        place = WGS84_COLUMNS if wgs84 else LOCAL_COLUMNS
        optional = (
            "position_sigma_m", "up_sigma_m", "clock_sigma_s", "clock_offset_s", "full_scale_db_spl",
            "noise_floor_db_spl", "listen_from_s", "listen_to_s",
        )  # fmt: skip
        table = self.table(file, ("sensor_id", *place), optional)
        if not table:
            raise SceneError(f"{file}: no sensor in it; a scene has one at least")
        # Only a scene's own sensors have arrays: a table by itself may lie anywhere.
        elements = self._elements() if file == "sensors.csv" else {}
        sites: dict[str, Site] = {}
        listening: dict[str, Listening] = {}
        floors: dict[str, float] = {}
        for row in table:
            site = row.checked(self._site, row, wgs84, elements)
            if site.sensor_id in sites:
                raise row.error(f"sensor {site.sensor_id} stands twice; sensor ids are unique")
            sites[site.sensor_id] = site
            from_ns, to_ns = row.offset("listen_from_s", start_ns), row.offset("listen_to_s", start_ns)
            if from_ns is not None and to_ns is not None and from_ns >= to_ns:
                raise row.error("listen_from_s is not before listen_to_s")
            listening[site.sensor_id] = Listening(from_ns, to_ns)
            if (floor := row.number_or("noise_floor_db_spl", None)) is not None:
                if not -20.0 <= floor <= 150.0:
                    raise row.error(f"noise_floor_db_spl is {floor}: expected -20 to 150")
                floors[site.sensor_id] = floor
        unknown = sorted(set(elements) - set(sites))
        if unknown:
            raise SceneError(f"elements.csv: sensor {unknown[0]} is not in sensors.csv")
        return list(sites.values()), listening, floors

    @staticmethod
    def _site(row: Row, wgs84: bool, elements: dict[str, tuple[Element, ...]]) -> Site:
        return Site(
            sensor_id=row.text("sensor_id"),
            position=place_of(row, wgs84),
            position_sigma_m=row.real_or("position_sigma_m", 1.0),
            up_sigma_m=row.real_or("up_sigma_m", 5.0),
            clock_sigma_s=row.real_or("clock_sigma_s", 0.0002),
            clock_offset_s=row.real_or("clock_offset_s", 0.0),
            full_scale_db_spl=row.number_or("full_scale_db_spl", None),
            elements=elements.get(row.text("sensor_id"), ()),
        )

    def _elements(self) -> dict[str, tuple[Element, ...]]:
        if not self.has("elements.csv"):
            return {}
        elements: dict[str, tuple[Element, ...]] = {}
        for row in self.table("elements.csv", ("sensor_id", "channel", *LOCAL_COLUMNS), ()):
            place = [row.real(column) for column in LOCAL_COLUMNS]
            element = row.checked(Element, channel_of(row), *place)
            known = elements.setdefault(row.text("sensor_id"), ())
            if element.channel in {other.channel for other in known}:
                raise row.error(f"channel {element.channel} of sensor {row.text('sensor_id')} stands twice")
            elements[row.text("sensor_id")] = (*known, element)
        return elements

    @staticmethod
    def _network(sites: list[Site], file: str = "sensors.csv") -> Network:
        network = Network(tuple(sites))
        if isinstance(sites[0].position, Local) and len(sites) >= 2:
            places = np.array([(s.position.east_m, s.position.north_m) for s in sites if isinstance(s.position, Local)])
            if np.all(np.ptp(places, axis=0) < SMALLEST_SPREAD_M):
                raise SceneError(
                    f"{file}: all sensors lie within {SMALLEST_SPREAD_M:g} m; east_m and north_m are metres: "
                    'for degrees use frame = "wgs84" with latitude_deg and longitude_deg'
                )
        return network


def place_of(row: Row, wgs84: bool, *, flat: bool = False) -> Geodetic | Local:
    """The row's place; ``flat`` allows the height to be left out."""
    east, north, up = WGS84_COLUMNS if wgs84 else LOCAL_COLUMNS
    kind = Geodetic if wgs84 else Local
    return kind(row.real(east), row.real(north), row.real_or(up, 0.0) if flat else row.real(up))


def channel_of(row: Row) -> int:
    """The row's channel, counted from 0."""
    text = row.text("channel")
    if not text.isdecimal() or int(text) > 1023:
        raise row.error(f"channel is {text!r}: expected a whole number, 0 for the first")
    return int(text)


def _shown(name: str) -> str:
    """A folder's name as text: what is not UTF-8 in it becomes question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")

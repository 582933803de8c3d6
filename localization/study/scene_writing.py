"""From a `Scene` to a scene folder: complete, or not there at all."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acoustic.detection import probabilities_from_llr, pulse_identity
from acoustic.instant import SECOND, instant_text
from localization.ground import Raster
from localization.study.folder import complete, write_table
from sensors.site import Geodetic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from localization.study.scene import Pulse, Scene, Truth
    from sensors.site import Local, Site

FILES: Final = ("scene.toml", "sensors.csv", "elements.csv", "audio.csv", "pulses.csv", "truth.csv", "audio")
WGS84_COLUMNS: Final = ("latitude_deg", "longitude_deg", "height_m")
LOCAL_COLUMNS: Final = ("east_m", "north_m", "up_m")
SUBTYPES: Final = {"int16": "PCM_16", "int32": "PCM_24"}


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """An unbroken stretch of one sensor's sound, on its way to a file.

    ``samples`` is (n,) int16, or int32 of which the upper 24 bits are kept; ``start_ns`` is when the device says that
    it took the first; ``format`` is "flac" or "wav".
    """

    sensor_id: str
    start_ns: int
    rate_hz: int
    samples: NDArray[np.int16] | NDArray[np.int32]
    format: str = "flac"

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or not len(self.samples) or str(self.samples.dtype) not in SUBTYPES:
            raise ValueError(
                f"samples are {self.samples.dtype} {self.samples.shape}: expected int16 or int32 (n,), n above 0"
            )
        if self.format not in {"flac", "wav"}:
            raise ValueError(f"format is {self.format!r}: expected flac or wav")


def write_scene(scene: Scene, folder: Path | str, audio: Iterable[Recording] = ()) -> Path:
    """Write a scene as a folder that `read_scene` reads back.

    Parameters
    ----------
    scene : Scene
        With sites that stand throughout. Places keep nine decimals of a degree (0.1 mm) and four of a metre, times
        all nine decimals. Of pulses, the shares of the classes other than the likeliest are not kept, nor clips.
    folder : Path
        Where to. It appears only when everything was written; a scene that stood there before is replaced, and any
        other file in the folder is left alone.
    audio : iterable of Recording
        Each is written before the next is asked for, so one is in memory at a time. Without any, the files of
        ``scene.pieces`` are copied.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        When the scene says what no folder can.
    OSError
        When the disk does not take it.
    """
    _check(scene)
    folder = Path(folder)
    with complete(folder, FILES) as work:
        rows = list(_recorded(work, scene.start_ns, audio)) or list(_copied(work, scene))
        if rows:
            write_table(work / "audio.csv", ("sensor_id", "path", "start_s", "channel"), rows)
        else:
            _write_pulses(work / "pulses.csv", scene)
        _write_sensors(work / "sensors.csv", scene)
        _write_elements(work / "elements.csv", scene)
        if scene.truth:
            _write_truth(work / "truth.csv", scene)
        _write_toml(work / "scene.toml", scene)
    return folder


def _check(scene: Scene) -> None:
    for site in scene.network.sites:
        if site.valid_from_ns is not None or site.valid_to_ns is not None:
            raise ValueError(f"sensor {site.sensor_id} does not stand throughout: a scene folder cannot say so")
    if scene.ground is not None and isinstance(scene.ground.level, Raster):
        raise ValueError("the ground is a raster: write the scene without it, and put its ground.asc into the folder")


# scene.toml


def _write_toml(path: Path, scene: Scene) -> None:
    import tomli_w  # only who writes scenes waits for it

    table: dict[str, Any] = {"name": scene.name, "description": scene.description, "licence": scene.licence}
    table = {key: value for key, value in table.items() if value or key == "name"}
    wgs84 = _wgs84(scene)
    table |= {"frame": "wgs84" if wgs84 else "local", "start_utc": instant_text(scene.start_ns)}
    air = scene.air
    speed = math.hypot(air.wind_east_m_per_s, air.wind_north_m_per_s)
    comes_from = math.degrees(math.atan2(-air.wind_east_m_per_s, -air.wind_north_m_per_s)) % 360.0
    table["air"] = {
        "temperature_c": float(air.temperature_c),
        "temperature_sigma_c": float(air.temperature_sigma_c),
        "relative_humidity_percent": float(air.relative_humidity_percent),
        "pressure_pa": float(air.pressure_pa),
        "wind_speed_m_per_s": speed,
        "wind_from_deg": comes_from if speed else 0.0,
        "wind_sigma_m_per_s": float(air.wind_sigma_m_per_s),
    }
    origin = scene.frame.origin
    if not wgs84 and origin is not None:
        table["origin"] = dict(
            zip(WGS84_COLUMNS, (origin.latitude_deg, origin.longitude_deg, origin.height_m), strict=True)
        )
    table["source"] = {"up_m": float(scene.source_up_m), "sigma_m": float(scene.source_sigma_m)}
    if scene.ground is not None and not isinstance(scene.ground.level, Raster):
        table["ground"] = {"up_m": float(scene.ground.level), "sigma_m": float(scene.ground.sigma_m)}
    path.write_bytes(tomli_w.dumps(table).encode())


def _wgs84(scene: Scene) -> bool:
    return isinstance(scene.network.sites[0].position, Geodetic)


# the tables


def _place(place: Geodetic | Local) -> list[str]:
    if isinstance(place, Geodetic):
        return [f"{place.latitude_deg:.9f}", f"{place.longitude_deg:.9f}", f"{place.height_m:.4f}"]
    return [f"{place.east_m:.4f}", f"{place.north_m:.4f}", f"{place.up_m:.4f}"]


def _exact(value: float | None) -> str:
    """The shortest text that reads back as the same number."""
    return "" if value is None else repr(float(value))


def offset_text(instant_ns: int | None, start_ns: int) -> str:
    """Seconds after ``start_ns`` with nine decimals, exact; empty for None."""
    if instant_ns is None:
        return ""
    seconds, rest_ns = divmod(abs(instant_ns - start_ns), SECOND)
    return f"{'-' if instant_ns < start_ns else ''}{seconds}.{rest_ns:09d}"


def _write_sensors(path: Path, scene: Scene) -> None:
    columns = [
        "sensor_id", *(WGS84_COLUMNS if _wgs84(scene) else LOCAL_COLUMNS),
        "position_sigma_m", "up_sigma_m", "clock_sigma_s", "full_scale_db_spl",
    ]  # fmt: skip
    windows = any(each.from_ns is not None or each.to_ns is not None for each in scene.listening.values())
    if windows:
        columns += ["listen_from_s", "listen_to_s"]
    offsets = any(site.clock_offset_s for site in scene.network.sites)
    if offsets:
        columns.append("clock_offset_s")
    if scene.noise_floors_db_spl:
        columns.append("noise_floor_db_spl")

    def row(site: Site) -> list[str]:
        cells = [
            site.sensor_id, *_place(site.position), _exact(site.position_sigma_m), _exact(site.up_sigma_m),
            _exact(site.clock_sigma_s), _exact(site.full_scale_db_spl),
        ]  # fmt: skip
        if windows:
            window = scene.listening.get(site.sensor_id)
            ends = (window.from_ns, window.to_ns) if window is not None else (None, None)
            cells += [offset_text(end, scene.start_ns) for end in ends]
        if offsets:
            cells.append(_exact(site.clock_offset_s))
        if scene.noise_floors_db_spl:
            cells.append(_exact(scene.noise_floors_db_spl.get(site.sensor_id)))
        return cells

    write_table(path, columns, (row(site) for site in scene.network.sites))


def _write_elements(path: Path, scene: Scene) -> None:
    rows = [
        [site.sensor_id, str(element.channel), *map(_exact, (element.east_m, element.north_m, element.up_m))]
        for site in scene.network.sites
        for element in site.elements
    ]
    if rows:
        write_table(path, ("sensor_id", "channel", *LOCAL_COLUMNS), rows)


def _write_truth(path: Path, scene: Scene) -> None:
    def row(shot: Truth) -> list[str]:
        ids = " ".join(shot.pulse_ids)
        time = offset_text(shot.time_ns, scene.start_ns)
        return [shot.shot_id, shot.sound, time, *_place(shot.place), _exact(shot.sigma_m), ids]

    place = WGS84_COLUMNS if _wgs84(scene) else LOCAL_COLUMNS
    write_table(path, ("shot_id", "class", "time_s", *place, "sigma_m", "pulse_ids"), map(row, scene.truth))


# Each column of pulses.csv and what goes there; a column without anything to say is left out.
_PULSE_CELLS: Final[dict[str, Callable[[Pulse], str]]] = {
    "pulse_id": lambda p: "" if _usual_identity(p) else p.detection.pulse_id,
    "time_sigma_s": lambda p: _exact(p.detection.pick.sigma_s),
    "p_outlier": lambda p: _exact(p.detection.pick.p_outlier),
    "snr_db": lambda p: _exact(p.detection.pick.snr_db),
    "level_db_spl": lambda p: _exact(p.detection.pick.level_db_spl),
    "llr": lambda p: _exact(p.detection.llr) if p.detection.llr else "",
    "class": lambda p: "" if _usual_class(p) else p.detection.sound,
    "azimuth_deg": lambda p: _exact(p.detection.bearing.azimuth_deg) if p.detection.bearing else "",
    "azimuth_sigma_deg": lambda p: _exact(p.detection.bearing.sigma_deg) if p.detection.bearing else "",
    "shot_id": lambda p: p.shot_id or "",
}


def _usual_identity(pulse: Pulse) -> bool:
    d = pulse.detection
    return d.pulse_id == pulse_identity(d.sensor_id, d.pick.onset_ns)


def _usual_class(pulse: Pulse) -> bool:
    return pulse.detection.probabilities == probabilities_from_llr(pulse.detection.llr)


def _write_pulses(path: Path, scene: Scene) -> None:
    cells = {column: [cell(pulse) for pulse in scene.pulses] for column, cell in _PULSE_CELLS.items()}
    told = [column for column, values in cells.items() if any(values)]
    rows = (
        [
            pulse.detection.sensor_id,
            offset_text(pulse.detection.pick.onset_ns, scene.start_ns),
            *(cells[column][k] for column in told),
        ]
        for k, pulse in enumerate(scene.pulses)
    )
    write_table(path, ("sensor_id", "time_s", *told), rows)


# audio


def _recorded(work: Path, start_ns: int, audio: Iterable[Recording]) -> Iterator[list[str]]:
    """Write each recording to a file; the rows of audio.csv."""
    import soundfile  # scenes of pulses need no sound library

    names: set[str] = set()
    for recording in audio:
        (work / "audio").mkdir(exist_ok=True)
        name = _free_name(recording.sensor_id, names) + "." + recording.format
        soundfile.write(
            work / "audio" / name,
            recording.samples,
            recording.rate_hz,
            subtype=SUBTYPES[str(recording.samples.dtype)],
            format=recording.format.upper(),
            **({"compression_level": 1.0} if recording.format == "flac" else {}),
        )
        yield [recording.sensor_id, f"audio/{name}", offset_text(recording.start_ns, start_ns), "0"]


def _copied(work: Path, scene: Scene) -> Iterator[list[str]]:
    """Copy the files of the scene's own pieces; one file may hold several channels."""
    names: set[str] = set()
    copies: dict[Path, str] = {}
    for piece in scene.pieces:
        (work / "audio").mkdir(exist_ok=True)
        if piece.path not in copies:
            copies[piece.path] = _free_name(piece.path.stem, names) + piece.path.suffix
            shutil.copyfile(piece.path, work / "audio" / copies[piece.path])
        start = offset_text(piece.start_ns, scene.start_ns)
        yield [piece.sensor_id, f"audio/{copies[piece.path]}", start, str(piece.channel)]


def _free_name(wanted: str, names: set[str]) -> str:
    """A file name like ``wanted`` that any disk takes and that is not in ``names`` yet, in any case of letters."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", wanted)[:80] or "sensor"
    name, number = plain, 1
    while name.lower() in names:
        number += 1
        name = f"{plain}-{number}"
    names.add(name.lower())
    return name

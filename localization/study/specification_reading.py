"""From TOML to a `Spec`: every mistake is one line that names the file and the key."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, get_type_hints

from acoustic.air import Air
from acoustic.instant import parse_instant
from localization.study.specification import (
    Building,
    Converter,
    Event,
    Noise,
    Picking,
    Place,
    Profile,
    Sensor,
    Spec,
    Surroundings,
)
from localization.study.table import SceneError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
R = TypeVar("R", bound="DataclassInstance")

COLUMNS: Final = {
    "wgs84": ("latitude_deg", "longitude_deg", "height_m"),
    "local": ("east_m", "north_m", "up_m"),
}
AIR: Final = (
    "temperature_c", "temperature_sigma_c", "relative_humidity_percent", "pressure_pa",
    "wind_speed_m_per_s", "wind_from_deg", "wind_sigma_m_per_s",
)  # fmt: skip
ROWS: Final = {
    "offline_s": (2, "pairs of seconds, as [[30.0, 45.0]]"),
    "clock_steps_s": (2, "pairs of seconds, when and by how much, as [[30.0, 0.05]]"),
    "chatter": (3, "from, to and how many a second, as [[30.0, 45.0, 5.0]]"),
    "footprint": (2, "a pair of coordinates for each corner, as [[0.0, 0.0], [30.0, 0.0], [30.0, 12.0]]"),
}
"""Keys that hold a list of rows: how many numbers each row has, and how to say so."""
TIMES: Final = {"clock_steps_s": 1, "chatter": 2}
"""Of these rows, how many numbers are times of the scene."""
TRUE_AIR: Final = tuple(key for key in AIR if "sigma" not in key)
LARGEST_NUMBER: Final = 1e300
LONGEST_S: Final = 1e6  # of a scene's times, as for events
KEYS: Final = {
    "name", "description", "licence", "seed", "mode", "frame", "start_utc", "duration_s", "air", "true_air", "origin",
    "source", "converter", "noise", "street", "picking", "profile", "every_sensor", "sensors", "events", "buildings",
}  # fmt: skip


def read_spec(path: Path | str) -> Spec:
    """Read what a scene shall hold; docs/scenes.md explains every key.

    Raises
    ------
    SceneError
        When the file is absent or not TOML, a key is unknown or missing, or a value of the wrong kind or out of range.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise SceneError(f"{path.name}: no such file") from None
    except IsADirectoryError:
        raise SceneError(f"{path.name}: a folder; name the TOML file of the specification") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SceneError(f"{path.name}: not TOML ({error})") from None
    return _Reader(path.name, table).spec()


class _Reader:
    def __init__(self, file: str, table: dict[str, Any]) -> None:
        self.file = file
        self.top = table

    def error(self, key: str, message: str) -> SceneError:
        return SceneError(f"{self.file} {key}: {message}")

    def spec(self) -> Spec:
        self._known("", self.top, KEYS)
        frame = self._text("frame", "wgs84")
        if frame not in COLUMNS:
            raise self.error("frame", f"{frame!r}; expected wgs84 or local")
        given = {key: self._text(key) for key in ("description", "licence") if key in self.top}
        seconds = self._real("duration_s", self._required("duration_s"))
        spec = self._checked(
            "",
            lambda: Spec(
                name=self._text("name", Path(self.file).stem),
                seed=self._whole("seed", self.top.get("seed", 0)),
                mode=self._text("mode", "audio"),
                frame=frame,
                start_ns=self._start(),
                duration_s=seconds,
                air=self._air("air", {}, AIR),
                true_air=self._air("true_air", self._numbers("air", AIR), TRUE_AIR),
                sensors=self._sensors(frame),
                events=self._events(frame),
                origin=self._origin(frame),
                source_up=self._source(frame).get(COLUMNS[frame][2]),
                source_sigma_m=self._source(frame).get("sigma_m"),
                converter=self._record("converter", Converter),
                noise=self._record("noise", Noise),
                street=self._record("street", Surroundings),
                picking=self._record("picking", Picking),
                profile=self._record("profile", Profile),
                buildings=self._buildings(),
                **given,
            ),
        )
        self._check_rounds(spec)
        return spec

    # single values

    def _required(self, key: str) -> Any:
        if key not in self.top:
            raise self.error(key, "absent; a specification needs it")
        return self.top[key]

    def _text(self, key: str, default: str | None = None) -> str:
        value = self.top.get(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"{value!r} is not text; put it in quotes")
        return value

    def _real(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"{value!r} is not a number")
        if not abs(value) <= LARGEST_NUMBER:  # nan and inf are numbers of TOML, and its integers have no bound
            found = f"{value}" if isinstance(value, float) else "out of any range"
            raise self.error(key, f"{found}; expected a finite number")
        return float(value)

    def _whole(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"{value!r} is not a whole number")
        return value

    def _start(self) -> int:
        value = self._required("start_utc")
        text = value if isinstance(value, str) else getattr(value, "isoformat", lambda: repr(value))()
        return self._checked("start_utc", lambda: parse_instant(text))

    def _checked(self, key: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except SceneError:
            raise
        except (ValueError, TypeError) as error:
            raise SceneError(f"{self.file} {key}: {error}" if key else f"{self.file}: {error}") from None

    # tables

    def _table(self, key: str) -> dict[str, Any]:
        value = self.top.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"must be a table, as [{key}]")
        return value

    def _tables(self, key: str) -> list[dict[str, Any]]:
        value = self.top.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.error(key, f"must be a list of tables, each as [[{key}]]")
        return value

    def _known(self, where: str, table: dict[str, Any], known: Any) -> None:
        unknown = sorted(set(table) - set(known))
        if unknown:
            prefix = f"{where}." if where else ""
            raise self.error(prefix + unknown[0], f"unknown key; known are {', '.join(sorted(known))}")

    def _numbers(self, section: str, keys: tuple[str, ...]) -> dict[str, float]:
        table = self._table(section)
        self._known(section, table, keys)
        return {key: self._real(f"{section}.{key}", value) for key, value in table.items()}

    def _air(self, section: str, reported: dict[str, float], keys: tuple[str, ...]) -> Air:
        values = reported | self._numbers(section, keys)
        if not 0.0 <= values.get("wind_from_deg", 0.0) <= 360.0:
            raise self.error(f"{section}.wind_from_deg", f"{values['wind_from_deg']}; expected 0 to 360")
        if values.get("wind_speed_m_per_s", 0.0) < 0.0:
            raise self.error(f"{section}.wind_speed_m_per_s", f"{values['wind_speed_m_per_s']}; expected 0 or more")
        return self._checked(section, lambda: Air.from_weather(**values))

    def _origin(self, frame: str) -> Place | None:
        if "origin" not in self.top:
            return None
        if frame == "wgs84":
            raise self.error("origin", "only a local frame has one; in wgs84 it is the sensors' mean")
        values = {"height_m": 0.0} | self._numbers("origin", COLUMNS["wgs84"])
        if len(values) < 3:
            raise self.error("origin", "give latitude_deg and longitude_deg")
        return Place(values["latitude_deg"], values["longitude_deg"], values["height_m"])

    def _source(self, frame: str) -> dict[str, float]:
        return self._numbers("source", (COLUMNS[frame][2], "sigma_m"))

    def _sensors(self, frame: str) -> tuple[Sensor, ...]:
        usual = self._table("every_sensor")
        allowed = {each.name for each in dataclasses.fields(Sensor)} - {"sensor_id", "place", "clock_offset_s"}
        self._known("every_sensor", usual, allowed)
        tables = self._tables("sensors")
        return tuple(self._placed(f"sensors[{k}]", usual | table, Sensor, frame) for k, table in enumerate(tables, 1))

    def _events(self, frame: str) -> tuple[Event, ...]:
        tables = self._tables("events")
        return tuple(self._placed(f"events[{k}]", table, Event, frame) for k, table in enumerate(tables, 1))

    def _buildings(self) -> tuple[Building, ...]:
        tables = self._tables("buildings")
        return tuple(self._made(f"buildings[{k}]", table, Building) for k, table in enumerate(tables, 1))

    def _placed(self, where: str, table: dict[str, Any], kind: type[R], frame: str) -> R:
        """A record with a place, whose three coordinates stand beside its other keys."""
        columns = COLUMNS[frame]
        given = [column for column in columns if column in table]
        rest = {key: value for key, value in table.items() if key not in columns}
        self._known(where, rest, {each.name for each in dataclasses.fields(kind)} - {"place"} | set(columns))
        if given or kind is Sensor:
            missing = [column for column in columns if column not in table]
            if missing:
                raise self.error(f"{where}.{missing[0]}", f"absent; a place needs {', '.join(columns)}")
            rest["place"] = Place(*(self._real(f"{where}.{column}", table[column]) for column in columns))
        return self._made(where, rest, kind)

    def _record(self, section: str, kind: type[R]) -> R:
        return self._made(section, self._table(section), kind)

    def _made(self, where: str, table: dict[str, Any], kind: type[R]) -> R:
        hints = get_type_hints(kind)
        self._known(where, table, hints)
        absent = [
            each.name
            for each in dataclasses.fields(kind)
            if each.default is dataclasses.MISSING and each.name not in table
        ]
        if absent:
            raise self.error(f"{where}.{absent[0]}", "absent; it must be given")
        values = {key: self._value(f"{where}.{key}", value, hints[key]) for key, value in table.items()}
        return self._checked(where, lambda: kind(**values))

    def _value(self, key: str, value: Any, wanted: Any) -> Any:
        kinds = get_args(wanted) or (wanted,)
        rows = ROWS.get(key.rsplit(".", 1)[-1])
        if rows is not None:
            return self._rows(key, value, *rows)
        if isinstance(value, Place):
            return value
        if float in kinds:
            return self._real(key, value)
        if int in kinds:
            return self._whole(key, value)
        if not isinstance(value, str):
            raise self.error(key, f"{value!r} is not text; put it in quotes")
        return value

    def _rows(self, key: str, value: Any, count: int, expected: str) -> tuple[tuple[float, ...], ...]:
        if not isinstance(value, list) or not all(isinstance(row, list) and len(row) == count for row in value):
            raise self.error(key, f"{value!r}; expected {expected}")
        made = tuple(tuple(self._real(key, each) for each in row) for row in value)
        for row in made:
            for at_s in row[: TIMES.get(key.rsplit(".", 1)[-1], 0)]:
                if not 0.0 <= at_s <= LONGEST_S:
                    raise self.error(key, f"{at_s:g} s; expected seconds after the scene's start, to {LONGEST_S:g}")
        return made

    def _check_rounds(self, spec: Spec) -> None:
        """Refuse events whose rounds would bear the names of others: truth.csv could not tell them apart."""
        named: dict[str, str] = {}
        for k, event in enumerate(spec.events, 1):
            numbered = [f"{event.event_id}-{n:02d}" for n in range(1, event.rounds + 1)]
            for name in numbered if event.rounds > 1 else [event.event_id]:
                if name in named:
                    raise self.error(
                        f"events[{k}].event_id", f"{event.event_id!r} has a round {name}, and so has {named[name]!r}"
                    )
                named[name] = event.event_id

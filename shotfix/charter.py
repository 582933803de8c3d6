"""The charter: everything given from which a centre's core is built; the journal's first entry, so that it replays."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from acoustic.air import Air
from alerts.expectation import Expectation
from alerts.policy import Policy
from localization.frame import Frame
from localization.ground import GROUND_SIGMA_M, Ground
from localization.study.scene import HILLINESS, LEAST_SOURCE_SIGMA_M, SOURCE_BELOW_SENSORS_M
from sensors.cell import Territory, cell_of
from sensors.known_type import known
from sensors.site import Geodetic
from shotfix.checkpoint import program_stamp
from shotfix.core import Core
from shotfix.machines import Deployment
from shotfix.registry import Registry
from shotfix.waiting import Patience

if TYPE_CHECKING:
    from alerts.alert import ModeOfUse
    from alerts.gazetteer import Gazetteer
    from shotfix.config import SiteConfig

AUDIO_PATH: Final = "/api/v1/audio/"
"""Under which the centre hands out sound, by its digest."""

GIVEN_SOURCE_SIGMA_M = 5.0
"""Of a height of shots that somebody states without its sigma."""


class CharterError(ValueError):
    """A charter that no core can be built from; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Place:
    """At what height shots are looked for, and on which ground; see `shotfix.config.PlaceConfig`."""

    origin: Geodetic | None = None
    source_up_m: float | None = None
    source_height_m: float | None = None
    source_sigma_m: float | None = None
    ground_file: str | None = None
    ground_sha256: str | None = None
    ground_sigma_m: float | None = None


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a city that one of several centres owns, and how far beyond them it hears."""

    names: tuple[str, ...]
    margin_m: float

    @property
    def territory(self) -> Territory:
        """The same, with the cells that follow from it."""
        return Territory(frozenset(self.names), self.margin_m)


@dataclass(frozen=True, slots=True)
class Usual:
    """What other bangs are usual here, and when; see `alerts.expectation.Expectation`. ``zone`` is an IANA name."""

    hours: tuple[float, ...]
    zone: str
    ordinary_per_hour: float
    near_m: float

    def expectation(self, policy: Policy) -> Expectation:
        """The prior that follows from it."""
        zone = UTC if self.zone == "UTC" else ZoneInfo(self.zone)
        return Expectation(
            policy, hours=self.hours, zone=zone, ordinary_per_hour=self.ordinary_per_hour, near_m=self.near_m
        )


@dataclass(frozen=True, slots=True)
class Gazetteering:
    """Which file of places is asked."""

    file: str
    sha256: str

    def open(self) -> Gazetteer:
        """The file itself.

        Raises
        ------
        CharterError
            When it is not the one that the centre was run with.
        """
        from alerts.gazetteer import Gazetteer, GazetteerError  # shapely takes a while to load

        try:
            return Gazetteer(self.file, self.sha256)
        except GazetteerError as error:
            raise CharterError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Charter:
    """What a core is built from, besides the register.

    Parameters
    ----------
    name : str
        The site's.
    mode : str
        live, exercise or test.
    air : Air
        The weather, as far as somebody stated it.
    policy : Policy
        Prior and thresholds.
    patience : Patience
        How long who is waited for.
    place : Place
        Where shots are looked for.
    cells : Cells or None
        What of the city is this centre's; None: all of it.
    usual : Usual or None
        What other bangs are usual; None: as on an ordinary night anywhere.
    gazetteer : Gazetteering or None
        What stands where; None: alerts name no addresses.
    audio_url : str or None
        With what links to sound begin, before the digest; None: alerts hold none.
    """

    name: str
    mode: str
    air: Air
    policy: Policy
    patience: Patience
    place: Place = Place()
    cells: Cells | None = None
    usual: Usual | None = None
    gazetteer: Gazetteering | None = None
    audio_url: str | None = None

    @classmethod
    def of(cls, config: SiteConfig) -> Charter:
        """What a configuration says, the files of its ground and its places read once for their hashes.

        Raises
        ------
        CharterError
            When the file of places is none.
        """
        place, time, expected = config.place, config.time, config.expected
        ground = place.ground_file
        nats, public_url = config.nats, config.listen.public_url
        return cls(
            name=config.site.name,
            mode=config.site.mode,
            air=config.air.air(),
            policy=config.policy,
            patience=Patience(time.stale_s, time.join_s, time.pace),
            place=Place(
                origin=None if place.origin is None else place.origin.position,
                source_up_m=place.source_up_m,
                source_height_m=place.source_height_m,
                source_sigma_m=place.source_sigma_m,
                ground_file=None if ground is None else str(ground),
                ground_sha256=None if ground is None else _sha256(ground),
                ground_sigma_m=place.ground_sigma_m,
            ),
            cells=Cells(nats.cells, nats.margin_m) if nats is not None and nats.cells else None,
            usual=Usual(expected.hours, config.site.time_zone, expected.ordinary_per_hour, expected.near_m),
            gazetteer=None if config.gazetteer is None else _gazetteering(config.gazetteer.file),
            audio_url=None if public_url is None else public_url.rstrip("/") + AUDIO_PATH,
        )

    def encode(self) -> bytes:
        """As one line of JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, text: bytes) -> Charter:
        """From one line of JSON.

        Raises
        ------
        CharterError
            When it is none of this version.
        """
        try:
            return msgspec.json.decode(text, type=known(cls))
        except (msgspec.MsgspecError, ValueError) as error:
            raise CharterError(f"not a charter of this version: {error}") from None

    @property
    def stamp(self) -> str:
        """What a core must have been built from, and by which program, to go on from a checkpoint of it."""
        return program_stamp(hashlib.sha256(self.encode()).hexdigest())

    def core(self, registry: Registry) -> Core:
        """A core that has heard nothing yet.

        Raises
        ------
        CharterError
            When the ground's file is not what it was, or heights do not fit the frame.
        """
        network = registry.network
        frame = Frame.of(network, self.place.origin)
        up_m, sigma_m = self._source(registry, frame)
        deployment = Deployment(self.name, network, frame, self.air, up_m, sigma_m, self._ground(frame))
        mode: ModeOfUse = self.mode  # type: ignore[assignment]  # checked by the configuration
        return Core(
            deployment,
            registry,
            self.policy,
            mode,
            self.patience,
            self.owned(registry),
            expectation=None if self.usual is None else self.usual.expectation(self.policy),
            gazetteer=None if self.gazetteer is None else self.gazetteer.open(),
            audio_url=self.audio_url,
        )

    def _source(self, registry: Registry, frame: Frame) -> tuple[float, float]:
        """Height of shots in the plane, and its sigma, m: as stated, else as scenes have it."""
        place = self.place
        if place.source_up_m is None and place.source_height_m is None:
            sensors_up = frame.local([site.position for site in registry.network.sites])[:, 2]
            sigma_m = math.hypot(LEAST_SOURCE_SIGMA_M, HILLINESS * float(np.std(sensors_up)))
            up_m = float(np.median(sensors_up)) - SOURCE_BELOW_SENSORS_M
            return up_m, sigma_m if place.source_sigma_m is None else place.source_sigma_m
        sigma_m = GIVEN_SOURCE_SIGMA_M if place.source_sigma_m is None else place.source_sigma_m
        if place.source_up_m is not None:
            return place.source_up_m, sigma_m
        if frame.origin is None or place.source_height_m is None:
            raise CharterError("place.source_height_m: the sensors' plane has no origin; give source_up_m")
        return place.source_height_m - frame.origin.height_m, sigma_m

    def _ground(self, frame: Frame) -> Ground | None:
        from localization.study.ground_reading import read_grid  # few have a model of their ground

        place = self.place
        if place.ground_file is None:
            return None
        path = Path(place.ground_file)
        if not path.is_file() or _sha256(path) != place.ground_sha256:
            raise CharterError(f"{path}: not the ground's heights that the centre was run with; put that file there")
        degrees = frame.origin is not None and self.place.origin is None
        raster = read_grid(path, degrees=degrees)
        sigma_m = GROUND_SIGMA_M if place.ground_sigma_m is None else place.ground_sigma_m
        return Ground(raster, sigma_m, frame if degrees else None)

    def share(self, registry: Registry) -> Registry:
        """What of the register concerns this centre: the sensors in the cells that it listens to."""
        if self.cells is None:
            return registry
        listens = self.cells.territory.listens
        size_m = self.cells.territory.size_m
        sites = registry.network.sites
        mine = [k for k, site in enumerate(sites) if cell_of(site.position, size_m) in listens]
        network = replace(registry.network, sites=tuple(sites[k] for k in mine))
        return replace(registry, network=network, owners=tuple(registry.owners[k] for k in mine))

    def owned(self, registry: Registry) -> frozenset[str] | None:
        """The sensors that stand in this centre's own cells; None: all of them do."""
        if self.cells is None:
            return None
        territory = self.cells.territory
        return frozenset(site.sensor_id for site in registry.network.sites if territory.owns(site.position))


def _gazetteering(path: Path) -> Gazetteering:
    from alerts.gazetteer import Gazetteer, GazetteerError

    try:
        with Gazetteer.open(path) as gazetteer:
            return Gazetteering(str(path), gazetteer.sha256)
    except GazetteerError as error:
        raise CharterError(f"gazetteer.file: {error}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

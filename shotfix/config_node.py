"""Configuration of a sensor node: what node.toml says, as records that check themselves; docs/configuration.md."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from sensors.site import Element, Geodetic, Local
from shotfix.config_fields import CITY_FORM, CITY_PATTERN, FieldError, check, name, number, path, plain, text, url
from shotfix.config_source import PieceConfig, SourceConfig

__all__ = [
    "CentreAddress", "ClockConfig", "ElementConfig", "LogConfig", "NodeConfig", "NodeIdentity", "PieceConfig",
    "PrivacyConfig", "SensorConfig", "SourceConfig", "SpoolConfig",
]  # fmt: skip

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
MEGABYTE: Final = 1_000_000
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who a node is: its name, the key that proves it, its folder, and where its sound is judged."""

    node_id: str = name("Name of the node; the centre's network.toml lists it with its public key.")
    key_file: Path = path("The node's private key, readable by its owner alone.", "secret")
    data_dir: Path = path("Where the spool lies; the node's own folder.", "store")
    placement: Literal["edge", "centre"] = plain(
        "Where sound is judged: at the edge only detections and snippets travel; at the centre, all sound does.",
        default="edge",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class CentreAddress:
    """Where the centre is, and how it is trusted."""

    url: str = url("The centre (https, http) or the broker before it (nats, tls).", "https", "http", "nats", "tls")
    ca_file: Path | None = path(
        "The certificate that signs the centre's, where the system knows none.", "file", default=None
    )
    city: str = text("First part of the broker's subjects: which city.", CITY_PATTERN, CITY_FORM, default="city")
    cell: str | None = name(
        "Second part: the area cell the node stands in; by itself, from its position.", default=None
    )
    credentials_file: Path | None = path(
        "Credentials for the broker, readable by their owner alone.", "secret", default=None
    )
    allow_plain: bool = plain(
        "Speak without TLS to another machine: only inside a network of one's own.", default=False
    )

    def __post_init__(self) -> None:
        check(self)
        check_plain(self.url, allowed=self.allow_plain)

    @property
    def broker(self) -> bool:
        """Whether it is a broker that messages go through."""
        return self.url.startswith(("nats://", "tls://"))


@dataclass(frozen=True, slots=True)
class ElementConfig:
    """One microphone of a small array: its channel of the source, and metres from where the sensor stands."""

    channel: int = number("Which channel of the source it is, from 0.", 0, 1023)
    east_m: float = number("From the sensor's place.", -100, 100)
    north_m: float = number("From the sensor's place.", -100, 100)
    up_m: float = number("From the sensor's place.", -100, 100, default=0.0)

    def __post_init__(self) -> None:
        check(self)

    @property
    def element(self) -> Element:
        """The same as the listener takes it."""
        return Element(self.channel, self.east_m, self.north_m, self.up_m)


@dataclass(frozen=True, slots=True)
class SensorConfig:
    """One sensor of a node: its channel of the source, and where it stands, as the installer surveyed it.

    The centre believes its own network.toml; positions here are for the node's name of its cell, and for the installer.
    """

    sensor_id: str = text("Name of the sensor, as in the centre's network.toml.", longest=100)
    channel: int = number("Which channel of the source it is, from 0.", 0, 1023, default=0)
    full_scale_db_spl: float | None = number(
        "Peak sound pressure level that drives it to full scale, dB re 20 uPa.", 50, 200, default=None
    )
    latitude_deg: float | None = number("Where it stands, WGS84.", -90, 90, default=None)
    longitude_deg: float | None = number("Where it stands, WGS84.", -180, 180, default=None)
    height_m: float | None = number("Above the WGS84 ellipsoid.", -1000, 10_000, default=None)
    east_m: float | None = number("Or in a plane of one's own.", -1e7, 1e7, default=None)
    north_m: float | None = number("Or in a plane of one's own.", -1e7, 1e7, default=None)
    up_m: float | None = number("Or in a plane of one's own.", -1e7, 1e7, default=None)
    position_sigma_m: float = number("One standard deviation of the survey, each horizontal axis.", 0, 1e4, default=1.0)
    up_sigma_m: float = number("The same for the height.", 0, 1e4, default=5.0)
    elements: tuple[ElementConfig, ...] = plain(
        "Microphones of a small array, [[sensor.element]]; none for a single one.", default=(), longest=64
    )

    def __post_init__(self) -> None:
        check(self)
        channels = [element.channel for element in self.elements]
        if len(set(channels)) < len(channels):
            raise FieldError("elements", "two of them have one channel; each microphone has its own")
        self.position  # noqa: B018  (it complains where coordinates do not make a place)

    @property
    def position(self) -> Geodetic | Local | None:
        """Where it stands, or None where the file does not say.

        Raises
        ------
        FieldError
            When some coordinates are missing, or both kinds are given.
        """
        degrees = {key: getattr(self, key) for key in ("latitude_deg", "longitude_deg", "height_m")}
        metres = {key: getattr(self, key) for key in ("east_m", "north_m", "up_m")}
        given = [kind for kind in (degrees, metres) if any(value is not None for value in kind.values())]
        if not given:
            return None
        if len(given) == 2:
            raise FieldError("east_m", "degrees and metres are both given; keep one")
        missing = [key for key, value in given[0].items() if value is None]
        if missing:
            raise FieldError(missing[0], f"absent; a position needs {', '.join(given[0])}")
        return Geodetic(**degrees) if given[0] is degrees else Local(**metres)


@dataclass(frozen=True, slots=True)
class ClockConfig:
    """What disciplines the device's clock, and so how sure its times are."""

    source: Literal["chrony", "adjtimex", "pps", "ptp", "stated"] = plain(
        "Who is asked: chronyd, the kernel, a pulse a second, PTP; or stated, for what nobody can be asked.",
        default="adjtimex",
    )
    sigma_s: float | None = number("stated: one standard deviation of its times.", 0, 3600, default=None)

    def __post_init__(self) -> None:
        check(self)
        if self.source == "stated" and self.sigma_s is None:
            raise FieldError("sigma_s", "absent; a stated clock needs it, as 0.0002")
        if self.source != "stated" and self.sigma_s is not None:
            raise FieldError("sigma_s", f'is asked of {self.source}; leave it out, or set source = "stated"')


@dataclass(frozen=True, slots=True)
class PrivacyConfig:
    """How much sound a node keeps and gives away."""

    ring_s: float = number("How much of the past is kept in memory; older sound is gone.", 6, 30, default=12.0)
    snippets: bool = plain("Whether the seconds around a telling bang travel to the centre.", default=True)
    snippet_llr: float = number("From which evidence on a bang is telling, natural logarithm.", -50, 50, default=0.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """How much a node keeps for a centre that does not answer; what is beyond is dropped, oldest first, and counted."""

    most_bytes: int = number("On the disk.", MEGABYTE, 10_000_000 * MEGABYTE, default=500 * MEGABYTE)
    most_age_s: float = number("Older messages are of no use any more.", 60, 366 * DAY_S, default=7 * DAY_S)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is told to the log."""

    level: LogLevel = plain("From which importance on.", default="info")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything a sensor node is told: node.toml."""

    node: NodeIdentity = plain("Who the node is.")
    centre: CentreAddress = plain("Where it reports to.")
    source: SourceConfig = plain("Where its samples come from.")
    sensors: tuple[SensorConfig, ...] = plain("Its sensors, [[sensor]]; one at least.", longest=1000)
    clock: ClockConfig = plain("What disciplines its clock.", default=ClockConfig())
    privacy: PrivacyConfig = plain("How much sound it keeps and gives away.", default=PrivacyConfig())
    spool: SpoolConfig = plain("What it keeps for a centre that does not answer.", default=SpoolConfig())
    log: LogConfig = plain("What it tells the log.", default=LogConfig())

    def __post_init__(self) -> None:
        check(self)
        if not self.sensors:
            raise FieldError("sensors", "absent; a node has one [[sensor]] at least")
        repeated("sensors", [sensor.sensor_id for sensor in self.sensors], "sensor_id")
        asked = {"microphone", "stdin", "rtp", "stream"}  # of which the file says how many channels there are
        for place, sensor in enumerate(self.sensors):
            if self.source.kind in asked and sensor.channel >= self.source.channels:
                said = f"{sensor.channel}; but source.channels is {self.source.channels}, and the first channel is 0"
                raise FieldError("sensors", said, place, "channel")


def repeated(key: str, names: list[str], inner: str) -> None:
    """Refuse two of one name."""
    for place, each in enumerate(names):
        if each in names[:place]:
            raise FieldError(key, f'"{each}" stands twice; names are unique', place, inner)


def check_plain(url: str, *, allowed: bool) -> None:
    """Refuse a URL that others could read along, unless that is wanted."""
    split = urlsplit(url)
    safe = {"http": "https", "nats": "tls"}.get(split.scheme)
    if safe is not None and not allowed and not loopback(split.hostname or ""):
        said = f"{split.scheme}:// to another machine is readable on the way; use {safe}:// or allow_plain = true"
        raise FieldError("url", said)


def loopback(host: str) -> bool:
    """Whether a host is this machine itself, going by its name alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

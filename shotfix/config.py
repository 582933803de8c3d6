"""Configuration: what a centre is told, as records that check themselves, beside those of a node.

Read once, at the edge, by `shotfix.config_reading`; nothing here sends or writes. docs/configuration.md lists the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from acoustic.air import Air
from alerts.policy import Policy
from sensors.cell import Territory
from sensors.site import Geodetic
from shotfix.config_fields import (
    CITY_FORM,
    CITY_PATTERN,
    FieldError,
    check,
    name,
    number,
    path,
    plain,
    text,
    url,
)
from shotfix.config_node import (
    CentreAddress,
    ClockConfig,
    ElementConfig,
    LogConfig,
    NodeConfig,
    NodeIdentity,
    PieceConfig,
    PrivacyConfig,
    SensorConfig,
    SourceConfig,
    SpoolConfig,
    check_plain,
    loopback,
    repeated,
)
from shotfix.config_telling import (
    VARIABLE,
    CourierConfig,
    ExpectedConfig,
    GazetteerConfig,
    PeopleConfig,
    RecordConfig,
    ReviewConfig,
    SecretSource,
)

__all__ = [
    "VARIABLE",
    "AirConfig",
    "CentreAddress",
    "ClockConfig",
    "CourierConfig",
    "ElementConfig", "ExpectedConfig",
    "GazetteerConfig",
    "HearingConfig",
    "ListenConfig",
    "LogConfig",
    "NatsConfig",
    "NetworkTable",
    "NodeConfig",
    "NodeIdentity",
    "OriginConfig",
    "PeopleConfig",
    "PieceConfig",
    "PlaceConfig",
    "PrivacyConfig",
    "RecordConfig",
    "ReviewConfig",
    "SecretSource",
    "SensorConfig",
    "SiteConfig",
    "SiteIdentity",
    "SourceConfig",
    "SpoolConfig",
    "TimeConfig",
]  # fmt: skip

Mode: TypeAlias = Literal["live", "exercise", "test"]


def _zone_trouble(said: str) -> str:
    try:
        if said != "UTC":  # which needs no table of zones, and a small system may have none
            ZoneInfo(said)
    except (OSError, ValueError, LookupError):
        return f'"{said}"; expected an IANA name, as America/New_York'
    return ""


@dataclass(frozen=True, slots=True)
class SiteIdentity:
    """What a centre is, and where its memory lies."""

    name: str = text("What people call it; alerts carry it.")
    data_dir: Path = path("Journal, record and sound lie here; one centre's alone.", "store")
    mode: Mode = plain("What its alerts say of themselves.", default="live")
    time_zone: str = text(
        "In which the people there live: an IANA name. Calendars and radio lines are in it; alerts speak in UTC.",
        longest=64,
        also=_zone_trouble,
        default="UTC",
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def zone(self) -> tzinfo:
        """Of the clocks on their walls."""
        return UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class NetworkTable:
    """The file that tells where sensors stand; a running centre reads it again on SIGHUP."""

    file: Path = path("Where sensors stand and which keys their nodes have: network.toml.", "file")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """Where nodes and people reach the centre."""

    host: str = text("The address to listen at; one that others reach needs TLS.", default="127.0.0.1", longest=100)
    port: int = number("TCP port; 0 takes a free one.", 0, 65_535, default=8732)
    tls_cert_file: Path | None = path("Certificate chain, PEM.", "file", default=None)
    tls_key_file: Path | None = path("Its private key, readable by its owner alone.", "secret", default=None)
    metrics_token_file: Path | None = path(
        "A token that whoever reads /metrics must show; without one, this machine alone may.", "secret", default=None
    )
    public_url: str | None = url(
        "As receivers of alerts reach it; links to sound begin with it. None: alerts hold no links.",
        "https", "http", default=None,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            missing = "tls_cert_file" if self.tls_cert_file is None else "tls_key_file"
            raise FieldError(missing, "absent; TLS needs the certificate and its key")
        if not loopback(self.host) and self.tls_cert_file is None:
            raise FieldError(
                "host",
                f'"{self.host}" is reached from other machines; give tls_cert_file and tls_key_file, or listen at '
                "127.0.0.1 behind a proxy that has them",
            )

    @property
    def url(self) -> str:
        """Where it is to be reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls_cert_file is None else 'https'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class OriginConfig:
    """Where a plane of one's own lies on the Earth: east-north-up there."""

    latitude_deg: float = number("WGS84.", -90, 90)
    longitude_deg: float = number("WGS84.", -180, 180)
    height_m: float = number("Above the WGS84 ellipsoid.", -1000, 10_000, default=0.0)

    def __post_init__(self) -> None:
        check(self)

    @property
    def position(self) -> Geodetic:
        """The same as a place."""
        return Geodetic(self.latitude_deg, self.longitude_deg, self.height_m)


@dataclass(frozen=True, slots=True)
class PlaceConfig:
    """At what height shots are looked for, and on which ground; what is absent follows from the sensors' heights."""

    origin: OriginConfig | None = plain("For sensors in metres: where the plane lies.", default=None)
    source_up_m: float | None = number("Height of shots in the plane.", -20_000, 20_000, default=None)
    source_height_m: float | None = number("Or above the WGS84 ellipsoid.", -20_000, 20_000, default=None)
    source_sigma_m: float | None = number("One standard deviation of it.", 0, 10_000, default=None)
    ground_file: Path | None = path("Heights of the ground, an ESRI ASCII grid.", "file", default=None)
    ground_sigma_m: float | None = number("One standard deviation of them.", 0, 10_000, default=None)

    def __post_init__(self) -> None:
        check(self)
        if self.source_up_m is not None and self.source_height_m is not None:
            raise FieldError("source_height_m", "source_up_m is given too; keep one")
        if self.ground_sigma_m is not None and self.ground_file is None:
            raise FieldError("ground_sigma_m", "there is no ground_file that it could be the sigma of")


@dataclass(frozen=True, slots=True)
class AirConfig:
    """The air as a weather report tells it; what is absent becomes a wider sigma."""

    temperature_c: float | None = number("At the sensors.", -50, 60, default=None)
    temperature_sigma_c: float = number("One standard deviation of it.", 0, 50, default=2.0)
    relative_humidity_percent: float = number("At the sensors.", 0, 100, default=50.0)
    pressure_pa: float = number("At the sensors, not reduced to the sea.", 50_000, 110_000, default=101_325.0)
    wind_speed_m_per_s: float | None = number("As a report says it.", 0, 60, default=None)
    wind_from_deg: float | None = number("Where it comes from, clockwise from north.", 0, 360, default=None)
    wind_sigma_m_per_s: float = number("One standard deviation, each axis.", 0, 60, default=2.0)

    def __post_init__(self) -> None:
        check(self)
        try:
            self.air()
        except ValueError as error:  # what no key alone gives: a strong wind from nowhere is a wide sigma
            raise FieldError("wind_speed_m_per_s", str(error)) from None

    def air(self) -> Air:
        """The air itself."""
        return Air.from_weather(**{key: getattr(self, key) for key in type(self).__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class TimeConfig:
    """How long the centre waits for a sensor, and how fast event time goes."""

    stale_s: float = number("A sensor silent for so long is waited for no more.", 1, 3600, default=10.0)
    join_s: float = number(
        "How long a sensor that comes back has to catch up before it counts.", 0.1, 3600, default=10.0
    )
    pace: float = number("Times real time, where recordings are played to it.", 0.001, 1000, default=1.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class NatsConfig:
    """A broker to take nodes' messages from, beside HTTP."""

    url: str = url("The broker.", "nats", "tls")
    city: str = text("First part of the subjects.", CITY_PATTERN, CITY_FORM, default="city")
    worker: str = name("This worker's lasting name; no two of a city have the same.", default="centre")
    cells: tuple[str, ...] = plain("The area cells this worker owns; none: all of them.", default=(), longest=10_000)
    cell_m: int = number("Side of a cell.", 100, 100_000, default=2000)
    margin_m: float = number("How far beyond its cells a worker hears too.", 0, 50_000, default=2500.0)
    credentials_file: Path | None = path(
        "Credentials for the broker, readable by their owner alone.", "secret", default=None
    )
    ca_file: Path | None = path("The certificate that signs the broker's.", "file", default=None)
    allow_plain: bool = plain(
        "Speak without TLS to another machine: only inside a network of one's own.", default=False
    )

    def __post_init__(self) -> None:
        check(self)
        check_plain(self.url, allowed=self.allow_plain)
        if not self.cells:
            return
        try:
            territory = Territory(frozenset(self.cells), self.margin_m)
        except ValueError as error:
            raise FieldError("cells", str(error)) from None
        if territory.size_m != self.cell_m:
            said = f"are of {territory.size_m} m, but cell_m is {self.cell_m}: nodes would be in other cells than these"
            raise FieldError("cells", said)


@dataclass(frozen=True, slots=True)
class HearingConfig:
    """Worker processes for nodes that send all of their sound."""

    workers: int = number(
        "How many; a core each. They also look at the sound that other nodes cut out.", 1, 1024, default=1
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """Everything a centre is told: site.toml."""

    site: SiteIdentity = plain("What the centre is.")
    network_file: Path = path("Where sensors stand and which keys their nodes have: network.toml.", "file")
    listen: ListenConfig = plain("Where it is to be reached.", default=ListenConfig())
    place: PlaceConfig = plain("At what height shots are looked for.", default=PlaceConfig())
    air: AirConfig = plain("The air, as far as it is known.", default=AirConfig())
    policy: Policy = plain("What becomes of an incident.", default=Policy())
    time: TimeConfig = plain("How long is waited.", default=TimeConfig())
    nats: NatsConfig | None = plain("A broker, where there is one.", default=None)
    hearing: HearingConfig = plain("Workers for nodes that send all of their sound.", default=HearingConfig())
    couriers: tuple[CourierConfig, ...] = plain("Who is told, [[courier]].", default=(), longest=1000)
    record: RecordConfig = plain("What is kept, and for how long.", default=RecordConfig())
    gazetteer: GazetteerConfig | None = plain("What stands where.", default=None)
    expected: ExpectedConfig = plain("What other bangs are to be expected.", default=ExpectedConfig())
    people: PeopleConfig = plain("Who may ask for what.", default=PeopleConfig())
    review: ReviewConfig = plain("How people look at incidents.", default=ReviewConfig())
    log: LogConfig = plain("What it tells the log.", default=LogConfig())

    def __post_init__(self) -> None:
        check(self)
        repeated("couriers", [courier.name for courier in self.couriers], "name")

    @property
    def record_at(self) -> Path | str:
        """The record of alerts: a file, or the URL of a database."""
        return self.record.database or self.site.data_dir / self.record.path

    @property
    def people_file(self) -> Path:
        """Who may ask for what."""
        return self.site.data_dir / self.people.file

"""Configuration of a node's source: where its samples come from, and which keys mean something for which kind."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal, TypeAlias

from acoustic.instant import parse_instant
from sensors.microphones import check_keys
from shotfix.config_fields import FieldError, check, number, path, plain, text, url

SourceKind: TypeAlias = Literal["microphone", "file", "folder", "stdin", "rtp", "stream"]
FORMAT_NEEDS: Final = (("%Y", "%y"), ("%m", "%b", "%B", "%j"), ("%d", "%j"), ("%H", "%I"), ("%M",), ("%S",))
"""What names of recordings must tell, and the marks that do."""
LATENCY: Final = frozenset({"latency_s", "latency_sigma_s"})
MEANT: Final[dict[str, frozenset[str]]] = {
    "microphone": frozenset({"device", "rate_hz", "channels"}) | LATENCY,
    "file": frozenset({"path", "pieces", "start_utc", "origin_utc", "pace"}),
    "folder": frozenset({"path", "name_format", "origin_utc", "pace"}),
    "stdin": frozenset({"rate_hz", "channels", "format"}) | LATENCY,
    "rtp": frozenset({"rate_hz", "channels", "port", "payload_type", "encoding", "host"}) | LATENCY,
    "stream": frozenset({"url", "rate_hz", "channels"}) | LATENCY,
}
"""The keys of [source] that mean something for each kind."""


def instant_trouble(said: str) -> str:
    """What is wrong with a time, or nothing."""
    try:
        parse_instant(said)
    except ValueError as error:
        return str(error)
    return ""


def _device_trouble(said: tuple[str, ...]) -> str:
    try:
        if said:
            check_keys(said)
    except ValueError as error:
        return str(error)
    return ""


def _format_trouble(said: str) -> str:
    for marks in FORMAT_NEEDS:
        if not any(mark in said for mark in marks):
            return f'"{said}" has no {marks[0]}; expected a form as %Y%m%d_%H%M%S.WAV'
    return ""


@dataclass(frozen=True, slots=True)
class PieceConfig:
    """A recording, and when its first sample was taken."""

    path: Path = path("WAV or FLAC.", "file")
    start_utc: str = text("When its first sample was taken, RFC 3339 with a zone.", longest=40, also=instant_trouble)
    channel: int | None = number(
        "In which channel of it the sensor is; absent: as [[sensor]] says.", 0, 1023, default=None
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def start_ns(self) -> int:
        """The same in nanoseconds UTC."""
        return parse_instant(self.start_utc)


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Where samples come from; which further keys mean something depends on ``kind`` (`MEANT`)."""

    kind: SourceKind = plain("What kind of source.")
    device: tuple[str, ...] = plain(
        "microphone: parts of its stable name, in order of preference; never a number. `shotfix doctor` lists them.",
        default=(),
        longest=20,
        also=_device_trouble,
    )
    rate_hz: int = number("Samples a second that are asked for; a file says its own.", 8000, 192_000, default=48_000)
    channels: int = number("Channels that are asked for.", 1, 64, default=1)
    path: Path | None = path("file: one recording; folder: where they lie.", "file", default=None)
    pieces: tuple[PieceConfig, ...] = plain(
        "file: several recordings, as [{path = ..., start_utc = ...}].", default=(), longest=5000
    )
    start_utc: str | None = text(
        "file: when its first sample was taken; absent: now.", longest=40, also=instant_trouble, default=None
    )
    origin_utc: str | None = text(
        "file, folder: the recorded instant at which playing begins; nodes that share it stay in step.",
        longest=40,
        also=instant_trouble,
        default=None,
    )
    pace: float = number("file, folder: times real time; 0 is as fast as it goes.", 0, 1000, default=1.0)
    name_format: str | None = text(
        "folder: how names say the start in UTC, as %Y%m%d_%H%M%S.WAV; never guessed.",
        longest=100,
        also=_format_trouble,
        default=None,
    )
    format: Literal["s16le", "s24le", "s32le", "f32le"] = plain("stdin: how a sample is written.", default="s16le")
    host: str = text("rtp: the address to listen at.", longest=100, default="0.0.0.0")  # noqa: S104  (the sender is another machine)
    port: int | None = number("rtp: the UDP port.", 1, 65_535, default=None)
    payload_type: int = number("rtp: of the stream's packets.", 0, 127, default=97)
    encoding: Literal["L16", "L24"] = plain("rtp: 16 or 24 bits a sample.", default="L16")
    url: str | None = url(
        "stream: a camera's or encoder's sound; env:NAME where it holds a password.", "rtsp", "rtsps", "http", "https",
        secret=True, default=None,
    )  # fmt: skip
    latency_s: float = number(
        "How much later than true samples are stamped at best, where a timed clap has shown it; docs/clocks.md.",
        0, 60, default=0.0,
    )  # fmt: skip
    latency_sigma_s: float | None = number(
        "One standard deviation of it; by itself what a source of this kind deserves.", 0, 60, default=None
    )

    def __post_init__(self) -> None:
        check(self)
        self._check_wants()
        for each in fields(self):
            key = each.name
            if key != "kind" and key not in MEANT[self.kind] and getattr(self, key) != each.default:
                raise FieldError(key, f"means nothing for kind {self.kind}; leave it out")

    def _check_wants(self) -> None:
        wants = {"microphone": "device", "folder": "path", "rtp": "port", "stream": "url"}.get(self.kind)
        if wants and not getattr(self, wants):
            raise FieldError(wants, f"absent; a source of kind {self.kind} needs it")
        if self.kind == "folder" and self.name_format is None:
            raise FieldError("name_format", "absent; say how names tell the start, as %Y%m%d_%H%M%S.WAV")
        if self.kind == "file" and (self.path is None) == (not self.pieces):
            raise FieldError("path", "a source of kind file has either path or pieces")
        if self.pieces and self.start_utc is not None:
            raise FieldError("start_utc", "each of the pieces has its own; leave it out")

    @property
    def origin_ns(self) -> int | None:
        """``origin_utc`` in nanoseconds UTC."""
        return None if self.origin_utc is None else parse_instant(self.origin_utc)

    @property
    def start_ns(self) -> int | None:
        """``start_utc`` in nanoseconds UTC."""
        return None if self.start_utc is None else parse_instant(self.start_utc)

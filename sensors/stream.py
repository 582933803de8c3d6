"""Audio of a camera or an encoder over HTTP or RTSP, decoded by PyAV (the extra ``cameras``)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from acoustic.block import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from acoustic.instant import SECOND
from sensors.source import Raw, SourceError
from sensors.supervisor import Patience

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMES: Final = ("http", "https", "rtsp", "rtsps")
# What a playlist or a redirection may lead to: never a file of this machine.
PROTOCOLS: Final = "http,https,httpproxy,tcp,tls,udp,rtp,srtp,rtsp,crypto"
PATIENCE: Final = Patience(connect_s=10.0, stale_s=4.0)
"""For a supervisor: cameras take seconds to begin."""

ANALYSED_US: Final = "1000000"  # FFmpeg looks at five seconds otherwise, before it gives anything
OPEN_S: Final = 9.0
READ_S: Final = 3.0
MOST_DAMAGED: Final = 50  # packets in a row that cannot be decoded

SCALES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "u8": (128.0, 2.0**-7),
        "s16": (0.0, 2.0**-15),
        "s32": (0.0, 2.0**-31),
        "flt": (0.0, 1.0),
        "dbl": (0.0, 1.0),
    }
)
"""What is taken off, then multiplied by, for each of FFmpeg's sample formats (libavutil/samplefmt.h)."""


def without_secrets(url: str) -> str:
    """A URL for logs: no user, no password, no query, no fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        where = f"[{host}]" if ":" in host else host
        return urlunsplit((parts.scheme, f"{where}:{parts.port}" if parts.port else where, parts.path, "", ""))
    except ValueError:
        return "a URL that cannot be read"


class Stream:
    """The audio of a URL, as it is decoded; its rate and channels are the sender's.

    Lossy codecs smear what comes before a bang: good for saying what it was, not when. The samples are stamped when
    they are decoded, less their length: tenths of a second of buffers lie before that.

    Parameters
    ----------
    url : str
        ``http``, ``https``, ``rtsp`` or ``rtsps``, with user and password where they are needed; neither they nor the
        query appear in `name` or in an error.
    options : mapping
        For FFmpeg. Preset are, for RTSP, sound alone (``allowed_media_types``) inside its TCP connection
        (``rtsp_transport``); for all, a second of ``analyzeduration`` and no way to a file of this machine.
    container_format : str or None
        FFmpeg's name of the format where the stream has no header that tells: ``s24be`` for a camera's bare
        ``audio/L24``, with ``sample_rate`` and ``ch_layout`` among the options.
    open_s, read_s : float
        Longest waits, s, for an answer and for each piece; `close` wakes a reader within the second.
    wall_ns : callable
        The system clock.

    Raises
    ------
    ValueError
        For a URL of another scheme, or without a host.
    """

    once = False

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, str] | None = None,
        container_format: str | None = None,
        open_s: float = OPEN_S,
        read_s: float = READ_S,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = without_secrets(url)
        if not re.match(rf"(?:{'|'.join(SCHEMES)})://[^/?#]", url):
            raise ValueError(f"{self.name}: expected a URL of {', '.join(SCHEMES)} with a host")
        self.rate_hz = 0
        self.channels = 0
        self._url = url
        preset = {"protocol_whitelist": PROTOCOLS, "analyzeduration": ANALYSED_US}
        if url.startswith("rtsp"):
            preset |= {"rtsp_transport": "tcp", "allowed_media_types": "audio"}
        self._options = {**preset, **(options or {})}
        self._format = container_format
        self._waits = (open_s, read_s)
        self._wall_ns = wall_ns
        self._closed = threading.Event()
        self.damaged = 0
        """Packets that could not be decoded."""

    def open(self) -> Iterator[Raw]:
        """Connect, and decode what comes.

        Raises
        ------
        SourceError
            When PyAV is not installed, nobody answers, or there is no audio; from the iterator when it ends or falls
            silent, since the end of a live stream is a loss.
        """
        try:
            import av  # an extra, and a large one
        except ImportError:
            raise SourceError(f"{self.name}: PyAV is not installed; pip install 'shotfix[cameras]'") from None
        self._closed.clear()
        try:
            container = av.open(self._url, format=self._format, options=self._options, timeout=self._waits)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{self.name}: cannot be opened ({_reason(error)}); check address and password") from None
        try:
            self._check(container)
        except SourceError:
            container.close()
            raise
        return self._pieces(av, container)

    def counted(self) -> dict[str, int]:
        """Packets that could not be decoded."""
        return {"damaged_packets": self.damaged}

    def close(self) -> None:
        """Stop: whoever waits for samples is woken when the next piece comes, or after ``read_s``."""
        self._closed.set()

    def _check(self, container: Any) -> None:
        if not container.streams.audio:
            raise SourceError(f"{self.name}: has no audio; switch it on at the camera, or ask for another stream")
        codec = container.streams.audio[0].codec_context
        self.rate_hz, self.channels = codec.sample_rate, codec.channels
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise SourceError(f"{self.name}: {self.rate_hz} Hz; expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")

    def _pieces(self, av: Any, container: Any) -> Iterator[Raw]:
        count, due, lost = 0, None, False
        try:
            for frame in self._frames(av, container):
                if frame is None:
                    lost = True
                    continue
                samples = self._samples(frame)
                at = self._position(frame)
                if due is not None and at is not None and abs(at - due) > self.rate_hz // 100:
                    lost = True  # a stamp of milliseconds wanders by less
                    count += max(at - due, 0) if at - due < 3600 * self.rate_hz else 0
                wall_ns = self._wall_ns() - len(samples) * SECOND // self.rate_hz
                yield Raw(samples, count, self.rate_hz, wall_ns=wall_ns, lost=lost and count > 0)
                count += len(samples)
                due = None if at is None else at + len(samples)
                lost = False
        finally:
            container.close()
        if not self._closed.is_set():
            raise SourceError(f"{self.name}: the sender has ended the stream; opening it again")

    def _frames(self, av: Any, container: Any) -> Iterator[Any]:
        """Decoded frames; None for what could not be decoded."""
        stream = container.streams.audio[0]
        damaged = 0
        packets = container.demux(stream)
        while not self._closed.is_set():
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                if isinstance(error, EOFError):
                    return
                raise SourceError(f"{self.name}: lost ({_reason(error)}); opening it again") from None
            if packet is None or self._closed.is_set():
                return
            try:
                frames = stream.codec_context.decode(packet)
                damaged = 0
            except EOFError:
                return
            except (av.FFmpegError, ValueError):
                damaged += 1
                self.damaged += 1
                if damaged > MOST_DAMAGED:
                    raise SourceError(f"{self.name}: cannot be decoded; is it really audio?") from None
                yield None
                continue
            yield from frames

    def _samples(self, frame: Any) -> NDArray[np.float32]:
        name = frame.format.name
        if name.rstrip("p") not in SCALES or frame.sample_rate != self.rate_hz:
            raise SourceError(f"{self.name}: turned to {name} at {frame.sample_rate} Hz; opening it again")
        zero, scale = SCALES[name.rstrip("p")]
        data = frame.to_ndarray()
        data = data.T if frame.format.is_planar else data.reshape(-1, self.channels)
        if data.shape[1] != self.channels:
            raise SourceError(f"{self.name}: turned to {data.shape[1]} channels; opening it again")
        samples = ((data.astype(np.float64) - zero) * scale).astype(np.float32)
        return np.ascontiguousarray(samples[:, 0] if self.channels == 1 else samples)

    def _position(self, frame: Any) -> int | None:
        """The frame's place in samples by the stream's own stamps; None where it has none."""
        if frame.pts is None or frame.time_base is None:
            return None
        place: int = round(frame.pts * frame.time_base * self.rate_hz)
        return place


def _reason(error: Exception) -> str:
    """Why, without the URL: FFmpeg's own text repeats it, password and all."""
    said = getattr(error, "strerror", None)
    return " ".join(str(said).split()) if said else type(error).__name__

"""The installer's test: somebody claps beside the microphone, and the node says what it heard."""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from acoustic.block import AudioBlock
from acoustic.detection import Detection
from acoustic.instant import SECOND, seconds_between
from sensors.health import Heartbeat
from sensors.listener import Listener
from sensors.source import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shotfix.config import NodeConfig, SensorConfig

CLAP_SNR_DB: Final = 15.0  # of a clap at a few metres in a street; traffic seldom bangs so loud so briefly
START_NS: Final = 1_700_000_000 * SECOND  # of a stream whose times nobody asks for
CLIPPED: Final = 0.999  # of full scale
SILENCE_DBFS: Final = -120.0
FAINT_DBFS: Final = -100.0  # below the noise of any converter that is listened to by a microphone


@dataclass(frozen=True, slots=True)
class Clap:
    """Something brief and loud: when after the start, by how much over the noise, and how loud where that is known."""

    after_s: float
    snr_db: float | None
    level_db_spl: float | None


@dataclass(frozen=True, slots=True)
class Heard:
    """What one sensor heard.

    Parameters
    ----------
    sensor_id : str
        Which.
    seconds : float
        Of sound.
    claps : tuple of Clap
        What was brief and loud, `CLAP_SNR_DB` or more over the noise.
    peak_dbfs, noise_dbfs : float
        Greatest sample, and the median of the root mean square of tenths of a second; dB re full scale.
    noise_floor_db_spl : float or None
        As the listener's own heartbeat has it.
    clipped : int
        Samples at full scale.
    gaps : int
        Interruptions.
    """

    sensor_id: str
    seconds: float
    claps: tuple[Clap, ...]
    peak_dbfs: float
    noise_dbfs: float
    noise_floor_db_spl: float | None
    clipped: int
    gaps: int

    @property
    def remedy(self) -> str:
        """What to do; empty when a clap was heard well."""
        if self.seconds == 0.0:
            return "no sound came: is the microphone plugged in, and no other program at it?"
        if self.peak_dbfs <= FAINT_DBFS:
            return "digital silence: is the microphone muted, or the wrong channel chosen?"
        if self.clipped:
            return "full scale was reached: turn the gain down, a shot is louder than a clap"
        if not self.claps:
            return "no clap was heard: clap two metres away, or turn the gain up"
        return ""

    def told(self) -> str:
        """A line for a person."""
        floor = "" if self.noise_floor_db_spl is None else f" ({self.noise_floor_db_spl:.0f} dB SPL in the band)"
        said = (
            f"{self.sensor_id}: {self.seconds:.1f} s, peak {self.peak_dbfs:.0f} dBFS, noise {self.noise_dbfs:.0f} dBFS"
        )
        claps = ", ".join(f"at {clap.after_s:.1f} s" for clap in self.claps) or "none"
        verdict = f"; {self.remedy}" if self.remedy else "; well heard"
        return f"{said}{floor}, {self.clipped} clipped, {self.gaps} gaps, claps {claps}{verdict}"

    def as_table(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self) | {"ok": not self.remedy, "remedy": self.remedy}


class Bench:
    """Hears one sensor for a while; pure.

    Parameters
    ----------
    sensor_id, full_scale_db_spl
        As `sensors.listener.Listener` takes them.
    channel : int
        Of the source.
    """

    def __init__(self, sensor_id: str, channel: int = 0, full_scale_db_spl: float | None = None) -> None:
        self._listener = Listener(sensor_id, full_scale_db_spl=full_scale_db_spl)
        self._sensor_id, self._channel = sensor_id, channel
        self._said: list[Any] = []
        self._tenths: list[float] = []
        self._peak, self._clipped, self._gaps = 0.0, 0, 0
        self._samples, self._rate_hz = 0, 0

    def hear(self, raw: Raw) -> None:
        """Take a piece of the source."""
        samples = raw.samples if raw.samples.ndim == 1 else raw.samples[:, min(self._channel, raw.samples.shape[1] - 1)]
        samples = np.ascontiguousarray(samples)
        at_ns = START_NS + round(self._samples * SECOND / raw.rate_hz)
        self._said += self._listener.hear(AudioBlock(samples, raw.rate_hz, at_ns, after_gap=raw.lost))
        self._samples, self._rate_hz = self._samples + len(samples), raw.rate_hz
        self._peak = max(self._peak, float(np.max(np.abs(samples))))
        self._clipped += int(np.sum(np.abs(samples) >= CLIPPED))
        self._gaps += raw.lost
        tenth = raw.rate_hz // 10
        whole = (
            samples[: len(samples) // tenth * tenth].reshape(-1, tenth) if len(samples) >= tenth else samples[None, :]
        )
        self._tenths += [float(each) for each in np.sqrt(np.mean(np.square(whole, dtype=np.float64), axis=1))]

    def report(self) -> Heard:
        """What was heard; the end of it."""
        said = [*self._said, *(self._listener.finish() if self._samples else ())]
        picks = [each.pick for each in said if isinstance(each, Detection)]
        claps = tuple(
            Clap(seconds_between(START_NS, pick.onset_ns), pick.snr_db, pick.level_db_spl)
            for pick in picks
            if pick.snr_db is not None and pick.snr_db >= CLAP_SNR_DB
        )
        floors = [each.noise_floor_db_spl for each in said if isinstance(each, Heartbeat)]
        return Heard(
            self._sensor_id,
            self._samples / self._rate_hz if self._rate_hz else 0.0,
            claps,
            _db(self._peak),
            _db(float(np.median(self._tenths)) if self._tenths else 0.0),
            floors[-1] if floors else None,
            self._clipped,
            self._gaps,
        )


def clap_test(config: NodeConfig, seconds: float, say: Callable[[str], None]) -> list[Heard]:
    """Listen to a node's source for some seconds, and say of each of its sensors what it heard.

    Raises
    ------
    SourceError
        When the kind of source cannot be used at all; one that gives no sound is told in what was heard.
    """
    from sensors.supervised import Supervised  # it brings threads along
    from sensors.supervisor import Change
    from shotfix.devices import source_of

    source = Supervised(source_of(config))
    end = threading.Timer(seconds, source.stop)
    end.daemon = True
    benches = [_bench(sensor) for sensor in config.sensors]
    say(f"listening for {seconds:g} s: clap your hands two metres from the microphone")
    end.start()
    try:
        for what in source.stream():
            if isinstance(what, Change):
                if what.reason:
                    say(f"{what.state}: {what.reason}")
            else:
                _hear_all(benches, what)
    finally:
        end.cancel()
        source.stop()
    return [bench.report() for bench in benches]


def _bench(sensor: SensorConfig) -> Bench:
    return Bench(sensor.sensor_id, sensor.channel, sensor.full_scale_db_spl)


def _hear_all(benches: Iterable[Bench], raw: Raw) -> None:
    for bench in benches:
        bench.hear(raw)


def _db(value: float) -> float:
    return max(20.0 * math.log10(value), SILENCE_DBFS) if value > 0.0 else SILENCE_DBFS

"""Replay: a scene through listeners, locator and desk, with time that comes from the sound itself."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from acoustic.detection import Detection
from acoustic.instant import SECOND
from alerts.alert import Alert, Provenance
from alerts.desk import Desk
from localization.fix import Fix, Unfixed
from localization.locator import Locator
from localization.study.table import SceneError
from sensors.health import ClockState, Heartbeat
from sensors.listener import Listener
from sensors.recording import RecordingError, inspect, read_blocks
from shotfix.run import Run
from shotfix.versions import versions

if TYPE_CHECKING:
    from acoustic.block import AudioBlock
    from alerts.policy import Policy
    from localization.study.scene import Piece, Scene
    from sensors.site import Site

Event = Detection | Fix | Unfixed | Alert
Message = Detection | Heartbeat

BLOCK_S: Final = 1
"""Seconds of audio of each sensor that are in memory at once."""
QUIET_NS: Final = 60 * SECOND
"""How far a scene's last watermark lies behind its last sound: every incident closes in between."""


def replay(
    scene: Scene,
    *,
    policy: Policy | None = None,
    progress: Callable[[float], None] | None = None,
    tell: Callable[[Alert], None] | None = None,
) -> Run:
    """Everything that happens in a scene of audio.

    Parameters
    ----------
    scene : Scene
        With recordings.
    policy : Policy or None
        Prior and thresholds; None for the defaults.
    progress : callable or None
        Takes the seconds of audio heard since it was last called.
    tell : callable or None
        Takes each alert as soon as it is published.

    Raises
    ------
    SceneError
        When a recording is bad; the message names its row of audio.csv.
    """
    if not scene.pieces:
        raise SceneError(f"{scene.name}: no audio.csv; a scene of pulses is for locate")
    seconds = audio_seconds(scene)
    machines = _Machines(scene, policy)
    events = _heard(scene, machines, progress or (lambda _seconds: None))
    return Run.of(scene, events if tell is None else _telling(events, tell), machines.locator.counts, seconds)


def locate(scene: Scene, *, policy: Policy | None = None) -> Run:
    """Everything that happens in a scene of pulses; shots given with the pulses are solved as they were given.

    Raises
    ------
    SceneError
        When the scene has no pulses.csv.
    """
    if scene.pieces:
        raise SceneError(f"{scene.name}: was read for its audio; read it with audio=False for its pulses.csv")
    machines = _Machines(scene, policy)
    return Run.of(scene, _told(scene, machines), machines.locator.counts, 0.0)


class _Machines:
    """Locator and desk, wired."""

    def __init__(self, scene: Scene, policy: Policy | None) -> None:
        self.locator = Locator(scene.network, scene.frame, scene.air, scene.source_up_m, scene.source_sigma_m)
        self.desk = Desk(policy, "replay", scene.name, _provenance(scene))
        self.last_ns = scene.start_ns

    def receive(self, message: Message) -> Iterator[Event]:
        if isinstance(message, Detection):
            self.last_ns = max(self.last_ns, message.pick.onset_ns)
            yield message
        else:
            self.last_ns = max(self.last_ns, message.heard_until_ns)
        yield from self.tell(self.locator.receive(message))

    def tick(self, watermark_ns: int) -> Iterator[Event]:
        yield from self.tell(self.locator.tick(watermark_ns))
        yield from self.desk.tick(watermark_ns)

    def tell(self, shots: tuple[Fix | Unfixed, ...]) -> Iterator[Event]:
        for shot in shots:
            yield shot
            yield from self.desk.receive(shot)

    def finish(self) -> Iterator[Event]:
        yield from self.tell(self.locator.finish())
        yield from self.desk.tick(self.last_ns + QUIET_NS)


def _telling(events: Iterator[Event], tell: Callable[[Alert], None]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Alert):
            tell(event)
        yield event


# audio


def _heard(scene: Scene, machines: _Machines, progress: Callable[[float], None]) -> Iterator[Event]:
    """Hear all sensors side by side, always the one that is furthest behind; its word is the watermark."""
    streams = []
    for number, site in enumerate(scene.network.sites):
        pieces = [piece for piece in scene.pieces if piece.sensor_id == site.sensor_id]
        if pieces:
            streams.append((pieces[0].start_ns, number, _listen(site, pieces, progress)))
    heapq.heapify(streams)
    while streams:
        watermark_ns, number, stream = heapq.heappop(streams)
        yield from machines.tick(watermark_ns)
        said = next(stream, None)
        if said is None:
            continue
        until_ns = watermark_ns
        for message in said:
            yield from machines.receive(message)
            if isinstance(message, Heartbeat):
                until_ns = max(until_ns, message.heard_until_ns)
        heapq.heappush(streams, (until_ns, number, stream))
    yield from machines.finish()


def _listen(site: Site, pieces: list[Piece], progress: Callable[[float], None]) -> Iterator[tuple[Message, ...]]:
    """What a listener says to each block of its sensor's recordings, and at their end."""
    listener = Listener(
        site.sensor_id, full_scale_db_spl=site.full_scale_db_spl, clock=ClockState(sigma_s=site.clock_sigma_s)
    )
    for number, piece in enumerate(pieces):
        for block in _blocks(piece):
            # Whether a later piece follows on is for the listener to see: from its start, to half a sample.
            yield listener.hear(block if number == 0 else replace(block, after_gap=False))
            progress(len(block.samples) / block.rate_hz)
    yield listener.finish()


def _blocks(piece: Piece) -> Iterator[AudioBlock]:
    try:
        rate_hz = inspect(piece.path).rate_hz
        yield from read_blocks(piece.path, piece.start_ns, channels=[piece.channel], block_frames=BLOCK_S * rate_hz)
    except RecordingError as error:
        raise SceneError(f"audio.csv row {piece.row}: {error}") from None


def audio_seconds(scene: Scene) -> float:
    """How much audio a scene holds, s, over all of its sensors; every header is read, every overlap refused.

    Raises
    ------
    SceneError
        When a recording cannot be opened, lacks the channel, or overlaps another of its sensor.
    """
    total = 0.0
    before: Piece | None = None
    before_end_ns = 0
    for piece in scene.pieces:
        try:
            info = inspect(piece.path)
        except RecordingError as error:
            raise SceneError(f"audio.csv row {piece.row}: {error}") from None
        if piece.channel >= info.channels:
            raise SceneError(
                f"audio.csv row {piece.row}: {piece.path.name} has {info.channels} channel(s), channel {piece.channel} "
                "is asked for; channels count from 0"
            )
        if (
            before is not None
            and before.sensor_id == piece.sensor_id
            and piece.start_ns < before_end_ns - SECOND // 2000
        ):
            raise SceneError(
                f"audio.csv row {piece.row}: overlaps row {before.row} of sensor {piece.sensor_id} by "
                f"{(before_end_ns - piece.start_ns) / SECOND:.3f} s; a sensor hears one piece at a time"
            )
        before, before_end_ns = piece, piece.start_ns + round(info.frames / info.rate_hz * SECOND)
        total += info.frames / info.rate_hz
    return total


# pulses


def _told(scene: Scene, machines: _Machines) -> Iterator[Event]:
    """Hand over the pulses in the order of time; those that come with their shot are solved at once."""
    given: dict[str, list[Detection]] = {}
    first_ns = min((pulse.detection.pick.onset_ns for pulse in scene.pulses), default=scene.start_ns)
    last_ns = max((pulse.detection.pick.onset_ns for pulse in scene.pulses), default=scene.start_ns)
    for sensor_id, listening in scene.listening.items():
        from_ns = listening.from_ns if listening.from_ns is not None else min(first_ns, scene.start_ns) - SECOND
        machines.locator.listened(sensor_id, from_ns, listening.to_ns or last_ns + QUIET_NS)
    for pulse in scene.pulses:
        yield from machines.tick(pulse.detection.pick.onset_ns)
        if pulse.shot_id is None:
            yield from machines.receive(pulse.detection)
        else:
            machines.last_ns = max(machines.last_ns, pulse.detection.pick.onset_ns)
            yield pulse.detection
            given.setdefault(pulse.shot_id, []).append(pulse.detection)
    for shot_id, detections in sorted(given.items(), key=lambda item: item[1][0].pick.onset_ns):
        yield from machines.tell((machines.locator.solve_given(shot_id, detections),))
    yield from machines.finish()


def _provenance(scene: Scene) -> Provenance:
    """From what a replay is made; the desk adds the models that judged and the weather."""
    content = "\n".join(f"{name} {digest}" for name, digest in scene.hashes.items())
    return Provenance(versions=versions(), configuration_hash=hashlib.sha256(content.encode()).hexdigest())

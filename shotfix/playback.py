"""Replay: a scene through listeners, locator and desk, with time that comes from the sound itself."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from acoustic.detection import Detection
from acoustic.instant import SECOND, after
from alerts.alert import Alert
from localization.study.table import SceneError
from sensors.health import ClockState, Heartbeat
from sensors.hearing import Hearing
from sensors.recording import RecordingError, inspect, read_blocks
from sensors.snippet import Snippet
from shotfix.machines import QUIET_NS, Deployment, Event, Machines, Message
from shotfix.open_files import allow_open_files
from shotfix.run import Run

if TYPE_CHECKING:
    from acoustic.air import Air
    from acoustic.block import AudioBlock
    from alerts.place import NamedSurveyor
    from alerts.policy import Policy
    from localization.study.scene import Piece, Pulse, Scene
    from sensors.site import Site

BLOCK_S: Final = 1
"""Seconds of audio of each sensor that are in memory at once."""


def replay(
    scene: Scene,
    *,
    policy: Policy | None = None,
    progress: Callable[[float], None] | None = None,
    tell: Callable[[Alert], None] | None = None,
    gazetteer: NamedSurveyor | None = None,
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
    gazetteer : NamedSurveyor or None
        What stands where, for the alerts' places: an `alerts.gazetteer.Gazetteer`.

    Raises
    ------
    SceneError
        When a recording is bad; the message names its row of audio.csv.
    """
    if not scene.pieces:
        raise SceneError(f"{scene.name}: no audio.csv; a scene of pulses is for locate")
    seconds = audio_seconds(scene)
    allow_open_files(len(scene.network.sites))
    machines = _machines(scene, policy, gazetteer)
    events = _heard(scene, machines, progress or (lambda _seconds: None))
    told = events if tell is None else _telling(events, tell)
    return Run.of(scene, told, machines.passed_over, seconds, machines.doubted)


def locate(
    scene: Scene,
    *,
    policy: Policy | None = None,
    progress: Callable[[float], None] | None = None,
    gazetteer: NamedSurveyor | None = None,
) -> Run:
    """Everything that happens in a scene of pulses; shots given with the pulses are solved as they were given.

    ``progress`` takes how many pulses were handed over since it was last called; ``gazetteer`` as `replay` takes it.

    Raises
    ------
    SceneError
        When the scene has no pulses.csv.
    """
    if scene.pieces:
        raise SceneError(f"{scene.name}: was read for its audio; read it with audio=False for its pulses.csv")
    machines = _machines(scene, policy, gazetteer)
    events = _told(scene, machines, progress or (lambda _pulses: None))
    return Run.of(scene, events, machines.passed_over, 0.0, machines.doubted)


def deployment_of(scene: Scene) -> Deployment:
    """What a scene says of its place."""
    return Deployment(
        scene.name, scene.network, scene.frame, scene.air, scene.source_up_m, scene.source_sigma_m, scene.ground
    )


def _machines(scene: Scene, policy: Policy | None, gazetteer: NamedSurveyor | None) -> Machines:
    return Machines(deployment_of(scene), policy, judged=bool(scene.pieces), gazetteer=gazetteer)


def _telling(events: Iterator[Event], tell: Callable[[Alert], None]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Alert):
            tell(event)
        yield event


# audio


def _heard(scene: Scene, machines: Machines, progress: Callable[[float], None]) -> Iterator[Event]:
    """Hear all sensors side by side, always the one that is furthest behind; its word is the watermark."""
    streams = []
    for number, site in enumerate(scene.network.sites):
        # What a clock is known to be fast by is taken off at the door: from here on all times are true.
        pieces = [
            replace(piece, start_ns=after(piece.start_ns, -site.clock_offset_s))
            for piece in scene.pieces
            if piece.sensor_id == site.sensor_id
        ]
        if pieces:
            streams.append((pieces[0].start_ns, number, _listen(site, pieces, scene.air, progress)))
    heapq.heapify(streams)
    while streams:
        watermark_ns, number, stream = heapq.heappop(streams)
        yield from machines.tick(watermark_ns)
        said = next(stream, None)
        if said is None:
            continue
        until_ns = watermark_ns
        for message in said:
            if isinstance(message, Snippet):
                machines.desk.receive_clip(message.pulse_ids, message.clip)
                continue
            yield from machines.receive(message)
            if isinstance(message, Heartbeat):
                until_ns = max(until_ns, message.heard_until_ns)
        heapq.heappush(streams, (until_ns, number, stream))
    yield from machines.finish()


def _listen(
    site: Site, pieces: list[Piece], air: Air, progress: Callable[[float], None]
) -> Iterator[tuple[Message | Snippet, ...]]:
    """What is said to each block of its sensor's recordings, and at their end."""
    # The channel that the piece names is listened to; a small array's others come behind it, in the elements' order.
    others = sorted({element.channel for element in site.elements})
    columns = {channel: place for place, channel in enumerate(others, start=1)}
    hearing = Hearing(
        site.sensor_id,
        full_scale_db_spl=site.full_scale_db_spl,
        clock=ClockState(sigma_s=site.clock_sigma_s),
        elements=[replace(element, channel=columns[element.channel]) for element in site.elements],
        air=air,
    )
    for number, piece in enumerate(pieces):
        for block in _blocks(piece, others):
            # Whether a later piece follows on is for the listener to see: from its start, to half a sample.
            yield hearing.hear(block if number == 0 else replace(block, after_gap=False))
            progress(len(block.samples) / block.rate_hz)
    yield hearing.finish()


def _blocks(piece: Piece, others: Sequence[int]) -> Iterator[AudioBlock]:
    try:
        info = inspect(piece.path)
        channels = [piece.channel, *(others if max(others, default=0) < info.channels else ())]
        yield from read_blocks(piece.path, piece.start_ns, channels=channels, block_frames=BLOCK_S * info.rate_hz)
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


def _told(scene: Scene, machines: Machines, progress: Callable[[float], None]) -> Iterator[Event]:
    """Hand over the pulses in the order of time; a shot that they come with is solved when its last one has come."""
    given: dict[str, list[Detection]] = {}
    pulses = _on_time(scene)
    first_ns = min((pulse.detection.pick.onset_ns for pulse in pulses), default=scene.start_ns)
    last_ns = max((pulse.detection.pick.onset_ns for pulse in pulses), default=scene.start_ns)
    for sensor_id, listening in scene.listening.items():
        from_ns = listening.from_ns if listening.from_ns is not None else min(first_ns, scene.start_ns) - SECOND
        machines.locator.listened(sensor_id, from_ns, listening.to_ns or last_ns + QUIET_NS)
    awaited = Counter(pulse.shot_id for pulse in pulses)
    for pulse in pulses:
        yield from machines.tick(pulse.detection.pick.onset_ns)
        progress(1.0)
        if pulse.shot_id is None:
            yield from machines.receive(pulse.detection)
            continue
        machines.last_ns = max(machines.last_ns, pulse.detection.pick.onset_ns)
        yield pulse.detection
        heard = given.setdefault(pulse.shot_id, [])
        heard.append(pulse.detection)
        if len(heard) == awaited[pulse.shot_id]:
            yield from machines.tell((machines.locator.solve_given(pulse.shot_id, given.pop(pulse.shot_id)),))
    yield from machines.finish()


def _on_time(scene: Scene) -> tuple[Pulse, ...]:
    """The pulses at their true times, in their order: what a clock is known to be fast by is taken off at the door."""
    fast_s = {site.sensor_id: site.clock_offset_s for site in scene.network.sites if site.clock_offset_s}
    if not fast_s:
        return scene.pulses
    pulses = []
    for pulse in scene.pulses:
        pick = pulse.detection.pick
        onset_ns = after(pick.onset_ns, -fast_s.get(pulse.detection.sensor_id, 0.0))
        detection = replace(pulse.detection, pick=replace(pick, onset_ns=onset_ns))
        pulses.append(replace(pulse, detection=detection))
    return tuple(sorted(pulses, key=lambda p: (p.detection.pick.onset_ns, p.detection.sensor_id)))

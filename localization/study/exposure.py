"""Exposure: for how long the sensors of a scene, together, could have placed a bang."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND
from localization.study.table import SceneError
from sensors.recording import RecordingError, inspect

if TYPE_CHECKING:
    from localization.study.scene import Piece, Scene

FEWEST: Final = 3  # sensors that give a place


def array_seconds(scene: Scene) -> float:
    """How long at least three sensors of a scene listened at once, s.

    Of audio, what its recordings cover. Of pulses, the stated times of listening; a scene that does not state them
    counts from its start, or its first pulse, to its last pulse: the least that must have been listened to, so that
    a rate which is reckoned by it comes out too high rather than too low.

    Raises
    ------
    SceneError
        When a recording cannot be opened.
    """
    ends: list[tuple[int, int]] = []
    for from_ns, to_ns in _heard(scene) if scene.pieces else _stated(scene):
        if to_ns > from_ns:
            ends += [(from_ns, 1), (to_ns, -1)]
    total_ns = listening = last_ns = 0
    for at_ns, step in sorted(ends):
        if listening >= FEWEST:
            total_ns += at_ns - last_ns
        listening, last_ns = listening + step, at_ns
    return total_ns / SECOND


def _heard(scene: Scene) -> list[tuple[int, int]]:
    return [(piece.start_ns, piece.start_ns + _length_ns(piece)) for piece in scene.pieces]


def _length_ns(piece: Piece) -> int:
    try:
        info = inspect(piece.path)
    except RecordingError as error:
        raise SceneError(f"audio.csv row {piece.row}: {error}") from None
    return info.frames * SECOND // info.rate_hz


def _stated(scene: Scene) -> list[tuple[int, int]]:
    onsets = [pulse.detection.pick.onset_ns for pulse in scene.pulses]
    first_ns, last_ns = min([scene.start_ns, *onsets]), max([scene.start_ns, *onsets])
    spans = []
    for site in scene.network.sites:
        stated = scene.listening.get(site.sensor_id)
        from_ns = stated.from_ns if stated is not None and stated.from_ns is not None else first_ns
        to_ns = stated.to_ns if stated is not None and stated.to_ns is not None else last_ns
        spans.append((from_ns, to_ns))
    return spans

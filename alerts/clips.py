"""Clips: which stretch of sound belongs to which impulse, for as long as the desk remembers the impulse's incident."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND, after

if TYPE_CHECKING:
    from acoustic.detection import Clip

SURE_NS: Final = SECOND
"""A sensor whose word reaches so far behind the end of a clip has sent it: see `sensors.snipper.Snipper`."""


class Clips:
    """The clip of each impulse; the first one where it is told of several."""

    def __init__(self) -> None:
        self._of: dict[str, Clip] = {}  # by pulse_id
        self._ages: list[tuple[int, str]] = []  # a heap of when each clip began, and its pulse

    def __len__(self) -> int:
        return len(self._of)

    def add(self, pulse_ids: tuple[str, ...], clip: Clip) -> None:
        """Take the clip that holds the sound of some impulses."""
        for pulse_id in pulse_ids:
            if pulse_id not in self._of:
                self._of[pulse_id] = clip
                heapq.heappush(self._ages, (clip.start_ns, pulse_id))

    def of(self, pulse_id: str, watermark_ns: int) -> Clip | None:
        """The clip of an impulse, where every sensor's word up to the watermark means that it must have come."""
        clip = self._of.get(pulse_id)
        if clip is None or after(clip.start_ns, clip.duration_s) + SURE_NS > watermark_ns:
            return None
        return clip

    def forget(self, before_ns: int) -> None:
        """Let go of every clip that began before an instant."""
        while self._ages and self._ages[0][0] < before_ns:
            del self._of[heapq.heappop(self._ages)[1]]

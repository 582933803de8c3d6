"""The last seconds of a stream, and never more: what a listener looks back at, and all it could be asked for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ring:
    """Keeps the last ``capacity`` samples of a stream, each under its index since the stream began."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: expected 1 or more")
        self._kept = np.zeros(capacity, dtype=np.float32)
        self.end = 0  # index of the sample that comes next
        self._first = 0  # nothing before it was ever given since the last clear

    @property
    def begin(self) -> int:
        """Index of the oldest sample that is kept."""
        return max(self._first, self.end - self._kept.size)

    def append(self, samples: NDArray[np.float32]) -> None:
        """Take the samples that follow."""
        capacity = self._kept.size
        self.end += samples.size
        tail = samples[-capacity:]
        at = (self.end - tail.size) % capacity
        until_wrap = min(tail.size, capacity - at)
        self._kept[at : at + until_wrap] = tail[:until_wrap]
        self._kept[: tail.size - until_wrap] = tail[until_wrap:]

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """A copy of the samples from index ``start`` up to, not including, ``stop``.

        Raises
        ------
        ValueError
            When part of it is too old to be kept, or not there yet.
        """
        if not self.begin <= start <= stop <= self.end:
            raise ValueError(f"samples {start} to {stop} are wanted: {self.begin} to {self.end} are kept")
        capacity = self._kept.size
        at = start % capacity
        until_wrap = min(stop - start, capacity - at)
        return np.concatenate((self._kept[at : at + until_wrap], self._kept[: stop - start - until_wrap]))

    def clear(self, begin: int = 0) -> None:
        """Forget everything; the next sample has index ``begin``."""
        self._first = self.end = begin
        self._kept[:] = 0.0


class Tail:
    """The end of a stream, for as long as it is wanted and ``most`` samples at most, each under its index."""

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"most is {most}: expected 1 or more")
        self._most = most
        self._pieces: deque[NDArray[np.float32]] = deque()
        self.begin = 0  # index of the oldest sample that is kept
        self.end = 0  # index of the sample that comes next

    def __len__(self) -> int:
        return self.end - self.begin

    def append(self, samples: NDArray[np.float32]) -> None:
        """Take a copy of the samples that follow."""
        if samples.size:
            self._pieces.append(samples.copy())
            self.end += samples.size
            self.forget(self.end - self._most)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """A copy of the samples from index ``start`` up to, not including, ``stop``.

        Raises
        ------
        ValueError
            When part of it was forgotten, or is not there yet.
        """
        if not self.begin <= start <= stop <= self.end:
            raise ValueError(f"samples {start} to {stop} are wanted: {self.begin} to {self.end} are kept")
        kept = np.concatenate([*self._pieces, np.zeros(0, dtype=np.float32)])
        return kept[start - self.begin : stop - self.begin].copy()

    def forget(self, before: int) -> None:
        """Let go of every sample before index ``before``; the rest of its piece is copied, so that nothing lingers."""
        while self._pieces and self.begin < before:
            oldest = self._pieces.popleft()
            if self.begin + oldest.size <= before:
                self.begin += oldest.size
                continue
            self._pieces.appendleft(oldest[before - self.begin :].copy())
            self.begin = before

"""Raw PCM on standard input or any other pipe, as ``arecord -t raw`` and ``ffmpeg -f s16le`` give it."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from acoustic.instant import SECOND, check_instant, sample_instant
from sensors.pcm import from_pcm, sample_bytes
from sensors.source import Raw, SourceError

BLOCK_S: Final = 0.1
"""The most that is read at a time."""


class Piped:
    """Interleaved PCM without a header, read until its writer closes it.

    Parameters
    ----------
    descriptor : int
        An open file descriptor; 0 is standard input. It is not closed here. What has been read is gone: opened again,
        it goes on where it was.
    encoding : str
        One of `sensors.pcm.ENCODINGS`. A wrong one gives noise, not an error: nothing in the bytes says what they are.
    rate_hz, channels : int
    start_ns : int or None
        When the first sample was taken, where somebody knows: a recording that is piped. Without it a pipe's samples
        are stamped when they are read, less their length; a file's are not stamped at all.
    wall_ns : callable
        The system clock.

    Raises
    ------
    ValueError
        For an unknown encoding, a count of channels out of range, or what is not an instant.
    """

    name = "standard input"
    once = False

    def __init__(
        self,
        descriptor: int = 0,
        *,
        encoding: str,
        rate_hz: int,
        channels: int = 1,
        start_ns: int | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if not 1 <= channels <= 64:
            raise ValueError(f"channels is {channels}: expected 1 to 64")
        if start_ns is not None:
            check_instant(start_ns, "start_ns")
        self.rate_hz = rate_hz
        self.channels = channels
        self._descriptor = descriptor
        self._encoding = encoding
        self._frame_bytes = sample_bytes(encoding) * channels
        self._start_ns = start_ns
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._wake: int | None = None
        self.torn_bytes = 0
        """Bytes at the end that made no whole instant: with a right encoding there are none."""

    def open(self) -> Iterator[Raw]:
        """Read what comes.

        Raises
        ------
        SourceError
            When the descriptor is closed, and from the iterator when it cannot be read.
        """
        try:
            stamped = self._start_ns is None and not stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        except OSError as error:
            raise SourceError(f"{self.name}: not open ({error.strerror}); pipe samples into it") from None
        woken, wake = os.pipe()
        with self._lock:
            self._wake = wake
        return self._pieces(woken, wake, stamped=stamped)

    def counted(self) -> dict[str, int]:
        """Bytes that made no whole instant."""
        return {"torn_bytes": self.torn_bytes}

    def close(self) -> None:
        """Wake whoever waits for samples."""
        with self._lock:
            if self._wake is not None:
                # A pipe that is full wakes its reader just as well.
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake, b".")

    def _pieces(self, woken: int, wake: int, *, stamped: bool) -> Iterator[Raw]:
        count = 0
        rest = b""
        try:
            while data := self._read(woken):
                whole = len(rest + data) // self._frame_bytes * self._frame_bytes
                taken, rest = (rest + data)[:whole], (rest + data)[whole:]
                if not taken:
                    continue
                samples = from_pcm(taken, self._encoding, self.channels)
                wall_ns = self._wall_ns() - len(samples) * SECOND // self.rate_hz if stamped else None
                start_ns = None if self._start_ns is None else sample_instant(self._start_ns, count, self.rate_hz)
                yield Raw(samples, count, self.rate_hz, wall_ns=wall_ns, start_ns=start_ns)
                count += len(samples)
            self.torn_bytes += len(rest)
        finally:
            with self._lock:
                self._wake = None
            os.close(woken)
            os.close(wake)

    def _read(self, woken: int) -> bytes:
        """What has come; nothing at the end, or when `close` was called."""
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLIN)
        waiting.register(woken, select.POLLIN)
        if any(descriptor == woken for descriptor, _ in waiting.poll()):
            return b""
        try:
            return os.read(self._descriptor, max(round(BLOCK_S * self.rate_hz), 1) * self._frame_bytes)
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be read ({error.strerror}); start its writer again") from None

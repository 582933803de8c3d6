"""A microphone through PortAudio: the only file that opens one."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from acoustic.instant import SECOND
from sensors.microphones import Card, Microphone, check_keys, choose, microphone, read_cards
from sensors.pcm import from_pcm, sample_bytes
from sensors.source import Raw, SourceError

BLOCK_S: Final = 0.02
QUEUE_S: Final = 4.0
"""Sound kept while nobody takes it; what comes after that is dropped and counted."""

LATENCY_S: Final = 0.2  # asked of the driver: its own buffer, so that a busy moment of ours loses nothing
RELEASE_S: Final = 1.0  # for a driver to let go of a device that has vanished
MOST_DELAY: Final = 2.0  # between a sample and its callback, in latencies of the stream; more cannot be buffered

DTYPES: Final = MappingProxyType({16: "int16", 24: "int24", 32: "int32"})
ENCODINGS: Final = MappingProxyType({16: "s16le", 24: "s24le", 32: "s32le"})
RATES_TRIED_HZ: Final = (16_000, 32_000, 44_100, 48_000, 96_000, 192_000)


class _PortAudio:
    """PortAudio's one list of devices, which can only be read again while nothing is open."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open = 0

    def module(self) -> Any:
        """The module ``sounddevice``.

        Raises
        ------
        SourceError
            When PortAudio is not installed.
        """
        try:
            import sounddevice  # PortAudio is loaded only where a microphone is opened
        except OSError as error:
            raise SourceError(f"PortAudio cannot be loaded ({error}); apt install libportaudio2") from None
        return sounddevice

    def microphones(self, cards: dict[int, Card]) -> tuple[Microphone, ...]:
        """The inputs as they are now, or as they were when another stream of this process was opened."""
        sounddevice = self.module()
        with self._lock:
            if not self._open:
                sounddevice._terminate()  # noqa: SLF001 - its documented way of looking again
                sounddevice._initialize()  # noqa: SLF001 - as above
            listed = list(sounddevice.query_devices())
        inputs = [(place, one) for place, one in enumerate(listed) if one["max_input_channels"] > 0]
        return tuple(microphone(place, one["name"], one["max_input_channels"], cards) for place, one in inputs)

    def start(self, keys: Sequence[str], make: Callable[[Microphone], Any]) -> tuple[Microphone, Any]:
        """Find the microphone and start a stream of it, before anybody reads the list again."""
        with self._lock:
            try:
                chosen = choose(self.microphones(read_cards()), keys)
            except SourceError as error:
                if not self._open:
                    raise
                raise SourceError(f"{error}; the list is old: this process holds a microphone, restart it") from None
            stream = make(chosen)
            self._open += 1
            return chosen, stream

    def release(self, stream: Any) -> bool:
        """Close a stream; False when the driver does not let go within `RELEASE_S`."""
        closing = threading.Thread(target=self._close, args=(stream,), name="microphone-close", daemon=True)
        closing.start()
        closing.join(RELEASE_S)
        return not closing.is_alive()

    def _close(self, stream: Any) -> None:
        try:
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)
        finally:
            with self._lock:
                self._open -= 1


_PORT_AUDIO: Final = _PortAudio()


def microphones() -> tuple[Microphone, ...]:
    """Every input that can be heard now, for people who look for theirs.

    Raises
    ------
    SourceError
        When PortAudio is not installed.
    """
    return _PORT_AUDIO.microphones(read_cards())


@dataclass(frozen=True, slots=True)
class _Chunk:
    slot: int
    frames: int
    missed: int  # frames that found no room before these
    wall_ns: int
    overflowed: bool


class Capture:
    """A microphone, found by stable keys and opened at one rate.

    A sound card's samples are stamped by its driver's count of what is buffered; those of a sound server when they
    come, late by up to a few blocks and never early.

    Of several in one process, one that is lost is found again only under its old place in PortAudio's list until the
    others are closed: one process for each microphone is the rule. An array's channels are one microphone.

    Parameters
    ----------
    keys : sequence of str
        As for `sensors.microphones.choose`.
    rate_hz, channels, bits : int
        What is asked of the converter: 16, 24 or 32 bits, integer PCM.

    Raises
    ------
    ValueError
        For keys that name nothing, or other bits.
    """

    once = False

    def __init__(self, keys: Sequence[str], *, rate_hz: int = 48_000, channels: int = 1, bits: int = 16) -> None:
        check_keys(keys)
        if bits not in DTYPES:
            raise ValueError(f"bits is {bits}: expected 16, 24 or 32")
        if not 1 <= channels <= 64:
            raise ValueError(f"channels is {channels}: expected 1 to 64")
        self._keys = tuple(keys)
        self.rate_hz = rate_hz
        self.channels = channels
        self._bits = bits
        self._found: Microphone | None = None
        self._lock = threading.Lock()
        self._stream: Any = None
        self._deck: _Deck | None = None
        self.dropped = 0
        """Samples that were dropped because nobody took them."""
        self.overflows = 0
        """Times that the driver said it had lost samples, nobody knows how many."""

    @property
    def name(self) -> str:
        """The microphone's name once it is found, its first key before."""
        return self._found.name if self._found else self._keys[0]

    @property
    def bare(self) -> bool:
        """Whether a card of this machine was found, whose driver knows what is buffered; a sound server has none."""
        return self._found is not None and self._found.card is not None

    def open(self) -> Iterator[Raw]:
        """Find the microphone among those present now, start it, and give what it hears.

        Raises
        ------
        SourceError
            When it is not there, is in use, or cannot do what is asked; from the iterator when it is lost.
        """
        deck = _Deck(self.rate_hz, self.channels * sample_bytes(ENCODINGS[self._bits]))
        self._found, stream = _PORT_AUDIO.start(self._keys, lambda found: self._started(found, deck))
        with self._lock:
            self._stream, self._deck = stream, deck
        return self._pieces(deck)

    def counted(self) -> dict[str, int]:
        """Samples that nobody took, and times that the driver lost some."""
        return {"dropped_samples": self.dropped, "overflows": self.overflows}

    def close(self) -> None:
        """Stop it; whoever waits for samples is woken."""
        with self._lock:
            stream, deck = self._stream, self._deck
            self._stream = self._deck = None
        if deck is not None:
            deck.end()
        if stream is not None:
            _PORT_AUDIO.release(stream)

    def _started(self, found: Microphone, deck: _Deck) -> Any:
        sounddevice = _PORT_AUDIO.module()
        asked: dict[str, Any] = {"device": found.index, "channels": self.channels, "dtype": DTYPES[self._bits]}
        if self.channels > found.channels:
            raise SourceError(f"{found.name}: has {found.channels} channels, {self.channels} are asked for")
        try:
            stream = sounddevice.RawInputStream(
                samplerate=self.rate_hz,
                blocksize=round(BLOCK_S * self.rate_hz),
                latency=LATENCY_S,
                callback=deck.take,
                finished_callback=deck.lose,
                **asked,
            )
            deck.stream = stream
            if found.card is not None:
                deck.latency_s = float(stream.latency)
            stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SourceError(
                f"{found.name}: cannot be opened at {self.rate_hz} Hz with {self.channels} channels of {self._bits} bit"
                f" ({_one_line(error)}); {_possible(sounddevice, asked)}"
            ) from None
        return stream

    def _pieces(self, deck: _Deck) -> Iterator[Raw]:
        count = 0
        try:
            while (chunk := deck.next()) is not None:
                self.dropped += chunk.missed
                self.overflows += chunk.overflowed
                samples = from_pcm(deck.data(chunk), ENCODINGS[self._bits], self.channels)
                lost = count > 0 and (chunk.missed > 0 or chunk.overflowed)
                count += chunk.missed if count else 0
                yield Raw(samples, count, self.rate_hz, wall_ns=chunk.wall_ns, lost=lost)
                count += chunk.frames
            if deck.lost:
                raise SourceError(f"{self.name}: the microphone is gone; plug it in again, or look at its cable")
        finally:
            self.close()


class _Deck:
    """Blocks of memory between PortAudio's callback, which must never wait, and whoever reads."""

    def __init__(self, rate_hz: int, frame_bytes: int) -> None:
        self.stream: Any = None
        self.latency_s = 0.0
        self.lost = False
        self._rate_hz = rate_hz
        self._frame_bytes = frame_bytes
        # A driver may give more than it was asked for: a block that is too long for a slot takes several.
        self._slot_frames = round(2 * BLOCK_S * rate_hz)
        slots = round(QUEUE_S / BLOCK_S)
        self._slots = [bytearray(self._slot_frames * frame_bytes) for _ in range(slots)]
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[_Chunk | None] = queue.SimpleQueue()
        for slot in range(slots):
            self._free.put(slot)
        self._missed = 0
        self._ended = False

    def take(self, data: Any, frames: int, times: Any, status: Any) -> None:
        """PortAudio's callback: copy, stamp, return."""
        wall_ns = self._taken_ns(times, frames)
        overflowed = bool(status.input_overflow)
        for start in range(0, frames, self._slot_frames):
            part = min(self._slot_frames, frames - start)
            try:
                slot = self._free.get_nowait()
            except queue.Empty:
                self._missed += part
                continue
            first = start * self._frame_bytes
            size = part * self._frame_bytes
            self._slots[slot][:size] = data[first : first + size]
            since_ns = start * SECOND // self._rate_hz
            self._full.put(_Chunk(slot, part, self._missed, wall_ns + since_ns, overflowed))
            self._missed = 0
            overflowed = False

    def _taken_ns(self, times: Any, frames: int) -> int:
        """The system clock when the block's first sample was taken.

        Both clocks are read together here: the call may have waited for the interpreter since PortAudio's own time.
        """
        now_ns = time.time_ns()
        try:
            delay_s = float(self.stream.time - times.inputBufferAdcTime)
        except Exception:  # noqa: BLE001 - some drivers have no time, and what is raised here would end the stream
            delay_s = 0.0
        block_s = frames / self._rate_hz
        # A sound server's plug-in claims delays of half a second in its first one, and of less than nothing later; it
        # has no latency here. A block whose delay nobody knows has just been taken.
        if not block_s / 2.0 <= delay_s <= MOST_DELAY * self.latency_s:
            delay_s = block_s
        return now_ns - round(delay_s * SECOND)

    def lose(self) -> None:
        """PortAudio's word that the stream has ended, by itself or because it was told to."""
        self.lost = not self._ended
        self._full.put(None)

    def end(self) -> None:
        """Wake whoever waits, for good."""
        self._ended = True
        self._full.put(None)

    def next(self) -> _Chunk | None:
        """What was heard next; None at the end."""
        return self._full.get()

    def data(self, chunk: _Chunk) -> bytes:
        """A chunk's samples, copied out of its slot, which is free again."""
        data = bytes(memoryview(self._slots[chunk.slot])[: chunk.frames * self._frame_bytes])
        self._free.put(chunk.slot)
        return data


def _possible(sounddevice: Any, asked: dict[str, Any]) -> str:
    """The remedy: rates that the device says it can do, or who may hold it."""
    able = []
    for rate_hz in RATES_TRIED_HZ:
        try:
            sounddevice.check_input_settings(samplerate=rate_hz, **asked)
        except (sounddevice.PortAudioError, ValueError):
            continue
        able.append(str(rate_hz))
    if able:
        return f"it can do {', '.join(able)} Hz, unless another program holds it"
    return "another program may hold it, or it has other bits or channels: shotfix doctor lists them"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

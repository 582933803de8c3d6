"""The bench: what one worker process does with the chunks of its sensors. No clock, socket, file or thread."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from acoustic.watch import SHAPES
from acoustic.watch_kernels import GROUP
from sensors.chunk import ChunkError
from sensors.following import Following
from sensors.health import Heartbeat
from sensors.known_type import known
from sensors.message import Envelope
from sensors.wire import WireError, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from acoustic.block import AudioBlock
    from sensors.chunk import AudioChunk
    from sensors.hearing import Hearing, Setup
    from sensors.message import Content

Key: TypeAlias = tuple[str, str, int]
"""A chunk's node, boot and sequence number."""

CONTEXT_S: Final = 10.0
"""A listener that begins so long before a sound, at a place in step with where another one began, says of it what that
one says, bit for bit. Over the demonstration night, which is a busy one, 6.7 s were the most that was needed; a quiet
street needs a third of a second."""
LONGEST_STEP_S: Final = 16
"""Where listeners are in step only at places further apart than this, any full second must do."""
UNDECIDED_S: Final = 1.5  # the last heartbeat's second, and its lag


def step(rate_hz: int) -> int:
    """At which multiples of how many samples a second listener is in step with the first.

    Two things in a listener have a beat of their own: its heartbeat, a second long, and the groups of blocks from which
    its watch learns what is usual. Eight seconds at 48 kHz; at 44.1 kHz it would be 256, so that there any full second
    is taken, and now and then another impulse is noticed, or one is timed a little otherwise.
    """
    shape = next(shape for most_hz, shape in SHAPES.items() if rate_hz <= most_hz)
    both = math.lcm(rate_hz, shape.block * GROUP)
    return both if both <= LONGEST_STEP_S * rate_hz else rate_hz


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one chunk, or of a stream's end: what was said, what may be forgotten, and what was wrong."""

    node_id: str
    boot_id: str
    contents: tuple[Content, ...] = ()
    freed: tuple[Key, ...] = ()
    faults: tuple[str, ...] = ()


class Seat:
    """Hears the chunks of one sensor, and knows which of them another listener would need to say the same again."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._hearing: Hearing = setup.hearing()
        self._epoch = ""
        self._next = 0  # index of the sample that comes next in the epoch
        self._stream: Following | None = None
        self._word_ns: int | None = None  # the last heartbeat's, in this stream
        self._open: deque[tuple[Key, int]] = deque()  # chunks, and how many samples of the stream there are behind each

    def hear(self, key: Key, chunk: AudioChunk) -> Answer:
        """Take the next chunk; one that was heard already is passed over, one that cannot be decoded is a gap.

        What is damaged need not be kept: it is damaged at the node, too, where it was signed.
        """
        if chunk.epoch == self._epoch and chunk.index + chunk.count <= self._next:
            return Answer(*key[:2], freed=(key,))
        try:
            block = chunk.block()
        except ChunkError as error:
            return Answer(*key[:2], freed=(key,), faults=(str(error),))
        said: list[Content] = []
        freed: list[Key] = []
        if self._stream is None or chunk.epoch != self._epoch or not self._stream.continued_by(block):
            block, ended = self._begin(block)
            said += ended
            freed += self._free_all()
        self._epoch, self._next = chunk.epoch, chunk.index + chunk.count
        said += self._continue(key, block)
        return Answer(*key[:2], tuple(said), (*freed, *self._free()))

    def finish(self, node_id: str) -> Answer:
        """The end of the stream: everything in it is decided."""
        boot_id = self._open[-1][0][1] if self._open else ""
        said = self._hearing.finish()
        self._stream, self._epoch = None, ""
        return Answer(node_id, boot_id, said, self._free_all())

    def _begin(self, block: AudioBlock) -> tuple[AudioBlock, tuple[Content, ...]]:
        """What was said to the end of the stream before, and the block that begins the next."""
        block = replace(block, after_gap=True)
        head, rest = block.split(0)
        self._stream, self._word_ns = Following(block), None
        return rest, self._hearing.hear(head)

    def _continue(self, key: Key, block: AudioBlock) -> tuple[Content, ...]:
        said = self._hearing.hear(block)
        if self._stream is not None:
            self._stream.take(block)
            self._open.append((key, self._stream.count))
        for message in said:
            if isinstance(message, Heartbeat):
                self._word_ns = message.heard_until_ns
        return said

    def _free(self) -> tuple[Key, ...]:
        """The chunks that no listener needs to say what is still to be said."""
        if self._stream is None or self._word_ns is None:
            return ()
        needed_ns = min(self._word_ns, self._hearing.needed_from_ns or self._word_ns)
        rate_hz = self._stream.rate_hz
        needed = min(self._stream.first_at(needed_ns), self._stream.count - round(UNDECIDED_S * rate_hz))
        places = step(rate_hz)
        begin = (needed - round(CONTEXT_S * rate_hz)) // places * places
        freed: list[Key] = []
        while self._open and self._open[0][1] <= begin:
            freed.append(self._open.popleft()[0])
        return tuple(freed)

    def _free_all(self) -> tuple[Key, ...]:
        freed = tuple(key for key, _ in self._open)
        self._open.clear()
        return freed


class Bench:
    """The seats of one worker, by sensor."""

    def __init__(self, setups: Iterable[Setup]) -> None:
        self._seats = {setup.sensor_id: Seat(setup) for setup in setups}
        self._nodes: dict[str, str] = {}  # who spoke last for each sensor

    def hear(self, key: Key, chunk: AudioChunk) -> Answer:
        """Take a chunk of any of its sensors.

        Whatever goes wrong with it is told and costs that sensor its stream, and nobody else anything.
        """
        seat = self._seats.get(chunk.sensor_id)
        if seat is None:
            return Answer(*key[:2], freed=(key,), faults=(f"sensor {chunk.sensor_id}: nobody listens to it here",))
        self._nodes[chunk.sensor_id] = key[0]
        try:
            return seat.hear(key, chunk)
        except Exception as error:  # noqa: BLE001 - one sensor must not silence the others of its worker
            self._seats[chunk.sensor_id] = Seat(seat.setup)
            fault = f"chunk {chunk.index} of sensor {chunk.sensor_id}: {type(error).__name__}: {error}"
            return Answer(*key[:2], freed=(key,), faults=(" ".join(fault.split()),))

    def finish(self, node_id: str, sensor_id: str) -> Answer:
        """A sensor's stream ends."""
        seat = self._seats.get(sensor_id)
        return Answer(node_id, "") if seat is None else seat.finish(node_id)

    def revise(self, setups: Iterable[Setup]) -> tuple[Answer, ...]:
        """Another network: the streams of sensors that are gone or heard otherwise end, and begin anew."""
        before, self._seats = self._seats, {setup.sensor_id: Seat(setup) for setup in setups}
        ended: list[Answer] = []
        for name, seat in before.items():
            same = self._seats.get(name)
            if same is not None and same.setup == seat.setup:
                self._seats[name] = seat
            elif name in self._nodes:
                ended.append(seat.finish(self._nodes[name]))
        return tuple(ended)


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    node_id: str
    boot_id: str
    contents: tuple[bytes, ...]
    freed: tuple[tuple[str, str, int], ...]
    faults: tuple[str, ...]


def encode_answer(answer: Answer) -> bytes:
    """An answer as bytes: the process that decoded a stranger's audio is not believed to send records."""
    contents = tuple(encode(Envelope(answer.node_id, "0" * 8, 0, content)) for content in answer.contents)
    return msgspec.msgpack.encode(_Form(answer.node_id, answer.boot_id, contents, answer.freed, answer.faults))


def decode_answer(message: bytes) -> Answer:
    """The answer in these bytes.

    Raises
    ------
    WireError
        When they are none.
    """
    try:
        form = msgspec.msgpack.decode(message, type=known(_Form))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not a worker's answer: {error}") from None
    contents = tuple(decode(content).content for content in form.contents)
    return Answer(form.node_id, form.boot_id, contents, form.freed, form.faults)

"""Hearing: all that happens to one sensor's sound, wherever it happens; a listener, and a snipper beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from acoustic.air import Air
from acoustic.detection import Detection
from sensors.health import ClockState, Heartbeat
from sensors.listener import Listener
from sensors.snipper import Keeping, Snipper
from sensors.snippet import Snippet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from acoustic.block import AudioBlock
    from acoustic.classifier import Classifier
    from sensors.site import Element

Message: TypeAlias = Detection | Heartbeat | Snippet
"""What leaves a node of the sound that it hears, and nothing else."""

AT_ONCE_S: Final = 1
"""Longer blocks are heard in pieces, so that memory does not depend on who cuts them."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How one sensor is heard: what a `Hearing` is made from, wherever that runs; the arguments of `Hearing`."""

    sensor_id: str
    full_scale_db_spl: float | None = None
    clock: ClockState = field(default_factory=ClockState)
    elements: tuple[Element, ...] = ()
    air: Air = field(default_factory=Air)
    keeping: Keeping = field(default_factory=Keeping)

    def hearing(self) -> Hearing:
        """A fresh one."""
        return Hearing(
            self.sensor_id,
            full_scale_db_spl=self.full_scale_db_spl,
            clock=self.clock,
            elements=self.elements,
            air=self.air,
            keeping=self.keeping,
        )


class Hearing:
    """Hears one sensor, and keeps the sound of what it reports. No clock, file or thread.

    It runs at the node, at the centre and in a replay, and says the same everywhere: its output depends on the samples,
    their indexes and their timings alone, not on how they are cut into blocks.

    Parameters
    ----------
    sensor_id, full_scale_db_spl, clock, classifier, elements, air
        As `sensors.listener.Listener` takes them.
    keeping : Keeping
        What may be kept and sent of the sound itself.
    """

    def __init__(
        self,
        sensor_id: str,
        *,
        full_scale_db_spl: float | None = None,
        clock: ClockState | None = None,
        classifier: Classifier | None = None,
        elements: Sequence[Element] = (),
        air: Air | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.sensor_id = sensor_id
        self._listener = Listener(
            sensor_id,
            full_scale_db_spl=full_scale_db_spl,
            clock=clock,
            classifier=classifier,
            elements=elements,
            air=air,
        )
        keeping = keeping or Keeping()
        self._snipper = Snipper(sensor_id, keeping) if keeping.wanted else None

    @property
    def kept_s(self) -> float:
        """How much of the stream is in memory for snippets, s; the listener keeps its last two seconds besides."""
        return 0.0 if self._snipper is None else self._snipper.kept_s

    @property
    def needed_from_ns(self) -> int | None:
        """From when on sound is needed for snippets that are not cut yet; None when none is pending."""
        return None if self._snipper is None else self._snipper.needed_from_ns

    def hear(self, block: AudioBlock) -> tuple[Message, ...]:
        """Take the next block, as `Listener.hear` does.

        Returns
        -------
        tuple of Detection, Heartbeat and Snippet
            In order. A snippet comes before the first heartbeat that vouches for two seconds behind its last onset,
            or before the one that ends its stream.
        """
        if self._snipper is None:
            return self._listener.hear(block)
        told: list[Message] = []
        for piece in _pieces(block):
            rest = piece
            if not self._snipper.continued_by(piece):
                # Without a sample, so that what the listener says is of the stream that ends here, and only of that.
                head, rest = piece.split(0)
                told += self._snipper.finish(self._listener.hear(head))
            told += self._snipper.hear(rest, self._listener.hear(rest))
        return tuple(told)

    def finish(self) -> tuple[Message, ...]:
        """The end of the stream: what is pending, and the last word."""
        said = self._listener.finish()
        return said if self._snipper is None else self._snipper.finish(said)


def _pieces(block: AudioBlock) -> Iterator[AudioBlock]:
    most = AT_ONCE_S * block.rate_hz
    while len(block.samples) > most:
        head, block = block.split(most)
        yield head
    yield block

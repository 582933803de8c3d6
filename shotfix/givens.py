"""Givens: register, weather and calendar of a running engine, as they are wanted and as its core has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shotfix.engine_parts import Arrival
from shotfix.entries import calendar_body, weather_body

if TYPE_CHECKING:
    from acoustic.air import Air
    from alerts.calendar_event import ExpectedEvent


@dataclass(slots=True, kw_only=True)
class Givens:
    """What a core is told beside what is heard.

    What is wanted is set from any thread, one member at a time; a difference from what was taken becomes an entry again
    and again, until the disk takes it.

    Parameters
    ----------
    registry, air, events
        As they are wanted; the register encoded.
    taken_registry, taken_air, taken_events
        As the core has them.
    """

    registry: bytes
    air: Air
    events: tuple[ExpectedEvent, ...]
    taken_registry: bytes
    taken_air: Air
    taken_events: tuple[ExpectedEvent, ...]

    def take(self, arrival: Arrival) -> None:
        """Note what an entry, which is on the disk now, gave to the core."""
        if arrival.kind == "network":
            self.taken_registry = arrival.body
        elif arrival.air is not None:
            self.taken_air = arrival.air
        elif arrival.events is not None:
            self.taken_events = arrival.events

    def missing(self, now_ns: int) -> list[Arrival]:
        """Entries to be, by which the core has what is wanted."""
        registry, air, events = self.registry, self.air, self.events
        wanted = []
        if registry != self.taken_registry:
            wanted.append(Arrival("network", now_ns, registry))
        if air != self.taken_air:
            wanted.append(Arrival("weather", now_ns, weather_body(air), air=air))
        if events != self.taken_events:
            wanted.append(Arrival("calendar", now_ns, calendar_body(events), events=events))
        return wanted

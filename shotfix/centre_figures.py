"""Figures of a centre beside those of engine and ingest: doors, workers, couriers, people's work, the calendar."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from shotfix.api.application import Api
    from shotfix.engine import Engine
    from shotfix.telling import Telling
    from shotfix.tidying import Tidying

_OF_THE_DESK = ("acts_passed_over", "acts_repeated", "unsurveyed")


class Beside:
    """What the parts of a centre count, gathered when somebody asks.

    Parameters
    ----------
    engine, telling, api, tidying
        Parts that every centre has.
    """

    def __init__(self, engine: Engine, telling: Telling, api: Api, tidying: Tidying) -> None:
        self._engine = engine
        self._telling = telling
        self._api = api
        self._tidying = tidying
        self._parts: dict[str, Callable[[], Any]] = {}

    def add(self, name: str, counts: Callable[[], Any]) -> None:
        """A part that only some centres have, or that comes later: its counts by kind, as a mapping or a record."""
        self._parts[name] = counts

    def counts(self) -> dict[str, dict[str, int]]:
        """What was done since the start: by name, by kind."""
        desk = self._engine.core.machines.desk.counts
        mine = {"desk": {name: desk[name] for name in _OF_THE_DESK}, "tidying": dict(self._tidying.counts)}
        parts = {name: _kinds(counts()) for name, counts in self._parts.items()}
        return mine | self._telling.counts() | self._api.counts() | parts

    def levels(self) -> dict[str, dict[str, int]]:
        """How things stand: by name, by kind.

        Raises
        ------
        StoreError
            When the record cannot be asked.
        """
        events = self._engine.core.machines.expectation.counts
        brought = {f"{event}: {what}": count for event, counts in events.items() for what, count in counts.items()}
        return self._telling.levels() | {"expected_incidents": brought}


def _kinds(counts: Any) -> dict[str, int]:
    found = counts if isinstance(counts, Mapping) else dataclasses.asdict(counts)
    return {kind: int(count) for kind, count in found.items()}

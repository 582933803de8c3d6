"""Withholding: of which incidents the streams of events must be silent to whom, read once for all who listen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from alerts.review.case import same_person

if TYPE_CHECKING:
    from shotfix.api.services import Services
    from shotfix.api.works import Works

KEPT_S: Final = 1.0
"""How long what was read counts while this process writes nothing: another may write to the same record."""


class Withholding:
    """Who has which incidents in hand to say blindly what they were.

    Parameters
    ----------
    services : Services
        What the API stands on.
    works : Works
        Where it waits for the disk.
    """

    def __init__(self, services: Services, works: Works) -> None:
        self._services = services
        self._works = works
        self._lock = asyncio.Lock()  # a thousand streams that wake together ask once
        self._held: list[tuple[str, str]] = []
        self._changes = -1
        self._until_s = 0.0

    async def of(self, who: str) -> frozenset[str]:
        """The incidents that are withheld from a person now.

        Raises
        ------
        StoreError
            When the record cannot be read.
        Problem
            When too much waits for the disk.
        """
        async with self._lock:
            changes, now_s = self._services.store.changes, asyncio.get_running_loop().time()
            if changes != self._changes or now_s >= self._until_s:
                self._held = await self._works.do(self._services.reviews.held_blind, self._services.now_ns())
                self._changes, self._until_s = changes, now_s + KEPT_S
            return frozenset(name for name, holder in self._held if same_person(holder, who))

"""Tidying: what a centre does each minute or hour beside its work; nothing of it may stop the alerts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from acoustic.instant import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from alerts.calendar_event import ExpectedEvent
    from alerts.review.acts import Decision
    from shotfix.config import RecordConfig
    from shotfix.engine import Engine
    from shotfix.telling import Telling

PARTS: Final = ("journal", "record", "ledger", "sound", "tokens", "calendar", "acts")
HOUR_S: Final = 3600.0
MINUTE_S: Final = 60.0
LEFT_BEHIND_NS: Final = 60 * SECOND
"""What a person decided is told within seconds; what is not after so long was refused by a disk."""

_log = logging.getLogger(__name__)


class Tidying:
    """Rounds through journal, record and sound; a part that fails is told and counted, and tried again next time.

    Parameters
    ----------
    engine : Engine
        Whose journal it is.
    telling : Telling
        Whose record and sound.
    keeps : RecordConfig
        How much is kept.
    calendar : callable
        Reads the calendar as it is now.
    """

    def __init__(
        self,
        engine: Engine,
        telling: Telling,
        keeps: RecordConfig,
        calendar: Callable[[], tuple[ExpectedEvent, ...]] = tuple,
    ) -> None:
        failed = (f"{part}-failed" for part in PARTS)
        self.counts: Counter[str] = Counter(dict.fromkeys(("rounds", *failed), 0))
        self._engine = engine
        self._telling = telling
        self._keeps = keeps
        self._calendar = calendar
        self._unsurveyed = 0

    async def run(self, submit: Callable[[Decision], Future[bool]]) -> None:
        """Let go of what is older, or more, than the configuration keeps: at the start, and each hour; until cancelled.

        In between, what was left behind is looked for: acts that the journal refused, the end of the ledger.
        """
        while True:
            await asyncio.to_thread(self.round)
            for _ in range(round(HOUR_S / MINUTE_S)):
                await asyncio.sleep(MINUTE_S)
                await asyncio.to_thread(self.resume, submit)
                await asyncio.to_thread(self.note_head)

    def round(self) -> None:
        """Let go of what may go; raises nothing."""
        self._try("journal", lambda: self._engine.tidy(self._keeps.journal_days, self._keeps.journal_bytes))
        self._try("record", self._telling.retire)
        self.note_head()
        self._try("sound", self._sweep)
        self._try("tokens", self._telling.people.keep)
        self._try("calendar", lambda: self._engine.expect(self._calendar()))
        self.counts["rounds"] += 1

    def note_head(self) -> None:
        """Write down how far the ledger goes, and see whether it can go on; raises nothing."""
        self._telling.look()
        self._try("ledger", self._telling.note_head)

    def resume(self, submit: Callable[[Decision], Future[bool]]) -> None:
        """Hand over again what people decided and no alert says yet, and tell of places without names; raises nothing.

        Who submits what the engine has heard already is told so by nobody: it passes over it.
        """
        self._try("acts", lambda: self._telling.resume(submit, LEFT_BEHIND_NS))
        unsurveyed = self._engine.core.machines.desk.counts["unsurveyed"]
        if unsurveyed > self._unsurveyed:
            words = "%d alerts went out without an address since the start: is the file of places as it was?"
            _log.error(words, unsurveyed)
        self._unsurveyed = unsurveyed

    def _sweep(self) -> None:
        swept = self._telling.clips.sweep(time.time(), self._telling.named.digests().__contains__)
        if swept:
            _log.info("let go of %d clips that no alert names", swept)

    def _try(self, part: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (whatever refuses now may be mended within the hour)
            self.counts[f"{part}-failed"] += 1
            _log.error("the %s was not looked after, and will be in an hour: %s", part, error)

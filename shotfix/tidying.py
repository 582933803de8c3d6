"""Tidying: what a centre lets go of once an hour, because it is older, or more, than the configuration keeps."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shotfix.clips import ClipStore
    from shotfix.config import RecordConfig
    from shotfix.engine import Engine
    from shotfix.named_sound import NamedSound

_log = logging.getLogger(__name__)


class Tidying:
    """Rounds through journal and sound; a part that fails is told and counted, and tried again in the next round.

    Parameters
    ----------
    engine : Engine
        Whose journal it is.
    clips : ClipStore
        The sound.
    named : NamedSound
        Which of it stays.
    keeps : RecordConfig
        How much is kept.
    """

    def __init__(self, engine: Engine, clips: ClipStore, named: NamedSound, keeps: RecordConfig) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(("rounds", "journal-failed", "sound-failed"), 0))
        self._engine = engine
        self._clips = clips
        self._named = named
        self._keeps = keeps

    def round(self) -> None:
        """Let go of what may go; raises nothing."""
        self._try("journal", lambda: self._engine.tidy(self._keeps.journal_days, self._keeps.journal_bytes))
        self._try("sound", self._sweep)
        self.counts["rounds"] += 1

    def _sweep(self) -> None:
        swept = self._clips.sweep(time.time(), self._named.digests().__contains__)
        if swept:
            _log.info("let go of %d clips that no alert names", swept)

    def _try(self, part: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (whatever refuses now may be mended within the hour)
            self.counts[f"{part}-failed"] += 1
            _log.error("the %s was not tidied, and takes more room until it is: %s", part, error)

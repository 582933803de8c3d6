"""The room in which all calls are answered: the services, the threads, the log, the feed of events."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Final

from shotfix.api.access_log import AccessLog
from shotfix.api.attempts import Attempts
from shotfix.api.feed import Feed
from shotfix.api.repeats import Repeats
from shotfix.api.sound_quota import SoundQuota
from shotfix.api.token_log import TokenLog
from shotfix.api.withholding import Withholding
from shotfix.api.works import Works

if TYPE_CHECKING:
    from collections.abc import Callable

    from shotfix.api.services import Services

PATIENCE_S: Final = 5.0
"""At a stop, for calls under way; an act that was written needs no answer to be told."""


class Room:
    """What outlives a call.

    Parameters
    ----------
    services : Services
        What the API stands on.
    document : callable
        The OpenAPI document.
    """

    def __init__(self, services: Services, document: Callable[[], bytes]) -> None:
        self.document = document
        self.services = services
        self.stopped = False
        self.works = Works()
        self.attempts = Attempts()
        self.sound = SoundQuota(services.clips_per_hour)
        self.access = AccessLog(services.store, self.works)
        self.repeats = Repeats()
        self.named_clips = services.named_clips
        self.withheld = Withholding(services, self.works)
        self.feed = Feed(services.store, services.outbox.wake)
        self.token_log = TokenLog(services.store, services.people, services.now_ns)
        self._noting: asyncio.Task[int] | None = None
        self._looking: asyncio.Task[None] | None = None
        self.answered: Counter[int] = Counter()
        """Answers since the start, by status."""
        self.busy: Counter[str] = Counter()
        """Calls that each person has under way."""

    async def look_at_people(self) -> None:
        """Take over a change of the register of people: in a thread, and once for all who wait for it.

        A large register takes a second to read, in which batches of sensors must be answered.
        """
        if not self.services.people.is_due():
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(asyncio.to_thread(self.services.people.look))
        await asyncio.shield(self._looking)  # who goes away must not end it for the others

    def heed_people(self) -> None:
        """Have the ledger told of tokens that were given or taken since; in the event loop, and at once done."""
        if self.token_log.is_behind and (self._noting is None or self._noting.done()):
            self._noting = asyncio.get_running_loop().create_task(asyncio.to_thread(self.token_log.note))

    @property
    def troubles(self) -> list[str]:
        """What is wrong, in words that strangers may read: no paths, no names."""
        people = (
            "the register of people cannot be used as it is; the log says why" if self.services.people.trouble else ""
        )
        return [words for words in (people, self.access.trouble, self.feed.trouble) if words]

    def counts(self) -> dict[str, dict[str, int]]:
        """What the metrics page shows of the API, by name: each by kind."""
        return {
            "api_answers": {str(status): count for status, count in sorted(self.answered.items())},
            "api_doings": {
                "access-lost": self.access.lost,
                "access-waiting": len(self.access),
                "busy": self.works.refused,
                "locked-out": self.attempts.locked_out,
                "repeated": self.repeats.repeated,
                "token-refused": self.attempts.failed,
            },
            "api_streams": dataclasses.asdict(self.feed.counts),
        }

    async def stop(self) -> None:
        """Take no more calls, end every stream and what is under way, and write down what waits."""
        self.stopped = True
        await self.feed.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while self.busy:  # noqa: ASYNC110  (whoever leaves tells nobody)
                    await asyncio.sleep(0.02)
        await asyncio.gather(*filter(None, (self._noting, self._looking)), return_exceptions=True)
        await self.access.stop()
        await asyncio.to_thread(self.works.close)

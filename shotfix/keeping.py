"""Keeping: what the engine's alerts and sound become in the record, each alert once."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from alerts.record.ledger import Ledger
from alerts.record.store import ContradictionError, StoreError
from alerts.review.errors import ReviewError
from alerts.review.passed_over import pass_over
from alerts.review.rules import ReviewRules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alerts.alert import Alert
    from alerts.delivery import Route
    from alerts.record.store import Store
    from alerts.review.acts import Decision
    from sensors.snippet import Snippet
    from shotfix.clips import ClipStore

WAIT_S: Final = 0.2
MOST_WAITING_BYTES: Final = 64 << 20
"""Sound that waits to be stored, while workers or the disk are behind; beyond, the oldest is let go."""

_log = logging.getLogger(__name__)


class Keeping:
    """Puts alerts into the store, with what is to be delivered of them, and sound beside it.

    Parameters
    ----------
    store : Store
        The record.
    routes : sequence of Route
        Which couriers carry which outcomes.
    clips : ClipStore
        Where sound lies.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    most_waiting_bytes : int
        Of sound that waits to be stored.
    rules : ReviewRules or None
        How review is done, for what people said and what is carried to another incident.
    """

    def __init__(
        self,
        store: Store,
        routes: Sequence[Route],
        clips: ClipStore,
        now_ns: Callable[[], int],
        most_waiting_bytes: int = MOST_WAITING_BYTES,
        rules: ReviewRules | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Revisions of alerts that were kept, by outcome."""
        self.contradicted = 0
        """Alerts that were stored before in other words."""
        self.passed_over = 0
        """Acts of people that made no sense any more when they were to be told."""
        self.sound: Counter[str] = Counter(dict.fromkeys(("lost", "refused", "crowded-out"), 0))
        """Sound that was not kept: ``lost`` to a disk that is full or a fault of ours, ``refused`` as not what it says,
        and ``crowded-out`` while too much waited."""
        self.check: Callable[[Snippet], bool] | None = None
        """Hands sound to a process in which it may be decoded, False while that is behind; `put_sound` is then called
        with what it found. None: it is decoded here."""
        self.hand_over: Callable[[Decision], object] | None = None
        """Hands an act that was carried to another incident to the engine. None: the next start finds it."""
        self._rules = rules or ReviewRules()
        self._waiting: deque[Snippet] = deque()
        self._waiting_bytes = 0
        self._most_waiting_bytes = most_waiting_bytes
        self._came = threading.Condition()  # guards all that is told of sound
        self._unstored = 0
        self._store = store
        self._routes = tuple(routes)
        self._clips = clips
        self._now_ns = now_ns

    def keep(self, alerts: Sequence[Alert]) -> None:
        """Store alerts and queue their deliveries, in one transaction.

        An alert that is stored already in other words (its first telling went out, it cannot be unsaid) is passed over,
        counted and told in the log.

        Raises
        ------
        StoreError
            When the disk refuses; nothing is kept then.
        """
        try:
            self._store.keep(alerts, self._routes, self._now_ns())
        except ContradictionError:
            for alert in alerts:
                self._keep_one(alert)
        for alert in alerts:
            self.counts[alert.outcome] += 1
            _log.info("%s %s, %s: %s", alert.message_id, alert.status, alert.outcome, alert.reason)

    def keep_missing(self, alerts: Sequence[Alert]) -> int:
        """Store those of which no telling is stored yet; how many there were."""
        missing = [alert for alert in alerts if self._store.document(alert.alert_id, alert.revision) is None]
        if missing:
            self.keep(missing)
        return len(missing)

    def keep_sound(self, snippet: Snippet) -> None:
        """Have a snippet stored by the thread that `run`s; at a full disk sound is lost, alerts are not."""
        with self._came:
            self._unstored += 1
            self._waiting.append(snippet)
            self._waiting_bytes += len(snippet.flac)
            while self._waiting_bytes > self._most_waiting_bytes:
                self._waiting_bytes -= len(self._waiting.popleft().flac)
                self._unstored -= 1
                self.sound["crowded-out"] += 1
            self._came.notify()

    def pass_over(self, act_id: str) -> None:
        """Put aside an act that no revision will name, or say it of what took its incident in.

        Where the record refuses, it comes again: what is not applied is handed over anew, each minute and at a start.
        """
        at_ns, ledger = self._now_ns(), Ledger(self._store)
        try:
            put = self._store.write(lambda connection: pass_over(connection, ledger, act_id, at_ns, self._rules))
        except (StoreError, ReviewError) as error:
            _log.error("%s made no sense any more and could not be put aside: %s", act_id, error)
            return
        if put is None:
            return
        self.passed_over += 1
        if put.carried is None:
            _log.warning("%s made no sense any more when it was to be told; a person has to look again", act_id)
            return
        _log.info("%s was said of a part of %s, and is said of that now", act_id, put.carried.act.incident_id)
        if self.hand_over is not None:
            self.hand_over(put.carried)

    @property
    def settled(self) -> bool:
        """Whether all sound that was handed over is stored, or refused."""
        return self._unstored == 0

    def run(self, stop: threading.Event) -> None:
        """Store sound until ``stop`` is set."""
        while not stop.is_set():
            snippet = self._next()
            if snippet is None:
                continue
            if self.check is None:
                self.put_sound(snippet, checked=False)
                continue
            while not self.check(snippet) and not stop.wait(WAIT_S):
                pass

    def put_sound(self, snippet: Snippet, fault: str | None = None, *, checked: bool = True) -> None:
        """Store a snippet, unless somebody found that it is not what it says; once for each that was handed over."""
        became = "refused"
        try:
            if fault is not None:
                _log.warning("sound of %s was not kept: %s", snippet.sensor_id, fault)
            else:
                became = "" if self._clips.put(snippet, checked=checked) else "lost"
        except Exception:  # noqa: BLE001  (one sound that we fail on must not cost all the others)
            became = "lost"
            _log.exception("sound of %s was not kept, a fault of ours", snippet.sensor_id)
        finally:
            with self._came:
                self._unstored -= 1
                if became:
                    self.sound[became] += 1

    def _next(self) -> Snippet | None:
        """The sound that has waited longest; None when none comes for a while."""
        with self._came:
            if not self._waiting:
                self._came.wait(WAIT_S)
            if not self._waiting:
                return None
            snippet = self._waiting.popleft()
            self._waiting_bytes -= len(snippet.flac)
            return snippet

    def _keep_one(self, alert: Alert) -> None:
        try:
            self._store.keep([alert], self._routes, self._now_ns())
        except ContradictionError as error:
            self.contradicted += 1
            _log.error("passed over: %s", error)

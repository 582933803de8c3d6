"""Telling: the record of a centre, the couriers that carry it, and the people who look at it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from acoustic.instant import parse_instant
from alerts.bucket import Bucket
from alerts.couriers.destination import Destination
from alerts.couriers.drop import Drop
from alerts.couriers.webhook import Secret, Signing, Webhook
from alerts.delivery import Route
from alerts.record.heads import HEADS, HeadsFile
from alerts.record.ledger import Ledger
from alerts.record.outbox import Outbox
from alerts.record.retention import Keep, retire
from alerts.record.store import Store, StoreError
from alerts.review.reviews import Reviews
from alerts.review.rules import ReviewRules
from alerts.words import plain
from shotfix.api.people import People
from shotfix.api.services import KEY, Services, read_key
from shotfix.api.token_uses import IdleRule
from shotfix.clips import ClipStore, Retention
from shotfix.keeping import Keeping
from shotfix.named_clips import NamedClips
from shotfix.outbox_pump import Pump

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from alerts.record.chain import Fault
    from alerts.review.reviews import Decision
    from shotfix.api.sensor_states import SensorState
    from shotfix.config import CourierConfig, SiteConfig
    from shotfix.crew import Crew

SOURCE: Final = "/shotfix/"
"""With what the source of CloudEvents begins; the site's name follows."""
DAY_S: Final = 86_400.0

_log = logging.getLogger(__name__)


class Telling:
    """What of a centre tells people, opened.

    Parameters
    ----------
    config : SiteConfig
        What the centre is told.
    opened : ExitStack
        Closes what is opened here.
    now_ns : callable
        The wall clock, nanoseconds UTC.

    Raises
    ------
    StoreError, OSError
        When the record cannot be opened; each says what to do.
    """

    def __init__(self, config: SiteConfig, opened: contextlib.ExitStack, now_ns: Callable[[], int]) -> None:
        data, review = config.site.data_dir, config.review
        self._config = config
        self._opened = opened
        self._now_ns = now_ns
        self.store = opened.enter_context(Store(config.record_at))
        self.ledger = Ledger(self.store)
        self.heads = HeadsFile(data / HEADS)
        self.fault = self._look_back()
        opened.callback(self._note_last_head)
        self.people = People(
            config.people_file, idle=IdleRule(config.people.idle_days, config.people.program_idle_days)
        )
        opened.callback(self._note_last_uses)
        self.outbox = Outbox(self.store)
        self.couriers = tuple(courier.name for courier in config.couriers)
        routes = [Route(c.name, c.outcomes) for c in config.couriers]  # type: ignore[arg-type]  # checked by the configuration
        kept = Retention(config.record.audio_days * DAY_S, config.record.audio_bytes)
        self.clips = ClipStore(data / "audio", kept)
        self.key = read_key(data / KEY)
        # Whoever could tell beforehand which verdicts are looked at twice would be careful with those.
        seed = hashlib.sha256(b"second reviewer\n" + self.key).hexdigest()
        rules = ReviewRules(review.claim_s, review.second_share, seed)
        self.reviews = Reviews(self.store, rules)
        self.keeping = Keeping(self.store, routes, self.clips, now_ns, rules=rules)
        self.named = NamedClips(self.store)
        self.retired: Counter[str] = Counter()
        """What retention let go of, by what it was."""
        self.pumps: list[Pump] = []
        self._webhooks: list[tuple[CourierConfig, Webhook]] = []
        self._refusal = ""

    def begin(self, crew: Crew, stop: threading.Event) -> None:
        """Have the crew store sound and carry alerts until ``stop`` is set."""
        crew.thread("keeper of sound", functools.partial(self.keeping.run, stop), stop.is_set)
        for config in self._config.couriers:
            courier = self._opened.enter_context(contextlib.closing(courier_of(config, self._config)))
            if isinstance(courier, Webhook):
                self._webhooks.append((config, courier))
            limit = Bucket(config.revisions_per_minute)
            pump = Pump(self.outbox, courier, self._now_ns, stop.wait, parallel=config.parallel, limit=limit)
            self.pumps.append(pump)
            crew.thread(f"courier {config.name}", functools.partial(pump.run, stop.is_set), stop.is_set)

    def take_secrets(self, couriers: Sequence[CourierConfig], signings: Mapping[str, Signing]) -> None:
        """Sign with what is configured now, from the next message on; a receiver that moved waits for a restart."""
        now = {config.name: config for config in couriers}
        for former, webhook in self._webhooks:
            config = now.get(former.name)
            if config is None or (config.kind, config.url) != (former.kind, former.url):
                _log.warning(
                    "%s has another address, or none: that waits for a restart, and so do its secrets", former.name
                )
            elif webhook.signing != signings[former.name]:
                webhook.signing = signings[former.name]
                _log.info("what is told %s is signed with other secrets from now on", former.name)

    def wake(self) -> None:
        """Have the couriers look whether they are to stop."""
        self.outbox.wake()

    def resume(self, submit: Callable[[Decision], Future[bool]], left_ns: int = 0) -> None:
        """Hand over what people decided and no alert says yet: the centre ended in between, or its disk refused.

        Parameters
        ----------
        submit : callable
            Hands a decision to the engine.
        left_ns : int
            Only what was decided so long ago.
        """
        self.keeping.hand_over = submit
        before_ns = self._now_ns() - left_ns
        count, oldest_ns = self.reviews.unapplied()
        if not count or oldest_ns is None or oldest_ns > before_ns:
            return
        waiting = [decision for decision in self.reviews.pending() if decision.act.at_ns <= before_ns]
        for decision in waiting:
            submit(decision)
        _log.info("%d decisions of people that no alert says yet are handed over again", len(waiting))

    def services(
        self, submit: Callable[[Decision], Future[bool]], sensors: Callable[[], Sequence[SensorState]]
    ) -> Services:
        """What the API stands on; ``submit`` hands a decision to the engine, ``sensors`` tells how they are."""
        return Services(
            store=self.store,
            reviews=self.reviews,
            outbox=self.outbox,
            clips=self.clips,
            named_clips=self.named,
            people=self.people,
            submit=submit,
            sensors=sensors,
            couriers=self.couriers,
            now_ns=self._now_ns,
            key=self.key,
            audio_for_researchers=self._config.people.audio_for_researchers,
            clips_per_hour=self._config.people.clips_per_hour,
            mode=self._config.site.mode,
        )

    def _look_back(self) -> Fault | None:
        """What is wrong with the ledger's end, by what was noted of it.

        The centre starts all the same, and says so: alerts must go on, and a person has to look.
        """
        fault = self.ledger.check_tail(self.heads.read())
        if fault is not None:
            _log.error("the ledger is not what it was (%s); run `shotfix ledger verify`", plain(fault.text))
        return fault

    def _note_last_head(self) -> None:
        try:
            self.note_head()
        except StoreError as error:
            _log.warning("the ledger's end was not noted: %s", error)

    def look(self) -> None:
        """See whether the record can be written: in a quiet night nobody would know before the first alert."""
        try:
            self.store.touch()
        except StoreError as error:
            if not self._refusal:
                _log.error("the record cannot be written: %s", error)
            self._refusal = "the record cannot be written"
        else:
            if self._refusal:
                _log.warning("the record can be written again")
            self._refusal = ""

    def _note_last_uses(self) -> None:
        try:
            self.people.keep()
        except OSError as error:
            _log.warning("how long tokens lay unused was not noted: %s", error.strerror)

    def note_head(self) -> None:
        """Write down how far the ledger goes."""
        sequence, digest = self.ledger.head()
        if sequence:
            self.heads.note((sequence, digest), self._now_ns())

    def retire(self) -> None:
        """Let go of what the record need not keep; published, reviewed and pinned incidents stay."""
        keeps = self._config.record
        access_s = keeps.access_days * DAY_S
        gone = retire(self.store, self._now_ns(), Keep(keeps.alert_days * DAY_S, keeps.alert_bytes, access_s, access_s))
        self.retired.update(dataclasses.asdict(gone))
        if gone.documents:
            self.named.forget()

    def troubles(self) -> list[str]:
        """Why something is not carried or kept, in words."""
        return [trouble for trouble in (self._refusal, *(pump.trouble for pump in self.pumps)) if trouble]

    def counts(self) -> dict[str, dict[str, int]]:
        """For the metrics, what was done since the start: each by kind."""
        refused = {pump.name: pump.store_refused for pump in self.pumps}
        attempts = {f"{pump.name}-{kind}": count for pump in self.pumps for kind, count in pump.counts.items()}
        return {
            "sound_kept": dict(self.clips.counts),
            "outbox_store_refused": refused,
            "deliveries_attempted": attempts,
            "retired": dict(self.retired),
            "acts": {"passed-over": self.keeping.passed_over},
        }

    def levels(self) -> dict[str, dict[str, int]]:
        """For the metrics, how things stand: each by kind.

        Raises
        ------
        StoreError
            When the record cannot be asked.
        """
        unapplied, _ = self.reviews.unapplied()
        waiting = {str(want): count for want, count in self.reviews.waiting().items()}
        return {
            "reviews_waiting": waiting,
            "acts_waiting": {"not-applied": unapplied},
            "ledger_faults": {"tail": int(self.fault is not None)},
        }


def signing_of(config: CourierConfig) -> Signing:
    """What signs for a webhook, read where its configuration says.

    Raises
    ------
    ValueError, OSError
        When a secret cannot be had.
    """
    sources = [source for source in (config.secret_file, config.previous_secret_file) if source is not None]
    until = config.previous_until
    secrets = tuple(Secret.parse(source.read()) for source in sources)
    return Signing(secrets, None if until is None else parse_instant(until))


def courier_of(config: CourierConfig, site: SiteConfig) -> Webhook | Drop:
    """The courier that a configuration describes; ``site`` is that of the centre that speaks through it.

    Raises
    ------
    ValueError, OSError
        When its secret cannot be had.
    """
    if config.kind == "drop":
        if config.folder is None:
            raise ValueError("a drop needs a folder")
        return Drop(config.name, config.folder, zone=site.site.zone)
    if config.url is None or config.secret_file is None:
        raise ValueError("a webhook needs a URL and a secret")
    signing = signing_of(config)
    return Webhook(
        config.name,
        Destination(config.url, config.allow_private),
        signing.secrets,
        ca_file=config.ca_file,
        former_until_ns=signing.former_until_ns,
        source=SOURCE + quote(site.site.name) if config.cloudevents else None,
    )

"""Metrics of a centre, in Prometheus' names and base units; read when somebody asks, kept nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from acoustic.instant import seconds_between
from alerts.policy import OUTCOMES
from alerts.record.database import StoreError
from sensors.condition import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alerts.record.outbox import Outbox
    from shotfix.engine import Engine
    from shotfix.ingest import Ingest
    from shotfix.journal import Journal
    from shotfix.keeping import Keeping

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_MESSAGES: Final = ("detection", "heartbeat", "farewell", "snippet", "audiochunk", "act")
_PASSED: Final = ("clock-bad", "maintenance", "not-its-sensor", "not-taken", "repeated")
"""Reasons that are shown before there is any: an increase from nothing is an increase, too."""


class Metrics:
    """The page that a Prometheus server reads.

    Parameters
    ----------
    engine : Engine
        Whose latencies are observed.
    figures : Figures
        Everything that is read when somebody asks.
    """

    def __init__(self, engine: Engine, figures: Figures) -> None:
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            "shotfix_message_to_alert_seconds",
            "From the arrival of the last message that an alert needed to its commitment",
            registry=self._registry,
            buckets=_BUCKETS_S,
        )
        engine.observe_latency = self._latency.observe
        self._registry.register(figures)

    def page(self) -> bytes:
        """Everything as text."""
        return generate_latest(self._registry)


class Figures(Collector):
    """The figures of a centre, each as it is when it is asked for.

    Parameters
    ----------
    engine, ingest, journal, keeping, outbox
        Whose figures they are; they are read from another thread than writes them.
    couriers : sequence of str
        Whose deliveries are counted.
    beside : callable
        Further counts, by the name of what they count: each by kind.
    levels : callable
        How further things stand, by their name: each by kind.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    """

    def __init__(
        self,
        engine: Engine,
        ingest: Ingest,
        journal: Journal,
        keeping: Keeping,
        outbox: Outbox,
        couriers: Sequence[str],
        beside: Callable[[], dict[str, dict[str, int]]],
        levels: Callable[[], dict[str, dict[str, int]]],
        now_ns: Callable[[], int],
    ) -> None:
        self._beside = beside
        self._levels = levels
        self._engine = engine
        self._ingest = ingest
        self._journal = journal
        self._keeping = keeping
        self._outbox = outbox
        self._couriers = tuple(couriers)
        self._now_ns = now_ns

    def collect(self) -> Iterator[Metric]:
        """Every figure, as it is now."""
        yield from self._sensors()
        yield from self._messages()
        yield from self._keepings()
        unreadable = 0.0
        try:
            yield from list(self._record())  # all of it, or none
        except StoreError:
            unreadable = 1.0
        yield GaugeMetricFamily(
            "shotfix_record_unreadable", "1 while the record cannot be asked; its figures are not here then", unreadable
        )

    def _sensors(self) -> Iterator[Metric]:
        core = self._engine.core
        states = GaugeMetricFamily(
            "shotfix_node_state", "1 for the state that a sensor is in", labels=("node", "sensor", "state")
        )
        for sensor_id, condition in list(core.conditions.items()):
            node_id, now = core.registry.node_of(sensor_id) or "", condition.state
            for state in STATES:
                states.add_metric((node_id, sensor_id, state), float(state == now))
        yield states
        offsets = GaugeMetricFamily(
            "shotfix_clock_offset_seconds", "How far a node's clock was found to be ahead", labels=("node",)
        )
        for node_id, watch in list(core.watches.items()):
            offsets.add_metric((node_id,), watch.verdict.size_s)
        yield offsets
        dropped = CounterMetricFamily(
            "shotfix_spool_dropped", "Messages a node had to give up", labels=("node", "sensor")
        )
        for sensor_id, count in list(core.spool_dropped.items()):
            dropped.add_metric((core.registry.node_of(sensor_id) or "", sensor_id), count)
        yield dropped
        watermark_ns = core.waiting.watermark_ns
        if watermark_ns is not None:
            lag_s = seconds_between(watermark_ns, self._now_ns())
            yield GaugeMetricFamily("shotfix_watermark_lag_seconds", "Wall clock over the watermark", value=lag_s)

    def _messages(self) -> Iterator[Metric]:
        taken = CounterMetricFamily("shotfix_messages", "Messages taken", labels=("kind",))
        passed = CounterMetricFamily("shotfix_passed_over", "Messages and bangs not used", labels=("reason",))
        core = self._engine.core
        begun = dict.fromkeys((*_MESSAGES, *_PASSED), 0)
        for name, count in {**begun, **core.counts, **core.machines.passed_over()}.items():
            (taken if name in _MESSAGES else passed).add_metric((name,), count)
        refused = CounterMetricFamily("shotfix_refused", "Batches refused", labels=("reason",))
        batches = dict(self._ingest.counts)
        yield CounterMetricFamily("shotfix_batches", "Batches accepted", value=batches.pop("accepted", 0))
        for reason, count in batches.items():
            refused.add_metric((reason,), count)
        yield from (taken, passed, refused)
        pulse = self._engine.pulse
        yield CounterMetricFamily("shotfix_repeated", "Messages that had come before", value=pulse.repeated)
        yield CounterMetricFamily("shotfix_disk_refused", "Groups the disk refused", value=pulse.disk_refused)
        yield CounterMetricFamily("shotfix_store_refused", "Attempts the store refused", value=pulse.store_refused)
        seen = core.seen
        forgotten = {
            "refused-as-shut": seen.refused_as_shut,
            "forgotten-boots": seen.forgotten_boots,
            "closed-gaps": seen.closed_gaps,
        }
        yield _counter("shotfix_seen_bounds", "What the bounded memory of messages cost", forgotten)

    def _keepings(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("shotfix_journal_bytes", "Room the journal takes", value=self._journal.size_bytes)
        journal = {
            "failed-flushes": self._journal.failures,
            "torn-writes": self._journal.torn,
            "retired-entries": self._journal.retired.entries,
        }
        yield _counter("shotfix_journal", "What happened to the journal since the start", journal)
        aside = self._engine.damaged_checkpoints
        yield GaugeMetricFamily("shotfix_checkpoints_damaged", "Checkpoints found damaged and set aside", value=aside)
        alerts = CounterMetricFamily("shotfix_alerts", "Revisions of alerts kept", labels=("outcome",))
        kept: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        for outcome, count in (kept | self._keeping.counts).items():
            alerts.add_metric((outcome,), count)
        contradicted = self._keeping.contradicted
        yield CounterMetricFamily("shotfix_contradicted", "Alerts stored before in other words", value=contradicted)
        yield alerts
        yield _counter("shotfix_sound_not_kept", "Sound that was not kept", dict(self._keeping.sound))
        for name, counts in self._beside().items():
            yield _counter(f"shotfix_{name}", f"What became of {name}, by kind", counts)

    def _record(self) -> Iterator[Metric]:
        """What the record says; raises StoreError where it cannot be asked."""
        pending = GaugeMetricFamily("shotfix_outbox_pending", "Deliveries that wait", labels=("courier",))
        dead = GaugeMetricFamily("shotfix_outbox_dead", "Deliveries given up", labels=("courier",))
        for courier in self._couriers:
            counts = self._outbox.counts(courier)
            pending.add_metric((courier,), counts["pending"])
            dead.add_metric((courier,), counts["dead"])
        yield from (pending, dead)
        for name, levels in self._levels().items():
            gauge = GaugeMetricFamily(f"shotfix_{name}", f"How many there are of {name}, by kind", labels=("kind",))
            for kind, level in levels.items():
                gauge.add_metric((kind,), level)
            yield gauge


def _counter(name: str, says: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, says, labels=("kind",))
    for kind, count in counts.items():
        family.add_metric((kind,), count)
    return family

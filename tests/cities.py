"""A small city of pulses for tests of the centre: its register, its nodes' keys, and everything that they will say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from acoustic.air import Air
from acoustic.detection import Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import after
from acoustic.pick import Pick
from alerts.policy import Policy
from benchmarks.association_scenes import SETTINGS, START_NS, Pulses, as_scene, night, of_size
from sensors.health import Farewell, Heartbeat
from sensors.identity import NodeKey
from sensors.message import Batch, Envelope
from sensors.site import Network
from sensors.wire import encode_batch
from shotfix.charter import Cells, Charter, Place
from shotfix.network_file import Node
from shotfix.registry import Registry
from shotfix.waiting import Patience

BOOT = "00c0ffee"
GUNSHOT_LLR = 4.0


@dataclass(frozen=True)
class SmallCity:
    """What a centre is built from, and the sealed batches of its nodes, in the order in which they are sent."""

    charter: Charter
    registry: Registry
    keys: dict[str, NodeKey]
    batches: list[tuple[int, Batch]]
    """Event time up to which the node has heard, and what it sends then."""

    def sealed(self, number: int) -> tuple[Batch, bytes]:
        """One batch as its node sends it now, and its sealed bytes."""
        batch = replace(self.batches[number][1], sent_ns=time.time_ns())
        return batch, self.keys[batch.node_id].seal(encode_batch(batch))

    def all_sealed(self) -> Iterator[tuple[Batch, bytes]]:
        """Every batch in its turn."""
        return (self.sealed(number) for number in range(len(self.batches)))


def small_city(sensors: int = 24, seconds: float = 40.0, seed: int = 3, patience: Patience | None = None) -> SmallCity:
    """Pulses of some bangs and some clutter; each node says each second what it heard, at last it takes its leave."""
    setting = replace(of_size(SETTINGS["sparse"], sensors, seconds), shots_per_s=2.0, clutter_per_min=2.0)
    pulses = night(setting, seed)
    scene, _ = as_scene(pulses)
    sites = scene.network.sites
    keys = {site.sensor_id: NodeKey.create() for site in sites}
    registry = registry_of(scene.network, keys)
    charter = charter_of(patience or Patience(stale_s=60.0, join_s=60.0, pace=600.0))
    return SmallCity(charter, registry, keys, batches_of(pulses, registry, seconds))


def batches_of(pulses: Pulses, registry: Registry, seconds: float) -> list[tuple[int, Batch]]:
    """What every node says of a night, each second until when it has heard; with the last it takes its leave."""
    batches: list[tuple[int, Batch]] = []
    for row, site in enumerate(registry.network.sites):
        times = np.sort(pulses.times[pulses.owner == row])
        batches += _said(site.sensor_id, times, seconds)
    return sorted(batches, key=lambda pair: (pair[0], pair[1].node_id))


def registry_of(network: Network, keys: dict[str, NodeKey]) -> Registry:
    """Every sensor's node has its name."""
    nodes = tuple(Node(name, (key.public_text,)) for name, key in keys.items())
    return Registry(network, tuple(site.sensor_id for site in network.sites), nodes)


def charter_of(patience: Patience, air: Air | None = None, cells: Cells | None = None) -> Charter:
    """A charter as tests need it."""
    return Charter(
        name="small city",
        mode="test",
        air=air or Air(temperature_c=20.0, temperature_sigma_c=2.0, wind_sigma_m_per_s=4.0),
        policy=Policy(),
        patience=patience,
        place=Place(source_up_m=1.5, source_sigma_m=2.0),
        cells=cells,
    )


def _said(name: str, times, seconds: float) -> list[tuple[int, Batch]]:
    batches, sequence = [], 0
    for second in range(1, int(seconds) + 2):
        until_ns = after(START_NS, float(second))
        heard = times[(times >= second - 1) & (times < second)]
        contents = [_detection(name, after(START_NS, float(t))) for t in heard]
        contents.append(Heartbeat(name, until_ns))
        if second > seconds:
            contents.append(Farewell(name, until_ns))
        envelopes = tuple(Envelope(name, BOOT, sequence + k, content) for k, content in enumerate(contents))
        sequence += len(envelopes)
        batches.append((until_ns, Batch(name, until_ns, envelopes)))
    return batches


def _detection(name: str, onset_ns: int) -> Detection:
    return Detection(
        pulse_identity(name, onset_ns), name, Pick(onset_ns, 0.001), GUNSHOT_LLR, probabilities_from_llr(GUNSHOT_LLR)
    )

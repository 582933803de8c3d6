"""From a real sound server to the centre's disk: what is played is detected where it was played, also after a loss."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from acoustic.detection import Detection
from acoustic.instant import seconds_between
from acoustic.sources import muzzle_blast
from sensors.health import Heartbeat
from shotfix.city import CityPlan
from shotfix.entries import batch_in
from shotfix.journal import read_journal
from tests.live_city import City, free_port, wait_until
from tests.sensors.test_capture import PROMISE_S, RATE_HZ, server

__all__ = ["server"]  # a fixture
pytestmark = [pytest.mark.endurance, pytest.mark.xdist_group("live")]

SPACING_S = 0.75
BANGS = 8
SERVER_SIGMA_S = 0.02  # of its stamps, as the node takes them; the samples themselves are exact: see test_capture
LEAD_S = 3.0  # the detector measures the noise; before and behind it the monitor gives digital silence
SECONDS = 10


def bangs() -> np.ndarray:
    """A train of muzzle blasts in faint noise, 16 bit."""
    blast = muzzle_blast(RATE_HZ).pressure_pa
    samples = np.random.default_rng(1).normal(0.0, 12.0, SECONDS * RATE_HZ)
    for k in range(BANGS):
        at = round((LEAD_S + k * SPACING_S) * RATE_HZ)
        samples[at : at + len(blast)] += 20_000.0 * blast / np.max(np.abs(blast))
    return np.clip(samples, -32_768, 32_767).astype(np.int16)


@pytest.fixture
def city(tmp_path, server, monkeypatch):
    """One node, whose source is the sound server's microphone."""
    monkeypatch.delenv("CI", raising=False)
    city = City(tmp_path / "city", CityPlan(nodes=4, port=free_port()), patience="stale_s = 10.0\njoin_s = 10.0\n")
    node = min((city.folder / "nodes").glob("*.toml"))
    kept = [part for part in node.read_text().split("\n\n") if "[source" not in part and "[[source" not in part]
    source = f'[source]\nkind = "microphone"\ndevice = ["street_mic"]\nrate_hz = {RATE_HZ}\nchannels = 1'
    node.write_text("\n\n".join([*kept, source]) + "\n")
    yield city, node
    city.stop()


def test_what_is_played_is_detected_at_its_spacing_and_again_after_the_device_was_gone(city, server):
    city, node = city
    city.start_centre()
    city.nodes.append(city._start("listen", node, "node"))
    wait_until(lambda: '"live: microphone"' in city.log("node"), "the microphone is open")
    assert spacings(city, server) == pytest.approx([SPACING_S] * (BANGS - 1), abs=SERVER_SIGMA_S)
    server.kill()
    wait_until(lambda: "back-off" in city.log("node"), "the loss is told")
    server.start()
    back_ns = time.time_ns()
    player = server.play(np.concatenate([bangs()] * 2))
    wait_until(lambda: any(at_ns > back_ns and beat.listening for at_ns, beat in beats(city)), "it is heard again")
    first_ns = min(at_ns for at_ns, beat in beats(city) if at_ns > back_ns and beat.listening)
    # A heartbeat comes up to a second behind the sound that it vouches for, and warming up takes one more.
    assert seconds_between(back_ns, first_ns) < PROMISE_S + 2.0
    assert player.wait(120) == 0
    assert spacings(city, server) == pytest.approx([SPACING_S] * (BANGS - 1), abs=SERVER_SIGMA_S)


def spacings(city: City, server) -> list[float]:
    """Between the detections of a train that is played now."""
    before = len(detections(city))
    assert server.play(bangs()).wait(120) == 0
    wait_until(lambda: len(detections(city)) >= before + BANGS, "all of the train is detected", 60.0)
    onsets_ns = sorted(d.pick.onset_ns for d in detections(city)[before:])
    return [seconds_between(early, late) for early, late in itertools.pairwise(onsets_ns)]


def contents(city: City):
    for entry in read_journal(city.data / "journal"):
        if entry.kind == "batch":
            for envelope in batch_in(entry.body).envelopes:
                yield entry.at_ns, envelope.content


def detections(city: City) -> list[Detection]:
    found = [content for _, content in contents(city) if isinstance(content, Detection)]
    # What plays the train may begin and end with a click of its own.
    return [d for d in found if d.pick.snr_db is not None and d.pick.snr_db > 40.0]


def beats(city: City) -> list[tuple[int, Heartbeat]]:
    return [(at_ns, content) for at_ns, content in contents(city) if isinstance(content, Heartbeat)]

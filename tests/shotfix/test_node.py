"""A node in this process: how surely it knows when its samples were taken, what it logs, and how it ends."""

from __future__ import annotations

import logging
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from acoustic.block import AudioBlock
from sensors.capture import Capture
from sensors.microphones import Card, microphone
from sensors.source import Raw
from sensors.spool import SpoolError
from sensors.supervisor import BACK_OFF, CONNECTING, LIVE, STALE, Change
from sensors.time_source import Reading
from shotfix.config_fields import FieldError
from shotfix.config_node import CentreAddress, ClockConfig, NodeConfig, NodeIdentity, SensorConfig
from shotfix.config_source import SourceConfig
from shotfix.devices import latency_of
from shotfix.node import Node
from tests.shotfix.stations import KEY

RATE_HZ = 8_000
NOW_NS = 1_795_000_000_000_000_000
MICROPHONE = SourceConfig("microphone", device=("a", "b"), rate_hz=RATE_HZ)
CARD = SimpleNamespace(bare=True)


@pytest.fixture
def make(tmp_path):
    """Nodes by their source; what they have opened is closed at the end."""
    KEY.save(tmp_path / "node.pem")
    made = []

    def node(source):
        config = NodeConfig(
            NodeIdentity("node-1", tmp_path / "node.pem", tmp_path / f"data-{len(made)}"), CentreAddress("http://127.0.0.1:9"),
            source, (SensorConfig("roof-1"),), ClockConfig("stated", 0.0001),
        )  # fmt: skip
        made.append(Node(config))
        return made[-1]

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield node
    for each in made:
        if not each._stop.is_set():  # a node that has run has closed it
            each._spool.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)


# how surely samples are timed


@pytest.mark.parametrize(
    ("source", "opened", "sigma_s"),
    [
        (MICROPHONE, CARD, 0.0005),
        (MICROPHONE, SimpleNamespace(bare=False), 0.02),
        (MICROPHONE, None, 0.02),
        (SourceConfig("stdin"), None, 0.05),
        (SourceConfig("rtp", port=5004), None, 0.005),
        (SourceConfig("stream", url="rtsp://camera.example.org/1"), None, 0.3),
    ],
)
def test_a_source_deserves_what_its_kind_can_know(source, opened, sigma_s):
    assert latency_of(source, opened) == (0.0, sigma_s)
    assert latency_of(replace(source, latency_s=0.03, latency_sigma_s=0.001), opened) == (0.03, 0.001)


def test_a_microphone_is_bare_when_a_card_of_this_machine_was_found():
    capture = Capture(("anything",), rate_hz=RATE_HZ)
    assert not capture.bare
    cards = {1: Card(1, "ArrayUAC10")}
    for name, bare in (("Array: USB (hw:1,0)", True), ("default", False), ("pulse", False), ("Gone (hw:7,0)", False)):
        capture._found = microphone(0, name, 1, cards)
        assert capture.bare == bare


def test_a_recording_has_no_latency():
    with pytest.raises(FieldError, match="means nothing for kind file"):
        SourceConfig("file", path=Path("a.wav"), latency_s=0.1)


def timed(node, count=0):
    """Sigma of the blocks of the next three seconds."""
    told = []
    for second in range(3):
        at_ns = NOW_NS + (count + second) * 10**9
        raw = Raw(np.zeros(RATE_HZ, np.float32), second * RATE_HZ, RATE_HZ, at_ns)
        told += [block.timing.sigma_s for block in node._blocks(raw)]
    return told


def test_the_sigma_of_every_block_holds_what_is_unknown_of_the_source(make):
    node = make(MICROPHONE)
    node._reading = Reading("stated", "stated", 0.0001)
    node._opened = CARD
    node._turn(Change(LIVE, no_audio=False, reason="", openings=1))
    assert max(timed(node)) < 0.01
    node._turn(Change(STALE, no_audio=False, reason="gone", openings=1))
    node._opened = SimpleNamespace(bare=False)  # the card is away, and the next name is a sound server's
    node._turn(Change(LIVE, no_audio=False, reason="", openings=2))
    assert min(timed(node, 10)) >= 0.02
    held = node._keeper
    node._turn(Change(LIVE, no_audio=False, reason="", openings=2))
    assert node._keeper is held


def test_a_latency_that_was_measured_is_taken_off(make):
    early, late = (
        make(SourceConfig("stdin", rate_hz=RATE_HZ, latency_s=latency_s, latency_sigma_s=0.001))
        for latency_s in (0.0, 0.03)
    )
    raw = Raw(np.zeros(RATE_HZ, np.float32), 0, RATE_HZ, NOW_NS)
    starts: list[AudioBlock] = [next(iter(node._blocks(raw))) for node in (early, late)]
    assert starts[0].start_ns - starts[1].start_ns == pytest.approx(0.03e9, abs=1e3)


# its log and its end


@pytest.mark.parametrize(
    ("change", "level"),
    [
        (Change(CONNECTING, no_audio=False, reason="", openings=1), logging.INFO),
        (Change(LIVE, no_audio=False, reason="", openings=1), logging.INFO),
        (Change(BACK_OFF, no_audio=False, reason="gone", openings=1), logging.WARNING),
        (Change(CONNECTING, no_audio=True, reason="", openings=3), logging.WARNING),
    ],
)
def test_a_warning_is_about_something_wrong(make, caplog, change, level):
    caplog.set_level(logging.INFO, "shotfix.node")
    make(MICROPHONE)._turn(change)
    (told,) = caplog.records
    assert told.levelno == level


def test_a_node_whose_uplink_failed_does_not_end_well(make, monkeypatch):
    node = make(SourceConfig("rtp", port=5004, host="127.0.0.1"))
    monkeypatch.setattr(node._source, "stream", lambda: iter(lambda: node._stop.wait(30.0) and None, None))

    async def fail(*_, **__):
        raise SpoolError("the disk is gone")

    monkeypatch.setattr(node.uplink, "run", fail)
    with pytest.raises(SpoolError, match="the disk is gone"):
        node.run()

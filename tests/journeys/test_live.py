"""Live is replay with a clock: a night streamed by real nodes to a real centre says what its replay says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from alerts.alert import encode
from alerts.record.store import Store
from localization.study.scene_reading import read_scene
from shotfix import playback
from shotfix.city import CityPlan, build_city
from shotfix.journal_replay import replay_journal
from tests.shotfix.nats_server import nats_server

__all__ = ["nats_server"]  # a fixture

PATIENCE_S = 240.0
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def night(root: Path) -> Path:
    return root / "fixtures" / "scenes" / "demo-night"


@pytest.fixture(scope="module")
def replayed(night: Path) -> dict[str, dict]:
    """The last revision of every incident in the replay."""
    run = playback.replay(read_scene(night, audio=True))
    return {alert.incident_id: json.loads(encode(alert)) for alert in run.alerts}


class City:
    """A centre and its nodes, as processes."""

    def __init__(self, folder: Path, plan: CityPlan, patience: str = "stale_s = 60.0\njoin_s = 120.0\n") -> None:
        self.folder = folder
        self.port = plan.port
        build_city(folder, plan)
        site = folder / "site.toml"
        text = site.read_text()
        head, _, tail = text.partition("[time]")
        kept = [line for line in tail.splitlines() if not line.startswith(("stale_s", "join_s"))]
        site.write_text(head + "[time]\n" + patience + "\n".join(kept) + "\n")
        self.nodes: list[subprocess.Popen] = []
        self.centre: subprocess.Popen | None = None
        self.logs: list = []

    def start_centre(self) -> None:
        self.centre = self._start("serve", self.folder / "site.toml", "centre")
        wait_until(lambda: self.ready(), "the centre is ready")

    def ready(self) -> bool:
        assert self.centre is not None
        if self.centre.poll() is not None:
            raise AssertionError(f"the centre ended: {self.log('centre')}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def start_nodes(self) -> None:
        for path in sorted((self.folder / "nodes").glob("*.toml")):
            self.nodes.append(self._start("listen", path, path.stem))

    def _start(self, command: str, config: Path, name: str) -> subprocess.Popen:
        log = (self.folder / f"{name}.log").open("ab")
        self.logs.append(log)
        words = [sys.executable, "-m", "shotfix.commands", command, "--config", str(config)]
        return subprocess.Popen(words, stderr=log, stdout=log, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def metric(self, name: str) -> float | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), None)

    def wait_for_nodes(self) -> None:
        """Until every node has played its recording to the end and said farewell."""
        for node in self.nodes:
            assert node.wait(PATIENCE_S) == 0, self.log("centre")

    @property
    def data(self) -> Path:
        return next(self.folder.rglob("charter.json")).parent

    def last(self) -> dict[str, dict]:
        with Store(self.data / "record.db") as store:
            return {alert.incident_id: json.loads(encode(alert)) for alert in store.alerts()}

    def all(self) -> list[bytes]:
        with Store(self.data / "record.db") as store:
            return [encode(alert) for alert in store.alerts()]

    def stop(self) -> None:
        for process in [*self.nodes, *([self.centre] if self.centre else [])]:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in [*self.nodes, *([self.centre] if self.centre else [])]:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self.logs:
            log.close()


def wait_until(is_so, what: str, patience_s: float = PATIENCE_S) -> None:
    ends = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < ends, f"waited {patience_s:.0f} s in vain until {what}"
        time.sleep(0.2)


def without_handling(alert: dict) -> dict:
    return {name: value for name, value in alert.items() if name != "mode"}


@pytest.mark.parametrize("placement", ["edge", "centre"])
@pytest.mark.parametrize("by", ["http", "nats"])
def test_twelve_nodes_say_what_a_replay_says(by, placement, tmp_path, night, replayed, request):
    nats = f"nats://{request.getfixturevalue('nats_server').address}" if by == "nats" else None
    city = City(
        tmp_path / "city", CityPlan(scene=night, port=free_port(), nats=nats, placement=placement, pace=20.0)
    )
    try:
        city.start_centre()
        city.start_nodes()
        city.wait_for_nodes()
        wait_until(lambda: len(city.last()) >= len(replayed), "every incident is told")
        wait_until(lambda: set(closed(city.last())) == set(closed(replayed)), "every incident is closed")
    finally:
        city.stop()
    live = city.last()
    assert set(live) == set(replayed)
    for incident_id, expected in replayed.items():
        assert without_handling(live[incident_id]) == without_handling(expected)
    out = tmp_path / "again"
    out.mkdir()
    replay_journal(city.data, out)
    assert (out / "alerts.jsonl").read_bytes().splitlines() == city.all()


def closed(incidents: dict[str, dict]) -> list[str]:
    return sorted(name for name, alert in incidents.items() if alert["status"] != "preliminary")

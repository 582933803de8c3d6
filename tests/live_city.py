"""A city of processes for tests: a centre and its nodes, as somebody would start them."""

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

from alerts.alert import encode
from alerts.record.store import Store
from shotfix.city import CityPlan, build_city

PATIENCE_S = 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
        wait_until(self.ready, "the centre is ready")

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

    def nodes_live(self) -> bool:
        return any(node.poll() is None for node in self.nodes)

    def metric(self, name: str) -> float | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
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

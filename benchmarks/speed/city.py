"""A city's load on one centre: a thousand nodes that speak every second, and a night of fireworks.

One process is the centre, as `shotfix serve` runs it; another is all of the nodes: each seals its own batches with its
own key and posts them over its own connection. The truth is known, so that what the centre said can be held against it.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import tomli_w

from acoustic.detection import Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import SECOND, after, parse_instant
from acoustic.pick import Pick
from benchmarks.association_scenes import SETTINGS, Pulses, as_scene, night, of_size
from sensors.health import Heartbeat
from sensors.identity import NodeKey
from sensors.message import Batch, Envelope
from sensors.wire import encode_batch

SENSORS = 1_000
GUNSHOT_LLR = 4.0
LONG_AGO_NS = 10 * 86_400 * SECOND
LEAD_S = 5.0  # from the first batch to the first bang
SETTLE_S = 30.0
FOUND_M, FOUND_S = 60.0, 0.3
AUDIBLE_TO = 5  # sensors that must have heard a bang for it to be asked for
BOOT = "c0ffee00c0ffee00"
HEAD = (
    "| load | impulses | bangs asked for | told of | p50 s | p90 s | p99 s | worst s | drained after s "
    "| centre's CPU s / s | RSS at half MB | RSS at end MB |"
)

# Bangs a second and 10 km2 as in the other tables, of 100 km2 in all; clutter fills up to the wanted impulses.
STEADY = ("steady, 1 impulse a second and sensor", {"shots_per_s": 0.1, "clutter_per_min": 54.0}, 60.0)
BURST = ("20,000 impulses in 60 s, most of them bangs", {"shots_per_s": 2.7, "clutter_per_min": 2.0}, 60.0)


def measure(_data: Path | None, seconds: float | None = None) -> str:
    rows = []
    for name, changes, usual in (STEADY, BURST):
        length = seconds or usual
        setting = replace(of_size(SETTINGS["sparse"], SENSORS, length), **changes)
        rows.append(_run(name, night(setting, 1), length))
    return "\n".join(
        [
            f"{SENSORS:,} nodes, each with its own key and connection, a batch a second. The nodes are one process.",
            "",
            HEAD,
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            "Seconds are from the arrival of the last message that an alert needed to its commitment in the record.",
        ]
    )


def _run(name: str, pulses: Pulses, seconds: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        keys = [NodeKey.create() for _ in range(len(pulses.sensors))]
        write_site(root, pulses, keys)
        with (root / "log").open("wb") as log:
            centre = subprocess.Popen(
                [sys.executable, "-m", "shotfix.commands", "serve", "--config", str(root / "site.toml")], stderr=log
            )
        try:
            url = address_of(root, centre)
            zero_ns = time.time_ns() + round(LEAD_S * SECOND)
            context = multiprocessing.get_context("fork")
            nodes = context.Process(target=speak_for_all, args=(url, pulses, keys, zero_ns, seconds))
            nodes.start()
            half_kb = _sampled(centre.pid, LEAD_S + seconds / 2)
            nodes.join()
            ended = time.monotonic()
            drained_s = _drained(url, zero_ns + round(seconds * SECOND), ended)
            used = _cpu_s(centre.pid)
            rss_kb = _rss_kb(centre.pid)
            metrics = page_of(url)
            time.sleep(max(0.0, SETTLE_S - drained_s))
        finally:
            centre.send_signal(signal.SIGTERM)
            centre.wait(60)
        asked, told = _found(root / "data" / "record.db", pulses, zero_ns)
        latency = [_quantile(metrics, q) for q in (0.5, 0.9, 0.99, 1.0)]
        figures = " | ".join(f"{value:.2g}" for value in latency)
        return (
            f"| {name} | {len(pulses.times):,} | {asked} | {told} | {figures} | {drained_s:.1f} |"
            f" {used / (seconds + LEAD_S):.2f} | {half_kb / 1e3:.0f} | {rss_kb / 1e3:.0f} |"
        )


# the centre


def write_site(root: Path, pulses: Pulses, keys: list[NodeKey], pace: float = 1.0) -> None:
    """Write the configuration of a centre for these nodes."""
    scene, _ = as_scene(pulses)
    sensors = [
        {
            "sensor_id": site.sensor_id, "node_id": site.sensor_id,
            "east_m": site.position.east_m, "north_m": site.position.north_m, "up_m": site.position.up_m,
            "position_sigma_m": site.position_sigma_m, "up_sigma_m": site.up_sigma_m,
            "clock_sigma_s": site.clock_sigma_s,
        }
        for site in scene.network.sites
    ]  # fmt: skip
    nodes = [{"node_id": s["sensor_id"], "keys": [key.public_text]} for s, key in zip(sensors, keys, strict=True)]
    network = {"revision": 1, "sensor": sensors, "node": nodes}
    (root / "network.toml").write_text(tomli_w.dumps(network))
    site = {
        "site": {"name": "load", "mode": "test", "data_dir": str(root / "data")},
        "listen": {"port": 0},
        "network": {"file": str(root / "network.toml")},
        "place": {"source_up_m": 1.5, "source_sigma_m": 2.0},
        "air": {"temperature_c": 20.0, "temperature_sigma_c": 2.0},
        "time": {"stale_s": 10.0, "join_s": 20.0, "pace": pace},
        "log": {"level": "warning"},
    }
    (root / "site.toml").write_text(tomli_w.dumps(site))


def address_of(root: Path, centre: subprocess.Popen) -> str:
    """Where the centre listens, once it does."""
    path = root / "data" / "address"
    while not path.exists():
        if centre.poll() is not None:
            raise RuntimeError((root / "log").read_text())
        time.sleep(0.1)
    return path.read_text().strip()


def page_of(url: str) -> dict[str, float]:
    """Its metrics, by name and labels."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:  # noqa: S310  (loopback)
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#"}


def _drained(url: str, until_ns: int, ended: float) -> float:
    """Seconds after the last batch until the watermark has come to the last sound."""
    while True:
        lag_s = page_of(url).get("shotfix_watermark_lag_seconds")
        if lag_s is not None and time.time_ns() - lag_s * 1e9 >= until_ns - SECOND:
            return time.monotonic() - ended
        if time.monotonic() - ended > 120.0:
            return float("inf")
        time.sleep(0.2)


def _quantile(metrics: dict[str, float], share: float) -> float:
    """Upper bound of the histogram's bucket that holds this share."""
    buckets = {
        float(name.split('"')[1]): count
        for name, count in metrics.items()
        if name.startswith("shotfix_message_to_alert_seconds_bucket")
    }
    total = max(buckets.values(), default=0.0)
    return min((edge for edge, count in buckets.items() if total and count >= share * total), default=float("nan"))


def _rss_kb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return float(status.split("VmRSS:")[1].split()[0])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sampled(pid: int, after_s: float) -> float:
    time.sleep(after_s)
    return _rss_kb(pid)


def _found(record: Path, pulses: Pulses, zero_ns: int) -> tuple[int, int]:
    """Bangs that enough sensors heard, and how many of them stand in an alert, of whatever outcome."""
    with sqlite3.connect(record) as connection:
        documents = [json.loads(row[0]) for row in connection.execute("select document from alert")]
    rounds = np.array(
        [
            (r["east"], r["north"], _seconds(r["time"], zero_ns))
            for document in documents
            for r in document["rounds"]
            if r["east"] is not None
        ]
    ).reshape(-1, 3)
    asked = told = 0
    for k, (east, north, discharge) in enumerate(pulses.places):
        if np.count_nonzero(pulses.shot == k) < AUDIBLE_TO:
            continue
        asked += 1
        near = np.hypot(rounds[:, 0] - east, rounds[:, 1] - north) < FOUND_M
        told += bool(np.any(near & (np.abs(rounds[:, 2] - discharge) < FOUND_S)))
    return asked, told


def _seconds(text: str, zero_ns: int) -> float:
    return (parse_instant(text) - zero_ns) / SECOND


# the nodes


def speak_for_all(
    url: str, pulses: Pulses, keys: list[NodeKey], zero_ns: int, seconds: float, pace: float = 1.0
) -> None:
    """Be all of the nodes, to the end of the night."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8_192, hard), hard))
    asyncio.run(_speak(url, pulses, keys, zero_ns, seconds, pace))


def event_zero_ns(zero_ns: int, pace: float) -> int:
    """When the night begins by its own clock: now, or long ago where it runs faster than any clock does."""
    return zero_ns if pace == 1.0 else zero_ns - LONG_AGO_NS


async def _speak(url: str, pulses: Pulses, keys: list[NodeKey], zero_ns: int, seconds: float, pace: float) -> None:
    host, port = url.split("//")[1].split(":")
    order = np.argsort(pulses.owner, kind="stable")
    bounds = np.searchsorted(pulses.owner[order], np.arange(len(keys) + 1))
    await asyncio.gather(
        *(
            _node(
                host,
                int(port),
                f"S{k:05d}",
                keys[k],
                pulses.times[order[bounds[k] : bounds[k + 1]]],
                zero_ns,
                seconds,
                pace,
            )
            for k in range(len(keys))
        )
    )


async def _node(host, port, name, key, times, zero_ns, seconds, pace) -> None:
    """One node: every second what it heard, and up to when; in its own phase."""
    event_ns = event_zero_ns(zero_ns, pace)
    phase_s = (hash(name) % 1000) / 1000.0
    reader, writer = await asyncio.open_connection(host, port)
    sequence, told = 0, 0
    now_s = phase_s + pace * (1.0 - LEAD_S)
    while now_s < seconds + 12.0 * pace:
        await asyncio.sleep(max(0.0, (zero_ns - time.time_ns()) / SECOND + now_s / pace))
        until_s = now_s - 0.3
        contents = []
        while told < len(times) and times[told] < until_s:
            contents.append(_detection(name, after(event_ns, float(times[told]))))
            told += 1
        contents.append(Heartbeat(name, after(event_ns, until_s)))
        envelopes = tuple(Envelope(name, BOOT, sequence + n, content) for n, content in enumerate(contents))
        sequence += len(envelopes)
        sealed = key.seal(encode_batch(Batch(name, time.time_ns(), envelopes)))
        head = f"POST /ingest/v1/batch HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(sealed)}\r\n\r\n"
        status = 0
        while status != 200:  # as a node does: until the centre has it
            writer.write(head.encode() + sealed)
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer.split()[1])
            length = int(answer.lower().split(b"content-length:")[1].split()[0])
            await reader.readexactly(length)
            if status != 200:
                await asyncio.sleep(0.5)
        now_s += 1.0  # of event time: at ten times the pace, ten batches a second
    writer.close()


def _detection(name: str, onset_ns: int) -> Detection:
    return Detection(
        pulse_identity(name, onset_ns), name, Pick(onset_ns, 0.001), GUNSHOT_LLR, probabilities_from_llr(GUNSHOT_LLR)
    )


if __name__ == "__main__":
    print(measure(None, float(sys.argv[1]) if len(sys.argv) > 1 else None))

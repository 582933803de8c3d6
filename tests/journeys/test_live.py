"""Live is replay with a clock: a night streamed by real nodes to a real centre says what its replay says."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from alerts.alert import encode
from localization.study.scene_reading import read_scene
from shotfix import playback
from shotfix.city import CityPlan
from shotfix.journal_replay import replay_journal
from tests.live_city import City, free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]


@pytest.fixture(scope="module")
def night(root: Path) -> Path:
    return root / "fixtures" / "scenes" / "demo-night"


@pytest.fixture(scope="module")
def replayed(night: Path) -> dict[str, dict]:
    """The last revision of every incident in the replay."""
    run = playback.replay(read_scene(night, audio=True))
    return {alert.incident_id: json.loads(encode(alert)) for alert in run.alerts}


def without_handling(alert: dict) -> dict:
    """What it says, without how often it was said on the way: news that falls between two ticks waits for the second."""
    return {name: value for name, value in alert.items() if name not in {"mode", "revision", "supersedes"}}


LONG = pytest.mark.endurance


@pytest.mark.parametrize(
    ("by", "placement"),
    [
        ("http", "edge"),
        pytest.param("nats", "centre", marks=LONG),
        pytest.param("http", "centre", marks=LONG),
        pytest.param("nats", "edge", marks=LONG),
    ],
)
def test_twelve_nodes_say_what_a_replay_says(by, placement, tmp_path, night, replayed, request):
    nats = f"nats://{request.getfixturevalue('nats_server').address}" if by == "nats" else None
    streamed(tmp_path, CityPlan(scene=night, port=free_port(), nats=nats, placement=placement, pace=20.0), replayed)


@LONG
@pytest.mark.parametrize("placement", ["edge", "centre"])
def test_a_centre_killed_in_the_middle_of_the_night_tells_the_same(placement, tmp_path, night, replayed):
    plan = CityPlan(scene=night, port=free_port(), placement=placement, pace=20.0)
    streamed(tmp_path, plan, replayed, kills=(0.2, 0.6))


@pytest.mark.endurance
@pytest.mark.parametrize("placement", ["edge", "centre"])
def test_the_night_at_its_own_pace(placement, tmp_path, night, replayed):
    streamed(tmp_path, CityPlan(scene=night, port=free_port(), placement=placement, pace=1.0), replayed)


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_moment_of_the_night(seed, tmp_path, night, replayed):
    dice = random.Random(seed)  # noqa: S311  (dice, no secrets)
    plan = CityPlan(scene=night, port=free_port(), placement=dice.choice(["edge", "centre"]), pace=20.0)
    streamed(tmp_path, plan, replayed, kills=sorted(dice.random() for _ in range(3)))


def streamed(tmp_path: Path, plan: CityPlan, replayed: dict[str, dict], kills=()) -> None:
    """Stream the night through processes; at these shares of it the centre is killed and started again."""
    city = City(tmp_path / "city", plan)
    try:
        city.start_centre()
        city.start_nodes()
        kill_at(city, list(kills), heard_s=0.9 * 180.0)
        city.wait_for_nodes()
        wait_until(lambda: len(city.last()) >= len(replayed), "every incident is told")
        wait_until(lambda: closed(city.last()) == closed(replayed), "every incident is closed")
    finally:
        city.stop()
    live = city.last()
    assert set(live) == set(replayed)
    for incident_id, expected in replayed.items():
        if kills and plan.placement == "centre" and expected["outcome"] == "suppressed":
            # A listener that begins again measures the noise anew: the last digits of what it says of it differ.
            assert live[incident_id]["status"] == expected["status"]
            assert live[incident_id]["outcome"] == expected["outcome"]
            continue
        assert without_handling(live[incident_id]) == without_handling(expected)
    out = tmp_path / "again"
    out.mkdir()
    replay_journal(city.data, out)
    assert sorted((out / "alerts.jsonl").read_bytes().splitlines()) == sorted(city.all())


def kill_at(city: City, shares: list[float], heard_s: float) -> None:
    """Kill the centre when its journal has grown to these shares of what it would otherwise become; start it again."""
    for share in shares:
        wait_until(lambda share=share: spoken(city) >= share * heard_s or not city.nodes_live(), "the night goes on")
        os.kill(city.centre.pid, signal.SIGKILL)
        city.centre.wait()
        time.sleep(0.2)
        city.start_centre()


def spoken(city: City) -> float:
    """Messages of each sensor, about one a second of the night; 0 while nobody says."""
    beats = city.metric('shotfix_messages_total{kind="heartbeat"}')
    return 0.0 if beats is None else beats / 12.0


def closed(incidents: dict[str, dict]) -> list[str]:
    return sorted(name for name, alert in incidents.items() if alert["status"] != "preliminary")

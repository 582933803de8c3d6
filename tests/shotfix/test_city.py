import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.couriers.webhook import Secret
from localization.frame import Frame
from localization.study.scene_reading import read_scene
from sensors.identity import NodeKey
from shotfix.city import CityPlan, build_city, next_commands, node_names
from shotfix.config_fields import NAME_PATTERN
from shotfix.config_reading import read_node, read_site
from shotfix.registry import read_registry
from tests.command_line import run

ROOT = Path(__file__).parents[2]
NIGHT = ROOT / "fixtures" / "scenes" / "demo-night"


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A city that plays the demo night."""
    folder = tmp_path_factory.mktemp("night") / "city"
    made = build_city(folder, CityPlan(scene=NIGHT, pace=20.0))
    return folder, made


def test_everything_that_is_written_can_be_read_and_fits_together(night):
    folder, made = night
    site = read_site(folder / "site.toml")
    registry = read_registry(site.network_file)
    nodes = [read_node(folder / "nodes" / f"{name}.toml") for name in made["nodes"]]
    assert len(nodes) == len(registry.network.sites) == 12
    for node in nodes:
        assert NodeKey.load(node.node.key_file).public_text in registry.keys[node.node.node_id]
        assert registry.sensors_of(node.node.node_id) == tuple(sensor.sensor_id for sensor in node.sensors)
        assert node.centre.url == site.listen.url
        assert node.source.pace == site.time.pace == 20.0
        assert node.sensors[0].position == registry.network.site(node.sensors[0].sensor_id, 0).position
    assert Secret.parse(site.couriers[0].secret_file.read())


def test_the_centre_finds_the_numbers_that_a_replay_has(night):
    """To the last bit: what is live must end as the replay does."""
    folder, _ = night
    site, scene = read_site(folder / "site.toml"), read_scene(NIGHT)
    registry = read_registry(site.network_file)
    assert registry.network.sites == scene.network.sites
    assert site.air.air() == scene.air
    assert Frame.of(registry.network) == scene.frame
    assert (site.place.source_up_m, site.place.source_sigma_m) == (scene.source_up_m, scene.source_sigma_m)


def test_nodes_play_the_recordings_of_their_sensors_from_their_starts(night):
    folder, made = night
    scene = read_scene(NIGHT)
    for name in made["nodes"]:
        node = read_node(folder / "nodes" / f"{name}.toml")
        source = node.source
        played = [(piece.path, piece.start_ns) for piece in source.pieces] or [(source.path, source.start_ns)]
        wanted = [p for p in scene.pieces if p.sensor_id == node.sensors[0].sensor_id]
        assert [(path.resolve(), start_ns) for path, start_ns in played] == [(p.path, p.start_ns) for p in wanted]
        assert {node.sensors[0].channel} == {p.channel for p in wanted}


def test_secrets_and_keys_are_for_their_owner(night):
    folder, _ = night
    private = [*(folder / "keys").iterdir(), *(folder / "secrets").iterdir()]
    assert len(private) == 16
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    told = [path.read_text() for path in folder.rglob("*.toml")]
    secret = (folder / "secrets" / "control-room").read_text().strip()
    assert not any(secret in text or "PRIVATE" in text for text in told)


def test_fewer_nodes_than_sensors_keep_the_height_of_shots(tmp_path):
    build_city(tmp_path / "city", CityPlan(nodes=5, scene=NIGHT))
    site, scene = read_site(tmp_path / "city" / "site.toml"), read_scene(NIGHT)
    frame = Frame.of(read_registry(site.network_file).network)
    height_m = scene.source_up_m + scene.frame.origin.height_m
    assert site.place.source_height_m == pytest.approx(height_m, abs=1e-9)
    assert frame.origin != scene.frame.origin


def test_through_a_broker_each_node_knows_its_cell(tmp_path):
    build_city(tmp_path / "city", CityPlan(nodes=3, scene=NIGHT, nats="nats://127.0.0.1:4222"))
    nodes = [read_node(path) for path in (tmp_path / "city" / "nodes").iterdir()]
    assert all(node.centre.broker and node.centre.cell for node in nodes)
    assert read_site(tmp_path / "city" / "site.toml").nats.url == "nats://127.0.0.1:4222"


def test_a_street_is_simulated_and_has_something_to_hear(tmp_path):
    code, out, _ = run("init", tmp_path / "city", "--nodes", 6, "--json")
    made = json.loads(out)
    assert code == 0
    assert len(made["nodes"]) == 6
    scene = read_scene(tmp_path / "city" / "street", audio=True)
    assert sum(shot.sound == "gunshot" for shot in scene.truth) == 4
    nodes = [read_node(path) for path in sorted((tmp_path / "city" / "nodes").iterdir())]
    assert all(node.source.path.is_file() for node in nodes)
    moved = shutil.move(tmp_path / "city", tmp_path / "elsewhere")
    assert read_node(Path(moved) / "nodes" / "roof-01.toml").source.path.is_file()
    assert run("replay", Path(moved) / "street", "--out", tmp_path / "out")[0] == 0
    alerts = [json.loads(line) for line in (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()]
    assert "published" in {alert["outcome"] for alert in alerts}


def test_what_comes_next_is_told_in_words_that_a_shell_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("shotfix.city.shutil.which", lambda _: "/usr/bin/shotfix")
    code, out, _ = run("init", tmp_path / "a city", "--scene", NIGHT, "--nodes", 2, "--port", 9000)
    assert code == 0
    assert f"shotfix serve --config '{tmp_path}/a city'/site.toml" in out
    line = next(line for line in out.splitlines() if "for node in" in line)
    said = line.replace("shotfix listen --config $node &", 'echo "$node";').replace("wait", "true")
    done = subprocess.run(["bash", "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [f"{tmp_path}/a city/nodes/{name}.toml" for name in ("lenox", "vine")]
    assert "--port 9001" in out


def test_a_shell_that_knows_no_shotfix_is_told_by_which_interpreter(monkeypatch):
    monkeypatch.setattr("shotfix.city.shutil.which", lambda _: None)
    for said in next_commands(Path("city"), CityPlan())[1:3]:
        assert f"{sys.executable} -m shotfix.commands" in said


@pytest.mark.parametrize("there", ["file", "folder"])
def test_nothing_is_written_over(tmp_path, there):
    city = tmp_path / "city"
    if there == "folder":
        city.mkdir()
        (city / "mine").write_text("mine")
    else:
        city.write_text("mine")
    code, _, complaint = run("init", city, "--scene", NIGHT)
    assert code == 2
    assert "not empty" in complaint or "is a file" in complaint
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_a_folder_that_is_there_and_empty_is_filled(tmp_path):
    (tmp_path / "city").mkdir()
    assert run("init", tmp_path / "city", "--scene", NIGHT, "--nodes", 1)[0] == 0
    assert read_site(tmp_path / "city" / "site.toml")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "say how many"),
        (("--nodes", "0"), 2, "0 is not in the range"),
        (("--scene", "nowhere"), 65, "no such folder"),
        (("--scene", str(NIGHT), "--nodes", "13"), 65, "12 sensors with recordings, but 13 nodes"),
    ],
)
def test_what_cannot_be_is_told_and_leaves_nothing(tmp_path, arguments, code, words):
    ended, _, complaint = run("init", tmp_path / "city", *arguments)
    assert ended == code
    assert words in complaint
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.text(min_size=1, max_size=30), max_size=30))
def test_any_sensors_give_nodes_with_names_of_their_own(sensor_ids):
    names = node_names(sensor_ids)
    assert len(set(names)) == len(names) == len(sensor_ids)
    assert all(re.fullmatch(NAME_PATTERN, name) for name in names)


def test_the_receiver_that_is_told_to_be_started_starts(night):
    """The first of the commands that come next, as it stands there."""
    _, made = night
    words = made["next"][0].replace("--port 8733", "--port 0")
    with subprocess.Popen(
        ["bash", "-c", f"exec {words} --until-stdin-ends"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=ROOT, env=os.environ | {"PATH": "/usr/bin:/bin"},
    ) as process:  # fmt: skip
        assert process.stdout.readline().startswith("ready http://127.0.0.1:")
        process.stdin.close()
        assert process.wait(30) is not None


class Processes:
    """Programs that are stopped at the end, whatever happened; the first one last."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, *words):
        log = (self.folder / f"{len(self.running)}.log").open("w")
        process = subprocess.Popen([sys.executable, "-m", *map(str, words)], stdout=log, stderr=log, cwd=ROOT)
        self.running.append((process, log))
        return process

    def stop(self):
        ended = []
        for process, log in reversed(self.running):
            process.terminate()
            try:
                ended.append(process.wait(60))
            except subprocess.TimeoutExpired:
                process.kill()
                ended.append(process.wait())
            log.close()
        return ended[::-1]


def until(what, there, logs, seconds=180.0):
    """Wait for something, generously: it is a question of whether, not of when."""
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            said = "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(logs.glob("*.log")))
            pytest.fail(f"waited in vain until {what}\n{said}")
        time.sleep(0.1)


def free_ports():
    """A port of which the next is free too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


@pytest.mark.endurance
def test_the_city_lives(tmp_path):
    """What is written is started as it says, with nothing added; and the control room hears of the shot."""
    port = free_ports()
    city = tmp_path / "city"
    assert run("init", city, "--nodes", 5, "--port", port, "--pace", 2)[0] == 0
    received = city / "received.jsonl"
    processes = Processes(tmp_path)
    try:
        room = ("--port", port + 1, "--secret-file", city / "secrets" / "control-room", "--log", received)
        processes.start("alerts.couriers.loopback", *room)
        processes.start("shotfix.commands", "serve", "--config", city / "site.toml")
        until("the centre listens", lambda: reached(port), tmp_path)
        nodes = [
            processes.start("shotfix.commands", "listen", "--config", p) for p in sorted((city / "nodes").iterdir())
        ]
        until("the control room hears of it", lambda: "alert.new" in told(received), tmp_path)
        until("the nodes have ended", lambda: all(node.poll() is not None for node in nodes), tmp_path)
    finally:
        ended = processes.stop()
    logs = "\n".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert set(ended[1:]) == {0}, logs[-2000:]
    body = json.loads(json.loads(received.read_text().splitlines()[0])["body"])
    assert (body["type"], body["data"]["mode"], body["data"]["outcome"]) == ("alert.new", "test", "published")
    assert run("journal", "replay", city / "centre", "--out", tmp_path / "again")[0] == 0
    again = [json.loads(line) for line in (tmp_path / "again" / "alerts.jsonl").read_text().splitlines()]
    assert (body["data"]["alert_id"], 1) in {(alert["alert_id"], alert["revision"]) for alert in again}


def told(path):
    return path.read_text() if path.exists() else ""


def reached(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True

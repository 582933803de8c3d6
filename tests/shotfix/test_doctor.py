import importlib
import json
import re
import shutil
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sensors.capture import microphones
from sensors.identity import NodeKey
from sensors.site import Local, Network, Site
from sensors.source import Raw, SourceError
from sensors.time_source import Reading
from sensors.timekeeper import Timekeeper
from shotfix import command_line, doctor
from shotfix.city import CityPlan, build_city
from shotfix.config_reading import read_node, read_site
from shotfix.config_telling import CourierConfig
from shotfix.geometry import findings as geometry
from shotfix.network_file import Node
from shotfix.registry import Registry
from tests.command_line import run

NIGHT = Path(__file__).parents[2] / "fixtures" / "scenes" / "demo-night"
KEY = NodeKey.create().public_text


def verdicts(found):
    return [finding.verdict for finding in found]


@pytest.fixture
def city(tmp_path):
    build_city(tmp_path / "city", CityPlan(scene=NIGHT, nodes=4, port=free_port()))
    return tmp_path / "city"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def answering(status, body=b"{}", port=0):
    """Somebody who answers every question like that; the port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", port), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_every_finding_that_is_not_well_says_what_to_do(city):
    found = [*doctor.examine(None), *doctor.examine(city / "site.toml"), *doctor.examine(city / "nodes" / "vine.toml")]
    assert found
    assert all(each.remedy or each.said.count(";") or ":" in each.said for each in found if each.verdict != "OK")
    assert {"program", "disk", "clock", "geometry", "centre"} <= {each.about for each in found}


# the network


@pytest.mark.parametrize(
    ("status", "verdict", "words"),
    [
        (200, "OK", "is ready"),
        (503, "WARN", "not ready: disk full"),
        (404, "FAIL", "answers 404"),
        (302, "FAIL", "302"),
    ],
)
def test_a_centre_is_asked_whether_it_is_ready(status, verdict, words):
    with answering(status, b"disk full") as port:
        (found,) = doctor.reachable("centre", f"http://127.0.0.1:{port}")
    assert found.verdict == verdict
    assert words in found.said


def test_nobody_there_is_told_with_the_reason():
    (found,) = doctor.reachable("centre", f"http://127.0.0.1:{free_port()}")
    assert found.verdict == "FAIL"
    assert "refused" in found.said


def test_what_an_answer_says_cannot_break_a_line():
    with answering(503, b"\x1b[31mred\nFAIL  clock: wrong\r\xff") as port:
        (found,) = doctor.reachable("centre", f"http://127.0.0.1:{port}")
    assert found.said.isprintable()


def test_plain_speech_to_a_tls_port_and_back_is_told():
    with answering(200) as port:
        (found,) = doctor.reachable("centre", f"https://127.0.0.1:{port}")
    assert found.verdict == "FAIL"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (found,) = doctor.reachable("broker", f"nats://127.0.0.1:{port}")
        assert found.verdict == "OK"


def test_a_courier_is_looked_at_without_showing_its_token():
    (found,) = doctor.courier("room", f"http://127.0.0.1:{free_port()}/hooks/token-17")
    assert found.verdict == "WARN"
    assert "token-17" not in found.words()


def test_of_a_courier_that_drops_files_its_folder_is_looked_at(city):
    config = read_site(city / "site.toml")
    drop = CourierConfig("room", kind="drop", folder=city / "room")
    found = doctor.site(replace(config, couriers=(drop,)))
    (gone,) = [one for one in found if str(city / "room") in one.said]
    assert (gone.verdict, gone.about) == ("FAIL", "drop room"), (
        "that its parent is there helps nobody: nothing makes it"
    )
    assert not [one for one in found if one.about.startswith("courier")], "nobody is to be called"
    (city / "room").mkdir()
    assert verdicts(doctor.drop("room", city / "room")) == ["OK", "OK"]


def test_a_record_on_a_server_is_looked_at_without_showing_its_password(postgres_url):
    (there,) = doctor.database(postgres_url)
    assert there.verdict == "OK"
    (gone,) = doctor.database("postgresql://shotfix:sesame@/city?host=/nowhere")
    assert gone.verdict == "FAIL"
    assert "server runs" in gone.words()
    assert "sesame" not in gone.words()


def test_a_centre_that_runs_is_seen_at_its_own_port(city):
    site = read_site(city / "site.toml")
    assert verdicts(doctor.door(site)) == ["OK"]
    with answering(200, port=site.listen.port):
        (found,) = doctor.door(site)
    assert "is ready" in found.said


# clock and disk


@pytest.mark.parametrize(
    ("reading", "node", "centre"),
    [
        (Reading("chrony", "locked", 0.0002), "OK", "OK"),
        (Reading("chrony", "locked", 0.005), "WARN", "OK"),
        (Reading("chrony", "locked", 0.2), "FAIL", "WARN"),
        (Reading("chrony", "free", 0.0, doubt="no source"), "FAIL", "WARN"),
        (Reading("chrony", "locked", 0.0001, leap="insert"), "WARN", "WARN"),
    ],
)
def test_a_clock_is_judged_by_what_its_owner_needs(reading, node, centre):
    assert doctor.judged_clock(reading, needed=True).verdict == node
    assert doctor.judged_clock(reading, needed=False).verdict == centre


def test_what_a_leap_second_does_to_a_node_is_told_as_it_is():
    """A kernel that repeats a second; chronyd was locked all along."""
    told = doctor.judged_clock(Reading("chrony", "locked", 0.0001, leap="insert"), needed=True)
    keeper, seconds = Timekeeper(8_000), 0
    keeper.read(Reading("chrony", "locked", 0.0001))

    def hear(until_s, back_s):
        nonlocal seconds
        for piece in range(seconds * 10, until_s * 10):
            keeper.read(Reading("chrony", "locked", 0.0001))
            wall_ns = 1_798_761_590_000_000_000 + piece * 10**8 - back_s * 10**9
            keeper.keep(Raw(np.zeros(800, np.float32), piece * 800, 8_000, wall_ns))
        seconds = until_s

    hear(10, 0)
    assert keeper.sigma_s < 0.01
    hear(20, 1)
    assert keeper.counts["clock-backward"] == 1
    assert keeper.sigma_s > 0.5
    hear(560, 1)
    assert keeper.sigma_s > 0.5
    hear(660, 1)
    assert keeper.sigma_s < 0.01
    assert "ten minutes" in told.remedy
    assert "jumped" in told.remedy


def test_a_node_that_the_network_places_elsewhere_is_told(city):
    node = min((city / "nodes").glob("*.toml"))
    assert verdicts(doctor.place(read_node(node), node)) == ["OK"]
    network = city / "network.toml"
    network.write_text(re.sub(r"(?m)^(latitude_deg = )\S+", r"\g<1>41.5", network.read_text(), count=1))
    (found,) = [each for path in (city / "nodes").glob("*.toml") for each in doctor.place(read_node(path), path)
                if each.verdict != "OK"]  # fmt: skip
    assert "stands elsewhere" in found.said
    network.write_text("nonsense")
    assert verdicts(doctor.place(read_node(node), node)) == ["WARN"]
    network.unlink()
    assert verdicts(doctor.place(read_node(node), node)) == []


def test_a_clock_from_before_the_program_was_built_is_wrong(monkeypatch):
    monkeypatch.setattr(doctor.time, "time_ns", lambda: 1_000_000_000 * 10**9)
    (found,) = doctor.clock(None)
    assert found.verdict == "FAIL"
    assert "before this program was built" in found.said


@pytest.mark.parametrize(("free", "first"), [(10**12, "OK"), (10**9, "WARN"), (10**6, "FAIL")])
def test_a_disk_is_judged_by_its_room(tmp_path, monkeypatch, free, first):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    found = list(doctor.disk(tmp_path / "data", 2 * 10**9))
    assert found[0].verdict == first
    assert found[1].about == "disk"
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_slow_to_promise_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_sync_s", lambda _: 0.2)
    assert verdicts(doctor.disk(tmp_path, 0))[1] == "WARN"


def test_a_folder_that_is_not_there_is_told(tmp_path):
    assert verdicts(doctor.disk(tmp_path / "a" / "b", 0)) == ["FAIL"]


# devices


def test_a_microphone_that_is_not_there_is_told_with_those_that_are(monkeypatch):
    try:
        found = list(doctor.devices(["surely no microphone is called this"]))
    except OSError as error:  # PortAudio is not installed
        pytest.skip(str(error))
    assert verdicts(found) == ["FAIL"]
    assert found[0].remedy
    monkeypatch.setattr("sensors.capture.microphones", lambda: (_ for _ in ()).throw(SourceError("no PortAudio")))
    assert verdicts(doctor.devices()) == ["WARN"]
    assert verdicts(doctor.devices(["x"])) == ["FAIL"]
    assert callable(microphones)


# geometry


def registry(*places, **known):
    sites = tuple(
        Site(f"s{k}", Local(*place), full_scale_db_spl=known.get("full_scale", 120.0),
             position_sigma_m=known.get("sigma", 1.0)) for k, place in enumerate(places)
    )  # fmt: skip
    return Registry(Network(sites), ("n",) * len(sites), (Node("n", (KEY,)),))


SQUARE = ((0.0, 0.0, 5.0), (250.0, 0.0, 6.0), (0.0, 250.0, 4.0), (250.0, 250.0, 5.0), (120.0, 130.0, 5.0))


def told(*places, **known):
    return [finding for finding in geometry(registry(*places, **known)) if finding.verdict != "OK"]


def test_a_good_network_is_well():
    assert told(*SQUARE) == []


@pytest.mark.parametrize(
    ("places", "known", "words"),
    [
        (SQUARE[:3], {}, "3 sensors"),
        ([(100.0 * k, 0.5 * k, 5.0) for k in range(6)], {}, "stand in a line"),
        ((*SQUARE, (3000.0, 100.0, 5.0)), {}, "s5 stands 27"),
        ((*SQUARE, (0.0, 0.2, 5.0)), {}, "0.2 m from another"),
        (SQUARE, {"full_scale": None}, "no full_scale_db_spl of s0, s1"),
        (SQUARE, {"sigma": 30.0}, "position_sigma_m over 10 m"),
        ([(1500.0 * x, 1500.0 * y, 5.0) for x in range(3) for y in range(3)], {}, "set sensors closer"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_network_is_told(places, known, words):
    found = told(*places, **known)
    assert any(words in finding.words() for finding in found), [finding.words() for finding in found]


# as a whole


def test_a_broken_configuration_is_the_first_thing_to_mend(city):
    node = city / "nodes" / "vine.toml"
    node.write_text(node.read_text().replace("placement", "placment"))
    code, out, _ = run("doctor", "--config", node, "--json")
    told = json.loads(out)
    assert code == 1
    assert not told["ok"]
    assert any("did you mean" in finding["said"] for finding in told["findings"])


def test_a_node_with_its_centre_there_is_well(city):
    port = read_site(city / "site.toml").listen.port
    with answering(200, port=port):
        code, out, _ = run("doctor", "--config", city / "nodes" / "vine.toml", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    code, out, _ = run("doctor", "--config", city / "nodes" / "vine.toml")
    assert code == 1
    assert [line for line in out.splitlines() if line.startswith("FAIL  centre: 127.0.0.1")]


def test_a_look_that_fails_keeps_no_other_back(city, monkeypatch):
    monkeypatch.setattr(doctor, "disk", lambda *_: 1 / 0)
    found = doctor.node(read_node(city / "nodes" / "vine.toml"))
    assert [each for each in found if each.about == "doctor" and "ZeroDivisionError" in each.said]
    assert "centre" in {each.about for each in found}


def test_a_register_that_is_wrong_is_told(city):
    (city / "network.toml").write_text("revision = 0\n")
    found = doctor.site(read_site(city / "site.toml"))
    assert "FAIL" in {each.verdict for each in found if each.about == "network.toml"}


# check-config


def test_configurations_are_checked_as_at_the_start(city):
    files = [city / "site.toml", city / "network.toml", *sorted((city / "nodes").iterdir())]
    code, out, _ = run("check-config", *files)
    assert code == 0
    assert out.count("nothing wrong") == len(files) == 6
    files[-1].write_text("node = 3\n")
    files[0].write_text(files[0].read_text().replace("port", "prot"))
    code, out, complaint = run("check-config", *files, "--json")
    found = json.loads(out)
    assert code == 1
    assert [bool(each["problems"]) for each in found["files"]] == [True, False, False, False, False, True]
    problem = found["files"][0]["problems"][0]
    assert (problem["key"], problem["line"]) == ("listen.prot", 11)
    assert 'did you mean "port"' in complaint


def test_a_centres_network_is_checked_with_it(city):
    text = (city / "network.toml").read_text()
    (city / "network.toml").write_text(text.replace("latitude_deg = 4", "latitude_deg = 14", 1))
    code, _, complaint = run("check-config", city / "site.toml")
    assert code == 1
    assert "network.toml:8: sensor[1].latitude_deg" in complaint or "network.toml:" in complaint


@pytest.mark.parametrize("command", ["serve", "listen"])
def test_a_broken_configuration_ends_a_start_with_78(city, command):
    (city / "broken.toml").write_text("[site]\n[node]\n")
    code, _, complaint = run(command, "--config", city / "broken.toml")
    assert code == 78
    assert all(line.startswith("shotfix: broken.toml") for line in complaint.splitlines())
    assert len(complaint.splitlines()) >= 3


def test_a_key_that_is_none_is_told_before_the_start(city):
    node = city / "nodes" / "vine.toml"
    (city / "keys" / "vine.pem").write_text("-----BEGIN NOTHING-----")
    code, _, complaint = run("check-config", node)
    assert code == 1
    assert "vine.toml: node.key_file" in complaint
    assert ("key", "FAIL") in {(each.about, each.verdict) for each in doctor.node(read_node(node))}


def self_signed(folder, days):
    """A certificate for the loopback address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=400)).not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pem").chmod(0o600)


@pytest.mark.parametrize(("days", "verdict"), [(300, "OK"), (5, "WARN"), (-1, "FAIL")])
def test_a_certificate_is_looked_at_before_it_ends(city, days, verdict):
    self_signed(city, days)
    site = city / "site.toml"
    tls = 'host = "0.0.0.0"\ntls_cert_file = "cert.pem"\ntls_key_file = "key.pem"\nport = '
    site.write_text(site.read_text().replace("port = ", tls, 1))
    assert run("check-config", site)[0] == 0
    assert verdicts(doctor.certificate(read_site(site))) == [verdict]
    (city / "cert.pem").write_text("no certificate")
    code, _, complaint = run("check-config", site)
    assert (code, "listen.tls_cert_file" in complaint) == (1, True)
    assert verdicts(doctor.certificate(read_site(site))) == ["FAIL"]


def test_every_ending_is_of_an_error_that_there_is():
    for module, name, code in command_line.ENDINGS:
        kind = getattr(importlib.import_module(module), name)
        assert issubclass(kind, Exception)
        assert kind.__module__ == module
        assert code in {2, 65, 69, 74, 78}


def test_backups_and_journals_that_are_not_there_are_told(city, tmp_path):
    assert run("journal", "replay", city / "centre", "--out", tmp_path / "again")[0] == 74
    assert not (tmp_path / "again").exists()
    assert run("restore", tmp_path / "nothing", tmp_path / "data")[0] == 74

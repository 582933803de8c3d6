import json
import stat
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensors.identity import Keyring, NodeKey
from sensors.site import Geodetic, Local, Site
from sensors.source import Raw
from shotfix.config_reading import read_node
from shotfix.enrolling import Enrolment, addition_text, enrol, same_place
from shotfix.registry import read_registry
from shotfix.results import OutputError
from shotfix.selftest import Bench
from tests.command_line import run

RATE_HZ = 48_000
SITE = Site("garden-st", Geodetic(41.7805, -72.6904, 12.0), position_sigma_m=1.5, up_sigma_m=2.0)
PLACE = ("--latitude", 41.7805, "--longitude", -72.6904, "--height", 12)


def asked(node_id="garden-st", site=SITE):
    return Enrolment(node_id, site, {"url": "https://centre.example.org:8732"}, ("UMIK",))


def test_a_node_is_enrolled_and_can_speak(tmp_path):
    made = enrol(asked(), tmp_path / "garden-st", None)
    node = read_node(tmp_path / "garden-st" / "node.toml")
    key = NodeKey.load(node.node.key_file)
    assert key.public_text == made["key"]
    assert stat.S_IMODE(node.node.key_file.stat().st_mode) == 0o600
    assert node.sensors[0].position == SITE.position
    assert node.sensors[0].position_sigma_m == 1.5
    assert node.source.device == ("UMIK",)
    addition = tomllib.loads(made["addition"])
    assert addition["sensor"][0]["node_id"] == addition["node"][0]["node_id"] == "garden-st"
    assert Keyring({"garden-st": made["key"]}).open(key.seal(b"hello")) == ("garden-st", b"hello")
    assert "PRIVATE" not in json.dumps(made)


def test_added_to_a_network_its_words_are_kept_and_its_revision_rises(tmp_path):
    network = tmp_path / "network.toml"
    enrol(asked(), tmp_path / "one", network)
    assert read_registry(network).revision == 1
    network.write_text(
        "# ours; ask Ruth before moving anything\n" + network.read_text().replace("= 1\n", "= 41 # !\n", 1)
    )
    network.chmod(0o640)
    made = enrol(asked("vine-st", Site("vine-st", Geodetic(41.79, -72.69, 9.0))), tmp_path / "two", network)
    registry = read_registry(network)
    assert made["revision"] == registry.revision == 42
    assert [site.sensor_id for site in registry.network.sites] == ["garden-st", "vine-st"]
    assert registry.keys["vine-st"] == (made["key"],)
    text = network.read_text()
    assert text.startswith("# ours; ask Ruth")
    assert "= 42 # !" in text
    assert stat.S_IMODE(network.stat().st_mode) == 0o640
    assert not list(tmp_path.glob(".network*"))


@pytest.mark.parametrize(
    ("node_id", "site", "words"),
    [
        ("garden-st", SITE, "garden-st"),  # there already
        ("vine-st", Site("vine-st", Local(1.0, 2.0, 3.0)), "degrees"),
    ],
)
def test_a_network_that_would_be_wrong_stays_as_it_was(tmp_path, node_id, site, words):
    network = tmp_path / "network.toml"
    enrol(asked(), tmp_path / "one", network)
    before = network.read_bytes()
    with pytest.raises(ValueError, match=words):
        enrol(asked(node_id, site), tmp_path / "two", network)
    assert network.read_bytes() == before
    assert not (tmp_path / "two").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.toml", "one"]


def test_a_key_is_never_written_over(tmp_path):
    enrol(asked(), tmp_path / "one", None)
    before = (tmp_path / "one" / "node.pem").read_bytes()
    with pytest.raises(OutputError, match="is there already"):
        enrol(asked(), tmp_path / "one", None)
    assert (tmp_path / "one" / "node.pem").read_bytes() == before


@given(
    st.floats(-90, 90), st.floats(-179.99, 179.99), st.floats(-400, 4000), st.floats(0, 1e4),
    st.one_of(st.none(), st.floats(50, 200)),
)  # fmt: skip
@settings(max_examples=60)
def test_what_was_surveyed_is_what_is_written_to_the_last_bit(latitude, longitude, height, sigma, full_scale):
    site = Site(
        "s", Geodetic(latitude, longitude, height), position_sigma_m=sigma, full_scale_db_spl=full_scale
    )  # fmt: skip
    table = tomllib.loads(addition_text(asked("s", site), NodeKey.create().public_text))["sensor"][0]
    assert (table["latitude_deg"], table["longitude_deg"], table["height_m"]) == (latitude, longitude, height)
    assert table["position_sigma_m"] == sigma
    assert table.get("full_scale_db_spl") == full_scale


def test_a_file_that_places_a_sensor_elsewhere_is_noticed(tmp_path):
    network = tmp_path / "network.toml"
    enrol(asked(), tmp_path / "one", network)
    node, registry = read_node(tmp_path / "one" / "node.toml"), read_registry(network)
    assert same_place(node, registry) == []
    (tmp_path / "one" / "node.toml").write_text((tmp_path / "one" / "node.toml").read_text().replace("41.7805", "41.8"))
    assert "stands elsewhere" in same_place(read_node(tmp_path / "one" / "node.toml"), registry)[0]


# the command


def test_the_installers_command(tmp_path):
    network = tmp_path / "network.toml"
    code, out, _ = run(
        "node", "enrol", "--node-id", "garden-st", *PLACE, "--sigma", 1.5, "--full-scale", 120, "--out", tmp_path / "n",
        "--network", network, "--json",
    )  # fmt: skip
    made = json.loads(out)
    assert code == 0
    assert made["revision"] == 1
    assert read_registry(network).network.sites[0].full_scale_db_spl == 120.0
    assert run("check-config", tmp_path / "n" / "node.toml", network)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (PLACE[:4], "a place needs all of --latitude, --longitude and --height"),
        ((), "give the place once"),
        ((*PLACE, "--east-m", 1, "--north-m", 2, "--up-m", 3), "give the place once"),
        ((*PLACE, "--full-scale", 300), "300"),
    ],
)
def test_an_impossible_place_is_a_mistake_of_usage(tmp_path, arguments, words):
    code, _, complaint = run("node", "enrol", "--node-id", "a", *arguments, "--out", tmp_path / "n")
    assert code == 2
    assert words in complaint
    assert not (tmp_path / "n").exists()


def test_a_bad_name_or_centre_is_told_as_configurations_are(tmp_path):
    for wrong in (("--node-id", "a b"), ("--node-id", "a", "--centre", "http://centre.example.org")):
        code, _, complaint = run("node", "enrol", *wrong, *PLACE, "--out", tmp_path / "n")
        assert code == 78
        assert "node.toml:" in complaint
        assert not (tmp_path / "n").exists()


# the clap


def street(rng, seconds, level=0.001):
    return (level * rng.standard_normal(int(seconds * RATE_HZ))).astype(np.float32)


def with_clap(sound, at_s, peak=0.5):
    """Two hands: a click of 3 ms with a tail of decaying noise."""
    rng, sound = np.random.default_rng(5), sound.copy()
    start, count = int(at_s * RATE_HZ), int(0.05 * RATE_HZ)
    decay = np.exp(-np.arange(count) / (0.004 * RATE_HZ))
    burst = rng.standard_normal(count) * decay
    sound[start : start + count] += (peak * burst / np.max(np.abs(burst))).astype(np.float32)
    return np.clip(sound, -1.0, 1.0)


def heard(sound, cut=4_800, **how):
    bench = Bench("s", **how)
    for count in range(0, len(sound), cut):
        bench.hear(Raw(sound[count : count + cut], count, RATE_HZ))
    return bench.report()


def test_a_clap_is_heard_where_it_was():
    found = heard(with_clap(street(np.random.default_rng(1), 8.0), 5.0), full_scale_db_spl=120.0)
    assert found.remedy == ""
    assert any(abs(clap.after_s - 5.0) < 0.02 for clap in found.claps)
    assert found.peak_dbfs == pytest.approx(-6.0, abs=0.5)
    assert found.noise_dbfs == pytest.approx(-60.0, abs=1.0)
    assert found.seconds == 8.0
    assert "well heard" in found.told()


@pytest.mark.parametrize(
    ("sound", "words"),
    [
        (street(np.random.default_rng(2), 6.0), "no clap was heard"),
        (np.zeros(6 * RATE_HZ, np.float32), "digital silence"),
        (np.clip(with_clap(street(np.random.default_rng(3), 6.0), 4.0, 0.9) * 3, -1, 1), "full scale was reached"),
        (np.zeros(0, np.float32), "no sound came"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(sound, words):
    assert words in heard(sound.astype(np.float32)).remedy


@given(st.integers(480, 48_000))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_however_the_device_cuts_it_the_clap_is_the_same(cut):
    sound = with_clap(street(np.random.default_rng(1), 6.0), 4.0)
    assert heard(sound, cut).claps == heard(sound).claps


def test_the_right_channel_is_listened_to():
    rng = np.random.default_rng(4)
    both = np.stack([street(rng, 6.0), with_clap(street(rng, 6.0), 4.0)], axis=1)
    assert heard(both, channel=1).claps
    assert not heard(both, channel=0).claps


def test_the_command_listens_to_the_nodes_own_source(tmp_path):
    enrol(asked(), tmp_path / "n", None)
    sound = with_clap(street(np.random.default_rng(1), 6.0), 4.0)
    soundfile.write(tmp_path / "n" / "clap.wav", sound, RATE_HZ, subtype="PCM_24")
    file = tmp_path / "n" / "node.toml"
    text = file.read_text()
    played = '[source]\nkind = "file"\npath = "clap.wav"\nstart_utc = "2026-11-21T03:00:00Z"\npace = 0\n\n'
    text = text[: text.index("# By parts of its name")] + played + '[clock]\nsource = "stated"\nsigma_s = 0.0002\n'
    file.write_text(text)
    code, out, _ = run("node", "clap", "--config", file, "--seconds", 20, "--json")
    told = json.loads(out)
    assert code == 0, told
    assert told["sensors"][0]["seconds"] == pytest.approx(6.0, abs=0.2)
    assert any(abs(clap["after_s"] - 4.0) < 0.02 for clap in told["sensors"][0]["claps"])
    assert Path(file).read_text() == text

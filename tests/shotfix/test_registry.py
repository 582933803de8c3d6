"""The registry: what network.toml says, everything that is wrong with it at once, and what changed since."""

from __future__ import annotations

import json
import math
import pickle
import tomllib
from dataclasses import replace

import pyproj
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import EARLIEST_NS, LATEST_NS, SECOND, parse_instant
from sensors.identity import Keyring, NodeKey
from sensors.site import Element, Geodetic, Local, Network, Site
from shotfix import network_reading
from shotfix.config_reading import ConfigError
from shotfix.registry import Maintenance, Node, Registry, RegistryError, changes, read_registry, write_history

KEYS = [NodeKey.create().public_text for _ in range(4)]
NOW_NS = parse_instant("2026-11-21T03:00:00Z")

CITY = f"""
revision = 7

[[sensor]]
sensor_id = "garden-st"
node_id = "roof"
latitude_deg = 41.7658
longitude_deg = -72.6734
height_m = 12.5
position_sigma_m = 0.5
clock_offset_s = 0.002
full_scale_db_spl = 130
valid_from = 2026-01-01T00:00:00-05:00
valid_to = "2026-06-01T00:00:00.123456789Z"

[[sensor]]                     # it was moved in June, to another node
sensor_id = "garden-st"
node_id = "tower"
latitude_deg = 41.7660
longitude_deg = -72.6734
height_m = 12.5
valid_from = 2026-06-01T00:00:01Z

[[sensor]]
sensor_id = "main-st"
node_id = "roof"
latitude_deg = 41.7700
longitude_deg = -72.6700
height_m = 20

[[sensor.element]]
channel = 0
east_m = 0.1
north_m = 0
up_m = 0.0

[[node]]
node_id = "roof"
keys = ["{KEYS[0]}", "{KEYS[1]}"]

[[node]]
node_id = "tower"
keys = ["{KEYS[2]}"]
revoked = "2026-11-20T00:00:00Z, stolen from the roof"

[[maintenance]]
sensor_id = "main-st"
from = 2026-11-21T02:00:00Z
until = 2026-11-21T04:00:00Z
reason = "new windscreen"
"""


def written(tmp_path, text):
    path = tmp_path / "network.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def city(tmp_path):
    return read_registry(written(tmp_path, CITY))


def test_what_the_file_says(city):
    assert city.revision == 7
    first, moved, other = city.network.sites
    assert first == Site(
        "garden-st", Geodetic(41.7658, -72.6734, 12.5), 0.5, clock_offset_s=0.002, full_scale_db_spl=130.0,
        valid_from_ns=parse_instant("2026-01-01T05:00:00Z"), valid_to_ns=parse_instant("2026-06-01T00:00:00.123456789Z"),
    )  # fmt: skip
    assert moved.position.latitude_deg == 41.7660
    assert other.elements == (Element(0, 0.1, 0.0, 0.0),)
    assert city.keys == {"roof": (KEYS[0], KEYS[1])}
    assert city.revoked == {KEYS[2]}
    Keyring(city.keys, city.revoked)  # as the ingest will do


def test_the_site_of_a_moment(city):
    for at_ns in (parse_instant("2025-01-01T00:00:00Z"), parse_instant("2026-05-01T00:00:00Z"), NOW_NS):
        for name in ("garden-st", "main-st", "nowhere"):
            assert city.site(name, at_ns) == city.network.site(name, at_ns)


def test_a_node_speaks_for_its_own_sensors_only(city):
    assert city.node_of("garden-st") == "tower"
    assert city.node_of("garden-st", parse_instant("2026-03-01T00:00:00Z")) == "roof"
    assert city.node_of("garden-st", parse_instant("2025-03-01T00:00:00Z")) is None
    assert city.node_of("nowhere") is None
    assert city.sensors_of("roof") == ("main-st", "garden-st")
    assert city.sensors_of("stranger") == ()
    assert city.may_speak("tower", "garden-st")
    assert not city.may_speak("tower", "main-st")
    assert not city.may_speak("stranger", "main-st")


def test_maintenance_ends_by_itself(city):
    work = Maintenance("main-st", NOW_NS - 3_600 * SECOND, NOW_NS + 3_600 * SECOND, "new windscreen")
    assert city.under_maintenance("main-st", NOW_NS) == work
    assert city.under_maintenance("main-st", work.from_ns) == work
    assert city.under_maintenance("main-st", work.from_ns - 1) is None
    assert city.under_maintenance("main-st", work.until_ns) is None
    assert city.under_maintenance("garden-st", NOW_NS) is None


def test_it_goes_into_the_journal_and_pickles(city):
    assert Registry.decode(city.encode()) == city
    assert Registry.decode(city.encode()).encode() == city.encode()
    again = pickle.loads(pickle.dumps(city))  # noqa: S301  (made here)
    assert again == city
    assert again.node_of("main-st") == "roof"


instants = st.integers(EARLIEST_NS, LATEST_NS - 10 * SECOND).filter(bool)
real = st.floats(-1e6, 1e6, allow_nan=False)
names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
degrees = st.builds(Geodetic, st.floats(-90, 90), st.floats(-180, 180), st.floats(-500, 9000))
metres = st.builds(Local, real, real, real)


@st.composite
def registries(draw):
    place = draw(st.sampled_from([degrees, metres]))
    nodes = tuple(
        Node(name, (KEYS[k],), draw(st.none() | st.just("2026-11-20T00:00:00Z, worn")))
        for k, name in enumerate(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
    )
    sites, owners, work = [], [], []
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        cuts = sorted(draw(st.lists(instants, max_size=3, unique=True)))
        spans = [(a, b) for a, b in zip([None, *cuts], [*cuts, None], strict=True) if draw(st.booleans()) or not cuts]
        for begin, end in spans:
            sites.append(
                Site(
                    name, draw(place), draw(st.floats(0, 1e4)), draw(st.floats(0, 1e4)), draw(st.floats(0, 3600)),
                    draw(st.none() | st.floats(50, 200)),
                    tuple(draw(st.lists(st.builds(Element, st.integers(0, 99), *[st.floats(-100, 100)] * 3), max_size=2))),
                    begin, end, draw(st.floats(-3600, 3600)),
                )
            )  # fmt: skip
            owners.append(draw(st.sampled_from(nodes)).node_id)
            begin_ns = draw(instants)
            work.append(Maintenance(name, begin_ns, begin_ns + 1 + draw(st.integers(0, 5)), draw(names)))
    if not sites:
        sites, owners = [Site("a", draw(place))], [nodes[0].node_id]
    return Registry(Network(tuple(sites), draw(st.integers(1, 10**6))), tuple(owners), nodes, tuple(work))


@settings(max_examples=60, deadline=None)
@given(registry=registries())
def test_every_registry_survives_the_journal_and_a_file(registry, tmp_path_factory):
    assert Registry.decode(registry.encode()) == registry
    path = tmp_path_factory.mktemp("network") / "network.toml"
    path.write_text(tomli_w.dumps(json.loads(registry.encode())), encoding="utf-8")
    assert read_registry(path) == registry
    assert registry.revised(registry) == (registry, ())


BROKEN = {
    "lattitude": (
        [("latitude_deg = 41.7700", "lattitude_deg = 41.7700")],
        ['network.toml:27: sensor[3].lattitude_deg: unknown key; did you mean "latitude_deg"?',
         "network.toml:24: sensor[3].latitude_deg: absent; expected a finite number"],
    ),
    "out of range": (
        [("latitude_deg = 41.7700", "latitude_deg = 141.77"), ("full_scale_db_spl = 130", "full_scale_db_spl = 13")],
        ["network.toml:12: sensor[1].full_scale_db_spl: 13.0: expected 50 to 200",
         "network.toml:27: sensor[3].latitude_deg: 141.77: expected -90 to 90"],
    ),
    "wrong types": (
        [("height_m = 20", 'height_m = "20"'), ("revision = 7", "revision = true"), ('"new windscreen"', "5")],
        ["network.toml:2: revision: True; expected a whole number",
         "network.toml:29: sensor[3].height_m: '20'; expected a finite number",
         "network.toml:50: maintenance[1].reason: 5; expected text in quotes"],
    ),
    "not a number": (
        [("height_m = 20", "height_m = nan"), ("position_sigma_m = 0.5", "position_sigma_m = inf")],
        ["network.toml:10: sensor[1].position_sigma_m: inf; expected a finite number",
         "network.toml:29: sensor[3].height_m: nan; expected a finite number"],
    ),
    "no zone": (
        [("until = 2026-11-21T04:00:00Z", "until = 2026-11-21T04:00:00")],
        ["network.toml:49: maintenance[1].until: 2026-11-21T04:00:00; expected a time with its zone, as 2026-11-21T03:04:05Z"],
    ),
    "no end": (
        [("until = 2026-11-21T04:00:00Z\n", "")],
        ["network.toml:46: maintenance[1].until: absent; expected a time with its zone, as 2026-11-21T03:04:05Z"],
    ),
    "ends before it begins": (
        [("until = 2026-11-21T04", "until = 2026-11-21T01")],
        ["network.toml:49: maintenance[1].until: 2026-11-21T01:00:00Z: expected a time after from"],
    ),
    "no reason": (
        [('reason = "new windscreen"', 'reason = " "')],
        ["network.toml:50: maintenance[1].reason: ' ': expected why, in 1 to 500 printable characters"],
    ),
    "unknown sensor": (
        [('[[maintenance]]\nsensor_id = "main-st"', '[[maintenance]]\nsensor_id = "main-street"')],
        ['network.toml:47: maintenance[1].sensor_id: \'main-street\' is no [[sensor]]; did you mean "main-st"?'],
    ),
    "unknown node": (
        [('sensor_id = "main-st"\nnode_id = "roof"', 'sensor_id = "main-st"\nnode_id = "rooof"')],
        ['network.toml:26: sensor[3].node_id: \'rooof\' is no [[node]]; did you mean "roof"?'],
    ),
    "two places at once": (
        [('valid_to = "2026-06-01T00:00:00.123456789Z"\n', "")],
        ["network.toml:15: sensor[2]: 'garden-st' stands elsewhere at that time; end one stay with valid_to"],
    ),
    "two frames": (
        [("latitude_deg = 41.7700\nlongitude_deg = -72.6700\nheight_m = 20", "east_m = 4\nnorth_m = 5\nup_m = 6")],
        ["network.toml:24: sensor[3]: in metres, and the first sensor in degrees; give all of a network in one frame"],
    ),
    "both frames": (
        [("latitude_deg = 41.7700\n", "latitude_deg = 41.77\neast_m = 4\nnorth_m = 5\nup_m = 6\n")],
        ["network.toml:27: sensor[3].latitude_deg: given beside metres; give degrees or metres, not both"],
    ),
    "no key": (
        [(KEYS[2], "ed25519:abc")],
        ["network.toml:43: node[2].keys: 'ed25519:abc' is no public key: expected ed25519: and the base64 of 32 bytes"],
    ),
    "a key twice": (
        [(KEYS[2], KEYS[0])],
        ["network.toml:43: node[2].keys: the same key as 'roof'; every node has its own"],
    ),
    "three keys": (
        [(f'"{KEYS[1]}"', f'"{KEYS[1]}", "{KEYS[3]}"')],
        ["network.toml:39: node[1].keys: of 3: expected one, or 2 while the node changes them"],
    ),
    "a node twice": (
        [('node_id = "tower"\nkeys', 'node_id = "roof"\nkeys')],
        ["network.toml:42: node[2].node_id: 'roof' is listed twice; give all its keys in one [[node]]",
         "network.toml:18: sensor[2].node_id: 'tower' is no [[node]]"],
    ),
    "revoked without a reason": (
        [("2026-11-20T00:00:00Z, stolen from the roof", "yes")],
        ["network.toml:44: node[2].revoked: 'yes': expected when, a comma and why, as 2026-11-21T03:00:00Z, stolen"],
    ),
    "an element astray": (
        [("east_m = 0.1", "east_m = 1000.0"), ("channel = 0\n", "")],
        ["network.toml:31: sensor[3].element[1].channel: absent; expected a whole number"],
    ),
    "a table where a list belongs": (
        [("[[maintenance]]", "[maintenance]")],
        ["network.toml:46: maintenance: {'sensor_id': 'main-st', 'from': datetim...; expected a list of tables, [[maintenance]] before each"],
    ),
    "no revision": ([("revision = 7\n", "")], ["network.toml: revision: absent; expected a whole number"]),
    "revision 0": ([("revision = 7", "revision = 0")], ["network.toml:2: revision: 0; expected 1 or more"]),
    "unknown table": (
        [('[[node]]\nnode_id = "roof"', '[[nodes]]\nnode_id = "roof"')],
        ['network.toml:37: nodes: unknown key; did you mean "node"?',
         "network.toml:6: sensor[1].node_id: 'roof' is no [[node]]",
         "network.toml:26: sensor[3].node_id: 'roof' is no [[node]]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_everything_that_is_wrong_is_told_at_once(tmp_path, name):
    text, expected = CITY, BROKEN[name][1]
    for old, new in BROKEN[name][0]:
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(RegistryError) as caught:
        read_registry(written(tmp_path, text))
    assert isinstance(caught.value, ConfigError)
    assert sorted(str(caught.value).splitlines()) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = ", "not TOML"),
        ("[site]\nname = 'x'\n", "configures a site; expected [[sensor]] and [[node]]"),
        ("revision = 1\n", "sensor: absent; expected one [[sensor]] at least"),
        ("revision = " + "[" * 5_000, "not TOML"),
    ],
)
def test_what_is_no_network_file(tmp_path, text, says):
    with pytest.raises(RegistryError) as caught:
        read_registry(written(tmp_path, text))
    assert says in str(caught.value)
    with pytest.raises(RegistryError, match="no such file"):
        read_registry(tmp_path / "absent.toml")


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("2026-11-21T03:00:00Z")
)
known = {*network_reading._TOP, *network_reading._SENSOR, *network_reading._NODE, *network_reading._MAINTENANCE}
keys = st.sampled_from([*sorted(known), "channel", "odd"])
tables = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=8), max_leaves=30
)


@settings(max_examples=150, deadline=None)
@given(table=st.dictionaries(keys, tables, max_size=5))
def test_whatever_stands_in_the_tables_it_is_refused_or_read(table):
    try:
        registry = Registry.decode(json.dumps(table).encode())
    except RegistryError as error:
        told = len(error.problems)
    else:
        told = Registry.decode(registry.encode()) == registry
    assert told


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_with_anything_changed_is_refused_or_read(data, tmp_path_factory):
    content = bytearray(CITY.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.sampled_from([0, 1, 1, 5, 50]))
        odd = st.sampled_from([b"[[", b'"', b"\n", b"=", b"9" * 400])
        content[at : at + length] = data.draw(st.binary(max_size=4) | odd)
    path = tmp_path_factory.mktemp("network") / "network.toml"
    path.write_bytes(content)
    told = ["network.toml"]
    try:
        read_registry(path)
    except RegistryError as error:
        told = str(error).splitlines()
    assert all(line.startswith("network.toml") for line in told)


def test_thousands_of_mistakes_are_told_soon():
    sensors = [{"sensor_id": f"s{k}", "node_id": f"n{k}", "east_m": k, "north_m": 0, "up_m": 0} for k in range(4_000)]
    nodes = [{"node_id": f"m{k}", "keys": [KEYS[0]]} for k in range(4_000)]
    with pytest.raises(RegistryError) as caught:
        Registry.decode(json.dumps({"revision": 1, "sensor": sensors, "node": nodes}).encode())
    assert len(caught.value.problems) == 4_000 + 3_999
    assert len(str(caught.value).splitlines()) <= 101


@given(
    content=st.binary(max_size=60) | st.sampled_from([b"[]", b'{"sensor": 3}', b'{"sensor": [3]}', b'{"sensor": [{}]}'])
)
def test_what_is_no_registry_is_refused(content):
    with pytest.raises(RegistryError):
        Registry.decode(content)


def test_what_changed_is_said_in_words(city):
    first, moved, other = city.network.sites
    north_deg = 12.0 / 111_060.0  # at this latitude
    sites = (
        first,
        replace(moved, position=replace(moved.position, latitude_deg=moved.position.latitude_deg + north_deg)),
        replace(other, position_sigma_m=2.5, full_scale_db_spl=120.0, elements=(), valid_to_ns=NOW_NS),
        Site("new-st", Geodetic(41.7, -72.6, 5.0), valid_from_ns=NOW_NS),
    )
    roof, tower = city.nodes
    nodes = (replace(roof, keys=(KEYS[0], KEYS[3])), replace(tower, revoked=None), Node("shed", (KEYS[1],)))
    new = Registry(Network(sites, 3), (*city.owners[:2], "tower", "shed"), nodes, ())
    revised, words = city.revised(new)
    assert revised.revision == 8
    assert replace(revised, network=new.network) == new
    assert words == (
        "sensor garden-st moved 12 m",
        "sensor main-st has 0 elements, otherwise than before",
        "sensor main-st has full_scale_db_spl 120, no longer unknown",
        "sensor main-st has position_sigma_m 2.5, no longer 1",
        "sensor main-st is spoken for by node tower, no longer roof",
        "sensor main-st stands until 2026-11-21T03:00:00Z",
        "sensor new-st is new from 2026-11-21T03:00:00Z on",
        f"node roof has key {KEYS[3][:20]}... too",
        f"node roof no longer has key {KEYS[1][:20]}...",
        "node shed is new",
        "node tower is believed again",
        "no more maintenance of main-st from 2026-11-21T02:00:00Z to 2026-11-21T04:00:00Z: new windscreen",
    )
    back = changes(revised, city)
    assert "sensor new-st is gone from 2026-11-21T03:00:00Z on" in back
    assert "node tower is revoked: 2026-11-20T00:00:00Z, stolen from the roof" in back


@given(
    one=st.tuples(st.floats(-89, 89), st.floats(-180, 180)),
    east_m=st.floats(-2_000, 2_000),
    north_m=st.floats(-2_000, 2_000),
)
@settings(max_examples=50, deadline=None)
def test_how_far_it_moved_is_as_geodesists_say(one, east_m, north_m):
    """PROJ's geodesics on WGS84; a chord of 3 km is a hair shorter."""
    geod = pyproj.Geod(ellps="WGS84")
    far_m = math.hypot(east_m, north_m)
    longitude, latitude, _ = geod.fwd(one[1], one[0], math.degrees(math.atan2(east_m, north_m)), far_m)
    nodes = (Node("n", (KEYS[0],)),)
    places = [Geodetic(*one, 10.0), Geodetic(latitude, longitude, 10.0)]
    old, new = (Registry(Network((Site("a", place),)), ("n",), nodes) for place in places)
    said = changes(old, new)
    if far_m > 0.01:
        assert float(said[0].split()[3]) == pytest.approx(far_m, rel=0.006)
    assert len(said) <= 1


def test_history_says_when_who_and_what(tmp_path, city):
    site = replace(city.network.sites[2], up_sigma_m=1.0)
    new, words = city.revised(replace(city, network=replace(city.network, sites=(*city.network.sites[:2], site))))
    write_history(tmp_path, city, ("first",), at_ns=NOW_NS, who="install")
    with (tmp_path / "network-history.jsonl").open("a") as file:
        file.write('{"revision": 8, "at": "20')  # as a full disk leaves it
    write_history(tmp_path, new, words, at_ns=NOW_NS + SECOND, who="zoë")
    lines = (tmp_path / "network-history.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in (lines[0], lines[2])] == [
        {"revision": 7, "at": "2026-11-21T03:00:00.000000000Z", "who": "install", "changes": ["first"]},
        {
            "revision": 8,
            "at": "2026-11-21T03:00:01.000000000Z",
            "who": "zoë",
            "changes": ["sensor main-st has up_sigma_m 1, no longer 5"],
        },
    ]


def test_the_page_shows_a_file_that_reads(root, tmp_path):
    page = (root / "docs" / "network.md").read_text("utf-8")
    example = page.split("```toml\n")[1].split("```")[0]
    tomllib.loads(example)
    read_registry(written(tmp_path, example))

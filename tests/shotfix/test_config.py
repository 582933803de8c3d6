import itertools
import json
import os
import random
import string
import tempfile
import time
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alerts.policy import Policy
from shotfix import config_schema
from shotfix.config import CourierConfig, NodeConfig, SecretSource, SiteConfig
from shotfix.config_reading import LARGEST, ConfigError, kind_of, read_node, read_site
from shotfix.toml_lines import DEEPEST, key_lines

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + "QUFB" * 8
BROKEN = sorted((Path(__file__).parent / "broken_configs").glob("*.toml"))
GOLDEN = Path(__file__).parent / "broken_configs" / "messages.txt"


@pytest.fixture
def memory():
    """A folder that costs no disk, where there is one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def home(tmp_path):
    """A folder with everything that a right configuration names."""
    return furnished(tmp_path)


def furnished(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "data").mkdir()
    for name, mode in (
        ("keys/garden-st.pem", 0o600), ("keys/open.pem", 0o644), ("secret", 0o600), ("open-secret", 0o644),
        ("network.toml", 0o644), ("night.wav", 0o644),
    ):  # fmt: skip
        (tmp_path / name).write_text(SECRET)
        (tmp_path / name).chmod(mode)
    return tmp_path


def told(path):
    read = read_site if path.name.startswith("site") else read_node
    with pytest.raises(ConfigError) as caught:
        read(path, {})
    return str(caught.value)


def test_each_broken_configuration_is_told_as_people_agreed(home):
    assert len(BROKEN) >= 40
    messages = []
    for path in BROKEN:
        (home / path.name).write_bytes(path.read_bytes())
        messages.append(told(home / path.name).replace(str(home), "HOME"))
    now = "\n".join(messages) + "\n"
    if os.environ.get("WRITE_GOLDEN"):  # after which a person reads the difference
        GOLDEN.write_text(now, "utf-8")
    assert now == GOLDEN.read_text("utf-8")


def test_no_message_shows_a_secret():
    assert "hunter2" not in GOLDEN.read_text("utf-8")


def test_the_broken_ones_are_broken_by_one_thing_each(home):
    """What they were made from is right: otherwise they would show nothing."""
    (home / "node.toml").write_text(NODE)
    (home / "site.toml").write_text(SITE)
    node, site = read_node(home / "node.toml", {}), read_site(home / "site.toml", {})
    assert node.node.key_file == home / "keys" / "garden-st.pem"
    assert node.sensors[0].sensor_id == "garden-st"
    assert site.network_file == home / "network.toml"
    assert site.couriers[0].secret_file == SecretSource(file=home / "secret")
    assert site.policy == Policy()
    assert kind_of(home / "node.toml") == "node"
    assert kind_of(home / "site.toml") == "site"


NODE = """
[node]
node_id = "garden-st"
key_file = "keys/garden-st.pem"
data_dir = "data"
[centre]
url = "http://127.0.0.1:8732"
[[sensor]]
sensor_id = "garden-st"
[source]
kind = "microphone"
device = ["UMIK"]
"""
SITE = """
[site]
name = "Hartford"
data_dir = "data"
[network]
file = "network.toml"
[[courier]]
name = "control-room"
url = "https://control.example.org/hook"
secret_file = "secret"
"""


def test_a_secret_may_stand_in_the_environment_and_is_never_shown(home):
    text = SITE.replace('"secret"', '"env:HOOK"').replace("https://control.example.org/hook", "env:HOOK_URL")
    (home / "site.toml").write_text(text)
    site = read_site(home / "site.toml", {"HOOK": SECRET, "HOOK_URL": "https://hooks.example.org/token-17"})
    assert site.couriers[0].url.endswith("token-17")
    assert "token-17" not in repr(site)
    assert "whsec" not in repr(site)


def test_what_is_no_signing_secret_is_told_without_showing_it(home):
    (home / "secret").write_text("hunter2")
    (home / "site.toml").write_text(SITE)
    said = told(home / "site.toml")
    assert said == "site.toml:10: courier[1].secret_file: holds no signing secret: a webhook secret begins with whsec_"


def test_reading_never_writes(home):
    (home / "node.toml").write_text(NODE)
    for path in (home, *home.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*"))
    if os.geteuid() != 0:  # a folder that cannot be written to is a mistake for anybody else
        with pytest.raises(ConfigError, match="cannot be written to"):
            read_node(home / "node.toml", {})
    else:
        read_node(home / "node.toml", {})
    assert before == sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*"))
    for path in (home, *home.rglob("*")):
        path.chmod(0o700)


@pytest.mark.parametrize("name", ["nothing.toml", "data"])
def test_what_is_no_file_is_told(home, name):
    with pytest.raises(ConfigError, match=r"no such file|not a regular file"):
        read_node(home / name)


def test_a_file_of_another_kind_is_told(home):
    (home / "other.toml").write_text("a = 1\n")
    with pytest.raises(ConfigError, match=r"other.toml: is no configuration of ours; expected \[site\]"):
        kind_of(home / "other.toml")
    (home / "network.toml").write_text('revision = 1\n[[node]]\nnode_id = "a"\n')
    assert kind_of(home / "network.toml") == "network"


# schemas and the page


@pytest.mark.parametrize("kind", ["site", "node"])
def test_the_published_schema_is_that_of_the_records(kind):
    published = ROOT / "docs" / "schemas" / f"{kind}.schema.json"
    if os.environ.get("WRITE_GOLDEN"):
        published.write_text(config_schema.schema_text(kind), "utf-8")
    assert published.read_text("utf-8") == config_schema.schema_text(kind)
    jsonschema.Draft202012Validator.check_schema(config_schema.schema(kind))


def test_the_schema_takes_what_the_reader_takes_and_finds_most_of_what_it_refuses(home):
    schemas = {kind: jsonschema.Draft202012Validator(config_schema.schema(kind)) for kind in ("site", "node")}
    assert schemas["node"].is_valid(tomllib.loads(NODE))
    assert schemas["site"].is_valid(tomllib.loads(SITE))
    refused = []
    for path in BROKEN:
        try:
            table = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue
        refused.append(not schemas[path.name[:4]].is_valid(json.loads(json.dumps(table, default=str))))
    assert sum(refused) >= 20  # the rest depends on several keys, or on the disk


@pytest.mark.parametrize("kind", ["site", "node"])
def test_the_page_lists_every_key(kind):
    page = ROOT / "docs" / "configuration.md"
    begin, end = f"<!-- {kind}.toml: made by shotfix.config_schema -->\n", f"<!-- end of {kind}.toml -->"
    before, _, rest = page.read_text("utf-8").partition(begin)
    now, _, after = rest.partition(end)
    if os.environ.get("WRITE_GOLDEN"):
        page.write_text(f"{before}{begin}\n{config_schema.reference(kind)}\n{end}{after}", "utf-8")
    else:
        assert now.strip() == config_schema.reference(kind).strip()


def test_every_key_says_what_it_is():
    for kind in ("site", "node"):
        for each in _leaves(config_schema.schema(kind)):
            assert len(each.get("description", "")) > 3, each


def _leaves(schema):
    for each in schema["properties"].values():
        inner = each.get("items", each) if "properties" in each.get("items", {}) else each
        yield from _leaves(inner) if "properties" in inner else (each,)


# where keys stand: documents are written together with the line of each key

NAMES = st.text(string.ascii_lowercase + "_-", min_size=1, max_size=6)
QUOTED = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters='"\\'), min_size=1, max_size=5)
TEXTS = st.text(st.sampled_from("ab \"'\\#=[]{},.\n"), max_size=12)
PLAIN = st.one_of(
    st.integers(-9, 9), st.booleans(), TEXTS, st.just("2026-11-21T03:12:00Z"), st.floats(allow_nan=False, width=16)
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | QUOTED, inner, max_size=3),
    max_leaves=8,
)
FILLING = st.sampled_from(["", "", "# [a]\n", "\n", '\t# x = """\n\n'])


class Writer:
    """Writes TOML in all its manners, and notes on which line it wrote each key."""

    def __init__(self, draw):
        self.draw, self.text, self.lines = draw, "", {}

    @property
    def line(self):
        return self.text.count("\n") + 1

    def put(self, text):
        self.text += text

    def key(self, name):
        bare = all(letter in string.ascii_letters + string.digits + "_-" for letter in name)
        self.put(name if bare and self.draw(st.booleans()) else '"' + name + '"')

    def string(self, value):
        manner = self.draw(st.integers(0, 3))
        if manner == 0 and "'" not in value and "\n" not in value:
            self.put(f"'{value}'")
        elif manner == 1 and "'''" not in value and not value.endswith("'"):
            self.put(f"'''\n{value}'''")
        elif manner == 2:
            escaped = value.replace("\\", "\\\\").replace('"""', '""\\"')
            self.put('"""\n' + (escaped[:-1] + '\\"' if escaped.endswith('"') else escaped) + '"""')
        else:
            self.put(json.dumps(value, ensure_ascii=False))

    def value(self, value, way):
        if isinstance(value, str):
            self.string(value)
        elif isinstance(value, bool):
            self.put(str(value).lower())
        elif isinstance(value, float):
            self.put({"inf": "inf", "-inf": "-inf"}.get(repr(value), repr(value)))
        elif isinstance(value, list):
            self.put("[")
            for place, each in enumerate(value):
                self.put(self.draw(FILLING))
                self.lines[(*way, place)] = self.line
                self.value(each, (*way, place))
                self.put(self.draw(st.sampled_from([",", ", ", ",\n", " # ]\n,"])))
            self.put(self.draw(FILLING) + "]")
        elif isinstance(value, dict):
            self.put("{")
            for place, (name, each) in enumerate(value.items()):
                self.put(", " if place else " ")
                self.lines[(*way, name)] = self.line
                self.key(name)
                self.put(" = ")
                self.value(each, (*way, name))
            self.put(" }")
        else:
            self.put(str(value))

    def pairs(self, table, way):
        for name, each in table.items():
            self.put(self.draw(FILLING))
            self.lines[(*way, name)] = self.line
            self.key(name)
            self.put(self.draw(st.sampled_from(["=", " = ", "\t=  "])))
            self.value(each, (*way, name))
            self.put(self.draw(st.sampled_from(["\n", "  # a ' comment\n", "\n\n"])))


@st.composite
def documents(draw):
    writer = Writer(draw)
    table = st.dictionaries(NAMES | QUOTED, VALUES, max_size=4)
    writer.pairs(draw(table), ())
    used = {way[0] for way in writer.lines}
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        if name in used:
            continue
        writer.put(draw(FILLING))
        if draw(st.booleans()):
            for place in range(draw(st.integers(1, 3))):
                writer.lines[(name, place)] = writer.line
                writer.lines.setdefault((name,), writer.line)
                writer.put(f"[[ {name} ]]\n")
                writer.pairs(draw(table), (name, place))
                if draw(st.booleans()) and not {way for way in writer.lines if way[:3] == (name, place, "inner")}:
                    writer.lines[name, place, "inner"] = writer.line
                    writer.put(f"[{name}.inner] # of the last one\n")
                    writer.pairs(draw(table), (name, place, "inner"))
        else:
            writer.lines[(name,)] = writer.line
            writer.put(f"[{name}]\n")
            writer.pairs(draw(table), (name,))
    return writer.text, writer.lines


@given(documents())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
def test_every_key_is_found_on_its_line(document):
    text, lines = document
    tomllib.loads(text)  # it is what it says
    found = key_lines(text)
    assert {way: found.get(way) for way in lines if len(way) <= DEEPEST} == {
        way: line for way, line in lines.items() if len(way) <= DEEPEST
    }


def _ways(value, way=()):
    """The way to everything in a parsed document."""
    if way:
        yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _ways(each, (*way, key))


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_the_parser_and_the_lines_know_the_same_keys(path):
    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return
    found = key_lines(text)
    assert set(_ways(table)) == set(found)


def test_windows_ends_of_lines_count_once():
    assert key_lines('a = """\r\n\r\n"""\r\nb = 1\r\n') == {("a",): 1, ("b",): 4}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "a = " + "[" * 50_000,
        "a." * 100_000 + "b = 1",
        "a = {" * 5_000,
        '"' * 99_999,
        "a=[" + "1," * 9_999,
    ],
    ids=len,
)
def test_a_hostile_file_is_read_to_where_it_goes_wrong(text):
    assert len(key_lines(text)) <= 10_001


# hostile files

ALPHABET = "[]{}=.,#\"'\\\n\r\t 0123456789abceinrstx_-+:TZ\x00\x7f\u00e9\U0001f600"


def mutated(rng, text):
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(text) + 1)
        what = rng.randrange(5)
        if what == 0:
            text = text[:at] + rng.choice(ALPHABET) + text[at:]
        elif what == 1:
            text = text[:at] + text[at + rng.randint(1, 12) :]
        elif what == 2:
            text = text[:at] + text[at : at + rng.randint(1, 40)] * rng.randint(2, 4) + text[at:]
        elif what == 3:
            lines = text.split("\n")
            rng.shuffle(lines)
            text = "\n".join(lines)
        else:
            text = (
                text[:at] + rng.choice(["inf", "1e999", "9" * 30, "[[", "{}", '"""', "true", "1979-05-27"]) + text[at:]
            )
    return text


def fuzz(home, count):
    rng = random.Random(1729)  # noqa: S311  (the choices of a test)
    whole = [path.read_text("utf-8", "replace") for path in BROKEN] + [NODE, SITE]
    refused = 0
    path = home / "fuzzed.toml"
    for k in range(count):
        path.write_bytes(mutated(rng, rng.choice(whole)).encode("utf-8", "surrogatepass"))
        try:
            (read_site if k % 2 else read_node)(path, {})
        except ConfigError as error:
            refused += 1
            said = str(error)
            assert all(line.startswith("fuzzed.toml") for line in said.split("\n")), said
            assert "://admin:hunter2" not in said  # taken apart, nobody can know it for a password
    return refused


def test_no_file_whatever_makes_the_reader_fail(memory):
    assert fuzz(furnished(memory), 20_000) > 12_000


@pytest.mark.endurance
def test_no_file_whatever_makes_the_reader_fail_long(memory):
    assert fuzz(furnished(memory), 1_000_000) > 600_000


@given(st.binary(max_size=200))
@example(b"\xff\xfe[\x00s\x00")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_are_no_configuration(home, content):
    (home / "bytes.toml").write_bytes(content)
    with pytest.raises(ConfigError):
        read_site(home / "bytes.toml", {})


def hostile(size):
    """Files of about this size that are costly to read; by name."""
    return {
        "keys": "".join(f"k{k} = 1\n" for k in range(size // 8)),
        "inline": "a = {" + ", ".join(f"b{k}=1" for k in range(size // 8)) + "}",
        "array": "a = [" + "1," * (size // 2) + "]",
        "tables of an array": "[[sensor]]\n" * (size // 11),
        "dotted": "a." * (size // 2) + "b = 1",
        "text": 'a = """' + "\\u0041" * (size // 6) + '"""',
        "comments": "#\n" * (size // 2),
        "tables": "".join(f"[t{k}]\n" for k in range(size // 8)),
        "nested": "".join(f"[a.b.c.d.e.f.g.h.i.t{k}]\n" for k in range(size // 24)),
        "pieces": "[source]\nkind = 'file'\npieces = [" + "{path = 'a', x = 1}, " * (size // 21) + "]",
        "brackets": "a = " + "[" * size,
    }


@pytest.mark.parametrize("name", hostile(0))
def test_a_costly_file_costs_little(memory, name):
    """Of the processor's own time, so that a busy machine makes no difference; and few words."""
    (memory / "big.toml").write_text(hostile(LARGEST - 40_000)[name])
    for read in (read_site, read_node):
        began = time.process_time()
        with pytest.raises(ConfigError) as caught:
            read(memory / "big.toml", {})
        assert time.process_time() - began < 20.0  # a quiet machine needs a fiftieth; what hangs needs minutes
        assert len(str(caught.value)) < 100_000
    (memory / "big.toml").write_text("#" * (LARGEST + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read_site(memory / "big.toml", {})


# records by themselves


def test_records_check_themselves_without_a_file():
    with pytest.raises(ValueError, match=r"name: .*expected 1 to 64"):
        CourierConfig("a b", "https://example.org/", SecretSource(variable="X"))
    with pytest.raises(ValueError, match="plain http"):
        CourierConfig("a", "http://example.org/", SecretSource(variable="X"))


def test_a_secret_is_read_where_it_stands(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text(" whsec_x\n")
    assert SecretSource(file=tmp_path / "secret").read() == "whsec_x"
    monkeypatch.setenv("HOOK", "whsec_y")
    assert SecretSource(variable="HOOK").read() == "whsec_y"
    monkeypatch.delenv("HOOK")
    with pytest.raises(ValueError, match="env:HOOK: empty, or not set"):
        SecretSource(variable="HOOK").read()


def test_every_pair_of_tables_may_be_absent_or_there(home):
    """Tables with nothing in them mean what their absence means."""
    optional = ["[listen]", "[place]", "[air]", "[policy]", "[time]", "[hearing]", "[record]", "[log]"]
    (home / "site.toml").write_text(SITE)
    plain = read_site(home / "site.toml", {})
    for pair in itertools.combinations(optional, 2):
        (home / "site.toml").write_text(SITE + "\n".join(pair) + "\n")
        assert read_site(home / "site.toml", {}) == plain
    assert isinstance(plain, SiteConfig)
    assert NodeConfig.__doc__

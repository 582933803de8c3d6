"""Tokens: only their digests are kept, only the right ones count, and only while they do."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import SECOND, instant_text
from alerts.act import NO_PERSON
from alerts.record.store import Store, StoreError
from shotfix.api import attempts
from shotfix.api.attempts import Attempts, network_of
from shotfix.api.people import (
    LARGEST_FILE,
    PREFIX,
    People,
    PeopleError,
    Person,
    decode_people,
    digest_of,
    encode_people,
    new_token,
    read_people,
)  # fmt: skip
from shotfix.api.people_file import add_token, revoke_tokens, token_id_of
from shotfix.api.permissions import ROLES
from shotfix.api.services import KEY_BYTES, read_key
from shotfix.api.token_log import TokenLog
from shotfix.api.token_uses import DAY_S, uses_file
from shotfix.commands_tokens import ROLES as SAID_ROLES
from shotfix.commands_tokens import token as token_commands
from shotfix.config import SiteConfig, SiteIdentity
from tests.api_city import played
from tests.strategies import NIGHT_NS

DAY = 86_400 * SECOND
NOW = NIGHT_NS // SECOND * SECOND

people_of_any_kind = st.builds(
    Person,
    name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}\Z").filter(lambda name: name.casefold() not in NO_PERSON),
    roles=st.lists(st.sampled_from(ROLES), min_size=1, unique=True).map(tuple),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    created_ns=st.integers(0, 10**9).map(lambda s: s * SECOND),
    expires_ns=st.integers(10**9 + 1, 4 * 10**9).map(lambda s: s * SECOND),
    revoked_ns=st.none() | st.integers(0, 4 * 10**9).map(lambda s: s * SECOND),
    renewed_ns=st.none() | st.integers(0, 4 * 10**9).map(lambda s: s * SECOND),
)


class Clock:
    def __init__(self):
        self.s = 0.0

    def __call__(self):
        return self.s


@given(st.lists(people_of_any_kind, max_size=5, unique_by=lambda person: person.sha256).map(tuple))
def test_the_file_comes_back_as_it_was_written(people):
    assert decode_people(encode_people(people), "people.toml") == people


@pytest.mark.parametrize(
    "text",
    [
        "person = 3",
        "[[persons]]\nname = 'a'",
        "[[person]]\nname = 'a'",
        "[[person]]\nname = 'machine'\nroles = ['analyst']\nsha256 = '{d}'\ncreated = '{c}'\nexpires = '{e}'",
        "[[person]]\nname = 'a b'\nroles = ['analyst']\nsha256 = '{d}'\ncreated = '{c}'\nexpires = '{e}'",
        "[[person]]\nname = 'a'\nroles = ['king']\nsha256 = '{d}'\ncreated = '{c}'\nexpires = '{e}'",
        "[[person]]\nname = 'a'\nroles = []\nsha256 = '{d}'\ncreated = '{c}'\nexpires = '{e}'",
        "[[person]]\nname = 'a'\nroles = 'analyst'\nsha256 = '{d}'\ncreated = '{c}'\nexpires = '{e}'",
        "[[person]]\nname = 'a'\nroles = ['analyst']\nsha256 = '{t}'\ncreated = '{c}'\nexpires = '{e}'",
        "[[person]]\nname = 'a'\nroles = ['analyst']\nsha256 = '{d}'\ncreated = '{e}'\nexpires = '{c}'",
        "[[person]]\nname = 'a'\nroles = ['analyst']\nsha256 = '{d}'\ncreated = 7\nexpires = '{e}'",
        "[[person]]\nname = 'a'\nroles = ['analyst']\nsha256 = '{d}'\ncreated = '{c}'\nexpires = '{e}'\ntoken = '{t}'",
    ],
)
def test_what_is_no_register_is_refused_and_no_secret_is_told(text):
    token = new_token()
    content = text.format(d=digest_of("x"), c="2026-01-01T00:00:00Z", e="2027-01-01T00:00:00Z", t=token)
    with pytest.raises(PeopleError, match=r"people\.toml") as refused:
        decode_people(content.encode(), "people.toml")
    assert token not in str(refused.value)


def test_a_token_is_known_by_its_digest_alone(tmp_path):
    path = tmp_path / "people.toml"
    ann, token = add_token(path, "ann", ("analyst",), 90, NOW)
    assert token.startswith(PREFIX)
    assert len(token) >= len(PREFIX) + 43  # 256 bits
    assert token not in path.read_text()
    assert token not in repr(ann)
    assert path.stat().st_mode & 0o777 == 0o600
    people = People(path, Clock())
    assert people.of(token) == ann
    for wrong in ("", PREFIX, token[:-1], token + "a", token.upper(), ann.sha256, PREFIX + "a" * 200, "\x00" * 40):
        assert people.of(wrong) is None
    assert (ann.why_not(NOW), ann.why_not(NOW + 90 * DAY - 1), ann.why_not(NOW + 90 * DAY)) == ("", "", "expired")


def test_no_two_tokens_are_alike():
    assert len({new_token() for _ in range(2_000)}) == 2_000


def test_a_change_of_the_file_counts_while_the_centre_runs(tmp_path):
    path, clock = tmp_path / "people.toml", Clock()
    people = People(path, clock)
    assert len(people) == 0
    ann, token = add_token(path, "ann", ("analyst",), 90, NOW)
    clock.s += 1.0
    assert people.of(token) == ann
    revoke_tokens(path, "ann", None, NOW)
    assert people.why_not(ann, NOW) == ""  # not looked at again yet
    clock.s += 1.0
    assert people.why_not(ann, NOW) == "revoked"
    path.unlink()
    clock.s += 1.0
    assert people.of(token) is None


def test_a_file_that_went_wrong_changes_nothing_and_is_told(tmp_path, caplog):
    path, clock = tmp_path / "people.toml", Clock()
    ann, token = add_token(path, "ann", ("analyst",), 90, NOW)
    people = People(path, clock)
    good = path.read_bytes()
    assert people.of(token) == ann
    for spoil in (lambda: path.write_bytes(good + b"\nroles = 3"), lambda: path.chmod(0o622)):
        path.write_bytes(good)
        path.chmod(0o600)
        spoil()
        clock.s += 1.0
        assert people.of(token) == ann
        assert "people.toml" in people.trouble
    path.write_bytes(good)
    path.chmod(0o600)
    clock.s += 1.0
    assert people.of(token) == ann
    assert people.trouble == ""
    assert token not in caplog.text


def test_a_stranger_who_can_write_the_file_lets_nobody_in(tmp_path):
    path = tmp_path / "people.toml"
    _, token = add_token(path, "ann", ("analyst",), 90, NOW)
    path.chmod(0o666)
    people = People(path, Clock())
    assert people.of(token) is None
    assert "chmod" in people.trouble


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(tmp_path):
    """To open one waits until somebody writes into it: the centre with it, and whoever wants to add a token."""
    path, clock = tmp_path / "people.toml", Clock()
    _, token = add_token(path, "ann", ("analyst",), 90, NOW)
    people = People(path, clock)
    assert people.of(token) is not None
    path.unlink()
    os.mkfifo(path, 0o600)
    clock.s += 1.0
    asked = threading.Thread(target=people.look, daemon=True)
    asked.start()
    asked.join(30.0)
    assert not asked.is_alive()
    assert people.of(token) is not None
    assert "no file" in people.trouble
    with pytest.raises(PeopleError, match="move it away"):
        add_token(path, "bob", ("analyst",), 90, NOW)
    path.unlink()
    path.mkdir()
    with pytest.raises(PeopleError, match="move it away"):
        read_people(path)


def test_a_file_that_is_no_good_is_read_once(tmp_path, monkeypatch):
    path, clock = tmp_path / "people.toml", Clock()
    path.write_bytes(b"x" * (LARGEST_FILE + 5))
    path.chmod(0o600)
    people, read = People(path, clock), []
    monkeypatch.setattr("shotfix.api.people.read_people", lambda path: read.append(path) or read_people(path))
    for _ in range(5):
        clock.s += 1.0
        assert len(people) == 0
        assert "is this the file of people?" in people.trouble
    assert len(read) == 1


def test_a_large_register_is_read_beside_the_loop_and_nobody_is_answered_before(tmp_path):
    """Whoever asks while it is being read waits for it: the first after a start must not be told to be nobody."""

    async def play(city):
        loop_thread, readers, begun, go_on = threading.get_ident(), [], threading.Event(), threading.Event()
        look = city.people._read

        def slow():
            readers.append(threading.get_ident())
            begun.set()
            assert threading.get_ident() == loop_thread or go_on.wait(60.0)
            look()

        city.people._read = slow
        city.revoke("courier")
        asking = [asyncio.create_task(city.get("/me", who)) for who in ("analyst", "courier") for _ in range(8)]
        assert await asyncio.to_thread(begun.wait, 60.0)
        await asyncio.sleep(0.05)  # the loop turns meanwhile
        assert not any(one.done() for one in asking)
        go_on.set()
        answers = [(await one).status for one in asking]
        assert answers == [200] * 8 + [401] * 8
        assert len(readers) == 1
        assert loop_thread not in readers

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path)


def test_two_writers_lose_nobody(tmp_path):
    path = tmp_path / "people.toml"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: add_token(path, f"p{number}", ("courier",), 1, NOW), range(20)))
    assert {person.name for person in read_people(path)} == {f"p{number}" for number in range(20)}


# Too many wrong tokens


def test_a_fool_is_locked_out_for_longer_and_longer():
    clock = Clock()
    tries = Attempts(clock)
    assert [tries.fail("192.0.2.1") for _ in range(10)] == [0.0] * 10
    assert tries.fail("192.0.2.1") == attempts.FIRST_LOCK_S
    assert tries.fail("192.0.2.2") == 0.0  # somebody else
    waits = []
    for _ in range(12):
        clock.s += 1_000.0 if waits and waits[-1] == attempts.LONGEST_LOCK_S else tries.fail("192.0.2.1") + 0.001
        for _ in range(10):
            tries.fail("192.0.2.1")
        waits.append(tries.fail("192.0.2.1"))
    assert max(waits) == attempts.LONGEST_LOCK_S
    assert waits[:3] == pytest.approx([20.0, 40.0, 80.0])
    clock.s += attempts.LONGEST_LOCK_S + attempts.WINDOW_S + 1.0
    assert tries.fail("192.0.2.1") == 0.0  # forgotten


def test_a_million_addresses_cost_no_more_than_ten_thousand(monkeypatch):
    monkeypatch.setattr(attempts, "MOST_ADDRESSES", 100)
    tries = Attempts(Clock())
    for number in range(1_000):
        tries.fail(f"198.51.{number // 256}.{number % 256}")
    assert len(tries) == 100
    assert tries.failed == 1_000


def test_a_host_is_one_host_whichever_of_its_addresses_it_takes():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1%eth0") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("") == network_of("a\nb") == "unknown"


# The commands


@pytest.fixture
def site(tmp_path, monkeypatch):
    """As if a site.toml named this file."""
    config = SiteConfig(SiteIdentity("Harbour", tmp_path / "data"), tmp_path / "network.toml")
    monkeypatch.setattr("shotfix.commands_tokens._site", lambda _: config)
    return config.people_file


def said(*words, code=0):
    result = CliRunner().invoke(token_commands, [*words, "--config", "site.toml"])
    assert result.exit_code == code, result.output
    return result


def test_the_commands_add_list_and_revoke(site):
    token = said("add", "--name", "d.ortiz", "--role", "analyst", "--role", "auditor").stdout.strip()
    made = json.loads(said("add", "--name", "cad", "--role", "courier", "--days", "1", "--json").stdout)
    people = People(site, Clock())
    assert people.of(token).roles == ("analyst", "auditor")
    assert people.of(made["token"]).name == "cad"
    listed = said("list").stdout
    assert "d.ortiz" in listed
    assert listed.count("valid") == 2
    assert not any(secret in listed for secret in (token, made["token"]))
    assert [each["name"] for each in json.loads(said("list", "--json").stdout)["tokens"]] == ["d.ortiz", "cad"]
    said("revoke", "--token-id", made["token_id"])
    said("revoke", "--name", "D.Ortiz", "--json")
    assert {each["state"] for each in json.loads(said("list", "--json").stdout)["tokens"]} == {"revoked"}
    assert tomllib.loads(site.read_text())["person"][0]["revoked"]
    assert site.stat().st_mode & 0o777 == 0o600


def test_the_commands_tell_what_lies_unused_and_renew_it(site):
    for name, role in (("d.ortiz", "analyst"), ("cad", "courier"), ("new", "analyst")):
        said("add", "--name", name, "--role", role)
    clock = Clock()
    people = People(site, clock)
    for person in people.everybody()[:2]:
        people.use(person, NOW)
    clock.s += 40.0 * DAY_S
    people.keep()

    def listed():
        return {each["name"]: each for each in json.loads(said("list", "--json").stdout)["tokens"]}

    assert {name: each["state"] for name, each in listed().items()} == {
        "d.ortiz": "idle",
        "cad": "valid",
        "new": "idle",
    }
    assert listed()["cad"]["used"] == instant_text(NOW, 0)
    text = said("list").stdout
    assert f"idle     d.ortiz                   analyst  used {instant_text(NOW, 0)}, until" in text
    assert "no use noted" in text
    assert json.loads(said("renew", "--name", "D.Ortiz", "--json").stdout)["renewed"][0]["name"] == "d.ortiz"
    assert "is renewed" in said("renew", "--token-id", listed()["new"]["token_id"]).stdout
    assert {each["state"] for each in listed().values()} == {"valid"}
    uses_file(site).write_text("[]")
    assert "people.uses.json" in said("list", code=2).output


def test_the_commands_refuse_with_one_line(site):
    assert "nobody has a token" in said("list").stdout
    for words, code in (
        (("add", "--name", "a b", "--role", "analyst"), 2),
        (("add", "--name", "machine", "--role", "analyst"), 2),
        (("add", "--name", "Retention", "--role", "analyst"), 2),
        (("add", "--name", "BEA", "--role", "analyst"), 0),
        (("add", "--name", "bea", "--role", "analyst"), 2),
        (("revoke", "--name", "bea"), 0),
        (("revoke", "--name", "nobody"), 2),
        (("revoke",), 2),
        (("renew",), 2),
        (("renew", "--name", "BEA"), 2),
    ):
        said(*words, code=code)
    said("add", "--name", "ann", "--role", "analyst")
    site.write_text("what = 'ever'")
    for words in (("list",), ("revoke", "--name", "ann"), ("add", "--name", "bob", "--role", "courier")):
        assert "people.toml" in said(*words, code=78).output


def test_the_commands_know_every_role():
    assert SAID_ROLES == ROLES


def test_a_token_id_helps_nobody(tmp_path):
    ann, token = add_token(tmp_path / "people.toml", "ann", ("analyst",), 90, NOW)
    assert token_id_of(ann) not in token
    assert len(token_id_of(ann)) * 4 <= 48  # of 256 bits of the digest


@pytest.fixture(autouse=True)
def _no_tokens_in_logs(caplog):
    caplog.set_level(logging.DEBUG)
    yield
    assert PREFIX not in caplog.text


def test_the_ledger_tells_who_was_given_a_token_and_from_whom_it_was_taken(record_store, tmp_path):
    def told(city):
        bodies = [json.loads(entry.body) for entry in city.reviews.ledger.entries(kinds=("token",))]
        return [(body["name"], body["state"]) for body in bodies]

    async def until(city, true):
        async with asyncio.timeout(60.0):
            while not true():
                assert (await city.get("/me")).status == 200
                await asyncio.sleep(0.01)

    async def play(city):
        await until(city, lambda: len(told(city)) == len(ROLES))
        city.enrol("eve", "analyst")
        await until(city, lambda: told(city)[-1] == ("eve", "given"))
        city.entries[-1] = dataclasses.replace(city.entries[-1], renewed_ns=city.now_ns)
        city.write_people()
        await until(city, lambda: len(told(city)) == len(ROLES) + 2)
        assert told(city)[-1] == ("eve", "given")  # and its body says when it was renewed
        city.revoke("eve")
        await until(city, lambda: told(city)[-1] == ("eve", "revoked"))
        city.entries = [each for each in city.entries if each.name != "eve"]
        city.write_people()
        await until(city, lambda: told(city)[-1] == ("eve", "removed"))
        for body in city.reviews.ledger.entries(kinds=("token",)):
            assert PREFIX.encode() not in body.body
        assert TokenLog(city.store, city.people, lambda: NOW).note() == 0  # as after a start: nothing is new
        async with city.listen("auditor", last_event_id="0") as auditor, city.listen(last_event_id="0") as analyst:
            await auditor.until(lambda me: len(me.events) == len(ROLES) + 4)
            assert analyst.events == []

    played(play, record_store, tmp_path, notes_tokens=True)


def test_a_record_that_refuses_is_told_of_tokens_later(tmp_path, monkeypatch):
    add_token(tmp_path / "people.toml", "ann", ("analyst",), 90, NOW)
    with Store(tmp_path / "record.db") as store:
        log, write = TokenLog(store, People(tmp_path / "people.toml", Clock()), lambda: NOW), store.write

        def full(_):
            raise StoreError("the disk is full")

        monkeypatch.setattr(store, "write", full)
        assert log.note() == 0
        monkeypatch.setattr(store, "write", write)
        assert log.is_behind
        assert log.note() == 1
        assert not log.is_behind


def test_a_centre_keeps_its_key(tmp_path):
    key = read_key(tmp_path / "api.key")
    assert (len(key), read_key(tmp_path / "api.key")) == (KEY_BYTES, key)
    assert (tmp_path / "api.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["api.key"]
    (tmp_path / "api.key").write_bytes(key[:-1])
    with pytest.raises(ValueError, match=r"api\.key: 31 bytes"):
        read_key(tmp_path / "api.key")

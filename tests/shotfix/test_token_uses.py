"""What lies unused ends, and nothing that is in use does: by a clock that nobody sets, across restarts and kills."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import SECOND, after
from alerts.record.store import Store
from shotfix.api import events
from shotfix.api.people import PREFIX, People, Person, digest_of, encode_people, new_token
from shotfix.api.people_file import add_token, renew_tokens, revoke_tokens
from shotfix.api.token_uses import DAY_S, IdleRule, UsesError, read_uses, uses_file
from shotfix.config import PeopleConfig, SiteConfig, SiteIdentity
from shotfix.telling import Telling
from shotfix.tidying import Tidying
from tests.api_city import played
from tests.strategies import NIGHT_NS

NOW = NIGHT_NS // SECOND * SECOND
HOUR_S = 3_600.0
RULE = IdleRule(30.0, 90.0)
YEARS_NS = 10 * 365 * 86_400 * SECOND

steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0.0, 40.0).map(lambda days: days * DAY_S)),
        st.tuples(st.just("wall clock"), st.integers(-YEARS_NS, YEARS_NS)),
        st.sampled_from([("use", 0.0), ("restart", 0.0), ("standstill", 0.0), ("renew", 0.0)]),
    ),
    max_size=30,
)


class Machine:
    """A clock that nobody sets, which begins anew with each start of the machine."""

    def __init__(self):
        self.s = 1_000.0

    def __call__(self):
        return self.s


def person_of(token, *roles, renewed_ns=None):
    return Person("ann", roles, digest_of(token), 0, NOW + 3 * YEARS_NS, None, renewed_ns)


def write(path, *people):
    """In its place at once, as another file: two of one size within a tick of the disk's clock differ."""
    beside = path.with_suffix(".new")
    beside.write_bytes(encode_people(people))
    beside.chmod(0o600)
    beside.replace(path)


@given(steps)
def test_a_token_ends_when_it_lay_unused_so_long_while_the_centre_ran_and_only_then(tmp_path_factory, steps):
    """Whatever the wall clock says, and however often the centre is stopped, stands still, and is started again."""
    path, token, machine = tmp_path_factory.mktemp("uses") / "people.toml", new_token(), Machine()
    person, wall_ns, unused_s, renewals = person_of(token, "analyst"), NOW, 0.0, 0
    write(path, person)
    people = People(path, machine, RULE)
    people.keep()  # as each start does
    for what, how_much in steps:
        if what == "wait":
            machine.s += how_much
            unused_s += how_much
        elif what == "wall clock":
            wall_ns = min(max(NOW + how_much, 0), NOW + YEARS_NS)
        elif what == "use" and not people.why_not(people.of(token), wall_ns):
            people.use(people.of(token), wall_ns)
            unused_s = 0.0
        elif what == "renew":
            renewals += 1
            person = dataclasses.replace(person, renewed_ns=renewals * SECOND)
            write(path, person)
            machine.s += 1.0
            people.look()
            unused_s = 0.0
        elif what in {"restart", "standstill"}:
            people.keep()
            machine.s += 400.0 * DAY_S * (what == "standstill")
            people = People(path, machine, RULE)
            people.keep()
        people.look()
        expected_s = 30.0 * DAY_S
        if abs(unused_s - expected_s) > 60.0:  # what is written down is rounded to seconds
            assert people.why_not(people.of(token), wall_ns) == ("idle" if unused_s > expected_s else "")


def test_programs_may_lie_unused_for_longer_and_who_is_both_may_not(tmp_path):
    path, machine, tokens = tmp_path / "people.toml", Machine(), [new_token() for _ in range(2)]
    write(path, person_of(tokens[0], "courier"), person_of(tokens[1], "courier", "auditor"))
    people = People(path, machine, RULE)
    program, both = map(people.of, tokens)
    for day, told in ((29.9, ("", "")), (30.1, ("", "idle")), (89.9, ("", "idle")), (90.1, ("idle", "idle"))):
        machine.s = 1_000.0 + day * DAY_S
        assert (people.why_not(program, NOW), people.why_not(both, NOW)) == told


def test_a_use_costs_no_write_and_a_kill_costs_what_came_after_the_last(tmp_path, monkeypatch):
    path, machine = tmp_path / "people.toml", Machine()
    _, token = add_token(path, "ann", ("analyst",), 365, NOW)
    people = People(path, machine, RULE)
    ann = people.of(token)
    people.keep()
    written = []
    monkeypatch.setattr("shotfix.api.token_uses.write_whole", lambda *_: written.append(1))
    for _ in range(1_000):
        machine.s += HOUR_S / 1_000
        people.use(ann, NOW)
    assert written == []
    killed = People(path, machine, RULE)
    assert killed.why_not(killed.of(token), NOW) == ""
    machine.s += 30.0 * DAY_S - 1.0
    assert killed.why_not(killed.of(token), NOW) == ""
    machine.s += 2.0
    assert killed.why_not(killed.of(token), NOW) == "idle"


def test_a_file_out_of_a_backup_is_believed_until_the_next_use_or_a_renewal(tmp_path):
    """As documented: uses that came after it are not known to it."""
    path, machine = tmp_path / "people.toml", Machine()
    _, token = add_token(path, "ann", ("analyst",), 90, NOW)
    people = People(path, machine, RULE)
    people.keep()
    machine.s += 29.5 * DAY_S
    people.keep()
    backup = uses_file(path).read_bytes()
    for _ in range(30):
        machine.s += DAY_S
        people.use(people.of(token), NOW)
    people.keep()
    for used, after_s, told in ((False, 0.7 * DAY_S, "idle"), (True, 29.9 * DAY_S, "")):
        uses_file(path).write_bytes(backup)
        restored = People(path, machine, RULE)
        assert restored.why_not(restored.of(token), NOW) == ""
        if used:
            restored.use(restored.of(token), NOW)
        machine.s += after_s
        assert restored.why_not(restored.of(token), NOW) == told
    uses_file(path).write_bytes(backup)
    restored = People(path, machine, RULE)
    machine.s += 0.7 * DAY_S
    renew_tokens(path, "ann", None, NOW)
    machine.s += 1.0
    assert restored.why_not(restored.of(token), NOW) == ""


def test_the_file_tells_nothing_that_helps_anybody(tmp_path):
    path, machine = tmp_path / "people.toml", Machine()
    ann, token = add_token(path, "ann", ("analyst",), 90, NOW)
    people = People(path, machine, RULE)
    people.use(people.of(token), NOW)
    machine.s += 90.0
    people.keep()
    assert uses_file(path).stat().st_mode & 0o777 == 0o600
    assert PREFIX not in uses_file(path).read_text()
    assert json.loads(uses_file(path).read_text()) == {ann.sha256: {"idle_s": 90.0, "used_ns": NOW, "renewed_ns": None}}
    path.unlink()
    add_token(path, "bob", ("analyst",), 90, NOW)
    machine.s += 1.0
    people.look()
    people.keep()
    assert ann.sha256 not in read_uses(uses_file(path))  # who is gone is forgotten


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": {"idle_s": -1}}', b'{"a": {"idle_s": 1e999}}', b"[" * 9_999,
                                     b'{"a": {"idle_s": 1, "x": 2}}', b"\xff", b" " * 2_000_000])  # fmt: skip
def test_what_cannot_be_read_is_told_and_locks_nobody_out(tmp_path, content, caplog):
    path, machine = tmp_path / "people.toml", Machine()
    _, token = add_token(path, "ann", ("analyst",), 90, NOW)
    uses_file(path).write_bytes(content)
    with pytest.raises(UsesError, match=r"people\.uses\.json"):
        read_uses(uses_file(path))
    people = People(path, machine, RULE)
    assert "counts anew" in caplog.text
    assert people.why_not(people.of(token), NOW) == ""
    machine.s += 31.0 * DAY_S
    assert people.why_not(people.of(token), NOW) == "idle"
    people.keep()
    again = People(path, machine, RULE)
    assert again.why_not(again.of(token), NOW) == "idle"


def test_a_renewal_counts_within_a_second_and_is_for_what_still_could(tmp_path):
    path, machine = tmp_path / "people.toml", Machine()
    _, token = add_token(path, "ann", ("analyst",), 90, NOW)
    _, short = add_token(path, "ann", ("analyst",), 1, NOW)
    people = People(path, machine, RULE)
    people.look()
    machine.s += 40.0 * DAY_S
    later = after(NOW, 40.0 * DAY_S)
    assert (people.why_not(people.of(token), later), people.why_not(people.of(short), later)) == ("idle", "expired")
    renewed = renew_tokens(path, "ann", None, later)
    assert [each.sha256 for each in renewed] == [digest_of(token)]
    assert renewed[0].expires_ns == after(NOW, 90.0 * DAY_S)
    machine.s += 1.0
    assert people.why_not(people.of(token), later) == ""
    assert people.why_not(people.of(short), later) == "expired"
    revoke_tokens(path, "ann", None, later)
    for name, digits in (("ann", None), (None, digest_of(token)[:12]), ("eve", None)):
        with pytest.raises(LookupError, match="shotfix token"):
            renew_tokens(path, name, digits, later)


def test_a_centre_that_stops_remembers_and_goes_by_its_configuration(tmp_path):
    config = SiteConfig(
        SiteIdentity("Harbour", tmp_path), tmp_path / "network.toml", people=PeopleConfig(idle_days=5.0)
    )
    ann, token = add_token(config.people_file, "ann", ("analyst",), 90, NOW)

    def told():
        with contextlib.ExitStack() as opened:
            people = Telling(config, opened, lambda: NOW).people
            return people.why_not(people.of(token), NOW)

    assert told() == ""  # and the end wrote it down
    assert read_uses(uses_file(config.people_file))[ann.sha256].idle_s < HOUR_S
    for days, state in ((4.9, ""), (5.1, "idle")):
        uses_file(config.people_file).write_text(json.dumps({ann.sha256: {"idle_s": days * DAY_S}}))
        assert told() == state
    uses_file(config.people_file).unlink()
    with contextlib.ExitStack() as opened:
        Tidying(None, Telling(config, opened, lambda: NOW), config.record).round()
        assert ann.sha256 in read_uses(uses_file(config.people_file))  # each hour
    uses_file(config.people_file).unlink()
    uses_file(config.people_file).mkdir()  # as a disk that refuses: it ends all the same
    assert told() == ""


# At the door


def test_an_idle_token_is_refused_with_what_to_do_and_renewed_it_is_let_in(tmp_path):
    async def play(city):
        for _ in range(3):
            assert (await city.get("/me")).status == 200
            city.seconds += 20.0 * DAY_S  # who comes back within 30 days stays
        city.seconds += 11.0 * DAY_S
        refused = await city.get("/me")
        assert (refused.status, refused.code) == (401, "no-token")
        assert "shotfix token renew" in refused.json["detail"]
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert (await city.get("/me", "courier")).status == 200
        city.entries = [
            dataclasses.replace(each, renewed_ns=city.now_ns) if each.name == "analyst" else each
            for each in city.entries
        ]
        city.write_people()
        assert (await city.get("/me")).status == 200
        city.now_ns += 2 * 365 * 86_400 * SECOND
        assert "shotfix token add" in (await city.get("/me")).json["detail"]
        city.revoke("courier")
        assert "shotfix" not in (await city.get("/me", "courier")).json["detail"]

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path)


def test_who_listens_to_events_is_there(tmp_path, monkeypatch):
    """A console that shows events and asks for nothing keeps its token; once it hears nothing, its time begins."""
    monkeypatch.setattr(events, "LOOK_S", 0.01)

    async def play(city):
        used = []
        use = city.people.use
        monkeypatch.setattr(city.people, "use", lambda person, now_ns: used.append(person.name) or use(person, now_ns))
        async with city.listen("supervisor") as listener:
            await listener.until(lambda me: me.status == 200)
            for _ in range(5):
                city.seconds += 10.0 * DAY_S
                used.clear()
                async with asyncio.timeout(60.0):
                    while "supervisor" not in used:  # noqa: ASYNC110  (nobody tells)
                        await asyncio.sleep(0.005)
            assert not listener.ended
        assert (await city.get("/me", "supervisor")).status == 200
        assert (await city.get("/me", "analyst")).status == 401

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path)


def test_a_stream_of_a_token_that_became_idle_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "LOOK_S", 0.01)

    async def play(city):
        async with city.listen("analyst") as listener:
            await listener.until(lambda me: me.status == 200)
            monkeypatch.setattr(city.people, "use", lambda *_: None)
            city.seconds += 31.0 * DAY_S
            await listener.until(lambda me: me.ended)
            assert listener.events[-1][1:] == ("ended", "idle")

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path)

"""Calls that were forged, altered, or kept and sent again: our receiver takes none of them."""

from __future__ import annotations

import contextlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import encode
from alerts.couriers.loopback import TOLERANCE_S, ControlRoom, _show, verified
from alerts.couriers.webhook import Secret, sign
from alerts.desk import Desk
from tests.strategies import fix_at

SECRET, STRANGERS = Secret(bytes(range(32))), Secret(bytes(range(100, 132)))
NOW_S = 1_795_227_249


def body(kind="new"):
    (alert,) = Desk().receive(fix_at("a"))
    return b'{"type":"alert.%s","timestamp":"2026-11-21T02:14:09Z","data":%s}' % (kind.encode(), encode(alert))


BODY = body()


def signed(name="a1-r1", stamp=NOW_S, content=BODY, secret=SECRET, said=None):
    return {
        "webhook-id": name,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secret, name, stamp, content) if said is None else said,
    }


@pytest.fixture
def room(tmp_path, capsys):
    one = ControlRoom(SECRET.text(), tmp_path / "received.jsonl")
    yield one
    one.close()


def kept(tmp_path):
    return [json.loads(line) for line in (tmp_path / "received.jsonl").read_text().splitlines()]


def test_a_good_call_is_taken_so_that_the_refusals_mean_something(room, tmp_path):
    assert room.accept(signed(), BODY, NOW_S) == (200, "accepted")
    assert len(kept(tmp_path)) == 1


FORGED = {
    "no signature": signed(said=""),
    "another's key": signed(secret=STRANGERS),
    "no version": signed(said=sign(SECRET, "a1-r1", NOW_S, BODY).removeprefix("v1,")),
    "a version we do not know": signed(said=sign(SECRET, "a1-r1", NOW_S, BODY).replace("v1,", "v1a,")),
    "a version in capitals": signed(said=sign(SECRET, "a1-r1", NOW_S, BODY).replace("v1,", "V1,")),
    "no hash": signed(said="v1,"),
    "half a signature": signed(said=sign(SECRET, "a1-r1", NOW_S, BODY)[:-10]),
    "more than the signature": signed(said=sign(SECRET, "a1-r1", NOW_S, BODY) + "="),
    "in hexadecimal": signed(said="v1," + "00" * 32),
    "many that are wrong": signed(said=" ".join(["v1,AAAA"] * 1_000)),
    "a comma for a space": signed(said="v1,AAAA,v1," + sign(SECRET, "a1-r1", NOW_S, BODY)),
    "letters that are none": signed(said="v1,\u212a\u017f\x00\ud800"),
    "another name": signed() | {"webhook-id": "a1-r2"},
    "no name": signed() | {"webhook-id": ""},
    "a name moved into the time": signed() | {"webhook-id": "a1-r1.1795227249", "webhook-timestamp": ""},
    "another time": signed() | {"webhook-timestamp": str(NOW_S + 1)},
    "a time with a sign": signed() | {"webhook-timestamp": f"+{NOW_S}"},
    "a time with a space": signed() | {"webhook-timestamp": f" {NOW_S}"},
    "a time in other digits": signed() | {"webhook-timestamp": str(NOW_S).replace("1", "\u0661")},
    "a time that is a fraction": signed() | {"webhook-timestamp": f"{NOW_S}.0"},
    "a time without end": signed() | {"webhook-timestamp": "9" * 5_000},
    "no time": signed() | {"webhook-timestamp": ""},
    "nothing at all": {},
    "one bit of it": signed(said=sign(SECRET, "a1-r1", NOW_S, BODY).swapcase()),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_call_is_refused_and_leaves_no_trace(case, room, tmp_path, capsys):
    assert room.accept(FORGED[case], BODY, NOW_S)[0] == 401
    assert kept(tmp_path) == []
    assert capsys.readouterr().out == ""


@given(st.integers(0, len(BODY) - 1), st.integers(0, 7))
def test_a_body_that_was_altered_anywhere_is_refused(at, bit):
    altered = bytearray(BODY)
    altered[at] ^= 1 << bit
    assert not verified(SECRET.text(), signed(), bytes(altered), NOW_S)


@given(st.integers(TOLERANCE_S + 1, 10**9), st.sampled_from([-1, 1]))
def test_a_call_that_was_kept_is_too_old_and_one_from_the_future_too_new(late_s, sign_of):
    assert not verified(SECRET.text(), signed(), BODY, NOW_S + sign_of * late_s)


@given(st.integers(0, TOLERANCE_S), st.sampled_from([-1, 1]))
def test_within_the_tolerance_it_holds(late_s, sign_of):
    assert verified(SECRET.text(), signed(), BODY, NOW_S + sign_of * late_s)


def test_a_call_that_is_sent_again_in_time_is_known_and_acted_on_once(room, tmp_path, capsys):
    for _ in range(5):
        assert room.accept(signed(), BODY, NOW_S + 10)[0] == 200
    assert len(kept(tmp_path)) == 1
    assert capsys.readouterr().out.count("Where:") == 1


def test_a_name_that_was_used_says_nothing_new_even_by_who_has_the_key(room, tmp_path, capsys):
    assert room.accept(signed(), BODY, NOW_S) == (200, "accepted")
    other = body("cancelled")
    assert room.accept(signed(content=other), other, NOW_S) == (200, "known")
    assert [entry["body"] for entry in kept(tmp_path)] == [BODY.decode()]


def test_names_are_remembered_over_a_restart(tmp_path, capsys):
    for expected in ("accepted", "known"):
        room = ControlRoom(SECRET.text(), tmp_path / "received.jsonl")
        assert room.accept(signed(), BODY, NOW_S)[1] == expected
        room.close()
    assert len(kept(tmp_path)) == 1


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text(max_size=80)),
       st.binary(max_size=200))  # fmt: skip
def test_no_headers_and_no_bytes_verify_without_the_key(headers, content):
    assert not verified(SECRET.text(), headers, content, NOW_S)


@given(st.binary(min_size=1, max_size=300) | st.text(max_size=100).map(str.encode))
def test_a_signed_message_that_is_nonsense_is_shown_as_such_and_breaks_nothing(content):
    """Who has the key may still send anything: it is told in one plain line."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        _show(content.decode("utf-8", "replace"), late=False)
    assert said.getvalue().startswith("a signed message that is no alert of ours: ")
    assert all(line.isprintable() and line.isascii() for line in said.getvalue().splitlines())

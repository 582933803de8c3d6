"""Secrets: out of files, the environment and URLs, and into no log, no error, no text of any record."""

from __future__ import annotations

import base64
import json
import logging
import math
import pickle
from collections import Counter

import pytest

from acoustic.instant import parse_instant
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.record.store import Store, StoreError
from sensors.identity import NodeKey
from shotfix.api.people import PREFIX, People, PeopleError, Person, decode_people, digest_of, encode_people, new_token
from shotfix.config_fields import FieldError
from shotfix.config_telling import CourierConfig, SecretSource
from shotfix.http_server import Tls

T0KEN = "T0KENsecretT0KEN"
NOW_NS = parse_instant("2026-11-21T02:00:00Z")
LATER_NS = parse_instant("2027-11-21T02:00:00Z")


def shown(*things):
    """All that a record says of itself in any of the usual ways."""
    return "".join(f"{thing!r}{thing!s}{thing}{thing!a}{[thing]}{ ({'x': thing}) }" for thing in things)


def test_records_that_hold_a_secret_do_not_show_it():
    key = bytes(range(32))
    secret = Secret(key)
    url = f"https://example.org/hooks/{T0KEN}?key={T0KEN}"
    webhook = Webhook("room", Destination(url), [secret])
    text = shown(secret, Destination(url), webhook, NodeKey.create())
    webhook.close()
    for hidden in (T0KEN, secret.text(), base64.b64encode(key).decode(), repr(key), key.hex()):
        assert hidden not in text


def test_a_configuration_does_not_show_where_a_token_is_part_of_the_address(tmp_path):
    (tmp_path / "secret").write_text(Secret(bytes(32)).text())
    courier = CourierConfig("room", f"https://example.org/{T0KEN}?{T0KEN}", SecretSource(file=tmp_path / "secret"))
    assert T0KEN not in shown(courier)


@pytest.mark.parametrize(
    "url",
    [f"http://example.org/{T0KEN}", f"https://u:{T0KEN}@example.org/", f"ftp://example.org/{T0KEN}", f"https://[{T0KEN}/",
     f"https://example.org:{T0KEN}/", f"https://example.org/{T0KEN}#x", f"https://exa mple.org/{T0KEN}", f"{T0KEN}",
     f"https://example.org/\n{T0KEN}"],
)  # fmt: skip
def test_a_courier_whose_address_is_wrong_is_told_without_it(url, tmp_path):
    with pytest.raises((FieldError, ValueError)) as caught:
        CourierConfig("room", url, SecretSource(variable="HOOK"))
    assert T0KEN not in str(caught.value)
    assert T0KEN not in repr(caught.value)


def test_a_secret_that_is_not_there_is_told_by_its_place_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK", "  ")
    (tmp_path / "empty").write_text("\n")
    for source in (
        SecretSource(variable="HOOK"),
        SecretSource(variable="NOT_SET"),
        SecretSource(file=tmp_path / "empty"),
    ):
        with pytest.raises(ValueError, match="not set"):
            source.read()
    monkeypatch.setenv("HOOK", T0KEN)
    source = SecretSource(variable="HOOK")
    assert source.read() == T0KEN
    assert T0KEN not in shown(source)


def test_the_password_of_a_database_is_in_no_name_and_no_error(caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError) as caught:
        Store(f"postgresql://shotfix:{T0KEN}@127.0.0.1:1/shotfix?connect_timeout=2")
    error = caught.value
    text = ""
    while error is not None:
        text, error = text + str(error) + repr(error), error.__cause__
    assert T0KEN not in text
    assert T0KEN not in caplog.text


def test_a_private_key_goes_into_no_pickle():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(NodeKey.create())


def test_the_key_of_the_server_is_not_shown(tmp_path):
    assert "private" not in repr(Tls(tmp_path / "public.pem", tmp_path / "private.key"))


# Tokens of people


def test_a_token_is_256_random_bits_and_no_two_are_alike():
    """Every place of a token is any letter: a count of letters by place that a skewed source would not pass."""
    tokens = [new_token() for _ in range(2_000)]
    assert len(set(tokens)) == len(tokens)
    raw = [base64.urlsafe_b64decode(token.removeprefix(PREFIX) + "=") for token in tokens]
    assert {len(each) for each in raw} == {32}
    for place in range(32):
        counted = Counter(each[place] >> 4 for each in raw)
        expected = len(tokens) / 16
        chi2 = sum((counted[value] - expected) ** 2 / expected for value in range(16))
        assert chi2 < 15 + 10 * math.sqrt(2 * 15), "ten standard deviations of a chi-square of 15 degrees"


def test_the_register_holds_digests_and_nobody_can_be_who_has_only_those(tmp_path):
    token = new_token()
    person = Person("ada", ("analyst",), digest_of(token), NOW_NS, LATER_NS)
    (tmp_path / "people.toml").write_bytes(encode_people((person,)))
    (tmp_path / "people.toml").chmod(0o600)
    assert token.encode() not in (tmp_path / "people.toml").read_bytes()
    assert token not in shown(person)
    people = People(tmp_path / "people.toml")
    assert people.of(token) == person
    for wrong in (digest_of(token), PREFIX + digest_of(token), token[:-1], token + "A", token.upper(), " " + token, "",
                  PREFIX, token.replace(PREFIX, ""), "A" * 10_000_000, PREFIX + "\u0661" * 40, PREFIX + "\x00"):  # fmt: skip
        assert people.of(wrong) is None


def test_a_register_that_is_broken_is_told_without_what_stands_in_it(tmp_path, caplog):
    times = 'created = "2026-01-01T00:00:00Z"\nexpires = "2027-01-01T00:00:00Z"\n'
    head = f'[[person]]\nroles = ["analyst"]\n{times}'
    for content in (
        f'[[person]]\nname = "{T0KEN}\n',
        f'[[person]]\nname = "ada"\nsha256 = "{T0KEN}"\n',
        T0KEN,
        f'{head}name = "a b{T0KEN}"\nsha256 = "{"0" * 64}"\n',
        f'{head}name = "ada"\nsha256 = "{T0KEN}"\n',
    ):
        with pytest.raises(PeopleError) as caught:
            decode_people(content.encode(), "people.toml")
        assert T0KEN not in str(caught.value)
        (tmp_path / "people.toml").write_text(content)
        (tmp_path / "people.toml").chmod(0o600)
        assert len(People(tmp_path / "people.toml")) == 0
    assert T0KEN not in caplog.text
    assert json.dumps(caplog.text).isascii()


def test_a_register_that_others_may_write_makes_nobody_a_person(tmp_path):
    token = new_token()
    path = tmp_path / "people.toml"
    path.write_bytes(encode_people((Person("eve", ("auditor",), digest_of(token), NOW_NS, LATER_NS),)))
    for mode in (0o622, 0o606 | 0o020, 0o602, 0o666):
        path.chmod(mode)
        people = People(path)
        assert people.of(token) is None
        assert "others may write it" in people.trouble

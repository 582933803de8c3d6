"""The link to NATS: names of subjects, nkeys against the published pair, and what is refused before anybody connects."""

from __future__ import annotations

import base64
import contextlib
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sensors.nats_link import (
    NatsLink,
    answer_subject,
    batch_subject,
    public_nkey,
    seed_bytes,
    sign_nonce,
    token_of,
)
from tests.shotfix.nats_server import seed_text

# The pair in NATS' own documentation of nkey authentication.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
LOCAL = ("nats://127.0.0.1:4222",)
names = st.text(min_size=1, max_size=100)


@given(names, names)
def test_a_token_is_one_and_no_two_names_share_it(one, other):
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token_of(one))
    assert (token_of(one) == token_of(other)) == (one == other)


def test_subjects_are_as_documented():
    assert batch_subject("harbour", "w2000_1_2", "roof 1.a") == "shotfix.harbour.w2000_1_2.roof=201=2Ea"
    assert answer_subject("harbour", "roof-1", "*") == "shotfix-answer.harbour.roof-1.*"
    for city in ("", "a.b", "a b", "*", ">", "x" * 41, "é"):
        with pytest.raises(ValueError, match="the city's name"):
            batch_subject(city, "c", "n")


def test_the_published_pair():
    assert public_nkey(seed_bytes(SEED)) == PUBLIC


@given(st.binary(min_size=32, max_size=32))
def test_a_seed_survives_its_text(seed):
    assert seed_bytes(seed_text(seed)) == seed
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    public.verify(base64.b64decode(sign_nonce(seed, "nonce")), b"nonce")


@given(st.integers(0, 57), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_seed_with_a_wrong_letter_is_refused_without_being_repeated(place, letter):
    damaged = SEED[:place] + letter + SEED[place + 1 :]
    if damaged == SEED:
        return
    with contextlib.suppress(ValueError):
        # The last letter carries bits that mean nothing.
        assert seed_bytes(damaged) == seed_bytes(SEED)
        assert place == 57
        return
    with pytest.raises(ValueError, match="nkey seed") as caught:
        seed_bytes(damaged)
    assert damaged[5:] not in str(caught.value)


@pytest.mark.parametrize("text", ["", "SU", "hello", SEED.lower(), PUBLIC, SEED[:-8], SEED + "AAAAAAAA"])
def test_what_is_no_seed_is_refused(text):
    with pytest.raises(ValueError, match="nkey seed"):
        seed_bytes(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"servers": ()}, "no NATS server"),
        ({"servers": ("",)}, "expected tls://"),
        ({"servers": ("http://a",)}, "expected tls://"),
        ({"servers": ("tls://a:0",)}, "expected tls://"),
        ({"servers": ("tls://[a",)}, "no URL"),
        ({"servers": ("tls://me:hunter2@a",)}, "user and password_file"),
        ({"servers": ("nats://10.0.0.1",)}, "use tls://"),
        ({"servers": ("tls://a", "nats://b")}, "use tls://"),
        ({"servers": ("tls://a", "nats://127.0.0.1")}, "for all of them"),
        ({"servers": LOCAL, "user": "me"}, "belong together"),
        ({"servers": LOCAL, "certificate": "c"}, "belong together"),
        ({"servers": LOCAL, "user": "me", "password_file": "p", "credentials_file": "s"}, "by one of them"),
    ],
)
def test_links_check_themselves(options, words):
    with pytest.raises(ValueError, match=words) as caught:
        NatsLink(**options)
    assert "hunter2" not in str(caught.value)
    NatsLink(("nats://10.0.0.1",), allow_plain=True)


def test_a_file_of_credentials_holds_two_things(tmp_path):
    path = tmp_path / "node.creds"
    path.write_text(
        "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
    )
    login = NatsLink(LOCAL, credentials_file=path)._login(None)
    assert login["user_jwt_cb"]() == b"eyJ0.eyJq.c2ln"
    assert login["signature_cb"]("n") == sign_nonce(seed_bytes(SEED), "n")
    path.write_text("nothing")
    with pytest.raises(ValueError, match=r"node\.creds: the nkey seed is damaged"):
        NatsLink(LOCAL, credentials_file=path)._login(None)

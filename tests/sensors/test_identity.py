"""Identity: what a node sealed is believed, and nothing else."""

import base64
import hashlib
import os
import pickle
import random
import stat
from collections import Counter

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors import identity
from sensors.identity import (
    LARGEST_SEALED_BYTES,
    SEAL_BYTES,
    ForeignError,
    ForgedError,
    IdentityError,
    Keyring,
    NodeKey,
    key_name,
)
from sensors.seen import Seen
from sensors.wire import WireError, encode_batch
from tests import messages
from tests.messages import beat, heard

KEY = NodeKey.create()
OTHER = NodeKey.create()
RING = Keyring({"roof-7": KEY.public_text, "roof-8": OTHER.public_text})

# RFC 8032, section 7.1, test 2: secret key, public key.
RFC_SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
RFC_PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")


@given(st.binary(max_size=2_000))
@settings(max_examples=30)
def test_what_a_node_seals_is_opened(payload):
    sealed = KEY.seal(payload)
    assert RING.open(sealed) == ("roof-7", payload)
    assert len(sealed) == len(payload) + SEAL_BYTES


def test_the_seal_is_as_it_is_described():
    """Rebuilt from the description with the library alone, with a key of RFC 8032."""
    private = Ed25519PrivateKey.from_private_bytes(RFC_SECRET)
    key = NodeKey(private)
    assert key.public_text == "ed25519:PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="
    head = b"SHFX\x01" + hashlib.sha256(RFC_PUBLIC).digest()[:8]
    assert key.seal(b"payload") == head + private.sign(b"shotfix sealed payload\x00" + head + b"payload") + b"payload"
    assert key_name(key.public_text) == hashlib.sha256(RFC_PUBLIC).hexdigest()[:16]


def test_one_flipped_bit_anywhere_is_refused():
    sealed = KEY.seal(b"a shot in the night")
    for at in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[at // 8] ^= 1 << at % 8
        with pytest.raises(IdentityError):
            RING.open(bytes(altered))


@pytest.mark.parametrize(
    ("sealed", "words"),
    [
        (b"", "not sealed"),
        (b"SHFX", "not sealed"),
        (b"\x86\xa7version" + bytes(200), "not sealed"),
        (b"SHFX\x02" + bytes(200), "format 2: this program knows 1; update it"),
        (b"SHFX\x01" + bytes(200), "key 0000000000000000 is not known here; enrol the node"),
        (bytes(LARGEST_SEALED_BYTES + 1), "at most 1000000"),
        (NodeKey.create().seal(b"from next door"), "is not known here"),
    ],
    ids=["nothing", "magic", "no-magic", "format", "no-key", "long", "next-door"],  # keys differ from run to run
)
def test_what_is_foreign_is_told_so(sealed, words):
    with pytest.raises(ForeignError, match=words):
        RING.open(sealed)


def test_nothing_is_parsed_before_the_signature_holds(monkeypatch):
    monkeypatch.setattr("sensors.wire.decode_batch", lambda payload: pytest.fail("parsed"))
    forged = bytearray(KEY.seal(encode_batch(messages.batch(beat()))))
    forged[-1] ^= 1
    with pytest.raises(ForgedError):
        RING.open_batch(bytes(forged))


def test_a_batch_in_the_name_of_another_node_is_forged():
    sealed = OTHER.seal(encode_batch(messages.batch(heard(), node_id="roof-7")))
    assert RING.open(sealed)[0] == "roof-8"
    with pytest.raises(ForgedError, match="roof-8 speaks in the name of another node, roof-7"):
        RING.open_batch(sealed)


def test_an_enrolled_node_may_still_send_nonsense():
    with pytest.raises(WireError):
        RING.open_batch(KEY.seal(b"nonsense"))


def test_a_node_has_two_keys_while_it_changes_and_the_old_one_is_retired():
    new = NodeKey.create()
    both = Keyring({"roof-7": (KEY.public_text, new.public_text)})
    assert both.open(KEY.seal(b"1"))[0] == both.open(new.seal(b"2"))[0] == "roof-7"
    retired = Keyring({"roof-7": (KEY.public_text, new.public_text)}, revoked=[KEY.public_text])
    assert retired.open(new.seal(b"2")) == ("roof-7", b"2")
    with pytest.raises(ForeignError, match="was revoked; enrol the node anew"):
        retired.open(KEY.seal(b"1"))
    with pytest.raises(IdentityError, match="at most 2, retire one"):
        Keyring({"roof-7": (KEY.public_text, new.public_text, OTHER.public_text)})


def test_a_key_is_one_nodes():
    with pytest.raises(IdentityError, match="roof-8 and roof-7 have one key"):
        Keyring({"roof-7": KEY.public_text, "roof-8": KEY.public_text})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519:",
        "ed25519:AAAA",
        "rsa:" + KEY.public_text.removeprefix("ed25519:"),
        KEY.public_text.removeprefix("ed25519:"),
        KEY.public_text + "\n",
        KEY.public_text.rstrip("="),
        "ed25519:" + "é" * 43,
    ],
    ids=["nothing", "prefix", "short", "other", "bare", "newline", "unpadded", "letters"],
)
def test_what_is_no_public_key_is_told_so(text):
    with pytest.raises(IdentityError, match="is no public key"):
        key_name(text)
    with pytest.raises(IdentityError):
        Keyring({"n": text})


def test_points_of_small_order_are_no_keys():
    """Found anew: whatever point is multiplied by the group's order has an order of 8 at most."""
    prime, order = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
    found = set()
    for y in range(2, 60):
        if (point := point_of(y, prime)) is not None:
            found.add(times(order, point, prime)[1])
    assert len(found) == 5
    assert found <= identity._SMALL_ORDER_Y
    for y in identity._SMALL_ORDER_Y:
        for sign in (0, 1):
            raw = (y | sign << 255).to_bytes(32, "little")
            with pytest.raises(IdentityError, match="everyone can sign for it"):
                key_name(public_text(raw))


def public_text(raw):
    return "ed25519:" + base64.b64encode(raw).decode()


def point_of(y, prime):
    d = -121665 * pow(121666, -1, prime) % prime
    square = (y * y - 1) * pow(d * y * y + 1, -1, prime) % prime
    for x in (
        pow(square, (prime + 3) // 8, prime),
        pow(square, (prime + 3) // 8, prime) * pow(2, (prime - 1) // 4, prime),
    ):
        if x * x % prime == square:
            return x % prime, y
    return None


def plus(a, b, prime):
    d = -121665 * pow(121666, -1, prime) % prime
    k = d * a[0] * b[0] * a[1] * b[1] % prime
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + k, -1, prime)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, prime)
    return x % prime, y % prime


def times(n, point, prime):
    product = (0, 1)
    while n:
        if n & 1:
            product = plus(product, point, prime)
        point, n = plus(point, point, prime), n >> 1
    return product


def test_a_key_is_saved_for_its_owner_alone_and_never_overwritten(tmp_path):
    path = tmp_path / "node.key"
    before = os.umask(0)
    try:
        KEY.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert NodeKey.load(path).seal(b"x") == KEY.seal(b"x")
    with pytest.raises(IdentityError, match="a key is never overwritten; move it away first"):
        OTHER.save(path)
    assert NodeKey.load(path).public_text == KEY.public_text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_key_that_others_may_read_is_refused_with_the_remedy(tmp_path, mode):
    path = tmp_path / "node.key"
    KEY.save(path)
    path.chmod(mode)
    with pytest.raises(IdentityError, match=f"run: chmod 600 {path}"):
        NodeKey.load(path)


def test_what_is_no_key_file_is_told_so_without_its_content(tmp_path):
    path = tmp_path / "node.key"
    with pytest.raises(IdentityError, match="No such file or directory; enrol the node"):
        NodeKey.load(path)
    rsa = generate_private_key(65537, 2_048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in (b"", b"SECRET-SECRET", rsa, b"-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n"):
        path.unlink(missing_ok=True)
        path.write_bytes(text)
        path.chmod(0o600)
        with pytest.raises(IdentityError, match="holds no Ed25519 private key") as refused:
            NodeKey.load(path)
        assert "SECRET" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_a_private_key_shows_itself_nowhere():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(KEY)
    assert repr(KEY) == f"NodeKey('{KEY.public_text}')"
    assert not hasattr(KEY, "__dict__")


FORGERIES = ("flipped", "wrong key", "swapped node", "borrowed name", "truncated", "padded", "spliced", "replayed")


def forged(kind, rng, genuine, others):  # noqa: PLR0911
    """One forgery of a batch that roof-7 sealed."""
    sealed = rng.choice(genuine)
    if kind == "flipped":
        altered = bytearray(sealed)
        for _ in range(rng.randint(1, 4)):
            altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
        return bytes(altered)
    if kind == "wrong key":  # signed by somebody else under roof-7's name for its key
        stolen = NodeKey.create()
        return sealed[:13] + stolen.seal(sealed[SEAL_BYTES:])[13:]
    if kind == "swapped node":  # an enrolled node sends what roof-7 said as its own
        return OTHER.seal(sealed[SEAL_BYTES:])
    if kind == "borrowed name":  # the head of one node before the signature and payload of another
        return sealed[:13] + rng.choice(others)[13:]
    if kind == "truncated":
        return sealed[: rng.randrange(len(sealed))]
    if kind == "padded":
        return sealed + rng.randbytes(rng.randint(1, 20))
    if kind == "spliced":  # the signature of one batch before the payload of another
        other = rng.choice([each for each in genuine if each != sealed])
        return sealed[:SEAL_BYTES] + other[SEAL_BYTES:]
    return sealed


def test_ten_thousand_forgeries_are_refused_or_recognised():
    rng = random.Random(20_261_122)  # noqa: S311
    genuine = [KEY.seal(encode_batch(messages.batch(heard(k), beat(k), first=2 * k))) for k in range(50)]
    others = [OTHER.seal(encode_batch(messages.batch(heard(k), node_id="roof-8"))) for k in range(50)]
    seen, taken, outcome = Seen(), 0, Counter()
    for sealed in genuine:
        batch = RING.open_batch(sealed)
        taken += sum(seen.take(batch.node_id, each.boot_id, each.sequence) for each in batch.envelopes)
    assert taken == 100
    for k in range(10_000):
        kind = FORGERIES[k % len(FORGERIES)]
        try:
            batch = RING.open_batch(forged(kind, rng, genuine, others))
        except IdentityError:
            outcome[kind] += 1
            continue
        # Flips that undo each other leave the genuine batch: repeated, as a replay.
        assert not any(seen.take(batch.node_id, each.boot_id, each.sequence) for each in batch.envelopes)
        outcome["recognised"] += 1
    assert all(outcome[kind] >= 1_249 for kind in FORGERIES[:-1])
    assert outcome.total() == 10_000

"""Identity: who a message is from. Each node signs with a key of its own; the centre knows the public halves."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from sensors.message import Batch

MAGIC: Final = b"SHFX"
FORMAT: Final = 1
KEY_ID_BYTES: Final = 8
SIGNATURE_BYTES: Final = 64
SEAL_BYTES: Final = len(MAGIC) + 1 + KEY_ID_BYTES + SIGNATURE_BYTES
"""What a seal adds to a payload."""
LARGEST_SEALED_BYTES: Final = 1_000_000
"""Longer is refused before its signature is looked at."""
MOST_KEYS: Final = 2
"""Of one node: the old one and the new one while it changes."""

_HEAD_BYTES: Final = len(MAGIC) + 1 + KEY_ID_BYTES
_CONTEXT: Final = b"shotfix sealed payload\x00"  # a signature made for something else is none here
_PREFIX: Final = "ed25519:"
# Points of small order, by their y: a signature can be forged for anybody who would enrol such a "key"
# (RFC 7748 section 6 and RFC 8032 section 5.1.7 leave the check to whoever uses the curve).
_PRIME: Final = 2**255 - 19
_ORDER_8_Y: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022  # and its negative
_SMALL_ORDER_Y: Final = frozenset({0, 1, _PRIME - 1, _PRIME, _PRIME + 1, _ORDER_8_Y, _PRIME - _ORDER_8_Y})


class IdentityError(Exception):
    """Who sent it cannot be believed, or a key cannot be used; the message says what to do, in one line."""


class ForeignError(IdentityError):
    """Not sealed at all, or sealed with a key that this network does not know, or knows no longer."""


class ForgedError(IdentityError):
    """The signature does not hold, or the sender speaks for another node."""


class NodeKey:
    """The private key of one node (Ed25519, RFC 8032). It never shows itself: neither in text nor in a pickle.

    Make one with `create`, keep it with `save`, read it with `load`.
    """

    __slots__ = ("_head", "_private", "public_text")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        raw = private.public_key().public_bytes_raw()
        self._private = private
        self._head = MAGIC + bytes([FORMAT]) + key_id(raw)
        self.public_text: Final = _PREFIX + base64.b64encode(raw).decode("ascii")
        """The public half, as ``ed25519:`` and base64: what the centre is given at enrolment."""

    def __repr__(self) -> str:
        return f"NodeKey({self.public_text!r})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not pickled: load it from its file where it is needed")

    @classmethod
    def create(cls) -> Self:
        """A new key from the operating system's randomness."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The key in a file that `save` wrote (PEM, PKCS 8, without a password).

        Raises
        ------
        IdentityError
            When it is absent, is no such key, or others than its owner may read it.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        text = _read_private(Path(path))
        try:
            private = load_pem_private_key(text, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None  # what a parser says of a secret file belongs in no log
        if not isinstance(private, Ed25519PrivateKey):
            raise IdentityError(f"{path}: holds no Ed25519 private key in PEM without a password; enrol the node anew")
        return cls(private)

    def save(self, path: Path | str) -> None:
        """Write the key to a new file that only its owner may read (mode 0600), and onto the disk.

        Raises
        ------
        IdentityError
            When the file exists already (a key is never overwritten) or cannot be written.
        """
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        text = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            _write_private(Path(path), text)
        except FileExistsError:
            raise IdentityError(f"{path}: exists already, and a key is never overwritten; move it away first") from None
        except OSError as error:
            raise IdentityError(f"{path}: {error.strerror}; the key was not saved") from None

    def seal(self, payload: bytes) -> bytes:
        """The payload with who sent it in front: `SEAL_BYTES` more.

        Magic, number of the format, the first 8 bytes of the public key's SHA-256, an Ed25519 signature, the payload.
        The signature covers a fixed context, all before it and the payload.
        """
        return self._head + self._private.sign(_CONTEXT + self._head + payload) + payload


class Keyring:
    """The public keys of a network's nodes.

    Parameters
    ----------
    keys : mapping of str to str or iterable of str
        Node to its public key as `NodeKey.public_text`, or to at most `MOST_KEYS` of them while it changes.
    revoked : iterable of str
        Public keys that are believed no longer, whoever still lists them: what they seal is foreign.

    Raises
    ------
    IdentityError
        For a text that is no key, too many keys of one node, or one key of two nodes.
    """

    def __init__(self, keys: Mapping[str, str | Iterable[str]], revoked: Iterable[str] = ()) -> None:
        self._revoked = frozenset(key_id(_public_bytes(text)) for text in revoked)
        self._keys: dict[bytes, tuple[str, bytes, list[Ed25519PublicKey]]] = {}
        for node_id, texts in keys.items():
            listed = (texts,) if isinstance(texts, str) else tuple(texts)
            if len(set(listed)) > MOST_KEYS:
                raise IdentityError(f"{node_id}: {len(set(listed))} keys; a node has at most {MOST_KEYS}, retire one")
            for text in listed:
                self._add(node_id, _public_bytes(text))

    def _add(self, node_id: str, raw: bytes) -> None:
        if key_id(raw) in self._revoked:
            return
        owner = self._keys.setdefault(key_id(raw), (node_id, raw, []))[0]
        if owner != node_id:
            raise IdentityError(f"{node_id} and {owner} have one key, and a key is one node's; enrol one of them anew")

    def open(self, sealed: bytes) -> tuple[str, bytes]:
        """Who sent it, and the payload; nothing of the payload is looked at before its signature holds.

        Raises
        ------
        ForeignError
            When it is not sealed, is too long, or its key is unknown or revoked.
        ForgedError
            When the signature does not hold.
        """
        if len(sealed) > LARGEST_SEALED_BYTES:
            raise ForeignError(f"{len(sealed)} bytes: a sealed payload has at most {LARGEST_SEALED_BYTES}")
        if len(sealed) < SEAL_BYTES or not sealed.startswith(MAGIC):
            raise ForeignError("not sealed: no node of shotfix sent this")
        if sealed[len(MAGIC)] != FORMAT:
            raise ForeignError(f"seal of format {sealed[len(MAGIC)]}: this program knows {FORMAT}; update it")
        head, payload = sealed[:_HEAD_BYTES], sealed[SEAL_BYTES:]
        node_id, public = self._owner(head[-KEY_ID_BYTES:])
        _verify(public, sealed[_HEAD_BYTES:SEAL_BYTES], _CONTEXT + head + payload)
        return node_id, payload

    def open_batch(self, sealed: bytes) -> Batch:
        """The batch that a node sealed.

        Raises
        ------
        ForeignError, ForgedError
            As `open`; forged, too, when the batch is in the name of another node than the key's.
        sensors.wire.WireError
            When what an enrolled node sealed is no batch.
        """
        from sensors.wire import decode_batch

        node_id, payload = self.open(sealed)
        batch = decode_batch(payload)
        if batch.node_id != node_id:
            raise ForgedError(f"{node_id} speaks in the name of another node, {batch.node_id}")
        return batch

    def _owner(self, named: bytes) -> tuple[str, Ed25519PublicKey]:
        if named in self._revoked:
            raise ForeignError(f"key {named.hex()} was revoked; enrol the node anew")
        if named not in self._keys:
            raise ForeignError(f"key {named.hex()} is not known here; enrol the node, or reload the network")
        node_id, raw, made = self._keys[named]
        if not made:  # the first time: most of a city's keys need not be there for a command that starts
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

            made.append(Ed25519PublicKey.from_public_bytes(raw))
        return node_id, made[0]


def key_id(public: bytes) -> bytes:
    """By what a seal names a public key (32 bytes): the first 8 bytes of its SHA-256. A name, not a proof."""
    return hashlib.sha256(public).digest()[:KEY_ID_BYTES]


def key_name(public_text: str) -> str:
    """The same of a key's text, as 16 hexadecimal digits: what logs and lists call a key by."""
    return key_id(_public_bytes(public_text)).hex()


def _public_bytes(text: str) -> bytes:
    """The 32 bytes of a public key's text."""
    try:
        raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(_PREFIX) or len(raw) != 32 or _PREFIX + base64.b64encode(raw).decode() != text:
        raise IdentityError(f"{text[:80]!r} is no public key: expected {_PREFIX} and the base64 of 32 bytes")
    if int.from_bytes(raw, "little") % 2**255 in _SMALL_ORDER_Y:
        raise IdentityError(f"{text!r} is no key of anybody: everyone can sign for it; create one with `enrol`")
    return raw


def _verify(public: Ed25519PublicKey, signature: bytes, signed: bytes) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, signed)
    except InvalidSignature:
        raise ForgedError("the signature does not hold: altered on the way, or not from this node") from None


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise IdentityError(f"{path}: others may read this private key; run: chmod 600 {path}")
            return file.read(10_000)
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}; enrol the node, or name the file of its key") from None


def _write_private(path: Path, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # whatever the umask took or an access list gave
        file.write(text)
        file.flush()
        os.fsync(descriptor)

"""Logging in to a server that knows nobody: operator, account and user vouch for each other (NATS' decentralised JWTs)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensors.transport import TransportError
from tests.shotfix.nats_server import NatsServer, need_nats_server, seed_text
from tests.shotfix.stations import by_nats

ENDLESS = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1) | {"wildcards": True}


class Role:
    """An operator (O), account (A) or user (U) with its nkey."""

    def __init__(self, letter):
        self.key = Ed25519PrivateKey.generate()
        raw = bytes([(ord(letter) - ord("A")) << 3]) + self.key.public_key().public_bytes_raw()
        self.name = base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")

    def vouches_for(self, other, claims):
        """A token of NATS' kind, version 2, signed by this role."""
        body = {"iat": 1_700_000_000, "iss": self.name, "sub": other.name, "name": "x", "nats": claims | {"version": 2}}
        body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
        said = b".".join(map(base64url, ({"typ": "JWT", "alg": "ed25519-nkey"}, body)))
        return (said + b"." + base64.urlsafe_b64encode(self.key.sign(said)).rstrip(b"=")).decode()


def base64url(record):
    return base64.urlsafe_b64encode(json.dumps(record, separators=(",", ":")).encode()).rstrip(b"=")


def test_a_file_of_credentials_lets_its_user_in_and_no_other(tmp_path):
    need_nats_server()
    operator, account, system, user, stranger = (Role(letter) for letter in "OAAUU")
    preload = [
        f"{each.name}: {operator.vouches_for(each, {'type': 'account', 'limits': ENDLESS})}"
        for each in (account, system)
    ]
    server = NatsServer(
        tmp_path / "nats",
        f"operator: {operator.vouches_for(operator, {'type': 'operator'})}\nresolver: MEMORY\n"
        f"system_account: {system.name}\nresolver_preload: {{ {', '.join(preload)} }}\n",
    )
    allowed = {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    for name, signer, who in (("good", account, user), ("bad", stranger, stranger)):
        (tmp_path / name).write_text(
            f"-----BEGIN NATS USER JWT-----\n{signer.vouches_for(who, allowed)}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed_text(who.key.private_bytes_raw())}\n------END USER NKEY SEED------\n"
        )
    server.start()

    async def tried(name):
        transport = by_nats(server, 3.0, credentials_file=tmp_path / name)
        with pytest.raises(TransportError) as caught:
            await transport.exchange(b"sealed")
        await transport.close()
        return str(caught.value)

    try:
        assert "no stream takes" in asyncio.run(tried("good"))
        assert "lets us in" in asyncio.run(tried("bad"))
    finally:
        server.kill()

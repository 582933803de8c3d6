"""Whom a node believes when it comes by HTTPS: the certificate it was given, and no proxy."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from sensors.http_transport import HttpTransport
from sensors.transport import TransportError
from sensors.wire import Batch, encode_batch
from shotfix.http_server import Tls
from tests.shotfix.certificates import certificate
from tests.shotfix.fake_centre import FakeCentre
from tests.shotfix.stations import KEY, KEYS, NOW_NS, HttpStation

GOOD = KEY.seal(encode_batch(Batch("node-1", NOW_NS, ())))


def test_only_the_pinned_certificate_is_believed_and_it_can_be_renewed(tmp_path):
    ours, renewed, theirs = (certificate(tmp_path, name) for name in ("ours", "renewed", "theirs"))
    elsewhere = certificate(tmp_path, "elsewhere", "127.0.0.2")
    centre = FakeCentre(KEYS)

    async def tried(port, trusted):
        transport = HttpTransport(f"https://127.0.0.1:{port}", ca_file=trusted)
        try:
            return await transport.exchange(GOOD)
        except TransportError as error:
            return str(error)
        finally:
            await transport.close()

    async def play():
        async with HttpStation(centre.take, tls=ours) as station:
            port = station.port
            assert isinstance(await tried(port, ours.certificate), bytes)
            for wrong in (theirs.certificate, None):
                assert "CERTIFICATE_VERIFY_FAILED" in await tried(port, wrong)
            station.server.renew_certificate(renewed)
            assert isinstance(await tried(port, renewed.certificate), bytes)
            with pytest.raises(OSError, match=r"KEY_VALUES_MISMATCH|key values mismatch"):
                station.server.renew_certificate(Tls(ours.certificate, theirs.key))
            assert isinstance(await tried(port, renewed.certificate), bytes)
            station.server.renew_certificate(elsewhere)
            assert "CERTIFICATE_VERIFY_FAILED" in await tried(port, elsewhere.certificate)

    asyncio.run(play())


def test_the_environments_proxy_is_not_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def play():
        async with HttpStation(FakeCentre(KEYS).take) as station:
            transport = HttpTransport(f"http://127.0.0.1:{station.port}")
            assert await transport.exchange(GOOD)
            await transport.close()

    asyncio.run(play())


def test_old_tls_is_not_spoken(tmp_path):
    ours = certificate(tmp_path, "ours")

    async def play(station):
        context = ssl.create_default_context(cafile=ours.certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.open_connection("127.0.0.1", station.port, ssl=context)

    async def all_of_it():
        async with HttpStation(FakeCentre(KEYS).take, tls=ours) as station:
            await play(station)

    with pytest.warns(DeprecationWarning, match="TLSv1"):
        asyncio.run(all_of_it())

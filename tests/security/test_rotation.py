"""Secrets of couriers change under a running centre: taken over whole at a reload, or everything stays as it was."""

from __future__ import annotations

import asyncio
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from acoustic.instant import SECOND
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Signing
from alerts.couriers.webhook import Webhook as OurWebhook
from alerts.delivery import Delivery
from alerts.desk import Desk
from shotfix.centre import Centre
from shotfix.config_reading import read_site
from shotfix.config_writing import network_text
from shotfix.network_file import Contents
from tests.cities import small_city
from tests.strategies import NIGHT_NS, fix_at

OLD, NEW, NEWER = (Secret(bytes([number]) * 32) for number in (1, 2, 3))
PATIENCE_S = 60.0
SITE = """
[site]
name = "Harbour"
data_dir = "data"
[network]
file = "network.toml"
[listen]
port = 0
[[courier]]
name = "room"
url = "{url}"
secret_file = "{secret}"
allow_private = true
"""


def verifies(secret, headers, body):
    """Whether somebody else's library believes a message under this secret alone."""
    try:
        Webhook(secret.text()).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


class Receiver:
    """Somebody's control room, which takes everything and says afterwards who could have signed it."""

    def __init__(self):
        heard = self.heard = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                heard.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def signers(self):
        """Under which secrets the next message is right."""
        headers, body = self.heard.get(timeout=PATIENCE_S)
        return [secret for secret in (OLD, NEW, NEWER) if verifies(secret, headers, body)]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver():
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture
def site(tmp_path, receiver):
    """A site's files; its courier has a secret in a file."""
    registry = small_city(sensors=6, seconds=2.0).registry
    contents = Contents(1, registry.network.sites, registry.owners, registry.nodes, ())
    (tmp_path / "network.toml").write_text(network_text(contents))
    write_secret(tmp_path / "room", OLD)
    path = tmp_path / "site.toml"
    path.write_text(SITE.format(url=receiver.url, secret=tmp_path / "room"))
    return path


def write_secret(path, secret):
    path.write_text(secret if isinstance(secret, str) else secret.text() + "\n")
    path.chmod(0o600)


def test_a_centre_takes_up_a_new_secret_at_a_reload_and_keeps_the_old_over_a_wrong_one(
    site, receiver, monkeypatch, caplog
):
    monkeypatch.setattr(Centre, "_hearing_pool", lambda *_: None)
    caplog.set_level("INFO")
    secret, former = site.with_name("room"), site.with_name("room.former")
    names = iter("abcdefgh")

    def tell():
        centre._telling.keeping.keep(Desk().receive(fix_at(next(names))))

    def rewrite(more="", **change):
        site.write_text(SITE.format(**({"url": receiver.url, "secret": secret} | change)) + more)

    async def signers(*steps):
        """Who has signed what is told after these steps and a reload."""
        for step in steps:
            step()
        await centre.reload()
        tell()
        return await asyncio.to_thread(receiver.signers)

    def both():
        write_secret(secret, NEW)
        write_secret(former, OLD)
        rewrite(f'previous_secret_file = "{former}"\nprevious_until = "2199-01-01T00:00:00Z"\n')

    async def play():
        running = asyncio.create_task(centre.run())
        try:
            async with asyncio.timeout(4 * PATIENCE_S):
                assert await signers() == [OLD]
                assert await signers(both) == [OLD, NEW]
                assert await signers(lambda: write_secret(secret, "whsec_T0KEN!")) == [OLD, NEW]
                assert "everything stays as it was" in caplog.text
                assert await signers(lambda: secret.chmod(0o644)) == [OLD, NEW]
                assert await signers(secret.unlink) == [OLD, NEW]
                assert await signers(lambda: write_secret(secret, NEW), rewrite) == [NEW]
                # A receiver elsewhere waits for a restart, and so does its secret: the one here would not know it.
                write_secret(secret, NEWER)
                assert await signers(lambda: rewrite(url=receiver.url + "elsewhere")) == [NEW]
                assert "restart" in caplog.text
                assert await signers(rewrite) == [NEWER]
        finally:
            centre.stop()
            await running

    centre = Centre(read_site(site), lambda: read_site(site))
    asyncio.run(play())
    for hidden in (*(each.text() for each in (OLD, NEW, NEWER)), "T0KEN"):
        assert hidden not in caplog.text


def test_what_signs_is_exchanged_whole():
    """A message is signed by the secrets of one moment; until when the former counts belongs to them."""
    now = NIGHT_NS
    delivery = Delivery("a1", 1, "room", "new", "2026-11-22T02:00:00Z", b"{}", now)
    webhook = OurWebhook("room", Destination("https://example.org/"), [OLD])
    assert webhook.signing == Signing((OLD,))
    webhook.signing = Signing((NEW, OLD), now + SECOND)
    for at_ns, signatures in ((now, 2), (now + SECOND, 1)):
        headers = webhook.headers(delivery, b"{}", at_ns)
        assert len(headers["webhook-signature"].split()) == signatures
    with pytest.raises(ValueError, match="at least one secret"):
        Signing(())
    webhook.close()

"""A bounded resolver: what hangs holds nobody for long, and holds one thread only."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from acoustic.instant import EARLIEST_NS
from alerts.couriers import bounded_resolver
from alerts.couriers.bounded_resolver import BoundedResolver
from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.delivery import Delivery


class Silent:
    """A name server that says nothing until it is let."""

    def __init__(self):
        self.let, self.begun, self.asked = threading.Event(), threading.Event(), 0

    def __call__(self, host, port):
        self.asked += 1
        self.begun.set()
        assert self.let.wait(60.0)
        return ["8.8.8.8"]


@pytest.fixture
def silent():
    server = Silent()
    yield server
    server.let.set()


def test_who_asks_a_silent_server_is_let_go_and_only_one_look_up_hangs(silent):
    resolver = BoundedResolver(silent, within_s=0.05)
    for _ in range(5):
        with pytest.raises(TimeoutError, match=r"no name server answered within 0\.05 s"):
            resolver("example.org", 443)
    assert silent.asked == 1
    with pytest.raises(TimeoutError):
        resolver("elsewhere.example.org", 443)
    assert silent.asked == 2, "another name is another look-up"


def test_those_who_wait_together_have_the_same_answer_and_the_next_one_their_own(silent):
    resolver = BoundedResolver(silent, within_s=60.0)
    with ThreadPoolExecutor(4) as four:
        first = four.submit(resolver, "example.org", 443)
        assert silent.begun.wait(60.0)
        answers = [four.submit(resolver, "example.org", 443) for _ in range(3)]
        silent.let.set()
        assert [each.result(60.0) for each in (first, *answers)] == [["8.8.8.8"]] * 4
    before = silent.asked
    resolver("example.org", 443)
    assert silent.asked == before + 1, "nothing is remembered: a name may change its mind, and is checked each time"


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long"), TimeoutError("theirs")])
def test_what_the_resolver_says_is_handed_on(error):
    def fails(host, port):
        raise error

    resolver = BoundedResolver(fails)
    for _ in range(2):
        with pytest.raises(type(error), match=str(error)):
            resolver("example.org", 443)


def test_a_webhook_whose_name_server_is_silent_is_a_receipt(silent, monkeypatch):
    monkeypatch.setattr(bounded_resolver.BoundedResolver.__init__, "__defaults__", (0.05,))
    webhook = Webhook("room", Destination("https://example.org/"), [Secret(bytes(24))], resolve=silent)
    letter = Delivery("a1", 1, "room", "new", "2026-11-21T03:00:00.000000Z", b"{}", EARLIEST_NS)
    receipt = webhook.deliver(letter, EARLIEST_NS)
    webhook.close()
    assert (receipt.delivered, receipt.unanswered) == (False, True)
    assert receipt.detail == "example.org does not resolve: no name server answered within 0.05 s"

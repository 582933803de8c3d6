"""Who judges blindly as the second: no sum tells them of it, and what their screens told them before is on record."""

from __future__ import annotations

import json

import pytest

from acoustic.instant import after, instant_text
from alerts.delivery import Receipt, Route
from alerts.record.store import Store
from alerts.review.findings import Finding
from alerts.review.reviews import ReviewRules, Reviews
from tests.api_city import PUBLISHED, REVIEW, SUPPRESSED, played
from tests.strategies import NIGHT_NS

ASKED_TWICE = ReviewRules(second_share=1.0)
HELD_S = 300.0
"""When the incident in hand was, s into the night; others stand 100 s from it on both sides."""
SPANS = ("", *(f"?from={instant_text(after(NIGHT_NS, a), 0)}&to={instant_text(after(NIGHT_NS, b), 0)}"
               for a, b in ((250.0, 350.0), (0.0, 250.0))))  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


async def in_hand(city, llr, verdict):
    """An incident that the analyst judged and bob has in hand blindly, between others; its name."""
    city.enrol("bob", "analyst", "supervisor")
    for number, other in enumerate((PUBLISHED, REVIEW, SUPPRESSED)):
        city.tell(f"o{number}", HELD_S + 100.0 * (number - 1.5), llr=other)
    name = city.tell("held", HELD_S, llr=llr)
    await city.act(name, "judge", body={"judgement": verdict})
    city.reviews.disposition(name, "off-1", city.now_ns, Finding("confirmed", officer_minutes=30.0))
    assert (await city.act(name, "claim", "bob")).json["blind"] is not None
    return name


async def figures(city, who):
    """All sums that a reviewer may ask for, and the queue's counts."""
    found = {
        f"{path}{span}": (await city.get(f"{path}{span}", who)).json
        for path in ("/accounting", "/agreement", "/festival")
        for span in SPANS
    }
    queue = (await city.get("/queue", who)).json
    shown = [one for one in queue["waiting"] if one["want"] != "second"]
    return found | {"counts": queue["counts"], "first looks": sorted(one["first"] for one in shown)}


CASES = [
    (PUBLISHED, "gunfire"), (PUBLISHED, "fireworks"), (PUBLISHED, "unsure"), (REVIEW, "gunfire"), (REVIEW, "noise"),
    (SUPPRESSED, "gunfire"), (SUPPRESSED, "vehicle"),
]  # fmt: skip


def test_no_sum_tells_the_second_what_the_first_said_nor_the_machine(tmp_path):
    """The law: whatever both said, and whenever it was, who has it in hand reads the same figures, byte for byte."""
    told, everything = set(), set()
    for number, (llr, verdict) in enumerate(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()

        async def play(city, llr=llr, verdict=verdict):
            name = await in_hand(city, llr, verdict)
            mine = await figures(city, "bob")
            told.add(json.dumps(mine, sort_keys=True))
            assert {mine[each]["held_back"] for each in mine if each.startswith("/")} == {1}
            theirs = await figures(city, "supervisor")
            everything.add(json.dumps(theirs, sort_keys=True))
            assert {theirs[each]["held_back"] for each in theirs if each.startswith("/")} == {0}
            assert theirs["/accounting"]["alerts"] + theirs["/accounting"]["suppressed"] >= 2
            await city.act(name, "opinion", "bob", {"judgement": "other"})
            for path in ("/accounting", "/agreement", "/festival"):
                assert (await city.get(path, "bob")).json == (await city.get(path, "supervisor")).json

        with Store(folder / "record.db") as store:
            played(play, store, folder, rules=ASKED_TWICE)
    assert len(told) == 1
    assert len(everything) == len(CASES)  # else nothing was held back that could have told


def test_who_may_not_hold_it_blindly_is_told_all(store, tmp_path):
    async def play(city):
        name = await in_hand(city, PUBLISHED, "gunfire")
        for who in ("auditor", "researcher", "supervisor"):
            assert (await city.get("/accounting", who)).json["judged"]["count"] == 1
        await city.act(name, "release", "bob")
        assert (await city.get("/accounting", "bob")).json["judged"]["count"] == 1
        # Their own judgement, in their own hands again: nobody is blind to that.
        await city.act(name, "claim", "analyst")
        assert (await city.get("/accounting", "analyst")).json["held_back"] == 0

    played(play, store, tmp_path, rules=ASKED_TWICE)


def test_a_delivery_that_failed_tells_the_second_nothing(record_store, tmp_path):
    async def play(city):
        city.enrol("bob", "supervisor")
        for name in ("a", "b"):
            told = city.tell(name, 100.0 * len(name), routes=[Route("room")])
            letter = city.services.outbox.due("room", city.now_ns)[0]
            while city.services.outbox.settle(letter, Receipt(delivered=False, detail="no"), city.now_ns) != "dead":
                pass
        await city.act(told, "judge", body={"judgement": "gunfire"})
        await city.act(told, "claim", "bob")
        held = city.reviews.head(told).alert_id
        theirs = {one["alert_id"] for one in (await city.get("/deliveries", "supervisor")).json["dead"]}
        mine = {one["alert_id"] for one in (await city.get("/deliveries", "bob")).json["dead"]}
        assert theirs - mine == {held}
        assert len(theirs) == 2

    played(play, record_store, tmp_path, rules=ASKED_TWICE)


# What screens showed


def seen(city, name):
    """What the entry of the second's word says they had seen."""
    entry = list(Reviews(city.store).ledger.entries(about=name, kinds=("opinion",)))[-1]
    said = json.loads(entry.body)
    return said["looked_before"], said["shown_before"]


async def judged(city, name="a", time_s=0.0):
    incident_id = city.tell(name, time_s)
    await city.act(incident_id, "judge", body={"judgement": "vehicle"})
    return incident_id


async def second(city, name, who="bob"):
    assert (await city.act(name, "opinion", who, {"judgement": "vehicle"})).status == 200


@pytest.mark.parametrize("path", ["/incidents", "/alerts", "/alerts?limit=1", "/incidents?outcome=published"])
def test_a_list_that_showed_the_verdict_is_on_record_once(record_store, tmp_path, path):
    async def play(city):
        city.enrol("bob", "analyst")
        early = city.tell("early", -100.0)
        assert (await city.get(path, "bob")).status == 200  # before there was a verdict to be seen
        name = await judged(city)
        for _ in range(3):
            assert "vehicle" in (await city.get(path, "bob")).body.decode()
        await city.act(name, "claim", "bob")
        await city.get(path, "bob")  # while it is withheld
        await second(city, name)
        assert seen(city, name) == (0, 1)
        rows = (await city.get("/access?who=bob&limit=500", "auditor")).json["accesses"]
        assert [row["about"] for row in rows if row["about"] == early] == []
        assert len([row for row in rows if row["about"] == name and row["what"].startswith("GET")]) == 1

    played(play, record_store, tmp_path, rules=ASKED_TWICE)


def test_who_saw_only_the_blind_side_is_on_record_as_that(store, tmp_path):
    async def play(city):
        city.enrol("bob", "analyst")
        name = await judged(city)
        await city.get("/queue", "bob")
        await city.ask("HEAD", "/incidents", "bob")
        await city.get("/incidents?to=2020-01-01T00:00:00Z", "bob")  # it is not in there
        await city.get("/alerts", "researcher")
        await city.get("/incidents", "supervisor")
        await city.act(name, "claim", "bob")
        for path in ("/incidents", "/alerts", f"/incidents/{name}"):
            await city.get(path, "bob")
        async with city.listen("bob", last_event_id="0") as listener:
            await listener.until(lambda me: any(kind == "claim" for _, kind, _ in me.events))
        await second(city, name)
        assert seen(city, name) == (0, 0)
        rows = (await city.get(f"/access?about={name}", "auditor")).json["accesses"]
        assert {row["who"] for row in rows if row["what"].endswith(("/alerts", "/incidents"))} == {"supervisor"}

    played(play, store, tmp_path, rules=ASKED_TWICE)


@pytest.mark.parametrize("when", ["live", "the word alone", "read back", "a later revision"])
def test_an_event_that_showed_the_verdict_is_on_record(record_store, tmp_path, when):
    async def play(city):
        city.enrol("bob", "analyst")
        if when in ("live", "the word alone"):
            async with city.listen("bob", last_event_id="0") as listener, city.listen("researcher") as other:
                name = await judged(city)
                await listener.until(lambda me: any(kind == "opinion" for _, kind, _ in me.events))
                await other.until(lambda me: city.engine is False or "vehicle" in me.text)
        else:
            name = await judged(city)
            entries = [(each.sequence, each.kind) for each in city.reviews.ledger.entries(about=name)]
            last = max(number for number, kind in entries if kind == "opinion") if when != "read back" else 0
            async with city.listen("bob", last_event_id=str(last)) as listener:
                await listener.until(lambda me: "vehicle" in me.text)
        await city.act(name, "claim", "bob")
        await second(city, name)
        assert seen(city, name) == (0, 1)

    # Without an engine no revision of the alert follows the word.
    played(play, record_store, tmp_path, rules=ASKED_TWICE, engine=when != "the word alone")


def test_what_nobody_is_asked_about_again_leaves_no_entries(store, tmp_path):
    async def play(city):
        names = [await judged(city, f"n{number}", 100.0 * number) for number in range(6)]
        await city.get("/incidents")
        rows = (await city.get("/access?limit=500", "auditor")).json["accesses"]
        assert not [row for row in rows if row["about"] in names and row["what"] == "GET /incidents"]

    rules = ReviewRules(second_share=0.0, second_when_overruled=False)
    played(play, store, tmp_path, rules=rules)


def test_a_screen_that_is_open_is_noted_before_the_word_is_written(store, tmp_path):
    """Though the access log gathers for a second: what was seen a moment ago counts."""

    async def play(city):
        city.enrol("bob", "analyst")
        name = await judged(city)
        await city.get(f"/incidents/{name}", "bob")
        await second(city, name)
        assert seen(city, name) == (1, 0)

    played(play, store, tmp_path, rules=ASKED_TWICE)

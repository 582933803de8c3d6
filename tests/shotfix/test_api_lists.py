"""Lists: every incident once, however many come in between; filters that do what they say; each role what it may see."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acoustic.instant import after, instant_text, parse_instant
from alerts.alert import Expected, decode
from alerts.desk import Desk
from alerts.record.store import Store
from alerts.record.tables import incident
from shotfix.api.lists import cursor_of, number_of
from shotfix.api.problems import Problem
from tests.api_city import PUBLISHED, REVIEW, SUPPRESSED, played
from tests.strategies import HARTFORD, NIGHT_NS, fix_at


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


async def pages(city, path, between=lambda: None, who="analyst"):
    """Every page of a list; something happens between them."""
    cursor, found = "", []
    while True:
        answer = await city.get(f"{path}{cursor}", who)
        assert answer.status == 200, answer.body
        rows = answer.json[path.split("?")[0].strip("/")]
        found.append([row["incident_id"] for row in rows])
        following = answer.json["next"]
        if following is None:
            return found
        cursor = f"{'&' if '?' in path else '?'}cursor={following}"
        between()


def test_pages_hold_still_while_incidents_come(record_store, tmp_path):
    async def play(city):
        names = [city.tell(f"n{number}", 100.0 * number) for number in range(11)]
        for path in ("/alerts?limit=3", "/incidents?limit=4"):
            seen = []

            def more(seen=seen, path=path):
                # new ones, also of an earlier hour, and later revisions of those that were listed
                city.tell(f"{path}{len(seen)}", -700.0 * (len(seen) + 1) - len(path))
                seen.append(1)
                with record_store.writing() as connection:
                    connection.execute(incident.update().values(version=incident.c.version + 1))

            told = [name for page in await pages(city, path, more) for name in page]
            assert [name for name in told if name in names] == names[::-1]
            assert len(set(told)) == len(told)
            assert seen

    played(play, record_store, tmp_path)


def test_a_filter_is_what_a_plain_comparison_says(record_store, tmp_path):
    async def play(city):
        llrs = (PUBLISHED, REVIEW, SUPPRESSED)
        for number in range(12):
            city.tell(f"n{number}", 100.0 * number, llr=llrs[number % 3])
        every = (await city.get("/incidents?limit=200")).json["incidents"]
        assert len(every) == 12
        middle = instant_text(after(NIGHT_NS, 450.0), 3)
        for query, keeps in (
            ("outcome=review", lambda row: row["outcome"] == "review"),
            ("status=confirmed", lambda row: row["status"] == "confirmed"),
            ("mode=live", lambda row: True),
            ("mode=exercise", lambda row: False),
            ("beat=7", lambda row: row["beat"] == "7"),
            (f"from={middle}", lambda row: parse_instant(row["first"]) >= parse_instant(middle)),
            (
                f"to={middle}&outcome=published",
                lambda row: row["outcome"] == "published" and parse_instant(row["first"]) < parse_instant(middle),
            ),
            ("bbox=-72.68,41.76,-72.67,41.77", lambda row: row["latitude"] is not None),
            ("bbox=-72.67,41.76,-72.66,41.77", lambda row: False),
            ("bbox=170,-90,-72.6,90", lambda row: row["latitude"] is not None),  # over the 180th meridian
        ):
            for path in ("/incidents", "/alerts"):
                rows = (await city.get(f"{path}?limit=200&{query}")).json[path.strip("/")]
                expected = [row["incident_id"] for row in every if keeps(row)]
                assert [row["incident_id"] for row in rows] == expected, (path, query)

    played(play, record_store, tmp_path)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=x", "limit=1.5", "limit=nan", "from=yesterday", "from=2026-11-21T02:00:00", "to=",
        "outcome=maybe", "status=x", "mode=x", "bbox=1,2,3", "bbox=1,2,3,nan", "bbox=0,50,1,40", "bbox=200,0,201,1",
        "cursor=%%%", "cursor=abc", "cursor=bjE7ZHJvcA", "beat=", "beat=%00", "unknown=1", "limit=1&limit=2",
        "from=2026-11-21T02:00:00Z&from=2026-11-21T02:00:00Z",
    ],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused(store, tmp_path, query):
    async def play(city):
        for path in ("/alerts", "/incidents"):
            assert (await city.get(f"{path}?{query}")).code == "bad-request"

    played(play, store, tmp_path)


@given(st.integers(0, 10**17))
def test_a_cursor_is_its_number(number):
    assert number_of(cursor_of(number)) == number


@given(st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.filter_too_much])
def test_no_other_text_is_a_cursor(text):
    try:
        number = number_of(text)
    except Problem:
        return
    assert number_of(cursor_of(number)) == number


def test_an_alert_comes_as_it_was_kept(record_store, tmp_path):
    async def play(city):
        name = city.tell("a", rounds=3)
        head = city.reviews.head(name)
        last = await city.get(f"/alerts/{head.alert_id}")
        assert last.body == record_store.document(head.alert_id, head.revision)
        first = await city.get(f"/alerts/{head.alert_id}?revision=1")
        assert first.body == record_store.document(head.alert_id, 1)
        every = (await city.get(f"/alerts/{head.alert_id}/revisions")).json["alerts"]
        assert [each["revision"] for each in every] == list(range(1, head.revision + 1))
        for path in (
            "/alerts/nobody",
            f"/alerts/{head.alert_id}?revision=9",
            "/alerts/a%0d%0ab",
            "/alerts/" + "a" * 65,
        ):
            assert (await city.get(path)).code == "unknown", path
        assert (await city.get(f"/alerts/{head.alert_id}?revision=0")).code == "bad-request"

    played(play, record_store, tmp_path)


def test_a_courier_is_told_of_what_was_published(record_store, tmp_path):
    async def play(city):
        told, kept = city.tell("a"), city.tell("b", 100.0, llr=REVIEW)
        alert_id, hidden = (city.reviews.head(name).alert_id for name in (told, kept))
        assert [row["incident_id"] for row in (await city.get("/alerts", "courier")).json["alerts"]] == [told]
        assert (await city.get(f"/alerts/{hidden}", "courier")).code == "unknown"
        assert (await city.get(f"/alerts/{hidden}/revisions", "courier")).code == "unknown"
        await city.act(kept, "judge", body={"judgement": "gunfire", "note": "a name in it"})
        # Published from the second revision on: of the first, of the doubt, it hears nothing.
        assert (await city.get(f"/alerts/{hidden}", "courier")).json["revision"] == 2
        assert (await city.get(f"/alerts/{hidden}?revision=1", "courier")).code == "unknown"
        revisions = (await city.get(f"/alerts/{hidden}/revisions", "courier")).json["alerts"]
        assert [each["revision"] for each in revisions] == [2]
        assert (await city.get(f"/alerts/{alert_id}", "courier")).status == 200

    played(play, record_store, tmp_path)


def test_who_reviewed_is_nobodys_business_outside(store, tmp_path):
    async def play(city):
        name = city.tell("a")
        await city.act(name, "judge", body={"judgement": "fireworks", "note": "J. Doe saw it"})
        alert_id = city.reviews.head(name).alert_id
        for path in (f"/alerts/{alert_id}", f"/alerts/{alert_id}/revisions", "/alerts"):
            inside = (await city.get(path, "auditor")).body.decode()
            assert "J. Doe" in inside
            assert '"by":"analyst"' in inside
            for who in ("researcher", "courier"):
                outside = (await city.get(path, who)).body.decode()
                assert "J. Doe" not in outside
                assert '"by":"analyst"' not in outside
                assert '"by":"withheld"' in outside
        assert decode(json.dumps((await city.get(f"/alerts/{alert_id}", "researcher")).json)).review.by == "withheld"

    played(play, store, tmp_path)


def test_a_history_is_bounded_and_can_be_read_on(store, tmp_path, monkeypatch):
    monkeypatch.setattr("shotfix.api.alert_routes.HISTORY", 5)

    async def play(city):
        name = city.tell("a")
        for number in range(9):
            await city.act(name, "note", body={"text": f"note {number}"})
        whole = (await city.get(f"/incidents/{name}")).json
        assert [entry["body"]["text"] for entry in whole["history"]] == [f"note {number}" for number in range(4, 9)]
        assert whole["earlier"] == 5
        later = (await city.get(f"/incidents/{name}?after={whole['history'][2]['sequence']}")).json
        assert [entry["body"]["text"] for entry in later["history"]] == ["note 7", "note 8"]
        assert later["earlier"] == 0

    played(play, store, tmp_path)


def test_festival_counts_by_what_was_expected(store, tmp_path):
    async def play(city):
        event = Expected("Riverfest", "fireworks", 120.0, -2.0, over_budget=True)
        for number in range(3):
            (alert,) = Desk().receive(fix_at(f"n{number}", 100.0 * number, frame=HARTFORD))
            if number:
                alert = dataclasses.replace(alert, what=dataclasses.replace(alert.what, expected=(event,)))
            city.store.keep([alert], [], NIGHT_NS)
        said = (await city.get("/festival")).json
        assert said["events"] == [
            {"name": "Riverfest", "kind": "fireworks", "published": 2, "review": 0, "suppressed": 0, "over_budget": 2}
        ]
        assert (said["unexpected"]["published"], said["incidents"], said["read"]) == (1, 3, 3)
        assert (await city.get("/festival?mode=exercise")).json["incidents"] == 0

    played(play, store, tmp_path)

"""Over the API: what is said of an incident that the machine has made part of another is answered with that one."""

from __future__ import annotations

from alerts.record.store import Store
from tests.api_city import PUBLISHED, played
from tests.review_nights import minutes
from tests.strategies import HARTFORD, fix_at


def told(city, *shots):
    said = [alert for shot in shots for alert in city.desk.receive(shot)] + list(city.desk.tick(minutes(1)))
    city.store.keep(said, [], minutes(1))
    return said


def test_the_answer_the_entry_and_the_access_log_are_of_the_one_that_took_it_in(tmp_path):
    async def play(city):
        bangs = [fix_at(name, at_s, east_m, llr=PUBLISHED, frame=HARTFORD)
                 for name, at_s, east_m in (("a", 0.0, 0.0), ("b", 0.5, 100.0), ("c", 1.0, 50.0))]  # fmt: skip
        first, other = (alert.incident_id for alert in told(city, *bangs[:2])[:2])
        told(city, bangs[2])
        assert city.reviews.head(other).merged_into == first
        for kind, column in (("claim", "claimed_by"), ("acknowledge", "acknowledged_by")):
            done = await city.ask("POST", f"/incidents/{other}/{kind}", body={})
            assert (done.status, done.json["incident"]["incident_id"]) == (200, first)
            assert done.json["incident"][column] == "analyst"
            assert done.headers["etag"] == f'"{city.reviews.head(first).version}"'
        assert city.reviews.head(other).acknowledged_by is None
        seen = (await city.get("/access", "auditor")).json["accesses"]
        assert [one["about"] for one in seen if one["what"].startswith("POST")] == [first, first]

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path)

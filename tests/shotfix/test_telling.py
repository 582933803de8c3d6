"""What a centre is told of its city beside the register: places, calendar, links; and that its journal has it too."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from acoustic.instant import SECOND, parse_instant
from alerts.calendar_event import ExpectedEvent
from alerts.places.importing import import_places
from shotfix.almanac import calendar_of
from shotfix.charter import Charter, CharterError
from shotfix.config import (
    ExpectedConfig,
    GazetteerConfig,
    ListenConfig,
    OriginConfig,
    PlaceConfig,
    SiteConfig,
    SiteIdentity,
)
from shotfix.journal import read_journal
from tests.cities import small_city
from tests.shotfix.test_engine import opened, settle

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//a city//calendar//EN
BEGIN:VEVENT
UID:river
SUMMARY:Riverfront fireworks
CATEGORIES:FIREWORKS
DTSTART:20260704T210000
DTEND:20260704T213000
GEO:41.7658;-72.6734
X-SHOTFIX-RADIUS-M:400
END:VEVENT
END:VCALENDAR
"""
NOON_NS = parse_instant("2026-07-04T12:00:00Z")


@pytest.fixture
def config(tmp_path):
    (tmp_path / "events.ics").write_text(CALENDAR.replace("\n", "\r\n"))
    (tmp_path / "doors.csv").write_text("LON,LAT,NUMBER,STREET\n-72.6734,41.7658,9,ELM ST\n")
    import_places([tmp_path / "doors.csv"], tmp_path / "places.db")
    return SiteConfig(
        SiteIdentity("Harbour", tmp_path / "data", time_zone="America/New_York"),
        tmp_path / "network.toml",
        listen=ListenConfig(public_url="https://centre.example.org/"),
        place=PlaceConfig(origin=OriginConfig(41.7658, -72.6734)),
        gazetteer=GazetteerConfig(tmp_path / "places.db"),
        expected=ExpectedConfig(calendar_file=tmp_path / "events.ics", hours=tuple(float(k + 1) for k in range(24))),
    )


def test_the_calendar_is_read_in_the_zone_of_the_site(config):
    (event,) = calendar_of(config, NOON_NS)
    assert event.start_ns == parse_instant("2026-07-05T01:00:00Z")
    assert (event.name, event.kind, event.radius_m) == ("Riverfront fireworks", "fireworks", 400.0)
    assert calendar_of(config, NOON_NS + 3600 * SECOND) == (event,)  # the same all day: no entry of the journal
    assert calendar_of(config, NOON_NS + 10 * 86_400 * SECOND) == ()


def test_what_the_calendar_leaves_out_is_told(config, tmp_path):
    meeting = "BEGIN:VEVENT\nUID:m\nCATEGORIES:MEETING\nDTSTART:20260704T210000\nEND:VEVENT\nEND:VCALENDAR"
    (tmp_path / "events.ics").write_text(CALENDAR.replace("END:VCALENDAR", meeting).replace("\n", "\r\n"))
    said = []
    assert len(calendar_of(config, NOON_NS, said.append)) == 1
    days = "from 2 days ago to 30 days ahead"
    left_out = "1 event; left out: 1 without a category that bangs"
    assert said == [f"the calendar {tmp_path / 'events.ics'} {days}: {left_out}"]


def test_a_charter_brings_places_hours_and_links_to_the_core(config):
    charter = Charter.of(config)
    again = Charter.decode(charter.encode())
    assert again == charter
    assert charter.audio_url == "https://centre.example.org/api/v1/audio/"
    core = again.core(small_city(sensors=6, seconds=2.0).registry)
    assert (
        core.machines.expectation.fingerprint()
        != Charter.of(_plain(config))
        .core(small_city(sensors=6, seconds=2.0).registry)
        .machines.expectation.fingerprint()
    )
    kept = pickle.loads(pickle.dumps(core))  # noqa: S301  (ours)
    assert kept.machines.desk is not None


def test_another_file_of_places_is_another_charter_and_refused_in_its_place(config, tmp_path):
    charter = Charter.of(config)
    (tmp_path / "more.csv").write_text("LON,LAT,NUMBER,STREET\n-72.6734,41.7658,11,ELM ST\n")
    import_places([tmp_path / "more.csv"], tmp_path / "places.db", force=True)
    assert Charter.of(config).stamp != charter.stamp
    with pytest.raises(CharterError, match=r"places\.db"):
        charter.core(small_city(sensors=6, seconds=2.0).registry)


def test_a_calendar_enters_the_journal_once_and_comes_back_with_it(tmp_path):
    city = small_city(sensors=6, seconds=2.0)
    events = (ExpectedEvent("parade", "parade", NOON_NS, NOON_NS + 3600 * SECOND),)
    with opened(city, tmp_path) as engine:
        engine.expect(events)
        settle(engine)
        engine.expect(events)
        settle(engine)
        assert engine.core.events == events
        assert engine.core.machines.expectation.events == events
    kinds = [entry.kind for entry in read_journal(tmp_path / "journal")]
    assert kinds.count("calendar") == 1
    with opened(city, tmp_path) as engine:
        assert engine.core.events == events
        engine.expect(())
        settle(engine)
        assert engine.core.machines.expectation.events == ()


def _plain(config):
    return dataclasses.replace(config, expected=ExpectedConfig())

"""What a dispatcher reads."""

from __future__ import annotations

import dataclasses
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import after
from alerts.act import Act
from alerts.alert import Expected
from alerts.desk import Desk
from alerts.place import Address, Intersection
from alerts.words import HOW_SURE, lines, plain, radio_line, text
from tests.strategies import HARTFORD, NIGHT_NS, fix_at, unfixed_at


def last_of(*shots, **setting):
    desk = Desk(**setting)
    said = [alert for shot in shots for alert in desk.receive(shot)]
    return [*said, *desk.tick(after(NIGHT_NS, 3600.0))][-1]


def test_a_burst_reads_like_this():
    burst = [fix_at(f"r{k}", 0.1 * k, 2.0 * k, frame=HARTFORD, silent=("s9",)) for k in range(5)]
    alert = last_of(*burst, mode="replay")
    assert text(alert).splitlines() == [
        "REPLAY - GUNFIRE, FULL-AUTOMATIC (complete)",
        "Where:    41.76580 N, 72.67340 W (USNG 18T XM 9339 2639)",
        "          within 11 m (95 in 100)",
        "When:     2026-11-21 02:14:07.412 UTC, give or take 4 ms; last round 0.40 s later",
        "How sure: gunfire is virtually certain (over 99.9 %; 17 % before it was heard)",
        "Rounds:   5, one every 0.10 s",
        "Heard by: 4 sensors of 5 near enough; 4 placed it",
        f"Alert:    {alert.alert_id}, revision 3 (complete)",
    ]


@pytest.mark.parametrize(
    ("shot", "sentence"),
    [
        (fix_at("a", inside_hull=False), "direction is surer than distance"),
        (fix_at("a", other=(0.4, 200.0, 0.0)), "More than one place"),
        (fix_at("a", other=(0.4, 200.0, 0.0)), "Or at 200.0 m east, 0.0 m north in local, 40 in 100."),
        (fix_at("a", sensors=("s1", "s2", "s3")), "Only 3 sensors placed it"),
        (unfixed_at("a", llr=9.0), "It could not be placed: too few sensors."),
        (fix_at("a", llr=-9.0), "Not published: probability of gunfire"),
    ],
)
def test_each_doubt_has_its_sentence(shot, sentence):
    assert any(sentence in line for line in lines(last_of(shot)) if line.startswith("Caution:"))


def test_a_sure_alert_has_no_caution():
    assert not any(line.startswith("Caution:") for line in lines(last_of(fix_at("a"))))


def test_a_cancelled_alert_says_so_first():
    assert lines(last_of(fix_at("a"), fix_at("a", llr=-9.0, revision=2)))[0].startswith("CANCELLED")


def test_an_address_comes_after_the_coordinates_with_its_distance():
    alert = last_of(fix_at("a", frame=HARTFORD))
    place = dataclasses.replace(alert.place, address=Address("104 Main St", 9.6, 47.0))
    where = lines(dataclasses.replace(alert, place=place))[1]
    assert where.endswith("; 10 m north-east of 104 Main St")


def test_a_long_region_is_told_by_its_direction():
    alert = last_of(fix_at("a"))
    ellipse = dataclasses.replace(alert.place.ellipse, semi_major_m=80.0, semi_minor_m=8.0, azimuth_deg=47.0)
    place = dataclasses.replace(alert.place, ellipse=ellipse)
    said = lines(dataclasses.replace(alert, place=place))[2]
    assert "within 80 m to the north-east or south-west, 8.0 m across (95 in 100)" in said


@given(st.text(max_size=80))
def test_nothing_in_a_name_can_move_a_cursor_or_begin_a_line(words):
    said = plain(words)
    assert said.isascii()
    assert said.isprintable()
    alert = last_of(fix_at("a"))
    place = dataclasses.replace(alert.place, frame=words or "x")
    assert all(line.isascii() and line.isprintable() for line in lines(dataclasses.replace(alert, place=place)))


def test_the_scale_of_words_covers_every_probability():
    assert HOW_SURE[-1][0] == 0.0
    assert [least for least, _ in HOW_SURE] == sorted((least for least, _ in HOW_SURE), reverse=True)


def in_the_park(alert):
    """The alert in a large park, whose nearest street address lies across the pond."""
    place = dataclasses.replace(
        alert.place,
        address=Address("104 Main St", 209.6, 47.0),
        intersection=Intersection("Main St at Elm St", 248.0, 91.0),
        beat="12",
        large_parcel=True,
        parcel="Riverside Park",
    )
    return dataclasses.replace(alert, place=place)


def test_a_park_has_no_single_address_and_its_own_is_never_the_headline():
    said = lines(in_the_park(last_of(fix_at("a", frame=HARTFORD))))
    assert said[1].endswith("; in Riverside Park (large; no single address)")
    assert "Main St" not in said[1]
    assert said[2:4] == (
        "          210 m north-east of 104 Main St, the nearest street address",
        "          248 m east of Main St at Elm St (intersection); beat 12",
    )


def test_one_line_for_the_radio():
    burst = [fix_at(f"r{k}", 0.4 * k, frame=HARTFORD, llr=1.4, sigma_m=11.0) for k in range(4)]
    alert = last_of(*burst)
    assert radio_line(alert) == "FOR REVIEW, USNG 18T XM 9339 2639, 4 rounds, 57.4 %, within 30 m, 02:14:07 UTC"
    place = dataclasses.replace(alert.place, address=Address("104 Main St", 9.6, 47.0))
    assert "10 m north-east of 104 Main St, 4 rounds" in radio_line(dataclasses.replace(alert, place=place))
    park = radio_line(in_the_park(alert))
    assert "in Riverside Park, 248 m east of Main St at Elm St, 4 rounds" in park
    assert "104" not in park
    assert radio_line(last_of(unfixed_at("a", llr=9.0))).startswith("FOR REVIEW, place unknown, 1 round, ")
    gone = radio_line(last_of(fix_at("a"), fix_at("a", llr=-9.0, revision=2)))
    assert gone.startswith("CANCELLED: it was probably not gunfire, 0.0 m east, 0.0 m north in local, alert a")


def test_the_word_confirmed_is_kept_for_people():
    for alert in (Desk().receive(fix_at("a"))[0], last_of(fix_at("a"))):
        assert "confirmed" not in text(alert)


@pytest.mark.parametrize(
    ("zone", "when", "spoken"),
    [
        ("UTC", "2026-11-21 02:14:07.412 UTC,", "02:14:07 UTC"),
        ("Europe/London", "2026-11-21 02:14:07.412 UTC,", "02:14:07 UTC"),
        ("America/New_York", "2026-11-20 21:14:07.412 EST (02:14:07 UTC),", "21:14:07 EST (02:14:07 UTC)"),
        ("Asia/Kathmandu", "2026-11-21 07:59:07.412 +0545 (02:14:07 UTC),", "07:59:07 +0545 (02:14:07 UTC)"),
    ],
)
def test_the_time_is_that_of_the_clock_on_the_wall(zone, when, spoken):
    alert = last_of(fix_at("a", frame=HARTFORD))
    assert f"When:     {when}" in text(alert, ZoneInfo(zone))
    assert radio_line(alert, ZoneInfo(zone)).endswith(f", {spoken}")


@pytest.mark.parametrize("first", ["2026-10-31T23:59:59.700Z", "2026-10-31T23:59:59.999600Z"])
def test_both_clocks_show_the_same_second(first):
    alert = last_of(fix_at("a", frame=HARTFORD))
    alert = dataclasses.replace(
        alert, discharge_time=dataclasses.replace(alert.discharge_time, first=first, last=first)
    )
    zone = ZoneInfo("America/New_York")
    assert radio_line(alert, zone).endswith("20:00:00 EDT (00:00:00 UTC)")
    said = "19:59:59.700 EDT (23:59:59 UTC)" if ".700" in first else "20:00:00.000 EDT (00:00:00 UTC)"
    assert f"When:     2026-10-31 {said}" in text(alert, zone)


def test_what_was_surer_when_it_was_published_says_so():
    said = lines(last_of(fix_at("a", llr=4.0), fix_at("a", llr=1.4, revision=2)))
    assert said[0] == "GUNFIRE (complete)"
    (caution,) = [line for line in said if line.startswith("Caution:")]
    assert caution == (
        "Caution:  It was surer when it was published; by now: probability of gunfire 0.448, below 0.8, "
        "from which it is published."
    )


@pytest.mark.parametrize("azimuth_deg", [0.0, 22.0, 158.0, 179.9])
def test_a_direction_and_its_opposite_have_one_name(azimuth_deg):
    alert = last_of(fix_at("a"))
    ellipse = dataclasses.replace(alert.place.ellipse, semi_major_m=80.0, semi_minor_m=8.0, azimuth_deg=azimuth_deg)
    place = dataclasses.replace(alert.place, ellipse=ellipse)
    assert "to the north or south" in lines(dataclasses.replace(alert, place=place))[2]


@pytest.mark.parametrize(("p", "said"), [(0.9894, "extremely likely (98.9 %"), (0.9896, "virtually certain (99 %")])
def test_the_words_fit_the_figure_that_is_shown(p, said):
    alert = last_of(fix_at("a"))
    what = dataclasses.replace(alert.what, p_gunshot=p, probabilities={"gunshot": p, "other": 1.0 - p})
    assert said in text(dataclasses.replace(alert, what=what))


def test_a_wide_region_has_things_around_it_and_no_distances():
    alert = last_of(*(fix_at(f"r{k}", 0.1 * k, frame=HARTFORD) for k in range(5)))
    address, corner = Address("104 Main St", 9.6, 47.0), Intersection("Main St at Elm St", 24.0, 91.0)
    place = dataclasses.replace(alert.place, address=address, intersection=corner)
    wide = dataclasses.replace(place, ellipse=dataclasses.replace(place.ellipse, semi_major_m=2040.0))
    assert "10 m north-east of 104 Main St" in text(dataclasses.replace(alert, place=place))
    said = dataclasses.replace(alert, place=wide)
    assert "; around 104 Main St" in lines(said)[1]
    assert "around Main St at Elm St (intersection)" in lines(said)[2]
    assert radio_line(said).startswith(
        "GUNFIRE, FULL-AUTOMATIC, around 104 Main St, 5 rounds, over 99.9 %, within 2040 m"
    )


def by_a_person(shot, kind="judge", **what):
    desk = Desk()
    said = [*desk.receive(shot), *desk.tick(after(NIGHT_NS, 60.0))]
    about = {"alert_id": said[-1].alert_id, "incident_id": said[-1].incident_id, "by": "ann", "at_ns": NIGHT_NS}
    return desk.act(Act("h1", kind, **about, **what))[-1]


def test_a_persons_word_is_told_with_the_machines_beside_it():
    alert = by_a_person(fix_at("a", llr=1.0), judgement="gunfire", note="two clear reports")
    said = lines(alert)
    assert said[0] == "GUNFIRE (confirmed by a person)"
    assert said[5:7] == (
        "Person:   Confirmed by a person as gunfire (ann, 2026-11-21 02:14:07 UTC); the machine alone: for review",
        "Person:   note: two clear reports",
    )
    assert radio_line(alert).endswith("confirmed by a person")
    assert "%" not in radio_line(alert), "the machine's figure would contradict"


@pytest.mark.parametrize(
    ("llr", "judgement", "title"),
    [
        (6.0, "fireworks", "CANCELLED: a person says that it was fireworks"),
        (6.0, "construction", "CANCELLED: a person says that it was building work"),
        (1.0, "vehicle", "NOT PUBLISHED (complete)"),
        (6.0, "unsure", "GUNFIRE (complete)"),
    ],
)
def test_a_persons_no_is_the_headline(llr, judgement, title):
    said = lines(by_a_person(fix_at("a", llr=llr), judgement=judgement))
    assert said[0] == title
    assert not any(line.startswith("Caution:  Not published") for line in said)


def test_a_place_by_hand_names_the_sensors_own():
    said = lines(by_a_person(fix_at("a", frame=HARTFORD), "place", latitude=41.77, longitude=-72.67, radius_m=25.0))
    assert said[1].startswith("Where:    41.77000 N, 72.67000 W")
    assert said[2:4] == (
        "          within 25 m (95 in 100)",
        "          placed by hand; the sensors had it at 41.76580 N, 72.67340 W",
    )
    said = lines(by_a_person(unfixed_at("a", llr=9.0), "place", latitude=41.77, longitude=-72.67, radius_m=25.0))
    assert said[3] == "          placed by hand; the sensors had no place"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Expected("Riverfront", "fireworks", 200.4, -1.5), "200 m from permitted fireworks: Riverfront"),
        (Expected("Riverfront", "fireworks", 0.0, -1.5), "inside permitted fireworks: Riverfront"),
        (Expected("Fourth of July", "other", None, -1.0), "an expected event in the city: Fourth of July"),
        (Expected("Parade", "parade", 30.0, -1.0, True), "30 m from a parade: Parade"),
    ],
)
def test_what_the_calendar_expected_is_told(event, said):
    alert = last_of(fix_at("a"))
    what = dataclasses.replace(alert.what, expected=(event,))
    (line,) = (line for line in lines(dataclasses.replace(alert, what=what)) if line.startswith("Expected:"))
    assert line.startswith(f"Expected: {said}")


@given(st.text(min_size=1, max_size=300))
def test_nothing_that_people_or_files_write_can_begin_a_line(words):
    alert = in_the_park(by_a_person(fix_at("a", frame=HARTFORD), judgement="gunfire", note=words))
    place = dataclasses.replace(alert.place, parcel=words, beat=words, address=Address(words, 5.0, 0.0))
    what = dataclasses.replace(alert.what, expected=(Expected(words, "other", None, 0.0),))
    alert = dataclasses.replace(alert, place=place, what=what)
    for line in (*lines(alert), radio_line(alert)):
        assert line.isascii()
        assert line.isprintable()
    assert len(lines(alert)) == len(lines(dataclasses.replace(alert, what=what)))

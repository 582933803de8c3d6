"""What a dispatcher reads."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import after
from alerts.desk import Desk
from alerts.place import Address
from alerts.words import HOW_SURE, lines, plain, text
from tests.strategies import HARTFORD, NIGHT_NS, fix_at, unfixed_at


def last_of(*shots, **setting):
    desk = Desk(**setting)
    said = [alert for shot in shots for alert in desk.receive(shot)]
    return [*said, *desk.tick(after(NIGHT_NS, 3600.0))][-1]


def test_a_burst_reads_like_this():
    burst = [fix_at(f"r{k}", 0.1 * k, 2.0 * k, frame=HARTFORD, silent=("s9",)) for k in range(5)]
    alert = last_of(*burst, mode="replay")
    assert text(alert).splitlines() == [
        "REPLAY - GUNFIRE, FULL-AUTOMATIC (confirmed)",
        "Where:    41.76580 N, 72.67340 W (USNG 18T XM 9339 2639)",
        "          within 11 m (95 in 100)",
        "When:     2026-11-21 02:14:07.412 UTC, give or take 4 ms; last round 0.40 s later",
        "How sure: gunfire is virtually certain (over 99.9 %; 17 % before it was heard)",
        "Rounds:   5, one every 0.10 s",
        "Heard by: 4 sensors of 5 near enough; 4 placed it",
        f"Alert:    {alert.alert_id}, revision 3 (closed)",
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

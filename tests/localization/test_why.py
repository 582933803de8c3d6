"""Why there was no alert: every way in which a bang can fail to become one is told apart from the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import after, seconds_between
from localization.ellipse import Ellipse
from localization.frame import Frame
from localization.study.hearing import Ear
from localization.study.scene import Scene
from localization.study.score import Place, Shot
from localization.study.testimony import EARLY_S, Sound, Street
from localization.study.why import Question, why
from tests import streets

CITY = streets.square()
EVER = {site.sensor_id: [(None, None)] for site in CITY.sites}
HERE = (60.0, -80.0)
AT_NS = after(streets.START_NS, 3.0)


def scene(network=CITY, **more):
    return Scene("town", streets.START_NS, streets.STILL, Frame(), network, streets.SOURCE_UP_M, 1.0, **more)


def heard(place=HERE, time_s=3.0, *, by="ABCDEFGH", network=CITY, llr=2.0, of="", weight=1.0, late_s=None):
    """What these sensors report of a bang, laid to a shot or to none."""
    return [
        Sound(d.pulse_id, d.sensor_id, d.pick.onset_ns, d.llr, ((of, weight),) if of else ())
        for d in streets.bang(network, place, time_s, llr=llr, late_s=late_s)
        if d.sensor_id in by
    ]


def shot(name="s1", place=HERE, time_s=3.0, *, outcome="published", semi_major_m=5.0, others=()):
    places = [place, *others] if place else []
    ellipse = Ellipse(semi_major_m, semi_major_m, 0.0)
    variance = semi_major_m**2 / 5.991
    return Shot(
        shot_id=name,
        time_ns=after(streets.START_NS, time_s),
        sound="gunshot",
        places=tuple(Place(*each, ellipse, (variance, 0.0, variance)) for each in places),
        incident_id=f"i-{name}",
        outcome=outcome,
    )


def asked(place=HERE, time_s=3.0, **bounds):
    return Question(after(streets.START_NS, time_s), *place, **bounds)


# placed


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        ("published", "alerted"),
        ("review", "in-review"),
        ("suppressed", "suppressed"),
        ("cancelled", "cancelled"),
        ("", "stored"),
    ],
)
def test_what_became_of_a_placed_bang(outcome, verdict):
    told = why(asked((80.0, -60.0), 3.4), scene(), [shot(outcome=outcome)], heard(of="s1"), EVER)
    assert told.verdict == verdict
    assert told.shot.shot_id == "s1"
    assert (told.origin, told.time_ns) == (HERE, AT_NS)
    assert {witness.became for witness in told.witnesses} == {"used"}
    assert max(abs(witness.later_s) for witness in told.witnesses) < 1e-4
    assert told.near[0].distance_m == pytest.approx(math.hypot(20.0, 20.0))
    assert told.near[0].later_s == pytest.approx(-0.4)


def test_the_nearest_of_a_burst():
    burst = [shot(f"s{k}", time_s=2.6 + 0.2 * k) for k in range(5)]
    told = why(asked(time_s=3.04), scene(), burst, [], EVER)
    assert told.shot.shot_id == "s2"
    assert [near.shot.shot_id for near in told.near] == ["s2", "s3", "s1", "s4", "s0"]


def test_a_place_in_its_region_and_a_place_it_might_be():
    wide = shot(semi_major_m=200.0)
    assert why(asked((200.0, -80.0)), scene(), [wide], [], EVER).verdict == "alerted"
    double = shot(others=[(-300.0, 200.0)])
    told = why(asked((-290.0, 200.0)), scene(), [double], [], EVER)
    assert told.verdict == "alerted"
    assert told.origin == (-300.0, 200.0)


def test_pulses_of_a_placed_bang_that_were_not_its_direct_sound():
    sounds = heard(of="s1", by="ABCDEF") + heard(of="s1", weight=0.1, by="GH", late_s={"G": 0.2, "H": 0.3})
    told = why(asked(), scene(), [shot()], sounds, EVER)
    assert {w.sensor_id for w in told.witnesses if w.became == "not-direct"} == {"G", "H"}


# not placed


def test_laid_to_another_bang():
    elsewhere = shot("s9", (-150.0, 60.0))
    sounds = heard((-150.0, 60.0), of="s9")
    told = why(asked((0.0, 0.0), 3.0, within_m=80.0), scene(), [elsewhere], sounds, EVER)
    assert told.verdict == "fixed-elsewhere"
    assert told.shot.shot_id == "s9"
    assert sum(w.became == "other-shot" and w.of_shot == "s9" for w in told.witnesses) >= 4


def test_heard_and_unplaced():
    unplaced = shot("u1", None, 3.4, outcome="suppressed")
    sounds = heard(of="u1", by="AB")
    told = why(asked(), scene(), [unplaced], sounds, EVER)
    assert told.verdict == "unplaced"
    assert told.shot.shot_id == "u1"
    assert {w.became for w in told.witnesses if w.sound} == {"used"}


def test_heard_by_enough_and_taken_for_nothing():
    """The place and time are found within the bounds, wherever in them they are."""
    told = why(asked((85.0, -80.0), 2.3), scene(), [], heard(), EVER)
    assert told.verdict == "unexplained"
    assert len(told.fitting) == 8
    assert math.dist(told.origin, HERE) < 15.0
    assert seconds_between(AT_NS, told.time_ns) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("by", ["", "A", "AC", "ACE"])
def test_too_few_heard(by):
    told = why(asked(), scene(), [], heard(by=by), EVER)
    assert told.verdict == "too-few-heard"
    assert {witness.sensor_id for witness in told.fitting} == set(by)


def test_nobody_listened():
    deaf = {name: [(None, after(streets.START_NS, 2.0)), (after(streets.START_NS, 9.0), None)] for name in "ABCDEF"}
    told = why(asked(), scene(), [], [], EVER | deaf)
    assert told.verdict == "not-listening"
    assert {w.sensor_id for w in told.witnesses if w.listening} == {"G", "H"}
    assert why(asked(), scene(), [], [], {}).verdict == "not-listening"


def test_out_of_earshot():
    assert why(asked((9_000.0, 0.0)), scene(), [], [], EVER).verdict == "outside-coverage"
    loud = dict.fromkeys("ABCDEF", 90.0)
    assert why(asked(), scene(noise_floors_db_spl=loud), [], [], EVER).verdict == "outside-coverage"
    # Where quiet sensors are known to be quiet, they reach farther.
    quiet = dict.fromkeys("ABCDEFGH", 35.0)
    assert why(asked((1_800.0, 0.0)), scene(), [], [], EVER).verdict == "outside-coverage"
    assert why(asked((1_800.0, 0.0)), scene(noise_floors_db_spl=quiet), [], [], EVER).verdict == "too-few-heard"


def test_echoes_and_weak_ones_are_told_apart():
    before = shot("s0", (-100.0, 100.0), 2.0)
    sounds = heard((-100.0, 100.0), 2.0, of="s0") + heard(by="AB") + heard(by="C", llr=-3.0)
    told = why(asked(time_s=3.0, within_s=0.1), scene(), [before], sounds, EVER)
    became = {w.sensor_id: w.became for w in told.witnesses if w.sound}
    # 1.0 s after the first bang its street still rings; with nothing before it, the same pulses are free.
    assert {became[name] for name in "ABC"} == {"echo"}
    alone = why(asked(time_s=3.0, within_s=0.1), scene(), [], sounds, EVER)
    became = {w.sensor_id: w.became for w in alone.witnesses if w.sound}
    assert (became["A"], became["B"], became["C"]) == ("unexplained", "unexplained", "unlike-a-shot")


def test_the_expectation_is_what_the_street_does():
    """Arrivals to the tenth of a millisecond, through the wind; levels as usual shots have them."""
    told = why(asked(time_s=3.0), scene(), [shot()], heard(of="s1"), EVER)
    for witness in told.witnesses:
        assert witness.later_s == pytest.approx(0.0, abs=1e-4)
        assert witness.level_db_spl == pytest.approx(147.5 - 24.2 * math.log10(witness.distance_m), abs=0.1)
    assert [w.distance_m for w in told.witnesses] == sorted(w.distance_m for w in told.witnesses)


@given(st.lists(st.tuples(st.sampled_from("ABCDEFGH"), st.floats(1.0, 6.0)), max_size=25), st.floats(0.1, 2.0))
@settings(max_examples=60)
def test_agreement_as_counted_by_hand(pulses, within_s):
    sounds = [Sound(f"p{k}", name, after(streets.START_NS, t), 1.0) for k, (name, t) in enumerate(pulses)]
    street = Street(scene(), [], sounds, EVER, Ear())
    agree, later_s = street.agreement(HERE, AT_NS, within_s)
    travel = street._paths(*HERE)[1]
    names = [site.sensor_id for site in CITY.sites]
    starts = [(seconds_between(AT_NS, s.time_ns) - travel[names.index(s.sensor_id)], s.sensor_id) for s in sounds]
    by_hand = [
        len({name for other, name in starts if abs(other - start) <= EARLY_S}) for start, _ in starts if abs(start) <= within_s
    ]  # fmt: skip
    # To a nanosecond, in which instants are kept.
    assert abs(agree - max(by_hand, default=0)) <= any(
        abs(abs(a - b) - EARLY_S) < 1e-8 for a, _ in starts for b, _ in starts
    )
    assert abs(later_s) <= within_s


@pytest.mark.parametrize("wrong", [{"within_m": 0.0}, {"within_s": -1.0}, {"within_s": math.nan}, {"east_m": math.inf}])
def test_what_is_no_question(wrong):
    with pytest.raises(ValueError):
        Question(**({"time_ns": AT_NS, "east_m": 0.0, "north_m": 0.0} | wrong))


def test_noise_alone_is_no_bang():
    """Chance agreement of three is common in a noisy street; it is never called a bang."""
    noise = streets.noise(CITY, 0.3, 10.0, seed=3)
    sounds = [Sound(d.pulse_id, d.sensor_id, d.pick.onset_ns, d.llr) for d in noise]
    rng = np.random.default_rng(0)
    verdicts = [
        why(asked((float(x), float(y)), float(t)), scene(), [], sounds, EVER).verdict
        for x, y, t in zip(rng.uniform(-200, 200, 40), rng.uniform(-200, 200, 40), rng.uniform(2, 8, 40), strict=True)
    ]
    assert set(verdicts) <= {"too-few-heard", "unexplained"}
    assert verdicts.count("too-few-heard") > verdicts.count("unexplained")

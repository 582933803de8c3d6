"""How well people agree: against textbooks, against a simulation, and on what was recorded."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.act import JUDGEMENTS
from alerts.record.store import Store
from alerts.review.agreement import report
from alerts.review.kappa import agreement, cohen
from alerts.review.reviewed import reviewed
from alerts.review.reviews import ReviewRules, Reviews
from localization.study.intervals import Z
from tests.review_nights import REVIEW_LLR, SUPPRESSED_LLR, apply, minutes, tell

GRANTS = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
"""Fifty grant proposals, two readers: the example of the encyclopaedias. Agreement .7, by chance .5, kappa .4."""

PUBLISHED = {
    "SAS": ([[0, 4, 1], [0, 8, 0], [0, 1, 5]], (0.4842, 0.1380, 0.2137, 0.7547), 6e-5),
    "Fleiss and Paik": ([[31, 12], [4, 58]], (0.6756757, 0.07344761, 0.5317210, 0.8196303), 6e-8),
    "Winnipeg": ([[38, 5, 0, 1], [33, 11, 3, 0], [10, 14, 5, 6], [3, 7, 3, 10]], (0.2079, 0.05046), 6e-5),
    "New Orleans": ([[5, 3, 0, 0], [3, 11, 4, 0], [2, 13, 3, 4], [1, 2, 4, 14]], (0.2965, 0.07850), 6e-5),
    "couples": (
        [[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]],
        (0.1293, 0.06860, -0.005120399, 0.2637809), 6e-5,
    ),
}  # fmt: skip
"""Tables of two raters; kappa, its standard error and 95 % limits for large samples as others' programs print them; how
far their last digit may be off.

- SAS: the printout of PROC FREQ (AGREE) to which statsmodels holds its `cohens_kappa` (test_inter_rater.py).
- Fleiss and Paik: the documented example of `ci.kappa` in R's statpsych 1.6 to 2.0, after Fleiss, Levin and Paik,
  Statistical Methods for Rates and Proportions, 3rd edition (2003).
- Winnipeg, New Orleans: Westlund and Kurland (1953), two neurologists and two groups of patients, the data of Landis and
  Koch (1977); couples: Hout, Duncan and Sobel (1987). Printed by `Kappa` of R's vcd, in the documentation of vcdExtra.
"""


def spread(table):
    return list(itertools.chain.from_iterable([pair] * n for pair, n in table.items()))


def test_the_example_of_the_encyclopaedias():
    found = agreement(spread(GRANTS), ["yes", "no"])
    assert (found.count, found.agreed, found.share) == (50, 35, 0.7)
    assert found.kappa == pytest.approx(0.4, abs=1e-12)
    assert found.table == (("yes", "yes", 20), ("yes", "no", 5), ("no", "yes", 10), ("no", "no", 15))


def numbered(rows):
    """A square table by pairs of names."""
    return {(str(a), str(b)): n for a, row in enumerate(rows) for b, n in enumerate(row)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_kappa_and_its_error_are_those_that_others_print(name):
    rows, (kappa, sigma, *limits), last_digit = PUBLISHED[name]
    found = agreement(spread(numbered(rows)), [str(k) for k in range(len(rows))])
    assert found.kappa == pytest.approx(kappa, abs=last_digit)
    assert found.kappa_sigma == pytest.approx(sigma, abs=last_digit)
    by_formula = (found.kappa - Z * found.kappa_sigma, found.kappa + Z * found.kappa_sigma)
    assert by_formula == pytest.approx(limits or by_formula, abs=last_digit)
    # Ours is never narrower: that of the formula is too narrow in small samples.
    assert found.kappa_interval[0] <= by_formula[0] + 1e-12
    assert found.kappa_interval[1] >= by_formula[1] - 1e-12


def test_the_error_is_that_of_a_bootstrap():
    generator = np.random.default_rng(11)
    table = numbered(PUBLISHED["Winnipeg"][0])
    shares = np.array(list(table.values())) / sum(table.values())
    drawn = generator.multinomial(20 * sum(table.values()), shares, size=400)
    kappas = [cohen(dict(zip(table, row.tolist(), strict=True)))[0] for row in drawn]
    large = {pair: 20 * n for pair, n in table.items()}
    assert np.std(kappas) == pytest.approx(cohen(large)[1], rel=0.12)  # 400 draws know it to 3.5 %


@pytest.mark.parametrize("count", [10, 30])
@pytest.mark.parametrize("kappa", [0.3, 0.6, 0.9])
def test_the_interval_covers_what_it_says_in_small_samples(count, kappa):
    generator = np.random.default_rng(count)
    base = np.array([0.5, 0.3, 0.2])
    names = ["gunfire", "fireworks", "other"]
    joint = kappa * np.diag(base) + (1.0 - kappa) * np.outer(base, base)  # its kappa is exactly that
    pairs = list(itertools.product(names, names))
    held, told = 0, 0
    for row in generator.multinomial(count, joint.ravel(), size=600):
        found = agreement(spread(dict(zip(pairs, row.tolist(), strict=True))), names)
        if found.kappa_interval is not None:
            told += 1
            held += found.kappa_interval[0] <= kappa <= found.kappa_interval[1]
    assert told > 500
    assert held / told > 0.95 - 3.0 * math.sqrt(0.95 * 0.05 / told)


def test_small_numbers_are_honest():
    nothing = agreement([], JUDGEMENTS)
    assert (nothing.share, nothing.share_interval, nothing.kappa, nothing.kappa_interval) == (None,) * 4
    alike = agreement([("gunfire", "gunfire")] * 5, JUDGEMENTS)
    assert (alike.share, alike.kappa, alike.kappa_sigma, alike.kappa_interval) == (1.0, None, None, None)
    assert alike.share_interval[0] < 0.6
    three = agreement([("gunfire", "gunfire"), ("other", "other"), ("gunfire", "gunfire")], JUDGEMENTS)
    assert (three.kappa, three.kappa_sigma) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-6))
    low, high = three.kappa_interval
    assert low < 0.2  # the formula for large samples would say 1 to 1
    assert high == 1.0
    with pytest.raises(ValueError, match="thunder: expected one of"):
        agreement([("thunder", "gunfire")], JUDGEMENTS)


tables = st.lists(st.tuples(st.sampled_from(JUDGEMENTS), st.sampled_from(JUDGEMENTS)), max_size=40)


@given(tables)
def test_it_does_not_matter_who_is_the_first(pairs):
    one, other = agreement(pairs, JUDGEMENTS), agreement([(b, a) for a, b in pairs], JUDGEMENTS)
    assert (one.kappa is None) == (other.kappa is None)
    if one.kappa is not None:
        assert one.kappa == pytest.approx(other.kappa)
        assert one.kappa_sigma == pytest.approx(other.kappa_sigma, abs=1e-9)
        assert one.kappa_interval == pytest.approx(other.kappa_interval)
    assert one.share == other.share


@given(tables)
def test_kappa_is_one_only_where_all_agree_and_lies_in_its_interval(pairs):
    found = agreement(pairs, JUDGEMENTS)
    if found.kappa is not None:
        assert -1.0 <= found.kappa <= 1.0 + 1e-12
        assert (found.agreed == found.count) == (found.kappa > 1.0 - 1e-9)
        assert found.kappa_interval[0] - 1e-9 <= found.kappa <= found.kappa_interval[1] + 1e-9
    for one in found.classes:
        assert one.both <= min(one.first, one.second)
        assert one.specific is None or 0.0 <= one.specific <= 1.0
    assert sum(n for *_, n in found.table) == found.count == len(pairs)


@given(tables)
def test_kappa_is_the_mean_of_the_classes_own(pairs):
    # Fleiss, Levin and Paik, section 18.1: weighted by how much each could disagree beyond chance.
    found = agreement(pairs, JUDGEMENTS)
    if found.kappa is not None:
        shares = [(one, one.first / found.count, one.second / found.count) for one in found.classes]
        weighed = [(one.kappa, a * (1.0 - b) + b * (1.0 - a)) for one, a, b in shares if one.kappa is not None]
        assert found.kappa == pytest.approx(sum(k * w for k, w in weighed) / sum(w for _, w in weighed), abs=1e-9)


def test_independent_words_have_kappa_nought():
    pairs = list(itertools.product(JUDGEMENTS, JUDGEMENTS))
    assert agreement(pairs, JUDGEMENTS).kappa == pytest.approx(0.0, abs=1e-12)


NIGHT = [
    # name, machine, first, second, drawn (all are, in this record)
    ("a", 6.0, "gunfire", "gunfire"),
    ("b", 6.0, "fireworks", "fireworks"),
    ("c", 6.0, "gunfire", "fireworks"),
    ("d", REVIEW_LLR, "gunfire", "gunfire"),
    ("e", REVIEW_LLR, "unsure", "vehicle"),
    ("f", SUPPRESSED_LLR, "gunfire", "gunfire"),
    ("g", SUPPRESSED_LLR, "vehicle", None),
    ("h", SUPPRESSED_LLR, "construction", "construction"),
]


@pytest.fixture
def judged(tmp_path):
    with Store(tmp_path / "record.db") as store:
        reviews = Reviews(store, ReviewRules(second_share=1.0))
        for number, (name, llr, first, second) in enumerate(NIGHT):
            incident_id = tell(store, name, 100.0 * number, llr=llr)
            decision = reviews.judge(incident_id, "ann", minutes(30), first, expected_version=1)
            apply(store, decision.act, "published" if first == "gunfire" else "suppressed")
            if second is not None:
                reviews.second(incident_id, "bob" if number % 2 else "Cid", minutes(31), second)
        yield reviews


def test_a_night_of_reviews(judged):
    disputed = next(one.head for one in reviewed(judged.store) if one.pair == ("gunfire", "fireworks"))
    judged.adjudicate(disputed.incident_id, "sue", minutes(40), "gunfire", expected_version=disputed.version)
    found = report(reviewed(judged.store))
    assert (found.incidents, found.disputed, found.adjudicated, found.waiting_for_second) == (8, 1, 1, 1)
    assert (found.drawn.count, found.drawn.agreed) == (7, 5)
    assert found.all_pairs == found.drawn
    assert {(a, b): n for a, b, n in found.gunfire.table} == {
        ("gunfire", "gunfire"): 3, ("gunfire", "other"): 1, ("other", "other"): 2, ("unsure", "other"): 1,
    }  # fmt: skip
    # Machine against people: of six that it had an opinion of, b and f went the other way; and not what people made
    # of it afterwards.
    machine = found.machine
    assert (machine.overruled.count, machine.overruled.of) == (2, 6)
    assert (machine.published_denied.count, machine.published_denied.of) == (1, 3)
    assert (machine.suppressed_affirmed.count, machine.suppressed_affirmed.of) == (1, 3)
    assert (machine.asked, machine.unsure) == (2, 1)
    by_name = {one.by: one for one in found.reviewers}
    assert (by_name["ann"].first, by_name["ann"].agreed.count, by_name["ann"].agreed.of) == (8, 5, 7)
    assert by_name["bob"].second + by_name["Cid"].second == 7
    assert by_name["sue"].decided == 1


def test_only_what_was_drawn_speaks_of_all(tmp_path):
    with Store(tmp_path / "record.db") as store:
        reviews = Reviews(store, ReviewRules(second_share=0.0))
        hard = tell(store, "hard", llr=REVIEW_LLR)
        reviews.judge(hard, "ann", minutes(1), "unsure", expected_version=1)
        reviews.second(hard, "bob", minutes(2), "gunfire")
        found = report(reviewed(store))
        assert (found.drawn.count, found.all_pairs.count) == (0, 1)


def test_overruling_ten_percent_has_the_interval_of_wilson():
    # Ten of a hundred: .055 to .174, as the score interval has it.
    from alerts.review.agreement import share  # noqa: PLC0415

    assert share(10, 100).interval == (pytest.approx(0.0552, abs=1e-4), pytest.approx(0.1744, abs=1e-4))
    assert share(0, 0).interval is None
    assert share(0, 10).interval[1] > 0.25

"""The account: three states kept apart, and no report that is not in it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import after
from alerts.desk import Desk
from alerts.record import tables
from alerts.record.store import Store
from alerts.review import marks
from alerts.review.accounting import STATES, accounting
from alerts.review.case import open_case
from alerts.review.findings import Finding
from alerts.review.reviews import ReviewRules, Reviews
from tests.review_nights import NIGHT_NS, SUPPRESSED_LLR, apply, minutes, tell
from tests.strategies import HARTFORD, fix_at

JUNE_2023 = {"confirmed": (122, None), "unconfirmed": (771, 32.0), "unfounded": (47, 20.0)}
"""New York City, June 2023, as its comptroller audited it (2024): 940 alerts, of which 122 were confirmed (13 %), 771
unconfirmed (82 %) at 32 minutes each and 47 unfounded (5 %) at 20; 426.9 hours of officers for the last two."""

END_NS = minutes(24 * 60)


def copies(store, count, first_ns, name=""):
    """So many published incidents, one a nanosecond; their names. Rows alone: the account reads nothing else of them."""
    (pattern,) = Desk(mode="live").receive(fix_at(f"pattern{name}", frame=HARTFORD))
    store.keep([pattern], [], pattern.published_ns)
    with store.writing() as connection:
        row = connection.execute(sa.select(tables.incident).where(tables.incident.c.alert_id == pattern.alert_id))
        same = dict(row.mappings().one())
        connection.execute(sa.delete(tables.incident).where(tables.incident.c.alert_id == pattern.alert_id))
        rows = [
            same | {"incident_id": f"i{name}-{k}", "alert_id": f"a{name}-{k}", "first_ns": first_ns + k}
            for k in range(count)
        ]
        connection.execute(sa.insert(tables.incident), rows)
    return [one["incident_id"] for one in rows]


def report(reviews, told):
    """All findings in one transaction: a month of them would wait for the disk a thousand times."""

    def tell_all(connection):
        for incident_id, findings in told.items():
            for finding in findings:
                marks.find(open_case(connection, reviews.ledger, incident_id, "ann", minutes(2)), finding, None)

    reviews.store.write(tell_all)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as opened:
        yield opened


def test_new_york_in_june_2023(store):
    reviews = Reviews(store)
    names = copies(store, sum(count for count, _ in JUNE_2023.values()), NIGHT_NS)
    month = [Finding(said, officer_minutes=spent) for said, (count, spent) in JUNE_2023.items() for _ in range(count)]
    report(reviews, {name: [finding] for name, finding in zip(names, month, strict=True)})
    found = accounting(store, NIGHT_NS, END_NS)
    assert found.alerts == 940
    by_state = {one.state: one for one in found.states}
    assert {state: one.alerts.count for state, one in by_state.items()} == {
        "confirmed": 122, "unconfirmed": 771, "unfounded": 47, "other": 0, "none": 0,
    }  # fmt: skip
    assert {state: round(100 * by_state[state].alerts.share) for state in JUNE_2023} == {
        "confirmed": 13, "unconfirmed": 82, "unfounded": 5,
    }  # fmt: skip
    assert round(found.officer_minutes / 60.0, 1) == 426.9
    assert by_state["unconfirmed"].minutes_stated == 771
    assert by_state["confirmed"].minutes_stated == 0
    # Wilson's interval of 122 in 940, by hand: (p + z2/2n -+ z sqrt(p q/n + z2/4n2)) / (1 + z2/n).
    assert by_state["confirmed"].alerts.interval == (pytest.approx(0.1098, abs=1e-4), pytest.approx(0.1528, abs=1e-4))


findings = st.lists(
    st.tuples(
        st.integers(0, 11),
        st.sampled_from(["confirmed", "unconfirmed", "unfounded", "other"]),
        st.one_of(st.none(), st.integers(0, 90)),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def dozens(tmp_path_factory):
    """A record, and how many dozens of alerts each example may call its own."""
    with Store(tmp_path_factory.mktemp("account") / "record.db") as opened:
        yield opened, iter(range(10_000))


@settings(max_examples=20, deadline=None)
@given(findings)
def test_whatever_is_reported_is_in_the_account(dozens, reported):
    store, numbers = dozens
    number_of_example = next(numbers)
    day_ns = minutes(60 * (1 + number_of_example))
    names = copies(store, 12, day_ns, f"-{number_of_example}")
    told, last, stated = {}, {}, {}
    for number, disposition, spent in reported:
        told.setdefault(names[number], []).append(Finding(disposition, officer_minutes=spent))
        last[number] = disposition
        stated |= {} if spent is None else {number: spent}
    report(Reviews(store), told)
    found = accounting(store, day_ns, after(day_ns, 1.0))
    counted = {one.state: one.alerts.count for one in found.states}
    assert sum(counted.values()) == found.alerts == 12
    wanted = [last.get(number, "none") for number in range(12)]
    assert counted == {state: wanted.count(state) for state in STATES}
    assert found.officer_minutes == pytest.approx(sum(stated.values()))


def test_misses_that_are_known_are_counted_and_people_against_the_machine(store):
    reviews = Reviews(store, ReviewRules(second_share=0.0))
    alarmed, doubted, dismissed, found_later, revived = (
        tell(store, name, 100.0 * k, llr=llr)
        for k, (name, llr) in enumerate(
            [("a", 6.0), ("b", 6.0), ("c", SUPPRESSED_LLR), ("d", SUPPRESSED_LLR), ("e", SUPPRESSED_LLR)]
        )
    )
    for incident_id, verdict in ((alarmed, "fireworks"), (doubted, "unsure"), (revived, "gunfire")):
        act = reviews.judge(incident_id, "ann", minutes(20), verdict, expected_version=1).act
        apply(store, act, "published" if verdict == "gunfire" else "suppressed")
    for incident_id in (found_later, revived):
        reviews.disposition(incident_id, "bob", minutes(30), Finding("confirmed", ("victim",)))
    found = accounting(store, NIGHT_NS, END_NS)
    assert found.alerts == 3  # two of the machine's, one of a person's
    assert (found.overruled.count, found.overruled.of) == (1, 2)
    assert (found.judged.count, found.judged.of) == (3, 3)
    assert (found.known_misses, found.never_told, found.suppressed, found.affirmed) == (2, 1, 2, 0)
    assert reviews.head(dismissed).disposition is None


def test_what_became_part_of_another_is_counted_there(store):
    reviews = Reviews(store)
    one, other = tell(store, "one"), tell(store, "other", 100.0)
    row, into = tables.incident, reviews.head(other).alert_id
    with store.writing() as connection:
        connection.execute(sa.update(row).where(row.c.incident_id == one).values(merged_into=into))
    found = accounting(store, NIGHT_NS, END_NS)
    assert (found.alerts, found.merged) == (1, 1)


def test_exercises_and_other_days_are_not_in_it(store):
    tell(store, "drill")
    assert accounting(store, NIGHT_NS, END_NS, modes=("exercise",)).alerts == 0
    assert accounting(store, END_NS, END_NS).alerts == 0
    assert accounting(store, NIGHT_NS, END_NS).alerts == 1
    with pytest.raises(ValueError, match="exchange them"):
        accounting(store, END_NS, NIGHT_NS)

"""An act: what it must say, its name, and the entry of the journal that it becomes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acoustic.instant import after
from alerts.act import JUDGEMENTS, LONGEST_NOTE, MOST_SHOTS, Act, act_name, decode_act, encode_act
from alerts.calendar_event import ExpectedEvent
from alerts.desk import Desk
from alerts.expectation import Expectation
from shotfix.core import Said
from shotfix.entries import act_body, calendar_body, take
from shotfix.segment import KINDS, Entry
from tests.strategies import NIGHT_NS, fix_at

ABOUT = {"alert_id": "a1", "incident_id": "i1", "by": "ann", "at_ns": NIGHT_NS}
WHAT = {
    "judge": {"judgement": "fireworks"},
    "place": {"latitude": 41.7, "longitude": -72.7, "radius_m": 25.0},
    "merge": {"into": "a2"},
    "split": {"shot_ids": ("s1", "s2")},
    "undo": {"undoes": "h0"},
}


@pytest.mark.parametrize("kind", WHAT)
def test_an_act_comes_back_from_its_bytes(kind):
    act = Act("h1", kind, **ABOUT, note="why\nnot", **WHAT[kind])
    assert decode_act(encode_act(act)) == act


@pytest.mark.parametrize(("kind", "other"), [(kind, other) for kind in WHAT for other in WHAT if kind != other])
def test_an_act_says_one_thing(kind, other):
    with pytest.raises(ValueError, match="nothing else"):
        Act("h1", kind, **ABOUT, **WHAT[kind], **WHAT[other])
    with pytest.raises(ValueError, match="needs what belongs to it"):
        Act("h1", kind, **ABOUT)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("judge", {"judgement": "thunder"}),
        ("judge", {"note": "x" * (LONGEST_NOTE + 1)}),
        ("judge", {"act_id": ""}),
        ("place", {"latitude": 90.1}),
        ("place", {"longitude": float("nan")}),
        ("place", {"radius_m": 0.0}),
        ("place", {"radius_m": float("inf")}),
        ("merge", {"into": "a1"}),
        ("split", {"shot_ids": ("s1", "s1")}),
        ("split", {"shot_ids": tuple(f"s{k}" for k in range(MOST_SHOTS + 1))}),
    ],
)
def test_what_is_out_of_range_is_refused(kind, wrong):
    with pytest.raises(ValueError):
        dataclasses.replace(Act("h1", kind, **ABOUT, **WHAT[kind]), **wrong)


@given(st.binary(max_size=60))
def test_what_is_no_act_is_refused_in_words(document):
    with pytest.raises(ValueError, match="not an act"):
        decode_act(document)


@given(st.tuples(*(st.sampled_from(["", "x", "y"]) for _ in range(3))), st.integers(0, 3))
def test_a_name_tells_who_said_what_of_which_alert_and_when(said, at_ns):
    name = act_name(said[0], said[1], at_ns, said[2])
    assert name == act_name(said[0], said[1], at_ns, said[2])
    assert name != act_name(said[0], said[1], at_ns + 1, said[2])
    assert name[0] == "h"
    assert len(name) == 17


class Core:
    """As much of a core as an act needs."""

    def __init__(self):
        self.desk, self.counts, self.events = Desk(), {"not-taken": 0}, None

    def act(self, *said):
        return self.desk.act(*said)

    def expect(self, events):
        self.events = events


def test_the_journal_tells_an_act_again_with_the_documents_that_it_spoke_of():
    told = Desk()
    said = [*told.receive(fix_at("a")), *told.tick(after(NIGHT_NS, 60.0))]
    about = ABOUT | {"alert_id": said[-1].alert_id, "incident_id": said[-1].incident_id}
    first = Act("h1", "judge", **about, judgement="fireworks")
    (denied,) = told.act(first)
    undo = Act("h2", "undo", **about, undoes="h1")
    body = act_body(undo, (denied,), (first,))
    again = take(Core(), Entry(1, "act", NIGHT_NS, body), None)
    assert again == told.act(undo)
    assert KINDS.index("act") == 7, "the numbers of kinds are on disks"


def test_the_journal_tells_a_calendar_again():
    event = ExpectedEvent("Riverfront", "fireworks", NIGHT_NS, NIGHT_NS + 1, 41.7, -72.7, 300.0, 240.0, 2.0)
    core = Core()
    take(core, Entry(1, "calendar", NIGHT_NS, calendar_body((event,))), None)
    assert core.events == (event,)
    Expectation().adopt(core.events)


@pytest.mark.parametrize("kind", ["act", "calendar"])
def test_an_entry_that_says_something_else_is_passed_over(kind, caplog):
    core = Core()
    assert take(core, Entry(1, kind, NIGHT_NS, b"{}"), None) in (None, Said())
    assert core.counts["not-taken"] == 1
    assert "was not taken" in caplog.text


def test_every_judgement_can_be_said():
    assert {Act("h1", "judge", **ABOUT, judgement=each).judgement for each in JUDGEMENTS} == set(JUDGEMENTS)

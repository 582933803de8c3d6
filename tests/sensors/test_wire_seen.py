"""Seen: the same answers as a plain set, in bounded memory."""

import pickle
import random
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from sensors import seen as seen_module
from sensors.seen import MOST_BOOTS, MOST_SHUT, MOST_SPANS, Seen

numbers = st.integers(0, 30) | st.sampled_from([2**60, 2**60 + 1, 2**63 - 1])
sayings = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["00000001", "00000002"]), numbers), max_size=120)


@given(sayings)
@settings(max_examples=200)
def test_it_answers_as_a_plain_set(said):
    seen, plain = Seen(), set()
    for each in said:
        assert seen.knows(*each) == (each in plain)
        assert seen.take(*each) == (each not in plain)
        plain.add(each)
        assert seen.knows(*each)
    assert (seen.refused_as_shut, seen.forgotten_boots, seen.closed_gaps) == (0, 0, 0)
    for node in "ab":
        taken = {}
        for _, boot, number in (each for each in plain if each[0] == node):
            taken.setdefault(boot, set()).add(number)
        assert seen.missing(node) == sum(max(own) + 1 - len(own) for own in taken.values())


@given(sayings, st.integers(0, 120))
@settings(max_examples=50)
def test_it_goes_on_from_a_pickle(said, cut):
    whole, first = Seen(), Seen()
    answers = [whole.take(*each) for each in said]
    begun = [first.take(*each) for each in said[:cut]]
    second = pickle.loads(pickle.dumps(first))  # noqa: S301
    assert begun + [second.take(*each) for each in said[cut:]] == answers
    assert second == whole


@given(st.permutations(range(60)))
@settings(max_examples=50)
def test_any_order_without_a_gap_ends_as_one_run(order):
    seen = Seen()
    assert all(seen.take("n", "00000001", number) for number in order)
    assert seen._nodes["n"].boots["00000001"].starts == [0]
    assert seen._nodes["n"].spans == 1
    assert seen.missing("n") == 0


def test_the_count_of_runs_is_kept_right():
    rng = random.Random(3)  # noqa: S311
    seen = Seen()
    for _ in range(20_000):
        seen.take("n", f"{rng.randrange(300):08x}", rng.randrange(60))
        if rng.random() < 0.01:
            node = seen._nodes["n"]
            assert node.spans == sum(len(boot.starts) for boot in node.boots.values())
    assert len(seen._nodes["n"].boots) == MOST_BOOTS


def held_bytes(thing):
    """What it takes in memory, with all that it holds."""
    if isinstance(thing, dict):
        inner = [*thing, *thing.values()]
    elif isinstance(thing, list):
        inner = thing
    else:
        inner = [getattr(thing, name) for name in getattr(thing, "__slots__", ())]
    return sys.getsizeof(thing) + sum(held_bytes(each) for each in inner)


def test_a_node_that_does_its_worst_stays_within_its_bounds():
    """Huge gaps, for ever, in ever new boots; what it costs is counted."""
    seen, rng = Seen(), random.Random(4)  # noqa: S311
    for k in range(60_000):
        boot = f"{rng.randrange(2_000) if k % 2 else 7:08x}"
        seen.take("evil", boot, rng.randrange(2**63))
    for k in range(20_000):
        seen.take("evil", f"{k:016x}", 2**60)
    node = seen._nodes["evil"]
    assert node.spans <= MOST_SPANS
    assert len(node.boots) == MOST_BOOTS
    assert len(node.shut) == MOST_SHUT
    assert len(pickle.dumps(seen)) < 1_500_000
    assert held_bytes(node) < 5_000_000
    assert seen.closed_gaps > 0
    assert seen.forgotten_boots > 0
    assert seen.refused_as_shut > 0
    assert seen.take("good", "00000001", 0)  # and it is nobody else's business


def test_the_boot_that_spoke_longest_ago_is_shut():
    seen = Seen()
    for k in range(MOST_BOOTS):
        assert seen.take("n", f"{k:08x}", 0)
    assert seen.take("n", "00000000", 1)  # it spoke again: the next oldest goes
    assert seen.take("n", "ffffffff", 0)
    assert seen.take("n", "00000000", 2)
    assert seen.knows("n", "00000001", 5)
    assert not seen.take("n", "00000001", 5)
    assert seen.refused_as_shut == 1
    assert not seen.take("n", "00000002", 0)
    assert seen.missing("nobody") == 0


def test_the_lowest_gap_closes_first(monkeypatch):
    monkeypatch.setattr(seen_module, "MOST_SPANS", 3)
    seen = Seen()
    for number in (2, 4, 6, 8):  # 0-1, 3, 5 and 7 are missing; the fourth run closes two gaps
        assert seen.take("n", "00000001", number)
    assert seen.closed_gaps == 2
    assert not seen.take("n", "00000001", 0)
    assert not seen.take("n", "00000001", 3)
    assert seen.take("n", "00000001", 5)
    assert seen.take("n", "00000001", 7)
    assert seen.missing("n") == 0

"""The core of a centre: clocks that lie, borders between two centres, our own clock, and whose word counts."""

from __future__ import annotations

import functools
import json
import math
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import binom

from acoustic.detection import pulse_identity
from acoustic.instant import SECOND, after, seconds_between
from benchmarks.association_scenes import SETTINGS, as_scene, night, of_size
from localization.fix import Fix
from sensors.cell import cell_of
from sensors.health import ClockState, Heartbeat
from sensors.identity import NodeKey
from sensors.message import Batch, Content, Envelope
from sensors.site import Local, Network, Site
from sensors.wire import decode_batch
from shotfix.charter import Cells
from shotfix.core import Core
from shotfix.registry import Registry
from shotfix.waiting import Patience
from tests import cities
from tests.clock_faults import LIAR, START_NS, clock_faults
from tests.clock_faults import town as the_town

BOOT = "00c0ffee"
LIVE = Patience()
KEY = NodeKey.create()


def taken(core: Core, batches: Iterable[tuple[int, Batch]], closing_s: int = 60) -> Iterator[tuple[int, object]]:
    """Have a core take batches, each when it comes; whatever it says, with the wall clock then."""
    now_ns = None
    for came_ns, batch in batches:
        if now_ns is None:
            core.begin(came_ns)
        now_ns = came_ns
        yield from ((now_ns, event) for event in core.receive(batch, now_ns).events)
        yield from told(core, now_ns)
    for _ in range(closing_s if now_ns is not None else 0):
        now_ns += SECOND
        yield from told(core, now_ns)


def told(core: Core, now_ns: int) -> Iterator[tuple[int, object]]:
    watermark_ns = core.due(now_ns)
    if watermark_ns is not None:
        yield from ((now_ns, event) for event in core.tick(watermark_ns).events)


# one of twelve clocks lies

EVERY_S = 5.0
BANGS = 44
FAULT_S = 40.0
END_S = EVERY_S * BANGS + 10.0

FAULTS = clock_faults(FAULT_S)
"""What the liar's clock shows at true time t, s; nothing at the node corrects it, and it says that all is well."""


town = functools.partial(the_town, 0, BANGS, EVERY_S)


@functools.cache
def pulses_of(name: str):
    """What a sensor hears: when, s, and its detections, in order."""
    heard = [pulse.detection for pulse in town().pulses if pulse.detection.sensor_id == name]
    return sorted(((seconds_between(START_NS, d.pick.onset_ns), d) for d in heard), key=lambda pair: pair[0])


def said_in(second: int, name: str, shows: Callable[[float], float]) -> Iterator[Content]:
    """What a node whose clock shows ``shows`` says of the second until 0.2 s ago."""
    for true_s, detection in pulses_of(name):
        if second - 1.2 <= true_s < second - 0.2:
            onset_ns = after(START_NS, shows(true_s))
            pick = replace(detection.pick, onset_ns=onset_ns)
            yield replace(detection, pick=pick, pulse_id=pulse_identity(name, onset_ns))
    yield Heartbeat(name, after(START_NS, shows(second - 0.2)), clock=ClockState("locked", 1e-4))


def towns_batches(shows: Callable[[float], float] = lambda t: t, *, without: bool = False) -> list[tuple[int, Batch]]:
    """A batch a second of every node, when it comes; ``without`` the liar from the fault on."""
    rng, batches = np.random.default_rng(7), []
    for site in town().network.sites:
        name, sequence = site.sensor_id, 0
        clock = shows if name == LIAR else lambda t: t
        for second in range(1, int(END_S)):
            lag_s = 0.02 + rng.exponential(0.02)
            if without and name == LIAR and second >= FAULT_S:
                continue
            contents = tuple(said_in(second, name, clock))
            envelopes = tuple(Envelope(name, BOOT, sequence + k, content) for k, content in enumerate(contents))
            sequence += len(envelopes)
            batches.append((after(START_NS, second + lag_s), Batch(name, after(START_NS, clock(second)), envelopes)))
    return sorted(batches, key=lambda pair: (pair[0], pair[1].node_id))


@dataclass(frozen=True, slots=True, eq=False)
class Night:
    """What a core made of a night: every fix that it told and when, when it blamed the liar, and its last state."""

    fixes: tuple[tuple[int, Fix], ...]
    blamed_s: float | None
    doubted_s: float | None
    counts: dict[str, int]
    core: Core


@functools.cache
def night_of(fault: str | None) -> Night:
    """None: the liar falls silent at the fault, with a clock in order."""
    scene = town()
    registry = cities.registry_of(scene.network, {site.sensor_id: NodeKey.create() for site in scene.network.sites})
    core = cities.charter_of(LIVE, scene.air).core(registry)
    batches = towns_batches(without=True) if fault is None else towns_batches(FAULTS[fault])
    blamed, doubted, fixes = [], [], []

    def watched() -> Iterator[tuple[int, Batch]]:
        for came_ns, batch in batches:
            yield came_ns, batch
            watch = core.watches.get(LIAR)
            if watch is not None and not watch.verdict.good:
                blamed.append(came_ns)
            if core.counts["clock-bad"]:
                doubted.append(came_ns)
            assert not core.own_fault
            assert all(w.verdict.good for name, w in core.watches.items() if name != LIAR)

    fixes = [(now_ns, event) for now_ns, event in taken(core, watched()) if isinstance(event, Fix)]
    first = [None if not times else seconds_between(START_NS, times[0]) for times in (blamed, doubted)]
    return Night(tuple(fixes), *first, dict(core.counts), core)


def errors_of(told_night: Night) -> tuple[np.ndarray, int, int, float]:
    """Errors of the last fix of each shot since the fault, m; of all fixes told of them: how many, how many regions
    miss the truth, and how far outside at worst, in semi-axes.
    """
    scene, errors, count, missed, worst = town(), [], 0, 0, 0.0
    for bang in scene.truth:
        if bang.time_ns <= after(START_NS, FAULT_S):
            continue
        (place,) = scene.frame.local([bang.place])
        near = [fix for _, fix in told_night.fixes if abs(seconds_between(bang.time_ns, fix.time_ns)) < 1.5]
        assert near, f"{bang.shot_id} was lost"
        for fix in near:
            off = [(place[0] - mode.place.east_m, place[1] - mode.place.north_m) for mode in fix.modes]
            count += 1
            missed += not any(mode.ellipse.holds(*there) for mode, there in zip(fix.modes, off, strict=True))
            worst = max(worst, min(math.hypot(*there) / mode.ellipse.semi_major_m
                                   for mode, there in zip(fix.modes, off, strict=True)))  # fmt: skip
        errors.append(math.hypot(*off[0]))
    return np.array(errors), count, missed, worst


@pytest.mark.parametrize("name", FAULTS)
def test_a_clock_that_lies_is_flagged_by_the_core_and_leads_nobody_astray(name: str):
    """Of a drift the node itself tells within seconds (tests/journeys); what a network lets through takes minutes."""
    faulty, drifts = night_of(name), name == "drift 100 ppm"
    assert faulty.blamed_s is not None
    assert FAULT_S <= faulty.blamed_s < FAULT_S + (180.0 if drifts else 10.0)
    errors, count, missed, worst = errors_of(faulty)
    honest, _, _, honest_worst = errors_of(night_of(None))
    assert np.median(errors) <= 1.5 * np.median(honest)
    assert np.quantile(errors, 0.9) <= 1.5 * np.quantile(honest, 0.9)
    # Every region that was told claims 95 %: no more of them miss than chance has it.
    assert missed <= binom.ppf(0.999, count, 0.05)
    assert worst < max(2.0, 1.1 * honest_worst)
    if not drifts:
        used = [fix for _, fix in faulty.fixes if fix.time_ns > after(START_NS, FAULT_S)]
        assert not any(a.detection.sensor_id == LIAR and a.weight >= 0.5 for fix in used for a in fix.arrivals)
    if name not in ("drift 100 ppm", "backward 1 s"):  # a network may be a second slow: said, but not held against it
        assert faulty.doubted_s == faulty.blamed_s
        assert faulty.counts["clock-bad"] > END_S - faulty.blamed_s - 5.0


def test_who_is_not_believed_holds_up_nobody():
    for name in ("step 1 h", "backward 1 h", "frozen"):
        late_s = [
            seconds_between(fix.time_ns, now_ns)
            for now_ns, fix in night_of(name).fixes
            if fix.time_ns > after(START_NS, night_of(name).blamed_s)
        ]
        clean_s = [seconds_between(fix.time_ns, now_ns) for now_ns, fix in night_of(None).fixes]
        assert max(late_s) < max(clean_s) + 1.0


# our own clock


def of_names(count: int, seed: int = 0) -> Core:
    """A core of so many sensors, a kilometre from each other, that has begun."""
    sites = tuple(Site(f"n{k:02d}", Local(1000.0 * (k % 5), 1000.0 * (k // 5), 8.0)) for k in range(count))
    registry = cities.registry_of(Network(sites), {site.sensor_id: KEY for site in sites})
    core = cities.charter_of(LIVE).core(registry)
    core.begin(START_NS)
    return core


def beats(core: Core, names: Iterable[str], seconds: Iterable[int], ours_s: float = 0.0, **changes) -> None:
    """A heartbeat a second of each, by clocks in order; ours is off by so much."""
    names = list(names)
    for second in seconds:
        for k, name in enumerate(names):
            sent_ns, came_ns = after(START_NS, second), after(START_NS, second + ours_s + 0.03 + 0.01 * k)
            beat = Heartbeat(name, after(START_NS, second - 0.2), clock=ClockState("locked", 1e-4))
            envelope = Envelope(name, BOOT, second, beat)
            core.receive(replace(Batch(name, sent_ns, (envelope,)), **changes), came_ns)
            watermark_ns = core.due(came_ns)
            if watermark_ns is not None:
                core.tick(watermark_ns)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, -5.0])
def test_our_own_clock_is_blamed_though_more_nodes_are_dead_than_alive(jump_s: float):
    core = of_names(22)
    names = [site.sensor_id for site in core.registry.network.sites]
    beats(core, names, range(1, 30))
    beats(core, names[:10], range(30, 80))
    assert not core.own_fault
    beats(core, names[:10], range(80, 100), ours_s=jump_s)
    assert "our own clock jumped" in core.own_fault
    passed_over = core.counts["clock-bad"]
    beats(core, names[:10], range(100, 120), ours_s=jump_s)
    assert core.counts["clock-bad"] == passed_over
    beats(core, names[:10], range(120, 220))  # somebody has set it
    assert not core.own_fault
    assert all(watch.verdict.good for name, watch in core.watches.items() if name in names[:10])


def test_a_clock_set_back_by_an_hour_stops_no_watermark_though_one_sensor_never_spoke():
    core = of_names(4)
    names = [site.sensor_id for site in core.registry.network.sites][:3]
    beats(core, names, range(1, 60))
    told_ns = core.waiting.watermark_ns
    beats(core, names, range(60, 80), ours_s=-3600.0)
    assert core.waiting.watermark_ns >= told_ns + 15 * SECOND


def test_a_clock_set_back_hides_no_silence():
    core = of_names(4)
    names = [site.sensor_id for site in core.registry.network.sites]
    beats(core, names, range(1, 60))
    core.look_round(after(START_NS, 60.0))
    for second in range(60, 80):
        beats(core, names[1:], [second], ours_s=-3600.0)
        core.look_round(after(START_NS, second - 3600.0))
    assert core.conditions[names[0]].state == "stale"
    assert core.conditions[names[1]].state != "stale"


def test_nodes_that_are_gone_or_revoked_are_forgotten():
    core = of_names(5)
    names = [site.sensor_id for site in core.registry.network.sites]
    beats(core, names, range(1, 20))
    registry = core.registry
    core._astray.add(names[0])
    core._trust(names[0], trusted=False)
    gone = replace(registry.nodes[0], revoked="2026-11-22T02:00:00Z, stolen")
    core.adopt(replace(registry, nodes=(gone, *registry.nodes[1:])), None, after(START_NS, 20.0))
    assert names[0] not in core.watches
    assert not core._astray
    assert not core._doubted


def test_a_backlog_of_version_1_says_nothing_of_a_clock():
    """Its batch has the instant that it speaks of; two minutes late is no clock that is two minutes behind."""
    core = of_names(5)
    names = [site.sensor_id for site in core.registry.network.sites]
    beats(core, names[1:], range(1, 60))
    beats(core, names[:1], range(1, 60), ours_s=120.0, stamped=False)
    assert names[0] not in core._doubted
    assert not core.counts["clock-bad"]


def test_what_version_1_says_is_not_stamped(root):
    golden = json.loads((root / "fixtures" / "wire" / "version-1.json").read_text(encoding="utf-8"))
    assert not any(decode_batch(bytes.fromhex(each["msgpack_hex"])).stamped for each in golden)
    today = json.loads((root / "fixtures" / "wire" / "version-2.json").read_text(encoding="utf-8"))
    assert decode_batch(bytes.fromhex(today["batch_hex"])).stamped


# whose word counts, and when


def moved_over(core: Core, at_s: float, offset_s: float = 0.0) -> None:
    """From an instant on another node speaks for the first sensor, with another clock."""
    first, *others = core.registry.network.sites
    at_ns = after(START_NS, at_s)
    sites = (replace(first, valid_to_ns=at_ns), replace(first, valid_from_ns=at_ns, clock_offset_s=offset_s), *others)
    owners = (first.sensor_id, "new", *core.registry.owners[1:])
    nodes = (*core.registry.nodes, replace(core.registry.nodes[0], node_id="new"))
    core.adopt(Registry(Network(sites, 2), owners, nodes), None, at_ns)


def test_a_node_speaks_for_a_sensor_while_it_is_its_own():
    core = of_names(4)
    moved_over(core, 10.0)
    for node, second, counts in (("n00", 9, True), ("n00", 11, False), ("new", 11, True), ("new", 9, False)):
        before = core.counts["not-its-sensor"]
        core.hear(node, [Heartbeat("n00", after(START_NS, second))], after(START_NS, 12.0))
        assert (core.counts["not-its-sensor"] == before) == counts, (node, second)


def test_the_offset_of_a_clock_is_that_of_the_instant_spoken_of():
    core = of_names(4)
    moved_over(core, 10.0, offset_s=2.0)
    core.hear("n00", [Heartbeat("n00", after(START_NS, 9.0))], after(START_NS, 30.0))
    assert core.waiting.told_until("n00") == after(START_NS, 9.0)
    core.hear("new", [Heartbeat("n00", after(START_NS, 29.0))], after(START_NS, 30.0))
    assert core.waiting.told_until("n00") == after(START_NS, 27.0)


# two centres, one border


@functools.cache
def border():
    """Sixty sensors, their bangs, and what they say; the bangs since when all are listened to."""
    setting = replace(of_size(SETTINGS["sparse"], 60, 60.0), shots_per_s=1.0, clutter_per_min=1.0, echoes=0.0)
    pulses = night(setting, 5)
    scene, _ = as_scene(pulses)
    return pulses, cities.registry_of(scene.network, {site.sensor_id: KEY for site in scene.network.sites})


def column(cell: str) -> int:
    return int(cell.split("_")[1][1:])


def told_by(cells: Cells | None, deaf_to: Container[str] = (), *, owned: bool = True) -> tuple[list[int], Core]:
    """How often a centre tells of each bang: one of these cells alone, that hears nothing of some of its sensors."""
    pulses, registry = border()
    charter = cities.charter_of(LIVE, cells=cells)
    share = charter.share(registry)
    core = charter.core(share)
    if not owned:
        core.machines.owned = None
    mine = {site.sensor_id for site in share.network.sites if site.sensor_id not in deaf_to}
    batches = ((after(until_ns, 0.05), batch) for until_ns, batch in cities.batches_of(pulses, registry, 60.0))
    shots = {
        event.shot_id: event
        for _, event in taken(core, (pair for pair in batches if pair[1].node_id in mine))
        if isinstance(event, Fix)
    }
    return [times_told(bang, shots.values()) for bang in pulses.places], core


def west_and_east() -> tuple[Cells, Cells]:
    names = sorted({cell_of(site.position, 400) for site in border()[1].network.sites}, key=column)
    middle = column(names[len(names) // 2])
    west = tuple(name for name in names if column(name) < middle)
    return Cells(west, 1_200.0), Cells(tuple(name for name in names if name not in west), 1_200.0)


def times_told(bang, shots: Iterable[Fix]) -> int:
    at_ns = after(cities.START_NS, float(bang[2]))
    return sum(
        abs(seconds_between(at_ns, shot.time_ns)) < 0.3
        and math.dist((shot.best.place.east_m, shot.best.place.north_m), bang[:2]) < 60.0
        for shot in shots
    )


def test_a_shot_on_a_border_is_told_by_one_of_two_centres():
    alone, _ = told_by(None)
    assert sum(alone) > 20
    (by_west, west), (by_east, east) = (told_by(cells) for cells in west_and_east())
    assert [a + b for a, b in zip(by_west, by_east, strict=True)] == alone
    for core in (west, east):
        assert core.machines.passed_over()["elsewhere"] > 3, "it heard what the other told"
        assert not core.machines.in_doubt


def test_a_shot_whose_first_word_its_centre_lacks_is_told_all_the_same():
    """The west lost touch with some of its own sensors, which the east hears: rather twice than by nobody."""
    west, east = west_and_east()
    lost = {site.sensor_id for site in border()[1].network.sites if zlib.crc32(site.sensor_id.encode()) % 4 == 0}
    placed, _ = told_by(west, lost, owned=False)
    (by_west, core), (by_east, _) = told_by(west, lost), told_by(east)
    together = [a + b for a, b in zip(by_west, by_east, strict=True)]
    assert all(told for told, could in zip(together, placed, strict=True) if could), "placed, but told by nobody"
    assert core.machines.in_doubt >= 3
    assert sum(told == 2 for told in together) <= core.machines.in_doubt


def test_a_sensor_that_took_its_leave_leaves_nothing_in_doubt():
    waiting = of_names(1).waiting
    assert waiting.may_have_missed("n00", START_NS)  # nothing heard of it yet
    waiting.hear("n00", START_NS, START_NS)
    assert not waiting.may_have_missed("n00", START_NS)
    assert waiting.may_have_missed("n00", START_NS + 1)
    waiting.leave("n00", START_NS, START_NS + SECOND)
    assert not waiting.may_have_missed("n00", START_NS + 9 * SECOND)
    waiting.miss("n00", START_NS + 5 * SECOND)
    assert waiting.may_have_missed("n00", START_NS + 4 * SECOND)
    assert not waiting.may_have_missed("nobody", START_NS)

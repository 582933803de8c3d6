"""The recorded night, from sound to a delivered alert, as `make demo` shows it."""

from __future__ import annotations

import csv
import json
from collections import defaultdict

import pytest
from standardwebhooks import Webhook

from acoustic.instant import parse_instant
from alerts.alert import decode
from alerts.words import lines
from localization.study.scene_reading import read_scene
from localization.study.score import score
from shotfix import demo
from shotfix.reading import read_shots

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("night")]


@pytest.fixture(scope="module")
def night(root, tmp_path_factory):
    """The folder of a demo run, and what it said."""
    out, said = tmp_path_factory.mktemp("night") / "demo", []
    demo.show(root / "fixtures" / "scenes" / "demo-night", out, force=False, say=said.append)
    return out, said


@pytest.fixture(scope="module")
def matched(root, night):
    scene = read_scene(root / "fixtures" / "scenes" / "demo-night")
    return scene, score(scene, read_shots(night[0]))


def received(folder):
    return [json.loads(line) for line in (folder / "received.jsonl").read_text().splitlines()]


def test_shots_are_found_and_placed(night, matched):
    """Every shot heard by four sensors or more; median error under 5 m; the fixes rest on what really arrived."""
    scene, result = matched
    heard = defaultdict(set)
    arrivals = rows(night[0] / "detections.csv")
    speed = scene.air.sound_speed_m_per_s
    places = scene.frame.local([bang.place for bang in scene.truth])
    sensors = {
        site.sensor_id: place
        for site, place in zip(
            scene.network.sites, scene.frame.local([s.position for s in scene.network.sites]), strict=True
        )
    }
    for bang, place in zip(scene.truth, places, strict=True):
        for d in arrivals:
            travel_s = float(((sensors[d["sensor_id"]] - place) ** 2).sum()) ** 0.5 / speed
            if abs((parse_instant(d["time_utc"]) - bang.time_ns) / 1e9 - travel_s) < 0.06:
                heard[bang.shot_id].add(d["sensor_id"])
    missed = [
        m.truth_id for m in result.matches if m.sound == "gunshot" and m.shot is None and len(heard[m.truth_id]) >= 4
    ]
    assert missed == []
    assert result.figures()["error_median_m"] < 5.0


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("names", "rounds"), [("burst-", 3), ("automatic-", 10), ("left-", 4), ("right-", 5)])
def test_rounds_are_counted_within_one(night, matched, names, rounds):
    """By incident, as a dispatcher reads them: two shooters at once are two incidents."""
    shots = [m.shot for m in matched[1].matches if m.truth_id.startswith(names) and m.shot is not None]
    incidents = {shot.incident_id for shot in shots}
    assert len(incidents) == 1
    last = [a["what"]["rounds"]["best"] for a in alerts(night[0]) if a["incident_id"] in incidents][-1]
    assert abs(last - rounds) <= 1


def alerts(folder):
    return [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]


def test_two_shooters_are_two_incidents(matched):
    left, right = (
        {m.shot.incident_id for m in matched[1].matches if m.truth_id.startswith(n) and m.shot}
        for n in ("left-", "right-")
    )
    assert not left & right


def test_every_published_revision_arrives_once_signed_and_in_order(night):
    folder, _ = night
    secret = Webhook((folder / "secret").read_text().strip())
    messages = received(folder)
    expected = [(a["alert_id"], a["revision"]) for a in alerts(folder) if a["outcome"] == "published"]
    names = []
    for message in messages:
        body = secret.verify(message["body"], message["headers"])
        data = body["data"]
        assert message["headers"]["webhook-id"] == f"{data['alert_id']}-r{data['revision']}"
        names.append((data["alert_id"], data["revision"]))
    assert sorted(names) == sorted(expected)
    assert len(set(names)) == len(names)
    by_alert = defaultdict(list)
    for alert_id, revision in names:
        by_alert[alert_id].append(revision)
    assert all(revisions == sorted(revisions) for revisions in by_alert.values())


def test_the_region_holds_the_truth_nearly_always(matched):
    figures = matched[1].figures()
    assert figures["held_share"] >= 0.85


def test_what_is_left_is_a_run(night):
    folder, said = night
    assert {"shots.csv", "detections.csv", "alerts.jsonl", "summary.json", "map.png", "received.jsonl", "secret"} <= {
        p.name for p in folder.iterdir()
    }
    assert (folder / "secret").stat().st_mode & 0o077 == 0
    assert any("bangs heard" in line for line in said)


def test_the_readme_shows_what_is_read(root, night):
    """The alert printed in the README is one of this night, word for word."""
    printed = []
    for line in (night[0] / "alerts.jsonl").read_text().splitlines():
        title, *rest = lines(decode(line))
        printed.append("\n".join([title, *(f"  {part}" for part in rest)]))
    shown = (root / "README.md").read_text().split("```text\n")[1].split("\n```")[0]
    assert shown in printed

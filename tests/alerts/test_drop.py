"""The drop: files that are whole, a map of what stands, and an old folder that does not grow for ever."""

from __future__ import annotations

import dataclasses
import errno
import json
import os

import pytest
import shapely
import shapely.geometry

from acoustic.instant import after
from alerts.alert import encode
from alerts.couriers.drop import DAY_NS, LARGEST_BYTES, LONGEST_NS, MAP, MOST_INCIDENTS, Drop
from alerts.delivery import Delivery
from alerts.desk import Desk
from alerts.words import radio_line
from tests.strategies import HARTFORD, NIGHT_NS, fix_at


def told(name="a", east_m=0.0):
    """New and revised, with a place on the Earth."""
    desk = Desk()
    first = desk.receive(fix_at(name, east_m=east_m, frame=HARTFORD))
    desk.receive(fix_at(f"{name}2", 0.5, east_m, frame=HARTFORD))
    return [*first, *desk.tick(after(NIGHT_NS, 600.0))]


def cancelled(alert):
    changes = {"kind": "cancelled", "status": "cancelled", "reason": "no-longer-gunfire"}
    return dataclasses.replace(alert, revision=alert.revision + 1, supersedes=alert.message_id, **changes)


def drop_in(drop, alert, queued_ns=NIGHT_NS, now_ns=None):
    delivery = Delivery(
        alert.alert_id, alert.revision, "drop", alert.kind, alert.published_at, encode(alert), queued_ns
    )
    return drop.deliver(delivery, queued_ns if now_ns is None else now_ns)


def map_of(folder):
    collection = json.loads((folder / MAP).read_text())
    assert collection["type"] == "FeatureCollection"
    return collection


def shown(folder):
    """Alert and revision of what the map shows."""
    return sorted({(f["properties"]["alert_id"], f["properties"]["revision"]) for f in map_of(folder)["features"]})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


def test_each_revision_is_a_file_and_the_map_shows_the_last(folder):
    drop, said = Drop("drop", folder), told()
    for number, alert in enumerate(said, start=1):
        assert drop_in(drop, alert).delivered
        assert shown(folder) == [(alert.alert_id, number)]
    assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == {
        f"{alert.message_id}.json": encode(alert) for alert in said
    }
    assert all(path.stat().st_mode & 0o777 == 0o640 for path in folder.iterdir())


def test_the_map_is_geojson_with_the_region_and_the_place_in_it(folder):
    """RFC 7946: longitude first, rings closed and counter-clockwise; shapely reads what we wrote."""
    drop = Drop("drop", folder)
    for k in range(3):
        drop_in(drop, told(f"n{k}", 100.0 * k)[-1])
    features = map_of(folder)["features"]
    assert len(features) == 6
    for place, region in zip(features[::2], features[1::2], strict=True):
        point, polygon = (shapely.geometry.shape(f["geometry"]) for f in (place, region))
        assert polygon.is_valid
        assert polygon.exterior.is_ccw
        assert polygon.contains(point)
        assert (point.x, point.y) == pytest.approx((-72.67, 41.77), abs=0.02)
    assert "crs" not in map_of(folder)


def test_each_feature_of_the_map_has_the_line_for_the_radio(folder):
    drop, said = Drop("drop", folder), told()
    drop_in(drop, said[-1])
    assert [f["properties"]["line"] for f in map_of(folder)["features"]] == [radio_line(said[-1])] * 2
    assert radio_line(said[-1]).startswith("GUNFIRE, USNG ")


def test_what_was_withdrawn_is_gone_from_the_map_and_stays_among_the_files(folder):
    drop, first, other = Drop("drop", folder), told("a")[0], told("b")[0]
    for alert in (first, other, cancelled(first)):
        drop_in(drop, alert)
    assert shown(folder) == [(other.alert_id, 1)]
    assert json.loads((folder / f"{first.alert_id}-r2.json").read_text())["status"] == "cancelled"
    drop_in(drop, first)  # revived by hand, it comes after its own end
    assert shown(folder) == [(other.alert_id, 1)]


def test_an_incident_leaves_the_map_after_a_day_and_an_unplaced_one_is_not_on_it(folder):
    drop, first, other = Drop("drop", folder), told("a")[0], told("b")[0]
    drop_in(drop, first)
    drop_in(drop, dataclasses.replace(told("c")[0], place=None))
    assert shown(folder) == [(first.alert_id, 1)]
    drop_in(drop, other, NIGHT_NS + DAY_NS + 1)
    assert shown(folder) == [(other.alert_id, 1)]


def test_a_restart_remembers_what_stands_and_clears_what_was_half(folder):
    said = [*told("a"), told("b")[0], cancelled(told("b")[0])]
    for alert in said:
        drop_in(Drop("drop", folder), alert)
    before = (folder / MAP).read_bytes()
    (folder / "half.json.partial").write_bytes(b"{")
    (folder / "theirs-r1.json").write_bytes(b"not ours")
    (folder / "readme.txt").write_text("somebody's")
    drop = Drop("drop", folder)
    drop_in(drop, said[2])
    assert (folder / MAP).read_bytes() == before
    assert not list(folder.glob("*.partial"))
    assert (folder / "readme.txt").read_text() == "somebody's"
    assert drop_in(drop, told("c")[0]).delivered
    assert shown(folder) == sorted([(said[2].alert_id, 3), (told("c")[0].alert_id, 1)])


def test_a_repeat_writes_nothing(folder, monkeypatch):
    drop, (first, *_) = Drop("drop", folder), told()
    drop_in(drop, first)
    monkeypatch.setattr("alerts.couriers.drop._write_whole", lambda *_: pytest.fail("something was written"))
    assert drop_in(drop, first).delivered


def test_a_file_that_somebody_spoilt_is_written_anew(folder):
    drop, (first, *_) = Drop("drop", folder), told()
    drop_in(drop, first)
    (folder / f"{first.message_id}.json").write_bytes(b"x" * len(encode(first)))
    assert drop_in(drop, first).delivered
    assert (folder / f"{first.message_id}.json").read_bytes() == encode(first)


def a_directory(path):
    path.mkdir()


def a_dangling_link(path):
    path.symlink_to("/nonexistent")


def a_pipe(path):
    os.mkfifo(path)


def unreadable(path):
    path.write_bytes(b"")
    os.truncate(path, LARGEST_BYTES + 1)  # more than any alert, with a hole in place of it


STRAYS = [a_directory, a_dangling_link, a_pipe, unreadable]


@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("name", ["zzz-r1.json", "zzz-r1.json.partial"])
def test_whatever_lies_in_the_folder_stops_no_alert(folder, stray, name):
    stray(folder / name)
    os.utime(folder / name, ns=(NIGHT_NS, NIGHT_NS), follow_symlinks=False)
    (first, *_) = told()
    assert drop_in(Drop("drop", folder), first).delivered
    assert shown(folder) == [(first.alert_id, 1)]


@pytest.mark.parametrize("stray", STRAYS[1:])
def test_what_has_the_name_of_a_file_gives_way_to_it(folder, stray):
    (first, *_) = told()
    drop = Drop("drop", folder)
    for name in (MAP, f"{first.message_id}.json"):
        stray(folder / name)
    assert drop_in(drop, first).delivered
    assert (folder / f"{first.message_id}.json").read_bytes() == encode(first)
    assert not (folder / f"{first.message_id}.json").is_symlink()
    assert shown(folder) == [(first.alert_id, 1)]


def test_a_folder_with_the_name_of_a_file_is_said_with_the_remedy(folder):
    (first, *_) = told()
    (folder / f"{first.message_id}.json").mkdir()
    receipt = drop_in(Drop("drop", folder), first)
    assert not receipt.delivered
    assert "take it away" in receipt.detail


def test_a_pipe_that_appears_while_it_runs_does_not_hang_it(folder):
    drop, first, other = Drop("drop", folder), told("a")[0], told("b")[0]
    drop_in(drop, first)
    os.mkfifo(folder / f"{other.message_id}.json.partial")
    receipt = drop_in(drop, other)
    assert (receipt.delivered, receipt.unanswered) == (False, True)
    assert "take it away" in receipt.detail


def test_a_file_dated_decades_ahead_does_not_empty_the_map_at_a_restart(folder):
    first, other = told("a")[0], told("b")[0]
    drop_in(Drop("drop", folder), first)
    (folder / "note-r1.json").write_text("{}")
    os.utime(folder / "note-r1.json", (4e9, 4e9))
    drop_in(Drop("drop", folder), other)
    assert shown(folder) == sorted([(first.alert_id, 1), (other.alert_id, 1)])


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room"), (errno.EROFS, "reading only"), (errno.EACCES, "who may write"), (errno.EIO, "log")],
)
def test_a_disk_that_refuses_is_a_receipt_with_the_remedy(folder, monkeypatch, number, remedy):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    receipt = drop_in(Drop("drop", folder), told()[0])
    assert (receipt.delivered, receipt.unanswered) == (False, True)
    assert str(folder) in receipt.detail
    assert remedy in receipt.detail
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_not_mounted_is_not_made(folder):
    drop = Drop("drop", folder / "share")
    receipt = drop_in(drop, told()[0])
    assert not receipt.delivered
    assert "mount" in receipt.detail
    assert not (folder / "share").exists()
    (folder / "share").mkdir()
    assert drop_in(drop, told()[0]).delivered


@pytest.mark.parametrize("name", ["../a", "a/b", "", "a" * 65, ".."])
def test_a_name_that_could_leave_the_folder_is_not_written(folder, name):
    (first, *_) = told()
    document = encode(first).replace(first.alert_id.encode(), name.encode())
    delivery = Delivery(name or "x", 1, "drop", "new", first.published_at, document, NIGHT_NS)
    receipt = Drop("drop", folder).deliver(delivery, NIGHT_NS)
    assert not receipt.delivered
    assert not receipt.unanswered
    assert list(folder.iterdir()) == []
    assert [path.name for path in folder.parent.iterdir()] == ["drop"]


def test_a_document_under_another_name_is_not_written(folder):
    first, second, _ = told()
    delivery = Delivery(first.alert_id, 1, "drop", "new", first.published_at, encode(second), NIGHT_NS)
    assert "the document is that of" in Drop("drop", folder).deliver(delivery, NIGHT_NS).detail


def test_old_files_are_swept_by_number_and_by_age(folder):
    drop = Drop("drop", folder, most_files=20)
    for k in range(60):
        assert drop_in(drop, told(f"n{k}")[0], after(NIGHT_NS, float(k))).delivered
        assert len(list(folder.glob("*.json"))) <= 20
    assert drop.swept >= 40
    assert (folder / f"{told('n59')[0].message_id}.json").exists()
    last = NIGHT_NS + LONGEST_NS + 3600 * 10**9
    drop_in(drop, told("last")[0], last)
    assert [path.stem for path in folder.glob("*.json")] == [told("last")[0].message_id]
    assert (folder / MAP).exists()


def test_a_stormy_night_does_not_make_the_map_grow_for_ever(folder, monkeypatch):
    monkeypatch.setattr("alerts.couriers.drop.MOST_INCIDENTS", 10)
    drop = Drop("drop", folder)
    for k in range(25):
        drop_in(drop, told(f"n{k}")[0], after(NIGHT_NS, float(k)))
    assert len(shown(folder)) == 10
    assert map_of(folder)["left_out"] == 15
    assert MOST_INCIDENTS == 500


@pytest.mark.parametrize("wrong", [{"most_files": 0}, {"longest_ns": 0}])
def test_a_drop_checks_itself(folder, wrong):
    with pytest.raises(ValueError, match="drop"):
        Drop("drop", folder, **wrong)

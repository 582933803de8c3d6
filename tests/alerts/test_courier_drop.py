"""The conformance suite against the drop, over a file system that fails when it is told to."""

from __future__ import annotations

import errno
import os

import pytest

from alerts.couriers.drop import MAP, Drop
from tests.couriers_conformance import LOST, WELL, CourierConformance

REAL = {name: getattr(os, name) for name in ("open", "write", "fsync", "replace")}
FAULTS = {"faulty": ("fsync", errno.EIO), "full": ("write", errno.ENOSPC), "refusing": ("open", errno.EROFS)}


class Rigged:
    """A folder whose disk takes half of what it is given, or none, or all of it and then fails."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.trouble, self.replaced = folder, WELL, False
        folder.mkdir()
        self.courier = Drop("drop", folder)
        self.secrets = ("whsec_none",)
        for name in REAL:
            monkeypatch.setattr(os, name, getattr(self, name))

    def become(self, trouble):
        self.trouble, self.replaced = trouble, False
        there = self.folder.exists()
        if trouble == "away" and there:
            self.folder.rename(self.folder.with_name("unmounted"))
        if trouble != "away" and not there:
            self.folder.with_name("unmounted").rename(self.folder)
        return trouble in {WELL, LOST, "cut", "away", *FAULTS}

    def accepted(self):
        home = self.folder if self.folder.exists() else self.folder.with_name("unmounted")
        assert not [path for path in home.iterdir() if path.name.endswith(".partial")], "nothing half is left"
        found = sorted((path for path in home.glob("*.json")), key=lambda path: path.stat().st_ctime_ns)
        return [(path.stem, path.read_bytes()) for path in found]

    def fail(self, name, path=None):
        mine = path is None or str(path).startswith(str(self.folder))
        if mine and FAULTS.get(self.trouble, ("", 0))[0] == name:
            raise OSError(FAULTS[self.trouble][1], os.strerror(FAULTS[self.trouble][1]))

    def open(self, path, flags, *rest, **named):
        if flags & os.O_CREAT:
            self.fail("open", path)
        return REAL["open"](path, flags, *rest, **named)

    def write(self, file, content):
        if self.trouble == "cut":
            if len(content) > 100:
                return REAL["write"](file, content[: len(content) // 2])
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.trouble == "full" and len(content) > 2000:
            return REAL["write"](file, content[:1000])
        if len(content) > 500:  # a file of ours; the log of a test is shorter
            self.fail("write")
        return REAL["write"](file, content)

    def fsync(self, file):
        if self.trouble == LOST and self.replaced:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.fail("fsync")
        return REAL["fsync"](file)

    def replace(self, source, target):
        REAL["replace"](source, target)
        self.replaced = True


class TestDrop(CourierConformance):
    @pytest.fixture
    def rig(self, tmp_path, monkeypatch):
        return Rigged(tmp_path / "drop", monkeypatch)


def test_the_map_is_whole_at_every_moment_of_a_failing_disk(tmp_path, monkeypatch):
    import json  # noqa: PLC0415

    from tests.couriers_conformance import burst, delivery_of  # noqa: PLC0415
    from tests.strategies import NIGHT_NS  # noqa: PLC0415

    rig = Rigged(tmp_path / "drop", monkeypatch)
    said = [alert for k in range(5) for alert in burst(f"n{k}")]
    for number, alert in enumerate(said):
        for trouble in ("full", "cut", "faulty", LOST, WELL)[number % 3 :]:
            rig.become(trouble)
            rig.courier.deliver(delivery_of(alert, rig.courier), NIGHT_NS)
            if (rig.folder / MAP).exists():
                assert json.loads((rig.folder / MAP).read_text())["type"] == "FeatureCollection"
    assert len(rig.accepted()) == len(said)

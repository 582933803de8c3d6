"""A soak of the couriers: one receiver moody, one dead, a folder; nothing grows but what is stored, and all books agree."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

from tests.record_stores import running_postgres


def soak(where, folder, root, seconds):
    """The found of so many seconds; its books are checked here."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.soak_couriers", str(where), str(folder), str(seconds)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=seconds + 600.0, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    check_books(found)
    return found


def check_books(found):
    stored, outbox, attempts = found["stored"], found["outbox"], found["attempts"]
    assert found["lost"] == []
    assert found["left"] == {"moody": 0, "map": 0}
    assert stored >= found["samples"][-1]["kept"] > 0
    for name in ("moody", "map"):
        assert outbox[name] == {"pending": 0, "sent": stored, "dead": 0}
        assert attempts[f"{name} sent"] == stored
    assert outbox["dead"]["sent"] == 0
    assert outbox["dead"]["pending"] + outbox["dead"]["dead"] == stored
    assert outbox["dead"]["dead"] == found["deaths"]
    assert (found["arrived"], found["files"], found["said_otherwise"]) == (stored, stored, 0)
    for name, counted in found["counted"].items():
        for kind in ("sent", "failed"):
            assert counted[kind] == attempts.get(f"{name} {kind}", 0), (name, kind)
    assert (found["ledger"], found["refused"]) == ("ok", 0)
    assert found["heads"] > 0


def thirds(samples, what):
    """The middle of the second third, and of the last."""
    third = len(samples) // 3
    return tuple(
        statistics.median(sample[what] for sample in part) for part in (samples[third : 2 * third], samples[-third:])
    )


def check_flat(samples):
    for what in ("threads", "files"):
        third = len(samples) // 3
        before, after = (max(s[what] for s in part) for part in (samples[: 2 * third], samples[-third:]))
        assert after <= before + 4, what  # a pool that is not full yet, an answer under way
    # Pages that SQLite and the allocator keep; what we hold on to is counted in blocks, without noise.
    before, after = thirds(samples, "rss_mb")
    assert after <= 1.1 * before + 2.0


def slope(samples, what):
    """From the second third to the last, for each revision that was kept meanwhile."""
    (before, after), (first, last) = thirds(samples, what), thirds(samples, "kept")
    return (after - before) / (last - first)


def test_three_couriers_for_some_hours(tmp_path, root):
    """Books only: how much is done in seconds, and what grows meanwhile, is a matter of the machine."""
    soak("record.db", tmp_path / "books", root, 12.0)


@pytest.mark.endurance
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_three_couriers_for_a_week(database, tmp_path, root):
    """Ten minutes of the machine's clock, at a thousand times its pace; on each database."""
    if database == "sqlite":
        found = soak("record.db", tmp_path / "books", root, 600.0)
    else:
        options = "-c shared_buffers=16MB -c max_connections=60 -c jit=off -c log_min_messages=fatal -c fsync=off"
        with running_postgres(f"{options} -c autovacuum_naptime=5s") as server, server.database() as where:
            found = soak(where, tmp_path / "books", root, 600.0)
    samples = found["samples"]
    figures = {what: slope(samples, what) for what in ("rss_mb", "blocks", "record_mb", "threads", "files")}
    print(json.dumps({"slopes for each revision": figures, **{k: v for k, v in found.items() if k != "samples"}}))
    print(json.dumps(samples[:: len(samples) // 10]))
    check_flat(samples)
    assert found["counted"]["moody"]["failed"] > 0
    assert len(found["turns"]) > 5, "it behaved in many ways"
    assert figures["blocks"] < 1.0, "not one small object for each revision, of which three deliveries are made"
    assert found["record_mb"] <= 1.5 * found["stored_mb"] + 1.0

"""Sound: only what alerts name, every part of it right, and nothing of it unlogged."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from alerts.record.store import Store, StoreError
from shotfix.api.audio import MOST_GAIN, MOST_SAMPLES, PEAK, part_of, wav_of
from shotfix.api.problems import Problem
from tests.api_city import REVIEW, flac, played

DIGEST, OTHER, DOUBTED = "ab" * 32, "cd" * 32, "ef" * 32


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


def test_only_what_an_alert_names(record_store, tmp_path):
    async def play(city):
        for digest in (DIGEST, OTHER, DOUBTED):
            city.clips.put(digest)
        city.tell("a", clips=(DIGEST,))
        city.tell("b", 100.0, llr=REVIEW, clips=(DOUBTED,))
        answer = await city.get(f"/audio/{DIGEST}")
        assert answer.body == city.clips.path(DIGEST).read_bytes()
        assert (answer.headers["content-type"], answer.headers["etag"]) == ("audio/flac", f'"{DIGEST}"')
        assert answer.headers["cache-control"] == "no-store"
        assert (await city.get(f"/audio/{OTHER}")).code == "unknown"  # it lies there, and no alert names it
        assert (await city.get(f"/audio/{DOUBTED}", "courier")).code == "unknown"  # never published
        assert (await city.get(f"/audio/{DIGEST}", "courier")).status == 200
        assert (await city.get(f"/audio/{DIGEST}", "researcher")).status == 403
        city.clips.put("01" * 32)
        city.tell("late", 900.0, clips=("01" * 32,))
        assert (await city.get(f"/audio/{'01' * 32}.wav")).status == 200  # named after the first look
        city.clips.path(DIGEST).unlink()
        assert (await city.get(f"/audio/{DIGEST}")).code == "unknown"
        for name in ("..", "%2e%2e%2fpeople.toml", "AB" * 32, "ab" * 31, "ab" * 33, "people.toml", ".wav", "%00" * 64):
            assert (await city.get(f"/audio/{name}")).code == "unknown", name

    played(play, record_store, tmp_path)


@given(
    st.integers(0, 40),
    st.integers(0, 50) | st.none(),
    st.integers(0, 50) | st.none(),
)
def test_a_range_is_a_slice(size, first, last):
    """RFC 9110, 14.1.2, by Python's own slices."""
    content = bytes(range(size))
    said = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    if first is None and last is None:
        expected = None
    elif first is None:
        expected = content[max(size - last, 0) :] if last else b""
    elif last is not None and last < first:
        expected = None  # no range at all: ignored
    else:
        expected = content[first : size if last is None else last + 1]
    if expected == b"":
        with pytest.raises(Problem) as refused:
            part_of(said, None, '"e"', size)
        assert (refused.value.status, refused.value.headers) == (416, {"content-range": f"bytes */{size}"})
        return
    part = part_of(said, None, '"e"', size)
    assert (None if part is None else content[part.first : part.last + 1]) == expected


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=-1-2", "bytes= 0-1"],
)
def test_what_is_no_range_is_ignored(header):
    assert part_of(header, None, '"e"', 100) is None


def test_parts_put_together_are_the_whole(store, tmp_path):
    async def play(city):
        city.tell("a", clips=(DIGEST,))
        whole, pieces = city.clips.put(DIGEST), []
        for first in range(0, len(whole), 3_000):
            answer = await city.get(f"/audio/{DIGEST}", range=f"bytes={first}-{first + 2_999}")
            assert answer.status == 206
            assert answer.headers["content-length"] == str(len(answer.body))
            assert answer.headers["content-range"].startswith(f"bytes {first}-")
            pieces.append(answer.body)
        assert b"".join(pieces) == whole
        assert (await city.get(f"/audio/{DIGEST}", range=f"bytes={len(whole)}-")).status == 416
        stale = await city.get(f"/audio/{DIGEST}", range="bytes=0-1", if_range='"other"')
        assert (stale.status, stale.body) == (200, whole)
        fits = await city.get(f"/audio/{DIGEST}", range="bytes=0-1", if_range=f'"{DIGEST}"')
        assert (fits.status, fits.body) == (206, whole[:2])

    played(play, store, tmp_path)


@given(st.integers(0, 32_767), st.integers(8, 400))
def test_a_phone_plays_it_loud_and_whole(peak, length):
    samples = np.zeros(length, np.int16)
    samples[length // 2] = peak
    played_back, rate_hz = soundfile.read(io.BytesIO(wav_of(flac(samples))))
    assert (rate_hz, len(played_back)) == (48_000, length)
    loudest = np.abs(played_back).max()
    assert loudest == pytest.approx(min(PEAK, peak / 32_768 * MOST_GAIN) if peak else 0.0, abs=2.0 / 32_768)
    wav = wav_of(flac(samples))
    assert (wav[:4], wav[8:12], int.from_bytes(wav[34:36], "little")) == (b"RIFF", b"WAVE", 16)


def test_an_hour_of_silence_is_not_decoded():
    """A few kilobytes of FLAC, which decoded would take gigabytes."""
    bomb = flac(np.zeros(MOST_SAMPLES + 1, np.int16))
    assert len(bomb) < 100_000
    with pytest.raises(Problem, match="too long"):
        wav_of(bomb)


def test_what_cannot_be_decoded_is_a_problem(store, tmp_path):
    async def play(city):
        city.tell("a", clips=(DIGEST,))
        city.clips.put(DIGEST)
        city.clips.path(DIGEST).write_bytes(b"fLaC no more")
        assert (await city.get(f"/audio/{DIGEST}.wav")).code == "fault"
        assert (await city.get(f"/audio/{DIGEST}")).status == 200

    played(play, store, tmp_path)


def test_nothing_goes_out_that_cannot_be_logged(store, tmp_path, monkeypatch):
    async def play(city):
        name = city.tell("a", clips=(DIGEST,))
        city.clips.put(DIGEST)
        good = store.write

        def full(work):
            raise StoreError("record.db: the disk is full; make room, nothing was lost")

        monkeypatch.setattr(store, "write", full)
        for path, who in (
            (f"/audio/{DIGEST}", "analyst"),
            (f"/audio/{DIGEST}.wav", "analyst"),
            ("/ledger", "auditor"),
            ("/access", "auditor"),
        ):
            answer = await city.get(path, who)
            assert (answer.status, answer.code) == (503, "record"), path
            assert "retry-after" in answer.headers
            assert "record.db" not in answer.body.decode()
        for path in ("/alerts", "/incidents", f"/incidents/{name}", "/queue", "/sensors"):
            assert (await city.get(path)).status == 200  # nobody is blind for want of a log
        assert (await city.act(name, "claim")).code == "record"
        waiting = len(city.api.room.access)
        assert waiting >= 10
        await city.api.room.access.flush()
        assert city.api.troubles == ["the record refuses the access log"]
        monkeypatch.setattr(store, "write", good)
        rows = (await city.get("/access?limit=500", "auditor")).json["accesses"]
        assert len(rows) >= waiting  # what waited is written
        assert city.api.troubles == []

    played(play, store, tmp_path)


def test_every_call_is_on_record(record_store, tmp_path):
    async def play(city):
        name = city.tell("a", clips=(DIGEST,))
        city.clips.put(DIGEST)
        await city.get(f"/audio/{DIGEST}", client=("192.0.2.7", 1))
        await city.get(f"/incidents/{name}")
        await city.get("/ledger")  # refused, and written down
        await city.get("/alerts?limit=x")
        await city.act(name, "claim")
        await city.ask("GET", "/alerts", None)  # nobody: counted, not written down
        rows = (await city.get("/access", "auditor")).json["accesses"]
        said = [(row["who"], row["what"], row["about"], row["status"]) for row in rows][::-1]
        assert said == [
            ("analyst", "GET /audio/{sha256}", DIGEST, 200),
            ("analyst", "GET /incidents/{incident_id}", name, 200),
            ("analyst", "GET /ledger", "", 403),
            ("analyst", "GET /alerts", "", 400),
            ("analyst", "POST /incidents/{incident_id}/claim", name, 200),
        ]
        assert rows[-1]["address"] == "192.0.2.7"
        about = (await city.get(f"/access?about={DIGEST}&who=analyst&limit=1", "auditor")).json
        assert [row["what"] for row in about["accesses"]] == ["GET /audio/{sha256}"]
        further = (await city.get(f"/access?before={about['next']}&about={DIGEST}", "auditor")).json
        assert further["accesses"] == []

    played(play, record_store, tmp_path)


def test_a_log_that_waits_is_bounded_and_its_losses_counted(store, tmp_path, monkeypatch):
    monkeypatch.setattr("shotfix.api.access_log.MOST_WAITING", 5)

    async def play(city):
        for _ in range(9):
            await city.get("/me")
        assert city.api.counts()["api_doings"]["access-lost"] == 4

    played(play, store, tmp_path)


def test_what_waits_is_written_when_the_centre_stops(store, tmp_path):
    async def play(city):
        for _ in range(3):
            await city.get("/me")

    played(play, store, tmp_path)
    with store.reading() as connection:
        assert connection.exec_driver_sql("select count(*) from access").scalar_one() == 3

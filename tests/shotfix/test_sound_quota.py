"""How much sound one person may fetch: so much in an hour, the same again for nothing, and nobody pays for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.record.store import Store
from shotfix.api.sound_quota import HOUR_S, SoundQuota
from tests.api_city import REVIEW, played

fetches = st.lists(st.tuples(st.sampled_from(["ann", "bob"]), st.integers(0, 8), st.integers(0, 1_500)), max_size=60)


@given(fetches, st.integers(1, 4))
def test_nobody_fetches_more_than_so_many_in_their_hour(fetches, most):
    """Against a list of all that was let out; who waits as long as they are told is let in."""
    now_s, out = 0, []
    quota = SoundQuota(most, lambda: now_s)
    for who, clip, pause_s in fetches:
        now_s += pause_s
        wait_s = quota.take(who, f"clip {clip}")
        mine = [(at_s, each) for name, at_s, each in out if name == who]
        recent = {each for at_s, each in mine if now_s - at_s < HOUR_S}
        if wait_s:
            assert len(recent) >= most
            assert 0.0 < wait_s <= HOUR_S
            again = SoundQuota(most, lambda: now_s + wait_s)  # noqa: B023  (asked at once)
            again._hours = dict(quota._hours)
            assert again.take(who, "another") == 0.0
        else:
            out.append((who, now_s, clip))
    for who, at_s, _ in out:
        window = {each for name, then_s, each in out if name == who and at_s <= then_s < at_s + HOUR_S}
        assert len(window) <= 2 * most  # of two hours that follow each other


def test_an_hour_that_is_over_is_forgotten():
    now_s = 0
    quota = SoundQuota(5, lambda: now_s)
    for number in range(1_000):
        now_s += 10
        quota.take(f"p{number}", "clip")
    assert len(quota._hours) <= 360


def test_who_has_fetched_enough_is_told_when_to_come_again_and_others_are_not(tmp_path):
    digests = [f"{number:02d}" * 32 for number in range(10, 14)]

    async def play(city):
        for digest in digests:
            city.clips.put(digest)
        city.tell("a", clips=tuple(digests))
        for digest in digests[:3]:
            assert (await city.get(f"/audio/{digest}")).status == 200
        refused = await city.get(f"/audio/{digests[3]}")
        assert (refused.status, refused.code) == (429, "too-many")
        assert 0 < int(refused.headers["retry-after"]) <= HOUR_S
        assert "clips_per_hour" in refused.json["detail"]
        assert (await city.get(f"/audio/{digests[3]}.wav")).status == 429
        assert (await city.get(f"/audio/{digests[0]}.wav", range="bytes=0-9")).status == 206  # heard already
        assert (await city.get(f"/audio/{digests[3]}", "supervisor")).status == 200
        await city.api.room.access.flush()
        page = (await city.get("/access", "auditor")).json["accesses"]
        assert ("analyst", 429) in {(entry["who"], entry["status"]) for entry in page}

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path, clips_per_hour=3)


def test_what_brings_no_sound_costs_nothing(tmp_path):
    """Digests that were retired or never named, clips of what was not published, heads, parts that lie outside."""
    there, kept_from, lone = ("ab" * 32, "cd" * 32, "ef" * 32)

    async def play(city):
        for digest in (there, kept_from, lone):
            city.clips.put(digest)
        city.tell("a", clips=(there, "01" * 32))
        city.tell("b", 100.0, llr=REVIEW, clips=(kept_from,))
        for _ in range(2):
            for digest in (lone, "01" * 32, kept_from, "45" * 32, "x"):
                assert (await city.get(f"/audio/{digest}", "courier")).status == 404
            assert (await city.ask("HEAD", f"/audio/{there}", "courier")).status == 200
            assert (await city.get(f"/audio/{there}", "courier", range="bytes=99999999-")).status == 416
        assert city.api.room.sound._hours == {}
        assert (await city.get(f"/audio/{there}", "courier")).status == 200
        assert city.api.room.sound._hours["courier"].clips == {there}

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path, clips_per_hour=1)


@pytest.mark.parametrize("most", [1, 2_000])
def test_one_name_is_one_person_whatever_tokens_they_have(most, tmp_path):
    async def play(city):
        digest = "ab" * 32
        city.clips.put(digest)
        city.tell("a", clips=(digest,))
        tokens = [city.enrol(name, "analyst") for name in ("Ann", "Ann", "ann")]
        for number in range(most):
            city.api.room.sound.take("ann", f"{number}")
        for shown in tokens:
            assert (await city.get(f"/audio/{digest}", shown)).status == 429
        assert (await city.ask("HEAD", f"/audio/{digest}", tokens[0])).status == 200

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path, clips_per_hour=most)

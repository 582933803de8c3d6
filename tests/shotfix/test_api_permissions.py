"""Who may do what: every operation by every role, with every kind of token that does not count, and without one."""

from __future__ import annotations

import re

import pytest

from alerts.record.store import Store
from shotfix.api.application import OPERATIONS
from shotfix.api.permissions import AUDIO, PERMISSIONS, ROLES, permitted, table_text
from tests.api_city import REVIEW, City, played

DIGEST = "ab" * 32


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record.db") as store:
        yield store


def filled(city):
    name = city.tell("a", clips=(DIGEST,), rounds=2)
    city.tell("b", 100.0, llr=REVIEW)
    city.clips.put(DIGEST)
    return {
        "incident_id": name,
        "alert_id": city.reviews.head(name).alert_id,
        "sha256": DIGEST,
        "courier": "room",
    }


def path_of(operation, names):
    return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], operation.path)


async def tried(city, operation, names, who):
    """One call of an operation with an empty body; a stream is only begun."""
    path = path_of(operation, names)
    if operation.name == "events" and who in city.tokens:
        async with city.listen(who) as listener:
            await listener.until(lambda me: me.status is not None)
            return listener.status
    body = {} if operation.method == "POST" else None
    answer = await city.ask(operation.method, path, who, body)
    if answer.status in (401, 403):
        assert answer.code in ("no-token", "not-permitted")
        assert answer.headers["cache-control"] == "no-store"
    return answer.status


def test_the_table_and_the_operations_are_the_same():
    assert sorted(PERMISSIONS) == sorted(operation.right for operation in OPERATIONS)
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert all(roles for roles in PERMISSIONS.values())


@pytest.mark.parametrize("audio_for_researchers", [False, True])
def test_every_cell(store, tmp_path, audio_for_researchers):
    async def play(city):
        names = filled(city)
        for operation in OPERATIONS:
            allowed = permitted(operation.right, audio_for_researchers=audio_for_researchers)
            for role in ROLES:
                status = await tried(city, operation, names, role)
                assert (status == 403) == (role not in allowed), (operation.right, role, status)
                assert status < 500

    played(play, store, tmp_path, audio_for_researchers=audio_for_researchers)


def test_nobody_and_nobodys_tokens(store, tmp_path):
    async def play(city: City):
        names = filled(city)
        city.enrol("late", *ROLES, expires_s=0.5)
        city.enrol("gone", *ROLES, revoked_ns=city.now_ns)
        forged = city.tokens["auditor"][:-2] + "xx"
        before = store.changes
        for operation in OPERATIONS:
            for who in (None, "late", "gone", forged, "", "auditor\u00e9"):
                city.api.room.attempts.__init__(lambda: 0.0)  # this is no test of the lock-out
                who = city.tokens.get(who, who)  # noqa: PLW2901
                assert await tried(city, operation, names, who) == 401, (operation.right, who)
        assert store.changes == before

    played(play, store, tmp_path)


def test_a_token_counts_in_its_header_alone(store, tmp_path):
    async def play(city):
        token = city.tokens["analyst"]
        assert (await city.ask("GET", f"/alerts?access_token={token}", None)).status == 401
        answer = await city.ask("GET", f"/alerts?access_token={token}", "analyst")
        assert answer.code == "bad-request"
        assert token not in answer.body.decode()
        for header in (f"Basic {token}", token, f"Bearer  {token} x", "Bearer"):
            assert (await city.ask("GET", "/me", None, authorization=header)).status == 401
        for header in (f"bearer {token}", f"BEARER {token}"):  # RFC 9110, 11.1: the scheme's case does not matter
            assert (await city.ask("GET", "/me", None, authorization=header)).status == 200
        refused = await city.ask("GET", "/me", None)
        assert refused.headers["www-authenticate"].startswith("Bearer")

    played(play, store, tmp_path)


def test_guessing_is_answered_ever_more_slowly_and_costs_no_honest_person(store, tmp_path, caplog):
    async def play(city):
        seen = []
        for number in range(40):
            answer = await city.ask("GET", "/me", f"shotfix_{number:043d}")
            seen.append(answer.status)
        assert seen[:10] == [401] * 10
        assert set(seen[10:]) == {429}
        assert int(answer.headers["retry-after"]) >= 1
        assert (await city.ask("GET", "/me", "analyst")).status == 200  # behind the same proxy
        assert (await city.ask("GET", "/me", "shotfix_x", client=("192.0.2.9", 1))).status == 401
        assert city.api.counts()["api_doings"]["locked-out"] == 30

    played(play, store, tmp_path)
    assert "shotfix_0" not in caplog.text


def test_several_roles_may_do_what_any_of_them_may(store, tmp_path):
    async def play(city):
        city.enrol("both", "courier", "auditor")
        assert (await city.get("/ledger", "both")).status == 200
        assert (await city.get("/queue", "both")).status == 403
        me = (await city.get("/me", "both")).json
        assert me["roles"] == ["courier", "auditor"]
        assert sorted(me["may"]) == sorted(
            right for right, roles in PERMISSIONS.items() if roles & {"courier", "auditor"}
        )

    played(play, store, tmp_path)


def test_there_is_nothing_beside_the_table(store, tmp_path):
    async def play(city):
        for method, path, status in (
            ("GET", "/", 404),
            ("GET", "/alert", 404),
            ("GET", "/alerts/", 404),
            ("PUT", "/alerts", 405),
            ("DELETE", "/incidents/a", 405),
            ("OPTIONS", "/alerts", 405),
            ("TRACE", "/alerts", 405),
            ("HEAD", "/events", 405),
            ("HEAD", "/alerts", 200),
        ):
            answer = await city.ask(method, path)
            assert answer.status == status, (method, path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in answer.headers

    played(play, store, tmp_path)


def test_docs_print_the_table(root):
    assert table_text() in (root / "docs" / "api.md").read_text()
    assert set(PERMISSIONS) >= AUDIO

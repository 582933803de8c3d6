"""Whatever is sent: an answer, a problem that says why, and never a fault of ours."""

from __future__ import annotations

import json
import os
import random
import re

import pytest

from alerts.record.store import Store
from shotfix.api.application import OPERATIONS
from shotfix.api.problems import CODES
from tests.api_city import REVIEW, played

DIGEST = "ab" * 32
EACH = 45
ENDURANCE = 1_000_000
WORDS = (
    "", "a", "0", "-1", "1", "9" * 30, "1e400", "NaN", "null", "true", "../..", "%00", "%ff", "%2e%2e%2f", "\u00e9", "\U0001f386",
    "' or 1=1 --", "<script>", "${jndi:x}", "\\x1b[2J", "x" * 300, "2026-11-21T02:00:00Z", "2026-13-45", "gunfire", "published",
    "-72.7,41.7,-72.6,41.8", "roof-1", DIGEST, DIGEST.upper(), "bjU", "=", "room", "live", 'W/"1"', '"1"', "*", "bytes=0-", "bytes=5-1",
)  # fmt: skip
HEADERS = (
    "if-match", "idempotency-key", "range", "if-range", "last-event-id", "content-type", "content-length", "accept", "host",
    "x-forwarded-for", "transfer-encoding", "origin", "cookie", "authorization",
)  # fmt: skip
MEMBERS = (
    "version", "judgement", "note", "latitude", "longitude", "radius_m", "into", "shot_ids", "act_id", "disposition",
    "evidence", "case_number", "officer_minutes", "text", "reason", "pinned", "system", "number", "linked", "x",
)  # fmt: skip
KEYS = (
    "from", "to", "outcome", "status", "mode", "beat", "bbox", "limit", "cursor", "revision", "after", "before", "who", "about",
    "kind", "x",
)  # fmt: skip


class Fuzzer:
    """Requests that are nearly right, and some that are not; the same for one seed."""

    def __init__(self, seed, names):
        self.draw = random.Random(seed)  # noqa: S311  (dice, not secrets)
        self.names = names

    def word(self):
        draw = self.draw
        if draw.random() < 0.7:
            return draw.choice(WORDS)
        return "".join(
            chr(draw.choice((draw.randrange(32, 127), draw.randrange(1, 0x2FFF)))) for _ in range(draw.randrange(20))
        )

    def value(self, depth=0):
        draw = self.draw
        kinds = [
            self.word, lambda: draw.randrange(-5, 5), lambda: draw.uniform(-1e3, 1e3), lambda: None, lambda: True,
            lambda: 10**draw.randrange(40), lambda: draw.choice((1e308, 5e-324, -0.0)),
        ]  # fmt: skip
        if depth < 3:
            kinds += [
                lambda: [self.value(depth + 1) for _ in range(draw.randrange(4))],
                lambda: {self.word(): self.value(depth + 1) for _ in range(draw.randrange(3))},
            ]
        return draw.choice(kinds)()

    def path(self, operation):
        draw = self.draw
        path = re.sub(
            r"\{(\w+)\}",
            lambda found: (
                self.names[found[1]] if draw.random() < 0.7 else self.word().replace("/", "").replace("?", "")
            ),
            operation.path,
        )
        given = [f"{draw.choice(KEYS)}={self.word()}" for _ in range(draw.choice((0, 0, 1, 1, 2, 3)))]
        return path + ("?" + "&".join(given) if given else "")

    def body(self):
        draw = self.draw
        kind = draw.random()
        if kind < 0.05:
            return draw.randbytes(draw.randrange(60))
        if kind < 0.1:
            return b"[" * draw.randrange(1, 60_000)
        said = {draw.choice(MEMBERS): self.value() for _ in range(draw.randrange(4))}
        text = json.dumps(said).encode()
        return text if kind < 0.9 else text[: draw.randrange(len(text) + 1)]

    def headers(self):
        draw = self.draw
        found = {name: self.word().replace("\n", "").replace("\r", "") for name in HEADERS[:-1] if draw.random() < 0.08}
        if draw.random() < 0.05:
            found["authorization"] = f"Bearer {self.word()}"
        return found


async def one(city, fuzzer, operation, roles):
    """One request; its status."""
    draw = fuzzer.draw
    body = fuzzer.body() if operation.method == "POST" or draw.random() < 0.05 else None
    headers = fuzzer.headers()
    if operation.method == "POST" and draw.random() < 0.7:
        headers["if-match"] = f'"{city.reviews.head(fuzzer.names["incident_id"]).version}"'
    sent = {name.replace("-", "_"): value for name, value in headers.items()}
    who = None if "authorization" in sent else draw.choice(roles)
    path = fuzzer.path(operation)
    city.seconds += 1.0
    if operation.streams and who is not None:
        async with city.listen(who, path, **sent) as listener:
            await listener.until(lambda me: me.status is not None)
            return listener.status
    answer = await city.ask(operation.method, path, who, body, **sent)
    said = f"{operation.method} {path} {sent} {body!r}"[:2_000]
    assert answer.status < 500, f"{said} -> {answer}"
    assert answer.headers["x-content-type-options"] == "nosniff", said
    if answer.status >= 400:
        assert CODES[answer.code][0] == answer.status == answer.json["status"], said
        assert answer.json["detail"].isascii(), said
        assert answer.json["detail"].isprintable(), said
    return answer.status


async def storm(city, count, seed):
    names = {
        "incident_id": city.tell("a", rounds=3, clips=(DIGEST,)),
        "courier": "room",
        "sha256": DIGEST,
    }
    names["alert_id"] = city.reviews.head(names["incident_id"]).alert_id
    city.tell("b", 100.0, llr=REVIEW)
    city.clips.put(DIGEST)
    fuzzer = Fuzzer(seed, names)
    roles = ("analyst", "supervisor", "researcher", "auditor", "courier")
    seen = {}
    for _ in range(count):
        for operation in OPERATIONS:
            status = await one(city, fuzzer, operation, roles)
            seen.setdefault(operation.right, set()).add(status)
    right = [statuses for right, statuses in seen.items() if right.startswith("GET")]
    assert sum(200 in statuses for statuses in right) >= 0.8 * len(right), seen  # it is not all refused at the door
    assert (await city.get("/ledger/verify", "auditor")).json["holds"]
    assert city.api.room.answered[500] == 0


def test_no_request_is_a_fault_of_ours(tmp_path, caplog):
    with Store(tmp_path / "record.db") as store:
        played(lambda city: storm(city, EACH, 6), store, tmp_path)
    for record in caplog.records:
        assert record.getMessage().isprintable(), record
        assert "fault of ours" not in record.getMessage()
    assert "shotfix_" not in caplog.text


@pytest.mark.endurance
def test_nor_of_a_million(tmp_path):
    each = int(os.environ.get("API_REQUESTS", ENDURANCE)) // len(OPERATIONS) // 10 + 1
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with Store(folder / "record.db") as store:
            played(lambda city, seed=seed: storm(city, each, seed), store, folder, patience_s=36_000.0)

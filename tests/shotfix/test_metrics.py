"""The metrics page of a centre at work, and who may read it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from alerts.policy import OUTCOMES
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from sensors.identity import Keyring
from shotfix.ingest import REASONS, Ingest
from shotfix.metrics import Figures, Metrics
from shotfix.vital_signs import VitalSigns
from tests.cities import small_city
from tests.shotfix.test_engine import opened, settle

BOARD = Path(__file__).parents[2] / "docs" / "deployment" / "grafana" / "shotfix.json"


@pytest.fixture(scope="module")
def at_work(tmp_path_factory):
    """An engine that has told of some shots, and its metrics."""
    folder = tmp_path_factory.mktemp("metrics")
    city = small_city(sensors=12, seconds=8.0)
    with opened(city, folder) as engine, Store(folder / "record.db") as store:
        ingest = Ingest(Keyring(city.registry.keys), engine, None, "boot", time.time_ns)
        keeping = engine._keeper
        figures = Figures(
            engine, ingest, engine._journal, keeping, Outbox(store), ["control-room"], dict, dict, time.time_ns
        )
        metrics = Metrics(engine, figures)
        for batch, sealed in city.all_sealed():
            engine.submit("batch", time.time_ns(), sealed, batch)
        settle(engine)
        yield engine, metrics


@pytest.fixture(scope="module")
def samples(at_work):
    page = at_work[1].page().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_the_dashboard_shows_metrics_that_a_centre_has(samples):
    board = json.loads(BOARD.read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for expression in shown for name in re.findall(r"shotfix_\w+", expression)}
    assert len(named) > 8
    assert named <= {name for name, *_ in samples}


def test_alarms_of_the_page_name_metrics_that_a_centre_has(samples):
    page = (BOARD.parents[1] / "README.md").read_text()
    named = set(re.findall(r"shotfix_(?:\w+)(?=[{ >\[])", page))
    assert len(named) >= 4
    assert named <= {name for name, *_ in samples}


def test_every_reason_is_there_before_it_happens(samples):
    """Otherwise the first forged batch is no increase."""
    for reason in REASONS:
        assert samples["shotfix_refused_total", ("reason", reason)] == 0.0
    for reason in ("not-taken", "not-its-sensor", "clock-bad"):
        assert samples["shotfix_passed_over_total", ("reason", reason)] == 0.0


def test_nothing_is_counted_in_secret(samples):
    kinds = {}
    for name, *labels in samples:
        kinds.setdefault(name, set()).update(value for key, value in labels if key == "kind")
    assert kinds["shotfix_seen_bounds_total"] == {"refused-as-shut", "forgotten-boots", "closed-gaps"}
    assert kinds["shotfix_journal_total"] == {"failed-flushes", "torn-writes", "retired-entries"}
    assert kinds["shotfix_sound_not_kept_total"] == {"lost", "refused", "crowded-out"}
    assert samples["shotfix_checkpoints_damaged",] == 0.0


def test_outcomes_are_outcomes(samples):
    outcomes = {dict(labels)["outcome"] for name, *labels in samples if name == "shotfix_alerts_total"}
    assert outcomes == set(OUTCOMES)


def test_latencies_are_counted_once_and_kept_nowhere(at_work, samples):
    engine, metrics = at_work
    count = samples["shotfix_message_to_alert_seconds_count",]
    assert count > 0
    assert "shotfix_message_to_alert_seconds_count " + str(count) in metrics.page().decode()
    before = vars(engine).keys()
    for _ in range(1_000):
        engine.observe_latency(0.1)
    assert vars(engine).keys() == before
    assert not [each for each in vars(engine).values() if isinstance(each, list) and len(each) >= 1_000]
    assert f"shotfix_message_to_alert_seconds_count {count + 1_000}" in metrics.page().decode()


# who may read it


def asked(at_work, client="127.0.0.1", token_file=None, **headers):
    engine, metrics = at_work
    signs = VitalSigns(engine, metrics, lambda: ["a courier sleeps"], token_file, time.time_ns)
    return answered(signs, "/metrics", client, {name.replace("_", "-"): said for name, said in headers.items()})


def answered(signs, path, client="127.0.0.1", headers=None):
    async def ask():
        line = httpx.ASGITransport(Starlette(routes=signs.routes()), client=(client, 5000))
        async with httpx.AsyncClient(transport=line, base_url="http://centre") as asking:
            return await asking.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_read_metrics(at_work, client):
    answer = asked(at_work, client)
    assert answer.status_code == 200
    assert "shotfix_node_state" in answer.text


@pytest.mark.parametrize(
    ("client", "headers"),
    [("192.0.2.7", {}), ("::ffff:192.0.2.7", {}), ("2001:db8::1", {}), ("", {}),
     ("127.0.0.1", {"x_forwarded_for": "192.0.2.7"}), ("127.0.0.1", {"forwarded": "for=192.0.2.7"})],
)  # fmt: skip
def test_others_may_not_nor_through_a_proxy(at_work, client, headers):
    answer = asked(at_work, client, **headers)
    assert answer.status_code == 403
    assert "shotfix_" not in answer.text


def test_whoever_shows_the_token_may(at_work, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret-of-prometheus\n")
    assert asked(at_work, "192.0.2.7", token, authorization="Bearer s3cret-of-prometheus").status_code == 200
    for said in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic s3cret-of-prometheus"}):
        assert asked(at_work, "127.0.0.1", token, **said).status_code == 401
    token.write_text("\n")
    assert asked(at_work, "127.0.0.1", token, authorization="Bearer ").status_code == 401
    token.unlink()
    assert asked(at_work, "127.0.0.1", token, authorization="Bearer ").status_code == 401


def test_readiness_tells_of_what_is_wrong_beside_the_engine(at_work):
    engine, metrics = at_work
    signs = VitalSigns(engine, metrics, lambda: ["a courier sleeps"], None, time.time_ns)
    answer = answered(signs, "/readyz")
    assert answer.status_code == 503
    assert "a courier sleeps" in answer.json()["because"]

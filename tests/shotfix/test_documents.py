"""Every record of the river as JSON: there and back, by its published schema, and nothing that is not one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.bearing import Bearing
from acoustic.block import AudioBlock
from alerts.delivery import Delivery, Receipt
from alerts.desk import Desk
from alerts.incident import Incident
from localization.association import Association
from sensors.health import ClockState, Heartbeat
from sensors.site import Element, Geodetic, Network, Site
from shotfix import documents
from tests import strategies, streets


def examples():
    """One record of each kind, with everything in it that can be."""
    heard = dataclasses.replace(
        streets.pulse("A", 1.0),
        bearing=Bearing(12.5, 2.0),
        flags=("clipped",),
    )
    roof = Site("R", Geodetic(41.7, -72.6, 12.0), 0.5, 1.0, 1e-4, 110.0, (Element(0, 0.1, 0.0, 0.0),), streets.START_NS)
    fix = strategies.fix_at("s1", 1.0, 20.0, 30.0)
    unfixed = strategies.unfixed_at("s2", 2.0)
    (alert,) = Desk(mode="test").receive(strategies.fix_at("s3", 1.0, 20.0, 30.0, llr=9.0))
    return [
        AudioBlock(
            np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(6, 2), 16_000, streets.START_NS, after_gap=True
        ),
        heard.pick,
        heard,
        Heartbeat("A", streets.START_NS, noise_floor_db_spl=41.5, gaps=2, clock=ClockState("locked", 1e-6)),
        roof,
        Network((roof,), revision=3),
        Association((heard, streets.pulse("B", 1.2)), ("C",), 12.5),
        fix,
        unfixed,
        Incident("s1", (fix, unfixed)),
        alert,
        Delivery(alert.alert_id, 1, "room", "new", alert.published_at, b"{}", streets.START_NS, 2),
        Receipt(delivered=False, detail="no answer", retry_after_s=5.0, unanswered=True),
    ]


EXAMPLES = examples()


def same(one, other):
    """Equal, arrays included."""
    if isinstance(one, AudioBlock):
        return one.samples.tolist() == other.samples.tolist() and (one.rate_hz, one.start_ns, one.after_gap) == (
            other.rate_hz, other.start_ns, other.after_gap,
        )  # fmt: skip
    return one == other


def test_every_kind_has_an_example():
    assert [type(record) for record in EXAMPLES] == list(documents.KINDS.values())


@pytest.mark.parametrize("record", EXAMPLES, ids=list(documents.KINDS))
def test_there_and_back(record):
    text = documents.encode(record)
    assert "\n" not in text
    assert same(documents.decode(text), record)
    assert documents.encode(documents.decode(text)) == text


def test_published_schema_is_current(root):
    """Renewed by: python -c 'from shotfix.documents import schema_text; print(schema_text(), end="")'."""
    assert (root / "docs" / "schemas" / "records.schema.json").read_text() == documents.schema_text()


@pytest.mark.parametrize("record", EXAMPLES, ids=list(documents.KINDS))
def test_schema_accepts_what_is_written_and_refuses_more(record):
    checker = jsonschema.Draft202012Validator(documents.schema())
    document = json.loads(documents.encode(record))
    assert checker.is_valid(document)
    document["record"]["surprise"] = 1
    assert not checker.is_valid(document)
    with pytest.raises(documents.DocumentError, match="unknown member 'surprise'"):
        documents.decode(json.dumps(document))


WRONG = [
    ("", "not JSON"),
    ("[]", "not a document"),
    ('{"schema_version":"1.0","kind":"pick"}', "not a document"),
    ('{"schema_version":"9.0","kind":"pick","record":{}}', "this program reads 1.0"),
    ('{"schema_version":"1.0","kind":"song","record":{}}', "kind is 'song'"),
    ('{"schema_version":"1.0","kind":["pick"],"record":{}}', "kind is"),
    ('{"schema_version":"1.0","kind":"pick","record":{"onset_ns":1}}', "sigma_s is missing"),
    ('{"schema_version":"1.0","kind":"pick","record":{"onset_ns":1.5,"sigma_s":1}}', "pick.onset_ns: expected integer"),
    (
        '{"schema_version":"1.0","kind":"pick","record":{"onset_ns":true,"sigma_s":1}}',
        "pick.onset_ns: expected integer",
    ),
    ('{"schema_version":"1.0","kind":"pick","record":{"onset_ns":1,"sigma_s":NaN}}', "pick.sigma_s: expected number"),
    ('{"schema_version":"1.0","kind":"pick","record":{"onset_ns":1,"sigma_s":-1}}', "sigma_s is -1"),
    ('{"schema_version":"1.0","kind":"pick","record":[]}', "expected an object"),
    ("[" * 100_000, "not JSON"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_what_is_no_document(text, words):
    with pytest.raises(documents.DocumentError) as caught:
        documents.decode(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 2**32 - 1))
def test_no_damage_does_harm(seed):
    check_damage(seed)


@pytest.mark.endurance
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50_000)
def test_no_damage_for_long(seed):
    check_damage(seed)


def check_damage(seed):
    """A document with something in it replaced, dropped or repeated: a record, or a DocumentError, and nothing else."""
    dice = random.Random(seed)  # noqa: S311  (dice, not secrets)
    document = json.loads(documents.encode(dice.choice(EXAMPLES)))
    node = document["record"]
    while isinstance(node, dict) and node and dice.random() < 0.7:
        name = dice.choice(sorted(node))
        if isinstance(node[name], dict) and node[name]:
            node = node[name]
            continue
        node[name] = dice.choice([None, -1, 1e308, "x", [], {}, [[]], True, 2**70, {"type": "Fix"}])
        break
    with contextlib.suppress(documents.DocumentError):
        documents.decode(json.dumps(document))


def test_what_has_no_kind():
    with pytest.raises(TypeError, match="documents are block, pick"):
        documents.encode(Geodetic(1.0, 2.0, 3.0))

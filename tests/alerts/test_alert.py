"""The alert document: its published schema, its bytes, its GeoJSON, and what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import json

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.instant import after
from alerts.act import Act
from alerts.alert import Alert, Provenance, alert_instant, decode, encode, substance
from alerts.alert_schema import schema, schema_text
from alerts.desk import Desk
from tests.strategies import HARTFORD, NIGHT_NS, fix_at, unfixed_at

PROVENANCE = Provenance(versions={"shotfix": "0.1.0"}, model_hash="0" * 64, configuration_hash="1" * 64)


def alerts_of(*shots, **setting):
    desk = Desk(**setting)
    said = [alert for shot in shots for alert in desk.receive(shot)]
    return [*said, *desk.tick(after(NIGHT_NS, 3600.0))]


def burst(frame=None):
    return [fix_at(f"r{k}", 0.1 * k, 2.0 * k, frame=frame, silent=("s9",)) for k in range(5)]


def reviewed(judgement, *shots):
    """What is told of these shots, and then what a person says of the last of it."""
    desk = Desk()
    said = [alert for shot in shots for alert in desk.receive(shot)]
    said += desk.tick(after(NIGHT_NS, 60.0))
    about = {"alert_id": said[-1].alert_id, "incident_id": said[-1].incident_id, "by": "ann", "at_ns": NIGHT_NS}
    said += desk.act(Act("h1", "judge", **about, judgement=judgement, note="a whistle before"))
    return [*said, *desk.act(Act("h2", "place", **about, latitude=41.766, longitude=-72.673, radius_m=25.0))]


SAMPLES = {
    "burst on the earth": lambda: alerts_of(*burst(HARTFORD), mode="replay", provenance=PROVENANCE),
    "burst in a plane": lambda: alerts_of(*burst(), mode="exercise", frame_name="range"),
    "ambiguous": lambda: alerts_of(fix_at("a", other=(0.4, 200.0, 0.0), frame=HARTFORD, inside_hull=False)),
    "for review": lambda: alerts_of(fix_at("a", llr=0.0)),
    "suppressed": lambda: alerts_of(fix_at("a", llr=-9.0)),
    "no place": lambda: alerts_of(unfixed_at("a", llr=9.0)),
    "confirmed by a person": lambda: reviewed("gunfire", *burst(HARTFORD)),
    "denied by a person": lambda: reviewed("fireworks", fix_at("a", other=(0.4, 200.0, 0.0), frame=HARTFORD)),
    "placed by a person alone": lambda: reviewed("unsure", unfixed_at("a", llr=9.0)),
    "cancelled": lambda: alerts_of(fix_at("a"), fix_at("a", llr=-9.0, revision=2)),
}


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def test_the_published_schema_is_current(root):
    published = (root / "docs" / "schemas" / "alert.schema.json").read_text("utf-8")
    assert published == schema_text(), "write alerts.alert_schema.schema_text() there again"


@pytest.mark.parametrize("sample", SAMPLES)
def test_what_the_desk_says_fits_the_schema(sample, validator):
    said = SAMPLES[sample]()
    assert said
    for alert in said:
        validator.validate(json.loads(encode(alert)))


@pytest.mark.parametrize("sample", SAMPLES)
def test_an_alert_comes_back_from_its_bytes(sample):
    for alert in SAMPLES[sample]():
        assert decode(encode(alert)) == alert
        assert encode(decode(encode(alert))) == encode(alert)


def test_every_member_of_the_contract_is_there():
    alert = json.loads(encode(SAMPLES["burst on the earth"]()[-1]))
    assert set(alert) >= {
        "schema_version", "alert_id", "incident_id", "revision", "supersedes", "reason", "status", "mode", "outcome",
        "discharge_time", "detected_at", "published_at", "place", "what", "rounds", "sensors", "audio", "actions",
        "provenance",
    }  # fmt: skip
    assert set(alert["place"]) >= {
        "latitude", "longitude", "covariance_m2", "ellipse", "polygon", "modes", "address", "intersection", "beat",
        "large_parcel", "inside_hull", "usng",
    }  # fmt: skip
    assert set(alert["place"]["ellipse"]) == {"semi_major_m", "semi_minor_m", "azimuth_deg", "confidence"}
    assert set(alert["what"]["rounds"]) == {"min", "best", "max"}
    assert set(alert["what"]) >= {"probabilities", "llr", "prior", "rounds", "cadence_s", "flags"}
    assert set(alert["sensors"]) == {"heard", "used", "expected"}
    assert alert["actions"] == {"cameras": [], "readers": []}
    assert alert["provenance"]["versions"] == {"shotfix": "0.1.0"}
    assert alert["provenance"]["weather"]["temperature_c"] == 8.0
    assert alert["provenance"]["models"] == ["test-1"]
    assert len(alert["rounds"]) == 5


def test_numbers_of_the_burst():
    last = SAMPLES["burst on the earth"]()[-1]
    assert (last.status, last.outcome, last.mode) == ("confirmed", "published", "replay")
    assert (last.what.rounds.best, last.what.cadence_s) == (5, 0.1)
    assert last.what.flags == ("full-automatic", "multiple-rounds")
    assert (last.sensors.heard, last.sensors.used, last.sensors.expected) == (4, 4, 5)
    assert last.discharge_time.first == "2026-11-21T02:14:07.412000Z"
    assert last.discharge_time.last == "2026-11-21T02:14:07.812000Z"
    assert last.discharge_time.sigma_s == 0.002
    assert sum(last.what.probabilities.values()) == pytest.approx(1.0, abs=5e-6)
    assert last.what.probabilities["gunshot"] == last.what.p_gunshot
    assert last.discharge_time.first < last.detected_at < last.published_at


def test_geojson_has_a_point_and_a_region_for_each_place():
    (alert, *_) = SAMPLES["ambiguous"]()
    collection = alert.to_geojson()
    assert collection["type"] == "FeatureCollection"
    kinds = [feature["geometry"]["type"] for feature in collection["features"]]
    assert kinds == ["Point", "Polygon", "Point", "Polygon"]
    longitude, latitude = collection["features"][0]["geometry"]["coordinates"]
    assert (longitude, latitude) == (alert.place.longitude, alert.place.latitude)
    ring = collection["features"][1]["geometry"]["coordinates"][0]
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring))
    assert area > 0.0, "RFC 7946: counter-clockwise"
    json.dumps(collection, allow_nan=False)


def test_a_document_of_the_version_before_is_still_read():
    """Version 1.1 adds members and takes none away: what an older program stored is an alert of this one."""
    document = msgspec.to_builtins(SAMPLES["burst on the earth"]()[-1])
    document["schema_version"] = "1.0"
    del document["review"], document["what"]["priors"], document["what"]["expected"]
    for name in ("parcel", "addresses", "addresses_touched"):
        del document["place"][name]
    for one in document["rounds"]:
        del one["incident_id"]
    alert = decode(json.dumps(document))
    assert (alert.schema_version, alert.review, alert.place.addresses, alert.what.priors) == ("1.0", None, (), None)


@pytest.mark.parametrize("sample", ["burst in a plane", "no place"])
def test_geojson_is_empty_without_degrees(sample):
    assert SAMPLES[sample]()[-1].to_geojson() == {"type": "FeatureCollection", "features": []}


def test_revisions_and_kinds_are_checked_at_birth():
    alert = SAMPLES["suppressed"]()[0]
    for wrong in ({"revision": 2}, {"supersedes": "x-r1"}, {"kind": "cancelled"}, {"revision": 0}):
        with pytest.raises(ValueError):
            dataclasses.replace(alert, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [b"", b"{}", b"[]", b"{", b"\xff", b'{"schema_version": "2.0"}'],
)
def test_what_is_no_alert_is_refused_in_words(wrong):
    with pytest.raises(ValueError, match=r"not an alert of schema version 1\.1"):
        decode(wrong)


@given(st.data())
@settings(max_examples=60)
def test_a_member_of_another_type_is_refused(data):
    document = msgspec.to_builtins(SAMPLES["suppressed"]()[0])
    name = data.draw(st.sampled_from([k for k in document if k not in ("supersedes", "merged_into", "place", "audio")]))
    document[name] = data.draw(
        st.sampled_from([None, 1.5, "", [], True]).filter(
            lambda v: v != document[name] and not (v == [] and name == "rounds")
        )
    )
    with pytest.raises(ValueError, match="not an alert"):
        decode(json.dumps(document))


def test_substance_leaves_out_what_every_revision_changes():
    first, last = SAMPLES["for review"]()
    assert first.status != last.status
    assert substance(first) == substance(dataclasses.replace(first, published_at=alert_instant(NIGHT_NS)))
    assert substance(first) != substance(last)
    assert isinstance(substance(last), Alert)

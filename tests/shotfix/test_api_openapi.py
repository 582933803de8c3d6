"""The OpenAPI document: valid by somebody else's word, as it is served, and true of what is answered."""

from __future__ import annotations

import json
import os
import re

import jsonschema
import pytest
from openapi_spec_validator import validate

from alerts.record.store import Store
from shotfix.api.application import OPERATIONS, openapi_text
from shotfix.api.permissions import PERMISSIONS, ROLES
from shotfix.api.problems import CODES
from tests.api_city import REVIEW, played

DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def document():
    return json.loads(openapi_text())


def test_it_is_valid(document):
    validate(document)
    assert document["openapi"] == "3.1.0"


def test_the_file_is_what_is_served(root, document):
    published = root / "docs" / "schemas" / "openapi.json"
    if os.environ.get("WRITE_GOLDEN"):
        published.write_bytes(openapi_text())
    assert published.read_bytes() == openapi_text(), "run this with WRITE_GOLDEN=1, and look at what changed"


def test_it_names_every_operation_and_who_may(document):
    said = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert sorted(said) == sorted(PERMISSIONS)
    for right, operation in said.items():
        assert operation["x-roles"] == [role for role in ROLES if role in PERMISSIONS[right]]
        names = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert names == set(re.findall(r"\{(\w+)\}", right))
        for status, answer in operation["responses"].items():
            assert "$ref" not in answer or status in document["components"]["responses"]
    assert {str(status) for status, _ in CODES.values()} <= set(document["components"]["responses"]) | {"404", "405"}


def test_what_is_answered_is_what_it_says(tmp_path, document):
    """Every JSON answer of a small night, by its schema (draft 2020-12, which OpenAPI 3.1 uses)."""

    def check(right, answer):
        method, path = right.split(" ")
        responses = document["paths"][path][method.lower()]["responses"]
        said = responses[str(answer.status)]
        if "$ref" in said:
            said = document["components"]["responses"][str(answer.status)]
        media = answer.headers["content-type"].partition(";")[0]
        schema = said["content"][media].get("schema")
        if schema is None:
            return
        whole = {"components": document["components"], **schema}
        jsonschema.Draft202012Validator(whole).validate(answer.json)

    async def play(city):
        name, other = city.tell("a", rounds=2, clips=(DIGEST,)), city.tell("b", 100.0, llr=REVIEW)
        names = {"incident_id": name, "alert_id": city.reviews.head(name).alert_id, "sha256": DIGEST, "courier": "room"}
        bodies = {
            "judge": {"judgement": "gunfire"}, "opinion": {"judgement": "gunfire"}, "adjudicate": {"judgement": "other"},
            "place": {"latitude": 41.7, "longitude": -72.6, "radius_m": 9}, "merge": {"into": other}, "pin": {"reason": "x"},
            "split": {"shot_ids": ["a-0"]}, "undo": {"act_id": "h1"}, "disposition": {"disposition": "other"},
            "note": {"text": "x"}, "link": {"system": "911", "number": "1"},
        }  # fmt: skip
        city.enrol("all", *ROLES)
        for _ in range(2):
            for operation in OPERATIONS:
                if operation.answer in ("text/event-stream", "audio/flac", "audio/wav"):
                    continue
                path = re.sub(r"\{(\w+)\}", lambda found: names[found[1]], operation.path)
                if operation.method == "POST":
                    version = city.reviews.head(name).version
                    answer = await city.ask(
                        "POST", path, "all", bodies.get(operation.name, {}), if_match=f'"{version}"'
                    )
                else:
                    answer = await city.get(path, "all")
                assert answer.status < 500, (operation.right, answer.body)
                check(operation.right, answer)
                check(operation.right, await city.ask(operation.method, path, None))
        served = await city.get("/openapi.json")
        assert served.body == openapi_text()

    with Store(tmp_path / "record.db") as store:
        played(play, store, tmp_path)

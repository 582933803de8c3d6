"""The published schema of the alert document."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from alerts.alert import Alert

SCHEMA_TITLE: Final = "shotfix alert"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    result = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA_TITLE,
        **msgspec.json.schema(Alert),
    }
    for part in result["$defs"].values():
        # The first paragraph says what it is; the rest speaks to programmers, and its indentation differs by Python.
        if "description" in part:
            part["description"] = " ".join(part["description"].split("\n\n")[0].split())
    return result


def schema_text() -> str:
    """The content of docs/schemas/alert.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"

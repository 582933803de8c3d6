"""The OpenAPI document (3.1), made from the operations and the records that they speak in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shotfix.api import answers
from shotfix.api.call import Call, Operation
from shotfix.api.permissions import ROLES, permitted
from shotfix.api.problems import CODES, TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response

VERSION: Final = "1.0"
_REFERENCE: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_EVERYWHERE: Final = (400, 401, 403, 429, 500, 503)
_MEDIA: Final = ("audio/flac", "audio/wav", "text/event-stream")


async def openapi(call: Call) -> Response:
    """The document itself."""
    return call.answer(msgspec.Raw(await call.do(call.room.document)))


def text(operations: Iterable[Operation]) -> bytes:
    """The document as a file."""
    return (json.dumps(document(operations), indent=1, ensure_ascii=False) + "\n").encode()


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document of some operations."""
    operations = tuple(operations)
    types: list[Any] = []
    for operation in operations:
        types += [kind for kind in (operation.query, operation.body) if kind is not None]
        types += _answers(operation)
    schemas, components = msgspec.json.schema_components((*types, answers.Problem), ref_template=_REFERENCE)
    of = {id(kind): schema for kind, schema in zip(types, schemas, strict=False)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, of, components)
    queries = {operation.query.__name__ for operation in operations if operation.query is not None}
    kept = {name: _trimmed(schema) for name, schema in sorted(components.items()) if name not in queries}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "shotfix",
            "version": VERSION,
            "summary": "What a shotfix centre tells people and programs, and what they tell it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": kept,
            "responses": {str(status): _problem(status) for status in sorted({status for status, _ in CODES.values()})},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "As `shotfix token add` printed it; in this header and nowhere else.",
                }
            },
        },
    }


def _operation(operation: Operation, of: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    allowed = permitted(operation.right)
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.says,
        "x-roles": [role for role in ROLES if role in allowed],
        "parameters": [*_names(operation.path), *_query(operation, components), *_headers(operation)],
    }
    if operation.body is not None:
        required = bool(_part(operation.body, components).get("required"))
        said["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": of[id(operation.body)]}},
        }
    said["responses"] = _responses(operation, of)
    return said


def _responses(operation: Operation, of: dict[int, Any]) -> dict[str, Any]:
    media = operation.answer if operation.answer in _MEDIA else "application/json"
    schemas = [of[id(kind)] for kind in _answers(operation)]
    schema: Any = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    if media == "text/event-stream":
        schema = {"type": "string"}
    content = {media: {"schema": schema} if media not in _MEDIA[:2] else {}}
    found: dict[str, Any] = {"200": {"description": operation.says, "content": content}}
    if operation.answer is answers.Done:
        found["202"] = {"description": "Written; the revision that it leads to is still to come.", "content": content}
    if media in _MEDIA[:2]:
        found["206"] = {"description": "The part that Range asked for.", "content": content}
    problems = set(_EVERYWHERE)
    problems |= {404} if "{" in operation.path else set()
    problems |= {416} if media in _MEDIA[:2] else set()
    problems |= {409, 411, 413, 415, 422} if operation.body is not None else set()
    problems |= {428} if operation.versioned else set()
    return found | {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(problems)}


def _answers(operation: Operation) -> list[Any]:
    """The types that an answer may have; none where it is no JSON."""
    if operation.answer in _MEDIA:
        return []
    return list(operation.answer) if isinstance(operation.answer, tuple) else [operation.answer]


def _names(path: str) -> list[dict[str, Any]]:
    shape = {"type": "string", "minLength": 1, "maxLength": 64}
    return [{"name": name, "in": "path", "required": True, "schema": shape} for name in _PARAMETER.findall(path)]


def _query(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    part = _part(operation.query, components)
    return [
        {"name": name, "in": "query", "required": name in part.get("required", ()), "schema": schema}
        for name, schema in part["properties"].items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    found = []
    if operation.body is not None:
        words = "Of this request; the same one again does nothing again, and is answered alike."
        shape = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{8,128}$"}
        found.append({"name": "Idempotency-Key", "in": "header", "description": words, "schema": shape})
    if operation.body is not None and operation.answer is answers.Done:
        words = "The version that was looked at, as an ETag; or `version` in the body."
        found.append({"name": "If-Match", "in": "header", "description": words, "schema": {"type": "string"}})
    if operation.answer == "text/event-stream":
        found.append(
            {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}}
        )
    if operation.answer in _MEDIA[:2]:
        found.append({"name": "Range", "in": "header", "schema": {"type": "string"}})
    return found


def _problem(status: int) -> dict[str, Any]:
    said = " ".join(f"`{code}`: {words}" for code, (its, words) in CODES.items() if its == status)
    return {"description": said, "content": {TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _part(kind: type, components: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = components[kind.__name__]
    return found


def _trimmed(schema: dict[str, Any]) -> dict[str, Any]:
    """The first paragraph of a description says what it is; the rest speaks to programmers."""
    if "description" not in schema:
        return schema
    return schema | {"description": " ".join(schema["description"].split("\n\n")[0].split())}


OPERATIONS: Final = (Operation("openapi", "GET", "/openapi.json", "This document.", openapi, answer=dict[str, Any]),)

"""The OpenAPI 3.1 document, made from the same tables as the routes.

Some formats are our own, as no JSON Schema can say them: ``role-binding``, ``policy-name`` (docs/vocabulary.md), ``lifetime``
(``30d``, ``never``, a date and time with zone) and ``moment`` (such a time, or ``7d`` back from now). ``tests/fuzz`` holds the
document against what is really answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from mcpctl.api.naming import ID_PATTERN
from mcpctl.api.operations import Operation, Unguarded
from mcpctl.policy.names import NAME_PATTERN, USER_PATTERN

_REF = "#/components/schemas/{model}"
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable; see the documentation of errors"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "missing": {"type": "array", "items": {"type": "string"}, "description": "each right that is lacking"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string"},
                    "message": {"type": "string"},
                    "nearest": {"type": "string"},
                },
            },
        },
    },
}
_NAMED = {"users": USER_PATTERN, "members": USER_PATTERN, "sessions": None}
"""What stands in a path behind this word, beside an id; else it is an ordinary name."""

_CHALLENGE = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}, "description": "RFC 9110, RFC 6750"}}
_REQUEST_ID = {"X-Request-Id": {"required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 64}}}
_REVISION = {"Mcpctl-Revision": {"required": True, "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}}}
_ABOUT = (
    "Authorization service and control plane for MCP servers. Any request may have the header Mcpctl-Min-Revision with the "
    "Mcpctl-Revision of an earlier answer: a replica that has not heard of that revision catches up first, or answers 503."
)
_ANY_REQUEST_ID = {"X-Request-Id": {"required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 255}}}
"""AuthZEN gives back whatever was sent."""
_WORDS = {
    400: "the body cannot be read",
    401: "no bearer, or no good one",
    403: "the policy says no",
    404: "there is no such thing",
    409: "the present state does not allow it",
    413: "the body is too large",
    415: "the body is not JSON",
    421: "this server does not answer for that host",
    422: "a field breaks a rule",
    429: "slowed down after failures",
    503: "something this depends on does not answer",
}


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _described(operation, schemas)
        if links := _links(operation, operations):
            described["responses"][str(operation.status)]["links"] = links
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mcpctl",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a session (mcpctl_ses_…) or a token (mcpctl_pat_…)",
                }
            },
        },
    }


def _described(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "description": f"Guard: {operation.guard}.",
        "tags": list(operation.tags),
        "responses": _responses(operation, schemas),
    }
    if parameters := _parameters(operation, schemas):
        described["parameters"] = parameters
    if operation.body_adapter is not None:
        schema = _schema(operation.body_adapter, schemas, "validation")
        described["requestBody"] = {
            "required": not _nullable(schema),
            "content": {"application/json": {"schema": schema}},
        }
    if operation.path == "/oauth2/introspect":
        form = {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}
        described["requestBody"] = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
    if isinstance(operation.guard, Unguarded) and operation.path != "/api/v1/mcptokens/introspect":
        described["security"] = []
    return described


def _parameters(operation: Operation, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": _part(before, name)}}
        for before, name in re.findall(r"(?:(\w+)/)?{(\w+)}", operation.path)
    ]
    if operation.query is not None:
        shape = _placed(TypeAdapter(operation.query).json_schema(by_alias=True, ref_template=_REF), schemas)
        found += [
            {"name": name, "in": "query", "required": name in shape.get("required", []), "schema": _not_null(schema)}
            for name, schema in shape["properties"].items()
        ]
    return found


def _part(before: str, name: str) -> str:
    """What may stand in a path for ``{name}`` behind the word ``before``."""
    named = _NAMED.get(before, NAME_PATTERN)
    takes_ids = name in ("id", "user") and before != "rbac"
    return "^(?:" + "|".join([*([ID_PATTERN] if takes_ids else []), *([named] if named else [])]) + ")$"


def _links(source: Operation, operations: Sequence[Operation]) -> dict[str, Any]:
    """Where one can go from what ``source`` answers: with what was made, or with the first of a list."""
    members = set(getattr(source.answer, "model_fields", ()))
    found = dict[str, Any]()
    for target in operations:
        if source.method == "POST" and source.status == 201 and members & {"id", "name"}:
            key = "id" if "id" in members else "name"
            one = source.path.rpartition("/")[2].removesuffix("s")
            if target.path.startswith(source.path + "/{id}"):
                found[target.operation_id] = _link(target, "id", f"$response.body#/{key}")
            elif f"/{{{one}}}" in target.path and "name" in members:
                found[target.operation_id] = _link(target, one, "$response.body#/name")
        elif source.method == target.method == "GET" and "items" in members and target.path == source.path + "/{id}":
            key = "name" if source.path.endswith("/rbac") else "id"
            found[target.operation_id] = _link(target, "id", f"$response.body#/items/0/{key}")
    return found


def _link(target: Operation, parameter: str, expression: str) -> dict[str, Any]:
    return {"operationId": target.operation_id, "parameters": {parameter: expression}, "description": target.summary}


def _responses(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    request_id = _REQUEST_ID if operation.standard != "authzen" else _ANY_REQUEST_ID
    made = _REVISION if operation.kind == "write" else {}
    success: dict[str, Any] = {"description": "done", "headers": request_id | made}
    if operation.answer_adapter is not None:
        schema = _schema(operation.answer_adapter, schemas, "serialization")
        success["content"] = {"application/json": {"schema": schema}}
    elif operation.path == "/api/v1/watch":
        success["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    refusals = {400, 401, 403, 404, 413, 415, 421, 422, 429, 503, *operation.errors}
    return {str(operation.status): success} | {
        str(status): {
            "description": _WORDS[status],
            **({} if status == 421 else {"headers": request_id | (_CHALLENGE if status == 401 else {})}),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(refusals)
    }


def _schema(adapter: TypeAdapter[Any], schemas: dict[str, Any], mode: Any) -> dict[str, Any]:
    schema = _placed(adapter.json_schema(by_alias=True, ref_template=_REF, mode=mode), schemas)
    if "title" in schema and schema.get("type") == "object":
        name = schema["title"].replace("[", "_").replace("]", "")
        return _placed({"$ref": _REF.format(model=name), "$defs": {name: schema}}, schemas)
    return schema


def _placed(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """``schema`` with its definitions among ``schemas``. Two of one name that say different things both stay.

    The same shape says different things where it is sent (what has a default may be left out) and where it is answered.
    """
    parts: dict[str, Any] = schema.pop("$defs", {})
    renamed = dict[str, str]()
    for name in sorted(parts, key=lambda name: json.dumps(parts[name]).count('"$ref"')):  # first what refers to nothing
        part = _with_refs(parts[name], renamed)
        free = next(one for one in (name, *(f"{name}{n}" for n in range(2, 9))) if schemas.get(one, part) == part)
        schemas[free] = part
        if free != name:
            renamed[_REF.format(model=name)] = _REF.format(model=free)
    found: dict[str, Any] = _with_refs(schema, renamed)
    return found


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter of a query is there or not; null is a word of four letters."""
    some = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    kept = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    return kept if not some else kept | (some[0] if len(some) == 1 else {"anyOf": some})


def _with_refs(schema: Any, renamed: dict[str, str]) -> Any:
    text = json.dumps(schema)
    for old, new in renamed.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    return json.loads(text)


def _nullable(schema: dict[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", [])

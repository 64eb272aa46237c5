"""The OpenAPI 3.1 document, made from the same tables as the routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from mcpctl.api.operations import Operation, Unguarded

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
_WORDS = {
    400: "the body cannot be read",
    401: "no bearer, or no good one",
    403: "the policy says no",
    404: "there is no such thing",
    409: "the present state does not allow it",
    413: "the body is too large",
    415: "the body is not JSON",
    422: "a field breaks a rule",
    429: "slowed down after failures",
    503: "something this depends on does not answer",
}


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mcpctl",
            "version": version,
            "description": "Authorization service and control plane for MCP servers.",
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
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    if operation.query is not None:
        shape = TypeAdapter(operation.query).json_schema(by_alias=True, ref_template=_REF)
        schemas.update(shape.pop("$defs", {}))
        found += [
            {"name": name, "in": "query", "required": name in shape.get("required", []), "schema": schema}
            for name, schema in shape["properties"].items()
        ]
    return found


def _responses(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "done"}
    if operation.answer_adapter is not None:
        schema = _schema(operation.answer_adapter, schemas, "serialization")
        success["content"] = {"application/json": {"schema": schema}}
    elif operation.path == "/api/v1/watch":
        success["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    refusals = {400, 401, 403, 404, 413, 415, 422, 429, 503, *operation.errors}
    return {str(operation.status): success} | {
        str(status): {
            "description": _WORDS[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(refusals)
    }


def _schema(adapter: TypeAdapter[Any], schemas: dict[str, Any], mode: Any) -> dict[str, Any]:
    schema = adapter.json_schema(by_alias=True, ref_template=_REF, mode=mode)
    schemas.update(schema.pop("$defs", {}))
    if "title" in schema and schema.get("type") == "object":
        name = schema["title"].replace("[", "_").replace("]", "")
        schemas[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}
    return schema


def _nullable(schema: dict[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", [])

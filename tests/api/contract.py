"""Holding every answer a test sees against the OpenAPI document and against the house rules of answers."""

from __future__ import annotations

from functools import cache
from typing import Any

import httpx2
from jsonschema import Draft202012Validator
from starlette.routing import compile_path

from mcpctl import errors
from mcpctl.api import openapi
from mcpctl.api.app import OPERATIONS
from mcpctl.api.operations import Operation

DOCUMENT = openapi.document(OPERATIONS, "0")
_PATTERNS = [(operation, compile_path(operation.path)[0]) for operation in OPERATIONS]


def problems() -> list[type[errors.Problem]]:
    """Every class of the tree of errors."""
    found = [errors.Problem]
    for one in found:
        found += one.__subclasses__()
    return list(dict.fromkeys(found))


def operation_of(method: str, path: str) -> Operation | None:
    """The operation that serves this request: the first in the table that matches."""
    return next((one for one, pattern in _PATTERNS if one.method == method and pattern.match(path)), None)


@cache
def _validator(operation: Operation, status: int, media: str) -> Any:
    responses = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]
    assert str(status) in responses, f"{operation.method} {operation.path} does not declare {status}"
    content = responses[str(status)].get("content", {})
    assert media in content, f"{operation.method} {operation.path} does not declare {media!r} for {status}"
    return Draft202012Validator({**content[media]["schema"], "components": DOCUMENT["components"]})


def check(answer: httpx2.Response) -> None:
    """Refuse an answer that is not what the document says, or that no client should ever see."""
    media = answer.headers.get("content-type", "").partition(";")[0]
    operation = operation_of(answer.request.method, answer.request.url.path)
    if media == "text/event-stream":
        return
    answer.read()
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    if answer.status_code >= 400 and media == "application/problem+json":
        body = answer.json()
        known = {one.code: one for one in problems()}
        assert body["code"] in known, body
        assert known[body["code"]].status == body["status"] == answer.status_code, body
        assert ("www-authenticate" in answer.headers) == (answer.status_code == 401), body
    if operation is None:
        assert media == "application/problem+json", answer.text
        return
    assert "no-store" == answer.headers["cache-control"]
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert answer.headers["x-request-id"]
    if answer.status_code == 204:
        assert b"" == answer.content
    else:
        _validator(operation, answer.status_code, media).validate(answer.json())

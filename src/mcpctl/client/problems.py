"""An answer that says no, as the error it is on this side."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from mcpctl.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    Problem,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unreachable,
)

_BY_STATUS: dict[int, type[Problem]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: NotFound,
    409: Conflict,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def classes_by_code() -> dict[str, type[Problem]]:
    """Every error there is, by its ``code``. Read from the tree; a class without a code of its own never takes another's."""
    found: dict[str, type[Problem]] = {}
    waiting = deque([Problem])
    while waiting:
        kind = waiting.popleft()
        found.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return found


def from_answer(server: str, status: int, headers: Mapping[str, str], content: bytes) -> Problem:
    """The error an answer with this ``status`` means.

    A problem document becomes the class of its ``code``; a code that is not known here, and an answer that is no problem
    document at all (a proxy's error page), become the class that fits the status.
    """
    kept = {"retry-after": after} if (after := headers.get("retry-after")) else {}
    if 300 <= status < 400:
        place = headers.get("location", "somewhere else")
        return Unreachable(f"{server} sends on to {place!a}, which is not followed with a credential. Use that address")
    body = _problem_document(headers, content)
    if body is None:
        kind = _BY_STATUS.get(status, InvalidInput if 400 <= status < 500 else Problem)
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        return kind(f"{server} answered {status} {phrase}".rstrip() + " and no reason. Check the address", headers=kept)
    fallback = _BY_STATUS.get(status, InvalidInput if 400 <= status < 500 else Problem)
    kind = classes_by_code().get(str(body.get("code")), fallback)
    detail = body.get("detail") or body.get("title") or kind.title
    return kind(str(detail), errors=_errors(body.get("errors")), missing=_texts(body.get("missing")), headers=kept)


def _problem_document(headers: Mapping[str, str], content: bytes) -> dict[str, Any] | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/problem+json":
        return None
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _errors(found: object) -> list[FieldError]:
    if not isinstance(found, list):
        return []
    return [
        FieldError(str(one.get("field", "")), str(one.get("message", "")), str(one["nearest"]) if one.get("nearest") else None)
        for one in found
        if isinstance(one, dict)
    ]


def _texts(found: object) -> list[str]:
    return [str(one) for one in found] if isinstance(found, list) else []

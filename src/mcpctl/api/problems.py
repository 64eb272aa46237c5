"""Errors as HTTP answers: ``application/problem+json`` (RFC 9457), one shape for all, made here and nowhere else."""

from __future__ import annotations

import json
import logging

from starlette.responses import Response

from mcpctl.errors import InvalidCredential, Problem, Unauthenticated
from mcpctl.services import metrics
from mcpctl.services.token_secret import without_bearers

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


def answer(problem: Problem, request_id: str) -> Response:
    """The answer that says this problem."""
    metrics.REFUSALS.add(problem.code)
    headers = dict(problem.headers)
    if isinstance(problem, InvalidCredential):
        headers["WWW-Authenticate"] = 'Bearer realm="mcpctl", error="invalid_token"'
    elif isinstance(problem, Unauthenticated):  # RFC 9110: every 401 has one; RFC 6750: no error code without a bearer
        headers["WWW-Authenticate"] = 'Bearer realm="mcpctl"'
    body = problem.as_json() | {"instance": f"urn:mcpctl:request:{request_id}"}
    return Response(without_bearers(json.dumps(body)), problem.status, headers, MEDIA_TYPE)


def unforeseen(error: BaseException, request_id: str) -> Response:
    """The answer to a fault of ours: logged whole, told as nothing but its request id."""
    logger.error("request %s failed", request_id, exc_info=error)
    return answer(Problem(f"This is a fault of the server. Its log has it under request {request_id}."), request_id)

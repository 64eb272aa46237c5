"""Building the application: every table of routes, and what wraps them all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send
from ulid import ULID

from mcpctl.api import (
    access,
    answer_routes,
    apply_routes,
    authzen_routes,
    catalog_routes,
    gateway_routes,
    openapi,
    people_routes,
    problems,
    proxy_model_routes,
    rbac_routes,
    secret_routes,
    token_routes,
)
from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.dispatch import endpoint
from mcpctl.api.operations import Call, Operation, Unguarded
from mcpctl.errors import MethodNotAllowed, NotFound, Problem, Unauthenticated, Unavailable, WrongHost
from mcpctl.policy.decision import decide
from mcpctl.store.database import ping


async def healthz(_control: ControlPlane, _request: Request, _call: Call) -> Response:
    """The process lives."""
    return JSONResponse({"status": "ok"})


async def readyz(control: ControlPlane, request: Request, call: Call) -> Response:
    """The database answers, the revision is being followed, and the policy files of this process are those in force.

    A directory whose last edit has findings is no reason to serve nobody: ``policy`` says ``last-good`` then. Why, is told to
    whoever may view RBAC, and stands in the log.
    """
    try:
        await to_thread.run_sync(ping, control.database)
        ready = control.feed.fresh and not control.draining and not control.behind
    except Problem:
        ready = False
    if not ready:
        raise Unavailable("requests cannot be served now")
    findings = control.directory.findings if control.directory is not None else None
    said = {"status": "ready", "policy": "current" if findings is None else "last-good"}
    if findings is not None and await _may_view_rbac(control, request, call.source):
        said["reason"] = findings.detail
    return JSONResponse(said)


async def _may_view_rbac(control: ControlPlane, request: Request, source: str) -> bool:
    if "authorization" not in request.headers:
        return False
    try:
        principal = await access.principal_of(control, access.bearer_of(request), source)
    except Unauthenticated:  # a probe whose token has expired is still a probe
        return False
    return bool(decide(principal.authority, "view", "rbac"))


async def describe(_control: ControlPlane, request: Request, _call: Call) -> Response:
    """The OpenAPI document."""
    return Response(request.app.state.openapi, media_type="application/json")


OPERATIONS: Sequence[Operation] = (
    *people_routes.OPERATIONS,
    *token_routes.OPERATIONS,
    *rbac_routes.OPERATIONS,
    *answer_routes.OPERATIONS,
    *authzen_routes.OPERATIONS,
    *catalog_routes.OPERATIONS,
    *secret_routes.OPERATIONS,
    *proxy_model_routes.OPERATIONS,
    *apply_routes.OPERATIONS,
    *gateway_routes.OPERATIONS,
    Operation("GET", "/healthz", Unguarded("for probes"), "raw", healthz, "The process lives", dict[str, str]),
    Operation(
        "GET",
        "/readyz",
        Unguarded("for probes; a reason is given with view on rbac"),
        "raw",
        readyz,
        "Requests can be served",
        dict[str, str],
    ),
    Operation(
        "GET", "/openapi.json", Unguarded("the interface is public"), "raw", describe, "This document", dict[str, object]
    ),
)
"""Every route there is."""

ASKED_MOST = ("/api/v1/mcptokens/introspect", "/api/v1/authorize", "/access/v1/evaluation")
"""Starlette tries one route after the other, which for these would cost as much as answering them: they stand first.

No earlier route matches any of these paths, so the order decides nothing else.
"""

_PATHS = {operation.path: compile_path(operation.path)[0] for operation in OPERATIONS}


def build_app(control: ControlPlane) -> Starlette:
    """The control plane as an ASGI application; starts and stops ``control`` with its lifespan."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await to_thread.run_sync(control.start)
        try:
            yield
        finally:
            await to_thread.run_sync(control.stop)

    app = Starlette(
        routes=[
            Route(operation.path, endpoint(control, operation), methods=[operation.method], name=operation.operation_id)
            for operation in sorted(OPERATIONS, key=lambda operation: operation.path not in ASKED_MOST)
        ],
        lifespan=lifespan,
        exception_handlers={404: _nothing_here, 405: _nothing_here},
    )
    app.router.redirect_slashes = False
    app.state.openapi = _document()
    app.add_middleware(HostCheck, allowed=control.allowed_hosts)
    return app


@cache
def _document() -> bytes:
    return json.dumps(openapi.document(OPERATIONS, version("mcpctl"))).encode()


async def _nothing_here(request: Request, _error: Exception) -> Response:
    path = request.scope["path"]
    methods = sorted({operation.method for operation in OPERATIONS if _PATHS[operation.path].match(path)})
    if methods:
        allowed = ", ".join(methods)
        return problems.answer(MethodNotAllowed(f"this path takes {allowed}", headers={"Allow": allowed}), str(ULID()))
    return problems.answer(NotFound("there is nothing at this path; see /openapi.json"), str(ULID()))


class HostCheck:
    """Refuses requests for hosts this is not, so no page in a browser reaches a loopback listener by a name of its own."""

    def __init__(self, app: ASGIApp, allowed: frozenset[str]) -> None:
        """Let through what is for one of ``allowed`` (host names without port); none means any."""
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, and go on or refuse."""
        if scope["type"] == "http" and self.allowed:
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or _without_port(hosts[0]) not in self.allowed:
                refusal = problems.answer(WrongHost("this server does not answer for that host"), str(ULID()))
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()

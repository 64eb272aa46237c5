"""The few calls of the Kubernetes API that are about Secrets, over real TLS, as an API server answers them.

Create, read and merge-patch (``resourceVersion`` counts), RBAC by verb and name, ``Status`` objects for everything refused.
"""

from __future__ import annotations

import asyncio
import binascii
import itertools
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

NAMESPACE = "mcp-test"
BEARER = "a-projected-service-account-token"
NAMED = ("mcpctl", "mcpctl-gateway", "mcpctl-database")


@dataclass
class Cluster:
    """What the API server holds, and how it behaves."""

    address: str = ""
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    may: set[tuple[str, str]] = field(
        default_factory=lambda: {("create", "*"), *((v, n) for v in ("get", "patch") for n in NAMED)}
    )
    asked: list[tuple[str, str]] = field(default_factory=list)
    bearer: str = BEARER
    quoting: bool = False
    """Refuse every write with a text that quotes it."""
    failing: int = 0
    """How many answers to come are 500."""
    lost: int = 0
    """How many writes to come are done and then answered with 500."""
    before_write: list[Any] = field(default_factory=list)
    """Called, one for each write to come, before it is done: somebody else who writes at the same time."""
    versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def value(self, name: str, key: str) -> str:
        return b64decode(self.secrets[name]["data"][key]).decode()

    def put(self, name: str, data: dict[str, str]) -> None:
        """What somebody else writes."""
        self.secrets[name] = {"metadata": {"name": name, "resourceVersion": str(next(self.versions))}, "data": data}


def _status(code: int, reason: str, message: str) -> Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}
    return JSONResponse(body, status_code=code)


def _invalid(body: Any) -> str | None:
    """Why this is no Secret that could be kept; an API server's words quote what they are about."""
    if not isinstance(body, dict) or body.get("kind") != "Secret" or body.get("apiVersion") != "v1":
        return f"no Secret: {body}"
    return _invalid_data(body.get("data", {}))


def _invalid_data(data: Any) -> str | None:
    for key, value in data.items():
        try:
            b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            return f'data[{key}]: Invalid value: "{value}": illegal base64 data'
    return None


def app(cluster: Cluster) -> Starlette:
    async def answer(request: Request) -> Response:
        name = request.path_params.get("name", "")
        body = json.loads(await request.body()) if request.method != "GET" else {}
        verb = {"GET": "get", "POST": "create", "PATCH": "patch"}[request.method]
        name = name or body.get("metadata", {}).get("name", "")
        cluster.asked.append((verb, name))
        if request.headers.get("authorization") != f"Bearer {cluster.bearer}":
            return _status(401, "Unauthorized", "Unauthorized")
        if (verb, name) not in cluster.may and (verb, "*") not in cluster.may:
            return _status(403, "Forbidden", f'secrets "{name}" is forbidden: User "x" cannot {verb} resource "secrets"')
        if cluster.failing:
            cluster.failing -= 1
            return _status(500, "InternalError", "etcdserver: request timed out")
        if cluster.quoting and verb != "get":
            return _status(422, "Invalid", f'Secret "{name}" is invalid: data: Invalid value: {body}')
        if request.path_params["namespace"] != NAMESPACE:
            return _status(404, "NotFound", f'namespaces "{request.path_params["namespace"]}" not found')
        if verb != "get" and cluster.before_write:
            cluster.before_write.pop(0)()
        done = _done(verb, name, body, request.headers.get("content-type", ""))
        if verb != "get" and done.status_code < 300 and cluster.lost:
            cluster.lost -= 1
            return _status(500, "InternalError", "etcdserver: leader changed")
        return done

    def _done(verb: str, name: str, body: dict[str, Any], media: str) -> Response:
        kept = cluster.secrets.get(name)
        if verb == "create":
            if why := _invalid(body):
                return _status(422, "Invalid", why)
            if kept is not None:
                return _status(409, "AlreadyExists", f'secrets "{name}" already exists')
            metadata = {**body["metadata"], "namespace": NAMESPACE, "resourceVersion": str(next(cluster.versions))}
            cluster.secrets[name] = {**body, "metadata": metadata}
            return JSONResponse(cluster.secrets[name], status_code=201)
        if kept is None:
            return _status(404, "NotFound", f'secrets "{name}" not found')
        if verb == "get":
            return JSONResponse(kept)
        if media != "application/merge-patch+json":
            return _status(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        if why := _invalid_data(body.get("data", {})):
            return _status(422, "Invalid", why)
        if (
            body.get("metadata", {}).get("resourceVersion", kept["metadata"]["resourceVersion"])
            != kept["metadata"]["resourceVersion"]
        ):
            return _status(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
        data = {**(kept.get("data") or {}), **body.get("data", {})}
        metadata = {**kept["metadata"], "resourceVersion": str(next(cluster.versions))}
        cluster.secrets[name] = {**kept, "data": data, "metadata": metadata}
        return JSONResponse(cluster.secrets[name])

    path = "/api/v1/namespaces/{namespace}/secrets"
    return Starlette(routes=[Route(path, answer, methods=["POST"]), Route(path + "/{name}", answer, methods=["GET", "PATCH"])])


@contextmanager
def serve(cluster: Cluster, certificate: Path) -> Iterator[Cluster]:
    """Serve ``cluster`` on a free loopback port until the block ends; ``certificate`` holds its key too."""
    config = uvicorn.Config(app(cluster), port=0, log_config=None, ssl_certfile=certificate, ssl_keyfile=certificate)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the API server did not start"
            threading.Event().wait(0.01)
        cluster.address = f"https://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
        yield cluster
    finally:
        server.should_exit = True
        thread.join(timeout=10)

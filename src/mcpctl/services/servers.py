"""Servers: how to reach each MCP server. Registering one gives nobody anything; attaching it to a project does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import Duplicate, FieldError, InvalidInput, NotFound
from mcpctl.policy.decision import Authority, decide
from mcpctl.services import proxy_models, secrets
from mcpctl.services.work import Work
from mcpctl.store.schema import Attachment, Project, Server
from mcpctl.wire import catalog as wire

_OF_TRANSPORT = {
    "streamable-http": (("url",), ("url", "headers")),
    "stdio": (("command",), ("command", "args", "env")),
}
"""For each transport what it needs, and what it may have."""


def find(db: Db, key: str) -> Server:
    """The server of this id or name.

    Raises:
        NotFound: there is none.
    """
    server = db.scalars(select(Server).where((Server.id == key) | (Server.name == key))).one_or_none()
    if server is None:
        raise NotFound(f"there is no server {key!r}")
    return server


def projects_of(db: Db, server: Server) -> list[str]:
    """The names of the projects a server is attached to."""
    query = select(Project.name).join(Attachment, Attachment.project_id == Project.id)
    return list(db.scalars(query.where(Attachment.server_id == server.id).order_by(Project.name)))


def shown(db: Db, server: Server, viewer: Authority) -> wire.Server:
    """The server as it crosses the wire: secrets named, and of its projects those that the viewer may view."""
    return wire.Server.model_validate(
        {
            "id": server.id,
            "name": server.name,
            "transport": server.transport,
            "url": server.url,
            "headers": server.headers,
            "command": server.command,
            "args": server.args,
            "env": server.env,
            "health_check": server.health_check,
            "proxy_model": server.proxy_model,
            "stateful": server.stateful,
            "projects": [name for name in projects_of(db, server) if decide(viewer, "view", "projects", name)],
            "created_at": datetime.fromtimestamp(server.created_at, UTC),
            "updated_at": datetime.fromtimestamp(server.updated_at, UTC),
        }
    )


def create(work: Work, new: wire.NewServer) -> Server:
    """Register a server.

    Raises:
        Duplicate, InvalidInput: the name is taken; a member does not go with the transport, or names an unknown secret.
        CeilingExceeded: it names a secret the actor may not use, a tool to be called as its health check that the actor
            may not run (door 8), or a proxy model the actor may not view.
    """
    fields = _fields(work, new.name, new, None)
    if work.db.scalars(select(Server.id).where(Server.name == new.name)).first():
        raise Duplicate(f"there is a server {new.name!r} already")
    server = Server(name=new.name, created_at=work.now, updated_at=work.now, **fields)
    work.db.add(server)
    work.db.flush()
    work.touch(f"Server:{server.name}")
    work.record("create", "servers", server.name, transport=server.transport)
    return server


def replace(work: Work, server: Server, body: wire.ServerBody) -> Server:
    """Reach the server this way from now on.

    Raises:
        InvalidInput, CeilingExceeded: as for ``create``, on the result of the edit.
    """
    for field, value in _fields(work, server.name, body, server.proxy_model).items():
        setattr(server, field, value)
    server.updated_at = work.now
    work.touch(f"Server:{server.name}", *(f"Project:{name}" for name in projects_of(work.db, server)))
    work.record("edit", "servers", server.name, transport=server.transport)
    return server


def remove(work: Work, server: Server) -> None:
    """Delete a server; it is detached from every project, so a new one of its name is attached nowhere."""
    work.touch(f"Server:{server.name}", *(f"Project:{name}" for name in projects_of(work.db, server)))
    work.record("delete", "servers", server.name)
    work.db.delete(server)


def _fields(work: Work, name: str, body: wire.ServerBody, proxy_model: str | None) -> dict[str, Any]:
    needed, may_have = _OF_TRANSPORT[body.transport]
    errors = [FieldError(field, f"a {body.transport} server needs it") for field in needed if getattr(body, field) is None]
    errors += [
        FieldError(field, f"it does not go with the transport {body.transport!r}")
        for field in ("url", "headers", "command", "args", "env")
        if field not in may_have and getattr(body, field) is not None
    ]
    named = secrets.references_in("headers", body.headers) | secrets.references_in("env", body.env)
    errors += secrets.require_usable(work, named)
    if body.health_check is not None and body.health_check.tool is not None:
        work.require_all([("run", "servers", f"{name}/{body.health_check.tool}")], "a server whose health check calls a tool")
    errors += proxy_models.selected(work, body.proxy_model, proxy_model)
    if errors:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)
    return columns(body)


def columns(body: wire.ServerBody) -> dict[str, Any]:
    """What ``body`` comes to in the table of servers, by column; whether it is allowed is not looked at."""
    return {
        "transport": body.transport,
        "url": body.url,
        "headers": _plain(body.headers),
        "command": body.command,
        "args": body.args or [],
        "env": _plain(body.env),
        "health_check": body.health_check.model_dump(by_alias=True, exclude_none=True) if body.health_check else None,
        "proxy_model": body.proxy_model,
        "stateful": body.stateful,
    }


def _plain(values: dict[str, wire.Value] | None) -> dict[str, Any]:
    return {key: value.model_dump() if isinstance(value, wire.SecretRef) else value for key, value in (values or {}).items()}

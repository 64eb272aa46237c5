"""What gateways are given and report. Each needs ``action:gateway`` on the project it asks about."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from time import time
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import Forbidden, NotFound, Unavailable
from mcpctl.policy.decision import Authority, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.slices import Slice
from mcpctl.policy.vocabulary import OPERATIONS_RESOURCE
from mcpctl.services import audit, authorities, secrets
from mcpctl.services.keyring import Keyring
from mcpctl.services.principals import Principal
from mcpctl.services.work import require
from mcpctl.store import revisions
from mcpctl.store.schema import Attachment, InstanceLine, InstanceRow, Project, ProxyModel, Server
from mcpctl.wire import catalog as catalog_wire
from mcpctl.wire import gateway as wire

logger = logging.getLogger(__name__)

KEPT_LINES: Final = 1000
"""Lines kept of one instance; older ones go."""


def slices(db: Db, policy: PolicyFiles, gateway: Principal, query: wire.SlicesQuery, now: float) -> wire.Slices:
    """Everything needed to decide about one subject in one project, read at one revision.

    Raises:
        Forbidden: the asker is no gateway of that project.
        NotFound: the subject is not live, there is no such project, the token belongs to another, or the person may not
            view this one: nobody can be served there, so no gateway needs to know what they hold.
    """
    require(gateway.authority, "gateway", OPERATIONS_RESOURCE, query.project)
    project = db.scalars(select(Project).where(Project.name == query.project)).one_or_none()
    if project is None:
        raise NotFound(f"there is no project {query.project!r}")
    authority = authorities.subject_authority(db, policy, query.subject, now)
    if authority.project not in (None, project.name):
        raise NotFound(f"there is no project {query.project!r} for {query.subject}")
    if authority.subject.startswith("Group:"):
        raise NotFound(f"{query.subject} is nobody who could be served")
    if not authority.is_token and not decide(authority, "view", "projects", project.name):
        raise NotFound(f"there is no project {query.project!r} for {query.subject}")
    return wire.Slices(
        revision=authority.revision,
        subject=authority.subject,
        project=project.name,
        attached=authorities.attached_servers(db, project),
        topics=sorted({*authority.topics, f"Project:{project.name}"}),
        model=policy.model.text,
        roles=sorted(policy.roles.links),
        own=_slice(authority.own),
        owner=_slice(authority.owner) if authority.owner is not None else None,
    )


def _slice(part: Slice) -> wire.SliceOf:
    return wire.SliceOf(subject=part.subject, groups=sorted(part.groups), rules=[tuple(rule) for rule in part.rules])


def upstreams(db: Db, gateway: Principal, keyring: Keyring, query: wire.UpstreamsQuery) -> wire.Upstreams:
    """How to reach the servers of one project, in order: the only way secret values leave.

    Raises:
        Forbidden: the asker is no gateway of that project.
        NotFound: there is no such project.
    """
    require(gateway.authority, "gateway", OPERATIONS_RESOURCE, query.project)
    project = db.scalars(select(Project).where(Project.name == query.project)).one_or_none()
    if project is None:
        raise NotFound(f"there is no project {query.project!r}")
    joined = select(Server).join(Attachment, Attachment.server_id == Server.id)
    servers = list(db.scalars(joined.where(Attachment.project_id == project.id).order_by(Attachment.position, Server.name)))
    named = {project.proxy_model, *(server.proxy_model for server in servers)} - {None}
    models = list(db.scalars(select(ProxyModel).where(ProxyModel.name.in_(named)).order_by(ProxyModel.name)))
    return wire.Upstreams.model_validate(
        {
            "revision": revisions.current(db),
            "project": project.name,
            "tool_names": project.tool_names,
            "proxy_model": project.proxy_model,
            "topics": [f"Project:{project.name}", *(f"Server:{server.name}" for server in servers)]
            + [f"ProxyModel:{model.name}" for model in models],
            "servers": [_upstream(db, keyring, server) for server in servers],
            "proxy_models": [{"name": one.name, "stages": one.stages, "cache": one.cache} for one in models],
        }
    )


def _upstream(db: Db, keyring: Keyring, server: Server) -> wire.Upstream:
    headers, env, unusable = dict[str, str](), dict[str, str](), None
    try:
        headers, env = secrets.resolved(db, keyring, server.headers), secrets.resolved(db, keyring, server.env)
    except (NotFound, Unavailable) as error:  # the other servers of the project are none the worse for it
        logger.error("the server %s cannot be reached: %s", server.name, error.detail)
        unusable = error.detail
    return wire.Upstream.model_validate(
        {
            "name": server.name,
            "transport": server.transport,
            "url": server.url,
            "headers": headers,
            "command": server.command,
            "args": server.args,
            "env": env,
            "stateful": server.stateful,
            "health_check": server.health_check,
            "proxy_model": server.proxy_model,
            "unusable": unusable,
        }
    )


def record_calls(db: Db, gateway: Principal, batch: wire.CallEvents) -> int:
    """Store the audit events of a gateway; those of projects it does not serve are not taken.

    Raises:
        Forbidden: it serves none of them.
    """
    projects = {event.project for event in batch.events if event.project}
    if decide(gateway.authority, "gateway", OPERATIONS_RESOURCE, "*"):
        return audit.add_calls(db, batch, None)
    served = frozenset(name for name in projects if decide(gateway.authority, "gateway", OPERATIONS_RESOURCE, name))
    if not served:
        require(gateway.authority, "gateway", OPERATIONS_RESOURCE, next(iter(sorted(projects)), "*"))
    return audit.add_calls(db, batch, served)


def record_status(db: Db, gateway: Principal, report: wire.StatusReport) -> None:
    """Keep what a gateway says of its servers; servers that are attached to no project it serves are passed over."""
    for instance in report.instances:
        server = db.scalars(select(Server).where(Server.name == instance.server)).one_or_none()
        if server is None or not _serves(db, gateway.authority, server):
            continue
        query = select(InstanceRow).where(InstanceRow.server_id == server.id, InstanceRow.gateway == report.gateway)
        row = db.scalars(query).one_or_none()
        if row is None:
            row = InstanceRow(server_id=server.id, gateway=report.gateway)
            db.add(row)
        row.status, row.detail = instance.status, instance.detail
        row.tools, row.latency_ms, row.at = instance.tools, instance.latency_ms, time()
        if instance.log:
            db.flush()
            _keep_lines(db, row, instance.log)


def _keep_lines(db: Db, row: InstanceRow, lines: Sequence[wire.ReportedLine]) -> None:
    """Add lines not yet there, and let the oldest go. A report that comes twice adds nothing."""
    numbers = [line.number for line in lines]
    of_it = InstanceLine.instance_id == row.id
    there = select(InstanceLine.number).where(of_it, InstanceLine.number.between(min(numbers), max(numbers)))
    known = set(db.scalars(there))
    for line in lines:
        if line.number not in known:
            known.add(line.number)
            db.add(InstanceLine(instance_id=row.id, number=line.number, stream=line.stream, text=line.text))
    db.flush()
    newest_first = select(InstanceLine.number).where(of_it).order_by(InstanceLine.number.desc())
    last_kept = db.scalars(newest_first.offset(KEPT_LINES).limit(1)).one_or_none()
    if last_kept is not None:
        db.execute(delete(InstanceLine).where(of_it, InstanceLine.number <= last_kept))


def find_instance(db: Db, server: str, gateway: str) -> InstanceRow:
    """The instance of that server on that gateway.

    Raises:
        NotFound: no gateway of that name has reported it.
    """
    query = select(InstanceRow).join(Server).where(Server.name == server, InstanceRow.gateway == gateway)
    row = db.scalars(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no instance {server}/{gateway}")
    return row


def log_of(db: Db, reader: Principal, row: InstanceRow, query: catalog_wire.LogQuery) -> catalog_wire.Log:
    """What an instance wrote. One child may serve several projects and its lines tell of all, so each must allow ``logs``.

    Raises:
        Forbidden: the reader may not read the logs of every project that the server is attached to.
    """
    projects = _projects_of(db, row.server)
    allowed = [bool(decide(reader.authority, "logs", OPERATIONS_RESOURCE, name)) for name in projects]
    if not (projects and all(allowed)):
        decision = decide(reader.authority, "logs", OPERATIONS_RESOURCE, "*")
        if not decision:
            raise Forbidden(
                f"{decision.reason}; who reads a log needs that, or the same of each project the server is attached to",
                missing=[decision.question],
            )
    lines = select(InstanceLine).where(InstanceLine.instance_id == row.id).limit(query.limit)
    if query.after is not None:
        found = list(db.scalars(lines.where(InstanceLine.number > query.after).order_by(InstanceLine.number)))
    else:
        found = list(db.scalars(lines.order_by(InstanceLine.number.desc())))[::-1]
    return catalog_wire.Log(items=[_shown_line(line) for line in found])


def _shown_line(line: InstanceLine) -> catalog_wire.LogLine:
    shown = {"number": line.number, "at": datetime.fromtimestamp(line.number / 1e6, UTC)}
    return catalog_wire.LogLine.model_validate({**shown, "stream": line.stream, "text": line.text})


def _projects_of(db: Db, server: Server) -> list[str]:
    projects = select(Project.name).join(Attachment, Attachment.project_id == Project.id)
    return list(db.scalars(projects.where(Attachment.server_id == server.id)))


def _serves(db: Db, authority: Authority, server: Server) -> bool:
    return any(decide(authority, "gateway", OPERATIONS_RESOURCE, name) for name in _projects_of(db, server))


def shown_instance(row: InstanceRow) -> catalog_wire.Instance:
    """An instance as it crosses the wire."""
    return catalog_wire.Instance.model_validate(
        {
            "name": f"{row.server.name}/{row.gateway}",
            "server": row.server.name,
            "gateway": row.gateway,
            "status": row.status,
            "detail": row.detail,
            "tools": row.tools,
            "latency_ms": row.latency_ms,
            "at": datetime.fromtimestamp(row.at, UTC),
        }
    )

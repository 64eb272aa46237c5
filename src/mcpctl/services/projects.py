"""Projects and what is attached to them. Attaching is a door of the ceiling: it puts a server into agents' reach."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import Duplicate, FieldError, InvalidInput, NotFound
from mcpctl.services import authorities, proxy_models, secrets, subjects
from mcpctl.services.work import Work
from mcpctl.store.schema import Attachment, Project, Server, Token
from mcpctl.wire import catalog as wire


def find(db: Db, key: str) -> Project:
    """The project of this id or name.

    Raises:
        NotFound: there is none.
    """
    project = db.scalars(select(Project).where((Project.id == key) | (Project.name == key))).one_or_none()
    if project is None:
        raise NotFound(f"there is no project {key!r}")
    return project


def shown(db: Db, project: Project) -> wire.Project:
    """The project as it crosses the wire."""
    return wire.Project.model_validate(
        {
            "id": project.id,
            "name": project.name,
            "servers": authorities.attached_servers(db, project),
            "proxy_model": project.proxy_model,
            "tool_names": project.tool_names,
            "created_at": datetime.fromtimestamp(project.created_at, UTC),
            "updated_at": datetime.fromtimestamp(project.updated_at, UTC),
        }
    )


def create(work: Work, new: wire.NewProject) -> Project:
    """Make a project, attaching its first servers as ``attach`` does.

    Raises:
        Duplicate, InvalidInput, CeilingExceeded: the name is taken; a member is wrong; a server may not be attached, or the
            proxy model not be viewed.
    """
    _refuse(proxy_models.selected(work, new.proxy_model))
    if work.db.scalars(select(Project.id).where(Project.name == new.name)).first():
        raise Duplicate(f"there is a project {new.name!r} already")
    project = Project(
        name=new.name, proxy_model=new.proxy_model, tool_names=new.tool_names, created_at=work.now, updated_at=work.now
    )
    work.db.add(project)
    work.db.flush()
    work.touch(f"Project:{project.name}")
    work.record("create", "projects", project.name, project=project.name, servers=new.servers)
    _set_servers(work, project, new.servers)
    return project


def change(work: Work, project: Project, body: wire.ProjectBody) -> Project:
    """Change what is given; what is left out stays. A proxy model given as ``null`` is taken out.

    Raises:
        InvalidInput, Forbidden: as for ``create``; another proxy model, or none, needs ``expose`` as attaching does: it is
            what agents get of results.
    """
    if "proxy_model" in body.model_fields_set and body.proxy_model != project.proxy_model:
        work.require_all([("expose", "projects", project.name)], f"another proxy model of the project {project.name!r}")
        _refuse(proxy_models.selected(work, body.proxy_model))
        project.proxy_model = body.proxy_model
    if body.tool_names is not None:
        project.tool_names = body.tool_names
    if body.servers is not None:
        _set_servers(work, project, body.servers)
    project.updated_at = work.now
    work.touch(f"Project:{project.name}")
    work.record("edit", "projects", project.name, project=project.name, **body.model_dump(exclude_unset=True, by_alias=True))
    return project


def attach(work: Work, project: Project, server_name: str) -> Project:
    """Put a server into the project (door 6: ``expose`` on the project, ``view`` on the server, ``run`` on its secrets).

    Raises:
        CeilingExceeded: one of these is missing. An existing and a missing server answer the same without ``view``.
        NotFound: there is no such server.
    """
    _require_attaching(work, project, [server_name])
    _attach(work, project, server_name)
    return project


def _require_attaching(work: Work, project: Project, names: list[str]) -> None:
    asked = [("expose", "projects", project.name), *(("view", "servers", name) for name in names)]
    work.require_all(asked, f"attaching to the project {project.name!r}")
    # Whoever serves as a gateway of the project is given the values of these secrets from now on.
    servers = work.db.scalars(select(Server).where(Server.name.in_(names)).order_by(Server.name))
    named = [("run", "secrets", secret) for server in servers for secret, _ in secrets.references(server)]
    work.require_all(dict.fromkeys(named), f"attaching a server that names a secret to the project {project.name!r}")


def _attach(work: Work, project: Project, server_name: str) -> None:
    server = work.db.scalars(select(Server).where(Server.name == server_name)).one_or_none()
    if server is None:
        raise NotFound(f"there is no server {server_name!r}")
    if work.db.get(Attachment, (project.id, server.id)) is None:
        last = work.db.scalars(select(func.max(Attachment.position)).where(Attachment.project_id == project.id)).one()
        work.db.add(Attachment(project_id=project.id, server_id=server.id, position=0 if last is None else last + 1))
        _changed(work, project)
        work.record("attach", "servers", server.name, project=project.name)
        work.db.flush()


def detach(work: Work, project: Project, server_name: str) -> Project:
    """Take a server out of the project (``expose`` on the project).

    Raises:
        Forbidden: it is missing.
        NotFound: the server is not attached.
    """
    work.require("expose", "projects", project.name)
    server = work.db.scalars(select(Server).where(Server.name == server_name)).one_or_none()
    attachment = work.db.get(Attachment, (project.id, server.id)) if server is not None else None
    if attachment is None:
        raise NotFound(f"{server_name!r} is not attached to the project {project.name!r}")
    work.db.delete(attachment)
    _changed(work, project)
    work.record("detach", "servers", server_name, project=project.name)
    work.db.flush()
    return project


def remove(work: Work, project: Project) -> None:
    """Delete a project with its tokens and every policy line of these."""
    tokens = list(work.db.scalars(select(Token).where(Token.project_id == project.id)))
    for token in tokens:
        subjects.forget(work, token.subject)
        work.db.delete(token)
    work.touch(f"Project:{project.name}")
    work.record("delete", "projects", project.name, project=project.name, tokens=[token.name for token in tokens])
    work.db.flush()
    work.db.delete(project)


def _set_servers(work: Work, project: Project, wanted: list[str]) -> None:
    """Attach and detach what differs, each through its own door, and then bring them into order."""
    if len(set(wanted)) != len(wanted):
        raise InvalidInput("servers: one stands there twice", errors=[FieldError("servers", "one stands there twice")])
    present = authorities.attached_servers(work.db, project)
    if new := [name for name in wanted if name not in present]:
        _require_attaching(work, project, new)
    for name in present:
        if name not in wanted:
            detach(work, project, name)
    errors = []
    for index, name in enumerate(wanted):
        if name in new:
            try:
                _attach(work, project, name)
            except NotFound as error:
                errors.append(FieldError(f"servers.{index}", error.detail))
    _refuse(errors)
    ids = {server.name: server.id for server in work.db.scalars(select(Server).where(Server.name.in_(wanted)))}
    work.db.execute(delete(Attachment).where(Attachment.project_id == project.id))
    work.db.expire_all()
    work.db.add_all(Attachment(project_id=project.id, server_id=ids[name], position=place) for place, name in enumerate(wanted))
    work.db.flush()


def _changed(work: Work, project: Project) -> None:
    project.updated_at = work.now
    work.touch(f"Project:{project.name}")


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise InvalidInput("; ".join(error.message for error in errors), errors=errors)

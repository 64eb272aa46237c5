"""Proxy models: what agents get of results, wherever a project or a server names the model.

Whoever changes one that is in use changes every project and server that uses it, and so needs what changing each of them
would need. Naming one needs ``view`` on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import CeilingExceeded, Duplicate, FieldError, InUse, InvalidInput, NotFound
from mcpctl.policy.decision import Authority, decide
from mcpctl.proxy_models.stages import check_stages
from mcpctl.services.work import Work
from mcpctl.store.schema import Attachment, Project, ProxyModel, Server
from mcpctl.wire import proxy_models as wire


@dataclass(frozen=True)
class Uses:
    """Who names a model, by name.

    Attributes:
        projects, servers: that name it themselves.
        reached: every project whose results pass through it: these, and those the servers are attached to.
    """

    projects: tuple[str, ...]
    servers: tuple[str, ...]
    reached: tuple[str, ...]


def find(db: Db, key: str) -> ProxyModel:
    """The proxy model of this id or name.

    Raises:
        NotFound: there is none.
    """
    model = db.scalars(select(ProxyModel).where((ProxyModel.id == key) | (ProxyModel.name == key))).one_or_none()
    if model is None:
        raise NotFound(f"there is no proxy model {key!r}")
    return model


def uses(db: Db, name: str) -> Uses:
    """Who uses the model of this name."""
    projects = tuple(db.scalars(select(Project.name).where(Project.proxy_model == name).order_by(Project.name)))
    servers = tuple(db.scalars(select(Server.name).where(Server.proxy_model == name).order_by(Server.name)))
    attached = (
        select(Project.name)
        .join(Attachment, Attachment.project_id == Project.id)
        .join(Server, Server.id == Attachment.server_id)
        .where(Server.proxy_model == name)
    )
    return Uses(projects, servers, tuple(sorted({*projects, *db.scalars(attached)})))


def shown(db: Db, model: ProxyModel, viewer: Authority) -> wire.ProxyModel:
    """The model as it crosses the wire: of those who use it, those that the viewer may view."""
    found = uses(db, model.name)
    return wire.ProxyModel.model_validate(
        {
            "id": model.id,
            "name": model.name,
            "description": model.description,
            "stages": model.stages,
            "cache": model.cache,
            "projects": [name for name in found.projects if decide(viewer, "view", "projects", name)],
            "servers": [name for name in found.servers if decide(viewer, "view", "servers", name)],
            "created_at": datetime.fromtimestamp(model.created_at, UTC),
            "updated_at": datetime.fromtimestamp(model.updated_at, UTC),
        }
    )


def create(work: Work, new: wire.NewProxyModel) -> ProxyModel:
    """Keep a proxy model. It does nothing until somebody names it.

    Raises:
        Duplicate, InvalidInput: the name is taken; a stage or an option is wrong.
    """
    fields = _fields(new)
    if work.db.scalars(select(ProxyModel.id).where(ProxyModel.name == new.name)).first():
        raise Duplicate(f"there is a proxy model {new.name!r} already")
    model = ProxyModel(name=new.name, created_at=work.now, updated_at=work.now, **fields)
    work.db.add(model)
    work.db.flush()
    _changed(work, model, "create")
    return model


def replace(work: Work, model: ProxyModel, body: wire.ProxyModelBody) -> ProxyModel:
    """Shape results this way from now on, wherever the model is used.

    Raises:
        CeilingExceeded: ``expose`` on a project that uses it, or ``edit`` on such a server, is missing.
        InvalidInput: as for ``create``.
    """
    _require_changing(work, model)
    for field, value in _fields(body).items():
        setattr(model, field, value)
    model.updated_at = work.now
    _changed(work, model, "edit")
    return model


def remove(work: Work, model: ProxyModel) -> None:
    """Forget a proxy model.

    Raises:
        InUse: projects or servers use it; those the actor may view are named.
    """
    found = uses(work.db, model.name)
    everybody = [("projects", name) for name in found.projects] + [("servers", name) for name in found.servers]
    if everybody:
        told = [f"{kind[:-1]}/{name}" for kind, name in everybody if decide(work.authority, "view", kind, name)]
        if hidden := len(everybody) - len(told):
            told.append(f"{hidden} that you may not view")
        raise InUse(f"the proxy model {model.name!r} is in use, by {', '.join(told)}: take it out there first")
    _changed(work, model, "delete")
    work.db.delete(model)
    work.db.flush()


def selected(work: Work, name: str | None, before: str | None = None) -> list[FieldError]:
    """What is wrong with naming the model ``name`` where ``before`` was named; a name that stays is not asked about.

    Raises:
        CeilingExceeded: ``view`` on it is missing. An existing and a missing model answer the same then.
    """
    if name is None or name == before:
        return []
    work.require_all([("view", "proxymodels", name)], "selecting a proxy model")
    if work.db.scalars(select(ProxyModel.id).where(ProxyModel.name == name)).first():
        return []
    return [FieldError("proxyModel", f"there is no proxy model {name!r}")]


def columns(body: wire.ProxyModelBody) -> dict[str, Any]:
    """What ``body`` comes to in the table of proxy models, by column; whether it is valid is not looked at."""
    return {
        "description": body.description,
        "stages": [one.model_dump(by_alias=True) for one in body.stages],
        "cache": body.cache.model_dump(by_alias=True) if body.cache else None,
    }


def _fields(body: wire.ProxyModelBody) -> dict[str, Any]:
    found = columns(body)
    errors = [FieldError(f"stages.{path}".rstrip("."), message) for path, message in check_stages(found["stages"])]
    if errors:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)
    return found


def _require_changing(work: Work, model: ProxyModel) -> None:
    """Go on only if the actor may change each that uses the model. What it may not view is counted, not named."""
    found = uses(work.db, model.name)
    asked = [("expose", "projects", name) for name in found.projects] + [("edit", "servers", name) for name in found.servers]
    lacking = [decision for decision in (decide(work.authority, *each) for each in asked) if not decision]
    if not lacking:
        return
    missing = [one.question for one in lacking if decide(work.authority, "view", one.resource, one.name)]
    said = list(missing)
    if hidden := len(lacking) - len(missing):
        said.append(f"{hidden} that you may not see")
    raise CeilingExceeded(
        f"changing the proxy model {model.name!r}, which is in use, needs what {work.actor.subject} does not hold: "
        + "; ".join(said),
        missing=missing,
    )


def _changed(work: Work, model: ProxyModel, action: str) -> None:
    found = uses(work.db, model.name)
    topics = [f"Project:{name}" for name in found.reached] + [f"Server:{name}" for name in found.servers]
    work.touch(f"ProxyModel:{model.name}", *topics)
    work.record(action, "proxymodels", model.name, stages=[one["stage"] for one in model.stages])

"""What applying means for each kind: how it is found, written down, compared, made, changed and removed.

Everything that writes here is the service which the kind's own routes call; nothing is written twice in this program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import bootstrap, groups, projects, proxy_models, rbac, secrets, servers, users
from mcpctl.services.authorities import attached_servers
from mcpctl.services.work import Work
from mcpctl.store import policy_rules
from mcpctl.store.schema import Group, Project, ProxyModel, Secret, SecretValue, Server, User
from mcpctl.wire import apply as wire
from mcpctl.wire.catalog import NewProject
from mcpctl.wire.catalog import ProjectBody as ProjectPatch
from mcpctl.wire.people import NewGroup, UserPatch
from mcpctl.wire.secrets import NewSecret, SecretPatch

Document = dict[str, Any]
"""A thing as the item that would make it."""


@dataclass(frozen=True)
class Kind:
    """One kind of thing, as a batch sees it.

    Attributes:
        resource: the policy's word.
        names: all there are, by name.
        find: the thing of a name, or ``None``.
        document: what it is now.
        differs: the members in which it is not what an item says.
        create, change, remove: the services of that kind; a password was hashed before, by name.
        kept: whether pruning leaves the one of this name alone.
    """

    resource: str
    names: Callable[[Db], list[str]]
    find: Callable[[Db, str], Any]
    document: Callable[[Db, Any], Document]
    differs: Callable[[Work, Any, Any], list[str]]
    create: Callable[[Work, Any, Mapping[str, str]], object]
    change: Callable[[Work, Any, Any], object]
    remove: Callable[[Work, Any], object]
    kept: Callable[[Work, str], bool] = lambda _work, _name: False


def _refuse(field: str, message: str) -> None:
    raise InvalidInput(f"{field}: {message}", errors=[FieldError(field, message)])


def _named(row: type[User] | type[Group] | type[Secret] | type[ProxyModel] | type[Server] | type[Project]) -> tuple[Any, Any]:
    """How all of a table are listed and one is found, by name alone."""
    return (
        lambda db: list(db.scalars(select(row.name).order_by(row.name))),
        lambda db, name: db.scalars(select(row).where(row.name == name)).one_or_none(),
    )


def _named_by_files(policy: PolicyFiles, subject: str) -> bool:
    return bool(policy.naming(subject))


def _user_document(_db: Db, user: User) -> Document:
    return {"kind": "user", "name": user.name, "service": user.service, "disabled": user.disabled}


def _user_differs(_work: Work, user: User, item: wire.UserItem) -> list[str]:
    if item.service != user.service:
        _refuse("service", "a person does not become a service user, nor the other way round: delete and create")
    return ["disabled"] if item.disabled not in (None, user.disabled) else []


def _create_user(work: Work, item: wire.UserItem, hashed: Mapping[str, str]) -> None:
    user = users.create(work, item, hashed.get(item.name))
    if item.disabled:
        users.change(work, user, UserPatch.model_validate({"disabled": True}))


def _user_kept(work: Work, name: str) -> bool:
    return name in (bootstrap.ADMIN_NAME, work.actor.user) or _named_by_files(work.policy, f"User:{name}")


def _group_document(db: Db, group: Group) -> Document:
    return {"kind": "group", "name": group.name, "members": [user.subject for user in groups.members(db, group)]}


def _group_differs(work: Work, group: Group, item: wire.GroupItem) -> list[str]:
    present = {user.subject for user in groups.members(work.db, group)}
    return ["members"] if item.members is not None and {*item.members} != present else []


def _create_group(work: Work, item: wire.GroupItem, _hashed: Mapping[str, str]) -> None:
    groups.create(work, NewGroup.model_validate({"name": item.name, "members": item.members or []}))


def _group_kept(work: Work, name: str) -> bool:
    return name in bootstrap.GROUPS or _named_by_files(work.policy, f"Group:{name}")


def _keys(db: Db, secret: Secret) -> list[str]:
    return list(db.scalars(select(SecretValue.key).where(SecretValue.secret_id == secret.id).order_by(SecretValue.key)))


def _secret_document(db: Db, secret: Secret) -> Document:
    return {"kind": "secret", "name": secret.name, "keys": _keys(db, secret)}


def _secret_differs(work: Work, secret: Secret, item: wire.SecretItem) -> list[str]:
    """A value given counts as another one: whether it is the same would be a way to guess it."""
    return [f"values.{key}" for key in sorted({*item.values} | ({*_keys(work.db, secret)} ^ {*item.keys, *item.values}))]


def _require_values(item: wire.SecretItem, present: list[str]) -> None:
    """Go on only if every key has a value, here or already.

    Raises:
        InvalidInput: with one entry of ``errors`` for each that has none.
    """
    lacking = [key for key in dict.fromkeys(item.keys) if key not in item.values and key not in present]
    if not item.keys and not item.values:
        _refuse("keys", "a secret needs a key: give keys, values, or both")
    if lacking:
        errors = [FieldError(f"values.{key}", "there is no value of it yet: give one") for key in lacking]
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)


def _create_secret(work: Work, item: wire.SecretItem, _hashed: Mapping[str, str]) -> None:
    _require_values(item, [])
    secrets.create(work, NewSecret.model_validate({"name": item.name, "values": item.values}))


def _change_secret(work: Work, secret: Secret, item: wire.SecretItem) -> None:
    present = _keys(work.db, secret)
    _require_values(item, present)
    gone = dict.fromkeys(key for key in present if key not in item.keys and key not in item.values)
    secrets.change(work, secret, SecretPatch.model_validate({"values": {**item.values, **gone}}))


def _proxy_model_document(_db: Db, model: ProxyModel) -> Document:
    document = {"kind": "proxymodel", "name": model.name, "description": model.description, "stages": model.stages}
    return document | ({"cache": model.cache} if model.cache is not None else {})


def _proxy_model_differs(_work: Work, model: ProxyModel, item: wire.ProxyModelItem) -> list[str]:
    return [column for column, value in proxy_models.columns(item).items() if value != getattr(model, column)]


def _server_document(_db: Db, server: Server) -> Document:
    members = {
        "transport": server.transport,
        "url": server.url,
        "headers": server.headers,
        "command": server.command,
        "args": server.args,
        "env": server.env,
        "healthCheck": server.health_check,
        "proxyModel": server.proxy_model,
        "stateful": server.stateful,
    }
    return {"kind": "server", "name": server.name} | {
        key: value for key, value in members.items() if value not in (None, {}, [])
    }


def _server_differs(_work: Work, server: Server, item: wire.ServerItem) -> list[str]:
    wanted = servers.columns(item)
    found = {column: getattr(server, column) for column in wanted}
    names = {"health_check": "healthCheck", "proxy_model": "proxyModel"}
    return [names.get(column, column) for column, value in wanted.items() if value != found[column]]


def _project_document(db: Db, project: Project) -> Document:
    return {
        "kind": "project",
        "name": project.name,
        "servers": attached_servers(db, project),
        "toolNames": project.tool_names,
        "proxyModel": project.proxy_model,
    }


def _project_changes(db: Db, project: Project, item: wire.ProjectItem) -> Document:
    wanted: Document = {"servers": item.servers, "toolNames": item.tool_names}
    wanted = {member: value for member, value in wanted.items() if value is not None}
    if "proxy_model" in item.model_fields_set:
        wanted["proxyModel"] = item.proxy_model
    found = _project_document(db, project)
    return {member: value for member, value in wanted.items() if value != found[member]}


def _project_differs(work: Work, project: Project, item: wire.ProjectItem) -> list[str]:
    return list(_project_changes(work.db, project, item))


def _create_project(work: Work, item: wire.ProjectItem, _hashed: Mapping[str, str]) -> None:
    given = {"servers": item.servers, "toolNames": item.tool_names, "proxyModel": item.proxy_model}
    projects.create(
        work, NewProject.model_validate({"name": item.name} | {key: one for key, one in given.items() if one is not None})
    )


def _change_project(work: Work, project: Project, item: wire.ProjectItem) -> None:
    projects.change(work, project, ProjectPatch.model_validate(_project_changes(work.db, project, item)))


def _definitions(db: Db) -> list[str]:
    return [origin.removeprefix(rbac.PREFIX) for origin in policy_rules.origins(db, rbac.PREFIX, "", 1_000_000)]


def _find_definition(db: Db, name: str) -> str | None:
    return name if policy_rules.of_origin(db, rbac.origin_of(name)) else None


def _definition_document(db: Db, name: str) -> Document:
    found = rbac.find(db, name)
    return {"kind": "rbac", "name": name, "subjects": found.subjects, "roleBindings": found.role_bindings}


def _definition_differs(work: Work, name: str, item: wire.DefinitionItem) -> list[str]:
    found = _definition_document(work.db, name)
    bindings = {str(one) for one in rbac.parse_all(item.role_bindings, work.policy.roles, "roleBindings")}
    same = {"subjects": {*item.subjects} == {*found["subjects"]}, "roleBindings": bindings == {*found["roleBindings"]}}
    return [member for member, alike in same.items() if not alike]


_USERS, _USER = _named(User)
_GROUPS, _GROUP = _named(Group)
_SECRETS, _SECRET = _named(Secret)
_PROXY_MODELS, _PROXY_MODEL = _named(ProxyModel)
_SERVERS, _SERVER = _named(Server)
_PROJECTS, _PROJECT = _named(Project)

KINDS: Final[dict[wire.KindWord, Kind]] = {
    "user": Kind(
        "users",
        _USERS,
        _USER,
        _user_document,
        _user_differs,
        _create_user,
        lambda work, user, item: users.change(work, user, UserPatch.model_validate({"disabled": item.disabled})),
        users.remove,
        _user_kept,
    ),
    "group": Kind(
        "groups",
        _GROUPS,
        _GROUP,
        _group_document,
        _group_differs,
        _create_group,
        lambda work, group, item: groups.set_members(work, group, item.members),
        groups.remove,
        _group_kept,
    ),
    "secret": Kind(
        "secrets", _SECRETS, _SECRET, _secret_document, _secret_differs, _create_secret, _change_secret, secrets.remove
    ),
    "proxymodel": Kind(
        "proxymodels",
        _PROXY_MODELS,
        _PROXY_MODEL,
        _proxy_model_document,
        _proxy_model_differs,
        lambda work, item, _hashed: proxy_models.create(work, item),
        proxy_models.replace,
        proxy_models.remove,
    ),
    "server": Kind(
        "servers",
        _SERVERS,
        _SERVER,
        _server_document,
        _server_differs,
        lambda work, item, _hashed: servers.create(work, item),
        servers.replace,
        servers.remove,
    ),
    "project": Kind(
        "projects", _PROJECTS, _PROJECT, _project_document, _project_differs, _create_project, _change_project, projects.remove
    ),
    "rbac": Kind(
        "rbac",
        _definitions,
        _find_definition,
        _definition_document,
        _definition_differs,
        lambda work, item, _hashed: rbac.create(work, item),
        rbac.replace,
        rbac.remove,
    ),
}
"""In the order in which they are applied: whatever something names stands before it. Pruning goes the other way."""

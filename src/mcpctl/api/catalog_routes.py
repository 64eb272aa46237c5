"""Routes: servers, projects, attachments, instances."""

from __future__ import annotations

from sqlalchemy import select

from mcpctl.api import naming
from mcpctl.api.naming import ListQuery
from mcpctl.api.operations import Call, Filtered, Guarded, Operation
from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy.names import check_server_name
from mcpctl.services import gateways, projects, servers
from mcpctl.services.reading import Reading, page
from mcpctl.services.work import Work
from mcpctl.store.schema import InstanceRow, Project, Server
from mcpctl.wire import catalog as wire
from mcpctl.wire.shapes import Page


def list_servers(reading: Reading, call: Call) -> Page[wire.Server]:
    """The servers the asker may view."""
    rows = select(Server).order_by(Server.name)
    return page(
        reading,
        "servers",
        lambda after, limit: reading.db.scalars(rows.where(Server.name > after).limit(limit)).all(),
        lambda server: server.name,
        lambda server: servers.shown(reading.db, server, reading.actor.authority),
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def list_projects(reading: Reading, call: Call) -> Page[wire.Project]:
    """The projects the asker may view."""
    rows = select(Project).order_by(Project.name)
    return page(
        reading,
        "projects",
        lambda after, limit: reading.db.scalars(rows.where(Project.name > after).limit(limit)).all(),
        lambda project: project.name,
        lambda project: projects.shown(reading.db, project),
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def list_instances(reading: Reading, call: Call) -> Page[wire.Instance]:
    """The instances the asker may view, by server and gateway."""
    rows = sorted(reading.db.scalars(select(InstanceRow)), key=_instance_name)
    return page(
        reading,
        "instances",
        lambda after, limit: [row for row in rows if _instance_name(row) > after][:limit],
        _instance_name,
        gateways.shown_instance,
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def _instance_name(row: InstanceRow) -> str:
    return f"{row.server.name}/{row.gateway}"


def describe_instance(reading: Reading, call: Call) -> wire.Instance:
    """One instance."""
    return gateways.shown_instance(gateways.find_instance(reading.db, call.params["server"], call.params["gateway"]))


def read_log(reading: Reading, call: Call) -> wire.Log:
    """The newest lines of one instance, or those after a number."""
    row = gateways.find_instance(reading.db, call.params["server"], call.params["gateway"])
    return gateways.log_of(reading.db, reading.actor, row, call.query)


def create_server(work: Work, call: Call) -> wire.Server:
    return servers.shown(work.db, servers.create(work, call.body), work.authority)


def replace_server(work: Work, call: Call) -> wire.Server:
    server = servers.find(work.db, call.params["id"])
    if call.body.name not in (None, server.name):
        message = f"it is {server.name!r} in the path; a server is not renamed"
        raise InvalidInput(f"name: {message}", errors=[FieldError("name", message)])
    return servers.shown(work.db, servers.replace(work, server, call.body), work.authority)


def create_project(work: Work, call: Call) -> wire.Project:
    return projects.shown(work.db, projects.create(work, call.body))


def change_project(work: Work, call: Call) -> wire.Project:
    return projects.shown(work.db, projects.change(work, projects.find(work.db, call.params["id"]), call.body))


def attach(work: Work, call: Call) -> wire.Project:
    return projects.shown(work.db, projects.attach(work, projects.find(work.db, call.params["id"]), _server_in_path(call)))


def detach(work: Work, call: Call) -> wire.Project:
    return projects.shown(work.db, projects.detach(work, projects.find(work.db, call.params["id"]), _server_in_path(call)))


def _server_in_path(call: Call) -> str:
    return check_server_name(call.params["server"])


_V = "/api/v1"
_server = naming.by_id_or_name(Server, "servers")
_project = naming.by_id_or_name(Project, "projects")
_S, _P, _I = ("servers",), ("projects",), ("instances",)

OPERATIONS = (
    Operation("GET", f"{_V}/servers", Filtered("servers"), "read", list_servers, "List servers", Page[wire.Server], query=ListQuery, tags=_S),
    Operation(
        "POST", f"{_V}/servers", Guarded("create", "servers", naming.body_name), "write", create_server,
        "Register a server", wire.Server, body=wire.NewServer, status=201, tags=_S, errors=(409,),
    ),
    Operation(
        "GET", f"{_V}/servers/{{id}}", Guarded("view", "servers", _server), "read",
        lambda reading, call: servers.shown(reading.db, servers.find(reading.db, call.params["id"]), reading.actor.authority),
        "Describe a server", wire.Server, tags=_S,
    ),
    Operation(
        "PUT", f"{_V}/servers/{{id}}", Guarded("edit", "servers", _server), "write", replace_server,
        "Replace a server", wire.Server, body=wire.ServerBody, tags=_S,
    ),
    Operation(
        "DELETE", f"{_V}/servers/{{id}}", Guarded("delete", "servers", _server), "write",
        lambda work, call: servers.remove(work, servers.find(work.db, call.params["id"])),
        "Delete a server", status=204, tags=_S,
    ),
    Operation("GET", f"{_V}/projects", Filtered("projects"), "read", list_projects, "List projects", Page[wire.Project], query=ListQuery, tags=_P),
    Operation(
        "POST", f"{_V}/projects", Guarded("create", "projects", naming.body_name), "write", create_project,
        "Create a project", wire.Project, body=wire.NewProject, status=201, tags=_P, errors=(409,),
    ),
    Operation(
        "GET", f"{_V}/projects/{{id}}", Guarded("view", "projects", _project), "read",
        lambda reading, call: projects.shown(reading.db, projects.find(reading.db, call.params["id"])),
        "Describe a project", wire.Project, tags=_P,
    ),
    Operation(
        "PUT", f"{_V}/projects/{{id}}", Guarded("edit", "projects", _project), "write", change_project,
        "Change a project", wire.Project, body=wire.ProjectBody, tags=_P,
    ),
    Operation(
        "DELETE", f"{_V}/projects/{{id}}", Guarded("delete", "projects", _project), "write",
        lambda work, call: projects.remove(work, projects.find(work.db, call.params["id"])),
        "Delete a project and its tokens", status=204, tags=_P,
    ),
    Operation(
        "PUT", f"{_V}/projects/{{id}}/servers/{{server}}", Guarded("expose", "projects", _project), "write", attach,
        "Attach a server; needs view on the server too", wire.Project, tags=_P,
    ),
    Operation(
        "DELETE", f"{_V}/projects/{{id}}/servers/{{server}}", Guarded("expose", "projects", _project), "write", detach,
        "Detach a server", wire.Project, tags=_P,
    ),
    Operation(
        "GET", f"{_V}/instances", Filtered("instances"), "read", list_instances,
        "List instances", Page[wire.Instance], query=ListQuery, tags=_I,
    ),
    Operation(
        "GET", f"{_V}/instances/{{server}}/{{gateway}}", Guarded("view", "instances", naming.instance_in_path), "read", describe_instance,
        "Describe an instance", wire.Instance, tags=_I,
    ),
    Operation(
        "GET", f"{_V}/instances/{{server}}/{{gateway}}/logs", Guarded("view", "instances", naming.instance_in_path), "read", read_log,
        "Read an instance's log; needs logs on each project of its server too", wire.Log, query=wire.LogQuery, tags=_I,
    ),
)  # fmt: skip
"""Everything about what can be reached."""

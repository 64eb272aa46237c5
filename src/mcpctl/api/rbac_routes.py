"""Routes: RBAC definitions."""

from __future__ import annotations

from collections.abc import Sequence

from mcpctl.api import naming
from mcpctl.api.naming import ListQuery
from mcpctl.api.operations import Call, Filtered, Guarded, Operation
from mcpctl.errors import FieldError, InvalidInput
from mcpctl.services import rbac
from mcpctl.services.reading import Reading, page
from mcpctl.services.work import Work
from mcpctl.store import policy_rules
from mcpctl.wire import rbac as wire
from mcpctl.wire.shapes import Page


def list_definitions(reading: Reading, call: Call) -> Page[wire.Definition]:
    """The definitions the asker may view."""

    def after(name: str, limit: int) -> Sequence[str]:
        origins = policy_rules.origins(reading.db, rbac.PREFIX, rbac.origin_of(name) if name else "", limit)
        return [origin.removeprefix(rbac.PREFIX) for origin in origins]

    return page(
        reading,
        "rbac",
        after,
        lambda name: name,
        lambda name: rbac.find(reading.db, name),
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def replace(work: Work, call: Call) -> wire.Definition:
    """Make the definition say this from now on."""
    name = call.params["id"]
    if call.body.name not in (None, name):
        message = f"it is {name!r} in the path; a definition is not renamed"
        raise InvalidInput(f"name: {message}", errors=[FieldError("name", message)])
    return rbac.replace(work, name, call.body)


_V = "/api/v1/rbac"
_T = ("rbac",)
_name = naming.path_name("rbac")

OPERATIONS = (
    Operation("GET", _V, Filtered("rbac"), "read", list_definitions, "List RBAC definitions", Page[wire.Definition], query=ListQuery, tags=_T),
    Operation(
        "POST", _V, Guarded("create", "rbac", naming.body_name), "write", lambda work, call: rbac.create(work, call.body),
        "Create an RBAC definition", wire.Definition, body=wire.NewDefinition, status=201, tags=_T, errors=(409,),
    ),
    Operation(
        "GET", f"{_V}/{{id}}", Guarded("view", "rbac", _name), "read", lambda reading, call: rbac.find(reading.db, call.params["id"]),
        "Describe an RBAC definition", wire.Definition, tags=_T,
    ),
    Operation(
        "PUT", f"{_V}/{{id}}", Guarded("edit", "rbac", _name), "write", replace,
        "Replace an RBAC definition", wire.Definition, body=wire.DefinitionBody, tags=_T, errors=(409,),
    ),
    Operation(
        "DELETE", f"{_V}/{{id}}", Guarded("delete", "rbac", _name), "write",
        lambda work, call: rbac.remove(work, call.params["id"]),
        "Delete an RBAC definition", status=204, tags=_T, errors=(409,),
    ),
)  # fmt: skip
"""Everything about definitions."""

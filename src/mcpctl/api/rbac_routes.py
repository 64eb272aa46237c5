"""Routes: RBAC definitions, and questions about rights."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Annotated

from anyio import to_thread
from pydantic import Field
from starlette.requests import Request as HttpRequest

from mcpctl.api import naming
from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.naming import ListQuery
from mcpctl.api.operations import Call, Decided, Filtered, Guarded, Operation
from mcpctl.errors import FieldError, InvalidInput
from mcpctl.services import questions, rbac
from mcpctl.services.principals import Principal
from mcpctl.services.reading import Reading, page
from mcpctl.services.work import Work
from mcpctl.store import policy_rules
from mcpctl.wire import decisions as decisions_wire
from mcpctl.wire import rbac as wire
from mcpctl.wire.shapes import Page

Questions = Annotated[list[decisions_wire.Question], Field(min_length=1, max_length=1000)]


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


async def authorize(
    control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal
) -> decisions_wire.Verdict | list[decisions_wire.Verdict]:
    """One answer to one question, or as many as there are questions."""
    asked = call.body if isinstance(call.body, list) else [call.body]
    if all(question.subject in (None, asker.subject) for question in asked):
        answers = [questions.own_verdict(asker, question) for question in asked]
    else:
        answers = await to_thread.run_sync(_authorize_others, control, asker, asked)
    return answers if isinstance(call.body, list) else answers[0]


def _authorize_others(
    control: ControlPlane, asker: Principal, asked: list[decisions_wire.Question]
) -> list[decisions_wire.Verdict]:
    with control.database.read() as db:
        return questions.verdicts(db, control.policy, asker, asked, time())


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
    Operation(
        "POST", "/api/v1/authorize", Decided("about oneself always, about another subject with action:impersonate"), "raw", authorize,
        "Ask whether something is allowed", decisions_wire.Verdict | list[decisions_wire.Verdict],
        body=decisions_wire.Question | Questions, tags=_T,
    ),
)  # fmt: skip
"""Everything about rights."""

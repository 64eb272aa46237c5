"""How every operation runs: read and check the request, know who asks, ask the guard, do it in its transaction, answer.

A write reads the principal's authority anew inside its own transaction, so guard, ceiling and write see one policy. A
refusal is audited after its transaction has rolled back.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, Final

from anyio import to_thread
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db
from starlette.requests import Request
from starlette.responses import Response

from mcpctl import request_ids
from mcpctl.api import access, bodies, caught_up, problems
from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.operations import Call, Guarded, Operation, Unguarded
from mcpctl.errors import CeilingExceeded, Forbidden, InvalidInput, LastAdmin, MalformedBody, NotFound, Problem, WrongPassword
from mcpctl.metrics import OTHER
from mcpctl.policy.decision import Decision, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import audit, metrics
from mcpctl.services.principals import Principal, authenticate
from mcpctl.services.reading import Reading
from mcpctl.services.shadow import Asked
from mcpctl.services.work import Work, require
from mcpctl.store import revisions

_ANY_REQUEST_ID = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_ALWAYS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Headers of every answer; no operation sets them itself."""

LARGEST_ANONYMOUS = 8192
"""Bytes of a body from somebody who is not known yet: a log-in is small, and reading a large body takes everybody's time."""

Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint(control: ControlPlane, operation: Operation) -> Endpoint:
    """The Starlette endpoint of ``operation``."""

    async def run(request: Request) -> Response:
        begun = perf_counter()
        given = bodies.header(request, b"x-request-id")
        request_id = request_ids.begin(given, bodies.header(request, b"traceparent"))
        # The log and the audit know it by ours then.
        echoed = given if operation.standard == "authzen" and _ANY_REQUEST_ID.fullmatch(given) else request_id
        try:
            response = await _run(control, operation, request, request_id)
        except Problem as problem:
            response = problems.answer(_as_standard(operation, problem), request_id)
            if isinstance(problem, CeilingExceeded):
                metrics.CEILING_REFUSALS.add(operation.operation_id)
        except Exception as error:  # the one place where an unforeseen fault becomes an answer, and never an allow
            response = problems.unforeseen(error, request_id)
        response.raw_headers += ((b"x-request-id", echoed.encode()), *_ALWAYS)
        metrics.REQUESTS.add(operation.path, operation.method, str(response.status_code))
        metrics.DURATIONS.observe(perf_counter() - begun, operation.path, operation.method)
        return response

    return run


def _as_standard(operation: Operation, problem: Problem) -> Problem:
    if operation.standard == "authzen" and problem.status == InvalidInput.status:
        return MalformedBody(problem.detail, errors=problem.errors)
    return problem


async def _run(control: ControlPlane, operation: Operation, request: Request, request_id: str) -> Response:
    source = access.source_of(request, control.trusted_proxies)
    if isinstance(operation.guard, Unguarded):
        call = await _read_call(control, operation, request, source, request_id)
        return await _answered(operation, operation.do(control, request, call))
    await caught_up.wait(control, request.scope["headers"])
    control.require_current_files()
    # Known before a byte of the body is read.
    bearer = access.bearer_of(request) if operation.standard != "oauth" else access.client_of(request)
    principal = await access.principal_of(control, bearer, source)
    call = await _read_call(control, operation, request, source, request_id)
    principal = await access.still(control, bearer, principal, source)
    try:
        if operation.kind == "raw":
            return await _answered(operation, operation.do(control, request, call, principal))
        if operation.kind == "memory":
            return _answer(operation, operation.do(principal, call))
        if operation.prepare is not None:
            call = replace(call, prepared=await operation.prepare(control, principal, call))
        runner = {"write": _write, "append": _append, "read": _read}[operation.kind]
        return await to_thread.run_sync(partial(runner, control, operation, bearer, principal, call))
    except (Forbidden, NotFound, LastAdmin, WrongPassword) as refusal:
        if not isinstance(refusal, NotFound) or operation.kind == "write":
            await to_thread.run_sync(partial(_audit_refusal, control, operation, principal, call, refusal))
        raise


async def _read_call(control: ControlPlane, operation: Operation, request: Request, source: str, request_id: str) -> Call:
    bodies.check_path(request.path_params)
    pairs = request.query_params.multi_items() if request.scope["query_string"] else ()
    query = bodies.validate_query(operation.query, pairs)
    body: Any = None
    anonymous = isinstance(operation.guard, Unguarded)
    largest = min(control.max_body_bytes, LARGEST_ANONYMOUS) if anonymous else control.max_body_bytes
    if operation.body_adapter is not None:
        body = bodies.validate(operation.body_adapter, await bodies.read_json(request, largest))
    elif operation.method != "GET" and operation.kind != "raw":
        bodies.refuse_body(await bodies.read_json(request, largest))
    return Call(dict(request.path_params), query, body, source, request_id)


def _write(control: ControlPlane, operation: Operation, bearer: str, _remembered: Principal, call: Call) -> Response:
    with control.database.write() as transaction:
        control.require_current_files(revisions.files_digest(transaction.session))
        principal = authenticate(transaction.session, control.policy, bearer)
        work = Work(transaction, control.policy, principal, control.keyring, call.source, call.request_id)
        if isinstance(operation.guard, Guarded):
            work.require(operation.guard.action, operation.guard.resource, _asked_name(operation, work.db, principal, call))
            if work.decision is not None:
                _also_ask(control, work.decision)
        answer = operation.do(work, call)
        transaction.session.flush()
        response = _answer(operation, answer)
    response.raw_headers.append((caught_up.REVISION, str(transaction.revision).encode()))
    return response


def _also_ask(control: ControlPlane, decision: Decision) -> None:
    if control.shadow is not None:
        asked = Asked(decision.subject, decision.action, decision.resource, decision.name, decision.allowed)
        control.shadow.note(asked)


def _append(control: ControlPlane, operation: Operation, bearer: str, _remembered: Principal, call: Call) -> Response:
    for last in (False, False, True):
        try:
            with control.database.append() as db:
                answer = _answer(operation, operation.do(db, authenticate(db, control.policy, bearer), call))
            if control.shadow is not None and operation.decided is not None:
                for asked in operation.decided(call):
                    control.shadow.note(asked)
            return answer
        except IntegrityError:  # the very same was added at the same moment; now it can be seen
            if last:
                raise
    raise AssertionError


def _read(control: ControlPlane, operation: Operation, bearer: str, remembered: Principal, call: Call) -> Response:
    begun_with = control.policy

    def read(db: Db, policy: PolicyFiles) -> tuple[Any, Principal]:
        principal = remembered
        if remembered.authority.superseded or policy is not begun_with:
            principal = authenticate(db, policy, bearer)
        if isinstance(operation.guard, Guarded):
            name = _asked_name(operation, db, principal, call)
            _also_ask(control, require(principal.authority, operation.guard.action, operation.guard.resource, name))
        return operation.do(Reading(db, policy, principal, control.keyring), call), principal

    answer, principal = control.read(read)
    if principal.authority.superseded:  # while this was read: what was filtered by it may be wrong
        answer, _ = control.read(read)
    return _answer(operation, answer)


def _asked_name(operation: Operation, db: Any, principal: Principal, call: Call) -> str:
    """What the guard asks about. An id that is nobody's asks about all of them, so it answers like a name without right.

    Raises:
        NotFound: there is no such id, and the asker may see all of that kind.
    """
    assert isinstance(operation.guard, Guarded)  # noqa: S101 - the callers have looked
    name = operation.guard.name(db, call)
    if name is None:
        asked = decide(principal.authority, operation.guard.action, operation.guard.resource)
        if not (asked.leg is not None and asked.leg.kind == "project"):  # to a token, what is outside its project is not there
            require(principal.authority, operation.guard.action, operation.guard.resource)
        raise NotFound(f"there is no {operation.guard.resource.removesuffix('s')} with that id")
    return name


def _audit_refusal(control: ControlPlane, operation: Operation, principal: Principal, call: Call, refusal: Problem) -> None:
    action, resource, name = (
        operation.method.lower(),
        operation.tags[0] if operation.tags else "api",
        "/".join(call.params.values()),
    )
    decision = None
    if isinstance(operation.guard, Guarded):
        action, resource = operation.guard.action, operation.guard.resource
        with control.database.read() as db:
            name = operation.guard.name(db, call) or "*"
        decision = decide(principal.authority, action, resource, name)
        _also_ask(control, decision)
    elif len(refusal.missing) == 1:
        action, resource, name = refusal.missing[0].split(" ", 2)
    with control.database.append() as db:
        row = audit.row(
            principal,
            action,
            resource,
            name or "*",
            allowed=False,
            outcome=refusal.code,
            reason=refusal.detail,
            decision=decision if decision is not None and not decision else None,
            revision=principal.authority.revision,
            source=call.source,
            request_id=call.request_id,
            details={"missing": list(refusal.missing)} if refusal.missing else {},
        )
        db.add(row)


async def _answered(operation: Operation, pending: Any) -> Response:
    answer = await pending
    return answer if isinstance(answer, Response) else _answer(operation, answer)


def _answer(operation: Operation, answer: Any) -> Response:
    if operation.answer_adapter is None:
        return Response(status_code=204)
    return Response(operation.answer_adapter.dump_json(answer, by_alias=True), operation.status, media_type="application/json")


def refused_outside(headers: Sequence[tuple[bytes, bytes]], problem: Problem) -> Response:
    """The answer to a request that belongs to no operation, by its raw headers."""
    given = dict(headers)
    request_id = request_ids.begin(*(given.get(name, b"").decode("latin-1") for name in (b"x-request-id", b"traceparent")))
    response = problems.answer(problem, request_id)
    response.raw_headers += ((b"x-request-id", request_id.encode()), *_ALWAYS)
    metrics.REQUESTS.add(metrics.UNMATCHED, OTHER, str(problem.status))
    return response

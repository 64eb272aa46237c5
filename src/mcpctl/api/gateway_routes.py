"""Routes for gateways, the watch stream, and the audit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from time import monotonic, time

from starlette.requests import Request as HttpRequest
from starlette.responses import StreamingResponse

from mcpctl.api import access
from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.operations import Call, Decided, Operation
from mcpctl.errors import Problem
from mcpctl.policy.decision import decide
from mcpctl.policy.vocabulary import OPERATIONS_RESOURCE
from mcpctl.services import audit, gateways
from mcpctl.services.principals import Principal
from mcpctl.services.reading import Reading
from mcpctl.services.shadow import Asked
from mcpctl.wire import audit as audit_wire
from mcpctl.wire import gateway as wire
from mcpctl.wire.shapes import Page

HEARTBEAT = 0.25
"""Seconds between events of the watch stream, whether or not anything changed."""

MOST_TOPICS = 1000
"""Topics in one event; past that it says that everything may have changed."""


async def watch(control: ControlPlane, request: HttpRequest, call: Call, principal: Principal) -> StreamingResponse:
    """Server-sent events: every revision at once, a heartbeat otherwise; ends when its own credential does."""
    bearer = access.bearer_of(request)
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_events(control, bearer, principal, call.source), 200, headers, "text/event-stream")


async def _events(control: ControlPlane, bearer: str, principal: Principal, source: str) -> AsyncIterator[bytes]:
    loop, changed, touched = asyncio.get_running_loop(), asyncio.Event(), set[str]()
    number, begun = 0, monotonic()

    def note(heard: int, topics: frozenset[str]) -> None:
        nonlocal number
        number = heard
        touched.update(topics)
        changed.set()

    def hear(heard: int, topics: frozenset[str]) -> None:
        loop.call_soon_threadsafe(note, heard, topics)

    unsubscribe = control.feed.subscribe(hear)
    control.watchers += 1
    try:
        number = control.feed.revision
        yield _event(number, None)
        while not control.draining:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), HEARTBEAT)
            changed.clear()
            if principal.authority.superseded or time() >= principal.authority.expires_at:
                try:
                    principal = await access.principal_of(control, bearer, source)
                except Problem:
                    return
            if not control.feed.fresh:
                continue  # silence: who cannot see the revision must not say that nothing changed
            names_subjects = bool(decide(principal.authority, "gateway", OPERATIONS_RESOURCE, "*"))
            if principal.authority.superseded:
                changed.set()
                continue  # it changed just now: what it may hear is asked again, and nothing touched is lost
            told = sorted(touched)
            touched.clear()
            elapsed = int((monotonic() - begun) * 1000)
            yield _event(number, (told if len(told) <= MOST_TOPICS else ["*"]) if names_subjects else None, elapsed)
    finally:
        control.watchers -= 1
        unsubscribe()


def _event(revision: int, subjects: list[str] | None, elapsed: int = 0) -> bytes:
    """One event. A gateway also learns how far into the stream it was written, and so how old it is when it comes."""
    gateways = {"subjects": subjects, "elapsedMs": elapsed} if subjects is not None else {}
    data = {"revision": revision, **gateways}
    return f"event: revision\ndata: {json.dumps(data)}\n\n".encode()


def decided_calls(call: Call) -> Iterator[Asked]:
    """The decisions of the gateway that a report of calls tells of."""
    for event in call.body.events:
        if event.subject and event.server and event.tool:
            yield Asked(event.subject, "run", "servers", f"{event.server}/{event.tool}", event.allowed)


def search_audit(reading: Reading, call: Call) -> Page[audit_wire.AuditRow]:
    """The rows the asker may see."""
    return audit.search(reading.db, reading.actor, call.query)


_V = "/api/v1"
_G = ("gateway",)
_WHY = "action:gateway on the project that is asked about"

OPERATIONS = (
    Operation(
        "GET", f"{_V}/watch", Decided("bare revisions for everybody; the topics with action:gateway"), "raw", watch,
        "Follow revisions as server-sent events", tags=_G,
    ),
    Operation(
        "GET", f"{_V}/gateway/slices", Decided(_WHY), "read",
        lambda reading, call: gateways.slices(reading.db, reading.policy, reading.actor, call.query, reading.now),
        "The policy lines that decide about one subject", wire.Slices, query=wire.SlicesQuery, tags=_G,
    ),
    Operation(
        "GET", f"{_V}/gateway/upstreams", Decided(_WHY), "read",
        lambda reading, call: gateways.upstreams(reading.db, reading.actor, reading.keyring, call.query),
        "How to reach the servers of a project", wire.Upstreams, query=wire.UpstreamsQuery, tags=_G,
    ),
    Operation(
        "POST", f"{_V}/gateway/audit", Decided(_WHY), "append",
        lambda db, principal, call: wire.Accepted(accepted=gateways.record_calls(db, principal, call.body)),
        "Report calls", wire.Accepted, body=wire.CallEvents, status=202, tags=_G, decided=decided_calls,
    ),
    Operation(
        "POST", f"{_V}/gateway/status", Decided(_WHY), "append",
        lambda db, principal, call: gateways.record_status(db, principal, call.body),
        "Report instances", body=wire.StatusReport, status=204, tags=_G,
    ),
    Operation(
        "GET", f"{_V}/audit", Decided("action:audit on all or on a project; everybody sees their own rows"), "read", search_audit,
        "Search the audit, newest first", Page[audit_wire.AuditRow], query=audit_wire.AuditQuery, tags=("audit",),
    ),
)  # fmt: skip
"""Everything gateways need, and what they leave behind."""

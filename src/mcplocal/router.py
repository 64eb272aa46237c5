"""From an exposed name to an upstream's answer: find the tool, ask the one question, call, and leave an event behind.

``tools/list`` shows a tool if and only if ``Caller.may_run`` says yes about it, and ``tools/call`` asks the same method
about the same name. A refused tool and one that does not exist answer alike.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final

import structlog

from mcpctl.errors import Problem
from mcpctl.policy.decision import Authority, Decision
from mcplocal import input_rounds
from mcplocal.call_events import CallEvents, CallOutcome
from mcplocal.catalog import ServerSpec
from mcplocal.client_side import Ask, ClientSide, Declined
from mcplocal.control.audit_spool import AuditSpool
from mcplocal.discovery import Discovery
from mcplocal.gate import Caller
from mcplocal.json_text import write
from mcplocal.param_headers import headers_for, mismatch
from mcplocal.recent import Recent
from mcplocal.sealed_state import BrokenSeal, StateSeal
from mcplocal.settings import Settings
from mcplocal.tools import Tool
from mcplocal.upstream.answers import Answer, Notify, UpstreamFailed
from mcplocal.upstream.era import Call
from mcplocal.upstream.pool import Connection, Pool
from mcplocal.vigil import Vigil, Watched
from mcplocal.wire import INTERNAL_ERROR, Era

log = structlog.get_logger(__name__)

OnDecision = Callable[[Mapping[str, Any]], None]

SHOWN_NAME: Final = 128
REMEMBERED_LISTS: Final = 256


class UnknownTool(Exception):
    """There is no such tool, or not for the caller: from outside these are one. The sentence is for the client."""


class HeaderMismatch(Exception):
    """A ``Mcp-Param-…`` header and the body differ. The sentence is for the client."""


class InvalidInputResponse(Exception):
    """A call is sent again with a state that was not given for it. The sentence is for the client."""


class UpstreamError(Exception):
    """The tool could not be called or gave nothing that can be passed on. The sentence is for the client."""


@dataclass(slots=True)
class ToolCall:
    """A ``tools/call`` as a client sent it, in the words of neither era.

    Attributes:
        name: the exposed name, as asked.
        params: the other parameters as JSON text, to be passed on as they are.
        arguments: the parsed arguments.
        meta: the ``_meta`` members to pass on.
        headers: the request's headers, all values by lower-case name; ``None`` where headers do not repeat arguments.
        notify: called with progress and log messages, if the client wants any.
        wants_progress: whether it asked for progress.
        client: what it may be asked; ``ask`` asks it, where there is a way to.
        relays_input: whether it is of the era in which a call is sent again with what its server asked for.
        input_responses: what such a call is sent again with, as JSON text.
        request_state: likewise the state that it was given.
        holder: whose state a stateful server keeps: the client's session, or its principal.
        size: bytes of the request.
        source: the client's address.
        request_id: of the HTTP request, for logs and audit.
    """

    name: str
    params: Mapping[str, str]
    arguments: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Sequence[str]] | None = None
    notify: Notify | None = None
    wants_progress: bool = False
    client: ClientSide | None = None
    ask: Ask | None = None
    relays_input: bool = False
    input_responses: str | None = None
    request_state: str | None = None
    holder: str = ""
    size: int = 0
    source: str | None = None
    request_id: str | None = None


Renew = Callable[[], Awaitable[Caller]]
"""Makes sure of the caller again, for when the policy changed while a request was under way."""


@dataclass(slots=True)
class _Trace:
    """What is known of one call while it runs, and the event it leaves behind."""

    caller: Caller
    call: ToolCall
    tool: Tool | None = None
    decision: Decision | None = None
    outcome: CallOutcome = "upstream_error"
    why: str | None = None
    response_size: int = 0
    stopped: bool = False
    begun: float = field(default_factory=monotonic)

    def unknown(self) -> UnknownTool:
        """The one answer for a tool that does not exist and for one that is not for the caller."""
        identity = self.caller.identity
        who = f"the token {identity.token_name!r}" if identity.is_token else identity.subject
        return UnknownTool(f"Unknown tool: {who} has no tool {self.call.name[:SHOWN_NAME]!r}")


class Router:
    """Lists and calls tools for callers."""

    def __init__(
        self,
        settings: Settings,
        discovery: Discovery,
        pool: Pool,
        vigil: Vigil,
        audit: AuditSpool,
        seal: StateSeal,
        on_decision: OnDecision | None,
    ) -> None:
        """Put the parts together.

        Args:
            settings: the settings in force.
            discovery: finds tools.
            pool: calls them.
            vigil: stops calls that are no longer allowed.
            audit: takes an event of each call.
            seal: keeps what servers want back from clients.
            on_decision: is told the same event.
        """
        self._settings = settings
        self._discovery = discovery
        self._pool = pool
        self._vigil = vigil
        self._audit = audit
        self._seal = seal
        self._on_decision = on_decision
        self._events = CallEvents()
        self._lists: Recent[tuple[Authority, Era, tuple[int, ...]], str] = Recent(REMEMBERED_LISTS)

    async def list_tools(self, caller: Caller, renew: Renew, era: Era) -> str:
        """The tools ``caller`` may call, as the JSON text of a list.

        Raises:
            UpstreamError: none of the project's servers has ever answered.
        """
        project = await self._discovery.project(caller.project, caller.seen_revision)
        offer = await self._discovery.offer(project)
        if not offer.tools and project.servers and len(offer.silent) == len(project.servers):
            raise UpstreamError("no server of this project answers right now; try again shortly")
        if caller.authority.superseded:
            caller = await renew()
        # An authority is frozen and never asked again once superseded, so what is made from it is good as long as it is.
        key = (caller.authority, era, offer.version)
        ready = self._lists.get(key)
        if ready is None:
            shown = [offer.tools[ref].listed_as(name, era) for name, ref in offer.names.items() if caller.may_run(ref.asked)]
            ready = "[" + ",".join(shown) + "]"
            self._lists.keep(key, ready)
        return ready

    async def call_tool(self, caller: Caller, renew: Renew, call: ToolCall) -> Answer:
        """The answer of the tool that ``caller`` knows as ``call.name``.

        Raises:
            UnknownTool: there is none, or not for the caller.
            HeaderMismatch: a header that repeats an argument does not.
            InvalidInputResponse: it is sent again with a state that was not given for it.
            UpstreamError: the tool's server gave no usable answer.
        """
        trace = _Trace(caller, call)
        try:
            tool = await self._allowed_tool(trace, renew)
            answer = await self._answer(trace, tool, renew)
        except (UnknownTool, InvalidInputResponse):
            trace.outcome = "refused"
            raise
        except asyncio.CancelledError:
            if trace.stopped and (task := asyncio.current_task()) is not None and task.uncancel() == 0:
                trace.outcome, trace.why = "refused", "the right to it ended while it ran"
                raise trace.unknown() from None
            trace.outcome = "cancelled"
            raise
        except UpstreamError:
            trace.outcome = "upstream_error"
            raise
        except Problem as problem:
            trace.outcome, trace.why = "refused", problem.detail
            raise
        finally:
            self._leave(trace)
        return answer

    async def _allowed_tool(self, trace: _Trace, renew: Renew) -> Tool:
        """The tool, if there is one and the caller may run it, decided on rights that hold now."""
        project = await self._discovery.project(trace.caller.project, trace.caller.seen_revision)
        offer = await self._discovery.offer(project, trace.call.name)
        tool = offer.tool(trace.call.name)
        if tool is None:
            raise trace.unknown()
        trace.tool = tool
        await self._decide(trace, tool, renew)
        return tool

    async def _decide(self, trace: _Trace, tool: Tool, renew: Renew) -> None:
        if trace.caller.authority.superseded:
            trace.caller = await renew()
        trace.decision = trace.caller.may_run(tool.ref.asked)
        if not trace.decision:
            raise trace.unknown()

    async def _answer(self, trace: _Trace, tool: Tool, renew: Renew) -> Answer:
        call = trace.call
        headers: Mapping[str, str] = {}
        if tool.param_headers:
            if call.headers is not None and (wrong := mismatch(tool.param_headers, call.arguments, call.headers)):
                trace.outcome = "refused"
                raise HeaderMismatch(wrong)
            headers = headers_for(tool.param_headers, call.arguments)
        spec = await self._server_of(trace, tool)
        bound_to = (trace.caller.identity.subject, trace.caller.project, tool.ref.server, spec.digest, tool.ref.tool)
        again = self._again(call, bound_to)
        connection = self._pool.connection(spec, call.holder, call.client)
        watched = self._vigil.begin(Watched(trace.caller, renew, tool.ref.asked, _stopper(trace)))
        try:
            if not connection.is_ready:
                async with asyncio.timeout(self._settings.start_timeout):
                    await connection.ready()
            # Connecting may have taken a while, and revocation is not to wait for it.
            await self._decide(trace, tool, renew)
            asked = Call(
                "tools/call",
                {"name": write(tool.ref.tool), **call.params, **again},
                call.meta,
                name=tool.ref.tool,
                headers=headers,
                notify=call.notify,
                wants_progress=call.wants_progress,
                client=call.client,
                ask=call.ask,
                timeout=self._settings.call_timeout,
            )
            answer = await connection.request(asked)
            if input_rounds.needs_input(answer):
                if call.relays_input:
                    answer = input_rounds.sealed(answer, self._seal, bound_to)
                elif call.ask is not None and call.client is not None:
                    answer = await self._asked_for_input(trace, tool, connection, asked, answer, renew)
        except (UpstreamFailed, TimeoutError) as error:
            failure = error if isinstance(error, UpstreamFailed) else UpstreamFailed("it does not answer in time")
            log.warning("a call failed", server=spec.name, tool=tool.ref.tool, why=failure.detail, request_id=call.request_id)
            self._discovery.note_failure(spec, failure)
            maybe = "; the call may have been carried out" if failure.sent else ""
            raise UpstreamError(f"The server {spec.name!r} cannot be reached right now{maybe}.") from None
        finally:
            self._vigil.end(watched)
        if trace.caller.authority.superseded:
            await self._decide(trace, tool, renew)  # revoked while it ran: the result is for nobody
        trace.response_size = answer.size
        if answer.result is None:
            trace.outcome = "upstream_error" if answer.error and answer.error.code == INTERNAL_ERROR else "tool_error"
        else:
            failed = answer.result.get("isError")
            trace.outcome = "tool_error" if failed is not None and failed.value is True else "ok"
        return answer

    def _again(self, call: ToolCall, bound_to: tuple[str, ...]) -> dict[str, str]:
        """What a call that is sent again brings with it.

        Raises:
            InvalidInputResponse: it brings a state that was given to somebody else or for something else.
        """
        state = None
        if call.request_state is not None:
            try:
                state = self._seal.open(call.request_state, bound_to)
            except BrokenSeal as broken:
                raise InvalidInputResponse(str(broken)) from None
        return input_rounds.again(call.input_responses, state)

    async def _asked_for_input(
        self, trace: _Trace, tool: Tool, connection: Connection, asked: Call, answer: Answer, renew: Renew
    ) -> Answer:
        """What the server answers when it has been told what it needs, by a client that is asked as in the handshake's era."""
        for _ in range(input_rounds.MOST_ROUNDS):
            if not input_rounds.needs_input(answer) or asked.client is None or asked.ask is None:
                break
            try:
                responses = await input_rounds.responses_of(answer, asked.client, asked.ask)
            except Declined as declined:
                raise UpstreamError(f"The client declined what the tool asked for: {declined.message}") from None
            if responses is None:
                break
            await self._decide(trace, tool, renew)
            again = input_rounds.again(responses, input_rounds.state_of(answer))
            answer = await connection.request(replace(asked, params={**asked.params, **again}))
        return answer

    async def _server_of(self, trace: _Trace, tool: Tool) -> ServerSpec:
        project = await self._discovery.project(trace.caller.project, trace.caller.seen_revision)
        spec = next((spec for spec in project.servers if spec.name == tool.ref.server), None)
        if spec is None:
            raise trace.unknown()
        return spec

    def _leave(self, trace: _Trace) -> None:
        call = trace.call
        event = self._events.write(
            trace.caller,
            trace.tool.ref if trace.tool is not None else call.name,
            trace.decision,
            trace.outcome,
            trace.why,
            took_ms=(monotonic() - trace.begun) * 1000,
            request_bytes=call.size,
            response_bytes=trace.response_size,
            source=call.source,
            request_id=call.request_id,
        )
        self._audit.note(event)
        if self._on_decision is not None:
            try:
                self._on_decision(json.loads(event))
            except Exception:
                log.exception("on_decision failed")


def _stopper(trace: _Trace) -> Callable[[], None]:
    """What cancels the call that runs in this task, and says why."""
    task = asyncio.current_task()

    def stop() -> None:
        trace.stopped = True
        if task is not None:
            task.cancel()

    return stop

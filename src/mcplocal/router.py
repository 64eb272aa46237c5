"""From an exposed name to an upstream's answer: find what has it, ask the one question, use it, and leave an event behind.

A list shows a tool, prompt, resource or template if and only if ``Caller.may_use`` says yes about it, and whoever calls, gets,
reads or completes is asked about by the same method. What is refused and what does not exist answer alike.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Final

import structlog

from mcpctl.errors import Problem
from mcpctl.policy.decision import Authority
from mcpctl.request_ids import TRACE
from mcplocal.call_events import CallEvents
from mcplocal.catalog import ProjectServers, ServerSpec
from mcplocal.control.audit_spool import AuditSpool
from mcplocal.discovery import Discovery, Offer
from mcplocal.gate import Caller
from mcplocal.input_rounds import InputRounds, needs_input
from mcplocal.metrics import Metrics
from mcplocal.names import Ref
from mcplocal.offers.entries import Entry
from mcplocal.offers.kinds import TOOL, Family, Kind
from mcplocal.param_headers import headers_for, mismatch
from mcplocal.recent import Recent
from mcplocal.results.shaping import NEXT_PAGE, NO_PAGE, Shaping, page_result, shape_mark
from mcplocal.sealed_state import StateSeal
from mcplocal.settings import Settings
from mcplocal.shapes import PAGE_TOOL
from mcplocal.subscriber import Subscriber
from mcplocal.subscriptions import Subscriptions
from mcplocal.upstream.answers import Answer, UpstreamFailed
from mcplocal.upstream.pool import Connection, Pool
from mcplocal.uses import (
    COMPLETES,
    Full,
    HeaderMismatch,
    InvalidInputResponse,
    NoPage,
    Trace,
    Unknown,
    UpstreamError,
    Use,
    nothing_to_complete,
)
from mcplocal.vigil import Renew, Vigil, Watched
from mcplocal.wire import COMPLETE, INTERNAL_ERROR, Era

log = structlog.get_logger(__name__)

OnDecision = Callable[[Mapping[str, Any]], None]

REMEMBERED_LISTS: Final = 512


class Router:
    """Lists and uses for callers what servers offer."""

    def __init__(
        self,
        settings: Settings,
        discovery: Discovery,
        pool: Pool,
        vigil: Vigil,
        audit: AuditSpool,
        seal: StateSeal,
        shaping: Shaping,
        subscriptions: Subscriptions,
        on_decision: OnDecision | None,
        metrics: Metrics,
    ) -> None:
        """Put the parts together.

        Args:
            settings: the settings in force.
            discovery: finds what there is.
            pool: reaches its servers.
            vigil: stops what is no longer allowed.
            audit: takes an event of each use.
            seal: keeps what servers want back from clients.
            shaping: makes of results what proxy models say.
            subscriptions: takes what clients want to hear of from then on.
            on_decision: is told the same event.
            metrics: counts them.
        """
        self._settings = settings
        self._discovery = discovery
        self._pool = pool
        self._vigil = vigil
        self._audit = audit
        self._rounds = InputRounds(seal)
        self._shaping = shaping
        self._subscriptions = subscriptions
        self._on_decision = on_decision
        self._metrics = metrics
        self._events = CallEvents()
        self._ended: list[Trace] = []
        self._lists: Recent[tuple[Authority, Kind, Era, int], str] = Recent(REMEMBERED_LISTS)

    async def listed(self, caller: Caller, renew: Renew, family: Family, kind: Kind, era: Era) -> str:
        """What of ``kind``, which is of ``family``, ``caller`` may use, as the JSON text of a list.

        Raises:
            UpstreamError: none of the project's servers has ever answered.
        """
        project = await self._discovery.project(caller.project, caller.seen_revision)
        offer = await self._discovery.offer(project, family)
        if not len(offer.table) and project.servers and len(offer.silent) == len(project.servers):
            raise UpstreamError("no server of this project answers right now; try again shortly")
        if caller.authority.superseded:
            caller = await renew()
        return self._shown(caller, offer, kind, era)

    async def known_listed(self, caller: Caller, renew: Renew, family: Family, era: Era) -> str | None:
        """All of ``family`` that ``caller`` may use, by what is known of it without asking; ``None`` if nothing is."""
        project = await self._discovery.project(caller.project, caller.seen_revision)
        offer = self._discovery.known_offer(project, family)
        if offer is None:
            return None
        if caller.authority.superseded:
            caller = await renew()
        return "".join(self._shown(caller, offer, kind, era) for kind in family.kinds)

    def _shown(self, caller: Caller, offer: Offer, kind: Kind, era: Era) -> str:
        # An authority is frozen and never asked again once superseded, so what is made from it is good as long as it is.
        key = (caller.authority, kind, era, offer.version)
        ready = self._lists.get(key)
        if ready is None:
            shown = [entry.listed_as(name, era) for name, entry in offer.table.listed(kind.key) if caller.may_use(entry)]
            if kind is TOOL and offer.paged:
                used = (entry for _, entry in offer.table.listed(kind.key) if entry.ref.server in offer.paged)
                shown += [NEXT_PAGE] if any(caller.may_use(entry) for entry in used) else []
            ready = self._lists.keep(key, "[" + ",".join(shown) + "]")
        return ready

    async def use(self, caller: Caller, renew: Renew, use: Use) -> Answer:
        """The answer of what ``caller`` knows as ``use.name``.

        Raises:
            Unknown: there is none, or not for the caller.
            HeaderMismatch: a header that repeats an argument does not.
            InvalidInputResponse: it is sent again with a state that was not given for it.
            Full: a subscription is asked for, and there is room for no more.
            UpstreamError: its server gave no usable answer.
        """
        trace = Trace(caller, use)
        try:
            entry = await self._allowed(trace, renew)
            answer = await self._answer(trace, entry, renew)
        except (Unknown, InvalidInputResponse, NoPage, Full) as refusal:
            trace.outcome = "refused"
            if isinstance(refusal, InvalidInputResponse):
                trace.code = "request_state"
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
            trace.outcome, trace.why, trace.code = "refused", problem.detail, problem.code
            raise
        finally:
            if trace.does_to is not None:
                self._shaping.done(trace)
            trace.took = monotonic() - trace.begun
            self._over(trace)
        return answer

    def unsubscribe(self, subscriber: Subscriber, uri: str) -> None:
        """``subscriber`` no longer wants to hear of what it knows as ``uri``. That takes no right, and tells nothing."""
        self._subscriptions.leave(subscriber, uri)

    async def tells_of_updates(self, project: str) -> bool:
        """Whether anything of ``project`` can be subscribed to, as far as is known."""
        return await self._subscriptions.may_be_told(project)

    async def _allowed(self, trace: Trace, renew: Renew) -> Entry:
        """What is asked for, if there is such a thing and the caller may use it, decided on rights that hold now."""
        use = trace.use
        known = self._discovery.at_hand(trace.caller.project, use.family)
        if known is not None:
            project, table = known.project, known.offer.table
        else:
            project = await self._discovery.project(trace.caller.project, trace.caller.seen_revision)
            table = (await self._discovery.offer(project, use.family, use.name)).table
        entry = table.find(use.name) if use.method != COMPLETE else table.completing(use.name)
        if entry is None:
            if use.name == PAGE_TOOL and use.method == "tools/call" and project.makes_pages:
                return await self._page(trace, project, renew)
            trace.why = f"there is no such {use.family.word} on this endpoint"
            raise trace.unknown()
        trace.entry = entry
        await self._decide(trace, entry, renew)
        return entry

    async def _page(self, trace: Trace, project: ProjectServers, renew: Renew) -> Entry:
        pages = self._shaping.counts.pages
        try:
            entry = await self._page_of(trace, project, renew)
        except NoPage:
            pages.add("refused")
            raise
        pages.add("given")
        return entry

    async def _page_of(self, trace: Trace, project: ProjectServers, renew: Renew) -> Entry:
        """The tool that made the page asked for, if the caller may use that tool now."""
        use = trace.use
        trace.why = "there is no such page, or not for this caller"
        page = self._shaping.page(use, trace.caller)
        entry = (await self._discovery.offer(project, use.family, page.of.tool)).table.find(page.of.tool)
        if entry is None:
            raise NoPage(NO_PAGE)
        trace.entry = entry
        try:
            await self._decide(trace, entry, renew)
            spec = await self._server_of(trace, entry)
        except Unknown:
            raise NoPage(NO_PAGE) from None
        if shape_mark(spec.shape) != page.of.shape:
            raise NoPage(NO_PAGE)
        trace.page, trace.cache, trace.why = page_result(page), "page", None
        return entry

    async def _decide(self, trace: Trace, entry: Entry, renew: Renew) -> None:
        if trace.caller.authority.superseded:
            trace.caller = await renew()
        trace.decision = trace.caller.may_use(entry)
        if not trace.decision:
            raise trace.unknown()

    async def _answer(self, trace: Trace, entry: Entry, renew: Renew) -> Answer:
        use = trace.use
        if trace.page is not None:
            return await self._given(trace, entry, renew, trace.page)
        headers: Mapping[str, str] = {}
        if entry.param_headers:
            if use.headers is not None and (wrong := mismatch(entry.param_headers, use.arguments, use.headers)):
                trace.outcome, trace.code = "refused", "header_mismatch"
                raise HeaderMismatch(wrong)
            headers = headers_for(entry.param_headers, use.arguments)
        if trace_parent := TRACE.get():
            headers = {**headers, "traceparent": trace_parent}
        spec = self._discovery.known_server(trace.caller.project, entry.ref.server) or await self._server_of(trace, entry)
        if spec.shape is not None:
            trace.shape = spec.shape
            ready = await self._shaping.begin(trace, entry, spec.digest, spec.stateful)
            if ready is not None:
                return await self._given(trace, entry, renew, ready)
        bound_to = (trace.caller.identity.subject, trace.caller.project, spec.digest, entry.asked)
        brought = self._rounds.brought(use, bound_to)
        connection = self._pool.connection(spec, use.holder, use.client)
        watched = self._vigil.begin(Watched(trace.caller, renew, _asked(trace, entry), _stopper(trace)))
        try:
            if use.subscriber is None and not connection.is_ready:
                async with asyncio.timeout(self._settings.start_timeout):
                    await connection.ready()
            if use.subscriber is not None:
                await self._decide(trace, entry, renew)
                answer = await self._subscriptions.begin(use.subscriber, trace, renew, entry, spec)
            elif use.method == COMPLETE and COMPLETES not in connection.capabilities:
                answer = nothing_to_complete(Era.LEGACY)
            else:
                send = partial(self._send, trace, entry, renew, connection, headers)
                answer = await send(brought)
                if needs_input(answer):
                    answer = await self._rounds.settled(answer, use, bound_to, send)
            if trace.shape is not None:
                answer = await self._shaping.shaped(trace, entry, spec.digest, answer)
        except (UpstreamFailed, TimeoutError) as error:
            failure = error if isinstance(error, UpstreamFailed) else UpstreamFailed("it does not answer in time")
            log.warning(
                "a request failed",
                server=spec.name,
                method=use.method,
                name=entry.original,
                why=failure.detail,
                request_id=use.request_id,
            )
            self._discovery.listings.note_failure(spec, failure)
            maybe = "; the call may have been carried out" if failure.sent and use.method == "tools/call" else ""
            raise UpstreamError(f"The server {spec.name!r} cannot be reached right now{maybe}.") from None
        finally:
            self._vigil.end(watched)
        return await self._given(trace, entry, renew, answer)

    async def _send(
        self,
        trace: Trace,
        entry: Entry,
        renew: Renew,
        connection: Connection,
        headers: Mapping[str, str],
        more: Mapping[str, str],
    ) -> Answer:
        """Ask the server, with ``more`` beside the parameters; of another round once again.

        Raises:
            Unknown: the caller may not any more.
        """
        # Connecting, or asking a person, may have taken a while, and revocation is not to wait for it.
        await self._decide(trace, entry, renew)
        return await connection.request(trace.use.call(entry, headers, self._settings.call_timeout, more))

    async def _given(self, trace: Trace, entry: Entry, renew: Renew, answer: Answer) -> Answer:
        """``answer``, if the caller may still have it, and what an event says of it."""
        if trace.caller.authority.superseded:
            await self._decide(trace, entry, renew)  # revoked while it ran: the result is for nobody
        trace.response_size = answer.size
        if answer.result is None:
            trace.outcome = "upstream_error" if answer.error and answer.error.code == INTERNAL_ERROR else "tool_error"
        else:
            failed = answer.result.get("isError")
            trace.outcome = "tool_error" if failed is not None and failed.value is True else "ok"
        return answer

    async def _server_of(self, trace: Trace, entry: Entry) -> ServerSpec:
        project = await self._discovery.project(trace.caller.project, trace.caller.seen_revision)
        spec = project.by_name.get(entry.ref.server)
        if spec is None:
            raise trace.unknown()
        return spec

    def _over(self, trace: Trace) -> None:
        """Leave the event of ``trace`` behind in a moment: nobody's answer is to wait for it."""
        if not self._ended:
            asyncio.get_running_loop().call_soon(self.settle)
        self._ended.append(trace)

    def settle(self) -> None:
        """Leave behind the events of all uses that have ended."""
        ended, self._ended = self._ended, []
        for trace in ended:
            try:
                self._leave(trace)
            except Exception:
                log.exception("an event could not be written", request_id=trace.use.request_id)

    def _leave(self, trace: Trace) -> None:
        use, took = trace.use, trace.took
        self._count(trace, took)
        event = self._events.write(
            trace.caller,
            use.method,
            _told(trace),
            trace.decision,
            trace.outcome,
            trace.why,
            took_ms=took * 1000,
            request_bytes=use.size,
            response_bytes=trace.response_size,
            source=use.source,
            request_id=use.request_id,
            cache=trace.cache,
        )
        self._audit.note(event)
        if self._on_decision is not None:
            try:
                self._on_decision(json.loads(event))
            except Exception:
                log.exception("on_decision failed", request_id=use.request_id)

    def _count(self, trace: Trace, took: float) -> None:
        metrics, decision = self._metrics, trace.decision
        metrics.calls.observe(took, "none" if trace.entry is None else trace.entry.ref.server, trace.outcome)
        if decision is not None:
            metrics.decisions.add(trace.use.family.word, "allowed" if decision.allowed else "refused")
        if trace.outcome == "refused":
            metrics.refusals.add(_refusal(trace))


def _refusal(trace: Trace) -> str:
    """Why a use was refused, in one of few words."""
    if trace.code is not None:
        return trace.code
    if trace.stopped:
        return "ended"
    if trace.entry is None or trace.decision is None:
        return "unknown"
    leg = trace.decision.leg
    if trace.decision.allowed or leg is None:
        return "unknown"
    if leg.kind in ("owner", "project"):
        return leg.kind
    return "denied" if leg.rule is not None else "ended" if leg.kind == "never" else "not_granted"


def _asked(trace: Trace, entry: Entry) -> str:
    """What was decided about: ``entry`` itself, or one URI of it if it is a template."""
    return entry.asked if entry.template is None or trace.decision is None else trace.decision.name


def _told(trace: Trace) -> Ref | str:
    """What an event is about: what was decided about, or the name that was asked for where there is no such thing."""
    entry = trace.entry
    if entry is None:
        return trace.use.name
    if entry.template is None or trace.decision is None:
        return entry.ref
    return entry.ref._replace(name=trace.decision.name.removeprefix(f"{entry.ref.server}/{entry.ref.mark}"))


def _stopper(trace: Trace) -> Callable[[], None]:
    """What cancels the use that runs in this task, and says why."""
    task = asyncio.current_task()

    def stop() -> None:
        trace.stopped = True
        if task is not None:
            task.cancel()

    return stop

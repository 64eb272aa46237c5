"""Which tools there are: the servers of each project, what each of them lists, and under which names all of it is offered.

Every server has its own list, its own deadline and its own failures. A list is used for ``MCPLOCAL_LIST_TTL`` (or as long
as a modern server says, if that is shorter), then still served while a new one is fetched aside. A server that fails keeps
its last good list, and is not asked again for a while that doubles with each failure; only the first request waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any, Final

import structlog

from mcpctl.errors import Forbidden, Unauthenticated, Unavailable
from mcplocal.catalog import ProjectServers, ServerSpec
from mcplocal.control.control_plane import ControlPlane
from mcplocal.control.journal import Journal
from mcplocal.control.policy_feed import Change, PolicyFeed
from mcplocal.control.report import Instance, Instances, Status
from mcplocal.heavy_json import without_collector
from mcplocal.json_text import write
from mcplocal.names import NameTable, ToolRef, may_be_of
from mcplocal.recent import Recent
from mcplocal.settings import Settings
from mcplocal.single_flight import SingleFlight
from mcplocal.tools import Dropped, Tool, judge
from mcplocal.upstream.answers import UpstreamFailed
from mcplocal.upstream.era import Call
from mcplocal.upstream.pool import Pool
from mcplocal.wire import Era

log = structlog.get_logger(__name__)
_CHANCE = Random()  # noqa: S311 - spreads attempts; nothing secret comes of it

MOST_PAGES: Final = 100
MOST_LISTED: Final = 10_000
"""Tools read of one server over all pages; of these ``MOST_TOOLS`` are offered."""
LASTING_PAUSE: Final = 300.0
"""Seconds before a server is asked again whose failure somebody has to mend."""
ATTEMPTS: Final = 5
AT_MOST_EVERY: Final = 1.0
"""Seconds between two questions for a list that its server keeps calling changed."""
FAILURES_BORNE: Final = 3
"""Failed attempts after which a server that has answered before counts as unreachable. One slow answer says little."""


@dataclass(eq=False)
class Listing:
    """What one server lists, as far as it is known.

    Attributes:
        tools: of the last good answer.
        version: changes when a good answer differs from the one before; 0 before the first.
        good_until: when it is time to ask again.
        asked_at: when it was last asked.
        changed_at: when the server last said that its list has changed.
        error: of the last attempt, if it failed.
        again: asks anew a moment after the server said so.
    """

    tools: tuple[Tool, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    version: int = 0
    good_until: float = 0.0
    error: UpstreamFailed | None = None
    failures: int = 0
    asked_at: float = 0.0
    changed_at: float = 0.0
    again: asyncio.TimerHandle | None = None
    latency_ms: float | None = None

    @property
    def is_due(self) -> bool:
        """Whether it is time to ask the server."""
        return monotonic() >= self.good_until


@dataclass(frozen=True)
class Offer:
    """What a project offers now: exposed names and the tools behind them, before anybody's rights are looked at."""

    version: tuple[int, ...]
    names: NameTable
    tools: dict[ToolRef, Tool]
    silent: tuple[ServerSpec, ...] = field(default=())

    def tool(self, name: str) -> Tool | None:
        """The tool exposed as ``name``."""
        ref = self.names.get(name)
        return self.tools[ref] if ref is not None else None


class Discovery:
    """Keeps the servers of projects and the lists of servers."""

    def __init__(
        self,
        settings: Settings,
        control_plane: ControlPlane,
        feed: PolicyFeed,
        pool: Pool,
        instances: Instances,
        journal: Journal,
    ) -> None:
        """Ask servers through ``pool``, note how they fare in ``instances``, and what there is to say of it in ``journal``."""
        self._settings = settings
        self._control_plane = control_plane
        self._feed = feed
        self._pool = pool
        self._instances = instances
        self._journal = journal
        self._listeners: list[Callable[[], None]] = []
        self._projects: dict[str, ProjectServers] = {}
        self._listings: dict[str, Listing] = {}
        self._offers: Recent[tuple[str, tuple[tuple[str, int], ...], str], Offer] = Recent(1000)
        self._versions = 0
        self._fetching_projects: SingleFlight[str, ProjectServers] = SingleFlight()
        self._fetching_lists: SingleFlight[str, None] = SingleFlight()
        feed.on_change(self._forget)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever what is offered may have changed."""
        self._listeners.append(listener)

    @property
    def servers(self) -> list[ServerSpec]:
        """Every server of the projects in use."""
        found = {spec.digest: spec for project in self._projects.values() for spec in project.servers}
        return list(found.values())

    async def project(self, name: str, at_least: int = -1) -> ProjectServers:
        """The servers of the project ``name``, not older than revision ``at_least``.

        Raises:
            NotFound: there is no such project.
            Unavailable: the control plane does not say.
        """
        known = self._projects.get(name)
        if known is not None and not known.superseded and (self._feed.is_fresh or known.revision >= at_least):
            return known
        try:
            return await self._fetching_projects.run(name, lambda: self._fetch_project(name))
        except Unavailable:
            # Whoever asks has been let in on what is known; its servers are known from then, too.
            if known is not None and not known.superseded and self._feed.silence <= self._settings.trust_for:
                return known
            raise

    async def offer(self, project: ProjectServers, for_name: str | None = None) -> Offer:
        """What ``project`` offers. Waits for servers that never answered, each no longer than ``list_timeout``.

        Args:
            project: the project.
            for_name: only servers that can have a tool of this exposed name are asked, and also waited for if they failed
                before.
        """
        waiting: dict[asyncio.Task[None], float] = {}
        for spec in project.servers:
            if for_name is not None and not may_be_of(for_name, spec.name, project.tool_names):
                continue
            listing = self._listing(spec)
            if not listing.is_due:
                continue
            flight = self._begin(spec, listing)
            if listing.version == 0 and (listing.failures == 0 or for_name is not None):
                waiting[flight] = listing.asked_at + self._settings.list_timeout
        while waiting and (left := max(waiting.values()) - monotonic()) > 0:
            done, _ = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            waiting = {flight: until for flight, until in waiting.items() if flight not in done and until > monotonic()}
        return self._offered(project)

    async def refresh(self, spec: ServerSpec, within: float | None = None) -> None:
        """Ask ``spec`` for its list now, giving it ``within`` seconds, unless it failed a moment ago."""
        listing = self._listing(spec)
        if listing.error is None or listing.is_due:
            await asyncio.shield(self._begin(spec, listing, within))

    def _begin(self, spec: ServerSpec, listing: Listing, within: float | None = None) -> asyncio.Task[None]:
        if not self._fetching_lists.is_under_way(spec.digest):
            listing.asked_at = monotonic()
            if listing.version == 0 and listing.error is None:
                self._instances.note(Instance(spec.name, "STARTING"))
        return self._fetching_lists.start(spec.digest, lambda: self._fetch_list(spec, within or self._settings.start_timeout))

    def invalidate(self, spec: ServerSpec) -> None:
        """The list of ``spec`` has changed: ask again in a moment, and serve the old one meanwhile."""
        listing = self._listing(spec)
        listing.changed_at = now = monotonic()
        self._ask_again(spec, listing, max(now, listing.asked_at + AT_MOST_EVERY))

    def _ask_again(self, spec: ServerSpec, listing: Listing, when: float) -> None:
        listing.good_until = min(listing.good_until, when)
        if listing.again is None:
            loop = asyncio.get_running_loop()
            # Some servers say several times in a row that something has changed.
            listing.again = loop.call_later(max(0.05, when - monotonic()), self._ask_now, spec, listing)

    def _ask_now(self, spec: ServerSpec, listing: Listing) -> None:
        listing.again = None
        if listing.is_due and self._listings.get(spec.digest) is listing:
            self._begin(spec, listing)

    def note_failure(self, spec: ServerSpec, error: UpstreamFailed) -> None:
        """A request to ``spec`` failed."""
        listing = self._listing(spec)
        still_serves = listing.version > 0 and error.sent and listing.failures < FAILURES_BORNE
        status: Status = "ERROR" if error.lasting else "DEGRADED" if still_serves else "UNREACHABLE"
        self._instances.note(Instance(spec.name, status, error.detail, len(listing.tools) or None))
        self._journal.note(spec, "gateway", f"failed: {error.detail}")

    async def check(self, spec: ServerSpec, tool: str, arguments: Mapping[str, Any], within: float) -> None:
        """Find out whether ``spec`` lives by calling a tool of it, over the connection that serves clients."""
        begun = monotonic()
        params = {"name": write(tool), "arguments": write(arguments)}
        try:
            answer = await self._pool.connection(spec).request(Call("tools/call", params, name=tool, timeout=within))
        except UpstreamFailed as error:
            self._listing(spec).failures += 1
            self.note_failure(spec, error)
            return
        listing = self._listing(spec)
        failed = answer.result.get("isError") if answer.result is not None else None
        detail = "; ".join(f"{one.name} is not offered: {one.reason}" for one in listing.dropped)
        status: Status = "DEGRADED" if detail else "RUNNING"
        if answer.error is not None:
            status, detail = "DEGRADED", f"its health check {tool!r} fails with JSON-RPC error {answer.error.code}"
        elif failed is not None and failed.value is True:
            status, detail = "DEGRADED", f"its health check {tool!r} fails"
        if listing.error is None:
            listing.failures = 0
        latency = round((monotonic() - begun) * 1000, 1)
        self._instances.note(Instance(spec.name, status, detail, len(listing.tools), latency))

    async def renew(self) -> None:
        """Fetch anew the projects that have changed, and forget lists and connections nobody needs any more."""
        for name in [name for name, known in self._projects.items() if known.superseded]:
            try:
                await self.project(name)
            except Unavailable:
                continue
            except Exception:
                self._projects.pop(name, None)
        servers = self.servers
        wanted = {spec.digest for spec in servers}
        for digest in [digest for digest in self._listings if digest not in wanted]:
            gone = self._listings.pop(digest)
            if gone.again is not None:
                gone.again.cancel()
        self._instances.keep_only(spec.name for spec in servers)
        self._pool.keep_only(servers)

    async def stop(self) -> None:
        """End what is under way."""
        for listing in self._listings.values():
            if listing.again is not None:
                listing.again.cancel()
        await self._fetching_projects.stop()
        await self._fetching_lists.stop()

    def _listing(self, spec: ServerSpec) -> Listing:
        listing = self._listings.get(spec.digest)
        if listing is None:
            listing = self._listings[spec.digest] = Listing()
        return listing

    def _offered(self, project: ProjectServers) -> Offer:
        listings = [(spec, self._listing(spec)) for spec in project.servers]
        state = tuple((spec.digest, listing.version) for spec, listing in listings)
        offer = self._offers.got((project.project, state, project.tool_names), lambda: self._assemble(project, listings))
        silent = tuple(spec for spec, listing in listings if listing.version == 0)
        return offer if offer.silent == silent else Offer(offer.version, offer.names, offer.tools, silent)

    def _assemble(self, project: ProjectServers, listings: Sequence[tuple[ServerSpec, Listing]]) -> Offer:
        tools = {tool.ref: tool for _, listing in listings for tool in listing.tools}
        names = NameTable(project.tool_names, tools)
        for refused in names.refused:
            log.warning("a tool is not offered", project=project.project, tool=refused.ref.asked, why=refused.reason)
        self._versions += 1
        return Offer((self._versions,), names, tools)

    async def _fetch_project(self, name: str) -> ProjectServers:
        for attempt in range(ATTEMPTS):
            try:
                found = ProjectServers.of(await self._control_plane.upstreams(name))
            except (Forbidden, Unauthenticated) as refusal:
                raise Unavailable("the gateway may not ask the control plane about this project") from refusal
            if not self._feed.is_superseded(found.revision, found.topics):
                self._projects[name] = found
                self._tell()
                return found
            await asyncio.sleep(0.02 * 2**attempt)
        raise Unavailable("the control plane keeps answering with what it has already replaced")

    async def _fetch_list(self, spec: ServerSpec, within: float) -> None:
        listing = self._listing(spec)
        begun = monotonic()
        try:
            async with asyncio.timeout(within):
                listed, ttl = await self._ask(spec, within)
        except TimeoutError:
            self._failed(spec, listing, UpstreamFailed(f"no tool list within {within:g} s", sent=True))
            return
        except UpstreamFailed as error:
            self._failed(spec, listing, error)
            return
        except Exception as error:
            log.exception("a tool list could not be read", server=spec.name)
            self._failed(spec, listing, UpstreamFailed(f"its tool list could not be read: {type(error).__name__}"))
            return
        tools, dropped = judge(spec.name, listed)
        for tool in dropped:
            if tool not in listing.dropped:
                log.warning("a tool is not offered", server=spec.name, tool=tool.name, why=tool.reason)
                self._journal.note(spec, "gateway", f"the tool {tool.name} is not offered: {tool.reason}")
        if listing.version == 0 or (tools, dropped) != (listing.tools, listing.dropped):
            self._versions += 1
            listing.version = self._versions
            listing.tools, listing.dropped = tools, dropped
            self._tell()
        listing.error, listing.failures = None, 0
        listing.good_until = monotonic() + ttl
        if listing.changed_at >= begun:  # while it was being asked; the answer may be of before
            self._ask_again(spec, listing, begun + AT_MOST_EVERY)
        listing.latency_ms = round((monotonic() - begun) * 1000, 1)
        detail = "; ".join(f"{tool.name} is not offered: {tool.reason}" for tool in dropped)
        status: Status = "DEGRADED" if dropped else "RUNNING"
        self._instances.note(Instance(spec.name, status, detail, len(tools), listing.latency_ms))

    def _failed(self, spec: ServerSpec, listing: Listing, error: UpstreamFailed) -> None:
        pause = min(self._settings.list_ttl or LASTING_PAUSE, self._settings.list_retry * 2 ** min(listing.failures, 16))
        if error.lasting:
            pause = max(pause, LASTING_PAUSE)
        listing.error = error
        listing.failures += 1
        listing.good_until = monotonic() + pause * _CHANCE.uniform(0.9, 1.1)
        log.warning("an upstream gives no tool list", server=spec.name, why=error.detail, again_in=round(pause, 1))
        self.note_failure(spec, error)

    async def _ask(self, spec: ServerSpec, within: float) -> tuple[list[Any], float]:
        """Every page of the server's list, and for how many seconds it may be used."""
        connection = self._pool.connection(spec)
        listed: list[Any] = []
        ttl = self._settings.list_ttl
        cursors: set[str] = set()
        cursor: str | None = None
        size = 0
        for _ in range(MOST_PAGES):
            params = {} if cursor is None else {"cursor": write(cursor)}
            answer = await connection.request(Call("tools/list", params, timeout=within))
            if answer.result is None:
                code = answer.error.code if answer.error else None
                if code == -32601 and cursor is None:
                    return [], ttl  # a server without tools
                raise UpstreamFailed(f"it answers tools/list with JSON-RPC error {code}")
            with without_collector():
                page = answer.result["tools"].value if "tools" in answer.result else None
            if not isinstance(page, list):
                raise UpstreamFailed("its answer to tools/list has no list of tools")
            listed += page
            size += answer.size
            if size > self._settings.max_response_bytes or len(listed) > MOST_LISTED:
                raise UpstreamFailed("its tool list is too long to be kept")
            ttl = min(ttl, _ttl(answer.era, answer.result.get("ttlMs"), ttl))
            following = answer.result["nextCursor"].value if "nextCursor" in answer.result else None
            if not isinstance(following, str):
                return listed, ttl
            if following in cursors:
                raise UpstreamFailed("the pages of its tool list go round in a circle")
            cursors.add(following)
            cursor = following
        raise UpstreamFailed(f"its tool list has more than {MOST_PAGES} pages")

    def _forget(self, change: Change) -> None:
        for project in self._projects.values():
            if change.touches(project.topics):
                project.superseded = True
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _ttl(era: Era, said: Any, otherwise: float) -> float:
    """How long a page may be used. A server that says zero means "ask each time", which one second is near enough to."""
    value = said.value if said is not None else None
    if era is Era.LEGACY or not isinstance(value, int | float) or isinstance(value, bool):
        return otherwise
    return max(1.0, value / 1000)

"""What there is to use: the servers of each project, and under which names all that they list is offered.

Only the first request waits for a server that has never answered; no other does, and one that asks for a name waits only
for servers that can have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final, NamedTuple

import structlog

from mcpctl.errors import Forbidden, Unauthenticated, Unavailable
from mcplocal.catalog import ProjectServers, ServerSpec
from mcplocal.control.control_plane import ControlPlane
from mcplocal.control.journal import Journal
from mcplocal.control.policy_feed import Change, PolicyFeed
from mcplocal.control.report import Instances
from mcplocal.listings import Listing, Listings
from mcplocal.metrics import Listed, Metrics
from mcplocal.names import ToolNames
from mcplocal.offers.entries import Entry
from mcplocal.offers.kinds import Family
from mcplocal.offers.tables import Table
from mcplocal.recent import Recent
from mcplocal.settings import Settings
from mcplocal.shapes import PAGE_TOOL
from mcplocal.single_flight import SingleFlight
from mcplocal.upstream.pool import Pool

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 5

_Sources = list[tuple[ServerSpec, Listing]]


@dataclass(frozen=True)
class Offer:
    """What a project offers of one family now, before anybody's rights are looked at.

    Attributes:
        version: another one for other entries.
        table: exposed names and the entries behind them.
        silent: the servers that have never answered.
        paged: the servers whose results may have to be read page by page.
    """

    version: int
    table: Table
    silent: frozenset[str] = frozenset()
    paged: frozenset[str] = frozenset()

    def find(self, name: str) -> Entry | None:
        """What is exposed as ``name``."""
        return self.table.find(name)


class AtHand(NamedTuple):
    """What a project offered of one family when it was last looked up.

    Attributes:
        project: the project as it was then.
        version: of all lists then.
        listings: those it was made of.
        offer: what came of them.
    """

    project: ProjectServers
    version: int
    listings: tuple[Listing, ...]
    offer: Offer


class Discovery:
    """Keeps the servers of projects, and what these offer."""

    def __init__(
        self,
        settings: Settings,
        control_plane: ControlPlane,
        feed: PolicyFeed,
        pool: Pool,
        instances: Instances,
        journal: Journal,
        metrics: Metrics,
    ) -> None:
        """Ask servers through ``pool``, note how they fare in ``instances``, and what there is to say of it in ``journal``."""
        self._settings = settings
        self._control_plane = control_plane
        self._feed = feed
        self._pool = pool
        self._instances = instances
        self.listings = Listings(settings, pool, instances, journal, self._tell, metrics)
        self._metrics = metrics
        self._listeners: list[Callable[[], None]] = []
        self._projects: dict[str, ProjectServers] = {}
        self._offers: Recent[tuple[Family, str, ToolNames, tuple[tuple[str, int, int], ...]], Offer] = Recent(1000)
        self._current: dict[tuple[str, Family], AtHand] = {}
        self._versions = 0
        self._fetching_projects: SingleFlight[str, ProjectServers] = SingleFlight()
        feed.on_change(self._forget)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever what is offered may have changed."""
        self._listeners.append(listener)

    @property
    def servers(self) -> list[ServerSpec]:
        """Every server of the projects in use."""
        found = {spec.digest: spec for project in self._projects.values() for spec in project.servers}
        return list(found.values())

    def known_project(self, name: str) -> ProjectServers | None:
        """The servers of the project ``name``, if they are known and a change of them would have been heard of."""
        known = self._projects.get(name)
        return known if known is not None and not known.superseded and self._feed.is_fresh else None

    def known_server(self, project: str, name: str) -> ServerSpec | None:
        """That server of the project, if it is known to be one of them now."""
        known = self.known_project(project)
        return known.by_name.get(name) if known is not None else None

    def at_hand(self, name: str, family: Family) -> AtHand | None:
        """What the project ``name`` offers, if nobody has to be asked first, as is nearly always so; else ``None``."""
        project, known = self.known_project(name), self._current.get((name, family))
        if project is None or known is None or known.project is not project or known.version != self.listings.version:
            return None
        now = monotonic()
        for listing in known.listings:
            if now >= listing.good_until:
                return None
        self._metrics.list_lookups.add("hit")
        return known

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

    async def offer(self, project: ProjectServers, family: Family, for_name: str | None = None) -> Offer:
        """What ``project`` offers. Waits for servers that never answered, each no longer than ``list_timeout``.

        Args:
            project: the project.
            family: of which things.
            for_name: only servers that can have one of this exposed name are asked, and waited for even if they failed before,
                unless another is known to have it.
        """
        waiting: dict[asyncio.Task[None], float] = {}
        looked_up: Listed = "hit"
        for spec in project.servers:
            if for_name is not None and not family.may_be_of(for_name, spec.name, project.tool_names):
                continue
            for kind in family.kinds:
                listing = self.listings.of(spec, kind)
                if not listing.is_due:
                    continue
                looked_up = "stale"
                flight = self.listings.begin(spec, kind)
                if listing.version == 0 and (listing.failures == 0 or self._is_missing(project, family, for_name)):
                    waiting[flight] = listing.asked_at + self._settings.list_timeout
        self._metrics.list_lookups.add("miss" if waiting else looked_up)
        while waiting and (left := max(waiting.values()) - monotonic()) > 0:
            done, _ = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            waiting = {flight: until for flight, until in waiting.items() if flight not in done and until > monotonic()}
        return self._offered(project, family)

    def _is_missing(self, project: ProjectServers, family: Family, name: str | None) -> bool:
        return name is not None and self._offered(project, family).find(name) is None

    def known_offer(self, project: ProjectServers, family: Family) -> Offer | None:
        """What ``project`` offers as far as it is known, asking no server; ``None`` if nothing is known of the family."""
        offer = self._offered(project, family)
        return offer if len(offer.silent) < len(project.servers) else None

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
        self._current = {key: known for key, known in self._current.items() if key[0] in self._projects}
        self.listings.keep_only(servers)
        self._instances.keep_only(spec.name for spec in servers)
        self._pool.keep_only(servers)

    async def stop(self) -> None:
        """End what is under way."""
        await self._fetching_projects.stop()
        await self.listings.stop()

    def _offered(self, project: ProjectServers, family: Family) -> Offer:
        version = self.listings.version
        known = self._current.get((project.project, family))
        if known is None or known.project is not project or known.version != version:
            sources = [(spec, self.listings.of(spec, kind)) for spec in project.servers for kind in family.kinds]
            listings = tuple(listing for _, listing in sources)
            known = AtHand(project, version, listings, self._made_of(project, family, sources))
            self._current[project.project, family] = known
        return known.offer

    def _made_of(self, project: ProjectServers, family: Family, sources: _Sources) -> Offer:
        state = tuple((spec.digest, listing.version, _effect_on_lists(spec)) for spec, listing in sources)
        key = (family, project.project, project.tool_names, state)
        offer = self._offers.got(key, lambda: self._assemble(project, family, sources))
        silent = frozenset(spec.name for spec, listing in sources if listing.version == 0)
        return offer if offer.silent == silent else replace(offer, silent=silent)

    def _assemble(self, project: ProjectServers, family: Family, sources: _Sources) -> Offer:
        paged = frozenset(spec.name for spec, _ in sources if spec.shape is not None and spec.shape.makes_pages)
        listed = [_shaped(entry, spec) for spec, listing in sources for entry in listing.entries]
        if paged and project.tool_names == "plain":
            listed = [entry for entry in listed if entry.original != PAGE_TOOL]  # the gateway's own has the name
        table = family.table(project.tool_names, listed)
        for refused in table.refused:
            log.warning(f"a {family.word} is not offered", project=project.project, name=refused.ref.asked, why=refused.reason)
        self._versions += 1
        return Offer(self._versions, table, paged=paged)

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

    def _forget(self, change: Change) -> None:
        for project in self._projects.values():
            if change.touches(project.topics):
                project.superseded = True
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _shaped(entry: Entry, spec: ServerSpec) -> Entry:
    return entry if spec.shape is None or spec.shape.keeps_structure else entry.without_output_schema()


def _effect_on_lists(spec: ServerSpec) -> int:
    """Another number where its proxy models make another list of the same tools."""
    shape = spec.shape
    return 0 if shape is None else (1 if shape.keeps_structure else 2) + (2 if shape.makes_pages else 0)

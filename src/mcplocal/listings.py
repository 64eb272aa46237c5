"""What each server lists: its tools, prompts, resources and templates, each a list of its own, and how the server fares.

Every list has its own deadline and its own failures. It is used for ``MCPLOCAL_LIST_TTL`` (or as long as a modern server says,
if that is shorter), then still served while a new one is fetched aside. A list that cannot be had stays the last good one,
and is not asked for again for a while that doubles with each failure. Tools are asked for whatever a server declares, as
some declare nothing; all else only where the server says that it has it, so who uses tools alone pays for nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Any, Final

import structlog

from mcplocal import wire
from mcplocal.catalog import ServerSpec
from mcplocal.control.journal import Journal
from mcplocal.control.report import Instance, Instances, Status
from mcplocal.heavy_json import without_collector
from mcplocal.json_text import write
from mcplocal.metrics import Metrics
from mcplocal.offers.entries import Dropped, Entry
from mcplocal.offers.kinds import FAMILIES, KINDS, TOOL, Kind
from mcplocal.settings import Settings
from mcplocal.single_flight import SingleFlight
from mcplocal.upstream.answers import UpstreamFailed
from mcplocal.upstream.era import Call
from mcplocal.upstream.pool import Pool
from mcplocal.wire import Era

log = structlog.get_logger(__name__)
_CHANCE = Random()  # noqa: S311 - spreads attempts; nothing secret comes of it

MOST_PAGES: Final = 100
MOST_LISTED: Final = 10_000
"""Entries read of one list over all pages; of these ``Kind.most`` are offered."""
LASTING_PAUSE: Final = 300.0
"""Seconds before a server is asked again whose failure somebody has to mend."""
AT_MOST_EVERY: Final = 1.0
"""Seconds between two questions for a list that its server keeps calling changed."""
FAILURES_BORNE: Final = 3
"""Failed attempts after which a server that has answered before counts as unreachable. One slow answer says little."""

_CAPABILITY: Final = {kind: family.capability for family in FAMILIES for kind in family.kinds}


@dataclass(eq=False)
class Listing:
    """One list of one server, as far as it is known.

    Attributes:
        entries: of the last good answer.
        version: changes when a good answer differs from the one before; 0 before the first.
        good_until: when it is time to ask again.
        asked_at: when it was last asked.
        changed_at: when the server last said that its list has changed.
        error: of the last attempt, if it failed.
        again: asks anew a moment after the server said so.
    """

    entries: tuple[Entry, ...] = ()
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


class Listings:
    """Keeps the lists of servers."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        instances: Instances,
        journal: Journal,
        changed: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        """Ask servers through ``pool``, note how they fare in ``instances`` and ``journal``; call ``changed`` of new lists."""
        self._metrics = metrics
        self._settings = settings
        self._pool = pool
        self._instances = instances
        self._journal = journal
        self._changed = changed
        self._listings: dict[Kind, dict[str, Listing]] = {kind: {} for kind in KINDS}
        self._versions = 0
        self._fetching: SingleFlight[tuple[str, Kind], None] = SingleFlight()

    def of(self, spec: ServerSpec, kind: Kind = TOOL) -> Listing:
        """The list of that kind of ``spec``, as far as it is known."""
        known = self._listings[kind]
        listing = known.get(spec.digest)
        if listing is None:
            listing = known[spec.digest] = Listing()
        return listing

    def keep_only(self, servers: Sequence[ServerSpec]) -> None:
        """Forget the lists of all but these."""
        wanted = {spec.digest for spec in servers}
        for known in self._listings.values():
            for digest in [digest for digest in known if digest not in wanted]:
                gone = known.pop(digest)
                self._versions += 1
                if gone.again is not None:
                    gone.again.cancel()

    @property
    def version(self) -> int:
        """Another one whenever any list is another one."""
        return self._versions

    async def stop(self) -> None:
        """End what is under way."""
        for listing in (listing for known in self._listings.values() for listing in known.values()):
            if listing.again is not None:
                listing.again.cancel()
        await self._fetching.stop()

    async def refresh(self, spec: ServerSpec, within: float | None = None) -> None:
        """Ask ``spec`` for its tools now, giving it ``within`` seconds, unless it failed a moment ago."""
        listing = self.of(spec)
        if listing.error is None or listing.is_due:
            await asyncio.shield(self.begin(spec, TOOL, within))

    def begin(self, spec: ServerSpec, kind: Kind, within: float | None = None) -> asyncio.Task[None]:
        """Ask ``spec`` for its list of that kind, if that is not under way."""
        key = (spec.digest, kind)
        if not self._fetching.is_under_way(key):
            listing = self.of(spec, kind)
            listing.asked_at = monotonic()
            if kind is TOOL and listing.version == 0 and listing.error is None:
                self._instances.note(Instance(spec.name, "STARTING"))
        return self._fetching.start(key, lambda: self._fetch(spec, kind, within or self._settings.start_timeout))

    def invalidate(self, spec: ServerSpec, notification: str) -> None:
        """A list of ``spec`` has changed, it says: ask again in a moment, and serve the old one meanwhile."""
        for kind in KINDS:
            # A list that nobody has wanted yet is not wanted now either.
            if wire.LIST_CHANGED[_CAPABILITY[kind]] == notification and (kind is TOOL or self.of(spec, kind).asked_at):
                listing = self.of(spec, kind)
                listing.changed_at = now = monotonic()
                self._ask_again(spec, kind, listing, max(now, listing.asked_at + AT_MOST_EVERY))

    def _ask_again(self, spec: ServerSpec, kind: Kind, listing: Listing, when: float) -> None:
        listing.good_until = min(listing.good_until, when)
        if listing.again is None:
            loop = asyncio.get_running_loop()
            # Some servers say several times in a row that something has changed.
            listing.again = loop.call_later(max(0.05, when - monotonic()), self._ask_now, spec, kind, listing)

    def _ask_now(self, spec: ServerSpec, kind: Kind, listing: Listing) -> None:
        listing.again = None
        if self._listings[kind].get(spec.digest) is not listing:
            return
        if listing.is_due:
            self.begin(spec, kind)
        elif listing.changed_at >= listing.asked_at:  # a change was heard of while it was asked, so it is due a little later
            self._ask_again(spec, kind, listing, listing.good_until)

    def note_failure(self, spec: ServerSpec, error: UpstreamFailed, kind: Kind = TOOL) -> None:
        """A request to ``spec`` failed; one for another list than its tools says little while these can be had."""
        listing = self.of(spec)
        has_answered = any(self.of(spec, one).version for one in KINDS)
        still_serves = has_answered and listing.failures < FAILURES_BORNE and (error.sent or kind is not TOOL)
        status: Status = "ERROR" if error.lasting else "DEGRADED" if still_serves else "UNREACHABLE"
        self._instances.note(Instance(spec.name, status, error.detail, len(listing.entries) or None))
        self._journal.note(spec, "gateway", f"failed: {error.detail}")

    async def check(self, spec: ServerSpec, tool: str, arguments: Mapping[str, Any], within: float) -> None:
        """Find out whether ``spec`` lives by calling a tool of it, over the connection that serves clients."""
        begun = monotonic()
        params = {"name": write(tool), "arguments": write(arguments)}
        try:
            answer = await self._pool.connection(spec).request(Call("tools/call", params, name=tool, timeout=within))
        except UpstreamFailed as error:
            self.of(spec).failures += 1
            self.note_failure(spec, error)
            return
        listing = self.of(spec)
        failed = answer.result.get("isError") if answer.result is not None else None
        wrong = self._wrong(spec)
        if answer.error is not None:
            wrong = [f"its health check {tool!r} fails with JSON-RPC error {answer.error.code}"]
        elif failed is not None and failed.value is True:
            wrong = [f"its health check {tool!r} fails"]
        if listing.error is None:
            listing.failures = 0
        self._note_answer(spec, wrong, round((monotonic() - begun) * 1000, 1))

    def _note_answer(self, spec: ServerSpec, wrong: Sequence[str], latency_ms: float | None) -> None:
        status: Status = "DEGRADED" if wrong else "RUNNING"
        listing = self.of(spec)
        tools = len(listing.entries) if listing.version else None
        self._instances.note(Instance(spec.name, status, "; ".join(wrong), tools, latency_ms))

    def _wrong(self, spec: ServerSpec) -> list[str]:
        """What is wrong with a server that answers: entries that are not offered, lists that cannot be had."""
        listings = [(kind, self.of(spec, kind)) for kind in KINDS]
        errors = [listing.error.detail for kind, listing in listings if kind is not TOOL and listing.error is not None]
        return errors + [_not_offered(kind, one) for kind, listing in listings for one in listing.dropped]

    async def _fetch(self, spec: ServerSpec, kind: Kind, within: float) -> None:
        listing = self.of(spec, kind)
        begun = monotonic()
        try:
            async with asyncio.timeout(within):
                listed, ttl = await self._ask(spec, kind, within)
        except TimeoutError:
            self._failed(spec, kind, listing, UpstreamFailed(f"no answer to {kind.method} within {within:g} s", sent=True))
            return
        except UpstreamFailed as error:
            self._failed(spec, kind, listing, error)
            return
        except Exception as error:
            log.exception("a list could not be read", server=spec.name, method=kind.method)
            what = f"its answer to {kind.method} could not be read: {type(error).__name__}"
            self._failed(spec, kind, listing, UpstreamFailed(what))
            return
        self._metrics.list_fetches.add(spec.name, "ok")
        self._take(spec, kind, listing, listed)
        listing.error, listing.failures = None, 0
        listing.good_until = monotonic() + ttl
        if listing.changed_at >= begun:  # while it was being asked; the answer may be of before
            self._ask_again(spec, kind, listing, begun + AT_MOST_EVERY)
        listing.latency_ms = round((monotonic() - begun) * 1000, 1)
        if kind is TOOL or self.of(spec).error is None:
            self._note_answer(spec, self._wrong(spec), listing.latency_ms)

    def _take(self, spec: ServerSpec, kind: Kind, listing: Listing, listed: list[Any]) -> None:
        entries, dropped = kind.judge(spec.name, listed)
        for one in dropped:
            if one not in listing.dropped:
                log.warning(f"a {kind.word} is not offered", server=spec.name, name=one.name, why=one.reason)
                self._journal.note(spec, "gateway", f"the {kind.word} {one.name} is not offered: {one.reason}")
        if listing.version == 0 or (entries, dropped) != (listing.entries, listing.dropped):
            self._versions += 1
            listing.version = self._versions
            listing.entries, listing.dropped = entries, dropped
            self._changed()

    def _failed(self, spec: ServerSpec, kind: Kind, listing: Listing, error: UpstreamFailed) -> None:
        self._metrics.list_fetches.add(spec.name, "failed")
        pause = min(self._settings.list_ttl or LASTING_PAUSE, self._settings.list_retry * 2 ** min(listing.failures, 16))
        if error.lasting:
            pause = max(pause, LASTING_PAUSE)
        listing.error = error
        listing.failures += 1
        listing.good_until = monotonic() + pause * _CHANCE.uniform(0.9, 1.1)
        again = round(pause, 1)
        log.warning("an upstream gives no list", server=spec.name, method=kind.method, why=error.detail, again_in=again)
        self.note_failure(spec, error, kind)

    async def _ask(self, spec: ServerSpec, kind: Kind, within: float) -> tuple[list[Any], float]:
        """Every page of the server's list, and for how many seconds it may be used."""
        connection = self._pool.connection(spec)
        listed: list[Any] = []
        ttl = self._settings.list_ttl
        cursors: set[str] = set()
        cursor: str | None = None
        size = 0
        if kind is not TOOL:
            await connection.ready()
            if _CAPABILITY[kind] not in connection.capabilities:
                return [], ttl
        for _ in range(MOST_PAGES):
            params = {} if cursor is None else {"cursor": write(cursor)}
            answer = await connection.request(Call(kind.method, params, timeout=within))
            if answer.result is None:
                code = answer.error.code if answer.error else None
                if code == wire.METHOD_NOT_FOUND and cursor is None:
                    return [], ttl  # a server that has nothing of the kind
                raise UpstreamFailed(f"it answers {kind.method} with JSON-RPC error {code}")
            with without_collector():
                page = answer.result[kind.member].value if kind.member in answer.result else None
            if not isinstance(page, list):
                raise UpstreamFailed(f"its answer to {kind.method} has no list of {kind.word}s")
            listed += page
            size += answer.size
            if size > self._settings.max_response_bytes or len(listed) > MOST_LISTED:
                raise UpstreamFailed(f"its list of {kind.word}s is too long to be kept")
            ttl = min(ttl, _ttl(answer.era, answer.result.get("ttlMs"), ttl))
            following = answer.result["nextCursor"].value if "nextCursor" in answer.result else None
            if not isinstance(following, str):
                return listed, ttl
            if following in cursors:
                raise UpstreamFailed(f"the pages of its list of {kind.word}s go round in a circle")
            cursors.add(following)
            cursor = following
        raise UpstreamFailed(f"its list of {kind.word}s has more than {MOST_PAGES} pages")


def _not_offered(kind: Kind, one: Dropped) -> str:
    what = one.name if kind is TOOL else f"the {kind.word} {one.name}"
    return f"{what} is not offered: {one.reason}"


def _ttl(era: Era, said: Any, otherwise: float) -> float:
    """How long a page may be used. A server that says zero means "ask each time", which one second is near enough to."""
    value = said.value if said is not None else None
    if era is Era.LEGACY or not isinstance(value, int | float) or isinstance(value, bool):
        return otherwise
    return max(1.0, value / 1000)

"""Results on their way to a caller, as the router sees it: from the cache, through the stages, or page by page.

The router asks the one question before it comes here, and again before anything leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from time import monotonic, time
from typing import Final

import structlog

from mcplocal.gate import Caller
from mcplocal.json_text import Member, Members, write
from mcplocal.offers.entries import Entry
from mcplocal.recent import Recent
from mcplocal.results.aside import Aside
from mcplocal.results.cache_key import CacheKeys
from mcplocal.results.counts import ResultCounts
from mcplocal.results.file_cache import Cached, FileCache
from mcplocal.results.pages import Kept, Origin, Page, Pages
from mcplocal.results.pipeline import Notes, NothingLeft, Pipeline
from mcplocal.results.private_directory import Larger, Limits, PrivateDirectory
from mcplocal.results.stage import StageContext
from mcplocal.results.stages.paginate import how_to_go_on
from mcplocal.results.stages.redact import Redactor
from mcplocal.results.steps import Means, steps_of
from mcplocal.results.summarizer import Summarizer
from mcplocal.settings import Settings
from mcplocal.shapes import PAGE_TOOL, Shape
from mcplocal.upstream.answers import Answer, Notify
from mcplocal.uses import NoPage, Trace, UpstreamError, Use
from mcplocal.wire import META, Era

log = structlog.get_logger(__name__)

CACHE_NOTE: Final = "io.mcpctl/cache"
"""The key in ``_meta`` that says that a result is from the cache, and how old it is."""

RESULTS: Final = "results"
"""The directory below ``MCPLOCAL_CACHE_DIR``."""

REMEMBERED: Final = 256
INLINE: Final = 256 << 10
"""Bytes of a kept result that are read at once: that takes less time than going to a thread."""
_RELAYED_WITHIN: Final = 1.0
"""Seconds for what is relayed while a call runs."""

NEXT_PAGE: Final = write(
    {
        "name": PAGE_TOOL,
        "title": "Read on",
        "description": "Gives the next page of a result that was too long for one answer. Such a result ends with the cursor.",
        "inputSchema": {
            "type": "object",
            "properties": {"cursor": {"type": "string", "description": "as it stands at the end of the page before"}},
            "required": ["cursor"],
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False},
    }
)
"""How the tool is listed that gives pages."""

NO_PAGE: Final = "There is no such page for you, or not any more: call the tool again."


def cache_directory(settings: Settings, counts: ResultCounts | None = None) -> PrivateDirectory:
    """The directory of kept results and pages, as ``settings`` say."""

    def evicted() -> None:
        if counts is not None:
            counts.evicted.add()

    limits = Limits(settings.cache_max_bytes, settings.cache_max_entries, settings.cache_max_age)
    return PrivateDirectory(settings.cache_dir / RESULTS, limits, evicted)


class Shaping:
    """What becomes of results."""

    def __init__(self, settings: Settings, keys: CacheKeys) -> None:
        """Nothing runs, and no directory is looked at, before the first result that has a shape.

        Args:
            settings: the settings in force.
            keys: under which things are kept.
        """
        self.counts = ResultCounts()
        self._keys = keys
        self._aside = Aside()
        self._directory = cache_directory(settings, self.counts)
        self._cache = FileCache(self._directory, keys, self.counts)
        self._pages = Pages(self._directory, keys)
        self._summarizer = Summarizer(settings, self.counts)
        self._pipelines: Recent[str, Pipeline] = Recent(REMEMBERED)

    async def begin(self, trace: Trace, entry: Entry, digest: str, stateful: bool) -> Answer | None:
        """See to it that nothing leaves unshaped while the call runs; the result, if it is known already.

        Args:
            trace: of the use; the server of ``entry`` has a shape.
            entry: what is used.
            digest: of everything about reaching the server.
            stateful: whether what a call brings may depend on those before.

        Raises:
            UpstreamError: its model is not known here.
        """
        shape, use = trace.shape, trace.use
        if shape is None:
            return None
        if shape.missing is not None:
            raise UpstreamError(
                f"The result would be withheld: the proxy model {shape.missing!r} is not known to this gateway."
            )
        pipeline = self._pipeline(shape)
        for step in pipeline.redacts:
            _guard(use, step.redactor)
        if use.method != "tools/call":
            return None
        asked = entry.ref.asked
        again = use.input_responses is not None or use.request_state is not None
        if shape.cache is not None and not stateful and not again and shape.caches(asked, entry.repeats_safely):
            trace.cache_key = self._keys.of_call(trace.caller, use, asked, digest, shape)
            cached = await self._cached(trace.cache_key, digest)
            if cached is not None:
                trace.cache = "hit"
                return _marked(cached)
            _keep_nothing_that_was_asked_for(trace)
        if shape.cache is not None and not entry.only_reads:
            trace.does_to = digest
            self._cache.done_to(digest)
        if trace.does_to is not None or trace.cache_key is not None:
            trace.stamp = self._cache.stamp(digest)
        return None

    async def shaped(self, trace: Trace, entry: Entry, digest: str, answer: Answer) -> Answer:
        """``answer`` as the caller is to have it.

        Raises:
            UpstreamError: what was to be taken out may still be in it.
        """
        shape = trace.shape
        if shape is None or trace.cache == "hit":
            return answer
        pipeline = self._pipeline(shape)
        kept: list[Kept] = []
        means = self._means(trace, entry, kept)
        try:
            if trace.use.method != "tools/call":
                return await pipeline.redacted(answer, means)
            found, notes = await pipeline.shaped(answer, means)
        except NothingLeft as withheld:
            trace.why = "redact failed"
            raise UpstreamError(str(withheld)) from None
        if trace.does_to is not None:
            if self._cache.stamp(digest) != trace.stamp:
                trace.cache_key = None  # somebody else did something to the server meanwhile
            self.done(trace)
            trace.stamp = self._cache.stamp(digest)
        if trace.cache_key is not None and shape.cache is not None and _may_be_kept(found, notes):
            # A cursor whose pages are gone is no good result.
            ttl = min(shape.cache.ttl, *(one.until - time() for one in kept)) if kept else shape.cache.ttl
            keep = partial(self._cache.keep, trace.cache_key, found, ttl, trace.stamp, [one.name for one in kept])
            await self._aside.always(keep)
        return found

    def done(self, trace: Trace) -> None:
        """A call that may have done something is over, however it ended: what was fetched meanwhile may be of before."""
        digest, trace.does_to = trace.does_to, None
        if digest is not None:
            self._cache.done_to(digest)

    def page(self, use: Use, caller: Caller) -> Page:
        """The page that ``use`` asks for.

        Raises:
            NoPage: there is none, or not for ``caller``, or not any more.
        """
        cursor = use.arguments.get("cursor") if isinstance(use.arguments, dict) else None
        found = self._pages.page(cursor, _bound_to(caller)) if isinstance(cursor, str) else None
        if found is None:
            raise NoPage(NO_PAGE)
        return found

    async def close(self) -> None:
        """Let go of everything."""
        await self._summarizer.close()
        if await self._aside.close():
            self._directory.close()

    def _pipeline(self, shape: Shape) -> Pipeline:
        return self._pipelines.got(shape.key, lambda: Pipeline(steps_of(shape.stages), self.counts))

    async def _cached(self, key: str, digest: str) -> Cached | None:
        try:
            return self._cache.get(key, digest, INLINE)
        except Larger:
            pass
        with suppress(Larger):
            return await self._aside.always(lambda: self._cache.get(key, digest))
        return None

    def _means(self, trace: Trace, entry: Entry, kept: list[Kept]) -> Means:
        caller, of = trace.caller, Origin(trace.use.name, shape_mark(trace.shape))

        async def keep(text: Iterable[str], page_chars: int, ttl: float) -> Kept:
            found = await self._aside.always(lambda: self._pages.keep(text, page_chars, ttl, of, _bound_to(caller)))
            kept.append(found)
            return found

        return Means(
            self._aside, keep, self._summarizer.summary, StageContext(caller.project, entry.ref.server, entry.original)
        )


def page_result(page: Page) -> Answer:
    """A page as the result of the tool that gives it."""
    note = how_to_go_on(page.number, page.count, page.following)
    blocks = [{"type": "text", "text": page.text}, {"type": "text", "text": note}]
    text = write(blocks)
    return Answer(Era.MODERN, {"content": Member(text)}, size=len(text))


def shape_mark(shape: Shape | None) -> str:
    """Says which shape a page was made in: what another one would have taken out may be in it."""
    return sha256(shape.key.encode()).hexdigest() if shape is not None else ""


def _keep_nothing_that_was_asked_for(trace: Trace) -> None:
    """What a person was asked for on the way is not what the next call would bring."""
    ask = trace.use.ask
    if ask is None:
        return

    async def asked(method: str, params: str) -> str:
        trace.cache_key = None
        return await ask(method, params)

    trace.use.ask = asked


def _bound_to(caller: Caller) -> tuple[str, str]:
    return caller.identity.subject, caller.project


def _marked(cached: Cached) -> Answer:
    answer = cached.answer
    found = answer.result or {}
    said = found[META].value if META in found else None  # it is kept with the result, so it is read once
    if isinstance(said, dict) and CACHE_NOTE in said:
        # Its server is a gateway, too, and had it from its own cache.
        answer.result = {**found, META: Member(write({key: value for key, value in said.items() if key != CACHE_NOTE}))}
    answer.note = f'"{CACHE_NOTE}":{{"hit":true,"ageSeconds":{cached.age:.1f}}}'
    return answer


def _may_be_kept(answer: Answer, notes: Notes) -> bool:
    """Whether it is a result, and all of it: no error, no question, nothing that a stage should have done."""
    result = answer.result
    if result is None or notes.failed:
        return False
    failed, kind = result.get("isError"), result.get("resultType")
    return (failed is None or failed.value is False) and (kind is None or kind.value == "complete")


def _guard(use: Use, redactor: Redactor | None) -> None:
    """What the server says and asks while it works passes ``redactor`` too; where that fails it is not passed on."""
    notify, ask = use.notify, use.ask
    if notify is not None:
        use.notify = _redacting(notify, redactor)
    if ask is not None:

        async def asked(method: str, params: str) -> str:
            if redactor is None:
                raise UpstreamError("What the server asks is withheld, because redact is broken.")
            return await ask(method, redactor.source(params, monotonic() + _RELAYED_WITHIN))

        use.ask = asked


def _redacting(notify: Notify, redactor: Redactor | None) -> Notify:
    def relay(method: str, params: Members) -> None:
        if redactor is None:
            return
        try:
            texts = {name: member.text for name, member in params.items()}
            found = redactor.members(texts, monotonic() + _RELAYED_WITHIN)
            notify(method, {name: Member(text) for name, text in found.items()})
        except Exception:
            log.warning("a notification is not passed on, as redact failed", method=method)

    return relay

"""From the stages of a proxy model to what runs: each with its options filled in, and how long it may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final

from mcpctl.errors import InvalidInput
from mcpctl.proxy_models.stages import check_stages, with_defaults
from mcpctl.proxy_models.third_party import third_party_stages
from mcplocal.results.aside import Aside
from mcplocal.results.stage import THIRD_PARTY_TIMEOUT, StageContext, StageFailed, ToolResult
from mcplocal.results.stages.compact_json import compacted
from mcplocal.results.stages.html_to_markdown import as_markdown
from mcplocal.results.stages.paginate import Keep, paginated
from mcplocal.results.stages.redact import Redactor
from mcplocal.results.stages.summarize import Summary, summarized
from mcplocal.results.stages.truncate import truncated

TIMEOUT: Final = 20.0
"""Seconds a builtin stage may take for one result."""
HTML_TIMEOUT: Final = 15.0
"""Seconds after which HTML is given up by who reads it, so that its thread is free before anybody stops waiting for it."""
SLOWER: Final = 64 << 10
"""Bytes up to which most stages take less time than going to a thread: a tenth of a millisecond."""
SLOW: Final = 8 << 10
"""The same for stages that read JSON or HTML."""


@dataclass(frozen=True, slots=True)
class Means:
    """What stages need beside the result.

    Attributes:
        aside: where long work is done.
        keep: keeps text that is read page by page, for this caller.
        summary: sums up text.
        context: of which call.
    """

    aside: Aside
    keep: Keep
    summary: Summary
    context: StageContext


Run = Callable[[ToolResult, Means], Awaitable[ToolResult]]


@dataclass(frozen=True, slots=True)
class Step:
    """One stage, ready to run.

    Attributes:
        stage: its name.
        run: shapes a result.
        timeout: seconds it may take.
        of_errors: whether it is also for results that say the tool failed.
        cuts: whether part of a text may be kept or left out there, so that what is to be taken out must be gone before.
        rewrites: whether text that was in pieces, or spelt otherwise, can be a secret behind it (``&#95;`` becomes ``_``).
        redactor: of ``redact``; where that is broken, ``broken``.
        broken: why it can never run here.
    """

    stage: str
    run: Run
    timeout: float = TIMEOUT
    of_errors: bool = True
    cuts: bool = False
    rewrites: bool = False
    redactor: Redactor | None = None
    broken: str | None = None

    @property
    def must_not_fail(self) -> bool:
        """Whether a result that it failed on is for nobody."""
        return self.stage == "redact"


def steps_of(stages: tuple[tuple[str, Mapping[str, Any]], ...]) -> tuple[Step, ...]:
    """What runs, in order. A ``redact`` that stands behind a stage that cuts runs before it as well.

    Else half of a secret would be on one page and half on the next, and a text that is kept would hold all of it. And one that
    stands before a stage that rewrites runs behind it as well.
    """
    steps: list[Step] = []
    for step in (_step(name, options) for name, options in stages if name != "passthrough"):
        steps.append(step)
        if step.rewrites:
            steps += dict.fromkeys(one for one in steps if one.must_not_fail)
    cut = next((place for place, step in enumerate(steps) if step.cuts), len(steps))
    late = [step for step in dict.fromkeys(steps[cut:]) if step.must_not_fail and step not in steps[:cut]]
    return (*steps[:cut], *late, *steps[cut:])


def _step(name: str, given: Mapping[str, Any]) -> Step:
    # A control plane may be newer than this gateway: an option that is not understood is not passed over.
    wrong = check_stages([{"stage": name, "options": dict(given)}])
    if wrong:
        why = "; ".join(f"{path.partition('.')[2]}: {said}" for path, said in wrong)
        return Step(name, _Broken(f"it is not understood by this gateway ({why[:300]})"), broken=why)
    try:
        options = with_defaults(name, given)
        return _BUILTIN[name](options) if name in _BUILTIN else _third_party(name, options)
    except (InvalidInput, KeyError, TypeError, ValueError) as error:
        why = error.detail if isinstance(error, InvalidInput) else f"its options are not understood: {error}"
        return Step(name, _Broken(why), broken=why)


@dataclass(frozen=True, slots=True)
class _Broken:
    why: str

    async def __call__(self, _result: ToolResult, _means: Means) -> ToolResult:
        raise StageFailed(self.why)


def _aside(stage: str, work: Callable[[ToolResult], ToolResult], inline: int, **more: Any) -> Step:
    async def run(result: ToolResult, means: Means) -> ToolResult:
        return await means.aside.run(result.size, inline, partial(work, result))

    return Step(stage, run, **more)


def _truncate(options: Mapping[str, Any]) -> Step:
    return _aside("truncate", lambda result: truncated(result, options), SLOWER, cuts=True)


def _compact_json(options: Mapping[str, Any]) -> Step:
    return _aside("compact-json", lambda result: compacted(result, options), SLOWER)


def _select(options: Mapping[str, Any]) -> Step:
    from mcplocal.results.stages.select import selected  # here: a gateway without such a model never needs JMESPath

    return _aside(
        "select", lambda result: selected(result, options, monotonic() + TIMEOUT), SLOW, of_errors=False, rewrites=True
    )


def _html_to_markdown(options: Mapping[str, Any]) -> Step:
    # A thousand characters of HTML take four milliseconds.
    return _aside(
        "html-to-markdown", lambda result: as_markdown(result, options, monotonic() + HTML_TIMEOUT), 256, rewrites=True
    )


def _redact(options: Mapping[str, Any]) -> Step:
    redactor = Redactor(options)
    return _aside("redact", lambda result: redactor.result(result, monotonic() + TIMEOUT), SLOW, redactor=redactor)


def _paginate(options: Mapping[str, Any]) -> Step:
    return Step("paginate", lambda result, means: paginated(result, options, means.keep), cuts=True)


def _summarize(options: Mapping[str, Any]) -> Step:
    async def run(result: ToolResult, means: Means) -> ToolResult:
        return await summarized(result, options, means.summary, means.keep)

    return Step("summarize", run, timeout=float(options["timeoutSeconds"]), of_errors=False, cuts=True)


_BUILTIN: Final[Mapping[str, Callable[[Mapping[str, Any]], Step]]] = {
    "truncate": _truncate,
    "paginate": _paginate,
    "compact-json": _compact_json,
    "select": _select,
    "html-to-markdown": _html_to_markdown,
    "redact": _redact,
    "summarize": _summarize,
}


def _third_party(name: str, options: Mapping[str, Any]) -> Step:
    stage = third_party_stages().stages[name]

    async def run(result: ToolResult, means: Means) -> ToolResult:
        found = await stage.apply(result, options, means.context)
        if not isinstance(found, ToolResult):
            raise StageFailed("it gives back no result")
        return found

    return Step(name, run, timeout=THIRD_PARTY_TIMEOUT, of_errors=False, cuts=True, rewrites=True)

"""The stages of a project and a server over one answer.

A stage that fails, or takes too long, is passed over, with a note in ``_meta``; the others still run. After ``redact`` failed
there is no result: what it would have taken out is not known. A JSON-RPC error, and what a server asks for, pass ``redact`` and
nothing else; so do prompts, resources and completions. All members nobody here knows are passed on as the text they came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final

import structlog

from mcplocal.json_text import Member, Members, write
from mcplocal.results.counts import ResultCounts, StageOutcome
from mcplocal.results.private_directory import NotKept
from mcplocal.results.stage import StageFailed, ToolResult, blocks_of
from mcplocal.results.steps import TIMEOUT, Means, Step
from mcplocal.upstream.answers import Answer
from mcplocal.wire import META

log = structlog.get_logger(__name__)

NOTE: Final = "io.mcpctl/proxy-model"
"""The key in ``_meta`` of what stages did: ``changed`` and ``failed``."""

CONTENT: Final = "content"
STRUCTURED: Final = "structuredContent"
_NEVER_SHAPED: Final = frozenset(("requestState", "resultType"))
"""Members that are the gateway's own, or the protocol's: a sealed state must come back to the letter."""


class NothingLeft(Exception):
    """``redact`` could not do its work, so there is no result. The sentence is for the client."""


@dataclass
class Notes:
    """What stages did.

    Attributes:
        changed: the stages that changed something.
        failed: those that failed, and why.
    """

    changed: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    @property
    def told(self) -> dict[str, Any] | None:
        """The note, if there is anything to say."""
        parts = {"changed": list(dict.fromkeys(self.changed)), "failed": self.failed}
        return {name: part for name, part in parts.items() if part} or None


class Pipeline:
    """Runs steps over answers."""

    def __init__(self, steps: Sequence[Step], counts: ResultCounts) -> None:
        """Run ``steps``, in order."""
        self._steps = tuple(steps)
        self._counts = counts
        self.redacts = tuple(step for step in dict.fromkeys(self._steps) if step.must_not_fail)

    async def shaped(self, answer: Answer, means: Means) -> tuple[Answer, Notes]:
        """``answer`` of a tool, shaped.

        Raises:
            NothingLeft: what was to be taken out may still be in it.
        """
        if not self._steps:
            return answer, Notes()
        result = answer.result
        kind = result.get("resultType") if result is not None else None
        if result is None or (kind is not None and kind.value != "complete"):
            return await self.redacted(answer, means), Notes()
        content = result.get(CONTENT)
        blocks = blocks_of(content.text) if content is not None else ()
        if blocks is None:
            return await self.redacted(answer, means), Notes()
        failed = result.get("isError")
        structured = result.get(STRUCTURED)
        known = {CONTENT, STRUCTURED, *_NEVER_SHAPED}
        given = ToolResult(
            blocks,
            structured.text if structured is not None else None,
            failed is not None and failed.value is True,
            {name: member.text for name, member in result.items() if name not in known},
        )
        del content, blocks, structured
        notes = Notes()
        found = given
        for step in self._steps:
            found = await self._run(step, found, means, notes)
        return replace(answer, result=_members(result, given, found, notes)), notes

    async def redacted(self, answer: Answer, means: Means) -> Answer:
        """``answer`` to anything, with nothing done to it but what ``redact`` does.

        Raises:
            NothingLeft: what was to be taken out may still be in it.
        """
        for step in self.redacts:
            redactor, given, began = step.redactor, answer, monotonic()
            until = began + TIMEOUT
            try:
                if redactor is None:
                    raise StageFailed(step.broken or "it is broken")
                if answer.error is not None:
                    error = replace(answer.error, message=redactor.text(answer.error.message, until))
                    if error.data is not None:
                        error = replace(error, data=_read(redactor.source(write(error.data), until)))
                    answer = replace(answer, error=error)
                if answer.result is not None:
                    texts = {name: member.text for name, member in answer.result.items() if name not in _NEVER_SHAPED}
                    size = sum(map(len, texts.values()))

                    def work(texts: dict[str, str] = texts, until: float = until, redactor: Any = redactor) -> dict[str, str]:
                        return {name: redactor.member(name, text, until) for name, text in texts.items()}

                    found = await means.aside.run(size, 8 << 10, work)
                    changed = {name: Member(text) for name, text in found.items() if text != texts[name]}
                    if changed:
                        answer = replace(answer, result={**answer.result, **changed})
            except Exception as error:
                raise self._failed_redact(step, error, began) from None
            self._counts.passed(step.stage, "unchanged" if answer == given else "changed", monotonic() - began)
        return answer

    async def _run(self, step: Step, result: ToolResult, means: Means, notes: Notes) -> ToolResult:
        if result.is_error and not step.of_errors:
            return result
        began = monotonic()
        try:
            async with asyncio.timeout(step.timeout):
                found = await step.run(result, means)
        except Exception as error:
            if step.must_not_fail:
                raise self._failed_redact(step, error, began) from None
            late = isinstance(error, TimeoutError)
            self._counts.passed(step.stage, "timeout" if late else "failed", monotonic() - began)
            why = f"it took longer than {step.timeout:g} s" if late else _why(error)
            log.warning("a stage failed", stage=step.stage, server=means.context.server, tool=means.context.tool, why=why)
            notes.failed.append({"stage": step.stage, "why": why})
            return result
        changed = found is not result and found != result
        self._counts.passed(step.stage, "changed" if changed else "unchanged", monotonic() - began)
        if changed:
            notes.changed.append(step.stage)
        return found

    def _failed_redact(self, step: Step, error: Exception, began: float) -> NothingLeft:
        outcome: StageOutcome = "timeout" if isinstance(error, TimeoutError) else "failed"
        self._counts.passed(step.stage, outcome, monotonic() - began)
        why = "it took too long" if isinstance(error, TimeoutError) else _why(error)
        log.error("redact failed, so there is no result", why=why, error=repr(error)[:300])
        return _nothing_left(why)


def _nothing_left(why: str) -> NothingLeft:
    return NothingLeft(f"The result is withheld, because what may not be in it could not be taken out: {why}.")


def _why(error: Exception) -> str:
    """Words for a client: a stranger's exception may hold what the result held."""
    return str(error) if isinstance(error, StageFailed | NotKept) else f"it failed with {type(error).__name__}"


def _members(before: Members, given: ToolResult, found: ToolResult, notes: Notes) -> Members:
    """The members of the result, in the order in which they came; what was not changed is the text it was."""
    members: Members = {name: member for name, member in before.items() if name in _NEVER_SHAPED}
    unchanged = len(found.content) == len(given.content) and all(
        new is old for new, old in zip(found.content, given.content, strict=True)
    )
    for name, member in before.items():
        if name == CONTENT:
            members[name] = member if unchanged else Member("[" + ",".join(block.json for block in found.content) + "]")
        elif name == STRUCTURED:
            if found.structured is not None:
                members[name] = member if found.structured is given.structured else Member(found.structured)
        elif name not in _NEVER_SHAPED and found.others.get(name) == member.text:
            members[name] = member
    if CONTENT not in before and found.content:
        members[CONTENT] = Member("[" + ",".join(block.json for block in found.content) + "]")
    if STRUCTURED not in before and found.structured is not None:
        members[STRUCTURED] = Member(found.structured)
    members |= {name: Member(text) for name, text in found.others.items() if name not in members}
    told = notes.told
    return with_note(members, NOTE, told) if told is not None else members


def with_note(members: Members, key: str, note: Any) -> Members:
    """``members`` with ``note`` in their ``_meta``; what is there already stays."""
    there = members[META].text.strip() if META in members else "{}"
    named, told = write(key), write(note)
    if there[:1] == "{" and named not in there:
        inner = there[1:-1].strip()
        return {**members, META: Member(f"{{{inner}{',' if inner else ''}{named}:{told}}}")}
    meta = members[META].value
    return {**members, META: Member(write({**(meta if isinstance(meta, dict) else {}), key: note}))}


def _read(text: str) -> Any:
    return Member(text).value

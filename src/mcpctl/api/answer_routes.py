"""Routes: questions about rights (the decision API), why, who else, and what somebody holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from time import time
from typing import Annotated, TypeVar

from anyio import to_thread
from pydantic import Discriminator, Field, Tag
from sqlalchemy.orm import Session as Db
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.operations import Call, Decided, Operation
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import answers, questions
from mcpctl.services.everybody import KINDS
from mcpctl.services.principals import Principal
from mcpctl.services.questions import Known
from mcpctl.services.reading import cursor_of, name_of
from mcpctl.services.work import require
from mcpctl.wire import decisions as wire

Told = TypeVar("Told")

Questions = Annotated[list[wire.Question], Field(min_length=1, max_length=1000)]


def _form(body: object) -> str:
    """Which of the three forms was sent, so that what is wrong in it is said of that one."""
    if isinstance(body, list):
        return "list[Question]"
    return "Batch" if isinstance(body, dict) and "questions" in body else "Question"


Asked = Annotated[
    Annotated[wire.Question, Tag("Question")]
    | Annotated[Questions, Tag("list[Question]")]
    | Annotated[wire.Batch, Tag("Batch")],
    Discriminator(_form),
]


async def about(
    control: ControlPlane,
    call: Call,
    asker: Principal,
    subjects: Iterable[str],
    tell: Callable[[Known, Db], Told],
    words: Collection[tuple[str, str, str]] | None = None,
) -> Told:
    """What ``tell`` makes of what is known of ``subjects``, who may be others than the asker.

    ``words`` are all that it will ask, if that is known already.

    Raises:
        Forbidden: they are, and it may not ask about others.
        StoreUnavailable: that it asked cannot be written into the audit.
    """
    others = questions.require_asking(asker, subjects)
    return await to_thread.run_sync(partial(_about, control, call, asker, others, tell, words))


def _about(
    control: ControlPlane,
    call: Call,
    asker: Principal,
    others: list[str],
    tell: Callable[[Known, Db], Told],
    words: Collection[tuple[str, str, str]] | None,
) -> Told:
    def read(db: Db, policy: PolicyFiles) -> tuple[Told, Known]:
        known = Known(db, policy, asker, others, time(), words)
        return tell(known, db), known

    told, known = control.read(read)
    control.asked_about.record(
        control.database, asker, others, source=call.source, request_id=call.request_id, revision=known.revision
    )
    return told


async def about_everybody(control: ControlPlane, call: Call, asker: Principal, tell: Callable[[Db, PolicyFiles], Told]) -> Told:
    """What ``tell`` makes of everybody.

    Raises:
        Forbidden, StoreUnavailable: as ``about``.
    """
    require(asker.authority, "impersonate", "operations")
    return await to_thread.run_sync(partial(_about_everybody, control, call, asker, tell))


def _about_everybody(control: ControlPlane, call: Call, asker: Principal, tell: Callable[[Db, PolicyFiles], Told]) -> Told:
    told = control.read(tell)
    control.asked_about.record(
        control.database,
        asker,
        ["everybody"],
        source=call.source,
        request_id=call.request_id,
        revision=asker.authority.revision,
    )
    return told


async def authorize(
    control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal
) -> Response | wire.Verdict | list[wire.Verdict]:
    """One answer to one question, or as many as there are questions, or as many as it takes."""
    body: wire.Question | list[wire.Question] | wire.Batch = call.body
    if isinstance(body, wire.Question):
        if body.subject is None or body.subject == asker.subject:
            return Response(questions.own_verdict(asker, body, control.feed.revision), media_type="application/json")
        return (await _verdicts(control, call, asker, [body], "all"))[0]
    if isinstance(body, wire.Batch):
        return await _verdicts(control, call, asker, body.questions, body.evaluate)
    return await _verdicts(control, call, asker, body, "all")


async def _verdicts(
    control: ControlPlane, call: Call, asker: Principal, asked: list[wire.Question], until: questions.Until
) -> list[wire.Verdict]:
    if all(question.subject in (None, asker.subject) for question in asked):
        return questions.own_verdicts(asker, asked, control.feed.revision, until)
    subjects, words = [question.subject or asker.subject for question in asked], {questions.checked(one) for one in asked}
    return await about(control, call, asker, subjects, lambda known, _: questions.verdicts(known, asker, asked, until), words)


async def explain(control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal) -> wire.Explanation:
    """The answer to one question, with every line that speaks of it."""
    words, subject = questions.checked(call.body), call.body.subject or asker.subject
    return await about(control, call, asker, [subject], lambda known, _: answers.explain(known, subject, words))


async def who_can(control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal) -> wire.Holders:
    """Everybody who may do it."""
    query: wire.WhoCanQuery = call.query
    words = questions.checked(query)
    after = name_of(query.cursor)

    def tell(db: Db, policy: PolicyFiles) -> wire.Holders:
        kinds = KINDS if query.kind is None else [query.kind]
        able = [(f"{KINDS.index(one.kind)}{one.name}", one) for one in answers.who_can(db, policy, words, time(), kinds)]
        rest = [(place, one) for place, one in able if place > after]
        shown = rest[: query.limit]
        return wire.Holders(
            items=[answers.holder(one) for _, one in shown],
            next_cursor=cursor_of(shown[-1][0]) if len(rest) > len(shown) else None,
            revision=able[0][1].decision.revision if able else asker.authority.revision,
            total=len(able),
        )

    return await about_everybody(control, call, asker, tell)


async def rights(control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal) -> wire.Rights:
    """All the lines that decide about somebody."""
    subject = call.query.subject or asker.subject
    return await about(control, call, asker, [subject], lambda known, _: answers.rights(known, subject))


_V = "/api/v1/authorize"
_T = ("authorize",)
_ABOUT = Decided("about oneself always, about another subject with action:impersonate")

OPERATIONS = (
    Operation(
        "POST", _V, _ABOUT, "raw", authorize,
        "Ask whether something is allowed", wire.Verdict | list[wire.Verdict], body=Asked, tags=_T,
    ),
    Operation(
        "POST", f"{_V}/explain", _ABOUT, "raw", explain,
        "Ask why something is allowed or not", wire.Explanation, body=wire.Question, tags=_T,
    ),
    Operation(
        "GET", f"{_V}/subjects", Decided("with action:impersonate, as it tells about everybody"), "raw", who_can,
        "Ask who may do something", wire.Holders, query=wire.WhoCanQuery, tags=_T,
    ),
    Operation("GET", f"{_V}/rights", _ABOUT, "raw", rights, "List the lines that decide about somebody", wire.Rights, query=wire.RightsQuery, tags=_T),
)  # fmt: skip
"""Everything that is asked about rights."""

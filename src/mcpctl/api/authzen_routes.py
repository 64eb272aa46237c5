"""Routes: the OpenID AuthZEN Authorization API 1.0, over HTTP as its section 10 says."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from time import time
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import to_json
from sqlalchemy.orm import Session as Db
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from mcpctl.api import access
from mcpctl.api.answer_routes import about, about_everybody
from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.operations import Call, Decided, Operation, Unguarded
from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import authzen
from mcpctl.services.principals import Principal
from mcpctl.services.questions import Known
from mcpctl.services.shadow import Asked
from mcpctl.wire import authzen as wire

LARGEST_PAGE: Final = 1000
"""Results on one page, whatever limit is asked for; the specification leaves it to us."""


async def evaluate(control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal) -> Response:
    """Section 6: one decision."""
    body: wire.Evaluation = call.body
    (decision,) = await _decided(control, call, asker, [(body.subject, body.action, body.resource)], "execute_all")
    return _answer(decision)


async def evaluate_many(control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal) -> Response:
    """Section 7: many decisions; without ``evaluations`` one, as section 6."""
    body: wire.Evaluations = call.body
    decisions = await _decided(control, call, asker, authzen.evaluations_of(body), body.options.evaluations_semantic)
    return _answer({"evaluations": decisions} if body.evaluations else decisions[0])


async def _decided(
    control: ControlPlane, call: Call, asker: Principal, evaluations: Sequence[authzen.Evaluation], semantic: str
) -> list[dict[str, Any]]:
    asked, until = [authzen.read(one) for one in evaluations], authzen.SEMANTICS[semantic]
    subjects = [one.subject for one in asked if one.subject is not None]
    if all(subject == asker.subject for subject in subjects):
        decided = authzen.decided(Known.only(asker, control.feed.revision), asked, until)
    else:
        words = {one.words for one in asked if one.words is not None}
        decided = await about(control, call, asker, subjects, lambda known, _: authzen.decided(known, asked, until), words)
    if control.shadow is not None:  # whoever asks so is about to enforce it
        for one, answer in zip(asked, decided, strict=False):
            if one.subject is not None and one.words is not None:
                control.shadow.note(Asked(one.subject, *one.words, answer["decision"]))
    return decided


async def search_subjects(control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal) -> Response:
    """Section 8.4: who may?"""
    body: wire.SubjectSearch = call.body

    def tell(db: Db, policy: PolicyFiles) -> wire.Found:
        return _page(body, wire.Entities, lambda: authzen.subjects(db, policy, body, time()))

    return _answer(await about_everybody(control, call, asker, tell))


async def search_resources(control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal) -> Response:
    """Section 8.5: to what?"""
    body: wire.ResourceSearch = call.body

    def tell(known: Known, db: Db) -> wire.Found:
        return _page(body, wire.Entities, lambda: authzen.resources(db, known, asker.authority, body))

    return _answer(await about(control, call, asker, _subjects(body.subject), tell))


async def search_actions(control: ControlPlane, _request: HttpRequest, call: Call, asker: Principal) -> Response:
    """Section 8.6: what?"""
    body: wire.ActionSearch = call.body

    def tell(known: Known, _db: Db) -> wire.Found:
        return _page(body, wire.Actions, lambda: authzen.actions(known, body))

    return _answer(await about(control, call, asker, _subjects(body.subject), tell))


def _subjects(entity: wire.Entity) -> list[str]:
    subject = authzen.subject_of(entity)
    return [] if subject is None else [subject]


def _page(body: wire.Search, shape: type[wire.Entities] | type[wire.Actions], look: Callable[[], Sequence[Any]]) -> wire.Found:
    """One page of what ``look`` finds, by name. A word that is not known finds nothing, and it is said why.

    Raises:
        InvalidInput: the token is none that a page of this very search gave.
    """
    after = _after(body)
    because, found = None, list[Any]()
    try:
        found = sorted(look(), key=_name)
    except InvalidInput as error:
        because = wire.Because(error=wire.Error(status=400, message=error.detail))
    rest = [one for one in found if _name(one) > after]
    shown = rest[: min(body.page.limit, LARGEST_PAGE)]
    last = _name(shown[-1]) if shown else after
    paged = wire.Paged(next_token=_token(body, last) if len(rest) > len(shown) else "", count=len(shown), total=len(found))
    return shape(page=paged, context=because, results=shown)


def _name(found: wire.FoundEntity | wire.FoundAction) -> str:
    return found.id if isinstance(found, wire.FoundEntity) else found.name


def _token(body: wire.Search, after: str) -> str:
    return urlsafe_b64encode(f"{_mark(body)}{after}".encode()).decode().rstrip("=")


def _mark(body: wire.Search) -> str:
    """What a token is bound to: everything of the search but the page (section 8.2: the rest must stay the same)."""
    return sha256(body.model_dump_json(exclude={"page"}).encode()).hexdigest()[:16]


def _after(body: wire.Search) -> str:
    token = body.page.token
    if not token:
        return ""
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        text = ""
    if not text.startswith(_mark(body)) or _token(body, text[16:]) != token:  # base64 has many spellings of one text
        message = "it is none that a page of this very search gave"
        raise InvalidInput(f"page.token: {message}", errors=[FieldError("page.token", message)])
    return text[16:]


async def metadata(control: ControlPlane, request: HttpRequest, _call: Call) -> wire.Metadata:
    """Section 9: where everything is, under the address this was asked for at."""
    base = access.base_url(request, control.trusted_proxies)
    return wire.Metadata(
        policy_decision_point=base,
        access_evaluation_endpoint=f"{base}{_V}/evaluation",
        access_evaluations_endpoint=f"{base}{_V}/evaluations",
        search_subject_endpoint=f"{base}{_V}/search/subject",
        search_resource_endpoint=f"{base}{_V}/search/resource",
        search_action_endpoint=f"{base}{_V}/search/action",
    )


def _answer(answer: BaseModel | dict[str, Any]) -> Response:
    return Response(to_json(answer, exclude_none=True), media_type="application/json")


_V = "/access/v1"
_T = ("authzen",)
_ABOUT = Decided("about oneself always, about another subject with action:impersonate")

OPERATIONS = (
    Operation(
        "POST", f"{_V}/evaluation", _ABOUT, "raw", evaluate,
        "AuthZEN: one evaluation", wire.Decision, body=wire.Evaluation, tags=_T, standard="authzen",
    ),
    Operation(
        "POST", f"{_V}/evaluations", _ABOUT, "raw", evaluate_many,
        "AuthZEN: many evaluations", wire.Decisions | wire.Decision, body=wire.Evaluations, tags=_T, standard="authzen",
    ),
    Operation(
        "POST", f"{_V}/search/subject", Decided("with action:impersonate, as it tells about everybody"), "raw", search_subjects,
        "AuthZEN: search subjects", wire.Entities, body=wire.SubjectSearch, tags=_T, standard="authzen",
    ),
    Operation(
        "POST", f"{_V}/search/resource", Decided(f"{_ABOUT.why}; names by view on the resource"), "raw", search_resources,
        "AuthZEN: search resources", wire.Entities, body=wire.ResourceSearch, tags=_T, standard="authzen",
    ),
    Operation(
        "POST", f"{_V}/search/action", _ABOUT, "raw", search_actions,
        "AuthZEN: search actions", wire.Actions, body=wire.ActionSearch, tags=_T, standard="authzen",
    ),
    Operation(
        "GET", "/.well-known/authzen-configuration", Unguarded("it says nothing but where the routes are"), "raw", metadata,
        "AuthZEN: metadata", wire.Metadata, tags=_T, standard="authzen",
    ),
)  # fmt: skip
"""The Authorization API 1.0."""

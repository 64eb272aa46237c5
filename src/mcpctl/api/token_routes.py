"""Routes: tokens and introspection."""

from __future__ import annotations

from urllib.parse import parse_qs

from sqlalchemy import select, tuple_
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from mcpctl.api import access, naming
from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.naming import ProjectQuery, TokensQuery
from mcpctl.api.operations import Call, Decided, Filtered, Guarded, Operation, Unguarded
from mcpctl.errors import FieldError, InvalidInput, TooLarge, UnsupportedMedia
from mcpctl.services import tokens
from mcpctl.services.principals import NotAuthenticated, Principal
from mcpctl.services.reading import Reading, page
from mcpctl.services.work import Work
from mcpctl.store.schema import Project, Token
from mcpctl.wire import tokens as wire
from mcpctl.wire.shapes import Page


async def introspect(control: ControlPlane, request: HttpRequest, call: Call) -> wire.Introspection | Response:
    """What the presented bearer is; a bad one is told why, to nobody but whoever presents it."""
    bearer = access.bearer_of(request)
    revision = control.feed.revision  # before the look-up: what is remembered then is true of this revision
    try:
        principal = await access.principal_of(control, bearer, call.source, slowed=False)
    except NotAuthenticated as reason:
        return tokens.not_active(reason)
    return Response(tokens.introspection(principal, revision), media_type="application/json")


async def introspect_for_resource_server(
    control: ControlPlane, request: HttpRequest, call: Call, asker: Principal
) -> JSONResponse:
    """RFC 7662: another program, itself authenticated, asks about a token it was handed. An inactive one says nothing more.

    It shows its own session or token as a bearer, or as the secret of a client whose id is its user name (RFC 6749 section
    2.3.1), which is what stock verifiers can be configured with. ``token_type_hint`` changes nothing: the prefix says it.
    """
    access.require_client(request, asker)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise UnsupportedMedia("RFC 7662 asks by a form: Content-Type application/x-www-form-urlencoded")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > 8192:
            raise TooLarge("the form is larger than 8192 bytes")
    form = parse_qs(body.decode("latin-1"), keep_blank_values=True)
    if len(form.get("token", [])) != 1:
        message = "the form must have one member 'token'"
        raise InvalidInput(message, errors=[FieldError("token", message)])
    revision = control.feed.revision
    try:
        # Its clients' guesses are not its own, and it has said who it is.
        principal = await access.principal_of(control, form["token"][0], call.source, slowed=False)
    except NotAuthenticated:
        return JSONResponse({"active": False})
    found = tokens.for_resource_servers(principal, revision)
    return JSONResponse(found.model_dump(mode="json", by_alias=True, exclude_none=True))


def list_tokens(reading: Reading, call: Call) -> Page[wire.Token]:
    """The tokens the asker may view, by project and name."""
    query = select(Token).join(Project, Project.id == Token.project_id)
    if call.query.project is not None:
        query = query.where(Project.name == call.query.project)

    def after(name: str, limit: int) -> list[Token]:
        project, _, rest = name.partition("/")
        token, _, token_id = rest.partition("/")
        place = tuple_(Project.name, Token.name, Token.id) > (project, token, token_id)
        return list(reading.db.scalars(query.where(place).order_by(Project.name, Token.name, Token.id).limit(limit)))

    # Several revoked tokens may share a name, so the place in the list has the id too; the policy sees it below the name.
    return page(
        reading,
        "mcptokens",
        after,
        lambda token: f"{tokens.policy_name(token)}/{token.id}",
        lambda token: tokens.shown(reading.db, reading.policy, token, reading.now),
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def _found(unit: Work | Reading, call: Call) -> Token:
    return tokens.find(unit.db, call.params["id"], call.query.project)


def revoke(work: Work, call: Call) -> wire.Token:
    """End a token for good."""
    return tokens.shown(work.db, work.policy, tokens.revoke(work, _found(work, call)), work.now)


def rotate(work: Work, call: Call) -> wire.MintedToken:
    """A new secret of the same token."""
    return tokens.rotate(work, _found(work, call), call.body.grace if call.body is not None else None)


def describe(reading: Reading, call: Call) -> wire.Token:
    """One token, no secret."""
    return tokens.shown(reading.db, reading.policy, _found(reading, call), reading.now)


_V = "/api/v1/mcptokens"
_T = ("mcptokens",)
_token = naming.token_in_path

OPERATIONS = (
    Operation(
        "GET", f"{_V}/introspect", Unguarded("the raw secret presented is the right to know what it is"), "raw", introspect,
        "Introspect the bearer of this request", wire.Introspection, tags=_T,
    ),
    Operation("GET", _V, Filtered("mcptokens"), "read", list_tokens, "List tokens", Page[wire.Token], query=TokensQuery, tags=_T),
    Operation(
        "POST", _V, Guarded("create", "mcptokens", naming.new_token), "write", lambda work, call: tokens.create(work, call.body),
        "Mint a token; its raw secret is in this answer only", wire.MintedToken, body=wire.NewToken, status=201, tags=_T, errors=(409,),
    ),
    Operation(
        "GET", f"{_V}/{{id}}", Guarded("view", "mcptokens", _token), "read", describe,
        "Describe a token", wire.Token, query=ProjectQuery, tags=_T,
    ),
    Operation(
        "DELETE", f"{_V}/{{id}}", Guarded("delete", "mcptokens", _token), "write",
        lambda work, call: tokens.remove(work, _found(work, call)),
        "Delete a token", query=ProjectQuery, status=204, tags=_T,
    ),
    Operation(
        "POST", f"{_V}/{{id}}/revoke", Guarded("delete", "mcptokens", _token), "write", revoke,
        "Revoke a token and remove its policy", wire.Token, query=ProjectQuery, tags=_T,
    ),
    Operation(
        "POST", f"{_V}/{{id}}/rotate", Guarded("edit", "mcptokens", _token), "write", rotate,
        "Give a token a new secret", wire.MintedToken, body=wire.Rotation | None, query=ProjectQuery, tags=_T, errors=(409,),
    ),
    Operation(
        "POST", "/oauth2/introspect", Decided("any authenticated caller who holds the token in question"), "raw",
        introspect_for_resource_server, "Introspect a token (RFC 7662)", wire.ClientIntrospection, tags=_T, standard="oauth",
    ),
)  # fmt: skip
"""Everything about tokens."""

"""One HTTP request as the endpoint takes it and answers it: headers, bearer, body, and what goes back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from starlette.types import Receive, Scope, Send

from mcpctl import request_ids
from mcpctl.errors import (
    InvalidCredential,
    InvalidInput,
    MissingCredential,
    NotAcceptable,
    NotFound,
    Problem,
    TooLarge,
    Unauthenticated,
    UnsupportedMedia,
)
from mcpctl.policy.names import check_name
from mcplocal import wire
from mcplocal.event_stream import MEDIA_TYPE
from mcplocal.json_text import write
from mcplocal.protocol import modern
from mcplocal.protocol.envelope import Rejection, error_text
from mcplocal.protocol.resource_metadata import ResourceMetadata

JSON: Final = b"application/json"
PROBLEM_JSON: Final = b"application/problem+json"
STREAM_HEADERS: Final = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(slots=True)
class Request:
    """One HTTP request to the endpoint.

    Attributes:
        id: the request's, see ``mcpctl.request_ids``.
        method: of the message, once that has been read.
    """

    scope: Scope
    receive: Receive
    send: Send
    headers: modern.Headers
    id: str
    source: str
    method: str = ""

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send) -> Request:
        """The request of an ASGI server."""
        client, headers = scope.get("client"), _headers(scope)
        identity = request_ids.begin(_one(headers, "x-request-id"), _one(headers, "traceparent"))
        return cls(scope, receive, send, headers, identity, client[0] if client else "unknown")

    @property
    def stream_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of an event stream that answers it."""
        return [*STREAM_HEADERS, (b"x-request-id", self.id.encode())]

    def one(self, name: str) -> str | None:
        """The value of a header that stands once; ``None`` if it is absent or doubled."""
        return _one(self.headers, name)


def _one(headers: modern.Headers, name: str) -> str | None:
    values = headers.get(name, ())
    return values[0] if len(values) == 1 else None


class NoSession(NotFound):
    """The session is unknown, has ended or is somebody else's; the client shakes hands anew."""

    def __init__(self, id_text: str | None) -> None:
        super().__init__("there is no such session: send initialize again")
        self.id_text = id_text


def _headers(scope: Scope) -> modern.Headers:
    found: dict[str, list[str]] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        if name in found:
            found[name].append(text)
        else:
            found[name] = [text]
    return found


def bearer(request: Request) -> str:
    """The one bearer.

    Raises:
        Unauthenticated: there is none, or not one.
    """
    values = request.headers.get("authorization", ())
    if not values:
        raise MissingCredential("send a token or a session as a bearer", headers={"WWW-Authenticate": "Bearer"})
    scheme, _, credential = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not credential.strip():
        raise InvalidCredential("the bearer is not valid")
    return credential.strip()


def project(scope: Scope) -> str | None:
    """The project in the path; ``None`` at ``/mcp``.

    Raises:
        NotFound: it cannot be the name of one.
    """
    project = scope.get("path_params", {}).get("project")
    if project is None:
        return None
    try:
        return check_name(project, "project")
    except InvalidInput:
        raise NotFound("there is no such project") from None


def check_media(request: Request) -> None:
    """Check that the body is JSON and that JSON may be answered.

    Raises:
        UnsupportedMedia: the one is not so.
        NotAcceptable: the other is not so.
    """
    if not _is_json(request.one("content-type") or ""):
        raise UnsupportedMedia("send the message as application/json in UTF-8")
    if not accepts(request, "application/json"):
        raise NotAcceptable("accept application/json and text/event-stream")


def accepts(request: Request, media: str) -> bool:
    """Whether the client takes ``media``; one that says nothing takes JSON."""
    values = request.headers.get("accept", ())
    return _takes(",".join(values), media) if values else media == "application/json"


# Clients say the same in every request.
@lru_cache(maxsize=256)
def _is_json(media: str) -> bool:
    kind, _, parameters = media.partition(";")
    charset = parameters.strip().lower()
    return kind.strip().lower() == "application/json" and charset in ("", "charset=utf-8", 'charset="utf-8"')


@lru_cache(maxsize=256)
def _takes(accepted: str, media: str) -> bool:
    main = media.partition("/")[0]
    for part in accepted.lower().split(","):
        kind, _, parameters = part.partition(";")
        if kind.strip() in (media, f"{main}/*", "*/*") and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            # curl's */* asks for nothing in particular; a stream is only for who can name it.
            return media == "application/json" or kind.strip() == media
    return False


async def body(request: Request, largest: int) -> bytes:
    """All of the body.

    Raises:
        TooLarge: it has more than ``largest`` bytes.
        InvalidInput: the client went away.
    """
    declared = request.one("content-length") or "0"
    if declared.isdecimal() and int(declared) > largest:
        raise TooLarge(f"the body is larger than {largest} bytes (MCPLOCAL_MAX_REQUEST_BYTES)")
    parts: list[bytes] = []
    size = 0
    while True:
        event = await request.receive()
        if event["type"] == "http.disconnect":
            raise InvalidInput("the client went away")
        part = event.get("body", b"")
        size += len(part)
        if size > largest:
            raise TooLarge(f"the body is larger than {largest} bytes (MCPLOCAL_MAX_REQUEST_BYTES)")
        if not event.get("more_body", False):
            return b"".join([*parts, part]) if parts else bytes(part)
        parts.append(part)


async def send_json(request: Request, status: int, text: str, extra: dict[str, str] | None = None) -> None:
    """Answer with JSON text."""
    await _send(request, status, JSON, text.encode(), extra)


async def send_problem(request: Request, problem: Problem, metadata: ResourceMetadata | None = None) -> None:
    """Answer with a problem document, or a JSON-RPC error where a session is gone."""
    headers = dict(problem.headers)
    if isinstance(problem, Unauthenticated):
        said = headers.get("WWW-Authenticate", 'Bearer error="invalid_token"')
        headers["WWW-Authenticate"] = metadata.challenge(said, request.scope["path"]) if metadata is not None else said
    if isinstance(problem, NoSession):
        rejection = Rejection(wire.INVALID_REQUEST, problem.detail, id_text=problem.id_text)
        return await _send(request, problem.status, JSON, error_text(rejection).encode(), headers)
    return await _send(request, problem.status, PROBLEM_JSON, write(problem.as_json()).encode(), headers)


async def send_nothing(request: Request, status: int) -> None:
    """Answer without a body."""
    headers = [(b"content-length", b"0"), (b"x-request-id", request.id.encode())]
    await request.send({"type": "http.response.start", "status": status, "headers": headers})
    await request.send({"type": "http.response.body", "body": b""})


async def _send(request: Request, status: int, media: bytes, body: bytes, extra: dict[str, str] | None = None) -> None:
    headers = [
        (b"content-type", media),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request.id.encode()),
        *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (extra or {}).items()),
    ]
    await request.send({"type": "http.response.start", "status": status, "headers": headers})
    await request.send({"type": "http.response.body", "body": body})

"""One HTTP request as the endpoint takes it and answers it: headers, bearer, body, and what goes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

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
from mcplocal.protocol.envelope import Rejection, error_text
from mcplocal.protocol.head import Pairs, taken_apart
from mcplocal.protocol.resource_metadata import ResourceMetadata

_COMMON: Final = b"cache-control: no-store\r\nx-content-type-options: nosniff\r\nx-request-id: "
_JSON_HEAD: Final = b"content-type: application/json\r\n" + _COMMON
_PROBLEM_HEAD: Final = b"content-type: application/problem+json\r\n" + _COMMON
_STREAM_HEAD: Final = b"content-type: %b\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n" % MEDIA_TYPE.encode()


class Request(ABC):
    """One HTTP request to the endpoint, and the way back. How it came is for its kinds to know.

    Attributes:
        method: ``POST`` and so on.
        path: decoded, without the query.
        project: the project in it; ``None`` at ``/mcp``.
        head: the headers that it shares with other requests, and what they say.
        headers: all of its own and of those.
        source: the client's address; once it is being answered, the one behind proxies that are trusted.
        id: for logs and audit, see ``mcpctl.request_ids``; known once it has begun.
        asked: the method of its message, once that has been read.
    """

    __slots__ = ("asked", "head", "headers", "id", "method", "path", "project", "source")

    def __init__(self, method: str, path: str, project: str | None, shared: Pairs, own: Pairs, source: str) -> None:
        """Keep what is said above; ``shared`` are its headers that are called as in ``head.SHARED``, ``own`` are the others."""
        self.method = method
        self.path = path
        self.project = project
        self.head, self.headers = taken_apart(shared, own)
        self.source = source
        self.id = ""
        self.asked = ""

    def begin(self) -> None:
        """It is being answered, in this task."""
        self.id = request_ids.begin(self.one("x-request-id"), self.one("traceparent"))

    @property
    def stream_head(self) -> bytes:
        """The header lines of an event stream that answers it."""
        return b"%bx-request-id: %b\r\n" % (_STREAM_HEAD, self.id.encode())

    def one(self, name: str) -> str | None:
        """The value of a header that stands once; ``None`` if it is absent or doubled."""
        values = self.headers.get(name)
        return values[0] if values and len(values) == 1 else None

    async def read_body(self, largest: int) -> bytes:
        """All of the body.

        Raises:
            TooLarge: it has more than ``largest`` bytes.
            InvalidInput: the client went away.
        """
        declared = self.one("content-length") or "0"
        if declared.isdecimal() and int(declared) > largest:
            raise TooLarge(f"the body is larger than {largest} bytes (MCPLOCAL_MAX_REQUEST_BYTES)")
        found = self.take_whole() or await self.read(largest)
        if found is None:
            raise InvalidInput("the client went away")
        if len(found) > largest:
            raise TooLarge(f"the body is larger than {largest} bytes (MCPLOCAL_MAX_REQUEST_BYTES)")
        return found

    def take_whole(self) -> bytes:
        """The body, if all of it is here already; else nothing, and ``read`` waits for it."""
        return b""

    @abstractmethod
    async def read(self, enough: int) -> bytes | None:
        """The body, at least what is ``enough`` and one byte more where it is larger; ``None`` if the client goes before."""

    @abstractmethod
    async def gone(self) -> None:
        """Wait until the client has gone."""

    @abstractmethod
    async def respond(self, status: int, head: bytes, body: bytes) -> None:
        """Answer with all there is.

        Args:
            status: the HTTP status.
            head: header lines, each with its end; the length is not among them.
            body: the body.
        """

    @abstractmethod
    async def begin_stream(self) -> None:
        """Answer with an event stream, of which ``push`` sends each piece and ``end_stream`` the last."""

    @abstractmethod
    async def push(self, data: bytes) -> None:
        """Send a piece of a stream; waits for a client that reads slowly."""

    @abstractmethod
    async def end_stream(self, data: bytes) -> None:
        """Send the last piece of a stream."""


class NoSession(NotFound):
    """The session is unknown, has ended or is somebody else's; the client shakes hands anew."""

    def __init__(self, id_text: str | None) -> None:
        super().__init__("there is no such session: send initialize again")
        self.id_text = id_text


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


def project(request: Request) -> str | None:
    """The project in the path; ``None`` at ``/mcp``.

    Raises:
        NotFound: it cannot be the name of one.
    """
    if request.project is None:
        return None
    try:
        return check_name(request.project, "project")
    except InvalidInput:
        raise NotFound("there is no such project") from None


def check_media(request: Request) -> None:
    """Check that the body is JSON and that JSON may be answered.

    Raises:
        UnsupportedMedia: the one is not so.
        NotAcceptable: the other is not so.
    """
    if not request.head.is_json:
        raise UnsupportedMedia("send the message as application/json in UTF-8")
    if not request.head.takes_json:
        raise NotAcceptable("accept application/json and text/event-stream")


async def send_json(request: Request, status: int, text: str, extra: Mapping[str, str] | None = None) -> None:
    """Answer with JSON text."""
    head = b"%b%b\r\n" % (_JSON_HEAD, request.id.encode())
    await request.respond(status, head + _lines(extra) if extra else head, text.encode())


async def send_problem(request: Request, problem: Problem, metadata: ResourceMetadata | None = None) -> None:
    """Answer with a problem document, or a JSON-RPC error where a session is gone."""
    headers = dict(problem.headers)
    if isinstance(problem, Unauthenticated):
        said = headers.get("WWW-Authenticate", 'Bearer error="invalid_token"')
        headers["WWW-Authenticate"] = metadata.challenge(said, request.path) if metadata is not None else said
    if isinstance(problem, NoSession):
        rejection = Rejection(wire.INVALID_REQUEST, problem.detail, id_text=problem.id_text)
        return await send_json(request, problem.status, error_text(rejection), headers)
    head = b"%b%b\r\n%b" % (_PROBLEM_HEAD, request.id.encode(), _lines(headers))
    return await request.respond(problem.status, head, write(problem.as_json()).encode())


async def send_nothing(request: Request, status: int) -> None:
    """Answer without a body."""
    head = b"x-request-id: %b\r\n" % request.id.encode()
    await request.respond(status, head, b"")


def _lines(headers: Mapping[str, str]) -> bytes:
    """Lines of a head.

    Raises:
        ValueError: one of them would be more than one line.
    """
    lines = [f"{name.lower()}: {value}" for name, value in headers.items()]
    if not all(line.isprintable() for line in lines):
        raise ValueError("a header of an answer is not one printable line")
    return "".join([f"{line}\r\n" for line in lines]).encode("latin-1")

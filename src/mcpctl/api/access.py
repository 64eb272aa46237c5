"""Who is asking: the bearer of a request and the address it comes from."""

from __future__ import annotations

import re
from base64 import b64decode
from functools import cache
from ipaddress import ip_network
from time import time
from typing import Final
from urllib.parse import unquote_plus

import anyio
from anyio import to_thread
from starlette.requests import Request

from mcpctl import forwarded
from mcpctl.api.control_plane import ControlPlane
from mcpctl.errors import InvalidCredential, MissingCredential, StoreUnavailable, WrongHost
from mcpctl.services.principals import NotAuthenticated, Principal, authenticate
from mcpctl.services.token_secret import hash_token, is_mcp_token, is_session

READ_AGAIN: Final = 20
"""Times a principal is read that changes while it is being read."""


def bearer_of(request: Request) -> str:
    """The raw bearer of the one ``Authorization`` header. Never taken from the query or a cookie.

    Raises:
        MissingCredential: there is no such header.
        InvalidCredential: it is not one bearer.
    """
    headers = request.headers.getlist("authorization")
    if not headers:
        raise MissingCredential("this needs 'Authorization: Bearer …': log in with 'mcpctl login', or use a token")
    scheme, _, bearer = headers[0].partition(" ")
    bearer = bearer.strip(" \t")  # and not what else Unicode calls blank: a credential has one spelling
    if len(headers) > 1 or scheme.lower() != "bearer" or not bearer:
        raise InvalidCredential("the Authorization header must be one 'Bearer …'")
    return bearer


def client_of(request: Request) -> str:
    """The bearer of a caller that may also show it as a client's secret: ``Basic`` of ``<user>:<bearer>``.

    RFC 6749 section 2.3.1: both parts are form-encoded first. Whose bearer it is, ``require_client`` looks at.

    Raises:
        MissingCredential: there is no ``Authorization`` header.
        InvalidCredential: it is neither one bearer nor one name and secret.
    """
    basic = _basic_of(request)
    return bearer_of(request) if basic is None else basic[1]


def require_client(request: Request, principal: Principal) -> None:
    """Go on only if a client that named itself is the user whose bearer it showed: a name of one's own choice means nothing.

    Not every client encodes its name first, and a ``+`` in it is one either way.

    Raises:
        InvalidCredential: it is somebody else's.
    """
    basic = _basic_of(request)
    if basic is not None and principal.user not in (basic[0], unquote_plus(basic[0])):
        raise InvalidCredential("the client id must be the name of the user whose session or token the secret is")


def _basic_of(request: Request) -> tuple[str, str] | None:
    headers = request.headers.getlist("authorization")
    scheme, _, encoded = headers[0].partition(" ") if headers else ("", "", "")
    if len(headers) != 1 or scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = b64decode(encoded.strip(" \t"), validate=True).decode("ascii").partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise InvalidCredential("the Authorization header must be 'Basic' and the base64 of '<user>:<session or token>'")
    return name, unquote_plus(secret)


def source_of(request: Request, trusted_proxies: tuple[str, ...]) -> str:
    """The client's address. ``X-Forwarded-For`` counts only as far as configured proxies wrote it."""
    address = request.client.host if request.client else "unknown"
    return forwarded.client_address(address, request.headers.getlist("x-forwarded-for"), _networks(trusted_proxies))


def base_url(request: Request, trusted_proxies: tuple[str, ...]) -> str:
    """The address this was asked for at, without a path. The scheme is what a configured proxy says it was there.

    Raises:
        WrongHost: the Host header is no host, and so nothing that could be sent back.
    """
    scheme, host = request.scope["scheme"], request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise WrongHost("the Host header must be a host and, if need be, a port")
    if request.client is not None and forwarded.is_in(request.client.host, _networks(trusted_proxies)):
        said = request.headers.get("x-forwarded-proto", "").lower()
        scheme = said if said in ("http", "https") else scheme
    return f"{scheme}://{host}"


_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@cache
def _networks(trusted: tuple[str, ...]) -> tuple[forwarded.Network, ...]:
    return tuple(ip_network(network, strict=False) for network in trusted)


async def principal_of(control: ControlPlane, bearer: str, source: str, *, slowed: bool = True) -> Principal:
    """The principal behind a bearer: remembered while nothing it was built from has changed, else read.

    Raises:
        NotAuthenticated: the bearer is no good; a source that keeps guessing is told ever later, unless it is not ``slowed``:
            a gateway introspects for all of its clients, and slows them itself.
        StoreUnavailable: the database does not answer.
    """
    if control.feed.fresh and (principal := control.principals.get(hash_token(bearer))) is not None:
        control.last_used.note(principal)
        return principal
    try:
        if not (is_mcp_token(bearer) or is_session(bearer)):
            raise NotAuthenticated("malformed")
        principal = await _read_until_it_holds(control, bearer)
    except NotAuthenticated:
        key = f"source:{source}"
        wait = control.failed_bearers.wait(key) if slowed else 0.0
        control.failed_bearers.failed(key)
        if wait:
            control.failed_bearers.begin_waiting(source)
            try:
                await anyio.sleep(wait)
            finally:
                control.failed_bearers.end_waiting(source)
        raise
    control.last_used.note(principal)
    return principal


async def still(control: ControlPlane, bearer: str, principal: Principal, source: str) -> Principal:
    """The principal, read again if anything changed meanwhile: a body may take its time to arrive.

    Raises:
        NotAuthenticated: the bearer is no good any more.
    """
    if principal.authority.superseded or time() >= principal.authority.expires_at:
        return await principal_of(control, bearer, source)
    return principal


async def _read_until_it_holds(control: ControlPlane, bearer: str) -> Principal:
    for _ in range(READ_AGAIN):
        principal = await to_thread.run_sync(_read, control, bearer)
        if control.principals.put(principal):
            return principal
    raise StoreUnavailable("what this credential may do keeps changing; ask again")


def _read(control: ControlPlane, bearer: str) -> Principal:
    return control.read(lambda db, policy: authenticate(db, policy, bearer))

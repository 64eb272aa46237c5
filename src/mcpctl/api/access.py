"""Who is asking: the bearer of a request and the address it comes from."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from time import time
from typing import Final

import anyio
from anyio import to_thread
from starlette.requests import Request

from mcpctl.api.control_plane import ControlPlane
from mcpctl.errors import InvalidCredential, MissingCredential, StoreUnavailable
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


def source_of(request: Request, trusted_proxies: tuple[str, ...]) -> str:
    """The client's address. ``X-Forwarded-For`` counts only as far as configured proxies wrote it."""
    address = request.client.host if request.client else "unknown"
    if not trusted_proxies:
        return address
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    while hops and _is_trusted(address, trusted_proxies):
        candidate = hops.pop()
        try:
            parsed = ip_address(candidate)
        except ValueError:
            break
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:  # any text at all, and of no meaning elsewhere
            break
        address = str(parsed)
    return address


@cache
def _networks(trusted: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(ip_network(network, strict=False) for network in trusted)


def _is_trusted(address: str, trusted: tuple[str, ...]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in _networks(trusted))  # type: ignore[operator]


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
    with control.database.read() as db:
        return authenticate(db, control.policy, bearer)

"""E2, E4 to E9: the life of a session."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Final

from mcpctl.endpoint_test.check import Finding, Level, check, failed, noted, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import NO_SUCH_SESSION, Endpoint, Session
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.expectations import refused

TRANSPORTS: Final = "MCP 2025-11-25 basic/transports"
SESSIONS: Final = f"{TRANSPORTS} §Session Management"
STATELESS: Final = "the server gives no session"
BITS: Final = 100
"""What the shape of an identifier should be able to hold; a UUID of version 4 has 122."""

ROUNDS: Final = 5
PATIENCE: Final = 1.0
"""Seconds after which one of two answers at once is taken for lost."""

_VISIBLE = re.compile(r"[\x21-\x7e]+")


@check(
    "E2-characters",
    "The session's identifier is visible ASCII",
    Level.FAIL,
    f"{SESSIONS}: only characters 0x21 to 0x7E",
    "Use letters and digits, such as a UUID or a JWT.",
    depends=("D1-legacy",),
)
async def characters(endpoint: Endpoint) -> Finding:
    """As it stands in the header."""
    session = await endpoint.session()
    if not session.id:
        return skipped(STATELESS)
    return passed() if _VISIBLE.fullmatch(session.id) else failed("it has others", session.shake)


@check(
    "E2-guessable",
    "The session's identifier cannot be guessed",
    Level.WARN,
    f"{SESSIONS}: SHOULD be globally unique and cryptographically secure; CVE-2025-6515",
    "Use 128 random bits. And let the bearer, never the session, say who somebody is.",
    depends=("D1-legacy", "E2-characters"),
)
async def guessable(endpoint: Endpoint) -> Finding:
    """Compares two identifiers, and counts what those characters that differ can hold."""
    first, second = await endpoint.session(), await endpoint.once("second session", endpoint.shake)
    if not first.id:
        return skipped(STATELESS)
    if first.id == second.id:
        return warned("two sessions have the same identifier", second.shake)
    alphabet = 16 if re.fullmatch(r"[0-9a-fA-F-]+", first.id + second.id) else 64
    pairs = zip(first.id, second.id, strict=False)
    differing = sum(one != other for one, other in pairs) + abs(len(first.id) - len(second.id))
    bits = differing * math.log2(alphabet) * alphabet / (alphabet - 1)
    if bits < BITS * 0.7:
        return warned(f"two of them differ in some {bits:.0f} bits", second.shake)
    return passed(f"{len(first.id)} characters")


@check(
    "E4-missing",
    "A request without its session is refused with 400",
    Level.WARN,
    f"{SESSIONS}: SHOULD respond with 400",
    "Answer 400 to requests other than initialize that name no session.",
    depends=("D1-legacy", "E3-tools"),
)
async def missing(endpoint: Endpoint) -> Finding:
    """Only where sessions are given."""
    session = await endpoint.session()
    if not session.id:
        return skipped(STATELESS)
    exchange = await endpoint.legacy(Session(session.version, "", session.shake), "tools/list", right=False)
    return refused(400, other=Level.WARN, accepted=Level.WARN)(exchange)


@check(
    "E4-unknown",
    "A session that is not there is refused with 404",
    Level.FAIL,
    f"{SESSIONS}: MUST respond with 404, whereupon the client begins a new one",
    "Answer 404, never 400: only then do clients recover after your restart.",
    depends=("D1-legacy", "E3-tools"),
)
async def unknown(endpoint: Endpoint) -> Finding:
    """An invented one."""
    session = await endpoint.session()
    if not session.id:
        return skipped(STATELESS)
    exchange = await endpoint.legacy(Session(session.version, NO_SUCH_SESSION, session.shake), "tools/list", right=False)
    return refused(404)(exchange)


@check(
    "E4-version",
    "A version that does not exist is refused with 400",
    Level.FAIL,
    f"{TRANSPORTS} §Protocol Version Header: MUST respond with 400",
    "Compare MCP-Protocol-Version with the versions you speak.",
    depends=("D1-legacy", "E3-tools"),
)
async def wrong_version(endpoint: Endpoint) -> Finding:
    """``1999-01-01`` in the header."""
    session = await endpoint.session()
    exchange = await endpoint.legacy(session, "tools/list", headers=[("MCP-Protocol-Version", "1999-01-01")], right=False)
    return refused(400)(exchange)


@check(
    "E5-get",
    "GET opens an event stream, or is not allowed",
    Level.FAIL,
    f"{TRANSPORTS} §Listening for Messages: MUST be text/event-stream or 405",
    "Answer 405 if you have nothing to say unasked.",
    depends=("D1-legacy",),
)
async def get(endpoint: Endpoint) -> Finding:
    """In the session."""
    session = await endpoint.session()
    headers = [*session.headers, ("Accept", "text/event-stream")]
    exchange = await endpoint.send(None, "GET", headers=headers, abandon=True, within=endpoint.patience(3.0))
    if exchange.status == 405:
        return passed("405", exchange)
    if exchange.status == 200 and exchange.header("content-type").startswith("text/event-stream"):
        return passed("an event stream", exchange)
    if exchange.timed_out:
        # Several servers send the head only with the first event.
        return noted("it is held open without an answer as yet", exchange)
    return failed(f"{exchange.told()} of {exchange.header('content-type')!r}", exchange)


@check(
    "E5-at-once",
    "Two requests at once are both answered",
    Level.FAIL,
    f"{TRANSPORTS} §Multiple Connections",
    "Answer each request on its own response, whatever else is under way.",
    depends=("D1-legacy", "E3-ping"),
)
async def at_once(endpoint: Endpoint) -> Finding:
    """Two pings."""
    session = await endpoint.session()
    both = await asyncio.gather(endpoint.legacy(session, "ping"), endpoint.legacy(session, "ping"))
    wrong = [one for one in both if one.result is None]
    return failed(wrong[0].told(), *both) if wrong else passed()


@check(
    "E6-delete",
    "DELETE ends the session, or is not allowed",
    Level.FAIL,
    f"{SESSIONS} 5",
    "End the session and answer 2xx, or 405 if clients may not.",
    depends=("D1-legacy",),
)
async def delete(endpoint: Endpoint) -> Finding:
    """A session of its own."""
    session, exchange = await _deleted(endpoint)
    if not session.id:
        return skipped(STATELESS, blocks=True)
    if exchange.status == 405:
        return Finding(Level.PASS, "405", (exchange,), blocks=True)
    return passed(exchange.told(), exchange) if 200 <= exchange.status < 300 else failed(exchange.told(), exchange)


async def _deleted(endpoint: Endpoint) -> tuple[Session, Exchange]:
    async def done() -> tuple[Session, Exchange]:
        session = await endpoint.shake()
        if not session.id:
            return session, session.shake
        if session in endpoint.sessions:
            endpoint.sessions.remove(session)
        return session, await endpoint.send(None, "DELETE", headers=session.headers)

    return await endpoint.once("deleted", done)


@check(
    "E6-ended",
    "A session that was ended is refused with 404",
    Level.FAIL,
    f"{SESSIONS} 3: after that it MUST respond with 404",
    "Forget the session when it is deleted.",
    depends=("E6-delete", "E4-unknown"),
)
async def ended(endpoint: Endpoint) -> Finding:
    """The one that was deleted."""
    session, _ = await _deleted(endpoint)
    return refused(404)(await endpoint.legacy(session, "ping", right=False))


@check(
    "E7-cancelled",
    "A cancellation is accepted",
    Level.FAIL,
    "MCP 2025-11-25 basic/utilities/cancellation: unknown requests SHOULD be ignored",
    "Answer 202 to notifications/cancelled, whatever it names.",
    depends=("D1-legacy",),
)
async def cancelled(endpoint: Endpoint) -> Finding:
    """Of a request that never was."""
    params = {"requestId": "mcpctl-test-no-such-request", "reason": "a test"}
    exchange = await endpoint.notify(await endpoint.session(), "notifications/cancelled", params)
    return passed("HTTP 202") if exchange.status == 202 else failed(f"{exchange.told()}; 202 is due", exchange)


@check(
    "E8-same-id",
    "Two requests with the same id are kept apart",
    Level.WARN,
    "MCP 2025-11-25 basic/index: ids MUST NOT be reused, but some clients do (python-sdk#3060)",
    "Key what is under way by something of your own, not by the client's id; or refuse the second.",
    depends=("E5-at-once", "E3-tools"),
)
async def same_id(endpoint: Endpoint) -> Finding:
    """A list and a ping at once, under one identifier, in a session of their own."""
    session = await endpoint.once("second session", endpoint.shake)
    for _ in range(ROUNDS):
        both = await asyncio.gather(
            endpoint.legacy(session, "tools/list", id=4711, right=False, within=endpoint.patience(PATIENCE)),
            endpoint.legacy(session, "ping", id=4711, right=False, within=endpoint.patience(PATIENCE)),
        )
        listed, pinged = both
        if any(not one.response for one in both):
            return warned("one of them is never answered", *both)
        if (listed.result is not None and "tools" not in listed.result) or "tools" in (pinged.result or {}):
            return warned("the answers are exchanged", *both)
    return passed()


@check(
    "E9-owner",
    "A session is of use only to whom it was given",
    Level.FAIL,
    "MCP security best practices §Session Hijacking; CVE-2026-33946",
    "Bind the session to the principal of the bearer, and answer 404 to another.",
    depends=("D1-legacy", "E3-ping"),
)
async def owner(endpoint: Endpoint) -> Finding:
    """Used with a second credential."""
    session = await endpoint.session()
    if not session.id:
        return skipped(STATELESS)
    if endpoint.options.second_token is None:
        return skipped("with --second-token-file it would be tried")
    return refused()(await endpoint.legacy(session, "ping", token=endpoint.options.second_token, right=False))


CHECKS = (characters, guessable)
CHECKS_AFTER_HANDSHAKE = (
    missing,
    unknown,
    wrong_version,
    get,
    at_once,
    delete,
    ended,
    cancelled,
    same_id,
    owner,
)

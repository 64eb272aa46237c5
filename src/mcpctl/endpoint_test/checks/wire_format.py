"""W and K4: what was watched in every answer, whichever check asked for it. These run last, wherever they are reported."""

from __future__ import annotations

from typing import Final

from mcpctl.endpoint_test.check import Check, Finding, Level, check, failed, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.official_schemas import MOST_NODES

SHAPES_MODERN: Final = (
    "M1-result-type",
    "M1-versions",
    "M1-capabilities",
    "M1-ttl",
    "M1-cache-scope",
    "M10-declared",
    "T1-tools",
    "T1-result-type",
    "T1-ttl",
    "T1-cache-scope",
    "T3-object",
    "T3-required",
    "T3-valid",
    "T4-valid",
    "T8-paging",
    "K2-call",
    "K6-input",
)
SHAPES_LEGACY: Final = (
    "E1-version",
    "E1-unknown-version",
    "E1-capabilities",
    "E1-server-info",
    "E3-ping",
    "E3-tools",
    "T3-object",
    "T3-required",
    "T3-valid",
    "T4-legacy",
)


def _watched(
    id: str,  # noqa: A002
    kind: str,
    title: str,
    clause: str,
    advice: str,
    depends: tuple[str, ...] = ("D1-era",),
    severity: Level = Level.FAIL,
) -> Check:
    async def run(endpoint: Endpoint) -> Finding:
        found = endpoint.observed.remarks[kind]
        if not found:
            return passed()
        more = f" (and {len(found) - 1} more)" if found[1:] else ""
        said = found[0][0] + more
        return failed(said, found[0][1]) if severity is Level.FAIL else warned(said, found[0][1])

    return Check(id, title, severity, clause, advice, run, depends, late=True)


def _schema(era: str, kind: str, revision: str, depends: tuple[str, ...]) -> Check:
    return _watched(
        f"W1-{era}-{kind}",
        f"{era} {kind}",
        f"Every {kind.removesuffix('s')} in the {era} era keeps to the official schema",
        f"schema/{revision}/schema.json",
        "Send what the schema of the revision has. Clients validate, and drop what does not keep to it.",
        (f"D1-{era}", *depends),
    )


UNASKED: Final = (
    _watched(
        "K4-requests",
        "requests",
        "The server sends no requests",
        "MCP 2026-07-28 basic/transports/streamable-http §Receiving Messages: MUST NOT",
        "Answer with input_required instead; nobody listens for requests in this era.",
        ("D1-modern",),
    ),
    _watched(
        "K4-logs",
        "logs",
        "No log messages come unless the request asked for them",
        "MCP 2026-07-28 changelog 5: MUST NOT without logLevel",
        "Send notifications/message only for requests whose _meta has a logLevel.",
        ("D1-modern",),
    ),
    _watched(
        "K4-late",
        "late",
        "The response is the last message",
        "MCP 2026-07-28 basic/transports/streamable-http §Sending Messages: the stream ends with the response",
        "Send notifications before the response, then end the stream.",
        ("D1-modern", "K2-call"),
    ),
)

SCHEMAS: Final = (
    _schema("modern", "results", "2026-07-28", SHAPES_MODERN),
    _schema("modern", "errors", "2026-07-28", ()),
    _schema("modern", "notifications", "2026-07-28", ("L1-acknowledged", "L1-id", "L1-subset", "K3-progress", "K4-logs")),
    _schema("legacy", "results", "2025-11-25", SHAPES_LEGACY),
    _schema("legacy", "errors", "2025-11-25", ()),
    _schema("legacy", "notifications", "2025-11-25", ("K3-progress",)),
)

FORM: Final = (
    _watched(
        "W2-ids",
        "ids",
        "Every result carries the id of its request",
        "JSON-RPC 2.0 section 5",
        "Copy the id as it came, a string as a string and a number as a number.",
    ),
    _watched(
        "W2-json-rpc",
        "jsonrpc",
        "Every answer is a message of JSON-RPC 2.0",
        "JSON-RPC 2.0 section 5",
        'Send "jsonrpc": "2.0", and either a result or an error.',
    ),
    _watched(
        "W3-media-type",
        "media",
        "Every answer is called JSON or an event stream",
        "MCP 2026-07-28 basic/transports/streamable-http §Sending Messages 5",
        "Set Content-Type to application/json or text/event-stream.",
    ),
    _watched(
        "W3-form",
        "form",
        "Every answer is JSON that all readers take alike",
        "RFC 8259 section 4; two readers that disagree are a hole (ToolHive #5850)",
        "Send each member once, no NaN, no byte order mark, and only fields of event streams.",
    ),
)


@check(
    "W1-all",
    "Every message could be validated",
    Level.WARN,
    "schema/*/schema.json",
    f"Nothing is wrong; messages of more than {MOST_NODES} values are not validated, nor those that take too long.",
    depends=("D1-era",),
    late=True,
)
async def validated(endpoint: Endpoint) -> Finding:
    """Says how many there were."""
    found = endpoint.observed.remarks["unvalidated"]
    if not endpoint.observed.answers:
        return skipped("there were no messages")
    return warned(found[0][0], found[0][1]) if found else passed(f"{endpoint.observed.answers} messages")


CHECKS = (*SCHEMAS, validated, *FORM)

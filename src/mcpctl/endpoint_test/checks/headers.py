"""M3: headers repeat what stands in the body, so that others may route by them; the two must agree."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

from mcpctl.endpoint_test.check import Check, Finding, Level, skipped
from mcpctl.endpoint_test.endpoint import NO_SUCH_TOOL, Endpoint
from mcpctl.endpoint_test.exchange import Header
from mcpctl.endpoint_test.expectations import Judge, accepted, refused
from mcpctl.endpoint_test.official_schemas import LEGACY, MODERN

CLAUSE: Final = "MCP 2026-07-28 basic/transports/streamable-http §Server Validation"
MISMATCH: Final = -32020
ADVICE: Final = (
    f"Answer 400 with error {MISMATCH} unless each header is there once and says what the body says. Whoever filters by header "
    "in front of you is deceived otherwise."
)
TAKE: Final = "Take header names in any case, values without the blanks around them, and decode =?base64?…?= before comparing."


def _header(
    id: str,  # noqa: A002
    title: str,
    judge: Judge,
    *,
    call: bool = False,
    headers: Sequence[Header] = (),
    also: Sequence[Header] = (),
    without: Sequence[str] = (),
    advice: str = ADVICE,
    where_both: Judge | None = None,
) -> Check:
    async def run(endpoint: Endpoint) -> Finding:
        if where_both is not None and await endpoint.speaks_legacy():
            return where_both(await endpoint.modern("tools/list", headers=headers, without=without, right=False))
        how: dict[str, Any] = {"headers": headers, "also": also, "without": without, "right": False}
        if not call:
            return judge(await endpoint.modern("tools/list", **how))
        if "tools" not in await endpoint.capabilities():
            return skipped("there are no tools")
        return judge(await endpoint.modern("tools/call", {"name": NO_SUCH_TOOL, "arguments": {}}, **how))

    return Check(id, title, Level.FAIL, CLAUSE, advice, run, ("D1-modern",))


_REFUSED = refused(400, codes=(MISMATCH,))
# Where both eras are spoken such a request may be taken for one of the other era, and be served or refused as that.
_EITHER_ERA = refused(400, codes=(MISMATCH,), other=Level.WARN, accepted=Level.WARN)
_TAKEN = accepted(never=(MISMATCH, -32600, -32700), why="the header says the same as the body")
_ENCODED = f"=?base64?{base64.b64encode(NO_SUCH_TOOL.encode()).decode()}?="

CHECKS = (
    _header(
        "M3-version-differs",
        "A version in the header that differs from the body's is refused",
        _REFUSED,
        headers=[("MCP-Protocol-Version", LEGACY)],
        where_both=_EITHER_ERA,
    ),
    _header(
        "M3-version-missing",
        "A missing MCP-Protocol-Version is refused",
        _REFUSED,
        without=["MCP-Protocol-Version"],
        where_both=_EITHER_ERA,
    ),
    _header("M3-method-missing", "A missing Mcp-Method is refused", _REFUSED, without=["Mcp-Method"]),
    _header("M3-method-wrong", "An Mcp-Method that is not the body's is refused", _REFUSED, headers=[("Mcp-Method", "ping")]),
    _header("M3-name-missing", "A missing Mcp-Name is refused", _REFUSED, call=True, without=["Mcp-Name"]),
    _header(
        "M3-name-wrong",
        "An Mcp-Name that is not the body's is refused",
        _REFUSED,
        call=True,
        headers=[("Mcp-Name", "mcpctl-test-another-tool")],
    ),
    _header(
        "M3-name-case",
        "An Mcp-Name that differs in case is refused",
        _REFUSED,
        call=True,
        headers=[("Mcp-Name", NO_SUCH_TOOL.upper())],
    ),
    _header(
        "M3-name-base64",
        "An Mcp-Name in base64 is understood",
        _TAKEN,
        call=True,
        headers=[("Mcp-Name", _ENCODED)],
        advice=TAKE,
    ),
    _header(
        "M3-whitespace",
        "Blanks around a header's value do not matter",
        accepted(never=(MISMATCH, -32600, -32700), why="RFC 9110 section 5.5 leaves these blanks out", level=Level.WARN),
        headers=[("Mcp-Method", " tools/list  ")],
        advice=TAKE,
    ),
    _header(
        "M3-header-case",
        "The case of a header's name does not matter",
        _TAKEN,
        headers=[("mcp-protocol-version", MODERN), ("MCP-METHOD", "tools/list")],
        advice=TAKE,
    ),
    _header(
        "M3-twice",
        "A header that is there twice, and differs, is refused",
        _REFUSED,
        also=[("Mcp-Method", "ping")],
    ),
)

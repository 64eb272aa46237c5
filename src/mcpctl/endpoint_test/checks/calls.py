"""K: calls. Nothing is called but what ``--call`` names, once, and a tool that does not exist.

``K5`` sends two more calls where an argument is repeated in a header; both must be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcpctl.endpoint_test.check import Check, Finding, Level, check, failed, noted, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import NO_SUCH_TOOL, Endpoint
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.expectations import refused
from mcpctl.endpoint_test.judge import Unjudged
from mcpctl.endpoint_test.lists import tool_called
from mcpctl.endpoint_test.param_headers import headers_for

TOOLS: Final = "MCP 2026-07-28 server/tools"
NOT_NAMED: Final = "no tool may be called; name one with --call NAME=JSON"
PROGRESS: Final = "mcpctl-progress"
MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021


async def called(
    endpoint: Endpoint, name: str, arguments: Mapping[str, Any], *, progress: bool = False, token: str | None = None
) -> Exchange:
    """A tool's answer, asked in the newest era spoken."""
    params: dict[str, Any] = {"name": name, "arguments": arguments}
    how: dict[str, Any] = {"linger": 0.2 if progress else 0.0, **({"token": token} if token else {})}
    if await endpoint.speaks_modern():
        headers = headers_for((await tool_called(endpoint, name)).get("inputSchema"), arguments)
        return await endpoint.modern(
            "tools/call", params, meta={"progressToken": PROGRESS} if progress else None, headers=headers, **how
        )
    if progress:
        params["_meta"] = {"progressToken": PROGRESS}
    return await endpoint.legacy(await endpoint.session(), "tools/call", params, **how)


async def named_calls(endpoint: Endpoint) -> list[tuple[str, Exchange]]:
    """The one call of each tool that ``--call`` names, which asks for progress; all checks look at it."""

    async def made() -> list[tuple[str, Exchange]]:
        calls = endpoint.options.calls.items()
        return [(name, await called(endpoint, name, arguments, progress=True)) for name, arguments in calls]

    return await endpoint.once("calls", made)


@check(
    "K1-unknown-tool",
    "A tool that does not exist is refused as a protocol error",
    Level.FAIL,
    f"{TOOLS} §Error Handling: -32602",
    "Answer with error -32602. With isError a model believes that the tool is there and has failed.",
    depends=("T1-tools", "D1-modern"),
)
async def unknown_tool(endpoint: Endpoint) -> Finding:
    """A result with ``isError`` is a warning."""
    exchange = await endpoint.modern("tools/call", {"name": NO_SUCH_TOOL, "arguments": {}}, right=False)
    if exchange.code == -32602:
        return passed(exchange.told(), exchange)
    if exchange.result is not None and exchange.result.get("isError") is True:
        return warned("a result with isError; error -32602 is due", exchange)
    return failed(f"{exchange.told()}; error -32602 is due", exchange)


@check(
    "K2-call",
    "The tools named can be called",
    Level.FAIL,
    f"{TOOLS} §Calling Tools",
    "Look at what the server logged about this call.",
    depends=("T1-tools",),
)
async def call(endpoint: Endpoint) -> Finding:
    """The result has an array ``content``; whether it is an error of the tool is told."""
    if not endpoint.options.calls:
        return skipped(NOT_NAMED)
    told = []
    for name, exchange in await named_calls(endpoint):
        result = exchange.result
        if result is None:
            return failed(f"{name}: {exchange.told()}", exchange)
        if result.get("resultType") == "input_required":
            told.append(f"{name} asks for input")
        elif not isinstance(result.get("content"), list):
            return failed(f"{name}: content is {result.get('content')!r:.60}, not an array", exchange)
        elif result.get("isError"):
            return warned(f"{name}: the tool says that it has failed", exchange)
        else:
            told.append(f"{name}: {exchange.seconds * 1000:.0f} ms")
    return passed(", ".join(told))


@check(
    "K2-structured",
    "Structured results keep to the outputSchema",
    Level.FAIL,
    f"{TOOLS} §Output Schema: servers MUST provide structured results that conform",
    "Send structuredContent as the outputSchema has it. Clients refuse the result otherwise.",
    depends=("K2-call", "T4-valid"),
)
async def structured(endpoint: Endpoint) -> Finding:
    """Patterns are not matched; nothing is fetched."""
    if not endpoint.options.calls:
        return skipped(NOT_NAMED)
    looked_at = 0
    for name, exchange in await named_calls(endpoint):
        schema, result = (await tool_called(endpoint, name)).get("outputSchema"), exchange.result or {}
        if not isinstance(schema, dict) or result.get("isError") or "content" not in result:
            continue
        looked_at += 1
        if "structuredContent" not in result:
            return failed(f"{name} has an outputSchema and sends no structuredContent", exchange)
        try:
            wrong = endpoint.judge.wrong_value(schema, result["structuredContent"])
        except Unjudged as error:
            return warned(f"{name}: it could not be validated: {error}", exchange)
        if wrong:
            return failed(f"{name}: {wrong}", exchange)
    return passed(f"{looked_at} looked at") if looked_at else skipped("no tool that was called has an outputSchema")


def _progress(exchange: Exchange) -> list[dict[str, Any]]:
    found = [one.get("params") for one in exchange.before if one["method"] == "notifications/progress"]
    return [one for one in found if isinstance(one, dict)]


@check(
    "K3-progress",
    "Progress is reported with the token given, and grows",
    Level.FAIL,
    "MCP 2026-07-28 basic/utilities/progress",
    "Copy the progressToken of the request, and let progress grow with each notification.",
    depends=("K2-call",),
)
async def progress(endpoint: Endpoint) -> Finding:
    """Looks at the one call of each tool, which has a token."""
    if not endpoint.options.calls:
        return skipped(NOT_NAMED)
    count = 0
    for name, exchange in await named_calls(endpoint):
        last: float = float("-inf")
        for one in _progress(exchange):
            count += 1
            value = one.get("progress")
            if one.get("progressToken") != PROGRESS:
                return failed(f"{name}: the token is {one.get('progressToken')!r:.60}, not the one given", exchange)
            if not isinstance(value, int | float) or value <= last:
                return failed(f"{name}: {value!r:.40} follows {last}", exchange)
            last = value
    return passed(f"{count} notifications") if count else noted("none is reported")


@check(
    "K3-unasked",
    "Without a token no progress is reported",
    Level.FAIL,
    "MCP 2026-07-28 basic/utilities/progress: tokens come from the request",
    "Send progress only for requests whose _meta has a progressToken.",
    depends=("K2-call",),
    opt_in=True,
)
async def unasked_progress(endpoint: Endpoint) -> Finding:
    """Calls each tool once more, without one."""
    if not endpoint.options.calls:
        return skipped(NOT_NAMED)
    for name, arguments in endpoint.options.calls.items():
        exchange = await called(endpoint, name, arguments)
        if _progress(exchange):
            return failed(f"{name} reports progress nobody asked for", exchange)
    return passed()


def _param_check(id: str, title: str, values: tuple[str, ...]) -> Check:  # noqa: A002
    async def run(endpoint: Endpoint) -> Finding:
        for name, arguments in endpoint.options.calls.items():
            own = headers_for((await tool_called(endpoint, name)).get("inputSchema"), arguments)
            if own:
                wrong = [(header, value) for header, _ in own for value in values]
                exchange = await endpoint.modern(
                    "tools/call", {"name": name, "arguments": arguments}, headers=wrong, right=False
                )
                return refused(400, codes=(MISMATCH,))(exchange)
        return skipped("no tool that may be called has an argument that is repeated in a header")

    return check(
        id,
        title,
        Level.FAIL,
        "MCP 2026-07-28 basic/transports/streamable-http §Schema Extension",
        f"Compare every annotated argument with its header, and answer 400 with error {MISMATCH}.",
        depends=("K2-call", "D1-modern", "T5-headers"),
    )(run)


@check(
    "K6-input",
    "A tool asks only for input that the client can give",
    Level.FAIL,
    "MCP 2026-07-28 basic/patterns/mrtr: servers MUST NOT ask for what the client did not declare",
    f"Answer with error {MISSING_CAPABILITY} when the tool needs something the client did not declare.",
    depends=("K2-call", "D1-modern"),
)
async def asks_for_input(endpoint: Endpoint) -> Finding:
    """This client declares nothing, so there is nothing it may be asked for."""
    for name, exchange in await named_calls(endpoint):
        result = exchange.result or {}
        if result.get("resultType") != "input_required":
            continue
        if result.get("inputRequests"):
            return failed(f"{name} asks for input although no capability was declared", exchange)
        if not isinstance(result.get("requestState"), str):
            return failed(f"{name}: the result has neither inputRequests nor requestState", exchange)
    return passed() if endpoint.options.calls else skipped(NOT_NAMED)


@check(
    "K7-disconnect",
    "A client that hangs up does no harm",
    Level.FAIL,
    "MCP 2026-07-28 basic/patterns/cancellation",
    "Let a closed connection end its own request and nothing else.",
    depends=("T1-tools",),
)
async def disconnect(endpoint: Endpoint) -> Finding:
    """Hangs up on a list, and lists again."""
    await endpoint.ask("tools/list", abandon=True, right=False)
    exchange = await endpoint.ask("tools/list")
    return passed() if exchange.response else failed(f"afterwards: {exchange.told()}", exchange)


param_missing = _param_check("K5-missing", "A call without the header of an annotated argument is refused", ())
param_wrong = _param_check("K5-wrong", "A call whose header differs from the argument is refused", ("mcpctl-something-else",))

CHECKS = (
    unknown_tool,
    call,
    structured,
    progress,
    unasked_progress,
    param_missing,
    param_wrong,
    asks_for_input,
    disconnect,
)

"""G: what a gateway of ours makes of rights. Only with ``--project``, by tokens that were made for it."""

from __future__ import annotations

import re
from typing import Any, Final

from mcpctl.endpoint_test.check import Finding, Level, check, failed, noted, passed, skipped
from mcpctl.endpoint_test.checks.calls import called, named_calls
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.lists import follow, tools
from mcpctl.endpoint_test.options import Grants

NOT_OURS: Final = "only with --project"
INVALID_PARAMS: Final = -32602


def _grants(endpoint: Endpoint) -> Grants | None:
    return endpoint.options.grants


@check(
    "G1-may",
    "What is listed may be called, by the control plane's word",
    Level.FAIL,
    "SPEC section 8: tools/list shows exactly what tools/call would allow",
    "The gateway and the control plane disagree. Is the gateway connected to this very control plane?",
    depends=("T1-tools",),
)
async def listed_is_allowed(endpoint: Endpoint) -> Finding:
    """Asks the control plane about every tool that is listed, as the tested token."""
    grants = _grants(endpoint)
    if grants is None:
        return skipped(NOT_OURS)
    if grants.may is None:
        return skipped("the control plane could not be asked")
    names = [str(tool.get("name")) for tool in (await tools(endpoint)).objects]
    wrong = [name for name in names if not grants.may(name)]
    if wrong:
        return failed(f"{wrong[0]!r:.100} is listed, and the control plane says no", (await tools(endpoint)).pages[0])
    return passed(f"{len(names)} tools")


@check(
    "G1-call",
    "What is listed can be called",
    Level.FAIL,
    "SPEC section 8: tools/list shows exactly what tools/call would allow",
    "Look at 'mcpctl get audit' for the rule that refused the call.",
    depends=("T1-tools", "G1-may"),
)
async def listed_can_be_called(endpoint: Endpoint) -> Finding:
    """Those that ``--call`` names, and those that say they read only and need no arguments."""
    if _grants(endpoint) is None:
        return skipped(NOT_OURS)
    made = dict(await named_calls(endpoint))
    harmless = [name for tool in (await tools(endpoint)).objects if (name := _harmless(tool)) and name not in made]
    if not made and not harmless:
        return skipped("no tool says that it reads only and needs no arguments; name one with --call")
    for name in (*made, *harmless):
        exchange = made.get(name) or await called(endpoint, name, {})
        if exchange.result is None:
            return failed(f"{name}: {exchange.told()}", exchange)
    return passed(", ".join((*made, *harmless)))


def _harmless(tool: dict[str, Any]) -> str:
    schema, annotations = tool.get("inputSchema"), tool.get("annotations")
    reads = isinstance(annotations, dict) and annotations.get("readOnlyHint") is True
    return str(tool["name"]) if reads and isinstance(schema, dict) and not schema.get("required") else ""


@check(
    "G2-hidden",
    "A token that holds nothing sees nothing",
    Level.FAIL,
    "SPEC section 4",
    "Something grants tools to every token of the project; ask 'mcpctl auth explain' about one.",
    depends=("T1-tools",),
)
async def nothing_is_seen(endpoint: Endpoint) -> Finding:
    """Lists the tools with a token without bindings."""
    grants = _grants(endpoint)
    if grants is None or grants.powerless is None:
        return skipped(NOT_OURS)
    found = await follow(lambda params: endpoint.ask("tools/list", params, token=grants.powerless), "tools", keep=False)
    if found.wrong:
        return failed(found.wrong, found.pages[-1])
    return failed(f"it sees {found.count} tools", found.pages[0]) if found.count else passed()


@check(
    "G2-refused",
    "What is not listed is refused, exactly as if it did not exist",
    Level.FAIL,
    "SPEC section 8: a refused call answers exactly like an unknown tool",
    "A refusal that differs tells strangers which tools there are.",
    depends=("G2-hidden",),
)
async def hidden_is_refused(endpoint: Endpoint) -> Finding:
    """Calls, with the token that holds nothing, a tool that would do no harm if the gateway let it through."""
    grants = _grants(endpoint)
    if grants is None or grants.powerless is None:
        return skipped(NOT_OURS)
    # A tool with required arguments fails without them; one that reads only does nothing.
    names = [_harmless(tool) or _needing(tool) for tool in (await tools(endpoint)).objects]
    name = next((one for one in names if one), "")
    if not name:
        return skipped("no tool is surely harmless to call")
    refused = await called(endpoint, name, {}, token=grants.powerless)
    missing = await called(endpoint, f"{name}-mcpctl-test", {}, token=grants.powerless)
    if refused.code != INVALID_PARAMS:
        return failed(f"{name}: {refused.told()}; error {INVALID_PARAMS} is due", refused)
    if _without(refused, name) != _without(missing, f"{name}-mcpctl-test"):
        return failed("it is refused in other words than a tool that does not exist", refused, missing)
    return passed(name, refused)


def _needing(tool: dict[str, Any]) -> str:
    schema = tool.get("inputSchema")
    return str(tool["name"]) if isinstance(schema, dict) and schema.get("required") else ""


def _without(exchange: Exchange, name: str) -> tuple[int, str]:
    # As a word of its own: a tool may be called 'now', which is also in 'unknown'.
    return exchange.status, re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "NAME", str(exchange.error))


@check(
    "G3-foreign",
    "A token of another project is refused",
    Level.FAIL,
    "SPEC section 4: a token is for one project",
    "The endpoint of a project must compare the token's project with its own.",
    depends=("D1-era",),
)
async def foreign_is_refused(endpoint: Endpoint) -> Finding:
    """At this project's own endpoint."""
    grants = _grants(endpoint)
    if grants is None:
        return skipped(NOT_OURS)
    if grants.foreign is None:
        return noted("there is no other project in which you may make a token")
    exchange = await endpoint.modern("tools/list", token=grants.foreign, right=False)
    refused = exchange.status in (401, 403, 404)
    return passed(f"HTTP {exchange.status}", exchange) if refused else failed(exchange.told(), exchange)


CHECKS = (listed_is_allowed, listed_can_be_called, nothing_is_seen, hidden_is_refused, foreign_is_refused)

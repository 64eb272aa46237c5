"""What servers ask of clients through the gateway, in each pair of eras, and what they report while a call runs."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPDeprecationWarning
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

from mcplocal.sealed_state import BrokenSeal, StateSeal
from tests.gateway import asking_server
from tests.gateway.conftest import META, Endpoint, Project, World
from tests.gateway.upstreams import served

ERAS = ["legacy", "auto"]
CAPABLE = {**META, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}


async def elicited(_context: Any, _params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


async def sampled(_context: Any, _params: Any) -> CreateMessageResult:
    return CreateMessageResult(role="assistant", content=TextContent(text="hello"), model="m")


async def rooted(_context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///home/ada")])


def asking(world: World, era: str) -> Project:
    """A project with one server that asks, in connections of each client's own."""
    url = world.stack.enter_context(served(asking_server.build_app(era)))
    return world.project(up={"transport": "streamable-http", "url": f"{url}/mcp", "stateful": True})


def call(endpoint: Endpoint, mode: str, tool: str, level: str | None = None, **client: Any) -> str:
    """What an SDK client of that era is answered, in words."""

    async def run() -> str:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {endpoint.bearer}"}, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(endpoint.url, http_client=http), mode=mode, **client) as asked,
        ):
            if level is not None and mode == "legacy":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", MCPDeprecationWarning)
                    await asked.set_logging_level(level)  # type: ignore[arg-type]
            answer = await asked.call_tool(tool)
            (content,) = answer.content
            assert isinstance(content, TextContent)
            return content.text

    return asyncio.run(run())


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("elicit", {"elicitation_callback": elicited}, "Ada"),
    ("sample", {"sampling_callback": sampled}, "hello"),
    ("roots", {"list_roots_callback": rooted}, "file:///home/ada"),
]
PAIRS = [
    (client, server, *case)
    for client, server in (("legacy", "legacy"), ("legacy", "modern"), ("auto", "modern"))
    for case in CASES
    if (server, case[0]) != ("legacy", "roots")  # the SDK's server asks for roots outside of the call, where nobody listens
]


@pytest.mark.parametrize(("client", "server", "tool", "callbacks", "told"), PAIRS, ids=["-".join(one[:3]) for one in PAIRS])
def test_what_a_tool_asks_reaches_its_client_and_the_answer_comes_back(
    world: World, client: str, server: str, tool: str, callbacks: dict[str, Any], told: str
) -> None:
    project = asking(world, server)
    endpoint = world.gateway().as_(project.token()["token"])
    assert told in call(endpoint, client, f"{project.servers[0]}__{tool}", **callbacks)


@pytest.mark.parametrize("client", ERAS)
def test_several_questions_at_once_are_all_answered(world: World, client: str) -> None:
    project = asking(world, "modern")
    endpoint = world.gateway().as_(project.token()["token"])
    everything: dict[str, Any] = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": rooted}
    text = call(endpoint, client, f"{project.servers[0]}__all_at_once", **everything)
    assert all(part in text for part in ("Ada", "hello", "file:///home/ada"))


def test_a_client_that_never_said_it_can_answer_is_not_asked(world: World) -> None:
    project = asking(world, "modern")
    endpoint = world.gateway().as_(project.token()["token"])
    text = call(endpoint, "legacy", f"{project.servers[0]}__elicit")
    assert "It asks for input that your client did not say it can give." == text


@pytest.mark.requirement("R29")
def test_a_state_is_good_for_its_own_caller_and_tool_alone(world: World) -> None:
    project = asking(world, "modern")
    endpoint = world.gateway().as_(project.token()["token"])
    other = endpoint.as_(project.token()["token"])
    elicit, sample = (f"{project.servers[0]}__{tool}" for tool in ("elicit", "sample"))
    asked = endpoint.modern("tools/call", {"name": elicit, "arguments": {}, "_meta": CAPABLE}).json()["result"]
    assert "input_required" == asked["resultType"]
    assert "elicitation/create" == asked["inputRequests"]["elicit"]["method"]
    again = {
        "arguments": {},
        "_meta": CAPABLE,
        "inputResponses": {"elicit": {"action": "accept", "content": {"name": "Ada"}}},
        "requestState": asked["requestState"],
    }
    for whose, name in ((other, elicit), (endpoint, sample)):
        refused = whose.modern("tools/call", {"name": name, **again})
        assert (400, -32602) == (refused.status_code, refused.json()["error"]["code"])
    for state in (asked["requestState"] + "x", asking_server.STATE, "", 7):
        refused = endpoint.modern("tools/call", {"name": elicit, **again, "requestState": state})
        assert (400, -32602) == (refused.status_code, refused.json()["error"]["code"]), state
    told = endpoint.modern("tools/call", {"name": elicit, **again}).json()["result"]
    assert "Ada" in told["content"][0]["text"]


@pytest.mark.requirement("R29")
def test_a_seal_is_broken_by_any_change_and_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seal = StateSeal(lambda: "credential")
    for state in (None, "", "a.b.c", "é", "\ud800"):
        sealed = seal.seal(state, ("alice", "tool"))
        assert state == seal.open(sealed, ("alice", "tool"))
        for bound_to in (("alice", "tools"), ("alicet", "ool"), ("alice",), ("alice", "tool", "")):
            with pytest.raises(BrokenSeal):
                seal.open(sealed, bound_to)
        for place in range(len(sealed)):
            with pytest.raises(BrokenSeal):
                seal.open(sealed[:place] + "~" + sealed[place + 1 :], ("alice", "tool"))
        with pytest.raises(BrokenSeal):
            StateSeal(lambda: "another").open(sealed, ("alice", "tool"))
    with pytest.raises(BrokenSeal):
        seal.open("\ud800", ("alice",))
    sealed = seal.seal("x", ("alice",))
    monkeypatch.setattr("mcplocal.sealed_state.time", lambda: 1e12)
    with pytest.raises(BrokenSeal, match="too old"):
        seal.open(sealed, ("alice",))


@pytest.mark.parametrize(
    ("client", "level", "heard"),
    [
        ("legacy", None, ["debug", "warning"]),
        ("legacy", "warning", ["warning"]),
        ("auto", "debug", ["debug", "warning"]),
        ("auto", "error", []),
    ],
)
def test_a_client_hears_what_a_tool_reports_from_the_severity_it_asked_for(
    world: World, client: str, level: str | None, heard: list[str]
) -> None:
    project = asking(world, "legacy" if client == "legacy" else "modern")
    endpoint = world.gateway().as_(project.token()["token"])
    messages: list[str] = []

    async def log(params: Any) -> None:
        messages.append(params.level)

    assert "logged" == call(endpoint, client, f"{project.servers[0]}__log", level, logging_callback=log, log_level=level)
    assert heard == messages

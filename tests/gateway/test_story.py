"""The first story: an agent with a token lists and calls tools of two real servers, in both eras, and no more than its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.gateway.conftest import Endpoint, World

ERAS = ["legacy", "2026-07-28", "auto"]
NOTES = ["python", "-m", "mcpctl.demo.notes_server"]


def with_sdk(endpoint: Endpoint, mode: str, use: Callable[[Client], Any]) -> Any:
    """What ``use`` makes of an SDK client in that era."""

    async def run() -> Any:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {endpoint.bearer}"}, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(endpoint.url, http_client=http), mode=mode) as client,
        ):
            return await use(client)

    return asyncio.run(run())


@pytest.mark.parametrize("mode", ERAS)
def test_an_sdk_client_lists_and_calls_tools_of_an_http_and_a_stdio_server(world: World, time_url: str, mode: str) -> None:
    project = world.project(time=time_url, notes=NOTES)
    clock, notes = project.servers
    endpoint = world.gateway().as_(project.token()["token"])

    async def use(client: Client) -> None:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        assert [f"{clock}__now", f"{clock}__convert", f"{clock}__difference", f"{notes}__add_note"] == listed[:4]
        told = await client.call_tool(
            f"{clock}__convert", {"time": "2026-07-28T12:00", "from_zone": "UTC", "to_zone": "Asia/Tokyo"}
        )
        assert told.structured_content is not None
        assert told.structured_content["iso"] == "2026-07-28T21:00:00+09:00"
        added = await client.call_tool(f"{notes}__add_note", {"title": "milk", "text": "two litres"})
        assert added.structured_content is not None
        assert added.structured_content["number"] == 1
        wrong = await client.call_tool(f"{clock}__now", {"zone": "Mars"})
        assert wrong.is_error

    with_sdk(endpoint, mode, use)


@pytest.mark.parametrize("mode", ERAS)
def test_a_token_bound_to_one_tool_sees_and_calls_exactly_that_one(world: World, time_url: str, mode: str) -> None:
    project = world.project(time=time_url, notes=NOTES)
    clock, notes = project.servers
    token = project.token(f"role:run,resource:servers,name:{clock}/now")
    endpoint = world.gateway().as_(token["token"])

    async def use(client: Client) -> None:
        assert [f"{clock}__now"] == [tool.name for tool in (await client.list_tools()).tools]
        assert not (await client.call_tool(f"{clock}__now", {})).is_error
        messages = []
        for name in (f"{clock}__convert", f"{notes}__add_note", f"{clock}__nothing", "nothing", f"{clock}/now", "now"):
            with pytest.raises(MCPError) as refused:
                await client.call_tool(name, {})
            assert refused.value.code == -32602
            messages.append(str(refused.value).replace(repr(name), "X"))
        assert len(set(messages)) == 1

    with_sdk(endpoint, mode, use)


@pytest.mark.requirement("R23")
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_revoked_token_is_refused_within_a_second(world: World, era: str) -> None:
    upstream = world.upstream(era=era)
    project = world.project(up=upstream)
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    name = f"{project.servers[0]}__echo"
    assert endpoint.call(name).status_code == 200
    project.revoke(token)
    revoked = time.monotonic()
    while endpoint.call(name).status_code != 401:
        assert time.monotonic() - revoked < 1.0
    calls = len(upstream.calls())
    assert endpoint.call(name).status_code == 401
    assert len(upstream.calls()) == calls


def test_a_binding_given_later_shows_up_and_one_taken_away_disappears(world: World) -> None:
    project = world.project(up=world.upstream(tools=[{"name": n, "inputSchema": {"type": "object"}} for n in ("a", "b")]))
    server = project.servers[0]
    user = world.control.user("carol-" + project.name, f"role:view,resource:projects,name:{project.name}")
    endpoint = world.gateway().as_(user.bearer).at(f"/projects/{project.name}/mcp")
    assert endpoint.tools() == []
    rights = {
        "name": f"more-{project.name}",
        "subjects": [f"User:carol-{project.name}"],
        "roleBindings": [f"role:run,resource:servers,name:{server}/a"],
    }
    assert world.control.admin.post("/rbac", rights).status_code == 201
    until(lambda: endpoint.tools() == [f"{server}__a"])
    assert world.control.admin.delete(f"/rbac/more-{project.name}").status_code == 204
    until(lambda: endpoint.tools() == [])
    assert endpoint.call(f"{server}__a").json()["error"]["code"] == -32602


def until(condition: Callable[[], bool], within: float = 1.0) -> None:
    """Wait for something that has to happen within a second."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within, "it did not happen in time"
        time.sleep(0.01)

"""Subscriptions with the official SDK at both ends, in each cell of the matrix of eras."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPDeprecationWarning
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import ResourceUpdatedNotification

from tests.gateway import watched_server
from tests.gateway.conftest import Endpoint, World
from tests.gateway.test_upstreams import ERAS
from tests.gateway.upstreams import served

ONE, OTHER = watched_server.URIS


@pytest.mark.parametrize("client_era", ERAS)
@pytest.mark.parametrize("server_era", ERAS)
def test_an_sdk_client_hears_an_sdk_server_through_the_gateway(world: World, client_era: str, server_era: str) -> None:
    address = world.stack.enter_context(served(watched_server.build_app(server_era)))
    project = world.project(up=f"{address}/mcp")
    endpoint = world.gateway().as_(project.token()["token"])
    hears = _hears_modern if client_era == "modern" else _hears_legacy
    assert ([ONE], "touched") == asyncio.run(asyncio.wait_for(hears(endpoint, f"{project.servers[0]}__touch"), 20))


def _http(endpoint: Endpoint) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(headers={"Authorization": f"Bearer {endpoint.bearer}"}, timeout=20, trust_env=False)


async def _hears_modern(endpoint: Endpoint, touch: str) -> tuple[list[str], str]:
    async with (
        _http(endpoint) as http,
        Client(streamable_http_client(endpoint.url, http_client=http)) as client,
        client.listen(resource_subscriptions=[ONE]) as heard,
    ):
        await client.call_tool(touch, {"uri": OTHER})
        answer = await client.call_tool(touch, {"uri": ONE})
        async for event in heard:
            assert isinstance(event, ResourceUpdated)
            return [event.uri], _text(answer)
    return [], ""


async def _hears_legacy(endpoint: Endpoint, touch: str) -> tuple[list[str], str]:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def take(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            told.put_nowait(message.params.uri)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        transport_of = streamable_http_client
        async with (
            _http(endpoint) as http,
            Client(transport_of(endpoint.url, http_client=http), mode="legacy", message_handler=take) as client,
        ):
            assert client.server_capabilities.resources is not None
            assert client.server_capabilities.resources.subscribe
            await client.subscribe_resource(ONE)
            await client.call_tool(touch, {"uri": OTHER})
            answer = await client.call_tool(touch, {"uri": ONE})
            heard = [await told.get()]
            await client.unsubscribe_resource(ONE)
            return heard, _text(answer)


def _text(answer: Any) -> str:
    return str(answer.content[0].text)

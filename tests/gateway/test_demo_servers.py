"""The shipped servers, each by itself, in both eras."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

MODES = ["auto", "legacy"]


def over_stdio(module: str, mode: str, use: Callable[[Client], Awaitable[None]], *arguments: str, **env: str) -> None:
    async def run() -> None:
        parameters = StdioServerParameters(command=sys.executable, args=["-m", module, *arguments], env=env)
        async with Client(stdio_client(parameters), mode=mode) as client:
            await use(client)

    asyncio.run(run())


@pytest.mark.parametrize("mode", MODES)
def test_the_notebook_keeps_finds_and_deletes_notes(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.json"

    async def first(client: Client) -> None:
        for title, text in (("Milk", "two litres, whole"), ("Bread", "whole grain")):
            await client.call_tool("add_note", {"title": title, "text": text})
        found = await client.call_tool("search_notes", {"query": "WHOLE grain"})
        assert found.structured_content is not None
        assert [2] == [note["number"] for note in found.structured_content["result"]]
        assert (await client.call_tool("get_note", {"number": 9})).is_error
        assert not (await client.call_tool("delete_note", {"number": 1})).is_error

    async def second(client: Client) -> None:
        listed = await client.call_tool("list_notes", {})
        assert listed.structured_content is not None
        assert ["Bread"] == [note["title"] for note in listed.structured_content["result"]]

    for use in (first, second):
        over_stdio("mcpctl.demo.notes_server", mode, use, NOTES_FILE=str(file))
    assert ["Bread"] == [note["title"] for note in json.loads(file.read_text())]


@pytest.mark.parametrize("mode", MODES)
def test_the_clock_converts_and_subtracts(mode: str, time_url: str) -> None:
    async def use(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"now", "convert", "difference"} == set(tools)
        assert all(tool.description and tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        new_year = {"start": "2026-12-31T23:59:30", "end": "2027-01-01T00:00:00", "zone": "Europe/Rome"}
        apart = await client.call_tool("difference", new_year)
        assert apart.structured_content == {"seconds": 30.0, "text": "30 seconds"}
        told = await client.call_tool(
            "convert", {"time": "2026-07-28T12:00", "from_zone": "America/New_York", "to_zone": "UTC"}
        )
        assert told.structured_content is not None
        assert told.structured_content["iso"] == "2026-07-28T16:00:00+00:00"
        assert (await client.call_tool("convert", {"time": "noon", "from_zone": "UTC", "to_zone": "UTC"})).is_error

    async def run() -> None:
        async with (
            httpx2.AsyncClient(timeout=30, trust_env=False) as http,
            Client(streamable_http_client(time_url, http_client=http), mode=mode) as client,
        ):
            await use(client)

    asyncio.run(run())


def test_the_clock_serves_where_it_is_told_to() -> None:
    command = [sys.executable, "-m", "mcpctl.demo.time_server", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        process.terminate()
        process.wait(10)


def test_the_clock_speaks_over_pipes_too() -> None:
    async def use(client: Client) -> None:
        assert not (await client.call_tool("now", {"zone": "UTC"})).is_error

    over_stdio("mcpctl.demo.time_server", "auto", use, "--stdio")

"""Streams held open to upstreams to hear that their lists change: only while somebody listens, and at nobody's cost."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from mcplocal.catalog import ServerSpec
from mcplocal.metrics import Metrics
from mcplocal.upstream.pool import Pool
from tests.gateway.conftest import Endpoint, World
from tests.gateway.speaking import CHILD, Speaking, speaking
from tests.gateway.test_legacy_wire import open_session
from tests.gateway.test_open_streams import listening, subscribed, told
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import ERAS, result
from tests.gateway.upstreams import prompt, tool

TOOLS_CHANGED = "notifications/tools/list_changed"
WANTED = {"toolsListChanged": True}


def listens(endpoint: Endpoint, era: str) -> AbstractContextManager[list[str]]:
    """The stream of a client of that era that listens for changes of its tools."""
    return subscribed(endpoint, WANTED) if era == "modern" else listening(endpoint, open_session(endpoint))


def change(upstream: Speaking) -> None:
    upstream.tools = [*upstream.tools, tool(f"new{len(upstream.tools)}")]
    upstream.say(TOOLS_CHANGED)


@pytest.mark.parametrize("upstream_era", ERAS)
def test_a_stream_is_held_open_while_anybody_listens_and_what_it_says_reaches_them(world: World, upstream_era: str) -> None:
    upstream = speaking(world, era=upstream_era)
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    assert 1 == len(endpoint.tools())
    assert "isError" not in result(endpoint.call(endpoint.tools()[0]))
    assert 0 == upstream.opened, "nobody listens"
    with listens(endpoint, "legacy") as one, listens(endpoint, "modern") as other:
        assert 1 == len(upstream.streams), "one for all"
        change(upstream)
        until(lambda: 1 == told(one) == told(other), 3)
        assert 2 == len(endpoint.tools())
    until(lambda: [] == upstream.streams, 3)
    assert 1 == upstream.opened


def test_over_pipes_the_later_era_is_listened_to_as_well(world: World) -> None:
    project = world.project(up={"transport": "stdio", "command": CHILD[0], "args": [CHILD[1], "modern"]})
    endpoint = world.gateway(stdio_allow=[[*CHILD, "modern"]]).as_(project.token()["token"])
    call = f"{project.servers[0]}__say"
    with subscribed(endpoint, {"resourcesListChanged": True}) as lines:
        result(endpoint.call(call, {"method": "more", "params": {}}))
        result(endpoint.call(call, {"method": "notifications/resources/list_changed", "params": {}}))
        until(lambda: sum("resources/list_changed" in line for line in lines) == 1, 4)
    assert ["file:///a", "file:///b", "file:///more"] == endpoint.resources()


def test_prompts_that_nobody_has_asked_for_are_told_of_to_who_wants_to_hear_it(world: World) -> None:
    upstream = speaking(world, prompts=[prompt("old")])
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    with subscribed(endpoint, {"promptsListChanged": True}) as lines:
        upstream.prompts = [prompt("new")]
        upstream.say("notifications/prompts/list_changed")
        until(lambda: sum("prompts/list_changed" in line for line in lines) == 1, 3)


@pytest.mark.parametrize(("status", "most"), [(405, 1), (400, 1), (404, 2), (503, 3), (409, 3)])
def test_a_server_that_gives_no_such_stream_is_asked_for_it_once_or_seldom(world: World, status: int, most: int) -> None:
    upstream = speaking(world, era="legacy", stream_status=status)
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    with listens(endpoint, "legacy"), listens(endpoint, "modern"):
        time.sleep(1.2)
        assert 1 <= sum(one.method == "GET" for one in upstream.seen) <= most
        assert "isError" not in result(endpoint.call(endpoint.tools()[0]))


def test_nothing_is_left_behind_when_nobody_listens_any_more(world: World) -> None:
    upstreams = [speaking(world, era=era) for era in ERAS]

    async def run() -> None:
        pool = Pool(world.settings(), lambda _, __: None, lambda _, __, ___: None, Metrics())
        specs = [ServerSpec(one.era, "streamable-http", one.url) for one in upstreams]  # type: ignore[attr-defined]
        for _ in range(3):
            hearings = [pool.hearing(spec) for spec in specs]
            wishes = [hearing.want("file:///a", nothing) for hearing in hearings]
            for hearing in hearings:
                hearing.want_lists(True)
            for wish in wishes:
                await wish.outcome.wait()
            for hearing, wish in zip(hearings, wishes, strict=True):
                hearing.want_lists(False)
                hearing.leave(wish, nothing)
            for _ in range(300):
                if any(hearing.is_wanted for hearing in hearings):
                    await asyncio.sleep(0.01)
            assert {asyncio.current_task()} == asyncio.all_tasks()
        hearings[0].want_lists(True)
        await hearings[0].begun.wait()
        await pool.close()
        assert {asyncio.current_task()} == asyncio.all_tasks()

    def nothing() -> None:
        return None

    asyncio.run(run())
    until(lambda: [] == upstreams[0].streams + upstreams[1].streams, 3)
    assert [[], []] == [one.subscribed() for one in upstreams]


def test_a_server_that_does_not_declare_it_is_not_listened_to(world: World) -> None:
    upstreams = [speaking(world, era=era, declares={"tools": {}}) for era in ERAS]
    endpoint = world.gateway().as_(world.project(one=upstreams[0], other=upstreams[1]).token()["token"])
    with listens(endpoint, "legacy"), listens(endpoint, "modern"):
        time.sleep(0.3)
        assert [0, 0] == [upstream.opened for upstream in upstreams]
        assert not any(one.method == "GET" for upstream in upstreams for one in upstream.seen)


@pytest.mark.parametrize("upstream_era", ERAS)
def test_after_a_break_the_list_is_asked_for_again(world: World, upstream_era: str) -> None:
    upstream = speaking(world, era=upstream_era)
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    with listens(endpoint, "legacy") as lines:
        upstream.tools = [tool("other")]
        upstream.cut(forget=True)
        until(lambda: 1 == told(lines) and 1 == len(upstream.streams), 6)


@contextmanager
def silent() -> Iterator[str]:
    """Something that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"


def test_servers_that_are_dead_slow_or_mad_cost_the_others_nothing(world: World) -> None:
    good, slow = speaking(world), speaking(world, era="legacy")
    mad = speaking(world, era="legacy")
    with silent() as nowhere:
        project = world.project(good=good, slow=slow, mad=mad, dead=nowhere, away="http://127.0.0.1:9/mcp")
        endpoint = world.gateway(list_timeout="300ms", start_timeout="1s").as_(project.token()["token"])
        assert 3 == len(endpoint.tools())
        slow.delay = 5
        begun = time.monotonic()
        with listens(endpoint, "legacy") as one, listens(endpoint, "modern") as other:
            assert time.monotonic() - begun < 5
            for stream in mad.streams:
                for line in ("this is no message", "[]", '{"jsonrpc":"2.0","method":4}', "x" * (2 << 20)):
                    stream.send(line)
            change(good)
            until(lambda: 1 <= min(told(one), told(other)), 4)
            begun = time.monotonic()
            assert "isError" not in result(endpoint.call(f"{project.servers[0]}__echo"))
            assert time.monotonic() - begun < 1


def test_a_flood_of_changes_is_asked_about_once_a_second(world: World) -> None:
    upstream = speaking(world)
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    with listens(endpoint, "modern") as lines:
        until(lambda: bool(upstream.streams), 10)
        before = len(upstream.calls("tools/list"))
        for _ in range(500):
            upstream.say(TOOLS_CHANGED)
        until(lambda: len(upstream.calls("tools/list")) > before, 5)
        time.sleep(1)
        assert len(upstream.calls("tools/list")) - before <= 4
        assert 0 == told(lines), "it is the same list"


def test_a_server_may_ask_whether_it_is_heard_and_nothing_else(world: World) -> None:
    upstream = speaking(world, era="legacy")
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    with listens(endpoint, "legacy"):
        for identity, method in ((1, "ping"), (2, "sampling/createMessage"), (3, "roots/list")):
            upstream.streams[0].send(f'{{"jsonrpc":"2.0","id":{identity},"method":"{method}","params":{{}}}}')

        def answers() -> list[dict[str, Any]]:
            return [one.body for one in upstream.seen if "id" in one.body and "method" not in one.body]

        until(lambda: 3 == len(answers()), 3)
        assert [{}, -32601, -32601] == [one.get("result", one.get("error", {}).get("code")) for one in answers()]

"""Lists of prompts and resources: asked for by who wants them, of who has them, page by page, entry by entry."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mcplocal.catalog import ServerSpec
from mcplocal.control.journal import Journal
from mcplocal.control.report import Instances
from mcplocal.listings import Listings
from mcplocal.metrics import Metrics
from mcplocal.offers.kinds import TOOL
from mcplocal.settings import load
from mcplocal.upstream.pool import Pool
from mcplocal.wire import LIST_CHANGED
from tests.gateway.conftest import World
from tests.gateway.test_prompts_and_resources import ERAS, LISTS, WHOLE
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import result, shown_instance
from tests.gateway.upstreams import prompt, resource, template, tool


def test_who_uses_tools_alone_makes_no_server_list_anything_else(world: World) -> None:
    upstream = world.upstream(**WHOLE)
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    endpoint.tools()
    endpoint.call(f"{project.servers[0]}__echo")
    assert ["server/discover", "tools/list", "tools/call"] == upstream.methods()


@pytest.mark.parametrize("era", ERAS)
def test_a_server_is_asked_only_for_what_it_says_it_has(world: World, era: str) -> None:
    bare, talking = world.upstream(era=era), world.upstream(era=era, prompts=[prompt("greet")])
    project = world.project(bare=bare, talking=talking)
    endpoint = world.gateway().as_(project.token()["token"])
    assert [f"{project.servers[1]}__greet"] == endpoint.prompts()
    assert [] == endpoint.resources()
    assert [] == endpoint.templates()
    asking = {"prompts/list", "resources/list", "resources/templates/list"}
    assert (set(), {"prompts/list"}) == (asking & set(bare.methods()), asking & set(talking.methods()))
    about = {"ref": {"type": "ref/prompt", "name": f"{project.servers[1]}__greet"}, "argument": {"name": "a", "value": ""}}
    assert {"values": []} == result(endpoint.modern("completion/complete", about))["completion"]
    assert [] == talking.calls("completion/complete")


@pytest.mark.requirement("R14")
def test_a_dead_server_stalls_the_first_list_and_no_other_and_what_is_the_others_is_used_meanwhile(world: World) -> None:
    dead, good = world.upstream(delay=60, **WHOLE), world.upstream(**WHOLE)
    project = world.project(dead=dead, good=good)
    endpoint = world.gateway(list_timeout="1s").as_(project.token()["token"])
    begun = time.monotonic()
    assert "messages" in result(endpoint.get(f"{project.servers[1]}__greet"))
    assert time.monotonic() - begun < 0.9
    assert [f"{project.servers[1]}__greet", f"{project.servers[1]}__bye"] == endpoint.prompts()
    assert ["docs://a/one", "docs://a/two"] == endpoint.resources()
    assert time.monotonic() - begun < 5
    begun = time.monotonic()
    for _ in range(3):
        assert 2 == len(endpoint.prompts())
        assert ["repo://{owner}/{name}"] == endpoint.templates()
        assert "contents" in result(endpoint.read("docs://a/one"))
    assert time.monotonic() - begun < 0.9
    dead.delay = 0


@pytest.mark.requirement("R14")
def test_a_server_that_keeps_failing_holds_up_nothing_that_another_has(world: World) -> None:
    dead, good = world.upstream(delay=60), world.upstream(**WHOLE)
    project = world.project(dead=dead, good=good)
    gateway = world.gateway(start_timeout="500ms", list_timeout="2s", list_retry="100ms", list_ttl="1m")
    endpoint = gateway.as_(project.token()["token"])
    assert 2 == len(endpoint.resources())
    asked_before = len(dead.seen)
    took = []
    while len(dead.seen) < asked_before + 2:
        begun = time.monotonic()
        assert "contents" in result(endpoint.read("docs://a/one"))
        took.append(time.monotonic() - begun)
        time.sleep(0.02)
    assert max(took) < 0.4
    dead.delay = 0


@pytest.mark.requirement("R15")
def test_if_no_server_answers_a_list_is_an_error_and_not_empty(world: World) -> None:
    project = world.project(up="http://127.0.0.1:9/mcp")
    endpoint = world.gateway().as_(project.token()["token"])
    for method in LISTS:
        assert -32603 == endpoint.modern(method).json()["error"]["code"]
    assert -32602 == endpoint.get(f"{project.servers[0]}__x").json()["error"]["code"]


@pytest.mark.requirement("R19")
def test_every_page_is_fetched(world: World) -> None:
    upstream = world.upstream(
        prompts=[prompt(f"p{n}") for n in range(7)], resources=[resource(f"a:{n}") for n in range(5)], pages=3
    )
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    assert {f"{project.servers[0]}__p{n}" for n in range(7)} == set(endpoint.prompts())
    assert {f"a:{n}" for n in range(5)} == set(endpoint.resources())


BAD_PROMPTS: list[Any] = [
    *("text", {}, prompt(""), prompt("with space"), prompt("star*"), prompt("ünïcode"), prompt("greet"), prompt("greet")),
    *(prompt("bad_title", title=1), prompt("bad_arguments", arguments={}), prompt("bad_argument", arguments=[{"title": "a"}])),
    *(prompt("files/read.all:now"), prompt("prompt:x", arguments=[{"name": "a", "required": True, "vendor": 1}])),
]
BAD_RESOURCES: list[Any] = [
    *("text", {"uri": "a:b"}, resource(""), resource("file:///a b"), resource("file:///a%20b"), resource("a:b?c=d")),
    *(resource("file:///a/../b"), resource("a:ü"), resource("a:" + "b" * 511), resource("a:bad", mimeType=1)),
    *(resource("file:///%61"), resource("file:///a"), resource("fine:one", size=3)),
]
BAD_TEMPLATES: list[Any] = [
    *(
        template("{+anything}"),
        template("a:{b"),
        template("a:b?{c}"),
        template("a:../{b}"),
        template("a:{b}{c}", description=[]),
    ),
    *(template("fine:{b}{?c,d}"), template("a:" + "{b}" * 17)),
]


@pytest.mark.requirement("R18")
def test_bad_entries_are_left_out_with_a_reason_and_the_others_are_not(world: World) -> None:
    upstream = world.upstream(prompts=BAD_PROMPTS, resources=BAD_RESOURCES, templates=BAD_TEMPLATES)
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway().as_(project.token()["token"])
    named = [name.rpartition("_")[0] for name in endpoint.prompts()[1:]]
    assert (f"{server}__greet", [f"{server}__files_read_all_now", f"{server}__prompt_x"]) == (endpoint.prompts()[0], named)
    assert ["file:///%61", "fine:one"] == endpoint.resources()
    assert ["fine:{b}{?c,d}"] == endpoint.templates()
    assert [{"uri": "file:///%61", "text": "text of file:///%61"}] == result(endpoint.read("file:///a"))["contents"]
    until(lambda: shown_instance(world, server).get("status") == "DEGRADED", 5)
    detail = shown_instance(world, server)["detail"]
    assert "the prompt with space is not offered: a prompt's name is 1 to 512 of" in detail
    endpoint.tools()
    until(lambda: shown_instance(world, server).get("tools") == 1, 5)
    assert "DEGRADED" == shown_instance(world, server)["status"]
    until(lambda: "the resource template {+anything} is not offered: its scheme is not fixed" in logged(world, server), 5)
    assert "the resource file:///a%20b is not offered: a URI is" in logged(world, server)


def logged(world: World, server: str) -> str:
    answer = world.control.admin.get(f"/instances/{server}/tested/logs?limit=1000")
    return answer.text


def test_a_list_that_cannot_be_had_makes_nothing_of_the_tools(world: World) -> None:
    upstream = world.upstream(prompts=[prompt("greet")], resources=[])
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway().as_(project.token()["token"])
    endpoint.tools()
    upstream.list_members = {"prompts": "none"}
    assert -32603 == endpoint.modern("prompts/list").json()["error"]["code"]
    until(lambda: shown_instance(world, server).get("status") == "DEGRADED", 5)
    assert "prompts/list" in shown_instance(world, server)["detail"]
    assert "isError" not in result(endpoint.call(f"{server}__echo"))


@pytest.mark.requirement("R20")
def test_names_too_long_for_agents_are_cut_and_end_in_a_digest_and_lead_back(world: World) -> None:
    upstream = world.upstream(prompts=[prompt("p" * 100), prompt("p" * 101)])
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    one, other = endpoint.prompts()
    assert one != other
    assert {64} == {len(one), len(other)}
    assert "messages" in result(endpoint.get(other))
    assert "p" * 101 == upstream.calls("prompts/get")[0].body["params"]["name"]


def test_in_plain_mode_names_and_uris_are_the_servers_own_and_what_two_claim_is_neithers(world: World) -> None:
    one = world.upstream(prompts=[prompt("a"), prompt("same")], resources=[resource("a:1"), resource("same:1")])
    two = world.upstream(prompts=[prompt("b"), prompt("same")], resources=[resource("b:1"), resource("same:1")])
    project = world.project("plain", one=one, two=two)
    endpoint = world.gateway().as_(project.token()["token"])
    assert ["a", "b"] == endpoint.prompts()
    assert ["a:1", "b:1"] == endpoint.resources()
    assert "messages" in result(endpoint.get("b"))
    assert "contents" in result(endpoint.read("b:1"))
    assert -32602 == endpoint.get("same").json()["error"]["code"]
    for uri in ("same:1", f"mcplocal://{project.servers[0]}/same:1"):
        assert -32602 == endpoint.read(uri).json()["error"]["code"]
    assert [] == [*one.calls("resources/read"), *two.calls("prompts/get")[1:]]


@pytest.mark.requirement("R8")
def test_what_a_server_calls_changed_is_listed_anew(world: World) -> None:
    upstream = world.upstream(tools=[tool("echo")], as_stream=0, says_changed=("prompts", "resources"), **WHOLE)
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway().as_(project.token()["token"])
    endpoint.call(f"{server}__echo")
    time.sleep(0.3)
    assert set(LISTS).isdisjoint(upstream.methods())
    assert (2, 2, 1) == (len(endpoint.prompts()), len(endpoint.resources()), len(endpoint.templates()))
    upstream.prompts, upstream.resources, upstream.templates = [prompt("new")], [resource("new:1")], []
    endpoint.call(f"{server}__echo")
    until(
        lambda: [f"{server}__new"] == endpoint.prompts() and ["new:1"] == endpoint.resources() and [] == endpoint.templates(), 5
    )


@pytest.mark.anyio
async def test_a_change_heard_of_while_a_list_is_asked_for_is_not_forgotten_though_it_is_looked_at_too_early() -> None:
    settings = load({}, control_plane="http://127.0.0.1:9", credential="mcpctl_ses_" + "x" * 43)
    metrics = Metrics()
    pool = Pool(settings, lambda _, __: None, lambda _, __, ___: None, metrics)
    listings = Listings(settings, pool, Instances(), Journal(), lambda: None, metrics)
    spec = ServerSpec("up", "streamable-http", "http://127.0.0.1:9/mcp")
    listing = listings.of(spec)
    listing.asked_at = time.monotonic()
    listing.good_until = listing.asked_at + 60
    listings.invalidate(spec, LIST_CHANGED["tools"])
    assert listing.again is not None
    listing.again.cancel()
    listings._ask_now(spec, TOOL, listing)  # a hair before it is due
    assert listing.again is not None
    await listings.stop()
    await pool.close()

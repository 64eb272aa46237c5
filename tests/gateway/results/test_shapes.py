"""What the models of a server and its project make together, and what passes redact beside results of tools."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mcplocal.json_text import Member, Members
from mcplocal.offers.kinds import TOOLS
from mcplocal.results.shaping import _guard
from mcplocal.results.stages.redact import Redactor
from mcplocal.shapes import ModelCache, ProxyModel, shape_of
from mcplocal.uses import UpstreamError, Use
from tests.gateway.conftest import World
from tests.gateway.results.conftest import Make, answering, model, result, select
from tests.gateway.upstreams import Upstream, prompt, resource, tool

TOKEN = "mcpctl_pat_" + "k" * 43
CUTS = ProxyModel("cuts", (("truncate", {"maxChars": 5}),), ModelCache(60, ("a/x",)))
REDACTS = ProxyModel("redacts", (("redact", {}),), ModelCache(30, ("b/*",)))
COMPACTS = ProxyModel("compacts", (("compact-json", {}),))
KNOWN = {one.name: one for one in (CUTS, REDACTS, COMPACTS)}

TOGETHER: list[tuple[tuple[str | None, str | None], Any]] = [
    ((None, None), None),
    (("cuts", None), (["truncate"], 60, ("a/x",), False)),
    ((None, "compacts"), (["compact-json"], None, (), True)),
    (("cuts", "redacts"), (["truncate", "redact"], 30, ("a/x", "b/*"), False)),
    (("redacts", "cuts"), (["redact", "truncate"], 30, ("b/*", "a/x"), False)),
    (("cuts", "compacts"), (["truncate", "compact-json"], None, (), False)),
]


@pytest.mark.parametrize(("named", "expected"), TOGETHER, ids=[str(named) for named, _ in TOGETHER])
def test_a_servers_stages_come_first_and_both_must_allow_a_cache(named: tuple[str | None, str | None], expected: Any) -> None:
    shape = shape_of(KNOWN, named)
    if shape is None:
        assert expected is None
        return
    cache = shape.cache
    ttl, tools = (cache.ttl, cache.tools) if cache is not None else (None, ())
    assert expected == ([name for name, _ in shape.stages], ttl, tools, shape.keeps_structure)


def test_another_order_or_another_home_of_a_stage_is_another_shape() -> None:
    keys = [shape_of(KNOWN, named) for named, _ in TOGETHER]
    assert len(keys) == len({shape.key if shape is not None else None for shape in keys})


def test_what_is_cached_is_what_is_safe_to_repeat_or_named() -> None:
    shape = shape_of(KNOWN, ("cuts", "redacts"))
    assert shape is not None
    assert [True, True, True, False] == [
        shape.caches(asked, safe) for asked, safe in (("c/any", True), ("a/x", False), ("b/y", False), ("a/y", False))
    ]


def test_a_model_that_is_named_and_not_known_withholds_the_result() -> None:
    shape = shape_of(KNOWN, ("cuts", "gone"))
    assert shape is not None
    assert "gone" == shape.missing
    assert shape.cache is None


async def asked(use: Use, params: str) -> str:
    assert use.ask is not None
    return await use.ask("elicitation/create", params)


def test_what_a_server_says_and_asks_while_it_works_passes_redact() -> None:
    told: list[str] = []

    async def ask(method: str, params: str) -> str:
        told.append(params)
        return "{}"

    def notify(_method: str, params: Members) -> None:
        told.append(json.dumps({name: member.text for name, member in params.items()}))

    use = Use("tools/call", TOOLS, "x", {}, notify=notify, ask=ask)
    _guard(use, Redactor({}))
    assert use.notify is not None
    use.notify("notifications/message", {"level": Member('"info"'), "data": Member(json.dumps({"t": TOKEN}))})
    asyncio.run(asked(use, json.dumps({"message": TOKEN})))
    assert 2 == len(told)
    assert "kkk" not in str(told)

    broken = Use("tools/call", TOOLS, "x", {}, notify=notify, ask=ask)
    _guard(broken, None)
    assert broken.notify is not None
    broken.notify("notifications/message", {"data": Member(json.dumps(TOKEN))})
    with pytest.raises(UpstreamError):
        asyncio.run(asked(broken, "{}"))
    assert 2 == len(told)


def test_prompts_and_resources_pass_redact_and_no_other_stage(shaped: Make) -> None:
    upstream = Upstream(prompts=[prompt("p")], resources=[resource("test://r")])
    said = {"role": "user", "content": {"type": "text", "text": f"a long text with {TOKEN}"}}
    upstream.answers["prompts/get"] = lambda _: json.dumps({"messages": [said]})
    contents = [{"uri": "test://r", "text": f"a long text with {TOKEN}"}]
    upstream.answers["resources/read"] = lambda _: json.dumps({"contents": contents})
    project = shaped(upstream, "redact", ("truncate", {"maxChars": 3}))
    assert "a long text with [redacted:mcpctl-token]" in project.endpoint.get(f"{project.prefix}p").text
    assert "a long text with [redacted:mcpctl-token]" in project.endpoint.read("test://r").text


def test_a_json_rpc_error_of_a_server_passes_redact(shaped: Make) -> None:
    upstream = Upstream(tools=[tool("get")], prompts=[prompt("p")], answers={"prompts/get": lambda _: -32602})
    project = shaped(upstream, ("redact", {"patterns": [{"name": "word", "pattern": "no"}]}))
    assert "[redacted:word]" == project.endpoint.get(f"{project.prefix}p").json()["error"]["message"]


def test_the_page_tool_is_offered_where_a_model_makes_pages_and_nowhere_else(world: World, shaped: Make) -> None:
    project = shaped(answering(result("x")), ("truncate", {"maxChars": 10}))
    assert [f"{project.prefix}get"] == project.endpoint.tools()
    assert "error" in project.endpoint.call("mcplocal__next_page", {"cursor": "x"}).json()
    select(world, project.project, model(world, "paginate"))
    assert [f"{project.prefix}get", "mcplocal__next_page"] == project.endpoint.tools()
    nobody = project.project.token("role:view,resource:projects")
    assert [] == project.endpoint.as_(nobody["token"]).tools()

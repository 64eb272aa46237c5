"""Results as a client gets them through a real gateway, from a real server, by a model of the real control plane."""

from __future__ import annotations

import json
import re

from tests.gateway.results.conftest import Make, answering, model, result, select
from tests.gateway.test_story import until
from tests.gateway.upstreams import tool


def test_a_long_text_is_cut_and_the_result_says_so(shaped: Make) -> None:
    project = shaped(answering(result("x" * 50)), ("truncate", {"maxChars": 10}))
    found = project.call()
    assert "xxxxxxxxxx\n[… 40 characters left out]" == found["content"][0]["text"]
    assert {"changed": ["truncate"]} == found["_meta"]["io.mcpctl/proxy-model"]


def test_a_long_text_is_read_page_by_page(shaped: Make) -> None:
    text = "".join(f"line {n}\n" for n in range(300))
    project = shaped(answering(result(text)), ("paginate", {"pageChars": 500}))
    assert "mcplocal__next_page" in project.endpoint.tools()
    page, note = project.texts()
    pages = [page]
    while match := re.search(r'\{"cursor":"[^"]+"\}', note):
        page, note = project.texts("mcplocal__next_page", json.loads(match[0]))
        pages.append(page)
    assert text == "".join(pages)
    assert len(pages) > 4
    assert 1 == len(project.upstream.calls())


def test_a_project_without_a_model_gets_the_very_text_of_the_server(shaped: Make) -> None:
    raw = '{"resultType":"complete","content":[ {"type":"text","text":"\\u00e4"} , {"type":"hologram","x":1.10} ],"more":1e2}'
    project = shaped(answering(raw), "passthrough")
    assert '[ {"type":"text","text":"\\u00e4"} , {"type":"hologram","x":1.10} ],"more":1e2' in (
        project.endpoint.call(project.prefix + "get").text
    )
    select(project.world, project.project, None)
    assert '[ {"type":"text","text":"\\u00e4"} , {"type":"hologram","x":1.10} ],"more":1e2' in (
        project.endpoint.call(project.prefix + "get").text
    )


def test_a_secret_is_gone_from_all_that_a_server_says(shaped: Make) -> None:
    secret = "mcpctl_pat_" + "a" * 43
    raw = result(
        f"see {secret}",
        json.dumps({"deep": {"token": secret}}).replace("mcpctl", "\\u006dcpctl"),
        structuredContent={secret: [secret]},
        _meta={"note": secret},
        other=secret,
    )
    project = shaped(answering(raw), "redact")
    text = project.endpoint.call(project.prefix + "get").text
    assert "aaaa" not in text
    assert 6 == text.count("[redacted:mcpctl-token]")


def test_what_shapes_a_tools_result_hides_what_was_declared_of_it(shaped: Make) -> None:
    declared = tool("get", outputSchema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    project = shaped(answering(result('{"n":1}', structuredContent={"n": 1}), declared), ("select", {"expression": "n"}))
    listed = project.endpoint.modern("tools/list").json()["result"]["tools"]
    assert ["outputSchema" in one for one in listed] == [False]
    found = project.call()
    assert ["1"] == [block["text"] for block in found["content"]]
    assert "structuredContent" not in found
    select(project.world, project.project, model(project.world, "compact-json"))

    def is_listed() -> bool:
        (one,) = project.endpoint.modern("tools/list").json()["result"]["tools"]
        return "outputSchema" in one

    until(is_listed, 5)
    assert {"n": 1} == project.call()["structuredContent"]


def test_a_cached_result_is_given_without_asking_the_server(shaped: Make) -> None:
    upstream = answering(result("fresh"), tool("get", annotations={"readOnlyHint": True}))
    project = shaped(upstream, "passthrough", cache={"ttlSeconds": 60})
    assert "io.mcpctl/cache" not in project.call().get("_meta", {})
    again = project.call()
    assert again["_meta"]["io.mcpctl/cache"]["hit"] is True
    assert "fresh" == again["content"][0]["text"]
    assert 1 == len(upstream.calls())

"""What became of results is shown on ``/metrics``: stages, the cache, pages and the language model."""

from __future__ import annotations

import json
import re

import httpx2
import pytest

from mcplocal.metrics_page import series
from mcplocal.results.counts import METRICS, ResultCounts
from mcplocal.results.pipeline import NothingLeft, Pipeline
from mcplocal.results.steps import steps_of
from mcplocal.serve import build_app
from mcplocal.upstream.answers import Answer, RpcError
from mcplocal.wire import Era
from tests.gateway.conftest import Endpoint, World
from tests.gateway.results.conftest import READS, answering, model, result, select
from tests.gateway.results.test_stages import means
from tests.gateway.test_story import until
from tests.gateway.upstreams import served, tool
from tests.scrapes import Scrape

STAGE = "mcplocal_result_stage_duration_seconds_count"
LOOKUPS = "mcplocal_result_cache_lookups_total"


def test_before_the_first_result_what_can_be_divided_by_is_zero_and_there() -> None:
    scrape = Scrape.of(ResultCounts().series)
    assert [{"result": "hit"}, {"result": "miss"}] == sorted(scrape.labels(LOOKUPS), key=str)
    known = {name for name, _ in scrape.samples if not name.startswith("process_")}
    assert {one.name for one in METRICS if one.kind == "counter"} == {one for one in known if one.endswith("_total")}


def test_what_became_of_results_is_on_the_page_of_metrics(world: World) -> None:
    upstream = answering(result("mcpctl_pat_" + "a" * 43 + " x" * 500), tool("get", annotations=READS))
    upstream.url = world.stack.enter_context(served(upstream.app())) + "/mcp"  # type: ignore[attr-defined]
    project = world.project(s=upstream)
    stages = ("redact", "compact-json", ("summarize", {"overChars": 1}), ("paginate", {"pageChars": 100}))
    select(world, project, model(world, *stages))
    app = build_app(world.settings())
    http = world.stack.enter_context(httpx2.Client(timeout=30, trust_env=False))
    endpoint = Endpoint(http, world.stack.enter_context(served(app)) + "/mcp", project.token()["token"])

    def value(name: str, **labels: str) -> float:
        return Scrape.of(series(app.state.gateway)).value(name, **labels)

    name = f"{project.servers[0]}__get"
    cursor = json.loads(re.search(r"\{.*\}", endpoint.call(name).json()["result"]["content"][-1]["text"])[0])  # type: ignore[index]
    assert "isError" not in endpoint.call("mcplocal__next_page", cursor).json()["result"]
    endpoint.call("mcplocal__next_page", {"cursor": "no such cursor"})
    assert 1 == value(STAGE, stage="redact", outcome="changed")
    assert 1 == value(STAGE, stage="compact-json", outcome="unchanged")
    assert 1 == value(STAGE, stage="summarize", outcome="failed"), "there is no language model"
    assert 1 == value(STAGE, stage="paginate", outcome="changed")
    assert (1, 1) == tuple(value("mcplocal_result_pages_total", outcome=one) for one in ("given", "refused"))
    assert (0, 0) == (value(LOOKUPS, result="miss"), value(LOOKUPS, result="hit"))
    select(world, project, model(world, ("paginate", {"pageChars": 200}), cache={"ttlSeconds": 60}))
    until(lambda: "isError" in endpoint.call("mcplocal__next_page", cursor).json()["result"], 5)
    refused = value("mcplocal_result_pages_total", outcome="refused")
    assert 2 == refused, "a page is kept, and not given, after its model was changed"
    for _ in range(3):
        endpoint.call(name)
    assert (1, 2) == (value(LOOKUPS, result="miss"), value(LOOKUPS, result="hit"))
    assert 1 == value("mcplocal_result_cache_writes_total", outcome="stored")


@pytest.mark.anyio
async def test_redact_is_counted_too_where_no_other_stage_runs() -> None:
    counts = ResultCounts()
    error = Answer(Era.MODERN, error=RpcError(-1, "Bearer abcdefgh1234"))
    pipeline = Pipeline(steps_of((("redact", {}),)), counts)
    await pipeline.redacted(error, means())
    await pipeline.redacted(Answer(Era.MODERN, error=RpcError(-1, "no")), means())
    assert (1, 1) == (counts.stages.count("redact", "changed"), counts.stages.count("redact", "unchanged"))


@pytest.mark.anyio
async def test_a_redact_that_is_not_understood_is_counted_as_failed() -> None:
    counts = ResultCounts()
    pipeline = Pipeline(steps_of((("redact", {"newer": True}),)), counts)
    with pytest.raises(NothingLeft):
        await pipeline.redacted(Answer(Era.MODERN, error=RpcError(-1, "no")), means())
    assert 1 == counts.stages.count("redact", "failed")

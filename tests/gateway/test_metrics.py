"""What a gateway counts: by server and outcome, and never by anything a client may choose."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcplocal.control.audit_spool import AuditSpool
from mcplocal.gateway import Gateway
from mcplocal.metrics import Metrics
from mcplocal.metrics_page import METRICS, series
from mcplocal.serve import build_app, serve
from tests.gateway.conftest import Endpoint, Project, World
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import result
from tests.gateway.upstreams import Upstream, served
from tests.scrapes import Scrape


@dataclass
class Seen:
    """A gateway, what it shows, and a project with one upstream."""

    gateway: Gateway
    endpoint: Endpoint
    upstream: Upstream
    project: Project

    @property
    def server(self) -> str:
        return self.project.servers[0]

    def scrape(self) -> Scrape:
        # What a call leaves behind is counted once its answer is on its way, and before the next request is looked at.
        self.endpoint.http.get(self.endpoint.url.replace("/mcp", "/healthz"))
        return Scrape.of(series(self.gateway))

    def value(self, name: str, **labels: str) -> float:
        return self.scrape().value(name, **labels)


@pytest.fixture
def seen(world: World) -> Seen:
    upstream = world.upstream()
    project = world.project(up=upstream)
    app = build_app(world.settings())
    address = world.stack.enter_context(served(app))
    http = world.stack.enter_context(httpx2.Client(timeout=30, trust_env=False))
    return Seen(app.state.gateway, Endpoint(http, f"{address}/mcp", project.token()["token"]), upstream, project)


def test_calls_decisions_and_refusals_are_counted(seen: Seen) -> None:
    name = f"{seen.server}__echo"
    for _ in range(3):
        assert "isError" not in result(seen.endpoint.call(name))
    seen.upstream.fail = 500
    seen.endpoint.call(name)
    seen.endpoint.call("nothing")
    powerless = seen.endpoint.as_(seen.project.token(f"role:view,resource:servers,name:{seen.server}")["token"])
    powerless.call(name)
    # Of a call, the request is counted last, when its client has the answer already.
    until(lambda: seen.value("mcplocal_request_duration_seconds_count", method="tools/call", outcome="answered") == 6, 5)
    scrape = seen.scrape()
    calls = {(one["server"], one["outcome"]): one for one in scrape.labels("mcplocal_call_duration_seconds_count")}
    expected = {(seen.server, "ok"): 3, (seen.server, "upstream_error"): 1, (seen.server, "refused"): 1, ("none", "refused"): 1}
    assert expected == {key: scrape.value("mcplocal_call_duration_seconds_count", **labels) for key, labels in calls.items()}
    assert 4 <= scrape.value("mcplocal_decisions_total", resource="tool", outcome="allowed")
    assert 1 == scrape.value("mcplocal_decisions_total", resource="tool", outcome="refused")
    assert 1 == scrape.value("mcplocal_refusals_total", reason="unknown")
    assert 1 == scrape.value("mcplocal_refusals_total", reason="not_granted")
    assert 1 <= scrape.value("mcplocal_list_cache_lookups_total", result="miss")
    assert 1 <= scrape.value("mcplocal_list_cache_lookups_total", result="hit")
    assert 1 <= scrape.value("mcplocal_list_fetches_total", server=seen.server, outcome="ok")
    until(lambda: seen.value("mcplocal_audit_events_delivered_total") == 6, 5)
    assert 0 == seen.value("mcplocal_audit_events_lost_total")


def test_how_the_gateway_and_its_servers_fare_is_shown(seen: Seen) -> None:
    seen.endpoint.tools()
    scrape = seen.scrape()
    statuses = {
        one["status"]: scrape.value("mcplocal_upstream_status", **one) for one in scrape.labels("mcplocal_upstream_status")
    }
    assert {"STARTING": 0, "RUNNING": 1, "DEGRADED": 0, "UNREACHABLE": 0, "ERROR": 0} == statuses
    assert 1 == scrape.value("mcplocal_upstream_tools", server=seen.server)
    assert 0 < scrape.value("mcplocal_upstream_latency_seconds", server=seen.server) < 5
    assert 1 == scrape.value("mcplocal_upstream_connections", server=seen.server)
    assert 1 == scrape.value("mcplocal_ready")
    assert scrape.value("mcplocal_policy_feed_age_seconds") <= 1
    assert seen.gateway.feed.revision == scrape.value("mcplocal_policy_revision")
    assert 1 == scrape.value("mcplocal_remembered_callers")


def test_sessions_and_streams_are_counted_while_they_are_open(seen: Seen) -> None:
    session = open_session(seen.endpoint)
    assert 1 == seen.value("mcplocal_sessions")
    headers = {"Authorization": f"Bearer {seen.endpoint.bearer}", "Accept": "text/event-stream", **session}
    with seen.endpoint.http.stream("GET", seen.endpoint.url, headers=headers):
        until(lambda: seen.value("mcplocal_streams", kind="session") == 1, 5)
        assert 1 == seen.value("mcplocal_watched")
    until(lambda: seen.value("mcplocal_streams", kind="session") == 0, 5)
    assert 0 == seen.value("mcplocal_streams", kind="subscription")
    assert 0 == seen.value("mcplocal_request_duration_seconds_count", method="none", outcome="answered")


def test_whatever_is_asked_for_makes_no_new_series_and_nothing_of_it_is_shown(seen: Seen) -> None:
    session = open_session(seen.endpoint)
    marks: list[str] = []

    def attack() -> None:
        mark = f"mark{secrets.token_hex(6)}"
        marks.append(mark)
        seen.endpoint.call(mark, {mark: mark})
        seen.endpoint.call(f"{mark}__{mark}")
        seen.endpoint.call(f"{seen.server}__{mark}")
        seen.endpoint.call(f"{seen.server}__echo", {mark: mark})
        seen.endpoint.get(mark)
        seen.endpoint.read(f"file:///{mark}")
        seen.endpoint.modern(mark)
        seen.endpoint.modern("tools/list", X_Request_Id=mark, Mcp_Name=mark, User_Agent=mark)
        seen.endpoint.post(request(mark), session)
        seen.endpoint.post(request("tools/list"), {"Mcp-Session-Id": mark})
        seen.endpoint.post(mark)
        seen.endpoint.at(f"/projects/{mark}/mcp").modern("tools/list")
        seen.endpoint.http.get(f"{seen.endpoint.url}/{mark}")
        if len(marks) < 7:  # more are held back
            seen.endpoint.as_(f"mcpctl_pat_{mark}{mark}").call(mark)

    for _ in range(6):
        attack()
    until(lambda: seen.value("mcplocal_audit_spool_events") == 0, 5)
    known = seen.scrape().series()
    for _ in range(40):
        attack()
    scrape = seen.scrape()
    more = {key for key in scrape.series() - known if not key[0].endswith("_bucket")}
    assert set() == more
    assert [] == [mark for mark in marks if mark in scrape.text]
    assert [] == [
        word for word in ("mcpctl_pat_", "mcpctl_ses_", "User:", "McpToken:", f'"{seen.project.name}"') if word in scrape.text
    ]


def test_what_is_held_back_is_counted(seen: Seen) -> None:
    for _ in range(7):
        assert 401 == seen.endpoint.as_("mcpctl_pat_" + "x" * 43).modern("tools/list").status_code
    assert 2 == seen.value("mcplocal_throttled_total")
    assert 7 == seen.value("mcplocal_refusals_total", reason="invalid_credential")
    until(lambda: seen.value("mcplocal_request_duration_seconds_count", method="none", outcome="refused") == 7, 5)


def test_each_start_of_a_child_is_counted(world: World, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(
        "import json, os, sys\n"
        "for line in sys.stdin:\n"
        "    message = json.loads(line)\n"
        "    if message.get('method') == 'tools/list':\n"
        "        found = {'tools': [{'name': 'pid', 'inputSchema': {'type': 'object'}}]}\n"
        "    elif message.get('method') == 'server/discover':\n"
        "        found = {'resultType': 'complete', 'supportedVersions': ['2026-07-28'], 'capabilities': {}}\n"
        "    elif message.get('method') == 'tools/call':\n"
        "        found = {'content': [{'type': 'text', 'text': str(os.getpid())}]}\n"
        "    else:\n"
        "        continue\n"
        "    print(json.dumps({'jsonrpc': '2.0', 'id': message['id'], 'result': found}), flush=True)\n"
    )
    argv = [sys.executable, str(script)]
    project = world.project(child=argv)
    app = build_app(world.settings(stdio_allow=[argv], list_retry="100ms"))
    address = world.stack.enter_context(served(app))
    gateway: Gateway = app.state.gateway
    http = world.stack.enter_context(httpx2.Client(timeout=30, trust_env=False))
    endpoint, name = Endpoint(http, f"{address}/mcp", project.token()["token"]), f"{project.servers[0]}__pid"

    def starts() -> float:
        return Scrape.of(series(gateway)).value("mcplocal_stdio_starts_total", server=project.servers[0])

    pid = int(result(endpoint.call(name))["content"][0]["text"])
    assert 1 == starts()
    os.kill(pid, signal.SIGKILL)
    until(lambda: "isError" not in result(endpoint.call(name)), 10)
    assert 2 == starts()


def test_every_metric_that_is_shown_is_documented_and_every_documented_one_is_shown(seen: Seen) -> None:
    seen.endpoint.call(f"{seen.server}__echo")
    scrape = seen.scrape()
    shown = {name for name in scrape.kinds if not name.startswith("process_")}
    assert {one.name.removesuffix("_total") for one in METRICS} == shown
    for one in METRICS:
        name = one.name.removesuffix("_total")
        assert (one.kind, one.meaning) == (scrape.kinds[name], scrape.meanings[name])
        for labels in scrape.labels(one.name):
            assert set(one.labels) == set(labels)


def test_events_that_wait_and_events_that_are_lost_are_counted(world: World) -> None:
    async def run() -> tuple[int, int, int]:
        class Away:
            async def send_audit(self, *_: Any) -> None:
                from mcpctl.errors import Unreachable

                raise Unreachable("away")

        counted = Metrics()
        spool = AuditSpool(Away(), "g", world.tmp_path, counted)  # type: ignore[arg-type]
        for _ in range(50_010):
            spool.note('{"id":"x"}')
        waiting = spool.waiting
        await spool.stop()
        return waiting, spool.bytes_on_disk, counted.audit_lost.value()

    waiting, on_disk, lost = asyncio.run(run())
    assert (50_000, 10) == (waiting, lost)
    assert 50_000 * len('{"id":"x"}\n') == on_disk


@pytest.mark.anyio
async def test_a_listener_of_its_own_shows_it_until_the_gateway_has_drained(world: World) -> None:
    ready, stop = asyncio.Event(), asyncio.Event()
    said: list[str] = []

    def on_ready(address: str) -> None:
        said.append(address)
        ready.set()

    from tests.gateway.test_kill_and_restart import free_port

    port = free_port()
    settings = world.settings(metrics_listen=f"127.0.0.1:{port}", drain_delay="500ms")
    serving = asyncio.create_task(serve(settings, on_ready=on_ready, stop=stop))
    await asyncio.wait_for(ready.wait(), 20)
    async with httpx2.AsyncClient(timeout=10, trust_env=False) as http:
        assert 404 == (await http.get(f"{said[0]}/metrics")).status_code, "not where clients are"
        assert 1 == Scrape((await http.get(f"http://127.0.0.1:{port}/metrics")).text).value("mcplocal_ready")
        stop.set()
        await asyncio.sleep(0.1)
        assert 503 == (await http.get(f"{said[0]}/readyz")).status_code
        assert 200 == (await http.get(f"{said[0]}/healthz")).status_code, "who comes all the same is served"
        assert 0 == Scrape((await http.get(f"http://127.0.0.1:{port}/metrics")).text).value("mcplocal_ready")
    await asyncio.wait_for(serving, 20)

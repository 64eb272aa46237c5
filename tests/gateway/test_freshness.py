"""Fast, never stale: what the gateway does when the control plane is silent, slow, cut off or back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from mcpctl.wire.gateway import Slices
from mcplocal import vigil
from mcplocal.control.control_plane import ControlPlane
from tests.gateway.conftest import Endpoint, Project, World
from tests.gateway.relay import Relay
from tests.gateway.test_story import until
from tests.gateway.upstreams import Upstream


class Cut:
    """A gateway behind a relay to the control plane."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.upstream: Upstream = world.upstream()
        self.project: Project = world.project(up=self.upstream)
        self.token = self.project.token()
        self.relay: Relay = world.relay()
        self.endpoint: Endpoint = world.gateway(control_plane=self.relay.address, **settings).as_(self.token["token"])
        self.name = f"{self.project.servers[0]}__echo"

    def status(self, bearer: str | None = None) -> int:
        return (self.endpoint if bearer is None else self.endpoint.as_(bearer)).call(self.name).status_code


def test_what_is_known_serves_while_the_control_plane_is_away_and_then_nothing_does(world: World) -> None:
    cut = Cut(world, trust_for="2s")
    fresh = cut.project.token()
    assert cut.status() == 200
    cut.relay.cut()
    away = time.monotonic()
    while (status := cut.status()) == 200:
        assert time.monotonic() - away < 3.5
        time.sleep(0.05)
    assert status == 503
    assert time.monotonic() - away > 1.0
    assert cut.status(fresh["token"]) == 503
    calls = len(cut.upstream.calls())
    assert cut.status() == 503
    assert cut.endpoint.modern("tools/list").status_code == 503
    assert len(cut.upstream.calls()) == calls
    cut.relay.mend()
    until(lambda: cut.status() == 200, 5)


def test_with_no_trust_at_all_everything_is_refused_after_a_second_of_silence(world: World) -> None:
    cut = Cut(world, trust_for=0)
    assert cut.status() == 200
    cut.relay.cut()
    time.sleep(1.1)
    assert cut.status() == 503


def test_a_token_revoked_while_the_gateway_was_cut_off_is_refused_as_soon_as_it_is_back(world: World) -> None:
    cut = Cut(world)
    assert cut.status() == 200
    cut.relay.cut()
    cut.project.revoke(cut.token)
    assert cut.status() == 200
    time.sleep(1.1)
    assert cut.status() == 200
    cut.relay.mend()
    until(lambda: cut.status() == 401, 1.5)


def test_a_hung_control_plane_is_as_good_as_none(world: World) -> None:
    cut = Cut(world, trust_for="500ms")
    assert cut.status() == 200
    cut.relay.stall()
    time.sleep(1.1)
    begun = time.monotonic()
    assert cut.status() == 503
    assert time.monotonic() - begun < 5
    begun = time.monotonic()
    assert cut.status() == 503
    assert time.monotonic() - begun < 1


def test_a_gateway_starts_without_its_control_plane_and_refuses(world: World) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    relay = world.relay()
    relay.cut()
    endpoint = world.gateway(control_plane=relay.address).as_(project.token()["token"])
    assert endpoint.modern("tools/list").status_code == 503
    assert endpoint.http.get(endpoint.at("/readyz").url).status_code == 503
    relay.mend()
    until(lambda: endpoint.modern("tools/list").status_code == 200, 5)
    until(lambda: endpoint.http.get(endpoint.at("/readyz").url).status_code == 200, 5)


def test_no_request_asks_the_control_plane_once_the_answer_is_known(world: World) -> None:
    cut = Cut(world)
    assert cut.status() == 200
    connections = cut.relay.connections
    time.sleep(0.7)
    before = cut.relay.connections
    for _ in range(20):
        assert cut.status() == 200
    assert before - connections <= 1
    assert cut.relay.connections - before <= 1  # the delivery of the audit events may open one


@pytest.mark.requirement("R23")
def test_an_expired_token_is_refused_at_its_time(world: World) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    token = project.token(ttl="2s")
    endpoint = world.gateway().as_(token["token"])
    assert endpoint.tools() == [f"{project.servers[0]}__echo"]
    time.sleep(2.1)
    assert endpoint.modern("tools/list").status_code == 401


def test_a_demoted_owner_shrinks_a_token_at_once(world: World) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    server = project.servers[0]
    owner = world.control.user(
        f"erin-{project.name}",
        f"role:run,resource:servers,name:{server}",
        f"role:view,resource:projects,name:{project.name}",
        f"role:create,resource:mcptokens,name:{project.name}",
    )
    body = {"name": "hers", "project": project.name, "bindings": [f"role:run,resource:servers,name:{server}"]}
    made = owner.post("/mcptokens", body)
    assert made.status_code == 201, made.text
    endpoint = world.gateway().as_(made.json()["token"])
    assert endpoint.tools() == [f"{server}__echo"]
    assert world.control.admin.delete(f"/rbac/for-erin-{project.name}").status_code == 204
    until(lambda: endpoint.tools() == [])
    assert endpoint.call(f"{server}__echo").json()["error"]["code"] == -32602


def test_a_line_written_into_a_policy_file_by_hand_is_enforced_by_a_running_gateway_within_two_seconds(world: World) -> None:
    project = world.project(up=world.upstream())
    server = project.servers[0]
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    assert endpoint.tools() == [f"{server}__echo"]
    directory = world.control.control.directory
    assert directory is not None
    file = directory.path / f"{project.name}.csv"
    file.write_text(f"p, McpToken:{token['tokenSha']}, run, servers, {server}, deny\n")
    until(lambda: endpoint.tools() == [], 2)
    assert endpoint.call(f"{server}__echo").json()["error"]["code"] == -32602
    file.write_text(f"p, McpToken:{token['tokenSha']}, rnu, servers, {server}, deny\n")
    until(lambda: world.control.nobody.get("//readyz").json()["policy"] == "last-good")
    assert endpoint.tools() == [], "the last good one is in force"
    file.unlink()
    until(lambda: endpoint.tools() == [f"{server}__echo"], 4)


def test_a_server_detached_from_the_project_disappears_at_once(world: World) -> None:
    project = world.project(one=world.upstream(), two=world.upstream())
    one, two = project.servers
    endpoint = world.gateway().as_(project.token()["token"])
    assert endpoint.tools() == [f"{one}__echo", f"{two}__echo"]
    assert world.control.admin.delete(f"/projects/{project.name}/servers/{one}").status_code == 200
    until(lambda: endpoint.tools() == [f"{two}__echo"])
    assert endpoint.call(f"{one}__echo").json()["error"]["code"] == -32602


def test_a_server_that_moved_is_found_at_its_new_place(world: World) -> None:
    before, after = world.upstream(), world.upstream()
    project = world.project(up=before)
    server = project.servers[0]
    endpoint = world.gateway().as_(project.token()["token"])
    assert endpoint.call(f"{server}__echo").status_code == 200
    moved = {"transport": "streamable-http", "url": after.url}  # type: ignore[attr-defined]
    assert world.control.admin.put(f"/servers/{server}", moved).status_code == 200
    until(lambda: endpoint.call(f"{server}__echo").status_code == 200 and len(after.calls()) > 0)


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_what_a_call_brings_after_its_token_was_revoked_is_for_nobody(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vigil would end the call; it is not relied upon, because what comes back may come between two of its looks."""
    monkeypatch.setattr(vigil, "EVERY", 3600.0)
    upstream = world.upstream(era=era)
    project = world.project(up=upstream)
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    name = f"{project.servers[0]}__echo"
    assert endpoint.call(name).status_code == 200
    upstream.answer = lambda _: (project.revoke(token), time.sleep(1.1), '{"content":[{"type":"text","text":"secret"}]}')[2]  # type: ignore[func-returns-value]
    answer = endpoint.call(name)
    assert "secret" not in answer.text


def test_a_token_revoked_while_its_server_was_being_connected_calls_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stateful server is connected anew for each who uses it, which may take a while; here the vigil does not look."""
    monkeypatch.setattr(vigil, "EVERY", 3600.0)
    upstream = world.upstream(era="legacy")
    project = world.project(up={"transport": "streamable-http", "url": upstream.url, "stateful": True})  # type: ignore[attr-defined]
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    name = f"{project.servers[0]}__echo"
    assert [name] == endpoint.tools()
    real, revoked = upstream._legacy, list[str]()

    def slowly(request: Request, body: dict[str, Any]) -> Response:
        if body.get("method") == "initialize" and not revoked:
            project.revoke(token)
            revoked.append(token["id"])
            time.sleep(1.1)
        return real(request, body)

    upstream._legacy = slowly  # type: ignore[method-assign]
    assert "result" not in endpoint.call(name).json()
    assert ([token["id"]], []) == (revoked, upstream.calls())


def test_rights_taken_away_while_they_were_on_their_way_are_not_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    server, admin = project.servers[0], world.control.admin
    person = f"dora-{project.name}"
    client = world.control.user(person, f"role:view,resource:projects,name:{project.name}")
    more = {
        "name": f"more-{person}",
        "subjects": [f"User:{person}"],
        "roleBindings": [f"role:run,resource:servers,name:{server}"],
    }
    assert 201 == admin.post("/rbac", more).status_code
    real, taken = ControlPlane.slices, list[int]()

    async def slices(self: ControlPlane, subject: str, of_project: str) -> Slices:
        answer = await real(self, subject, of_project)
        if not taken:
            taken.append((await asyncio.to_thread(admin.delete, f"/rbac/more-{person}")).status_code)
            await asyncio.sleep(0.5)  # the gateway hears of it while the answer is still on its way
        return answer

    monkeypatch.setattr(ControlPlane, "slices", slices)
    endpoint = world.gateway().as_(client.bearer).at(f"/projects/{project.name}/mcp")
    assert -32602 == endpoint.call(f"{server}__echo").json()["error"]["code"]
    assert ([204], []) == (taken, upstream.calls())

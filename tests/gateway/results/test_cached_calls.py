"""Cached results through a real gateway: who gets which, when, and that nobody ever gets another's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from mcplocal.serve import build_app
from tests.gateway.conftest import META, Endpoint, Project, World
from tests.gateway.results.conftest import Make, answering, model, result, select
from tests.gateway.upstreams import Upstream, served, tool
from tests.serving import Client

READS = {"annotations": {"readOnlyHint": True}}
REPEATS = {"annotations": {"idempotentHint": True, "destructiveHint": False}}
FOR_A_MINUTE = {"ttlSeconds": 60}


@dataclass
class Counting:
    """A server each of whose answers is another one."""

    given: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def answer(self, params: dict[str, Any]) -> str:
        self.given.append(f"answer {len(self.given) + 1} to {json.dumps(params.get('arguments'), sort_keys=True)}")
        return result(self.given[-1], **self.more)

    def upstream(self, *tools: dict[str, Any]) -> Upstream:
        return Upstream(tools=list(tools), answer=self.answer)


def is_hit(found: dict[str, Any]) -> bool:
    return bool(found.get("_meta", {}).get("io.mcpctl/cache", {}).get("hit"))


TOOLS = (tool("read", **READS), tool("put", **REPEATS), tool("act"), tool("named"))


@pytest.mark.parametrize(
    ("name", "expected"), [("read", True), ("put", True), ("act", False), ("named", True)], ids=lambda value: str(value)
)
def test_cached_is_what_a_server_declares_safe_or_the_model_names(shaped: Make, name: str, expected: bool) -> None:
    project = shaped(Counting().upstream(*TOOLS), "passthrough")
    server = project.project.servers[0]
    cached = model(project.world, "passthrough", cache={"ttlSeconds": 60, "tools": [f"{server}/nam*"]})
    select(project.world, project.project, cached)
    project.call(name, {"a": 1})
    assert expected is is_hit(project.call(name, {"a": 1}))
    assert not is_hit(project.call(name, {"a": 2}))


def test_an_agent_that_writes_sees_what_it_wrote(shaped: Make) -> None:
    project = shaped(Counting().upstream(*TOOLS), "passthrough", cache=FOR_A_MINUTE)
    first = project.texts("read")
    assert first == project.texts("read")
    project.call("act")
    second = project.texts("read")
    assert first != second
    assert second == project.texts("read")
    for state in ("on", "off", "on"):  # the last is done again, though the same call was cached
        assert not is_hit(project.call("put", {"state": state}))
    assert is_hit(project.call("put", {"state": "on"}))


def test_the_same_arguments_in_another_order_are_the_same_call(shaped: Make) -> None:
    project = shaped(Counting().upstream(*TOOLS), "passthrough", cache=FOR_A_MINUTE)
    project.call("read", {"a": 1, "b": {"c": [1], "d": 2}})
    assert is_hit(project.call("read", {"b": {"d": 2, "c": [1]}, "a": 1}))
    project.call("read", {"a": 1.0})
    assert not is_hit(project.call("read", {"a": 1}))


TWO_VALUES = [("0", "-0"), ("1", "true"), ("1", "1.0"), ("9007199254740993", "9007199254740992"), ('"\u00e9"', '"e\u0301"')]


@pytest.mark.parametrize(("one", "other"), TWO_VALUES, ids=lambda value: ascii(value))
def test_arguments_that_a_server_may_tell_apart_are_two_calls(shaped: Make, one: str, other: str) -> None:
    project = shaped(Counting().upstream(*TOOLS), "passthrough", cache=FOR_A_MINUTE)
    name = project.prefix + "read"

    def call(value: str) -> dict[str, Any]:
        params = {"_meta": META, "name": name, "arguments": {"z": ["@"]}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).replace('"@"', value)
        sent = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": name}
        found: dict[str, Any] = project.endpoint.post(body.encode(), sent).json()["result"]
        return found

    call(one)
    assert (True, False) == (is_hit(call(one)), is_hit(call(other)))


NEVER_KEPT = {
    "a failed tool": result("no", isError=True),
    "a question": json.dumps({"resultType": "input_required", "inputRequests": {}, "requestState": "s"}),
    "a stage that failed": result("x" * 200),
}


@pytest.mark.parametrize("what", NEVER_KEPT)
def test_what_is_no_good_result_is_not_kept(shaped: Make, what: str) -> None:
    upstream = answering(NEVER_KEPT[what], tool("get", **READS))
    project = shaped(upstream, ("summarize", {"overChars": 100}), cache=FOR_A_MINUTE)
    project.call()
    assert not is_hit(project.call())
    assert 2 == len(upstream.calls())


def test_both_models_must_allow_it_and_each_stage_runs_in_its_place(shaped: Make, world: World) -> None:
    project = shaped(answering(result("a" * 50), tool("get", **READS)), ("truncate", {"maxChars": 20}), cache=FOR_A_MINUTE)
    name = project.project.servers[0]
    body = world.control.admin.get(f"/servers/{name}").json()
    of_server = model(world, ("truncate", {"maxChars": 30}))
    kept = {key: body[key] for key in ("transport", "url")}
    assert world.control.admin.put(f"/servers/{name}", {**kept, "proxyModel": of_server}).status_code == 200
    for _ in range(2):
        found = project.call()
        assert not is_hit(found)
        assert found["content"][0]["text"].startswith("a" * 20 + "\n[…")


def test_a_page_of_a_cached_result_can_still_be_read_and_else_it_is_no_hit(shaped: Make) -> None:
    project = shaped(
        answering(result("line\n" * 200), tool("get", **READS)), ("paginate", {"pageChars": 300}), cache=FOR_A_MINUTE
    )
    _, note = project.texts()
    assert note == project.texts()[1]
    cursor = json.loads(re.search(r"\{.*\}", note)[0])  # type: ignore[index]
    assert "line\n" in project.texts("mcplocal__next_page", cursor)[0]
    files = list((project.world.tmp_path / "cache" / "results").iterdir())
    max(files, key=lambda file: file.stat().st_size).unlink()
    assert note != project.texts()[1]


def test_a_result_is_kept_no_longer_than_its_pages_can_be_read(shaped: Make) -> None:
    stage = ("paginate", {"pageChars": 300, "ttlSeconds": 1})
    project = shaped(answering(result("line\n" * 200), tool("get", **READS)), stage, cache=FOR_A_MINUTE)
    project.call()
    time.sleep(1.1)
    assert not is_hit(project.call())


def test_pages_are_for_the_caller_and_asked_about_each_time(shaped: Make, world: World) -> None:
    project = shaped(answering(result("line\n" * 200)), ("paginate", {"pageChars": 300}))
    cursor = json.loads(re.search(r"\{.*\}", project.texts()[1])[0])  # type: ignore[index]
    other = project.project.token()["token"]
    refused = [
        project.call("mcplocal__next_page", cursor, as_=other),
        project.call("mcplocal__next_page", {"cursor": "x" * 32 + ".2"}),
        project.call("mcplocal__next_page", {}),
        project.call("mcplocal__next_page", {"cursor": cursor["cursor"].replace(".2", ".99")}),
    ]
    assert [refused[0]["content"]] * 4 == [one["content"] for one in refused]
    assert [True] * 4 == [one["isError"] for one in refused]
    assert "line" in project.texts("mcplocal__next_page", cursor)[0]
    # Whatever a new model would take out may be on the pages made before.
    select(world, project.project, model(world, ("paginate", {"pageChars": 300}), "redact"))
    assert refused[0]["content"] == project.call("mcplocal__next_page", cursor)["content"]


def test_a_page_is_refused_once_its_tool_is(world: World, shaped: Make) -> None:
    project = shaped(answering(result("line\n" * 200)), ("paginate", {"pageChars": 300}))
    server, name = project.project.servers[0], project.project.name
    rights = [f"role:run,resource:servers,name:{server}", f"role:view,resource:projects,name:{name}"]
    user = world.control.user(f"paging-{name}", *rights)
    session = Endpoint(project.endpoint.http, project.endpoint.url.replace("/mcp", f"/projects/{name}/mcp"), user.bearer)
    first = session.call(f"{server}__get").json()["result"]["content"]
    cursor = json.loads(re.search(r"\{.*\}", first[1]["text"])[0])  # type: ignore[index]
    assert "line" in session.call("mcplocal__next_page", cursor).json()["result"]["content"][0]["text"]
    less = {"subjects": [f"User:paging-{name}"], "roleBindings": rights[1:]}
    assert world.control.admin.put(f"/rbac/for-paging-{name}", less).status_code == 200
    until = time.monotonic() + 5
    while time.monotonic() < until:
        found = session.call("mcplocal__next_page", cursor).json()["result"]
        if found.get("isError"):
            break
    assert "There is no such page for you" in found["content"][0]["text"]
    assert "mcplocal__next_page" not in session.tools()


def test_two_people_of_the_same_rights_share_nothing(world: World, shaped: Make) -> None:
    project = shaped(Counting().upstream(tool("read", **READS)), "passthrough", cache=FOR_A_MINUTE)
    server, name = project.project.servers[0], project.project.name
    rights = [f"role:run,resource:servers,name:{server}", f"role:view,resource:projects,name:{name}"]
    users = [world.control.user(f"{who}-{name}", *rights) for who in ("ann", "ben")]
    url = project.endpoint.url.replace("/mcp", f"/projects/{name}/mcp")
    sessions = [Endpoint(project.endpoint.http, url, user.bearer) for user in users]
    # Each is known before the first is asked for a result, so the rights of both are read at one revision.
    assert [[f"{server}__read"]] * 2 == [session.tools() for session in sessions]
    found = [session.call(f"{server}__read").json()["result"] for session in (*sessions, *sessions)]
    assert [False, False, True, True] == [is_hit(one) for one in found]
    texts = [one["content"][0]["text"] for one in found]
    assert texts[:2] == texts[2:]
    assert texts[0] != texts[1]


def test_rights_that_changed_end_what_was_fetched_by_them(world: World, shaped: Make) -> None:
    project = shaped(Counting().upstream(tool("read", **READS)), "passthrough", cache=FOR_A_MINUTE)
    server, name = project.project.servers[0], project.project.name
    rights = [f"role:run,resource:servers,name:{server}", f"role:view,resource:projects,name:{name}"]
    user = world.control.user(f"changed-{name}", *rights)
    session = Endpoint(project.endpoint.http, project.endpoint.url.replace("/mcp", f"/projects/{name}/mcp"), user.bearer)

    def hits() -> bool:
        return is_hit(session.call(f"{server}__read").json()["result"])

    assert [False, True] == [hits(), hits()]
    more = {"subjects": [f"User:changed-{name}"], "roleBindings": [*rights, "role:view,resource:servers"]}
    assert world.control.admin.put(f"/rbac/for-changed-{name}", more).status_code == 200
    until = time.monotonic() + 3
    while (kept := hits()) and time.monotonic() < until:
        time.sleep(0.02)
    assert not kept
    assert hits()


def test_a_hit_is_decided_about_and_stands_in_the_audit(world: World, shaped: Make) -> None:
    project = shaped(Counting().upstream(tool("read", **READS)), "passthrough", cache=FOR_A_MINUTE)
    project.call("read")
    project.call("read")
    until = time.monotonic() + 10
    rows: list[dict[str, Any]] = []
    while len(rows) < 2 and time.monotonic() < until:
        answer = world.control.admin.get(f"/audit?project={project.project.name}&limit=1000")
        rows = [row for row in answer.json()["items"] if row["action"] == "tools/call"]
        time.sleep(0.05)
    newest, first = rows
    assert ("hit", None) == (newest["details"].get("cache"), first["details"].get("cache"))
    assert "ok" == newest["outcome"]
    assert first["rule"] == newest["rule"]


def test_the_commands_show_and_empty_it(shaped: Make) -> None:
    project = shaped(Counting().upstream(tool("read", **READS)), "passthrough", cache=FOR_A_MINUTE)
    project.call("read")
    directory = project.world.tmp_path / "cache"

    def run(*words: str) -> str:
        environment = {"MCPLOCAL_CACHE_DIR": str(directory), "PATH": ""}
        start = [sys.executable, "-c", "from mcplocal.main import main; main()", "cache", *words]
        return subprocess.run(start, env=environment, capture_output=True, text=True, check=True).stdout

    assert 1 == json.loads(run("stats", "-o", "json"))["entries"]
    assert run("clear").startswith("Removed 1 entries")
    assert not is_hit(project.call("read"))


def test_clearing_what_cannot_be_cleared_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o755)
    (tmp_path / "results").chmod(0o755)
    start = [sys.executable, "-c", "from mcplocal.main import main; main()", "cache", "clear"]
    found = subprocess.run(start, env={"MCPLOCAL_CACHE_DIR": str(tmp_path), "PATH": ""}, capture_output=True, text=True)
    assert (1, "") == (found.returncode, found.stdout)
    assert "nothing was removed" in found.stderr


@dataclass
class Person:
    """Somebody with a session."""

    name: str
    endpoint: Endpoint
    rights: set[str]
    epoch: int = 0


Fetched = tuple[str, int, str, str, float, int]
"""For whom, as of which of that person's rights, from which tool, with what, when, and as of which state of things."""


class Callers(RuleBasedStateMachine):
    """Two people with rights that change call the same tools of one server, a model over it changes, and time passes.

    **The invariant.** Whatever anybody gets was fetched for that very person, by that very call, since that person's rights
    last changed, since the model last changed, since anything was last done to the server, and within the time. And nobody
    gets anything from a tool that may not be used.
    """

    world: World
    project: Project
    server: Counting
    people: list[Person]
    gateway: Any
    later = 0.0
    hits = 0

    def __init__(self) -> None:
        super().__init__()
        # An example begins with what the one before left behind, on the disk too.
        self.fetched: dict[str, Fetched] = Callers.remembered
        caches = {"passthrough": {"ttlSeconds": 60}, "redact": {"ttlSeconds": 30}}
        self.models = [model(self.world, stage, cache=cache) for stage, cache in caches.items()]
        self._use(0)

    remembered: ClassVar[dict[str, Fetched]] = {}
    generation = 0

    def _use(self, which: int) -> None:
        select(self.world, self.project, self.models[which])
        Callers.generation += 1
        self.ttl = (60, 30)[which]
        self._settle()

    def _settle(self) -> None:
        """Wait until the gateway has heard of the newest revision."""
        newest = self.world.control.admin.get("/mcptokens/introspect").json()["revision"]
        until = time.monotonic() + 10
        while time.monotonic() < until:
            changes = self.gateway.feed._changes
            if changes and changes[-1].revision >= newest:
                return
            time.sleep(0.005)
        raise AssertionError("the gateway does not hear of changes")

    @rule(who=st.integers(0, 1), name=st.sampled_from(["read", "read", "put", "act"]), argument=st.integers(0, 1))
    def call(self, who: int, name: str, argument: int) -> None:
        person = self.people[who]
        before = len(self.server.given)
        answer = person.endpoint.call(f"{self.project.servers[0]}__{name}", {"n": argument}).json()
        if name not in person.rights:
            assert "error" in answer, answer
            assert before == len(self.server.given)
            return
        found = answer["result"]
        text = found["content"][0]["text"]
        now = time.time() + Callers.later
        if len(self.server.given) > before:
            assert self.server.given[-1] == text
            if name != "read":
                Callers.generation += 1
            self.fetched[text] = (person.name, person.epoch, name, str(argument), now, Callers.generation)
            return
        Callers.hits += 1
        assert is_hit(found)
        whose, epoch, what, with_what, at, generation = self.fetched[text]
        assert (person.name, person.epoch, name, str(argument)) == (whose, epoch, what, with_what)
        assert Callers.generation == generation
        assert now - at < self.ttl + 1

    @rule(who=st.integers(0, 1), name=st.sampled_from(["read", "put", "act"]))
    def change_rights(self, who: int, name: str) -> None:
        person = self.people[who]
        person.rights ^= {name}
        person.epoch += 1
        server = self.project.servers[0]
        bindings = [f"role:run,resource:servers,name:{server}/{one}" for one in sorted(person.rights)]
        body = {
            "subjects": [f"User:{person.name}"],
            "roleBindings": [*bindings, f"role:view,resource:projects,name:{self.project.name}"],
        }
        assert self.world.control.admin.put(f"/rbac/for-{person.name}", body).status_code == 200
        self._settle()

    @rule(who=st.integers(0, 1), name=st.sampled_from(["read", "put", "act"]))
    def rights_are_lost_and_given_back(self, who: int, name: str) -> None:
        self.call(who, "read", 0)
        self.change_rights(who, name)
        self.change_rights(who, name)
        self.call(who, "read", 0)

    @rule(who=st.integers(0, 1), seconds=st.sampled_from([0.0, 20.0, 40.0, 70.0]))
    def the_same_again_later(self, who: int, seconds: float) -> None:
        self.call(who, "read", 0)
        self.time_passes(seconds)
        self.call(who, "read", 0)

    @rule(which=st.integers(0, 1), first=st.integers(0, 1), name=st.sampled_from(["read", "put"]), argument=st.integers(0, 1))
    def one_after_the_other(self, which: int, first: int, name: str, argument: int) -> None:
        self._use(which)  # from here on the rights of both are read at the same revision
        for who in (first, 1 - first, first, 1 - first):
            self.call(who, name, argument)

    @rule(which=st.integers(0, 1))
    def change_model(self, which: int) -> None:
        self._use(which)

    @rule(seconds=st.sampled_from([1.0, 20.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        Callers.later += seconds

    @rule(byte=st.integers(0, 5000), which=st.integers(0, 50))
    def somebody_damages_a_file(self, byte: int, which: int) -> None:
        directory = self.world.tmp_path / "cache" / "results"
        files = sorted(directory.glob("[0-9a-f]*")) if directory.exists() else []
        if files:
            file = files[which % len(files)]
            whole = bytearray(file.read_bytes())
            if whole:
                whole[byte % len(whole)] ^= 1
                file.write_bytes(whole)

    @rule(first=st.integers(0, 50), second=st.integers(0, 50))
    def somebody_exchanges_files(self, first: int, second: int) -> None:
        directory = self.world.tmp_path / "cache" / "results"
        files = sorted(directory.glob("[0-9a-f]*")) if directory.exists() else []
        if len(files) > 1:
            one, other = files[first % len(files)], files[second % len(files)]
            held = one.read_bytes()
            one.write_bytes(other.read_bytes())
            other.write_bytes(held)


@pytest.mark.property
def test_nobody_ever_gets_what_was_fetched_for_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Counting()
    upstream = server.upstream(tool("read", **READS), tool("put", **REPEATS), tool("act"))
    upstream.url = world.stack.enter_context(served(upstream.app())) + "/mcp"  # type: ignore[attr-defined]
    project = world.project(c=upstream)
    app = build_app(world.settings())
    address = world.stack.enter_context(served(app))
    endpoint = world.gateway()
    rights = [f"role:run,resource:servers,name:{project.servers[0]}/{name}" for name in ("read", "put", "act")]
    rights.append(f"role:view,resource:projects,name:{project.name}")
    monkeypatch.setattr("mcplocal.results.file_cache.time", lambda: time.time() + Callers.later)
    Callers.world, Callers.project, Callers.server, Callers.gateway = world, project, server, app.state.gateway
    Callers.remembered, Callers.generation, Callers.later, Callers.hits = {}, 0, 0.0, 0
    Callers.people = []
    for name in (f"ann-{project.name}", f"ben-{project.name}"):
        user: Client = world.control.user(name, *rights)
        there = Endpoint(endpoint.http, f"{address}/projects/{project.name}/mcp", user.bearer)
        Callers.people.append(Person(name, there, {"read", "put", "act"}))
    profile = settings(max_examples=max(8, settings().max_examples // 12), stateful_step_count=25, deadline=None)
    run_state_machine_as_test(Callers, settings=profile)
    assert Callers.hits > 0


def test_two_gateways_on_one_volume_share_what_one_credential_fetched(shaped: Make, world: World) -> None:
    counting = Counting()
    project = shaped(counting.upstream(tool("read", **READS)), "passthrough", cache=FOR_A_MINUTE)
    first = project.texts("read")
    other = world.gateway(name="other").as_(project.endpoint.bearer)
    found = other.call(project.prefix + "read").json()["result"]
    assert is_hit(found)
    assert first == [block["text"] for block in found["content"]]
    assert 1 == len(counting.given)


def test_a_directory_that_cannot_be_used_fails_no_call(shaped: Make, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the directory should be")
    project = shaped(Counting().upstream(*TOOLS), "passthrough", cache=FOR_A_MINUTE, cache_dir=blocked)
    for name in ("read", "read", "put", "act"):
        assert not is_hit(project.call(name))

"""Prompts, resources and completion of all servers of a project: listed, decided and forwarded like tools, in both eras."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.test_audit import rows
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import result
from tests.gateway.upstreams import prompt, resource, template

ERAS = ["modern", "legacy"]
LISTS = ["prompts/list", "resources/list", "resources/templates/list"]
WHOLE = {
    "prompts": [prompt("greet"), prompt("bye")],
    "resources": [resource("docs://a/one"), resource("docs://a/two")],
    "templates": [template("repo://{owner}/{name}")],
    "declares": {"completions": {}},
}


def asked(endpoint: Endpoint, session: dict[str, str] | None, method: str, params: dict[str, Any]) -> httpx2.Response:
    """The answer in the era of the handshake if there is a session, else in the modern one."""
    return endpoint.modern(method, params) if session is None else endpoint.post(request(method, params), session)


def names(answer: httpx2.Response) -> list[str]:
    (entries,) = [found for found in result(answer).values() if isinstance(found, list)]
    return [entry.get("uriTemplate") or entry.get("uri") or entry["name"] for entry in entries]


@pytest.mark.requirement("R21")
@pytest.mark.parametrize("upstream_era", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_each_is_listed_and_used_in_either_era_of_either_side(world: World, era: str, upstream_era: str) -> None:
    upstream = world.upstream(era=upstream_era, **WHOLE)
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway().as_(project.token()["token"])
    session = open_session(endpoint) if era == "legacy" else None
    assert [f"{server}__greet", f"{server}__bye"] == names(asked(endpoint, session, "prompts/list", {}))
    assert ["docs://a/one", "docs://a/two"] == names(asked(endpoint, session, "resources/list", {}))
    assert ["repo://{owner}/{name}"] == names(asked(endpoint, session, "resources/templates/list", {}))
    greeting = result(asked(endpoint, session, "prompts/get", {"name": f"{server}__greet", "arguments": {"who": "you"}}))
    assert '{"who": "you"}' == greeting["messages"][0]["content"]["text"]
    for uri in ("docs://a/one", "repo://me/mine"):
        assert [{"uri": uri, "text": f"text of {uri}"}] == result(asked(endpoint, session, "resources/read", {"uri": uri}))[
            "contents"
        ]
    for reference in (
        {"type": "ref/prompt", "name": f"{server}__greet"},
        {"type": "ref/resource", "uri": "repo://{owner}/{name}"},
    ):
        about = {"ref": reference, "argument": {"name": "owner", "value": "te"}}
        assert {"values": ["test"], "total": 1} == result(asked(endpoint, session, "completion/complete", about))["completion"]
    completions = [one.body["params"]["ref"] for one in upstream.calls("completion/complete")]
    assert [{"type": "ref/prompt", "name": "greet"}, {"type": "ref/resource", "uri": "repo://{owner}/{name}"}] == completions
    if upstream_era == "modern":
        assert "greet" == upstream.calls("prompts/get")[0].headers["mcp-name"]
        assert "docs://a/one" == upstream.calls("resources/read")[0].headers["mcp-name"]


@pytest.mark.parametrize("upstream_era", ERAS)
def test_results_have_the_members_of_their_clients_era_and_no_others(world: World, upstream_era: str) -> None:
    info = {"io.modelcontextprotocol/serverInfo": {"name": "u"}, "a/b": 1}
    later = {"resultType": "complete", "ttlMs": 50, "cacheScope": "public", "_meta": info}
    held: dict[str, dict[str, Any]] = {
        "prompts/get": {"messages": [], "vendor": [1.50]},
        "resources/read": {"contents": [{"uri": "docs://a/one", "blob": "AA==", "vendor": None}]},
        "completion/complete": {"completion": {"values": [], "vendor": 1}},
    }
    answers = {method: (lambda _, method=method: json.dumps(held[method] | later)) for method in held}
    upstream = world.upstream(era=upstream_era, answers=answers, **WHOLE)
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    session = open_session(endpoint)
    named = f"{project.servers[0]}__greet"
    about = {"ref": {"type": "ref/prompt", "name": named}, "argument": {"name": "a", "value": ""}}
    for method, params in (
        ("prompts/get", {"name": named}),
        ("resources/read", {"uri": "docs://a/one"}),
        ("completion/complete", about),
    ):
        assert held[method] | {"_meta": {"a/b": 1}} == result(asked(endpoint, session, method, params))
        modern = result(asked(endpoint, None, method, params))
        assert "mcplocal" == modern.pop("_meta")["io.modelcontextprotocol/serverInfo"]["name"]
        hints = {"ttlMs": 50 if upstream_era == "modern" else 0, "cacheScope": "private"} if method == "resources/read" else {}
        assert held[method] | {"resultType": "complete"} | hints == modern
    for method in LISTS:
        listed = result(endpoint.modern(method))
        assert ("complete", 1000, "private") == (listed["resultType"], listed["ttlMs"], listed["cacheScope"])
        assert 1 == len(result(asked(endpoint, session, method, {})))
        assert -32602 == asked(endpoint, session, method, {"cursor": "x"}).json()["error"]["code"]


def test_what_a_read_resource_may_be_kept_for_is_no_longer_than_a_right_may_end(world: World) -> None:
    answers: dict[str, Any] = {"resources/read": lambda _: '{"contents":[],"ttlMs":60000,"cacheScope":"public"}'}
    project = world.project(up=world.upstream(answers=answers, resources=[resource("a:b")]))
    read = result(world.gateway().as_(project.token()["token"]).read("a:b"))
    assert (1000, "private") == (read["ttlMs"], read["cacheScope"])


def everything(answer: httpx2.Response, name: str) -> tuple[Any, ...]:
    """Everything an answer shows, with the name that was asked for covered."""
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id", "content-length")}
    return answer.status_code, headers, answer.text.replace(name, "as-asked")


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("upstream_era", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_what_is_denied_answers_exactly_as_what_is_not_there_and_its_server_never_hears_of_it(
    world: World, era: str, upstream_era: str
) -> None:
    upstream, elsewhere = world.upstream(era=upstream_era, **WHOLE), world.upstream(prompts=[prompt("other")], resources=[])
    project = world.project(up=upstream, other=elsewhere)
    server, other = project.servers
    rights = ("prompt:greet", "resource:docs://a/one", "resource:repo://me/*")
    token = project.token(*(f"role:run,resource:servers,name:{server}/{below}" for below in rights))
    endpoint = world.gateway().as_(token["token"])
    session = open_session(endpoint) if era == "legacy" else None
    assert [f"{server}__greet"] == names(asked(endpoint, session, "prompts/list", {}))
    assert ["docs://a/one"] == names(asked(endpoint, session, "resources/list", {}))
    assert ["repo://{owner}/{name}"] == names(asked(endpoint, session, "resources/templates/list", {}))
    assert "messages" in result(asked(endpoint, session, "prompts/get", {"name": f"{server}__greet"}))
    for uri in ("docs://a/one", "repo://me/mine"):
        assert "contents" in result(asked(endpoint, session, "resources/read", {"uri": uri}))
    before = len(upstream.seen), len(elsewhere.seen)

    def compared(method: str, key: str, unknown: str, denied: list[str], code: int) -> None:
        expected = asked(endpoint, session, method, {key: unknown})
        assert code == expected.json()["error"]["code"]
        for name in denied:
            assert everything(expected, unknown) == everything(asked(endpoint, session, method, {key: name}), name), name

    compared(
        "prompts/get",
        "name",
        f"{server}__nothing",
        [f"{server}__bye", f"{other}__other", f"{server}/prompt:bye", "bye"],
        -32602,
    )
    denied = ["docs://a/two", "repo://them/theirs", f"mcplocal://{server}/docs://a/two", "repo://me/../them/theirs", "nonsense"]
    denied += ["docs://a/tw%6F", "docs://a/two%20", "repo://me/mine?x", "*", "docs://a/*", f"mcplocal://{other}/docs://a/one"]
    compared("resources/read", "uri", "docs://a/none", denied, -32602 if era == "modern" else -32002)
    for kind, key, unknown, hidden in (
        ("ref/prompt", "name", f"{server}__nothing", [f"{server}__bye"]),
        ("ref/resource", "uri", "repo://{nothing}", ["docs://a/two", "repo://them/x", f"mcplocal://{server}/docs://a/two"]),
    ):
        about = {"argument": {"name": "a", "value": "b"}}
        expected = asked(endpoint, session, "completion/complete", {"ref": {"type": kind, key: unknown}, **about})
        assert -32602 == expected.json()["error"]["code"]
        for name in hidden:
            answer = asked(endpoint, session, "completion/complete", {"ref": {"type": kind, key: name}, **about})
            assert everything(expected, unknown) == everything(answer, name), name
    assert before == (len(upstream.seen), len(elsewhere.seen))


RIGHTS = [
    "{s}",
    "{s}/*",
    "{s}/prompt:*",
    "{s}/prompt:greet",
    "{s}/resource:*",
    "{s}/resource:docs://a/t*",
    "{s}/greet",
    "{s}/echo",
]


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("upstream_era", ERAS)
def test_a_list_shows_exactly_what_can_be_got_or_read(world: World, upstream_era: str) -> None:
    project = world.project(up=world.upstream(era=upstream_era, **WHOLE), other=world.upstream(prompts=[prompt("greet")]))
    gateway = world.gateway()
    whole = gateway.as_(project.token()["token"])
    prompts, resources = whole.prompts(), whole.resources()
    assert (3, 2) == (len(prompts), len(resources))
    for right in RIGHTS:
        name = right.format(s=project.servers[0])
        endpoint = gateway.as_(project.token(f"role:run,resource:servers,name:{name}")["token"])
        assert endpoint.prompts() == [one for one in prompts if "result" in endpoint.get(one).json()], right
        assert endpoint.resources() == [one for one in resources if "result" in endpoint.read(one).json()], right
        assert ("{s}/prompt:greet" == right) == ([prompts[0]] == endpoint.prompts()), right


def test_a_template_nothing_of_which_may_be_read_is_not_listed_nor_completed(world: World) -> None:
    templates = [template("repo://{owner}/{name}"), template("wiki://{page}")]
    upstream = world.upstream(resources=[], templates=templates, declares={"completions": {}})
    project = world.project(up=upstream)
    server = project.servers[0]
    about = {"argument": {"name": "owner", "value": "te"}}
    for right, listed in (
        (f"{server}", ["repo://{owner}/{name}", "wiki://{page}"]),
        (f"{server}/resource:*", ["repo://{owner}/{name}", "wiki://{page}"]),
        (f"{server}/resource:repo://me/mine", ["repo://{owner}/{name}"]),
        (f"{server}/resource:repo://me/mi*", ["repo://{owner}/{name}"]),
        (f"{server}/resource:re*", ["repo://{owner}/{name}"]),
        (f"{server}/resource:wiki://home*", ["wiki://{page}"]),
        (f"{server}/resource:repo://me/mine/more", []),
        (f"{server}/prompt:*", []),
    ):
        endpoint = world.gateway().as_(project.token(f"role:run,resource:servers,name:{right}")["token"])
        assert listed == endpoint.templates(), right
        answer = endpoint.modern(
            "completion/complete", {"ref": {"type": "ref/resource", "uri": "repo://{owner}/{name}"}, **about}
        )
        assert ("result" in answer.json()) == ("repo://{owner}/{name}" in listed), right


def test_no_spelling_of_a_uri_leads_out_of_what_a_binding_names(world: World) -> None:
    upstream = world.upstream(resources=[], templates=[template("file:///{+path}")])
    project = world.project(up=upstream)
    token = project.token(f"role:run,resource:servers,name:{project.servers[0]}/resource:file:///pub/*")
    endpoint = world.gateway().as_(token["token"])
    out = [
        "pub/../secret",
        "pub/%2e%2E/secret",
        "pub/./../secret",
        "%70ub/../secret",
        "pub/..",
        "pub%2f..%2fsecret",
        "pub",
        "secret",
    ]
    out += ["pub/..%2fsecret", "pub//secret", "pub/%252e%252e/secret", "PUB/a", "pub/a%00", "pub/a*", "pub/*"]
    for uri in (*out, "/pub/../../secret"):
        assert -32602 == endpoint.read(f"file:///{uri}").json()["error"]["code"], uri
    assert [] == upstream.calls("resources/read")
    for uri in ("pub/a", "%70ub/%61"):
        assert "contents" in result(endpoint.read(f"file:///{uri}"))
    assert ["file:///pub/a"] * 2 == [one.body["params"]["uri"] for one in upstream.calls("resources/read")]


def test_every_use_leaves_one_event_by_its_own_method_and_name(world: World) -> None:
    upstream = world.upstream(**WHOLE)
    seen: list[Any] = []
    project = world.project(up=upstream)
    server = project.servers[0]
    rights = ("prompt:greet", "resource:docs://a/one", "resource:repo://me/*")
    token = project.token(*(f"role:run,resource:servers,name:{server}/{below}" for below in rights))
    endpoint = world.gateway(on_decision=seen.append).as_(token["token"])
    endpoint.get(f"{server}__greet", {"secret": "a very private argument"})
    endpoint.get(f"{server}__bye")
    endpoint.get(f"{server}__nothing")
    endpoint.read("docs://a/one")
    endpoint.read("docs://a/two")
    endpoint.read("repo://me/%6Dine")
    endpoint.read("nothing://at/all")
    about = {"argument": {"name": "owner", "value": "te"}}
    endpoint.modern("completion/complete", {"ref": {"type": "ref/prompt", "name": f"{server}__greet"}, **about})
    upstream.answers["resources/read"] = lambda _: -32603
    endpoint.read("docs://a/one")
    expected = [
        ("prompts/get", server, "prompt:greet", True, "ok"),
        ("prompts/get", server, "prompt:bye", False, "refused"),
        ("prompts/get", None, f"{server}__nothing", False, "refused"),
        ("resources/read", server, "resource:docs://a/one", True, "ok"),
        ("resources/read", server, "resource:docs://a/two", False, "refused"),
        ("resources/read", server, "resource:repo://me/mine", True, "ok"),
        ("resources/read", None, "nothing://at/all", False, "refused"),
        ("completion/complete", server, "prompt:greet", True, "ok"),
        ("resources/read", server, "resource:docs://a/one", True, "upstream_error"),
    ]
    until(lambda: len(seen) == len(expected), 3)
    assert expected == [tuple(event[key] for key in ("method", "server", "tool", "allowed", "outcome")) for event in seen]
    assert "a very private argument" not in json.dumps(seen)
    assert f"run servers {server}/prompt:bye" in seen[1]["reason"]
    assert "no such resource" in seen[6]["reason"]
    until(lambda: len(rows(world, project.name)) == len(expected), 3)
    stored = {(row["action"], row["name"], row["allowed"]) for row in rows(world, project.name)}
    assert {(method, f"{at or '-'}/{name}", allowed) for method, at, name, allowed, _ in expected} == stored


@pytest.mark.parametrize("upstream_era", ERAS)
def test_a_resource_that_its_server_does_not_find_is_not_found_in_the_clients_era(world: World, upstream_era: str) -> None:
    answers: dict[str, Any] = {"resources/read": lambda _: -32602 if upstream_era == "modern" else -32002}
    upstream = world.upstream(era=upstream_era, answers=answers, resources=[resource("a:b")])
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    error = {"message": "no", "data": {"uri": "a:b"}}
    assert (400, {"code": -32602, **error}) == ((answer := endpoint.read("a:b")).status_code, answer.json()["error"])
    answer = asked(endpoint, open_session(endpoint), "resources/read", {"uri": "a:b"})
    assert (200, {"code": -32002, **error}) == (answer.status_code, answer.json()["error"])


def test_what_is_no_result_of_its_method_is_an_error(world: World) -> None:
    odd: dict[str, Any] = {
        "prompts/get": lambda _: '{"messages":{}}',
        "resources/read": lambda _: '{"contents":{}}',
        "completion/complete": lambda _: '{"completion":[]}',
    }
    project = world.project(up=world.upstream(**{**WHOLE, "answers": odd}))
    endpoint = world.gateway().as_(project.token()["token"])
    named = f"{project.servers[0]}__greet"
    about = {"ref": {"type": "ref/prompt", "name": named}, "argument": {"name": "a", "value": ""}}
    for answer in (endpoint.get(named), endpoint.read("docs://a/one"), endpoint.modern("completion/complete", about)):
        assert -32603 == answer.json()["error"]["code"]


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("prompts/get", {}),
    ("prompts/get", {"name": None}),
    ("prompts/get", {"name": "x", "arguments": []}),
    ("resources/read", {}),
    ("resources/read", {"uri": None}),
    ("completion/complete", {"argument": {"name": "a", "value": ""}}),
    ("completion/complete", {"ref": "ref/prompt"}),
    ("completion/complete", {"ref": {"type": ["ref/prompt"], "name": "x"}}),
    ("completion/complete", {"ref": {"type": "ref/tool", "name": "x"}}),
    ("completion/complete", {"ref": {"type": "ref/resource", "name": "x"}}),
]


@pytest.mark.parametrize("era", ERAS)
def test_a_request_that_does_not_say_what_it_is_about_is_refused(world: World, era: str) -> None:
    endpoint = world.gateway().as_(world.project(up=world.upstream(**WHOLE)).token()["token"])
    session = open_session(endpoint) if era == "legacy" else None
    for method, params in MALFORMED:
        assert -32602 == asked(endpoint, session, method, params).json()["error"]["code"], (method, params)


def test_the_name_header_repeats_the_uri(world: World) -> None:
    endpoint = world.gateway().as_(world.project(up=world.upstream(**WHOLE)).token()["token"])
    assert -32020 == endpoint.modern("resources/read", {"uri": "docs://a/one"}, Mcp_Name="docs://a/two").json()["error"]["code"]


@pytest.mark.parametrize("upstream_era", ERAS)
def test_progress_of_a_read_reaches_the_client_under_its_own_token(world: World, upstream_era: str) -> None:
    project = world.project(up=world.upstream(era=upstream_era, as_stream=2, **WHOLE))
    endpoint = world.gateway().as_(project.token()["token"])
    endpoint.resources()
    answer = endpoint.modern("resources/read", {"uri": "docs://a/one", "_meta": {**META, "progressToken": "tok"}})
    messages = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert ["tok", "tok"] == [message["params"]["progressToken"] for message in messages[:-1]]
    assert "contents" in messages[-1]["result"]

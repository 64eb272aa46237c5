"""A server of the SDK with a bit of everything, as agents see it: over HTTP and pipes on both sides, in both eras."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import PromptReference, ResourceTemplateReference

from mcpctl.endpoint_test.official_schemas import wrong_error, wrong_result
from mcplocal.wire import LATEST_LEGACY, MODERN_VERSION
from tests.gateway import library_server
from tests.gateway.conftest import Project, World
from tests.gateway.test_bridge import COMMAND, base, entry, local_bearer, modern
from tests.gateway.test_legacy_wire import initialize, open_session, request
from tests.gateway.test_prompts_and_resources import LISTS, WHOLE, asked
from tests.gateway.test_story import ERAS, with_sdk
from tests.gateway.test_upstreams import result
from tests.gateway.upstreams import served

ROOT = Path(__file__).parent.parent.parent
LIBRARY = [
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.gateway.library_server as l; l.build_server().run('stdio')",
]
ALLOW = [[LIBRARY[0], "-c", "**"]]


async def seen_by(client: Client, server: str) -> None:
    """An agent that looks at all there is and uses all of it."""
    assert [f"{server}__recommend"] == [one.name for one in (await client.list_prompts()).prompts]
    assert ["library://shelf"] == [str(one.uri) for one in (await client.list_resources()).resources]
    assert ["library://books/{title}"] == [
        one.uri_template for one in (await client.list_resource_templates()).resource_templates
    ]
    got = await client.get_prompt(f"{server}__recommend", {"mood": "merry"})
    assert "feels merry" in str(got.messages)
    for uri, text in (("library://shelf", "dune\ndubliners\nemma"), ("library://books/emma", "Highbury")):
        (content,) = (await client.read_resource(uri)).contents
        assert (uri, text) == (str(content.uri), getattr(content, "text", None))
    about = ResourceTemplateReference(type="ref/resource", uri="library://books/{title}")
    completed = await client.complete(about, {"name": "title", "value": "du"})
    assert ["dune", "dubliners"] == completed.completion.values
    nothing = await client.complete(
        PromptReference(type="ref/prompt", name=f"{server}__recommend"), {"name": "mood", "value": "m"}
    )
    assert [] == nothing.completion.values
    for unknown in (client.get_prompt("nothing", {}), client.read_resource("library://attic")):
        with pytest.raises(MCPError, match="Unknown"):
            await unknown


@pytest.mark.parametrize("transport", ["http", "stdio"])
@pytest.mark.parametrize("mode", ERAS)
def test_an_agent_over_http_uses_all_there_is_of_a_server(world: World, mode: str, transport: str) -> None:
    url = world.stack.enter_context(served(library_server.build_app())) + "/mcp" if transport == "http" else None
    project = world.project(library=url or LIBRARY)
    endpoint = world.gateway(stdio_allow=ALLOW).as_(project.token()["token"])
    with_sdk(endpoint, mode, lambda client: seen_by(client, project.servers[0]))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_over_pipes_uses_all_there_is_of_a_server(world: World, mode: str) -> None:
    url = world.stack.enter_context(served(library_server.build_app())) + "/mcp"
    project = world.project(library=url)
    gateway = base(world.gateway())
    environ = {"MCPCTL_TOKEN": project.token()["token"], "MCPLOCAL_GATEWAY": gateway, "MCPCTL_CONFIG": "/nonexistent"}
    parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environ)

    async def run() -> None:
        async with Client(stdio_client(parameters), mode=mode) as client:
            await seen_by(client, project.servers[0])

    asyncio.run(run())


def test_the_bridge_passes_both_eras_and_what_is_refused(world: World) -> None:
    url = world.stack.enter_context(served(library_server.build_app())) + "/mcp"
    project = world.project(library=url)
    server = project.servers[0]
    token = project.token(f"role:run,resource:servers,name:{server}/resource:library://books/emma")["token"]
    with entry(world, MCPCTL_TOKEN=token, MCPLOCAL_GATEWAY=base(world.gateway())) as running:
        assert ["library://books/{title}"] == uses(running.ask(modern("resources/templates/list")))
        assert [] == uses(running.ask(modern("resources/list", 2)))
        assert "Highbury" in str(running.ask(modern("resources/read", 3, uri="library://books/emma"))["result"])
        assert -32602 == running.ask(modern("resources/read", 4, uri="library://books/dune"))["error"]["code"]
        running.ask(initialize())
        running.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert [] == uses(running.ask(request("prompts/list", {}, 5)))
        assert "Highbury" in str(running.ask(request("resources/read", {"uri": "library://books/emma"}, 6))["result"])
        assert -32002 == running.ask(request("resources/read", {"uri": "library://books/dune"}, 7))["error"]["code"]
        assert -32602 == running.ask(request("prompts/get", {"name": f"{server}__recommend"}, 8))["error"]["code"]


def uses(answer: dict[str, Any]) -> list[str]:
    """What a list calls its entries."""
    (entries,) = [found for found in answer["result"].values() if isinstance(found, list)]
    return [one.get("uriTemplate") or one.get("uri") or one["name"] for one in entries]


def test_locally_the_gateway_itself_has_all_of_it_too(world: World) -> None:
    project: Project = world.project(library=LIBRARY)
    server = project.servers[0]
    environ = {
        "MCPCTL_TOKEN": local_bearer(world, project, f"action:gateway,name:{project.name}"),
        "MCPCTL_SERVER": world.control.address,
        "MCPLOCAL_STATE_DIR": str(world.tmp_path / "local-state"),
        "MCPLOCAL_STDIO_ALLOW": json.dumps(ALLOW),
    }
    with entry(world, "--local", "--project", project.name, **environ) as running:
        assert [f"{server}__recommend"] == uses(running.ask(modern("prompts/list")))
        assert "Highbury" in str(running.ask(modern("resources/read", 2, uri="library://books/emma"))["result"])
        running.ask(initialize())
        assert ["library://shelf"] == uses(running.ask(request("resources/list", {}, 3)))
        assert "feels sad" in str(
            running.ask(request("prompts/get", {"name": f"{server}__recommend", "arguments": {"mood": "sad"}}, 4))
        )
        assert -32002 == running.ask(request("resources/read", {"uri": "library://attic"}, 5))["error"]["code"]
        assert 0 == running.end()


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_every_answer_is_what_the_schema_of_its_revision_says(world: World, era: str) -> None:
    url = world.stack.enter_context(served(library_server.build_app())) + "/mcp"
    upstream = world.upstream(era="legacy" if era == "modern" else "modern", **WHOLE)
    project = world.project(library=url, other=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    session = open_session(endpoint) if era == "legacy" else None
    revision = LATEST_LEGACY if era == "legacy" else MODERN_VERSION
    recommend, greet = f"{project.servers[0]}__recommend", f"{project.servers[1]}__greet"
    about = {"argument": {"name": "title", "value": "d"}}
    answered: list[tuple[str, dict[str, Any]]] = [
        *((method, {}) for method in LISTS),
        ("prompts/get", {"name": recommend, "arguments": {"mood": "sad"}}),
        ("prompts/get", {"name": greet}),
        *(
            ("resources/read", {"uri": uri})
            for uri in ("library://shelf", "library://books/emma", "docs://a/one", "repo://a/b")
        ),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "library://books/{title}"}, **about}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": greet}, **about}),
        *([("server/discover", {})] if era == "modern" else []),
    ]
    for method, params in answered:
        assert "" == wrong_result(revision, method, result(asked(endpoint, session, method, params))), (method, params)
    assert "" == wrong_result(LATEST_LEGACY, "initialize", endpoint.post(initialize()).json()["result"])
    refused: list[tuple[str, dict[str, Any]]] = [
        ("prompts/get", {"name": "nothing"}),
        ("resources/read", {"uri": "no:thing"}),
        ("prompts/list", {"cursor": "x"}),
    ]
    for method, params in refused:
        assert "" == wrong_error(revision, asked(endpoint, session, method, params).json()), method

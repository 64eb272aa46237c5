"""``mcpctl test mcp --project``: the gateway of a project, tested with tokens that were made for it and are gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack
from typing import Any

import pytest

from mcpctl.cli.project_tokens import terminated_gently
from mcpctl.endpoint_test.check import Level
from mcpctl.endpoint_test.options import Grants
from tests.cli.conftest import Mcpctl
from tests.endpoint_test.conftest import judge
from tests.endpoint_test.messages import GOOD, SECOND
from tests.gateway.conftest import World


def rights(url: str, **options: Any) -> dict[str, tuple[Level, str]]:
    report = judge(url, ("G",), **options)
    return {one.check.id: (one.level, one.said) for one in report.outcomes if one.check.family == "G"}


def document(output: str) -> dict[str, Any]:
    """The report, among what the gateway of this very process logs."""
    found: dict[str, Any] = json.JSONDecoder().raw_decode(output, output.index("{\n"))[0]
    return found


@pytest.mark.parametrize("names", ["prefixed", "plain"])
def test_the_gateway_keeps_to_the_rights_of_tokens_made_for_the_test(
    names: str,
    world: World,
    time_url: str,
    mcpctl: Mcpctl,
) -> None:
    project, other = world.project(names, time=time_url), world.project(time=time_url)
    endpoint = world.gateway()
    mcpctl.use(world.control.address, world.control.admin.bearer)
    mcpctl.ok("config", "set-context", "test", "--gateway", endpoint.url.removesuffix("/mcp"))
    ran = mcpctl("test", "mcp", "-p", project.name, "-o", "json")
    found = {one["id"]: one for one in document(ran.out)["checks"]}
    assert {} == {name: one["said"] for name, one in found.items() if name[0] == "G" and one["level"] != "pass"}
    assert "now" in found["G1-call"]["said"]
    assert 0 == ran.code
    for name in (project.name, other.name):
        assert [] == world.control.admin.get("/mcptokens", params={"project": name}).json()["items"]


def test_each_check_of_rights_fails_where_the_gateway_does(world: World, time_url: str) -> None:
    project = world.project(time=time_url)
    url, token = world.gateway().at(f"/projects/{project.name}/mcp").url, project.token()["token"]
    found = rights(url, token=token, grants=Grants(lambda _: False, token, token))
    assert (Level.FAIL, Level.SKIP) == (found["G1-may"][0], found["G1-call"][0])
    assert (Level.FAIL, Level.SKIP, Level.FAIL) == (found["G2-hidden"][0], found["G2-refused"][0], found["G3-foreign"][0])
    found = rights(url, token=token, grants=Grants(lambda _: True), calls={"no-such-tool": {}})
    assert Level.FAIL is found["G1-call"][0]


def test_a_tool_that_is_hidden_and_can_be_called_is_a_failure(reference: str) -> None:
    found = rights(f"{reference}/hides-but-serves/mcp", token=GOOD, grants=Grants(lambda _: True, SECOND))
    assert (Level.PASS, Level.FAIL) == (found["G2-hidden"][0], found["G2-refused"][0])


def test_what_was_made_for_a_run_is_deleted_when_the_run_is_terminated() -> None:
    deleted: list[str] = []

    def run() -> None:
        with ExitStack() as stack:
            stack.enter_context(terminated_gently())
            stack.callback(deleted.append, "token")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        run()
    assert 143 == left.value.code
    assert ["token"] == deleted
    assert before == signal.getsignal(signal.SIGTERM)


def test_the_tokens_of_a_project_go_to_another_origin_only_on_demand(mcpctl: Mcpctl) -> None:
    mcpctl.use("http://127.0.0.1:9", GOOD)
    mcpctl.ok("config", "set-context", "test", "--gateway", "https://gw.example.com")
    ran = mcpctl("test", "mcp", "http://127.0.0.1:9/mcp", "-p", "demo")
    assert 1 == ran.code
    assert "--other-origin sends the tokens there" in ran.err
    assert "--other-origin" not in mcpctl("test", "mcp", "http://127.0.0.1:9/mcp", "-p", "demo", "--other-origin").err


def test_without_a_known_gateway_it_says_how_to_name_one(world: World, mcpctl: Mcpctl) -> None:
    mcpctl.use(world.control.address, world.control.admin.bearer)
    ran = mcpctl("test", "mcp", "-p", "demo")
    assert 1 == ran.code
    assert "mcpctl config set-context NAME --gateway URL" in ran.err


def test_a_project_that_is_not_there_has_the_exit_code_of_every_command(
    world: World,
    mcpctl: Mcpctl,
) -> None:
    mcpctl.use(world.control.address, world.control.admin.bearer)
    ran = mcpctl("test", "mcp", "http://127.0.0.1:9/mcp", "-p", "nowhere")
    assert 6 == ran.code

"""The clients that agents are built on see through the gateway exactly what their token may run, and can run it."""

from __future__ import annotations

import pytest

from tests.interop.agents import AGENTS, Agent
from tests.interop.conftest import Foreign, Stage, require_npm

pytestmark = pytest.mark.timeout(300)  # the first one installs packages

TOKYO = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}


@pytest.fixture(scope="session")
def clock(stage: Stage) -> Foreign:
    return stage.foreign("time")


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Agent:
    found = AGENTS[request.param]
    if found.needs_npm:
        require_npm()
    return found


def test_a_client_lists_and_calls_what_its_token_may_run_and_what_it_may_not_is_like_nothing(
    stage: Stage, clock: Foreign, agent: Agent
) -> None:
    mine, denied, unknown = (f"{clock.name}__{tool}" for tool in ("convert_time", "get_current_time", "get_future_time"))
    token = clock.project.token(f"role:run,resource:servers,name:{clock.name}/convert_time")
    visit = agent.visit(stage.door(token), agent.mode, [(mine, TOKYO), (denied, {"timezone": "UTC"}), (unknown, {})])
    assert agent.version == visit.version
    assert [mine] == visit.names
    told, refused, missing = visit.answers
    assert "+9.0h" in told["result"]["content"][0]["text"]
    assert not told["result"].get("isError")
    assert missing["error"] == {**refused["error"], "message": refused["error"]["message"].replace(denied, unknown)}
    assert denied in refused["error"]["message"]

"""Servers of other makers answer through the gateway what they answer directly."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from tests.interop.agents import AGENTS, LEGACY, MODERN, Agent, Call, Door, Visit, python_sdk, typescript
from tests.interop.conftest import Foreign, Stage

pytestmark = pytest.mark.timeout(300)  # the first one installs packages

LONG: Call = ("trigger-long-running-operation", {"duration": 0.3, "steps": 3})
EVERYTHING: list[Call] = [
    ("echo", {"message": "zwölf ✓ \U0001f980"}),
    ("get-sum", {"a": 2, "b": 3}),
    ("get-sum", {"a": "two"}),
    ("get-annotated-message", {"messageType": "error", "includeImage": True}),
    ("get-tiny-image", {}),
    ("get-structured-content", {"location": "Chicago"}),
    ("get-structured-content", {"location": "Rome"}),
    ("get-resource-links", {"count": 3}),
    ("gzip-file-as-resource", {"name": "a.gz", "data": "data:text/plain,hello", "outputType": "resource"}),
    LONG,
    ("simulate-research-query", {"topic": "python"}),
]
TIME: list[Call] = [
    ("convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Kathmandu"}),
    ("convert_time", {"source_timezone": "Mars/Olympus", "time": "12:00", "target_timezone": "UTC"}),
    ("convert_time", {}),
]
CASES: dict[str, tuple[list[str], list[Call]]] = {
    "everything-http": (["echo", "get-env", "get-resource-reference", "toggle-simulated-logging"], EVERYTHING),
    "everything-stdio": (["echo", "get-env", "get-resource-reference", "toggle-simulated-logging"], EVERYTHING),
    "time": (["get_current_time", "convert_time"], TIME),
    "time-legacy": (["get_current_time", "convert_time"], TIME),
    "git": (
        ["git_status", "git_log", "git_diff_unstaged", "git_commit"],
        [
            ("git_status", {"repo_path": "{repository}"}),
            ("git_log", {"repo_path": "{repository}", "max_count": 5}),
            ("git_diff_unstaged", {"repo_path": "{repository}"}),
            ("git_show", {"repo_path": "{repository}", "revision": "HEAD"}),
            ("git_show", {"repo_path": "{repository}", "revision": "nothing"}),
            ("git_branch", {"repo_path": "{repository}", "branch_type": "local"}),
            ("git_status", {"repo_path": "/"}),
        ],
    ),
}
ERAS = {"legacy": LEGACY, MODERN: MODERN}
TALKERS = [name for name in AGENTS if "TypeScript" in name]
"""Clients besides the Python SDK that make many calls in one visit."""
SDKS = {"the TypeScript SDK v1": typescript("v1.mjs"), "the TypeScript SDK v2": typescript("v2.mjs")}


def calls_of(stage: Stage, kind: str) -> list[Call]:
    def filled(value: Any) -> Any:
        return value.replace("{repository}", str(stage.repository)) if isinstance(value, str) else value

    return [(tool, {name: filled(value) for name, value in given.items()}) for tool, given in CASES[kind][1]]


def through(stage: Stage, foreign: Foreign, agent: Agent, calls: list[Call]) -> Visit:
    """A visit through the gateway, with the names the server itself uses."""
    prefix = f"{foreign.name}__"
    visit = agent.visit(stage.door(foreign.project.token()), agent.mode, [(prefix + tool, given) for tool, given in calls])
    assert agent.version == visit.version
    assert [] == [name for name in visit.names if not name.startswith(prefix)]
    for tool in visit.tools:
        tool["name"] = tool["name"].removeprefix(prefix)
    for answer in visit.answers:
        if "error" in answer:  # a client's own refusal names the tool as it knows it
            answer["error"]["message"] = answer["error"]["message"].replace(prefix, "")
    return visit


def told(visit: Visit) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Tools and answers without what the later era adds to every result, and without what its clients drop from tools."""
    for answer in visit.answers:
        for member in ("_meta", "resultType"):
            answer.get("result", {}).pop(member, None)
    for tool in visit.tools:
        tool.pop("execution", None)
    return visit.tools, visit.answers


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("kind", CASES)
def test_a_server_lists_and_answers_through_the_gateway_what_it_does_directly(stage: Stage, kind: str, mode: str) -> None:
    foreign, calls = stage.foreign(kind), calls_of(stage, kind)
    visit = through(stage, foreign, Agent(python_sdk, mode, ERAS[mode]), calls)
    assert set(CASES[kind][0]) <= set(visit.names)
    assert told(foreign.directly(calls)) == told(visit)


@pytest.mark.parametrize("name", TALKERS)
def test_a_client_hears_through_the_gateway_what_it_hears_from_a_server_directly(stage: Stage, name: str) -> None:
    foreign = stage.foreign("everything-http")
    visit = through(stage, foreign, AGENTS[name], EVERYTHING)
    long = visit.answers[EVERYTHING.index(LONG)]
    if name.endswith("over stdio"):  # these SDKs lose progress that comes in one read with the result, whoever sent it
        long["progress"] += [1, 2, 3][len(long["progress"]) :]
    assert [1, 2, 3] == long["progress"]
    assert told(directly(name.partition(", ")[0], foreign.url)) == told(visit)


@cache
def directly(sdk: str, url: str) -> Visit:
    """What an SDK hears without a gateway, in the era that the server speaks."""
    return SDKS[sdk](Door(url, "none"), "legacy", EVERYTHING)

"""The agent of ``examples/vllm_agent``, with a model that is a script: what it is offered, what it calls, what it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes import rendering
from tests.kubernetes.rules import images_have_a_version, runs_as_nobody_and_writes_nowhere, shares_nothing_with_its_node
from tests.test_quickstart import Running, start

AGENT = Path(__file__).parents[1] / "examples" / "vllm_agent"


class Model(ThreadingHTTPServer):
    """``/v1/chat/completions`` as vLLM answers it: first the calls it was given, then what came of them."""

    def __init__(self, calls: list[tuple[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.calls = calls
        self.asked: list[dict[str, Any]] = []


class Answer(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        """One round of the conversation."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        message: dict[str, Any] = {"role": "assistant", "content": None}
        if len(self.server.asked) == 1:
            message["tool_calls"] = [
                {"id": f"call-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
                for number, (name, arguments) in enumerate(self.server.calls)
            ]
        else:
            message["content"] = "It says: " + " | ".join(one["content"] for one in body["messages"] if one["role"] == "tool")
        answer = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Not on the tests' terminal."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    quickstart = start(tmp_path_factory.mktemp("agent") / "data")
    yield quickstart
    assert 0 == quickstart.stop()


def test_the_model_sees_what_the_token_may_call_and_is_told_what_a_tool_says_and_that_another_is_unknown(
    running: Running, tmp_path: Path
) -> None:
    with running.admin() as admin:
        (tmp_path / "token").write_text(running.mint(admin, "clock", "role:run,resource:servers,name:time/now") + "\n")
    model = Model([("time__now", '{"zone": "Europe/Rome"}'), ("notes__list_notes", "{}"), ("time__now", "no JSON")])
    threading.Thread(target=model.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model.server_address[1]}/v1",
        "OPENAI_MODEL": "a-model",
        "MCP_URL": running.gateway + "/mcp",
        "MCP_TOKEN_FILE": str(tmp_path / "token"),
    }
    command = [sys.executable, str(AGENT / "agent.py"), "What time is it in Rome?"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    model.shutdown()
    model.server_close()
    assert 0 == done.returncode, done.stderr
    first, second = model.asked
    assert ["time__now"] == [tool["function"]["name"] for tool in first["tools"]]
    assert "object" == first["tools"][0]["function"]["parameters"]["type"]
    told = [one["content"] for one in second["messages"] if one["role"] == "tool"]
    assert "Europe/Rome" in told[0]
    assert [True, True] == [said.startswith("error: ") for said in told[1:]]
    assert done.stdout.startswith("It says: ")


def test_its_job_is_confined_as_everything_else_is() -> None:
    documents = rendering.render(AGENT)
    for rule in (runs_as_nobody_and_writes_nowhere, shares_nothing_with_its_node, images_have_a_version):
        assert [] == list(rule(documents))
    labels = rendering.one(documents, "Namespace", "agents")["metadata"]["labels"]
    assert "allowed" == labels["mcpctl/agents"]

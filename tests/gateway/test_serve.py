"""``mcplocal serve`` as a process: it says where it serves; on SIGTERM it ends its work, its children, and itself with 0."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress

import httpx2

from tests.gateway.conftest import JSON_HEADERS, Endpoint, World
from tests.gateway.processes import children_of, is_alive
from tests.gateway.test_bridge import COMMAND
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.test_story import NOTES, until
from tests.gateway.test_upstreams import result


def test_it_serves_drains_and_exits_with_zero(world: World) -> None:
    slow = world.upstream()
    project = world.project(notes=NOTES, slow=slow)
    notes, other = project.servers
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCPLOCAL_")}
    environ |= {
        "MCPLOCAL_CONTROL_PLANE": world.control.address,
        "MCPLOCAL_CREDENTIAL_FILE": str(world.credential),
        "MCPLOCAL_UPSTREAM_NETWORKS": "127.0.0.0/8",
        "MCPLOCAL_STATE_DIR": str(world.tmp_path / "state"),
        "MCPLOCAL_LOG_FORMAT": "json",
    }
    with subprocess.Popen(
        [*COMMAND, "serve", "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            assert process.stderr is not None
            line = ""
            while not line.startswith("mcplocal serves "):
                line = process.stderr.readline()
                assert line
            drained = threading.Thread(target=process.stderr.read)
            drained.start()
            with httpx2.Client(timeout=20, trust_env=False) as http:
                endpoint = Endpoint(http, line.split()[-1], project.token()["token"])
                assert result(endpoint.call(f"{notes}__list_notes"))["structuredContent"] == {"result": []}
                family = children_of(process.pid)
                assert len(family) == 2  # the server, and the process that would end it if the gateway were killed
                slow.delay = 1.0
                answers: list[httpx2.Response] = []
                calling = threading.Thread(target=lambda: answers.append(endpoint.call(f"{other}__echo")))
                calling.start()
                until(lambda: len(slow.calls()) == 1, 5)
                process.send_signal(signal.SIGTERM)
                calling.join(10)
                assert "isError" not in result(answers[0])
            begun = time.monotonic()
            assert process.wait(15) == 0
            assert time.monotonic() - begun < 10
            until(lambda: not any(is_alive(one) for one in family), 5)
            drained.join(5)
        finally:
            process.kill()


def test_a_second_signal_waits_for_nothing_and_loses_no_event(world: World) -> None:
    project = world.project(slow=world.upstream(drip=0.05))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCPLOCAL_")}
    environ |= {
        "MCPLOCAL_CONTROL_PLANE": world.control.address,
        "MCPLOCAL_CREDENTIAL_FILE": str(world.credential),
        "MCPLOCAL_UPSTREAM_NETWORKS": "127.0.0.0/8",
        "MCPLOCAL_STATE_DIR": str(world.tmp_path / "state"),
        "MCPLOCAL_DRAIN_DELAY": "60s",
    }
    command = [*COMMAND, "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if line.startswith("mcplocal serves "))
            drained = threading.Thread(target=process.stderr.read)
            drained.start()
            with httpx2.Client(timeout=20, trust_env=False) as http:
                endpoint = Endpoint(http, line.split()[-1], project.token()["token"])
                headers = {**JSON_HEADERS, "Authorization": f"Bearer {endpoint.bearer}", **open_session(endpoint)}
                params = {"name": f"{project.servers[0]}__echo", "arguments": {}, "_meta": {"progressToken": 1}}
                body = request("tools/call", params)
                with http.stream("POST", endpoint.url, json=body, headers=headers) as answer:
                    lines = answer.iter_lines()
                    next(lines)
                    process.send_signal(signal.SIGTERM)
                    # Two that come at once are one to a process: the second is for when the first has been seen.
                    until(lambda: http.get(endpoint.url.removesuffix("/mcp") + "/readyz").status_code == 503, 5)
                    begun = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                    with suppress(httpx2.TransportError):
                        for _ in lines:
                            pass
            assert process.wait(8) == 0
            assert time.monotonic() - begun < 20, "less than the drain of 60 s"
            drained.join(5)
        finally:
            process.kill()

    def audited() -> list[str]:
        rows = world.control.admin.get(f"/audit?project={project.name}&limit=50").json()["items"]
        return [row["outcome"] for row in rows if row["action"] == "tools/call"]

    until(lambda: audited() == ["cancelled"], 5)


def test_without_a_credential_it_says_what_is_missing() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCPLOCAL_")}
    done = subprocess.run(
        [*COMMAND, "serve", "--listen", "127.0.0.1:0"], capture_output=True, text=True, env=environ, timeout=20
    )
    assert done.returncode == 2
    assert "MCPLOCAL_CREDENTIAL_FILE" in done.stderr
    assert "Traceback" not in done.stderr

"""Upstream, control plane and gateway as real processes, killed in the middle of calls and started again, in any order.

Whatever happens, an answer is the one to the question that was asked, no call is made twice, nobody waits beyond the deadline,
who was revoked stays out, clients recover as the protocol says, and no process is left behind.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.gateway.conftest import JSON_HEADERS, META
from tests.gateway.killable import logged
from tests.gateway.processes import children_of, is_alive
from tests.gateway.test_legacy_wire import initialize
from tests.gateway.test_story import until
from tests.gateway.upstreams import MODERN
from tests.serving import ADMIN_PASSWORD, Client, made

DEADLINE = 10.0
"""Seconds in which everything is answered: connecting and the call itself may take four each."""

GATEWAY = {
    "MCPLOCAL_UPSTREAM_NETWORKS": "127.0.0.0/8",
    "MCPLOCAL_CALL_TIMEOUT": "4s",
    "MCPLOCAL_START_TIMEOUT": "4s",
    "MCPLOCAL_LIST_TIMEOUT": "1s",
    "MCPLOCAL_LIST_RETRY": "200ms",
    "MCPLOCAL_TRUST_FOR": "2s",
    "MCPLOCAL_NAME": "gw",
    "MCPLOCAL_LOG_LEVEL": "warning",
}

CHILD = textwrap.dedent(
    '''
    """A stdio server that starts a process of its own, and stays when its stdin ends."""
    import json, subprocess, sys, time
    away = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen([sys.executable, "-c", "import sys, time; time.sleep(600)", sys.argv[0]], **away)
    for line in sys.stdin:
        message = json.loads(line)
        method, identity, params = message.get("method"), message.get("id"), message.get("params", {})
        if method == "server/discover":
            result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}
        elif method == "tools/list":
            result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        elif method == "tools/call":
            time.sleep(params["arguments"]["for"])
            result = {"content": [{"type": "text", "text": json.dumps(params["arguments"])}]}
        else:
            continue
        print(json.dumps({"jsonrpc": "2.0", "id": identity, "result": result}), flush=True)
    time.sleep(600)
    '''
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Stage:
    """The three programs, each started and killed by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = {name: free_port() for name in ("upstream", "legacy", "control", "gateway")}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.family: set[int] = set()
        self.child = directory / "child.py"
        self.child.write_text(CHILD)
        self.logs = {name: directory / f"{name}.log" for name in ("upstream", "legacy")}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MCPLOCAL_", "MCPCTL_"))}
        control = f"http://127.0.0.1:{self.ports['control']}"
        self.environ = {
            **clean,
            **GATEWAY,
            "MCPCTL_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MCPLOCAL_CONTROL_PLANE": control,
            "MCPLOCAL_CREDENTIAL_FILE": str(directory / "credential"),
            "MCPLOCAL_STATE_DIR": str(directory / "state"),
            "MCPLOCAL_STDIO_ALLOW": json.dumps([[sys.executable, str(self.child)]]),
        }
        self.http = httpx2.Client(base_url=control, timeout=20, trust_env=False)
        self.gateway = f"http://127.0.0.1:{self.ports['gateway']}/mcp"

    def argv(self, name: str) -> list[str]:
        address = f"127.0.0.1:{self.ports[name]}"
        if name in self.logs:
            era = "modern" if name == "upstream" else "legacy"
            return ["-m", "tests.gateway.killable", str(self.ports[name]), str(self.logs[name]), era]
        if name == "control":
            return ["-m", "mcpctl", "server", "--listen", address, "--data-dir", str(self.directory / "data")]
        return ["-c", "from mcplocal.main import main; main()", "serve", "--listen", address]

    def start(self, *names: str) -> None:
        for name in names:
            with (self.directory / f"{name}.out").open("ab") as out:
                environ = {k: v for k, v in self.environ.items() if not k.startswith("MCPLOCAL_") or name == "gateway"}
                self.running[name] = subprocess.Popen(
                    [sys.executable, *self.argv(name)], env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
        for name in names:
            until(lambda name=name: self.answers(name), 20)  # type: ignore[misc]

    def answers(self, name: str) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[name]), timeout=1):
            return True
        return False

    def kill(self, *names: str) -> None:
        """With SIGKILL, so that nobody can prepare for it."""
        self.look()
        for name in names:
            self.running[name].kill()
        for name in names:
            self.running.pop(name).wait(10)

    def look(self) -> None:
        """Remember what the gateway has started."""
        if "gateway" in self.running:
            for child in children_of(self.running["gateway"].pid):
                self.family |= {child, *children_of(child)}

    def end(self) -> None:
        self.look()
        for process in self.running.values():
            process.terminate()
        for name, process in self.running.items():
            assert process.wait(20) == 0 or name in self.logs, name
        self.running.clear()
        self.http.close()

    def left(self) -> list[int]:
        """What still runs of what the gateway has started at any time, and of whatever names this directory."""
        named = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and str(self.directory).encode() in (entry / "cmdline").read_bytes():
                    named.append(int(entry.name))
        return [pid for pid in {*self.family, *named} if is_alive(pid) and pid != os.getpid()]


NUMBERS = itertools.count(1)


class Caller:
    """A client that calls for ever, never the same twice, and holds every answer against what it asked."""

    def __init__(self, stage: Stage, bearer: str, tool: str, era: str) -> None:
        self.tool, self.era = tool, era
        self.succeeded: list[float] = []
        self.wrong: list[str] = []
        self.refused: list[float] = []
        self._stage, self._bearer = stage, bearer
        self._session: dict[str, str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call_for_ever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE + 5)
        if self._thread.is_alive():
            self.wrong.append("it still waits")

    def _call_for_ever(self) -> None:
        with httpx2.Client(timeout=DEADLINE, trust_env=False) as http:
            while not self._stop.wait(0.02):
                try:
                    self._call(http)
                except (httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.ConnectTimeout) as error:
                    self.wrong.append(f"no answer within {DEADLINE} s: {error!r}")
                except httpx2.TransportError:
                    continue
                except Exception as error:
                    self.wrong.append(repr(error))

    def _call(self, http: httpx2.Client) -> None:
        number = next(NUMBERS)
        params: dict[str, Any] = {"name": self.tool, "arguments": {"n": number, "for": random.uniform(0, 0.3)}}
        headers = {**JSON_HEADERS, "Authorization": f"Bearer {self._bearer}", "Accept": "application/json"}
        if self.era == "modern":
            params["_meta"] = META
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": self.tool}
        elif self._session is None:
            answer = http.post(self._stage.gateway, json=initialize(), headers=headers)
            if answer.status_code == 200:
                self._session = {"Mcp-Session-Id": answer.headers["mcp-session-id"]}
            return
        else:
            headers |= self._session
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = http.post(self._stage.gateway, json=body, headers=headers)
        if answer.status_code == 404 and self.era == "legacy":
            self._session = None  # as the protocol says: shake hands anew
        elif answer.status_code == 401:
            self.refused.append(time.monotonic())
        elif answer.status_code in (200, 400):
            found = answer.json().get("result", {})
            if found and "isError" not in found:
                said = json.loads(found["content"][0]["text"])
                if said["n"] != number:
                    self.wrong.append(f"asked {number}, was told {said}")
                self.succeeded.append(time.monotonic())
        elif answer.status_code != 503:
            self.wrong.append(f"{answer.status_code}: {answer.text}")


@contextmanager
def staged(directory: Path) -> Iterator[tuple[Stage, list[Caller], Client, dict[str, Any]]]:
    """Everything running, with callers of each kind; an admin; and a token that nobody uses yet."""
    stage = Stage(directory)
    try:
        stage.start("upstream", "legacy", "control")
        until(lambda: stage.http.get("/readyz").status_code == 200, 20)
        nobody = Client(stage.http)
        admin = nobody.as_(made(nobody.post("/auth/login", {"username": "admin", "password": ADMIN_PASSWORD}), 200)["token"])
        made(admin.post("/users", {"name": "gw", "service": True}))
        assert admin.put("/groups/gateways/members/gw").status_code == 200
        session = made(admin.post("/sessions", {"user": "gw", "ttl": "never"}))
        (directory / "credential").write_text(session["token"])
        for name in ("upstream", "legacy"):
            url = f"http://127.0.0.1:{stage.ports[name]}/mcp"
            made(admin.post("/servers", {"name": name, "transport": "streamable-http", "url": url}))
        stdio = {"transport": "stdio", "command": sys.executable, "args": [str(stage.child)]}
        made(admin.post("/servers", {"name": "child", **stdio}))
        servers = ["upstream", "legacy", "child"]
        made(admin.post("/projects", {"name": "p", "servers": servers}))
        bindings = [f"role:run,resource:servers,name:{server}" for server in servers]
        token, other = (
            made(admin.post("/mcptokens", {"name": name, "project": "p", "bindings": bindings})) for name in ("one", "other")
        )
        stage.start("gateway")
        callers = [Caller(stage, token["token"], f"{server}__echo", era) for server in servers for era in ("modern", "legacy")]
        try:
            until(lambda: all(caller.succeeded for caller in callers), 30)
            yield stage, callers, admin, other
        finally:
            for caller in callers:
                caller.stop()
    finally:
        stage.end()
    assert [] == [(caller.tool, caller.era, caller.wrong) for caller in callers if caller.wrong]
    until(lambda: stage.left() == [], 10)
    for log in stage.logs.values():
        calls = [one["body"] for one in logged(log) if one["body"].get("method") == "tools/call" and not one["rejected"]]
        numbers = [call["params"]["arguments"]["n"] for call in calls]
        assert len(numbers) == len(set(numbers)), "a call was made twice"


SCENES: dict[str, list[tuple[str, ...]]] = {
    "upstreams": [("kill", "upstream", "legacy"), ("wait",), ("start", "upstream", "legacy")],
    "the control plane": [("kill", "control"), ("wait",), ("start", "control")],
    "the gateway": [("kill", "gateway"), ("start", "gateway")],
    "all, and back in another order": [
        *[("kill", "control"), ("kill", "legacy"), ("kill", "gateway"), ("start", "gateway"), ("kill", "upstream")],
        *[("wait",), ("start", "upstream"), ("start", "control"), ("wait",), ("start", "legacy")],
        *[("kill", "gateway", "control"), ("start", "control", "gateway")],
    ],
}


@pytest.mark.parametrize("scene", SCENES)
def test_whoever_is_killed_in_the_middle_of_calls_all_recover(tmp_path: Path, scene: str) -> None:
    with staged(tmp_path) as (stage, callers, admin, other):
        revoked = Caller(stage, other["token"], "upstream__echo", "modern")
        callers.append(revoked)
        until(lambda: bool(revoked.succeeded), 10)
        assert admin.post(f"/mcptokens/{other['id']}/revoke").status_code == 200
        out_by = time.monotonic() + 1.0
        for what, *names in SCENES[scene]:
            time.sleep(0.5)
            if what == "wait":
                time.sleep(3)  # longer than anybody is trusted
            else:
                (stage.kill if what == "kill" else stage.start)(*names)
        back = time.monotonic()
        until(lambda: all(caller.succeeded[-1] > back for caller in callers if caller is not revoked), 60)
        until(lambda: bool(revoked.refused), DEADLINE)
        assert [] == [at for at in revoked.succeeded if at > out_by]


@pytest.mark.requirement("R31")
def test_a_child_that_is_killed_is_started_again_and_what_it_started_goes_with_it(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, callers, _, _):
        stage.look()
        child = next(pid for pid in stage.family if str(stage.child).encode() in Path(f"/proc/{pid}/cmdline").read_bytes())
        started = [child, *children_of(child)]
        os.kill(child, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: not any(is_alive(pid) for pid in started), 10)
        until(lambda: all(caller.succeeded[-1] > killed + 0.5 for caller in callers), 20)

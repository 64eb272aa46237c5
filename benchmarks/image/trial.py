"""One installation out of containers alone, walked through as somebody deploys it: each step is a finding, good or not."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any, Final

import httpx2

from benchmarks.image.containers import Container, Podman
from benchmarks.image.tools import Failed, run, say
from benchmarks.installation import free_address

UID: Final = 10001
STARTS: Final = 3
PROJECT: Final = "smoke"
SERVERS: Final = {"time": ["-m", "mcpctl.demo.time_server", "--stdio"], "notes": ["-m", "mcpctl.demo.notes_server"]}
"""Real servers of MCP that the image has in it; the gateway starts them."""

UNWANTED: Final = ("pip", "pip3", "gcc", "cc", "make", "git", "curl", "wget", "apt-get", "npm", "uv", "perl5")
INSIDE: Final = """
import importlib.util, json, os, shutil, stat, sys
status = dict(line.split(":", 1) for line in open("/proc/1/status"))
def writable(where):
    try:
        with open(os.path.join(where, ".probe"), "w"):
            pass
    except OSError:
        return False
    os.unlink(os.path.join(where, ".probe"))
    return True
places = ["/", "/etc", "/opt/mcpctl", "/usr/bin", "/var/lib", "/root", "/tmp", *sys.argv[1].split(",")]
print(json.dumps({
    "uids": sorted(set(status["Uid"].split() + status["Gid"].split())),
    "capabilities": sorted({status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}),
    "noNewPrivileges": status["NoNewPrivs"].strip(),
    "writable": [place for place in places if writable(place)],
    "programs": [name for name in sys.argv[2].split(",") if shutil.which(name)],
    "modules": [name for name in ("pip", "ensurepip", "setuptools") if importlib.util.find_spec(name)],
    "setuid": [os.path.join(at, one) for top in ("/usr", "/opt") for at, _, files in os.walk(top) for one in files
               if stat.S_ISREG(os.lstat(os.path.join(at, one)).st_mode) and os.lstat(os.path.join(at, one)).st_mode & 0o6000],
}))
"""


@dataclass
class Findings:
    """What was seen, and the numbers."""

    rows: list[tuple[str, bool, str]] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)
    resident: dict[str, int] = field(default_factory=dict)
    nothing: list[float] = field(default_factory=list)

    def add(self, what: str, good: bool, seen: str) -> None:
        """One thing that must be so, whether it is, and what was seen."""
        self.rows.append((what, good, seen))

    @property
    def good(self) -> bool:
        """Whether all of it is so."""
        return all(good for _, good, _ in self.rows)


@dataclass
class Cluster:
    """What a cluster would mount and know: Secrets as files, volumes, addresses."""

    podman: Podman
    directory: Path
    control_plane: str = field(default_factory=free_address)
    gateway: str = field(default_factory=free_address)
    values: dict[str, str] = field(default_factory=dict)

    def secret(self, name: str, **values: str) -> str:
        """A directory with these files, which only the programs' user may read."""
        where = self.directory / name
        where.mkdir()
        for key, value in values.items():
            path = where / key.replace("_", "-")
            path.write_text(value)
            path.chmod(0o400)
            os.chown(path, UID, UID)
            self.values[f"{name}/{key}"] = value
        os.chown(where, UID, UID)
        return str(where)


@contextmanager
def volumes(*names: str) -> Iterator[None]:
    """Empty volumes, gone with the block."""
    try:
        yield
    finally:
        for name in names:
            subprocess.run(["podman", "volume", "rm", "--force", name], capture_output=True, check=False)


def trial(podman: Podman) -> Findings:
    """Start both programs, use them, judge them, end them."""
    found = Findings()
    data, cache, state = (f"mcpctl-{what}-{secrets.token_hex(4)}" for what in ("data", "cache", "state"))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="cluster")))
        directory.chmod(0o755)
        stack.enter_context(volumes(data, cache, state))
        cluster = Cluster(podman, directory)
        own = cluster.secret(
            "mcpctl", admin_password=secrets.token_urlsafe(), secret_key=b64encode(secrets.token_bytes(32)).decode()
        )
        say("starting the control plane")
        plane = stack.enter_context(
            podman.running(
                ["mcpctl", "server"],
                {
                    "MCPCTL_LISTEN": cluster.control_plane,
                    "MCPCTL_ADMIN_PASSWORD_FILE": "/run/secrets/mcpctl/admin-password",
                    "MCPCTL_SECRET_KEY_FILE": "/run/secrets/mcpctl/secret-key",
                },
                {"/var/lib/mcpctl": data, "/run/secrets/mcpctl": own},
                cluster.control_plane,
            )
        )
        admin = stack.enter_context(
            httpx2.Client(base_url=f"http://{cluster.control_plane}/api/v1", timeout=20, trust_env=False)
        )
        credential, token = _populate(cluster, admin)
        environ = {
            "MCPLOCAL_LISTEN": cluster.gateway,
            "MCPLOCAL_CONTROL_PLANE": f"http://{cluster.control_plane}",
            "MCPLOCAL_CREDENTIAL_FILE": "/run/secrets/mcpctl-gateway/credential",
            "MCPLOCAL_LOG_FORMAT": "json",
        }
        mounts = {
            "/var/lib/mcplocal/cache": cache,
            "/var/lib/mcplocal/state": state,
            "/run/secrets/mcpctl-gateway": credential,
        }
        say("starting the gateway")
        gateway = stack.enter_context(podman.running(["mcplocal", "serve"], environ, mounts, cluster.gateway))
        for where, container, place in (
            ("control plane", plane, "/var/lib/mcpctl"),
            ("gateway", gateway, "/var/lib/mcplocal/cache,/var/lib/mcplocal/state"),
        ):
            _confined(found, where, container, place)
            found.resident[where] = container.resident()
        _judged(found, cluster, token)
        _over_pipes(found, cluster)
        say("ending both")
        _drained(found, cluster, plane, gateway, str(admin.headers["Authorization"]))
        _nothing_told(found, cluster, plane, gateway)
    _start_again(found, podman)
    return found


def _populate(cluster: Cluster, admin: httpx2.Client) -> tuple[str, str]:
    """A project with real servers, a token for it, the gateway's credential; the directories of the last two."""

    def send(method: str, path: str, body: Any = None) -> Any:
        answer = admin.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    login = {"username": "admin", "password": cluster.values["mcpctl/admin_password"]}
    session = send("POST", "/auth/login", login)["token"]
    cluster.values["admin's session"] = session
    admin.headers["Authorization"] = f"Bearer {session}"
    send("POST", "/users", {"name": "gateway", "service": True})
    send("PUT", "/groups/gateways/members/gateway")
    credential = send("POST", "/sessions", {"user": "gateway", "ttl": "never"})["token"]
    for name, args in SERVERS.items():
        send("POST", "/servers", {"name": name, "transport": "stdio", "command": "python", "args": args})
    send("POST", "/projects", {"name": PROJECT, "servers": [*SERVERS]})
    bindings = [f"role:run,resource:servers,name:{name}" for name in SERVERS]
    token = send("POST", "/mcptokens", {"name": "agent", "project": PROJECT, "bindings": bindings})["token"]
    return cluster.secret("mcpctl-gateway", credential=credential), cluster.secret("mcp-smoke-test", token=token)


def _confined(found: Findings, where: str, container: Container, places: str) -> None:
    done = container.inside("python", "-c", INSIDE, places, ",".join(UNWANTED))
    seen = json.loads(done.stdout)
    wanted = ["/tmp", *places.split(",")]
    found.add(
        f"{where}: not root, no capabilities, no new privileges",
        *_same([seen["uids"], seen["capabilities"], seen["noNewPrivileges"]], [[str(UID)], ["0000000000000000"], "1"]),
    )
    found.add(f"{where}: can write to its volumes and nowhere else", *_same(seen["writable"], wanted))
    found.add(f"{where}: nothing to install or build with", *_same([*seen["programs"], *seen["modules"]], []))
    found.add(f"{where}: no program that makes its caller somebody else", *_same(seen["setuid"], []))
    found.add(
        f"{where}: its health check says yes", *_same(container.inside("python", "/opt/mcpctl/healthcheck.py").returncode, 0)
    )


def _same(seen: object, wanted: object) -> tuple[bool, str]:
    return seen == wanted, str(seen) if seen == wanted else f"{seen}, not {wanted}"


def _judged(found: Findings, cluster: Cluster, token: str) -> None:
    say("waiting until both servers are listed")
    _await_servers(cluster)
    say("mcpctl test mcp")
    flags = ["--volume", f"{token}:/run/secrets/mcp-smoke-test:ro"]
    url = f"http://{cluster.gateway}/mcp"
    command = ["mcpctl", "test", "mcp", url, "--token-file", "/run/secrets/mcp-smoke-test/token", "-o", "json"]
    done = cluster.podman.once(*command, flags=flags)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {"counts": {"fail": (done.stdout + done.stderr)[-500:]}, "checks": []}
    counts = report["counts"]
    seen = f"exit {done.returncode}: " + ", ".join(f"{number} {level}" for level, number in counts.items())
    seen += "".join(f"; {one['id']}: {one['said']}" for one in report["checks"] if one["level"] == "fail")
    found.add(
        "`mcpctl test mcp` from the image, against the running gateway", done.returncode == 0 and not counts["fail"], seen
    )


def _await_servers(cluster: Cluster) -> None:
    """Go on once the tools of every server are listed: the first list does not wait long for one that is starting.

    Raises:
        Failed: they are not within a minute.
    """
    about = {"protocolVersion": "2026-07-28", "clientCapabilities": {}, "clientInfo": {"name": "trial", "version": "1"}}
    meta = {f"io.modelcontextprotocol/{member}": value for member, value in about.items()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    headers = {
        "Authorization": f"Bearer {cluster.values['mcp-smoke-test/token']}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
    }
    until, seen = perf_counter() + 60, ""
    while perf_counter() < until:
        seen = httpx2.post(f"http://{cluster.gateway}/mcp", json=body, headers=headers, trust_env=False, timeout=20).text
        if all(f'"{name}__' in seen for name in SERVERS):
            return
        sleep(0.5)
    raise Failed(f"not every server is listed: {seen[:1000]}")


def _over_pipes(found: Findings, cluster: Cluster) -> None:
    say("mcplocal over pipes")
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "trial", "version": "1"}}
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "time__now", "arguments": {"zone": "Europe/Rome"}},
        },
    ]
    # The way a person would give it: in a file, not among the arguments that others see.
    variables = cluster.directory / "variables"
    variables.write_text(f"MCPCTL_TOKEN={cluster.values['mcp-smoke-test/token']}\nMCPLOCAL_GATEWAY=http://{cluster.gateway}\n")
    words = [*cluster.podman.words("--rm", "--interactive", "--env-file", str(variables)), "mcplocal"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bridge:
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        answers = []
        for line in lines:
            bridge.stdin.write(json.dumps(line) + "\n")
            bridge.stdin.flush()
            if "id" in line:
                answers.append(json.loads(bridge.stdout.readline() or "{}"))
        bridge.stdin.close()
        code = bridge.wait(timeout=30)
    variables.unlink()
    told = json.dumps(answers[1].get("result", answers[1]))
    good = code == 0 and "Europe/Rome" in told and '"isError": true' not in told
    found.add(
        "`mcplocal` in a container, over pipes, calls a tool of that gateway", good, f"exit {code}" if good else told[:200]
    )


def _drained(found: Findings, cluster: Cluster, plane: Container, gateway: Container, bearer: str) -> None:
    """SIGTERM to both, the gateway first; somebody is listening to the control plane all the while."""

    def listen() -> str:
        with (
            httpx2.Client(trust_env=False, timeout=60) as http,
            http.stream("GET", f"http://{cluster.control_plane}/api/v1/watch", headers={"Authorization": bearer}) as stream,
        ):
            for _ in stream.iter_bytes():
                listening.set_result(True) if not listening.done() else None
        return "ended properly"

    with ThreadPoolExecutor(2) as pool:
        listening: Future[bool] = Future()
        watching = pool.submit(listen)
        listening.result(timeout=20)
        for where, container in (("gateway", gateway), ("control plane", plane)):
            code, seconds = container.terminate()
            found.add(f"{where}: SIGTERM drains and ends with 0", code == 0, f"exit {code} after {seconds:.2f} s")
        try:
            ended = watching.result(timeout=20)
        except httpx2.HTTPError as error:
            ended = f"broke off: {type(error).__name__}"
        found.add("control plane: a stream that is open at SIGTERM", ended == "ended properly", ended)


def _nothing_told(found: Findings, cluster: Cluster, plane: Container, gateway: Container) -> None:
    for what, text in (
        ("logs", plane.log() + gateway.log()),
        ("what podman tells of them, environment and arguments included", plane.inspected() + gateway.inspected()),
    ):
        told = [name for name, value in cluster.values.items() if value in text]
        found.add(
            f"no secret in {what}",
            not told,
            f"{len(text)} characters, none of {len(cluster.values)}" if not told else str(told),
        )


def _start_again(found: Findings, podman: Podman) -> None:
    """How long each takes from nothing to its first answer, a few times; and a container that does nothing, to compare."""
    say("starting each anew")
    for _ in range(STARTS):
        begun = perf_counter()
        podman.once("true")
        found.nothing.append(perf_counter() - begun)
        data, address, gateway_address = f"mcpctl-again-{secrets.token_hex(4)}", free_address(), free_address()
        with volumes(data), TemporaryDirectory(prefix="cluster") as directory:
            Path(directory).chmod(0o755)
            cluster = Cluster(podman, Path(directory), address, gateway_address)
            own = cluster.secret("mcpctl", admin_password=secrets.token_urlsafe())
            environ = {"MCPCTL_LISTEN": address, "MCPCTL_ADMIN_PASSWORD_FILE": "/run/secrets/mcpctl/admin-password"}
            mounts = {"/var/lib/mcpctl": data, "/run/secrets/mcpctl": own}
            with (
                podman.running(["mcpctl", "server"], environ, mounts, address) as plane,
                httpx2.Client(base_url=f"http://{address}/api/v1", timeout=20, trust_env=False) as admin,
            ):
                found.starts.setdefault("control plane", []).append(plane.seconds)
                credential, _ = _populate(cluster, admin)
                environ = {
                    "MCPLOCAL_LISTEN": gateway_address,
                    "MCPLOCAL_CONTROL_PLANE": f"http://{address}",
                    "MCPLOCAL_CREDENTIAL_FILE": "/run/secrets/mcpctl-gateway/credential",
                }
                mounts = {"/run/secrets/mcpctl-gateway": credential, "/var/lib/mcplocal/state": f"{data}-state"}
                with volumes(f"{data}-state"), podman.running(["mcplocal", "serve"], environ, mounts, gateway_address) as one:
                    found.starts.setdefault("gateway", []).append(one.seconds)


def version(words: list[str]) -> str:
    """The version that a program says it has."""
    return run(words).splitlines()[0]


def middle(seconds: list[float]) -> str:
    """A median with its range."""
    return f"{median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})"

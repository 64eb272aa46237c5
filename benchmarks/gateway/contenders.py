"""Who passes calls on to the upstream: each a process of its own with one worker, on loopback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx2

from benchmarks import processes
from benchmarks.gateway import wire
from benchmarks.installation import Installation, free_address, wait_for

DIRECT: Final = "direct"
NGINX: Final = "nginx proxy_pass"
PASSTHROUGH: Final = "Starlette + aiohttp, nothing looked at"
SDK: Final = "SDK server and client"
FASTMCP: Final = "FastMCP proxy"
MCPLOCAL: Final = "mcplocal"
MCPLOCAL_LEGACY: Final = "mcplocal, client of the handshake's era"

PROJECT: Final = "weather"
SERVER: Final = "forecast"

_NGINX: Final = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 100000000;
  upstream behind {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffers 16 64k;
      proxy_buffer_size 64k;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Contender:
    """One way to the upstream, with the requests as they are sent that way."""

    name: str
    pid: int
    address: str
    small: str
    large: str
    listing: str


def assemble(stack: ExitStack, upstream: Contender, there: Installation, skip: Callable[[str], None]) -> list[Contender]:
    """Everybody there is, running until ``stack`` ends; ``skip`` is told of those that are not."""
    found = [upstream]
    if nginx := shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"):
        found.append(_nginx(stack, nginx, upstream.address, there.directory))
    else:
        skip("nginx: there is no such program (Debian: apt-get install nginx-light)")
    found.append(_module(stack, PASSTHROUGH, "passthrough", upstream.address))
    found.append(_module(stack, SDK, "sdk_proxy", upstream.address))
    if find_spec("fastmcp") is not None:
        found.append(_module(stack, FASTMCP, "fastmcp_proxy", upstream.address))
    else:
        skip("FastMCP: it is not installed (pip install --group bench)")
    process, address = stack.enter_context(there.gateway())
    wait_for(address)
    bearer = there.token(PROJECT, [SERVER])["token"]
    found.append(through(MCPLOCAL, process.pid, address, bearer))
    found.append(through(MCPLOCAL_LEGACY, process.pid, address, bearer, session=shake_hands(address, bearer)))
    return found


def direct(name: str, pid: int, address: str) -> Contender:
    """Somebody who knows the tools by the names their server gives them, and asks for no bearer."""
    return Contender(
        name,
        pid,
        address,
        wire.call(address, "/mcp", wire.SMALL),
        wire.call(address, "/mcp", wire.LARGE),
        wire.request(address, "/mcp", "tools/list", {}),
    )


def through(name: str, pid: int, address: str, bearer: str, *, server: str = SERVER, session: str | None = None) -> Contender:
    """The gateway as the bearer of a token sees it."""
    return Contender(
        name,
        pid,
        address,
        wire.call(address, "/mcp", f"{server}__{wire.SMALL}", bearer=bearer, session=session),
        wire.call(address, "/mcp", f"{server}__{wire.LARGE}", bearer=bearer, session=session),
        wire.request(address, "/mcp", "tools/list", {}, bearer=bearer, session=session),
    )


def shake_hands(address: str, bearer: str) -> str:
    """The id of a new session of the handshake's era."""
    params = {"protocolVersion": wire.LEGACY, "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    headers = {**wire.MEDIA, "Authorization": f"Bearer {bearer}"}
    answer = httpx2.post(f"http://{address}/mcp", content=json.dumps(body), headers=headers, trust_env=False)
    return str(answer.raise_for_status().headers["Mcp-Session-Id"])


def _module(stack: ExitStack, name: str, module: str, upstream: str) -> Contender:
    process = stack.enter_context(processes.module(f"benchmarks.gateway.{module}", upstream))
    return direct(name, process.pid, processes.pipes(process)[1].readline().strip())


def _nginx(stack: ExitStack, nginx: str, upstream: str, directory: Path) -> Contender:
    address = free_address()
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(directory=directory, upstream=upstream, address=address))
    command = [nginx, "-c", str(configuration), "-e", str(directory / "nginx.log")]
    process = stack.enter_context(processes.program(command, os.environ, directory / "nginx.out"))
    wait_for(address)
    return direct(NGINX, process.pid, address)

"""What quickstart prints: how to connect, and then a line for every call the gateway decided about."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text


def connection_lines(control_plane: str, gateway: str, directory: Path, servers: Sequence[str]) -> str:
    """How to connect. No raw credential stands in it: the lines refer to ``$MCPCTL_TOKEN`` and to files."""
    return f"""\
Control plane  {control_plane}
Gateway        {gateway}/mcp        project demo: {", ".join(servers)}
Files          {directory}

In another terminal, take the token first:
  export MCPCTL_TOKEN="$(cat {directory / "token"})"

Claude Code
  claude mcp add --transport http demo {gateway}/mcp --header "Authorization: Bearer $MCPCTL_TOKEN"

curl
  curl -s {gateway}/mcp -H "Authorization: Bearer $MCPCTL_TOKEN" -H 'Content-Type: application/json' \\
    -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/list' \\
    -d '{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}'

An agent that speaks STDIO
  MCPLOCAL_GATEWAY={gateway} mcplocal

Python (the MCP SDK: pip install mcp)
  import asyncio, os, httpx2
  from mcp import Client
  from mcp.client.streamable_http import streamable_http_client
  async def main():
      bearer = {{"Authorization": "Bearer " + os.environ["MCPCTL_TOKEN"]}}
      async with httpx2.AsyncClient(headers=bearer) as http:
          async with Client(streamable_http_client("{gateway}/mcp", http_client=http)) as client:
              print([tool.name for tool in (await client.list_tools()).tools])
              print((await client.call_tool("time__now", {{"zone": "Europe/Rome"}})).content)
  asyncio.run(main())

As admin (the password is in {directory / "admin-password"})
  unset MCPCTL_TOKEN
  mcpctl login --server {control_plane} --username admin --password-file {directory / "admin-password"}
  mcpctl get mcptokens -p demo

Calls through the gateway, one a line with how it decided (Ctrl-C ends everything):
"""  # noqa: E501 - a command line is copied whole


class DecisionLines:
    """Prints one line for each call the gateway decided about."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Print to standard output; ``quiet`` prints without colour whatever the terminal."""
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True, no_color=quiet or None)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One event, as the gateway reports it to the audit."""
        allowed = bool(event.get("allowed"))
        who = event.get("tokenName") or event.get("user") or event.get("subject") or "-"
        what = f"{event['server']}/{event['tool']}" if event.get("server") and event.get("tool") else (event.get("tool") or "")
        what = what[:120]  # the gateway has escaped what is not printable in it
        line = Text(datetime.now().astimezone().strftime("%H:%M:%S  "))
        line.append("allow " if allowed else "refuse", style="green" if allowed else "red")
        line.append(f"  {event.get('project') or '-'}/{who}  {event.get('method')} {what}")
        duration = event.get("durationMs")
        if allowed and duration is not None:
            kept = {"hit": " from the cache", "page": ", one more page"}.get(event.get("cache") or "", "")
            line.append(f"  {event.get('outcome')}{kept} in {duration:.1f} ms", style="dim")
        reason = event.get("reason")
        if reason:
            line.append(f"  {reason}", style="dim")
        self._console.print(line)

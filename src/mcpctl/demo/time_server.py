"""A clock that knows time zones: an MCP server over Streamable HTTP, or over stdio with ``--stdio``.

python -m mcpctl.demo.time_server --listen 127.0.0.1:8472
"""

from __future__ import annotations

import argparse
import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field
from starlette.applications import Starlette

PURE: Final = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

Zone = Annotated[str, Field(description="an IANA time zone, such as Europe/Rome, America/New_York or UTC")]
Moment = Annotated[
    str,
    Field(description="a date and time in ISO 8601, such as 2026-07-28T09:30; without an offset it is taken in the given zone"),
]


class Time(BaseModel):
    """A moment in a time zone."""

    zone: str
    iso: str = Field(description="ISO 8601 with offset")
    weekday: str
    unix: float = Field(description="seconds since 1970-01-01 UTC")


class Difference(BaseModel):
    """How far apart two moments are."""

    seconds: float = Field(description="negative if the second comes first")
    text: str


def build_server() -> MCPServer[None]:
    """The server with its three tools."""
    server: MCPServer[None] = MCPServer("time", instructions="Tells the time anywhere, and calculates with it.")

    @server.tool(title="Current time", annotations=PURE)
    def now(zone: Zone = "UTC") -> Time:
        """The current date and time in a time zone."""
        return _shown(datetime.now(UTC), zone)

    @server.tool(title="Convert between time zones", annotations=PURE)
    def convert(time: Moment, from_zone: Zone, to_zone: Zone) -> Time:
        """What a date and time in one time zone is in another one."""
        return _shown(_parsed(time, from_zone), to_zone)

    @server.tool(title="Difference between two times", annotations=PURE)
    def difference(start: Moment, end: Moment, zone: Zone = "UTC") -> Difference:
        """How much time passes from start to end."""
        delta = _parsed(end, zone) - _parsed(start, zone)
        return Difference(seconds=delta.total_seconds(), text=_in_words(delta))

    return server


def build_app() -> Starlette:
    """The server as an ASGI application with its own lifespan; its endpoint is ``/mcp``."""
    return build_server().streamable_http_app()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ToolError(f"{name!r} is not a time zone; write it as Europe/Rome, America/New_York or UTC") from None


def _parsed(text: str, zone: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ToolError(f"{text!r} is not a date and time; write it as 2026-07-28T09:30") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=_zone(zone))


def _shown(moment: datetime, zone: str) -> Time:
    local = moment.astimezone(_zone(zone))
    return Time(zone=zone, iso=local.isoformat(timespec="seconds"), weekday=local.strftime("%A"), unix=moment.timestamp())


def _in_words(delta: timedelta) -> str:
    seconds = int(abs(delta.total_seconds()))
    parts = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count != 1 else ''}")
    text = ", ".join(parts) or "no time"
    return f"{text} earlier" if delta < timedelta() else text


def main() -> None:
    """Serve on an address, or on the pipes of whoever started this."""
    parser = argparse.ArgumentParser(prog="python -m mcpctl.demo.time_server", description="A clock that knows time zones.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8472", help="where to serve (%(default)s)")
    where.add_argument("--stdio", action="store_true", help="serve on standard input and output instead")
    arguments = parser.parse_args()
    if arguments.stdio:
        build_server().run("stdio")
        return
    host, _, port = arguments.listen.rpartition(":")
    if not port.isdecimal():
        parser.error(f"{arguments.listen!r} is not HOST:PORT")
    with socket.create_server((host.strip("[]") or "127.0.0.1", int(port))) as listener:
        print(f"http://{listener.getsockname()[0]}:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(build_app(), log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()

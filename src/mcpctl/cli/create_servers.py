"""``mcpctl create server`` and ``project``, and the flags ``mcpctl set`` shares with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import rich_click as click

from mcpctl.cli.connection import control_plane
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_done
from mcpctl.cli.resources import PROJECTS, SERVERS
from mcpctl.cli.terminal import say
from mcpctl.cli.verbs import Command
from mcpctl.cli.words import JSON_OBJECT, KEY_VALUE, NAME, SERVER, OneOf, Pair, WholeNumber, pairs
from mcpctl.errors import FieldError, InvalidInput

Made = TypeVar("Made", bound=Callable[..., Any])

COMMAND_LINE: Final = "mcpctl.command-line"

_SOUNDS_SECRET = re.compile(r"auth|token|secret|passw|cookie|credential|api.?key", re.IGNORECASE)


class CommandAfterDashes(Command):
    """A command whose arguments after ``--`` are the command line of a program, kept in ``meta`` as they are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what follows ``--`` away before the rest is read."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[COMMAND_LINE] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usage line, with what may follow ``--``."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND ARGS...]"]


_HEALTH: Final = (
    ("health_interval", "intervalSeconds"),
    ("health_timeout", "timeoutSeconds"),
    ("health_tool", "tool"),
    ("health_arguments", "arguments"),
)
"""The flags of a health check and the members they set."""


def server_flags(function: Made) -> Made:
    """How a server is reached: the flags of ``create server`` and ``set server``."""
    for flag in (
        click.option("--health-arguments", type=JSON_OBJECT, metavar="JSON", help="What that tool is called with."),
        click.option("--health-tool", metavar="TOOL", help="Probe it by calling this tool, instead of listing its tools."),
        click.option("--health-timeout", type=WholeNumber(1, 600), metavar="SECONDS", help="How long a probe may take."),
        click.option("--health-interval", type=WholeNumber(1, 86_400), metavar="SECONDS", help="How often to probe it."),
        click.option("--stateful/--stateless", default=None, help="Whether each client needs a session of its own."),
        click.option(
            "--env", type=KEY_VALUE, multiple=True, help="A variable, or KEY=secret:NAME/KEY; may be repeated (stdio)."
        ),
        click.option(
            "--header", "headers", type=KEY_VALUE, multiple=True, help="A header, or KEY=secret:NAME/KEY; may be repeated."
        ),
        click.option("--url", metavar="URL", help="Where it listens (Streamable HTTP)."),
    ):
        function = flag(function)
    return function


def proxy_model_flag(*, new: bool) -> Callable[[Made], Made]:
    """``--proxy-model`` and, for what is there, ``--no-proxy-model``."""

    def add(function: Made) -> Made:
        if not new:
            function = click.option("--no-proxy-model", is_flag=True, help="Give results as they come.")(function)
        return click.option("--proxy-model", type=NAME, metavar="NAME", help="What shapes its results.")(function)

    return add


def _refuse_both(flags: Mapping[str, Any]) -> None:
    if flags["proxy_model"] and flags.get("no_proxy_model"):
        raise InvalidInput("a proxy model or none?", errors=[FieldError("proxy_model", "leave it out, or --no-proxy-model")])


@click.command("server", cls=CommandAfterDashes, short_help="An MCP server, by URL or command.")
@click.argument("name", type=SERVER, metavar="NAME", help="Name of the server.")
@server_flags
@proxy_model_flag(new=True)
@output_flag("name", "json", "yaml")
@connection_flags
@click.pass_context
def create_server(ctx: click.RichContext, /, name: str, output: str | None, **flags: Any) -> None:
    r"""Register an MCP server.

    Either --url, for Streamable HTTP, or a command after '--', which a gateway then runs over stdio. A value can stand
    in a secret: KEY=secret:NAME/KEY.

    Examples:
      mcpctl create server docs --url https://mcp.example.com/mcp
      mcpctl create server github --url https://mcp.example.com/github \
          --header Authorization=secret:github/bearer
      mcpctl create server time --env TZ=UTC -- uvx mcp-server-time
    """
    body = {"name": name} | server_body({}, ctx.meta.get(COMMAND_LINE), flags)
    with control_plane() as plane:
        made = plane.post(SERVERS.collection, body)
    print_done(SERVERS, made, "created", output)


def server_body(before: Mapping[str, Any], command_line: list[str] | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What a server is from now on: ``before`` with what the flags say.

    Raises:
        InvalidInput: both a URL and a command are given, or neither; or a flag belongs to the other kind of server.
    """
    url = flags["url"]
    _refuse_both(flags)
    if command_line is not None and not command_line:
        raise InvalidInput("no command follows '--'", errors=[FieldError("command", "write -- COMMAND ARGS...")])
    if url and command_line:
        raise InvalidInput(
            "a server has a URL or a command", errors=[FieldError("url", "leave it out, or the command after '--'")]
        )
    if not (url or command_line or before):
        message = "give --url URL, or a command after '--'"
        raise InvalidInput("how is the server reached?", errors=[FieldError("url", message)])
    remote = bool(url) or (not command_line and before.get("transport") == "streamable-http")
    body: dict[str, Any] = {"transport": "streamable-http" if remote else "stdio"}
    stays = before.get("transport") == body["transport"]
    if stray := flags["env"] if remote else flags["headers"]:
        kind, valid = ("env", "--header") if remote else ("headers", "--env")
        reached = "over HTTP takes" if remote else "over stdio takes"
        raise InvalidInput(f"{stray[0][0]!r} has no place", errors=[FieldError(kind, f"a server reached {reached} {valid}")])
    if remote:
        _warn_of_secrets(flags["headers"], "--header")
        body["url"] = url or before["url"]
        body["headers"] = (before.get("headers") or {} if stays else {}) | pairs(flags["headers"])
    else:
        _warn_of_secrets(flags["env"], "--env")
        body["command"], body["args"] = (
            (command_line[0], command_line[1:]) if command_line else (before["command"], before["args"])
        )
        body["env"] = (before.get("env") or {} if stays else {}) | pairs(flags["env"])
    health = dict(before.get("healthCheck") or {})
    health |= {member: flags[flag] for flag, member in _HEALTH if flags[flag] is not None}
    body["healthCheck"] = health or None
    body["proxyModel"] = flags["proxy_model"] or (None if flags.get("no_proxy_model") else before.get("proxyModel"))
    body["stateful"] = before.get("stateful", False) if flags["stateful"] is None else flags["stateful"]
    return body


def project_flags(*, new: bool) -> Callable[[Made], Made]:
    """What a project is: the flags of ``create project`` and ``set project``."""

    def add(function: Made) -> Made:
        for flag in (
            proxy_model_flag(new=new),
            click.option(
                "--tool-names",
                type=OneOf(("prefixed", "plain")),
                help="SERVER__TOOL, or the upstream's own names, refusing collisions."
                + ("  [default: prefixed]" if new else ""),
            ),
            click.option(
                "--server", "servers", type=SERVER, multiple=True, metavar="NAME", help="A server to attach; may be repeated."
            ),
        ):
            function = flag(function)
        return function

    return add


@click.command("project", cls=Command, short_help="A set of servers with an endpoint.")
@click.argument("name", type=NAME, metavar="NAME", help="Name of the project.")
@project_flags(new=True)
@output_flag("name", "json", "yaml")
@connection_flags
def create_project(name: str, output: str | None, **flags: Any) -> None:
    """Create a project: a set of servers with one endpoint that agents connect to.

    Examples:
      mcpctl create project demo
      mcpctl create project demo --server github --server time
      mcpctl create project demo --server github --proxy-model short
    """
    with control_plane() as plane:
        made = plane.post(PROJECTS.collection, {"name": name} | project_body(flags))
    print_done(PROJECTS, made, "created", output)


def project_body(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The members the flags say something about.

    Raises:
        InvalidInput: a proxy model is named, and none at all.
    """
    _refuse_both(flags)
    found = {
        "servers": list(flags["servers"]) or None,
        "toolNames": flags["tool_names"],
        "proxyModel": flags["proxy_model"],
    }
    body = {member: value for member, value in found.items() if value is not None}
    return body | ({"proxyModel": None} if flags.get("no_proxy_model") else {})


def _warn_of_secrets(found: tuple[Pair, ...], flag: str) -> None:
    for key, value in found:
        if isinstance(value, str) and value and _SOUNDS_SECRET.search(key):
            say(
                f"warning: the value of {key} now stands in the shell's history and is shown by 'get'; "
                f"keep it in a secret: {flag} {key}=secret:NAME/KEY"
            )

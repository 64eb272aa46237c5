"""``mcplocal``: the gateway's two entries. Without a command it serves a local agent on standard input and output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import rich_click as click

from mcpctl.errors import InvalidSetting, Problem


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mcpctl", prog_name="mcplocal")
@click.option("--project", metavar="NAME", help="The project to connect to; a token has its own.")
@click.option("--gateway", metavar="URL", help="The gateway to bridge to; by default the one the mcpctl context names.")
@click.option("--local", is_flag=True, help="Be the gateway of the project here, and run its stdio servers on this machine.")
@click.pass_context
def cli(ctx: click.Context, project: str | None, gateway: str | None, local: bool) -> None:
    """Connect a local agent to its MCP servers, over standard input and output.

    The credential is MCPCTL_TOKEN, or the log-in that 'mcpctl login' saved.

    Examples:
      claude mcp add demo -- mcplocal --project demo
      mcplocal --gateway https://mcp.example.com
      mcplocal serve
    """
    if ctx.invoked_subcommand is None:
        _run(_stdio(project, gateway, local))


@cli.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; 127.0.0.1:8471 by default.")
@click.option("--control-plane", metavar="URL", help="Base URL of the control plane.")
@click.option("--credential-file", metavar="FILE", help="File with the gateway's own session.")
@click.option("--project", metavar="NAME", help="The project that /mcp is for a person's session.")
def serve(**flags: Any) -> None:
    """Serve the gateway over Streamable HTTP.

    Example: mcplocal serve --control-plane https://mcpctl.example.com --credential-file /run/secrets/gateway
    """
    from mcpctl.long_life import collect_rarely
    from mcplocal import logs
    from mcplocal.serve import serve_until_signalled
    from mcplocal.settings import load

    settings = load(**flags)
    logs.configure(settings.log_format, settings.log_level)

    def ready(address: str) -> None:
        collect_rarely()
        print(f"mcplocal serves {address}/mcp", file=sys.stderr, flush=True)

    def sse_ready(url: str) -> None:
        said = f"mcplocal serves {url} to whoever reaches it, as the token in {settings.sse_token_file}"
        print(said, file=sys.stderr, flush=True)

    _run(serve_until_signalled(settings, on_ready=ready, on_sse_ready=sse_ready))


class _CacheCommands(click.RichGroup):
    """Loaded when it is asked for: a client waits for the bridge, and that needs nothing of this."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return _cache().list_commands(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return _cache().get_command(ctx, name)


def _cache() -> click.Group:
    from mcplocal.cache_command import cache

    return cache


@cli.command(cls=_CacheCommands)
def cache() -> None:
    """Look at, or empty, the cache of results and pages (MCPLOCAL_CACHE_DIR).

    Example: mcplocal cache stats
    """


async def _stdio(project: str | None, gateway: str | None, local: bool) -> None:
    from mcpctl.client.contexts import config_path
    from mcpctl.client.contexts import load as load_contexts
    from mcpctl.client.target import Target, resolve
    from mcplocal.settings import load

    def target() -> Target:
        return resolve(load_contexts(config_path()))

    here = target()
    settings = load(project=project, gateway=gateway)
    if settings.project is None and not (here.token or "").startswith("mcpctl_pat_"):
        settings = settings.model_copy(update={"project": here.project})  # a token has a project of its own
    if local:
        await _local(settings, here.server, here.token)
        return
    from mcpctl.client.address import check_address, is_plain
    from mcplocal import bridge

    address = settings.gateway or _gateway_of_context(here.context)
    if address is None:
        raise InvalidSetting("no gateway is known: give --gateway URL, or run 'mcpctl config set-context NAME --gateway URL'")
    address = check_address(address, "gateway")
    if is_plain(address) and not here.allow_plain_http:
        raise InvalidSetting(
            f"{address} is plain http to another machine, where a credential can be read on its way: use https://"
        )
    await bridge.run(settings, address, lambda: target().token)


def _gateway_of_context(name: str | None) -> str | None:
    from mcpctl.client.contexts import config_path, load

    return load(config_path()).named(name).gateway if name else None


async def _local(settings: Any, server: str | None, token: str | None) -> None:
    from pydantic import SecretStr

    from mcplocal import local, logs

    logs.configure(settings.log_format, "warning" if settings.log_level == "info" else settings.log_level)
    update: dict[str, Any] = {"credential": SecretStr(token) if token else None, "credential_file": None}
    if server is not None and "MCPLOCAL_CONTROL_PLANE" not in os.environ:
        update["control_plane"] = server
    await local.run(settings.model_copy(update=update), token)


def _run(program: Coroutine[Any, Any, None]) -> None:
    """Run to the end, on the fast loop where there is one."""
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None
    try:
        from uvloop import new_event_loop as make_loop
    except ImportError:
        make_loop = None
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(program)


def main() -> None:
    """The entry point of the ``mcplocal`` program. Exit codes are those of ``mcpctl help exit-codes``."""
    try:
        cli(prog_name="mcplocal")
    except Problem as problem:
        print(f"error: {problem.title}\n  {problem.detail}", file=sys.stderr)
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)

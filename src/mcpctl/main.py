"""``mcpctl``: the table of all its commands. Each is imported when it is used, and only then."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import rich_click as click
from click.shell_completion import shell_complete

from mcpctl.cli.completion import COMPLETE_VARIABLE
from mcpctl.cli.flags import CONTEXT_FLAG, SERVER_FLAG, complete_contexts
from mcpctl.cli.run import run
from mcpctl.cli.verbs import CONTEXT_SETTINGS, Entry, LazyGroup
from mcpctl.cli.words import ADDRESS
from mcpctl.settings import check_environment

BASIC: Final = "Work with things"
GRANTS: Final = "Tokens and rights"
YOU: Final = "You and your servers"
RUN: Final = "Run it"
MORE: Final = "More"

ENTRIES: Final = (
    Entry("get", "mcpctl.cli.get:get", "Show one or many things.", BASIC),
    Entry("describe", "mcpctl.cli.describe:describe", "Show all there is to say about something.", BASIC),
    Entry("explain", "mcpctl.cli.explain:explain", "Explain what can be written in a proxy model.", BASIC),
    Entry("logs", "mcpctl.cli.logs:logs", "Show what a server wrote on a gateway.", BASIC),
    Entry("create", "mcpctl.cli.create:create", "Create something.", BASIC),
    Entry("set", "mcpctl.cli.change:set_", "Change something.", BASIC),
    Entry("edit", "mcpctl.cli.edit:edit", "Edit something.", BASIC),
    Entry("apply", "mcpctl.cli.apply:apply", "Make things as files say.", BASIC),
    Entry("diff", "mcpctl.cli.apply:diff", "Show what applying files would change.", BASIC),
    Entry("delete", "mcpctl.cli.delete:delete", "Delete things for good.", BASIC),
    Entry("attach", "mcpctl.cli.attach:attach", "Attach a server to a project, or a user to a group.", BASIC),
    Entry("detach", "mcpctl.cli.attach:detach", "The opposite of attach.", BASIC),
    Entry("enable", "mcpctl.cli.change:enable", "Let a disabled user in again.", BASIC),
    Entry("disable", "mcpctl.cli.change:disable", "Keep a user out.", BASIC),
    Entry("revoke", "mcpctl.cli.tokens:revoke", "End a token at once.", GRANTS),
    Entry("rotate", "mcpctl.cli.tokens:rotate", "Give a token a new secret.", GRANTS),
    Entry("auth", "mcpctl.cli.auth:auth", "Ask who may do what.", GRANTS),
    Entry("policy", "mcpctl.cli.policy:policy", "Check, test and compare policy files.", GRANTS),
    Entry("login", "mcpctl.cli.login:login", "Log in and keep the session.", YOU),
    Entry("logout", "mcpctl.cli.login:logout", "End the session.", YOU),
    Entry("whoami", "mcpctl.cli.login:whoami", "Who the control plane takes you for.", YOU),
    Entry("config", "mcpctl.cli.config:config", "Contexts: which server, whose log-in.", YOU),
    Entry("test", "mcpctl.cli.endpoint_test:test", "Judge an endpoint of MCP.", YOU),
    Entry("server", "mcpctl.server.command:server", "Run the control plane.", RUN),
    Entry("quickstart", "mcpctl.quickstart.command:quickstart", "Run control plane, gateway and a demo in one process.", RUN),
    Entry("completion", "mcpctl.cli.completion:completion", "Print the completion script of a shell.", MORE),
    Entry("help", "mcpctl.cli.help:help_", "Help on a command, on exit-codes or on environment.", MORE),
)
"""Name, where it is, its line, and the part of the list it stands in."""


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        print(f"mcpctl {version('mcpctl')}")
        ctx.exit()


@click.group(cls=LazyGroup, entries=ENTRIES, context_settings=CONTEXT_SETTINGS, no_args_is_help=True)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.option("--context", metavar="NAME", shell_complete=complete_contexts, help="Use this saved context.")
@click.option("--server", type=ADDRESS, metavar="URL", help="Speak to this control plane; a saved log-in goes to its own only.")
@click.pass_context
def cli(ctx: click.Context, context: str | None, server: str | None) -> None:
    """Decide who may use which MCP server, and hand out the tokens to do it.

    Exit codes: 0 done or yes, 1 failed or no, 2 invalid input, 3 not logged in, 4 unreachable, 5 not allowed,
    6 not found, 7 conflict ('mcpctl help exit-codes').

    Examples:
      mcpctl quickstart
      mcpctl login --server https://mcp.example.com
      mcpctl create mcptoken ci -p demo --bind role:run,resource:servers
    """
    check_environment()
    ctx.meta.update({key: value for key, value in ((CONTEXT_FLAG, context), (SERVER_FLAG, server)) if value})


def program(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit code."""
    return run(cli, arguments)


def main() -> None:
    """The entry point of the ``mcpctl`` program."""
    import os

    if instruction := os.environ.get(COMPLETE_VARIABLE):
        sys.exit(shell_complete(cli, {}, "mcpctl", COMPLETE_VARIABLE, instruction))
    sys.exit(program(sys.argv[1:]))

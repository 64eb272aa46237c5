"""``mcpctl help``: commands, and the topics that belong to no one command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import rich_click as click
from click.exceptions import NoSuchCommand

from mcpctl.cli.exit_codes import EXIT_CODES
from mcpctl.cli.tables import plain_lines
from mcpctl.cli.verbs import Command
from mcpctl.settings import SETTINGS


def _exit_codes() -> None:
    print("Exit codes of every mcpctl command:\n")
    for line in plain_lines([[f"  {code}", meaning] for code, meaning in EXIT_CODES.items()]):
        print(line)
    print("\n'mcpctl test mcp' has its own: 0 all is well, 1 wrong usage, 2 a check failed, 3 a credential is needed or was")
    print("refused, 4 unreachable.")


def _environment() -> None:
    for side, title in (("client", "Variables of client commands:"), ("server", "Variables of 'mcpctl server':")):
        print(f"{title}\n")
        for line in plain_lines([[f"  {one.name}", one.meaning] for one in SETTINGS if one.side == side]):
            print(line)
        print()
    print("Flags beat variables, variables beat files. An unknown variable that begins with MCPCTL_ is an error.")


TOPICS: Final[dict[str, Callable[[], None]]] = {"exit-codes": _exit_codes, "environment": _environment}


@click.command("help", cls=Command, short_help="Help on a command, on exit-codes or on environment.")
@click.argument("words", nargs=-1, metavar="[COMMAND...|exit-codes|environment]", help="What about.")
@click.pass_context
def help_(ctx: click.RichContext, words: tuple[str, ...]) -> None:
    """Show the help of a command, the exit codes, or the environment variables.

    Examples:
      mcpctl help create mcptoken
      mcpctl help exit-codes
      mcpctl help environment
    """
    if len(words) == 1 and words[0] in TOPICS:
        TOPICS[words[0]]()
        return
    found = ctx.find_root()
    for word in words:
        if not isinstance(found.command, click.Group):
            raise click.UsageError(f"{found.command_path!r} has no commands below it", ctx)
        command = found.command.get_command(found, word)
        if command is None:
            raise NoSuchCommand(word, possibilities=[*found.command.list_commands(found), *TOPICS], ctx=found)
        found = command.context_class(command, info_name=word, parent=found)
    print(found.command.get_help(found).rstrip())

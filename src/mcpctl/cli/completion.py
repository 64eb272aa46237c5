"""``mcpctl completion``: the script that teaches a shell the commands."""

from __future__ import annotations

from typing import Final

import rich_click as click
from click.shell_completion import get_completion_class

from mcpctl.cli.verbs import Command
from mcpctl.cli.words import OneOf

COMPLETE_VARIABLE: Final = "_MCPCTL_COMPLETE"
"""The shell's script calls ``mcpctl`` with it; the leading underscore keeps it out of the settings."""


@click.command(cls=Command, short_help="Print the completion script of a shell.")
@click.argument("shell", type=OneOf(("bash", "zsh", "fish")), metavar="bash|zsh|fish", help="Which shell.")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, flags and contexts in your shell.

    Examples:
      source <(mcpctl completion bash)
      mcpctl completion zsh > ~/.zfunc/_mcpctl
      mcpctl completion fish > ~/.config/fish/completions/mcpctl.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    # click asks the installed bash for its version in source(); the script itself depends on the names only.
    script = found(ctx.find_root().command, {}, "mcpctl", COMPLETE_VARIABLE)
    print(script.source_template % script.source_vars())

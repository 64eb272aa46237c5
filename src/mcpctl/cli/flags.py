"""Flags that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import rich_click as click

from mcpctl.cli.words import PROJECT, OneOf, from_old_form
from mcpctl.errors import InvalidInput

Made = TypeVar("Made", bound=Callable[..., Any])

COMMAND: Final = "mcpctl.command"
OUTPUT: Final = "mcpctl.output"
CONTEXT_FLAG: Final = "mcpctl.context"
SERVER_FLAG: Final = "mcpctl.server"
PLAIN_HTTP_FLAG: Final = "mcpctl.allow-plain-http"
"""Keys of ``Context.meta``, which all commands of one invocation share."""

CONNECTION: Final = "Connection"


def _keep(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def keep(ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        if value:
            ctx.meta[key] = value
        return value

    return keep


def connection_flags(function: Made) -> Made:
    """``--context`` and ``--allow-plain-http``: on every command that speaks to the control plane."""
    plain = click.option(
        "--allow-plain-http",
        is_flag=True,
        expose_value=False,
        callback=_keep(PLAIN_HTTP_FLAG),
        help="Send credentials over plain http to another machine.",
        panel=CONNECTION,
    )
    context = click.option(
        "--context",
        metavar="NAME",
        expose_value=False,
        callback=_keep(CONTEXT_FLAG),
        shell_complete=complete_contexts,
        help="Use this saved context instead of the current one.",
        panel=CONNECTION,
    )
    return context(plain(function))


def output_flag(*words: str, default: str | None = None, help: str = "How to print it.") -> Callable[[Made], Made]:  # noqa: A002
    """``-o``, one of ``words``. Read before all other flags, so that their errors already come in that form."""
    return click.option(
        "-o",
        "--output",
        type=OneOf(words),
        default=default,
        show_default=default is not None,
        metavar="|".join(words),
        is_eager=True,
        callback=_keep(OUTPUT),
        help=help,
    )


def project_flag(function: Made) -> Made:
    """``-p``: the project, else the context's own."""
    return click.option("-p", "--project", type=PROJECT, help="The project; without it, the one the context names.")(function)


def yes_flag(function: Made) -> Made:
    """``--yes``: do not ask."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where there is no terminal.")(function)


def old_binding_flag(new_flag: str) -> Callable[[Made], Made]:
    """``--binding``, gone: it answers with ``new_flag`` and the new form of the very binding it was given."""

    def refuse(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> None:
        if value:
            raise click.UsageError("\n".join(["--binding is gone; write", *(f"  {answer(text)}" for text in value)]))

    def answer(text: str) -> str:
        try:
            return f"{new_flag} '{from_old_form(text)}'"
        except InvalidInput as error:
            return f"{new_flag} BINDING; but {error.detail}"

    return click.option(
        "--binding",
        multiple=True,
        expose_value=False,
        callback=refuse,
        metavar="OLD",
        help=f"Gone. Using it prints the form {new_flag} takes.",
    )


def complete_contexts(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of saved contexts, for the shell."""
    from mcpctl.client.contexts import config_path, load
    from mcpctl.errors import InvalidSetting

    try:
        return [name for name in sorted(load(config_path()).by_name) if name.startswith(incomplete)]
    except InvalidSetting:
        return []

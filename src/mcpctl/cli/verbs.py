"""Groups of commands: loaded only when used, found by every word for their kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc
from typing import Any, Final

import rich_click as click
from click.exceptions import NoSuchCommand
from rich_click import RichContext, RichHelpFormatter

from mcpctl.cli.flags import COMMAND
from mcpctl.cli.resources import KINDS, kind_called
from mcpctl.errors import InvalidInput

CONTEXT_SETTINGS: Final[dict[str, Any]] = {
    "help_option_names": ["-h", "--help"],
    "rich_help_config": {
        "theme": "default-slim",
        "enable_theme_env_var": False,
        "commands_before_options": True,
        "padding_helptext_first_line": (0, 0, 1, 0),
        "text_paragraph_linebreaks": "\n\n",
        "text_markup": None,
        "max_width": 100,
        "errors_suggestion": "",
    },
}
"""Of the root; every command below inherits them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: where it is (``module:attribute``, imported when somebody uses it) and its line in the list."""

    name: str
    target: str
    help: str
    panel: str


class _Formatter(click.RichHelpFormatter):
    """Keeps the indentation of a text whose first line has none; the formatter takes that of the others for its margin."""

    def rich_text(self, text: Any, style: Any = "") -> Any:
        """``text``, styled."""
        return super().rich_text("\n" + text if isinstance(text, str) else text, style)


class _Context(click.RichContext):
    formatter_class = _Formatter


class Command(click.RichCommand):
    """A command whose help text keeps the lines of its examples, and names its own options before the shared ones."""

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = _lines_kept(self.help)
        self.panels = [*self.panels, click.RichOptionPanel("Arguments"), click.RichOptionPanel("Options")]

    def invoke(self, ctx: click.Context) -> Any:
        """Carry it out; whatever goes wrong is told in the words of its flags."""
        ctx.meta[COMMAND] = self
        return super().invoke(ctx)


class CommandGroup(click.RichGroup):
    """A group whose help text keeps the lines of its examples, as those of its commands do."""

    command_class = Command

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = _lines_kept(self.help)
        self.panels = [*self.panels, click.RichOptionPanel("Options")]


class LazyGroup(CommandGroup):
    """A group that imports a command when it is used, and lists commands without importing any."""

    def __init__(self, *args: Any, entries: Iterable[Entry] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = {entry.name: entry for entry in entries}
        self._listing = False

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name, imported now; while help is written, its line only."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if self._listing:
            return click.RichCommand(name=entry.name, help=entry.help, panel=entry.panel)
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a command")
        return command

    def format_help(self, ctx: RichContext, formatter: RichHelpFormatter) -> None:  # type: ignore[override]
        """Write the help text without importing the commands."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command the first argument names, with a suggestion if there is none."""
        if args and args[0] not in self.entries and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise NoSuchCommand(args[0], possibilities=self.entries, ctx=ctx)
        return super().resolve_command(ctx, args)


class VerbGroup(CommandGroup):
    """A verb with one command for each kind, found by its singular, its plural and its aliases."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command for the kind ``cmd_name`` means."""
        if found := super().get_command(ctx, cmd_name):
            return found
        try:
            kind = kind_called(cmd_name, [kind for kind in KINDS if kind.singular in self.commands])
        except InvalidInput:
            return None
        return super().get_command(ctx, kind.singular)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command for the first argument. A kind this verb does not know is no misspelling of one that it knows."""
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            try:
                kind_called(args[0])
            except InvalidInput:
                return super().resolve_command(ctx, args)
            known = ", ".join(self.list_commands(ctx))
            raise click.UsageError(f"'{ctx.command_path} {args[0]}' does not exist: it is one of {known}", ctx)
        return super().resolve_command(ctx, args)


def _lines_kept(text: str | None) -> str | None:
    """``text`` with the mark by which click leaves the lines of a paragraph alone, before its examples."""
    return cleandoc(text).replace("\nExamples:\n", "\n\b\nExamples:\n") if text else text

"""Every command explains itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from mcpctl.cli.exit_codes import EXIT_CODES
from mcpctl.cli.resources import KINDS
from mcpctl.errors import Problem
from mcpctl.main import ENTRIES, cli
from mcpctl.settings import SETTINGS
from tests.cli.conftest import Mcpctl

WRITTEN_ELSEWHERE = ("server", "quickstart")
"""Their modules have tests of their own; here it is enough that they explain themselves."""


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below ``command`` with the words that lead to it."""
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from walk(found, (*path, name))


COMMANDS = list(walk(cli))
OURS = [(path, command) for path, command in COMMANDS if path[:1] and path[0] not in WRITTEN_ELSEWHERE]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_every_command_and_every_flag_of_it_has_a_help_text(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    without = [
        param.name for param in command.params if isinstance(param, click.Option) and not param.help and not param.hidden
    ]
    assert [] == without
    arguments = [
        param.name for param in command.params if isinstance(param, click.Argument) and not getattr(param, "help", None)
    ]
    assert [] == arguments


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_every_help_fits_80_columns_and_nothing_is_cut_off(
    path: tuple[str, ...], command: click.Command, mcpctl: Mcpctl
) -> None:
    lines = mcpctl.ok(*path, "--help").splitlines()
    assert [] == [line for line in lines if len(line.rstrip()) > 80 or line.rstrip().endswith("…")]
    assert [] == [line for line in lines if set(line) & set("─│╭╰")]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_no_word_of_a_help_is_broken_on_80_columns(path: tuple[str, ...], command: click.Command, mcpctl: Mcpctl) -> None:
    shown = set(mcpctl.ok(*path, "--help").split())
    texts = [getattr(param, "help", None) or "" for param in command.params if not getattr(param, "hidden", False)]
    assert [] == [word for text in texts for word in text.split() if word not in shown]


@pytest.mark.parametrize(("path", "command"), OURS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_every_command_shows_examples_and_each_of_them_parses(path: tuple[str, ...], command: click.Command) -> None:
    assert "\b\nExamples:" in (command.help or "")
    examples = list(examples_of(command))
    assert examples
    for words in examples:
        parse(cli, words)
    if not isinstance(command, click.Group):
        assert path in [tuple(words[: len(path)]) for words in examples]


def test_the_list_of_commands_says_the_same_as_the_commands() -> None:
    ctx = click.Context(cli)
    said = {entry.name: entry.help for entry in ENTRIES if entry.name not in WRITTEN_ELSEWHERE}
    found = {name: cli.get_command(ctx, name) for name in said}
    assert said == {name: command.short_help if command else None for name, command in found.items()}


def test_every_kind_is_named_where_kinds_are_asked_for(mcpctl: Mcpctl) -> None:
    said = mcpctl.ok("get", "--help").replace(",", " ").replace(";", " ").split()
    assert [] == [kind.plural for kind in KINDS if kind.plural not in said]


def test_without_a_command_the_help_is_shown_and_that_is_no_failure(mcpctl: Mcpctl) -> None:
    ran = mcpctl()
    assert (0, "") == (ran.code, ran.err)
    assert "create" in ran.out


def test_help_of_a_command_is_its_own_help(mcpctl: Mcpctl) -> None:
    assert mcpctl.ok("create", "rbac", "--help").split() == mcpctl.ok("help", "create", "rbac").split()


def test_every_exit_code_an_error_has_is_documented(mcpctl: Mcpctl) -> None:
    def codes(kind: type[Problem]) -> set[int]:
        return {kind.exit_code}.union(*(codes(below) for below in kind.__subclasses__()))

    assert codes(Problem) <= EXIT_CODES.keys()
    said = mcpctl.ok("help", "exit-codes")
    assert [] == [meaning for meaning in EXIT_CODES.values() if meaning not in said]


def test_every_variable_is_documented(mcpctl: Mcpctl) -> None:
    said = mcpctl.ok("help", "environment")
    assert [] == [one.name for one in SETTINGS if one.name not in said or one.meaning not in said]


def test_the_version_is_the_installed_one(mcpctl: Mcpctl) -> None:
    from importlib.metadata import version

    assert f"mcpctl {version('mcpctl')}\n" == mcpctl.ok("--version")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_calls_mcpctl_back(shell: str, mcpctl: Mcpctl) -> None:
    assert "_MCPCTL_COMPLETE" in mcpctl.ok("completion", shell)


def examples_of(command: click.Command) -> Iterator[list[str]]:
    """The command lines under "Examples:" in the help of ``command``."""
    text = (command.help or "").partition("Examples:\n")[2].replace("\\\n", " ")
    for line in text.splitlines():
        _, found, rest = line.partition("mcpctl ")
        if found:
            yield shlex.split(rest.partition(" > ")[0].rstrip(")"))


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Parse ``words`` as the command line would, without carrying anything out."""
    with command.make_context("mcpctl", list(words), parent=parent) as ctx:
        if isinstance(command, click.Group):
            name, found, rest = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
            assert found is not None, name
            if ctx.parent is None and name in WRITTEN_ELSEWHERE:
                return
            parse(found, rest, ctx)

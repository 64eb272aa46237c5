"""``mcpctl delete``: asks first, then deletes what it can."""

from __future__ import annotations

import sys

import rich_click as click
from click.exceptions import Exit

from mcpctl.cli import failures
from mcpctl.cli.connection import control_plane, target
from mcpctl.cli.flags import connection_flags, output_flag, project_flag, yes_flag
from mcpctl.cli.get import place
from mcpctl.cli.resources import KINDS, Kind, targets
from mcpctl.cli.terminal import can_ask, printable, say
from mcpctl.cli.verbs import Command
from mcpctl.errors import FieldError, InvalidInput, NotFound, Problem


@click.command(cls=Command, short_help="Delete things for good.")
@click.argument("what", nargs=-1, required=True, metavar="KIND NAME...", help="What to delete. KIND/NAME works too.")
@project_flag
@yes_flag
@click.option("--ignore-not-found", is_flag=True, help="What is not there counts as deleted.")
@output_flag("name", "json")
@connection_flags
@click.pass_context
def delete(
    ctx: click.RichContext,
    what: tuple[str, ...],
    project: str | None,
    yes: bool,
    ignore_not_found: bool,
    output: str | None,
) -> int:
    """Delete things for good.

    Asks first on a terminal; elsewhere --yes is needed. Deleting a token removes its row; 'mcpctl revoke' ends it and
    keeps the row for the record.

    Examples:
      mcpctl delete user alice
      mcpctl delete mcptoken ci -p demo --yes
      mcpctl delete rbac/readers server/github
    """
    named: list[tuple[Kind, str]] = []
    for kind, name in targets(what, [kind for kind in KINDS if kind.deleted]):
        if name is None:
            raise InvalidInput(f"which {kind.singular}? Give its name; nothing is deleted without one")
        named.append((kind, name))
    found_target = target()
    places = [place(kind, name, project, found_target) for kind, name in named]
    confirm(named, yes)
    code = 0
    with control_plane(found_target) as plane:
        for (kind, name), (path, query) in zip(named, places, strict=True):
            try:
                plane.delete(path, query)
            except NotFound as problem:
                if ignore_not_found and problem.code == "not_found":
                    continue
                failures.show(problem, ctx.meta)
                code = code or problem.exit_code
            except Problem as problem:
                failures.show(problem, ctx.meta)
                code = code or problem.exit_code
            else:
                reference = printable(f"{kind.singular}/{name}")
                if output != "json":
                    print(reference if output == "name" else f"{reference} deleted")
    return code


def confirm(named: list[tuple[Kind, str]], yes: bool) -> None:
    """Ask whether these shall be deleted, unless ``yes`` says so.

    Raises:
        InvalidInput: there is nobody to ask.
        click.exceptions.Exit: with 1, the answer was no.
    """
    if yes:
        return
    if not can_ask():
        raise InvalidInput("deleting asks first, and there is no terminal to ask on", errors=[FieldError("yes", "add it")])
    for kind, name in named:
        say(f"{kind.singular}/{name}" + (f"   and {kind.goes_with_it}" if kind.goes_with_it else ""))
    if not click.confirm("Delete for good?", err=True):
        print("Nothing was deleted.", file=sys.stderr)
        raise Exit(1)

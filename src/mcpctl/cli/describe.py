"""``mcpctl describe``: everything there is to say about one thing."""

from __future__ import annotations

import rich_click as click

from mcpctl.cli import failures
from mcpctl.cli.connection import control_plane, target
from mcpctl.cli.flags import connection_flags, project_flag
from mcpctl.cli.get import one
from mcpctl.cli.output import print_fields
from mcpctl.cli.resources import KINDS, targets
from mcpctl.cli.verbs import Command
from mcpctl.errors import InvalidInput, Problem


@click.command(cls=Command, short_help="Show all there is to say about something.")
@click.argument("what", nargs=-1, required=True, metavar="KIND NAME...", help="What to describe. KIND/NAME works too.")
@project_flag
@connection_flags
@click.pass_context
def describe(ctx: click.RichContext, what: tuple[str, ...], project: str | None) -> int:
    """Show all there is to say about something.

    Examples:
      mcpctl describe user alice
      mcpctl describe mcptoken ci -p demo
      mcpctl describe server/github project/demo
    """
    asked = list(targets(what, [kind for kind in KINDS if kind.described]))
    found_target = target()
    code = 0
    with control_plane(found_target) as plane:
        for number, (kind, name) in enumerate(asked):
            if name is None:
                raise InvalidInput(f"which {kind.singular}? Give its name, or list them: mcpctl get {kind.plural}")
            try:
                item = one(plane, kind, name, project, found_target)
            except Problem as problem:
                if len(asked) == 1:
                    raise
                failures.show(problem, ctx.meta)
                code = code or problem.exit_code
                continue
            if number:
                print()
            print_fields([(field.described_as, field.lines(item)) for field in kind.in_full()])
    return code

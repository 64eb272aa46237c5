"""``mcpctl revoke`` and ``mcpctl rotate``."""

from __future__ import annotations

import rich_click as click

from mcpctl.cli import failures
from mcpctl.cli.connection import control_plane, target
from mcpctl.cli.credentials import delivered, raw_token_flags, token_destination
from mcpctl.cli.flags import connection_flags, output_flag, project_flag
from mcpctl.cli.get import place
from mcpctl.cli.output import print_done
from mcpctl.cli.resources import MCPTOKENS
from mcpctl.cli.terminal import say
from mcpctl.cli.verbs import VerbGroup
from mcpctl.errors import Problem


@click.group(cls=VerbGroup, short_help="End a token at once.")
def revoke() -> None:
    """End a token at once.

    Examples:
      mcpctl revoke mcptoken ci -p demo
    """


@revoke.command("mcptoken", short_help="End tokens at once.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", help="Names or ids of the tokens.")
@project_flag
@output_flag("name", "json", "yaml")
@connection_flags
@click.pass_context
def revoke_mcptoken(ctx: click.Context, names: tuple[str, ...], project: str | None, output: str | None) -> int:
    """End tokens at once, with all their secrets and all that was granted to them.

    Does not ask: a leaked token is revoked first and looked into then. The row stays in the list, as revoked, and the
    name is free again. It needs 'delete' on the token and nothing else.

    Examples:
      mcpctl revoke mcptoken ci -p demo
      mcpctl revoke mcptoken demo/ci demo/laptop
    """
    found = target()
    places = [place(MCPTOKENS, name, project, found, "revoke") for name in names]
    code = 0
    with control_plane(found) as plane:
        for path, query in places:
            try:
                print_done(MCPTOKENS, plane.post(path, None, query), "revoked", output)
            except Problem as problem:
                failures.show(problem, ctx.meta)
                code = code or problem.exit_code
    return code


@click.group(cls=VerbGroup, short_help="Give a token a new secret.")
def rotate() -> None:
    """Give a token a new secret.

    Examples:
      mcpctl rotate mcptoken ci -p demo --grace 1h
    """


@rotate.command("mcptoken", short_help="Give a token a new secret.")
@click.argument("name", metavar="NAME", help="Name or id of the token.")
@project_flag
@click.option("--grace", metavar="TIME", help="How long the old secret still works, such as 1h. Left out: it ends now.")
@raw_token_flags
@connection_flags
def rotate_mcptoken(name: str, project: str | None, grace: str | None, output: str, save_token: str | None) -> None:
    """Give a token a new secret.

    It stays the same token: name, owner, bindings and its identity in the audit do not change. The new raw token is
    written to standard output, this once.

    Examples:
      mcpctl rotate mcptoken ci -p demo --grace 1h
      mcpctl rotate mcptoken demo/ci --save-token new.token
    """
    found = target()
    path, query = place(MCPTOKENS, name, project, found, "rotate")
    with token_destination(output, save_token) as deliver, control_plane(found) as plane:
        made = plane.post(path, {} if grace is None else {"grace": grace}, query)
        deliver(made, MCPTOKENS.reference(made))
    old = f"the old secret works for another {grace}" if grace else "the old secret no longer works"
    say(f"{MCPTOKENS.reference(made)} rotated; {old}. The new one {delivered(save_token)}.")

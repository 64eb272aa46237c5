"""``mcpctl create rbac`` and ``mcptoken``: what gives rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from mcpctl.cli.connection import control_plane, project_or_default, target
from mcpctl.cli.credentials import delivered, raw_token_flags, token_destination
from mcpctl.cli.flags import connection_flags, old_binding_flag, output_flag, project_flag
from mcpctl.cli.output import print_done
from mcpctl.cli.resources import MCPTOKENS, RBAC
from mcpctl.cli.terminal import say
from mcpctl.cli.verbs import Command
from mcpctl.cli.words import BINDING, NAME, SUBJECT, OneOf
from mcpctl.client.http import Json

Made = TypeVar("Made", bound=Callable[..., Any])


def definition_flags(*, new: bool) -> Callable[[Made], Made]:
    """Who gets what: the flags of ``create rbac`` and ``set rbac``."""
    before = "" if new else " from now on, those before are gone"

    def add(function: Made) -> Made:
        for flag in (
            old_binding_flag("--roleBindings"),
            click.option(
                "--roleBindings",
                "--role-bindings",
                "role_bindings",
                type=BINDING,
                multiple=True,
                required=new,
                metavar="BINDING",
                help="role:ROLE,resource:RESOURCE, also with ,name:NAME or ,effect:deny; or action:OPERATION, also with "
                f",name:PROJECT{before}; may be repeated.",
            ),
            click.option(
                "--subject",
                "subjects",
                type=SUBJECT,
                multiple=True,
                required=new,
                metavar="SUBJECT",
                help=f"User:NAME, Group:NAME or McpToken:SHA256{before}; may be repeated.",
            ),
        ):
            function = flag(function)
        return function

    return add


@click.command("rbac", cls=Command, short_help="An RBAC definition: subjects and role bindings.")
@click.argument("name", type=NAME, metavar="NAME", help="Name of the definition.")
@definition_flags(new=True)
@output_flag("name", "json", "yaml")
@connection_flags
def create_rbac(name: str, subjects: tuple[str, ...], role_bindings: tuple[str, ...], output: str | None) -> None:
    r"""Create an RBAC definition: every subject gets every role binding.

    You can give only what you hold. To change one later, use 'mcpctl set rbac'.

    Examples:
      mcpctl create rbac readers --subject User:alice \
          --roleBindings role:view,resource:servers,name:foo \
          --roleBindings action:logs
      mcpctl create rbac no-delete --subject Group:ops \
          --roleBindings role:delete,resource:servers,effect:deny
    """
    body = {"name": name, "subjects": list(subjects), "roleBindings": list(role_bindings)}
    with control_plane() as plane:
        made = plane.post(RBAC.collection, body)
    print_done(RBAC, made, "created", output)


@click.command("mcptoken", cls=Command, short_help="A token for an agent.")
@click.argument("name", type=NAME, metavar="NAME", help="Name of the token, unique in its project.")
@project_flag
@click.option(
    "--rbac",
    "rbac_mode",
    type=OneOf(("empty", "clone")),
    default="empty",
    show_default=True,
    help="What it starts with: nothing, or a copy of all that you hold now, denies included.",
)
@click.option(
    "--bind",
    "bindings",
    type=BINDING,
    multiple=True,
    metavar="BINDING",
    help="What it may do besides: role:ROLE,resource:RESOURCE, also with ,name:NAME; or action:OPERATION, also with "
    ",name:PROJECT; may be repeated.",
)
@old_binding_flag("--bind")
@click.option("--ttl", metavar="WHEN", help="How long: 30d, 12h, never (the default), or an ISO date and time with zone.")
@click.option("--description", metavar="TEXT", help="What it is for.")
@raw_token_flags
@connection_flags
def create_mcptoken(name: str, project: str | None, output: str, save_token: str | None, **flags: Any) -> None:
    """Create a token for an agent.

    The raw token is written to standard output, this once; all else goes to standard error, so that
    TOKEN=$(mcpctl create mcptoken ...) holds nothing but the token. It may do what its bindings allow and you may do
    yourself, in its project. Name and bindings never change afterwards.

    Examples:
      mcpctl create mcptoken ci -p demo --bind role:run,resource:servers,name:github
      mcpctl create mcptoken me -p demo --rbac clone --ttl 30d
      mcpctl create mcptoken ci -p demo -o json
    """
    found = target()
    body: Json = {"name": name, "project": project_or_default(project, found), "rbacMode": flags["rbac_mode"]}
    body["bindings"] = list(flags["bindings"])
    body |= {key: flags[key] for key in ("ttl", "description") if flags[key] is not None}
    with token_destination(output, save_token) as deliver, control_plane(found) as plane:
        made = plane.post(MCPTOKENS.collection, body)
        deliver(made, MCPTOKENS.reference(made))
    explain(made, cloned=flags["rbac_mode"] == "clone", save_token=save_token)


def explain(made: Json, *, cloned: bool, save_token: str | None) -> None:
    """Say on standard error what was made, and what it will not do."""
    ends = f"it expires at {made['expiresAt']}" if made["expiresAt"] else "it does not expire"
    say(f"{MCPTOKENS.reference(made)} created for {made['owner']}; {ends}. Its secret {delivered(save_token)}.")
    if not cloned:
        for one in made.get("unusable") or ():
            say(f"warning: {one} gives it nothing: no token may do that, or it lies outside its project")
    if not made["bindings"]:
        say("It has no bindings: it can connect and will see no tools. Bindings are given when a token is created, for")
        say("example with --bind role:run,resource:servers,name:SERVER, or all that you hold with --rbac clone.")
    elif cloned and made["never"]:
        say("It holds a copy of what you hold now. Whatever its bindings say, it will never:")
        for one in made["never"]:
            say(f"  - {one}")

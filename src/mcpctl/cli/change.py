"""``mcpctl set``, ``enable`` and ``disable``: change what is there."""

from __future__ import annotations

from typing import Any

import rich_click as click

from mcpctl.cli.connection import control_plane
from mcpctl.cli.create_grants import definition_flags
from mcpctl.cli.create_secrets import set_secret
from mcpctl.cli.create_servers import (
    COMMAND_LINE,
    CommandAfterDashes,
    project_body,
    project_flags,
    proxy_model_flag,
    server_body,
    server_flags,
)
from mcpctl.cli.credentials import password_flags, read_password
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_done
from mcpctl.cli.proxy_models import set_proxymodel
from mcpctl.cli.resources import GROUPS, PROJECTS, RBAC, SERVERS, USERS
from mcpctl.cli.terminal import say
from mcpctl.cli.verbs import VerbGroup
from mcpctl.cli.words import SUBJECT
from mcpctl.client.http import path_of
from mcpctl.errors import FieldError, InvalidInput


@click.group("set", cls=VerbGroup, short_help="Change something.")
def set_() -> None:
    """Change something: what a flag names is replaced, what no flag names stays.

    Examples:
      mcpctl set password
      mcpctl set rbac readers --subject User:alice --subject User:bob
      mcpctl set project demo --tool-names plain
    """


@set_.command("password", short_help="Your own, or somebody else's.")
@click.argument("user", required=False, metavar="[USER]", help="Whose; your own if left out.")
@password_flags
@click.option("--old-password-file", metavar="FILE", help="Your present password, for changing your own.")
@connection_flags
def set_password(user: str | None, password: str | None, password_file: str | None, old_password_file: str | None) -> None:
    """Change a password. It ends all sessions of that user.

    Your own needs the present one. Somebody else's needs 'edit' on the user, and you must hold all that they hold.

    Examples:
      mcpctl set password
      mcpctl set password alice --password-file alice.txt
    """
    if user:
        USERS.refuse(user)
    with control_plane() as plane:
        me = plane.get(path_of("auth", "whoami"))
        name = user or me["user"]
        own = me["kind"] == "session" and name == me["user"]
        if old_password_file and not own:
            message = f"only your own password needs the present one, and you are {me['subject']}"
            raise InvalidInput(message, errors=[FieldError("old_password_file", message)])
        body = {}
        if own:
            body["oldPassword"] = read_password(old_password_file, None, "Present password", flag="old_password_file")
        body["password"] = read_password(password_file, password, f"New password for {name}", again=True)
        plane.patch(USERS.path(name), body)
    print(f"password of user/{name} changed")
    if own:
        say("Your sessions have ended. Log in again: mcpctl login")


@set_.command("group", short_help="Who is in a group.")
@click.argument("name", metavar="NAME", help="Name of the group.")
@click.option(
    "--member",
    "members",
    type=SUBJECT,
    multiple=True,
    metavar="User:NAME",
    help="A member from now on, those before are gone; may be repeated.",
)
@click.option("--no-members", is_flag=True, help="Leave it empty.")
@output_flag("name", "json", "yaml")
@connection_flags
def set_group(name: str, members: tuple[str, ...], no_members: bool, output: str | None) -> None:
    """Say who is in a group from now on. For one more or less, use 'mcpctl attach user' and 'detach user'.

    Examples:
      mcpctl set group ops --member User:alice --member User:bob
      mcpctl set group ops --no-members
    """
    if bool(members) == no_members:
        raise InvalidInput("who is in it?", errors=[FieldError("members", "give it at least once, or --no-members")])
    with control_plane() as plane:
        made = plane.put(GROUPS.path(name), {"members": list(members)})
    print_done(GROUPS, made, "changed", output)


@set_.command("rbac", short_help="Subjects or role bindings of a definition.")
@click.argument("name", metavar="NAME", help="Name of the definition.")
@definition_flags(new=False)
@output_flag("name", "json", "yaml")
@connection_flags
def set_rbac(name: str, subjects: tuple[str, ...], role_bindings: tuple[str, ...], output: str | None) -> None:
    """Replace the subjects of an RBAC definition, its role bindings, or both.

    You must hold all that the result gives, and all that a removed deny denied.

    Examples:
      mcpctl set rbac readers --subject User:alice --subject User:bob
      mcpctl set rbac readers --roleBindings role:view,resource:servers
    """
    if not subjects and not role_bindings:
        raise InvalidInput("nothing to change", errors=[FieldError("subjects", "give it, or --roleBindings, or both")])
    with control_plane() as plane:
        before = {} if subjects and role_bindings else plane.get(RBAC.path(name))
        body = {
            "subjects": list(subjects) or before["subjects"],
            "roleBindings": list(role_bindings) or before["roleBindings"],
        }
        made = plane.put(RBAC.path(name), body)
    print_done(RBAC, made, "changed", output)


@set_.command("server", cls=CommandAfterDashes, short_help="How a server is reached.")
@click.argument("name", metavar="NAME", help="Name of the server.")
@server_flags
@proxy_model_flag(new=False)
@click.option("--remove-header", multiple=True, metavar="KEY", help="A header to drop; may be repeated.")
@click.option("--remove-env", multiple=True, metavar="KEY", help="A variable to drop; may be repeated.")
@output_flag("name", "json", "yaml")
@connection_flags
@click.pass_context
def set_server(
    ctx: click.RichContext,
    /,
    name: str,
    remove_header: tuple[str, ...],
    remove_env: tuple[str, ...],
    output: str | None,
    **flags: Any,
) -> None:
    """Change how a server is reached. Headers and variables not named stay as they are.

    Examples:
      mcpctl set server docs --url https://mcp.example.com/v2
      mcpctl set server github --header Authorization=secret:github/new
      mcpctl set server time --remove-env TZ -- uvx mcp-server-time
      mcpctl set server docs --proxy-model short
    """
    with control_plane() as plane:
        before = plane.get(SERVERS.path(name))
        body = server_body(before, ctx.meta.get(COMMAND_LINE), flags)
        for member, flag, gone in (("headers", "remove_header", remove_header), ("env", "remove_env", remove_env)):
            for key in gone:
                if key not in body.get(member, {}):
                    raise InvalidInput(f"the server has no {key!r}", errors=[FieldError(flag, f"there is no {key!r} to drop")])
                del body[member][key]
        made = plane.put(SERVERS.path(name), body)
    print_done(SERVERS, made, "changed", output)


@set_.command("project", short_help="What a project is made of.")
@click.argument("name", metavar="NAME", help="Name of the project.")
@project_flags(new=False)
@output_flag("name", "json", "yaml")
@connection_flags
def set_project(name: str, output: str | None, **flags: Any) -> None:
    """Change a project. --server names all servers from now on, in this order; for one more or less use 'attach'.

    Examples:
      mcpctl set project demo --server github --server time
      mcpctl set project demo --tool-names plain
      mcpctl set project demo --proxy-model short
      mcpctl set project demo --no-proxy-model
    """
    body = project_body(flags)
    if not body:
        raise InvalidInput("nothing to change", errors=[FieldError("servers", "give it, --tool-names or --proxy-model")])
    with control_plane() as plane:
        made = plane.put(PROJECTS.path(name), body)
    print_done(PROJECTS, made, "changed", output)


@click.group(cls=VerbGroup, short_help="Let a disabled user in again.")
def enable() -> None:
    """Let a disabled user in again.

    Examples:
      mcpctl enable user alice
    """


@click.group(cls=VerbGroup, short_help="Keep a user out.")
def disable() -> None:
    """Keep a user out, and all tokens the user owns.

    Examples:
      mcpctl disable user alice
    """


@enable.command("user", short_help="Let users in again.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", help="Names of the users.")
@output_flag("name", "json", "yaml")
@connection_flags
def enable_user(names: tuple[str, ...], output: str | None) -> None:
    """Let disabled users in again. You must hold all that they hold.

    Examples:
      mcpctl enable user alice
    """
    _switch(names, output, disabled=False)


@disable.command("user", short_help="Keep users out.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", help="Names of the users.")
@output_flag("name", "json", "yaml")
@connection_flags
def disable_user(names: tuple[str, ...], output: str | None) -> None:
    """Keep users out at once, and all tokens they own. Nothing is deleted.

    Examples:
      mcpctl disable user alice
    """
    _switch(names, output, disabled=True)


def _switch(names: tuple[str, ...], output: str | None, *, disabled: bool) -> None:
    paths = [USERS.path(name) for name in names]
    with control_plane() as plane:
        for path in paths:
            made = plane.patch(path, {"disabled": disabled})
            print_done(USERS, made, "disabled" if disabled else "enabled", output)


set_.add_command(set_secret)
set_.add_command(set_proxymodel)

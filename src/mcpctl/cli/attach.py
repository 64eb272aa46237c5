"""``mcpctl attach`` and ``mcpctl detach``: servers to projects, users to groups."""

from __future__ import annotations

import rich_click as click

from mcpctl.cli.connection import control_plane, project_or_default, target
from mcpctl.cli.flags import connection_flags, project_flag
from mcpctl.cli.resources import GROUPS, PROJECTS
from mcpctl.cli.terminal import printable
from mcpctl.cli.verbs import VerbGroup
from mcpctl.cli.words import NAME, SERVER, USER


@click.group(cls=VerbGroup, short_help="Attach a server to a project, or a user to a group.")
def attach() -> None:
    """Attach a server to a project, or a user to a group.

    Examples:
      mcpctl attach server github --project demo
      mcpctl attach user alice --group ops
    """


@click.group(cls=VerbGroup, short_help="The opposite of attach.")
def detach() -> None:
    """Detach a server from a project, or a user from a group.

    Examples:
      mcpctl detach server github --project demo
      mcpctl detach user alice --group ops
    """


@attach.command("server", short_help="To a project.")
@click.argument("servers", nargs=-1, required=True, type=SERVER, metavar="SERVER...", help="Names of the servers.")
@project_flag
@connection_flags
def attach_server(servers: tuple[str, ...], project: str | None) -> None:
    """Attach servers to a project: its endpoint offers their tools.

    Needs 'expose' on the project and 'view' on the server.

    Examples:
      mcpctl attach server github time -p demo
    """
    _servers(servers, project, attached=True)


@detach.command("server", short_help="From a project.")
@click.argument("servers", nargs=-1, required=True, type=SERVER, metavar="SERVER...", help="Names of the servers.")
@project_flag
@connection_flags
def detach_server(servers: tuple[str, ...], project: str | None) -> None:
    """Detach servers from a project: connected clients lose their tools at once.

    Needs 'expose' on the project.

    Examples:
      mcpctl detach server github -p demo
    """
    _servers(servers, project, attached=False)


@attach.command("user", short_help="To a group.")
@click.argument("users", nargs=-1, required=True, type=USER, metavar="USER...", help="Names of the users.")
@click.option("--group", type=NAME, required=True, metavar="NAME", help="The group.")
@connection_flags
def attach_user(users: tuple[str, ...], group: str) -> None:
    """Put users in a group: they get all that is granted to it, and you must hold that yourself.

    Examples:
      mcpctl attach user alice bob --group ops
    """
    _users(users, group, attached=True)


@detach.command("user", short_help="From a group.")
@click.argument("users", nargs=-1, required=True, type=USER, metavar="USER...", help="Names of the users.")
@click.option("--group", type=NAME, required=True, metavar="NAME", help="The group.")
@connection_flags
def detach_user(users: tuple[str, ...], group: str) -> None:
    """Take users out of a group: they lose what is granted to it.

    Examples:
      mcpctl detach user alice --group ops
    """
    _users(users, group, attached=False)


def _servers(servers: tuple[str, ...], project: str | None, *, attached: bool) -> None:
    found = target()
    where = project_or_default(project, found)
    with control_plane(found) as plane:
        for server in servers:
            (plane.put if attached else plane.delete)(PROJECTS.path(where, "servers", server))
            print(printable(f"server/{server} {'attached to' if attached else 'detached from'} project/{where}"))


def _users(users: tuple[str, ...], group: str, *, attached: bool) -> None:
    with control_plane() as plane:
        for user in users:
            (plane.put if attached else plane.delete)(GROUPS.path(group, "members", user))
            print(printable(f"user/{user} {'attached to' if attached else 'detached from'} group/{group}"))

"""``mcpctl create``: users, groups, sessions here; all else beside it."""

from __future__ import annotations

import rich_click as click

from mcpctl.cli.connection import control_plane
from mcpctl.cli.create_grants import create_mcptoken, create_rbac
from mcpctl.cli.create_secrets import create_secret
from mcpctl.cli.create_servers import create_project, create_server
from mcpctl.cli.credentials import password_flags, raw_token_flags, read_password, token_destination
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_done
from mcpctl.cli.proxy_models import create_proxymodel
from mcpctl.cli.resources import GROUPS, SESSIONS, USERS
from mcpctl.cli.terminal import say
from mcpctl.cli.verbs import VerbGroup
from mcpctl.cli.words import NAME, SUBJECT, USER
from mcpctl.errors import FieldError, InvalidInput


@click.group(cls=VerbGroup, short_help="Create something.")
def create() -> None:
    """Create something.

    Examples:
      mcpctl create user alice
      mcpctl create server github --url https://mcp.example.com/mcp
      mcpctl create mcptoken ci -p demo --bind role:run,resource:servers
    """


@create.command("user", short_help="A person, or a service user.")
@click.argument("name", type=USER, metavar="NAME", help="Name of the user.")
@password_flags
@click.option("--service", is_flag=True, help="A user without a password, for programs; it is given sessions.")
@output_flag("name", "json", "yaml")
@connection_flags
def create_user(name: str, password: str | None, password_file: str | None, service: bool, output: str | None) -> None:
    """Create a user.

    The password is asked for, or read from a file or from standard input; it is never an argument.

    Examples:
      mcpctl create user alice
      mcpctl create user alice --password-file alice.txt
      pass show alice | mcpctl create user alice --password -
      mcpctl create user gateway-1 --service
    """
    if service and (password or password_file):
        raise InvalidInput("a service user has no password", errors=[FieldError("service", "leave out the password")])
    with control_plane() as plane:
        secret = None if service else read_password(password_file, password, f"Password for {name}", again=True)
        body = {"name": name, "service": service} | ({} if secret is None else {"password": secret})
        made = plane.post(USERS.collection, body)
    print_done(USERS, made, "created", output)


@create.command("group", short_help="A group of users.")
@click.argument("name", type=NAME, metavar="NAME", help="Name of the group.")
@click.option("--member", "members", type=SUBJECT, multiple=True, metavar="User:NAME", help="A member; may be repeated.")
@output_flag("name", "json", "yaml")
@connection_flags
def create_group(name: str, members: tuple[str, ...], output: str | None) -> None:
    """Create a group of users.

    Examples:
      mcpctl create group ops
      mcpctl create group ops --member User:alice --member User:bob
    """
    with control_plane() as plane:
        made = plane.post(GROUPS.collection, {"name": name, "members": list(members)})
    print_done(GROUPS, made, "created", output)


@create.command("session", short_help="A session for a service user.")
@click.argument("user", type=USER, metavar="USER", help="The service user.")
@click.option("--ttl", metavar="WHEN", help="How long: 30d, 12h, never, or an ISO date and time with zone.  [default: 30d]")
@raw_token_flags
@connection_flags
def create_session(user: str, ttl: str | None, output: str, save_token: str | None) -> None:
    """Create a session for a service user.

    Its raw token is written to standard output, this once; all else goes to standard error.

    Examples:
      mcpctl create session gateway-1 --ttl never --save-token gateway.token
      export MCPLOCAL_CREDENTIAL=$(mcpctl create session gateway-1)
    """
    with token_destination(output, save_token) as deliver, control_plane() as plane:
        made = plane.post(SESSIONS.collection, {"user": user} | ({} if ttl is None else {"ttl": ttl}))
        deliver(made, f"session/{made['id']}")
    say(f"session/{made['id']} created for User:{made['user']}, " + expires(made["expiresAt"]))


def expires(when: str | None) -> str:
    """When something ends, in a sentence."""
    return f"until {when}" if when else "without an end"


for _command in (create_project, create_server, create_proxymodel, create_secret, create_rbac, create_mcptoken):
    create.add_command(_command)

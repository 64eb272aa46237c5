"""``mcpctl auth``: who may do what."""

from __future__ import annotations

import rich_click as click

from mcpctl.cli.connection import control_plane
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_document
from mcpctl.cli.terminal import printable
from mcpctl.cli.verbs import CommandGroup
from mcpctl.cli.words import SUBJECT
from mcpctl.client.http import path_of
from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy import vocabulary


@click.group(cls=CommandGroup, short_help="Ask who may do what.")
def auth() -> None:
    """Ask who may do what.

    Examples:
      mcpctl auth can-i run servers github
      mcpctl auth can-i delete servers --as User:alice
    """


@auth.command("can-i", short_help="May I do this?")
@click.argument("action", metavar="ACTION", help="view, create, edit, delete, run, expose; on operations its name.")
@click.argument("resource", metavar="RESOURCE", help="servers, projects, mcptokens, ...; or operations.")
@click.argument("name", required=False, metavar="[NAME]", help="Of which one; all of them if left out.")
@click.option("--as", "subject", type=SUBJECT, metavar="SUBJECT", help="Ask for this subject. Needs action:impersonate.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code is the answer.")
@output_flag("json", "yaml")
@connection_flags
def can_i(action: str, resource: str, name: str | None, subject: str | None, quiet: bool, output: str | None) -> int:
    """Ask whether you, or somebody else, may do something. Exits with 0 for yes and with 1 for no.

    The second line says which policy line decided and where it stands.

    Examples:
      mcpctl auth can-i create mcptokens demo/ci
      mcpctl auth can-i run servers github/create_issue --as User:alice
      mcpctl auth can-i logs operations demo
    """
    try:
        asked_resource = vocabulary.resource(resource)
    except InvalidInput as error:
        raise InvalidInput(error.detail, errors=[FieldError("resource", error.detail)]) from None
    try:
        asked_action = vocabulary.action(action, asked_resource)
    except InvalidInput as error:
        raise InvalidInput(error.detail, errors=[FieldError("action", error.detail)]) from None
    question = {"action": asked_action, "resource": asked_resource}
    question |= {key: value for key, value in (("name", name), ("subject", subject)) if value is not None}
    with control_plane() as plane:
        verdict = plane.post(path_of("authorize"), question)
    if output:
        print_document(verdict, output)
    elif not quiet:
        print("yes" if verdict["allowed"] else "no")
        print(printable(verdict["reason"]))
    return 0 if verdict["allowed"] is True else 1

"""``mcpctl auth``: who may do what."""

from __future__ import annotations

from typing import Any

import rich_click as click

from mcpctl.cli.connection import control_plane
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_document
from mcpctl.cli.tables import print_table
from mcpctl.cli.terminal import printable
from mcpctl.cli.verbs import CommandGroup
from mcpctl.cli.words import SUBJECT, OneOf
from mcpctl.client.http import Json, path_of
from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy import vocabulary

ACTION_HELP = "view, create, edit, delete, run, expose; on operations its name."
RESOURCE_HELP = "servers, projects, mcptokens, ...; or operations."
NAME_HELP = "Of which one; all of them if left out."
AS_HELP = "Ask for this subject. Needs action:impersonate, and is audited."
PAGE = 1000


@click.group(cls=CommandGroup, short_help="Ask who may do what.")
def auth() -> None:
    """Ask who may do what.

    Examples:
      mcpctl auth can-i run servers github
      mcpctl auth can-i --list
      mcpctl auth who-can run servers github/create_issue
      mcpctl auth explain delete servers --as User:alice
    """


@auth.command("can-i", short_help="May I do this?")
@click.argument("action", required=False, metavar="ACTION", help=ACTION_HELP)
@click.argument("resource", required=False, metavar="RESOURCE", help=RESOURCE_HELP)
@click.argument("name", required=False, metavar="[NAME]", help=NAME_HELP)
@click.option("--list", "listing", is_flag=True, help="List everything you hold instead.")
@click.option("--as", "subject", type=SUBJECT, metavar="SUBJECT", help=AS_HELP)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code is the answer.")
@output_flag("json", "yaml")
@connection_flags
def can_i(
    action: str | None,
    resource: str | None,
    name: str | None,
    listing: bool,
    subject: str | None,
    quiet: bool,
    output: str | None,
) -> int:
    """Ask whether you, or somebody else, may do something. Exits with 0 for yes and with 1 for no.

    The second line says which policy line decided, for which group, and where it stands; the third as of which revision of
    the policy. With --list, every line that gives or denies you anything.

    Examples:
      mcpctl auth can-i create mcptokens demo/ci
      mcpctl auth can-i run servers github/create_issue --as User:alice
      mcpctl auth can-i logs operations demo
      mcpctl auth can-i --list --as User:alice
    """
    if listing:
        if action is not None:
            raise click.UsageError("--list takes no ACTION: it lists everything")
        return _list(subject, output)
    if action is None or resource is None:
        missing = "ACTION" if action is None else "RESOURCE"
        raise click.UsageError(f"Missing argument '{missing}'.")
    with control_plane() as plane:
        verdict = plane.post(path_of("authorize"), _question(action, resource, name, subject))
    if output:
        print_document(verdict, output)
    elif not quiet:
        _print_verdict(verdict)
    return 0 if verdict["allowed"] is True else 1


@auth.command("explain", short_help="Why may I do this, or not?")
@click.argument("action", metavar="ACTION", help=ACTION_HELP)
@click.argument("resource", metavar="RESOURCE", help=RESOURCE_HELP)
@click.argument("name", required=False, metavar="[NAME]", help=NAME_HELP)
@click.option("--as", "subject", type=SUBJECT, metavar="SUBJECT", help=AS_HELP)
@output_flag("json", "yaml")
@connection_flags
def explain(action: str, resource: str, name: str | None, subject: str | None, output: str | None) -> int:
    """Show everything that leads to an answer: each party that must agree, its groups, and every line that speaks of it.

    Exits as can-i does.

    Examples:
      mcpctl auth explain run servers github/create_issue
      mcpctl auth explain run servers github --as User:alice
    """
    with control_plane() as plane:
        found = plane.post(path_of("authorize", "explain"), _question(action, resource, name, subject))
    if output:
        print_document(found, output)
    else:
        _print_verdict(found)
        for leg in found["legs"]:
            print()
            print(printable(f"{_LEGS[leg['kind']]} ({leg['subject']}): {'yes' if leg['allowed'] else 'no'}"))
            print(printable(f"  {leg['reason']}"))
            if leg["groups"]:
                print(printable(f"  in {', '.join(leg['groups'])}"))
            for line in leg["lines"]:
                print(printable(f"  {_EFFECTS[line['effect']]}: {line['binding']} for {line['subject']} ({line['origin']})"))
        if not found["allowed"]:
            print()
            print(printable(f"missing: {', '.join(found['missing'])}"))
    return 0 if found["allowed"] is True else 1


_EFFECTS = {"allow": "allows", "deny": "denies"}

_LEGS = {
    "user": "what is held",
    "never": "what no token does",
    "project": "the token's project",
    "token": "the token's lines",
    "owner": "the token's owner",
}


@auth.command("who-can", short_help="Who may do this?")
@click.argument("action", metavar="ACTION", help=ACTION_HELP)
@click.argument("resource", metavar="RESOURCE", help=RESOURCE_HELP)
@click.argument("name", required=False, metavar="[NAME]", help=NAME_HELP)
@click.option("--kind", type=OneOf(["user", "group", "mcptoken"]), metavar="KIND", help="Only user, group or mcptoken.")
@output_flag("json", "yaml")
@connection_flags
def who_can(action: str, resource: str, name: str | None, kind: str | None, output: str | None) -> int:
    """List everybody who may do something: users, groups and tokens, each with the line that allows it.

    Groups, denies, a token's owner and project, and who is disabled count as they do when they act. Needs
    action:impersonate, and is audited. Exits with 1 if it is nobody.

    Examples:
      mcpctl auth who-can delete servers
      mcpctl auth who-can run servers github/create_issue --kind mcptoken
    """
    question: dict[str, Any] = _question(action, resource, name, None) | {"limit": PAGE} | ({"kind": kind} if kind else {})
    items, answer = list[Json](), Json()
    with control_plane() as plane:
        cursor = None
        while not answer or cursor:
            answer = plane.get(path_of("authorize", "subjects"), question | ({"cursor": cursor} if cursor else {}))
            items += answer["items"]
            cursor = answer["nextCursor"]
    if output:
        print_document({"items": items, "revision": answer["revision"]}, output)
    elif items:
        rows = [[_shown(one), one["via"] or "", one["rule"] or "", one["origin"] or ""] for one in items]
        print_table(["SUBJECT", "THROUGH", "BY", "IN"], rows)
        print(f"\n{len(items)} at revision {answer['revision']}")
    else:
        print(f"Nobody, at revision {answer['revision']}.")
    return 0 if items else 1


def _shown(one: Json) -> str:
    if one["owner"] is None:
        return str(one["subject"])
    return f"McpToken:{one['name']} of {one['owner']}"


def _list(subject: str | None, output: str | None) -> int:
    with control_plane() as plane:
        found = plane.get(path_of("authorize", "rights"), {"subject": subject} if subject else {})
    if output:
        print_document(found, output)
        return 0
    _print_rights(found["subject"], found["groups"], found["rights"])
    if found["owner"]:
        print()
        print(printable(f"and of this, what its owner may do too; within the project {found['project']}"))
        print(printable(f"with the servers {', '.join(found['attached']) or 'none'}:"))
        print()
        _print_rights(found["owner"], found["ownerGroups"], found["ownerRights"])
        print("\nWhatever these lines say, a token will never:")
        for never in found["never"]:
            print(printable(f"  {never}"))
    print(f"\nAs of revision {found['revision']}. A deny wins over every allow.")
    return 0


def _print_rights(subject: str, groups: list[str], rights: list[Json]) -> None:
    print(printable(subject + (f", in {', '.join(groups)}" if groups else "")))
    if not rights:
        print("holds nothing.")
        return
    rows = []
    for one in rights:
        through = "" if one["subject"] == subject else one["subject"]
        rows.append([one["effect"], one["binding"], ",".join(one["actions"]), through, one["origin"]])
    print_table(["EFFECT", "BINDING", "ACTIONS", "THROUGH", "IN"], rows)


def _print_verdict(verdict: Json) -> None:
    print("yes" if verdict["allowed"] is True else "no")
    print(printable(verdict["reason"]))
    print(f"revision {verdict['revision']}")


def _question(action: str, resource: str, name: str | None, subject: str | None) -> dict[str, str]:
    """The question in the vocabulary's words.

    Raises:
        InvalidInput: one of them is none of these; the flag is named.
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
    return question | {key: value for key, value in (("name", name), ("subject", subject)) if value is not None}

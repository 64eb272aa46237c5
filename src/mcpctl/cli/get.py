"""``mcpctl get``: lists and single things, as tables or documents."""

from __future__ import annotations

from typing import Any, Final

import rich_click as click

from mcpctl.cli import failures
from mcpctl.cli.connection import control_plane, target
from mcpctl.cli.flags import connection_flags, output_flag, project_flag
from mcpctl.cli.output import print_document, print_items
from mcpctl.cli.resources import AUDIT, MCPTOKENS, Kind, is_id, targets
from mcpctl.cli.terminal import say
from mcpctl.cli.verbs import Command
from mcpctl.cli.words import USER, OneOf, WholeNumber
from mcpctl.client.http import ControlPlane, Json
from mcpctl.client.target import Target
from mcpctl.errors import FieldError, InvalidInput, Problem

AUDIT_ROWS: Final = 100
"""How many audit rows are shown when nobody says."""

_AUDIT_PANEL: Final = "Which audit rows"


@click.command(cls=Command, short_help="Show one or many things.")
@click.argument("what", nargs=-1, required=True, metavar="KIND [NAME...]", help="What to show. KIND/NAME works too.")
@output_flag("table", "wide", "json", "yaml", "name", default="table")
@click.option("--no-headers", is_flag=True, help="Leave out the line of titles.")
@project_flag
@click.option("-A", "--all-projects", is_flag=True, help="Tokens of every project, whatever the context names.")
@click.option("--token", metavar="NAME", help="By this token: NAME, PROJECT/NAME or SHA-256.", panel=_AUDIT_PANEL)
@click.option("--user", type=USER, help="By this user, or a token of theirs.", panel=_AUDIT_PANEL)
@click.option("--since", metavar="WHEN", help="From then on: 1h, 7d, or an ISO time with zone.", panel=_AUDIT_PANEL)
@click.option("--until", metavar="WHEN", help="Up to then, in the same form.", panel=_AUDIT_PANEL)
@click.option("--decision", type=OneOf(("allowed", "refused")), help="Only these.", panel=_AUDIT_PANEL)
@click.option(
    "--limit",
    type=WholeNumber(1),
    metavar="N",
    help=f"At most so many, newest first; {AUDIT_ROWS} if left out.",
    panel=_AUDIT_PANEL,
)
@connection_flags
@click.pass_context
def get(
    ctx: click.RichContext,
    /,
    what: tuple[str, ...],
    output: str,
    no_headers: bool,
    project: str | None,
    all_projects: bool,
    **audit: Any,
) -> int:
    """Show one or many things.

    KIND is one of users, groups, sessions, projects, servers, proxymodels, secrets, instances, rbac, mcptokens, audit; singular
    names work too. Lists hold what you may view. What -o yaml and -o json print of users, groups,
    secrets, proxymodels, servers, projects and rbac, 'mcpctl apply' takes back.

    Examples:
      mcpctl get users
      mcpctl get mcptokens -p demo -o wide
      mcpctl get server github time -o yaml
      mcpctl get audit --since 1h --decision refused
    """
    asked = list(targets(what))
    kinds = {kind for kind, _ in asked}
    _refuse_strays(kinds, project, all_projects, audit)
    found_target = target()
    code = 0
    by_kind: dict[str, tuple[Kind, list[Json]]] = {}
    with control_plane(found_target) as plane:
        for kind, name in asked:
            items = by_kind.setdefault(kind.plural, (kind, []))[1]
            try:
                if name is None:
                    items.extend(_all(plane, kind, _query(kind, found_target, project, all_projects, audit)))
                else:
                    items.append(one(plane, kind, name, project, found_target))
            except Problem as problem:
                if len(asked) == 1:
                    raise
                failures.show(problem, ctx.meta)
                code = code or problem.exit_code
    _print(list(by_kind.values()), output, single=len(asked) == 1 and asked[0][1] is not None, headers=not no_headers)
    return code


def one(plane: ControlPlane, kind: Kind, name: str, project: str | None, found: Target) -> Json:
    """The thing of this kind and name.

    Raises:
        Problem: as the control plane answers; ``InvalidInput`` if a token's project is not given.
    """
    path, query = place(kind, name, project, found)
    if not kind.described:
        raise InvalidInput(f"{kind.plural} are only listed: mcpctl get {kind.plural}")
    answer: Json = plane.get(path, query)
    return answer


def place(kind: Kind, name: str, project: str | None, found: Target, *more: str) -> tuple[str, dict[str, str]]:
    """Path and query of one thing. A token is its id, ``PROJECT/NAME``, or a name in the project given.

    Raises:
        InvalidInput: a token's project is not given, or nothing of this kind can be called so.
    """
    kind.refuse(name)
    if not kind.in_project or is_id(name):
        return kind.path(name, *more), {}
    head, slash, rest = name.partition("/")
    if slash:
        return kind.path(rest, *more), {"project": head}
    if chosen := project or found.project:
        return kind.path(name, *more), {"project": chosen}
    message = f"names of tokens are unique within a project: give -p PROJECT, or write PROJECT/{name}"
    raise InvalidInput(message, errors=[FieldError("project", message)])


def _all(plane: ControlPlane, kind: Kind, query: dict[str, str | int | None]) -> list[Json]:
    limit = query.pop("limit", None)
    return list(plane.items(kind.collection, query, limit if isinstance(limit, int) else None))


def _query(
    kind: Kind, found: Target, project: str | None, all_projects: bool, audit: dict[str, Any]
) -> dict[str, str | int | None]:
    if kind is MCPTOKENS:
        return {"project": None if all_projects else project or found.project}
    if kind is AUDIT:
        return {**audit, "project": project, "limit": audit["limit"] or AUDIT_ROWS}
    return {}


def _refuse_strays(kinds: set[Kind], project: str | None, all_projects: bool, audit: dict[str, Any]) -> None:
    """A flag that would be ignored is an error: somebody believes in it."""
    if AUDIT not in kinds and (stray := [name for name, value in audit.items() if value is not None]):
        raise InvalidInput(
            "only the audit is chosen from so",
            errors=[FieldError(name, "it goes with 'mcpctl get audit' only") for name in stray],
        )
    if project and not kinds & {AUDIT, MCPTOKENS}:
        raise InvalidInput(
            "only tokens and audit rows belong to a project",
            errors=[FieldError("project", "it goes with 'mcptokens' and 'audit' only")],
        )
    if project and all_projects:
        raise InvalidInput("one project or all?", errors=[FieldError("all_projects", "it does not go with --project")])


def _print(found: list[tuple[Kind, list[Json]]], output: str, *, single: bool, headers: bool) -> None:
    if output in ("json", "yaml"):
        everything = [{"kind": kind.singular} | item for kind, items in found for item in items]
        print_document(everything[0] if single else {"kind": "list", "items": everything}, output)
        return
    for number, (kind, items) in enumerate(found):
        if items:
            if number and output != "name":
                print()
            print_items(kind, items, output, headers=headers)
        elif not single:
            say(f"No {kind.in_words} found that you may view.")

"""``mcpctl delete``: asks first, then deletes what it can."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import rich_click as click
from click.exceptions import Exit

from mcpctl.cli import failures
from mcpctl.cli.connection import control_plane, target
from mcpctl.cli.flags import connection_flags, output_flag, project_flag, yes_flag
from mcpctl.cli.get import place
from mcpctl.cli.output import print_document
from mcpctl.cli.resources import GROUPS, KINDS, RBAC, USERS, Kind, is_id, targets
from mcpctl.cli.terminal import can_ask, printable, say
from mcpctl.cli.verbs import Command
from mcpctl.client.http import ControlPlane, Json
from mcpctl.errors import FieldError, Forbidden, InvalidInput, NotFound, Problem


@click.command(cls=Command, short_help="Delete things for good.")
@click.argument("what", nargs=-1, required=True, metavar="KIND NAME...", help="What to delete. KIND/NAME works too.")
@project_flag
@yes_flag
@click.option("--ignore-not-found", is_flag=True, help="What is not there counts as deleted.")
@output_flag("name", "json", "yaml")
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
    refuse_unasked(yes)
    code = 0
    done: list[Json] = []
    with control_plane(found_target) as plane:
        beside = [Consequences.of(plane, kind, name) for kind, name in named]
        if not yes:
            confirm(named, beside)
        for (kind, name), (path, query), more in zip(named, places, beside, strict=True):
            try:
                plane.delete(path, query)
            except Problem as problem:
                if ignore_not_found and isinstance(problem, NotFound) and problem.code == "not_found":
                    done.append({"kind": kind.singular, "name": name, "deleted": False})
                    continue
                failures.show(problem, ctx.meta)
                code = code or problem.exit_code
                continue
            done.append({"kind": kind.singular, "name": name, "deleted": True} | more.as_json())
            if output not in ("json", "yaml"):
                reference = printable(f"{kind.singular}/{name}")
                print(reference if output == "name" else f"{reference} deleted")
                for line in more.lines(past=True):
                    say(f"  {line}")
    if output in ("json", "yaml") and done:
        print_document(done[0] if len(named) == 1 else {"items": done}, output)
    return code


@dataclass(frozen=True, slots=True)
class Consequences:
    """What happens to RBAC definitions when a subject of theirs is deleted, as far as the asker may view them.

    Attributes:
        subject: ``User:alice``; nothing for what is no subject.
        gone: those whose last subject it is, each with what it denies.
        smaller: those that have others.
    """

    subject: str = ""
    gone: tuple[tuple[str, tuple[str, ...]], ...] = ()
    smaller: tuple[str, ...] = ()

    @classmethod
    def of(cls, plane: ControlPlane, kind: Kind, name: str) -> Consequences:
        """Of deleting this one.

        Raises:
            Problem: as the control plane answers.
        """
        if kind not in (USERS, GROUPS):
            return cls()
        if is_id(name):
            try:
                name = str(plane.get(kind.path(name))["name"])
            except (Forbidden, NotFound):
                return cls()
        subject = f"{kind.singular.capitalize()}:{name}"
        named = [one for one in plane.items(RBAC.collection) if subject in (one.get("subjects") or ())]
        gone = [
            (str(one.get("name")), tuple(str(line) for line in one.get("roleBindings") or () if ",effect:deny" in str(line)))
            for one in named
            if one.get("subjects") == [subject]
        ]
        smaller = [str(one.get("name")) for one in named if one.get("subjects") != [subject]]
        return cls(subject, tuple(gone), tuple(smaller))

    def lines(self, *, past: bool) -> list[str]:
        """One for each definition, for a person, before or after it happened."""
        goes, denies, stays = ("went", "denied", "stayed") if past else ("goes", "denies", "stays")
        last = [
            f"rbac/{name} {goes} with it" + (f"; it {denies} {', '.join(denied)}" if denied else "")
            for name, denied in self.gone
        ]
        return [*last, *(f"rbac/{name} {stays}, without {self.subject}" for name in self.smaller)]

    def as_json(self) -> Json:
        """The members about it of what ``-o json`` prints."""
        found = {"alsoDeleted": [f"rbac/{name}" for name, _ in self.gone], "changed": [f"rbac/{name}" for name in self.smaller]}
        return {member: value for member, value in found.items() if value}


def refuse_unasked(yes: bool) -> None:
    """Go on only if it is meant or there is somebody to ask.

    Raises:
        InvalidInput: there is not.
    """
    if not yes and not can_ask():
        raise InvalidInput("deleting asks first, and there is no terminal to ask on", errors=[FieldError("yes", "add it")])


def confirm(named: Sequence[tuple[Kind, str]], beside: Sequence[Consequences]) -> None:
    """Ask whether these shall be deleted, and say what goes with them.

    Raises:
        click.exceptions.Exit: with 1, the answer was no.
    """
    for (kind, name), more in zip(named, beside, strict=True):
        say(f"{kind.singular}/{name}" + (f"   and {kind.goes_with_it}" if kind.goes_with_it else ""))
        for line in more.lines(past=False):
            say(f"  {line}")
    if not click.confirm("Delete for good?", err=True):
        print("Nothing was deleted.", file=sys.stderr)
        raise Exit(1)

"""``mcpctl apply`` and ``diff``: what files say, made so, or shown as a difference."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from difflib import unified_diff
from typing import Any, TypeVar

import rich_click as click
from click.exceptions import Exit

from mcpctl.cli.connection import control_plane
from mcpctl.cli.delete import refuse_unasked
from mcpctl.cli.documents import APPLIED, Document, read
from mcpctl.cli.flags import connection_flags, output_flag, yes_flag
from mcpctl.cli.output import print_document, yaml_text
from mcpctl.cli.resources import kind_called
from mcpctl.cli.terminal import may_color, printable, say
from mcpctl.cli.verbs import Command
from mcpctl.client.http import ControlPlane, Json, path_of
from mcpctl.errors import InvalidInput

Made = TypeVar("Made", bound=Callable[..., Any])


def _what_flags(function: Made) -> Made:
    prune = click.option(
        "--prune",
        multiple=True,
        metavar="KIND",
        help="Delete what is of this kind and not in the files, as far as you may view it; may be repeated.",
    )
    places = click.option(
        "-f",
        "--filename",
        "places",
        multiple=True,
        required=True,
        metavar="FILE|DIR|-",
        help="YAML or JSON; a directory stands for the files in it; may be repeated.",
    )
    return places(prune(function))


@click.command(cls=Command, short_help="Make things as files say.")
@_what_flags
@click.option("--dry-run", is_flag=True, help="Let the control plane do it and take it back.")
@yes_flag
@output_flag("name", "json", "yaml")
@connection_flags
def apply(places: tuple[str, ...], prune: tuple[str, ...], dry_run: bool, yes: bool, output: str | None) -> None:
    """Make things as files say, all of it or nothing: what is not there is created, what differs is changed.

    The files hold what 'mcpctl get KIND -o yaml' prints: users, groups, secrets, proxy models, servers, projects and RBAC
    definitions. You need what each of them needs alone, and nothing in the files helps you to it.

    What is left out stays as it is: members of a group; servers, toolNames and proxyModel of a project, and a proxyModel of
    null is none; whether a user is disabled. A server, a proxy model and an RBAC definition are whole: what a server's document
    leaves out, such as env, is deleted. A secret has the keys it names, with the values given; keys without one keep theirs. A
    user's password is for a new user.

    --prune never deletes you, the user admin, the groups admins and gateways, or whom policy files name. It asks first.

    Examples:
      mcpctl get rbac -o yaml > rbac.yaml
      mcpctl apply -f rbac.yaml --dry-run
      mcpctl apply -f access/ --prune rbac --prune group
    """
    kinds = _kinds(prune)
    documents = read(places)
    if kinds and not dry_run:
        refuse_unasked(yes)
    with control_plane() as plane:
        body: Json = {"prune": kinds, "dryRun": dry_run}
        if kinds and not dry_run and not yes:
            would = post(plane, documents, body | {"dryRun": True})
            body["revision"] = would["revision"]
            _confirm([one for one in would["items"] if one["result"] == "pruned"])
        done = post(plane, documents, body)
    if output in ("json", "yaml"):
        print_document(done, output)
        return
    for one in done["items"]:
        reference = printable(f"{one['kind']}/{one['name']}")
        print(reference if output == "name" else f"{reference} {one['result']}{' (dry run)' if dry_run else ''}")


@click.command(cls=Command, short_help="Show what applying files would change.")
@_what_flags
@connection_flags
def diff(places: tuple[str, ...], prune: tuple[str, ...]) -> int:
    """Show what 'mcpctl apply' of the same files would change: the control plane does it and takes it back.

    Exits like diff: 0 nothing would change, 1 something would.

    Examples:
      mcpctl diff -f access/
      mcpctl diff -f access/ --prune rbac
    """
    kinds = _kinds(prune)
    documents = read(places)
    with control_plane() as plane:
        would = post(plane, documents, {"prune": kinds, "dryRun": True})
    changed = [one for one in would["items"] if one["result"] != "unchanged"]
    for one in changed:
        for line in _difference(one):
            print(_colored(printable(line)))
    return 1 if changed else 0


def post(plane: ControlPlane, documents: Sequence[Document], more: Json) -> Json:
    """What the control plane answers to these documents.

    Raises:
        Problem: what is wrong with an item is said with the place it was read from.
    """
    try:
        answer: Json = plane.post(path_of("apply"), {"items": [one.item for one in documents]} | more)
    except InvalidInput as problem:
        if not problem.errors:
            raise
        lines = []
        for error in problem.errors:
            found = re.fullmatch(r"items\.(\d+)(?:\.(.+))?", error.field)
            known = found is not None and int(found[1]) < len(documents)
            document = documents[int(found[1])] if found is not None and known else None
            place = f"{document.where}: {document.reference}" if document else _flag(error.field, more.get("prune", ()))
            member = f": {found[2]}" if found is not None and found[2] else ""
            hint = f"; did you mean {error.nearest!r}?" if error.nearest and repr(error.nearest) not in error.message else ""
            lines.append(f"{place}{member}: {error.message}{hint}")
        raise type(problem)("\n".join(lines)) from None
    return answer


def _flag(field: str, prune: Sequence[str]) -> str:
    """The flag that ``field`` of the request came from, else the field itself."""
    found = re.fullmatch(r"prune\.(\d+)", field)
    return f"--prune {prune[int(found[1])]}" if found and int(found[1]) < len(prune) else field


def _kinds(words: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(kind_called(one, APPLIED).singular for word in words for one in word.split(",")))


def _confirm(pruned: Sequence[Json]) -> None:
    if not pruned:
        return
    for one in pruned:
        kind = kind_called(one["kind"])
        say(f"{one['kind']}/{one['name']}" + (f"   and {kind.goes_with_it}" if kind.goes_with_it else ""))
    if not click.confirm("Delete these for good, and apply the rest?", err=True):
        print("Nothing was done.", file=sys.stderr)
        raise Exit(1)


def _difference(one: Json) -> list[str]:
    """A unified diff of one item. Of values nobody reads back it says that they are set."""
    reference = f"{one['kind']}/{one['name']}"
    before, after = ([] if document is None else yaml_text(document).splitlines() for document in (one["before"], one["after"]))
    labels = ("/dev/null" if not before else f"a/{reference}", "/dev/null" if not after else f"b/{reference}")
    lines = list(unified_diff(before, after, *labels, lineterm=""))
    values = [member for member in one["differs"] if member.startswith("values.")]
    return (lines or [f"--- {labels[0]}", f"+++ {labels[1]}"]) + [
        f"# {member} is set" for member in values if after and member.removeprefix("values.") in one["after"].get("keys", ())
    ]


def _colored(line: str) -> str:
    if not may_color(sys.stdout):
        return line
    bold = line.startswith(("---", "+++"))
    color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return click.style(line, bold=True) if bold else click.style(line, fg=color) if color else line

"""``mcpctl edit``: kubectl's word for changing what is there, in an editor or, of secrets, by flags."""

from __future__ import annotations

from typing import Final

import rich_click as click

from mcpctl.cli import failures
from mcpctl.cli.apply import post
from mcpctl.cli.connection import control_plane
from mcpctl.cli.create_secrets import edit_secret
from mcpctl.cli.documents import APPLIED, Document, as_item, parse
from mcpctl.cli.drafts import draft, without_comments
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_done, yaml_text
from mcpctl.cli.resources import SECRETS, Kind
from mcpctl.cli.terminal import printable
from mcpctl.cli.verbs import Command, VerbGroup
from mcpctl.client.http import ControlPlane, Json
from mcpctl.errors import Conflict, Forbidden, InvalidInput, NotFound, Problem

TRIES: Final = 5
"""How often something may be changed elsewhere just while this is applied."""


@click.group("edit", cls=VerbGroup, short_help="Edit something.")
def edit() -> None:
    """Edit something in $VISUAL or $EDITOR. A secret is edited by flags, as nobody reads it back: what is named is changed,
    all else stays.

    Examples:
      mcpctl edit rbac readers
      mcpctl edit secret github --from-file bearer=github.token
    """


def _editing(kind: Kind) -> click.Command:
    @click.command(
        kind.singular,
        cls=Command,
        short_help=f"One of the {kind.in_words}.",
        help=f"""Open it as YAML in $VISUAL or $EDITOR, and apply what you save.

    What cannot be applied opens again with the reason on top. Saving it without a change, or empty, does nothing. What
    somebody else changed meanwhile is never undone unseen, and what you wrote is kept in a file if it cannot be applied.

    Examples:
      mcpctl edit {kind.singular} NAME
    """,
    )
    @click.argument("name", metavar="NAME", help="Name or id.")
    @output_flag("name", "json", "yaml")
    @connection_flags
    def command(name: str, output: str | None) -> None:
        _edit(kind, name, output)

    return command


def _edit(kind: Kind, name: str, output: str | None) -> None:
    with control_plane() as plane:
        before = as_item(kind, plane.get(kind.path(name)))
        text, refused = yaml_text(before), list[Problem]()
        with draft(text) as written:
            while True:
                edited = without_comments(written.edit(text))
                if not edited.strip() or edited == without_comments(text):
                    if refused:
                        raise refused[-1]
                    print_done(kind, before, "unchanged", output)
                    return
                try:
                    done = _applied(plane, kind, before, _the_same(kind, before, edited))
                    if (now := as_item(kind, done["before"])) == before:
                        break
                    before = now
                    raise Conflict(
                        f"somebody changed it meanwhile, and what you save would undo that; it is now:\n{yaml_text(now)}"
                    )
                except (InvalidInput, Conflict, Forbidden) as problem:
                    refused.append(problem)
                    said = "".join(f"# {printable(line)}\n" for line in failures.lines(problem))
                    text = f"{said}# Mend it and save; save it as it is to give up.\n{edited}"
    print_done(kind, done["after"], done["result"], output)


def _applied(plane: ControlPlane, kind: Kind, before: Json, document: Document) -> Json:
    """What came of ``document``; or, if the thing is no longer what it was ``before``, what would, and nothing is done.

    A dry run says what the thing is, and at which revision. If anything at all changes between that and applying it, it is
    asked again.

    Raises:
        NotFound: it is gone.
        Conflict: something is in the way, or changes each time.
    """
    tries = 0
    while True:
        tries += 1
        would = post(plane, [document], {"dryRun": True})
        (found,) = would["items"]
        if found["before"] is None:
            raise NotFound(f"{kind.reference(before)} is gone: somebody deleted it meanwhile")
        if as_item(kind, found["before"]) != before:
            return dict(found)
        try:
            (done,) = post(plane, [document], {"revision": would["revision"]})["items"]
            return dict(done)
        except Conflict:
            if tries == TRIES:
                raise


def _the_same(kind: Kind, before: Json, edited: str) -> Document:
    """The document in ``edited``, which must still be the one that was opened.

    Raises:
        InvalidInput: it cannot be read, or is another thing.
    """
    found = parse("the edited text", edited)
    if [(kind, before["name"])] != [(one.kind, one.item["name"]) for one in found]:
        raise InvalidInput(f"it must be {kind.reference(before)}, and only that: nothing is renamed")
    return found[0]


for _kind in APPLIED:
    if _kind is not SECRETS:
        edit.add_command(_editing(_kind))
edit.add_command(edit_secret)

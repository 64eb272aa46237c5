"""``mcpctl edit``: kubectl's word for changing what is there, in an editor or, of secrets, by flags."""

from __future__ import annotations

import rich_click as click

from mcpctl.cli import failures
from mcpctl.cli.apply import post
from mcpctl.cli.connection import control_plane
from mcpctl.cli.create_secrets import edit_secret
from mcpctl.cli.documents import APPLIED, Document, as_item, parse
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_done, yaml_text
from mcpctl.cli.resources import SECRETS, Kind
from mcpctl.cli.terminal import printable
from mcpctl.cli.verbs import Command, VerbGroup
from mcpctl.client.http import Json
from mcpctl.errors import Conflict, Forbidden, InvalidInput, Problem


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

    What cannot be applied opens again with the reason on top. Saving without a change does nothing.

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
        while True:
            edited = click.edit(text, extension=".yaml", require_save=False) or ""
            if _without_comments(edited) == _without_comments(text):
                if refused:
                    raise refused[-1]
                print_done(kind, before, "unchanged", output)
                return
            try:
                document = _the_same(kind, before, edited)
                now = as_item(kind, plane.get(kind.path(name)))
                if now != before:
                    before = now
                    raise Conflict(
                        f"somebody changed it meanwhile, and what you save would undo that; it is now:\n{yaml_text(now)}"
                    )
                (done,) = post(plane, [document], {})["items"]
                break
            except (InvalidInput, Conflict, Forbidden) as problem:
                refused.append(problem)
                said = "".join(f"# {printable(line)}\n" for line in failures.lines(problem))
                text = said + "# Mend it and save; save it as it is to give up.\n" + _without_comments(edited)
    print_done(kind, done["after"], done["result"], output)


def _the_same(kind: Kind, before: Json, edited: str) -> Document:
    """The document in ``edited``, which must still be the one that was opened.

    Raises:
        InvalidInput: it cannot be read, or is another thing.
    """
    found = parse("the edited text", edited)
    if [(kind, before["name"])] != [(one.kind, one.item["name"]) for one in found]:
        raise InvalidInput(f"it must be {kind.reference(before)}, and only that: nothing is renamed")
    return found[0]


def _without_comments(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#"))


for _kind in APPLIED:
    if _kind is not SECRETS:
        edit.add_command(_editing(_kind))
edit.add_command(edit_secret)

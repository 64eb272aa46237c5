"""``mcpctl edit``: kubectl's word for changing what is there."""

from __future__ import annotations

import rich_click as click

from mcpctl.cli.create_secrets import edit_secret
from mcpctl.cli.verbs import VerbGroup


@click.group("edit", cls=VerbGroup, short_help="Edit something.")
def edit() -> None:
    """Edit something: what is named is changed, all else stays.

    Examples:
      mcpctl edit secret github --from-file bearer=github.token
    """


edit.add_command(edit_secret)

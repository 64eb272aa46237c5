"""``mcpctl edit``: kubectl's word for changing what is there."""

from __future__ import annotations

import rich_click as click

from mcpctl.cli.create_secrets import set_secret
from mcpctl.cli.verbs import VerbGroup


@click.group("edit", cls=VerbGroup, short_help="Edit something.")
def edit() -> None:
    """Edit something. What a secret holds is never shown, so its values are given anew, as with 'mcpctl set secret'.

    Examples:
      mcpctl edit secret github --from-file bearer=github.token
    """


edit.add_command(set_secret)

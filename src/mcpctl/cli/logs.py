"""``mcpctl logs``: what a server wrote on a gateway, and what the gateway says of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import rich_click as click

from mcpctl.cli.connection import control_plane
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_json
from mcpctl.cli.resources import INSTANCES
from mcpctl.cli.terminal import printable, say
from mcpctl.cli.verbs import Command
from mcpctl.cli.words import WholeNumber
from mcpctl.client.http import ControlPlane
from mcpctl.errors import FieldError, InvalidInput, NotFound

TAIL: Final = 100
"""Lines shown when nobody says."""

EVERY: Final = 1.0
"""Seconds between questions with ``--follow``. A gateway reports about as often."""


@click.command(cls=Command, short_help="Show what a server wrote on a gateway.")
@click.argument("instance", metavar="SERVER[/GATEWAY]", help="The instance; the gateway may be left out if there is but one.")
@click.option("--tail", type=WholeNumber(1, 1000), default=TAIL, show_default=True, metavar="N", help="At most so many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with lines as they come.")
@click.option("--timestamps", is_flag=True, help="Each line with its time.")
@output_flag("text", "json", default="text")
@connection_flags
def logs(instance: str, tail: int, follow: bool, timestamps: bool, output: str) -> None:
    """Show what a server wrote on a gateway.

    A server over stdio writes to standard error; lines in brackets are the gateway's own, about reaching the server.
    Needs view on the instance, and action:logs on each project its server is attached to.

    Examples:
      mcpctl logs github/gw-1
      mcpctl logs time --tail 20 --timestamps
      mcpctl logs time/gw-1 -f
    """
    if follow and output == "json":
        raise InvalidInput("JSON has an end", errors=[FieldError("follow", "it does not go with -o json")])
    with control_plane() as plane:
        path = INSTANCES.path(_full_name(plane, instance.removeprefix(f"{INSTANCES.singular}/")), "logs")
        found = plane.get(path, {"limit": tail})
        if output == "json":
            print_json(dict(found))
            return
        lines, newest = found["items"], 0
        if not lines and not follow:
            say("Nothing was written yet.")
        while True:
            _print(lines, timestamps)
            if not follow:
                return
            newest = lines[-1]["number"] if lines else newest
            time.sleep(EVERY)
            lines = plane.get(path, {"limit": 1000, "after": newest})["items"]


def _full_name(plane: ControlPlane, name: str) -> str:
    """``SERVER/GATEWAY``, found among the instances where only the server is named.

    Raises:
        NotFound: no gateway has reported that server.
        InvalidInput: several have.
    """
    if "/" in name:
        return name
    found = [str(item["name"]) for item in plane.items(INSTANCES.collection) if item["server"] == name]
    if not found:
        raise NotFound(f"there is no instance of a server {name!r} that you may view")
    if len(found) > 1:
        raise InvalidInput(f"{name!r} runs on several gateways", errors=[FieldError("instance", "one of " + ", ".join(found))])
    return found[0]


def _print(lines: Sequence[dict[str, Any]], timestamps: bool) -> None:
    for line in lines:
        text = printable(str(line["text"]))
        own = f"[{text}]" if line["stream"] == "gateway" else text
        print(f"{line['at']} {own}" if timestamps else own, flush=True)

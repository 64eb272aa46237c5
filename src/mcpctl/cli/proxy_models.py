"""``mcpctl create proxymodel`` and ``set proxymodel``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import rich_click as click

from mcpctl.cli.connection import control_plane
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_done
from mcpctl.cli.resources import PROXYMODELS
from mcpctl.cli.stage_flags import FORM, StageFlag, cache_tool, complete_stages, seconds
from mcpctl.cli.verbs import Command
from mcpctl.cli.words import NAME, Ruled
from mcpctl.client.http import Json
from mcpctl.errors import FieldError, InvalidInput

Made = TypeVar("Made", bound=Callable[..., Any])


def _flags(function: Made) -> Made:
    for flag in (
        click.option(
            "--cache-tool",
            "cache_tools",
            type=Ruled("SERVER/TOOL", cache_tool),
            multiple=True,
            help="Cache this tool's results too, whatever its server says of it; may end in *, may be repeated.",
        ),
        click.option(
            "--cache-ttl",
            type=Ruled("DURATION", seconds),
            help="Cache results for so long, such as 5m: of tools that are read-only or idempotent by their server's word.",
        ),
        click.option("--description", metavar="TEXT", help="What it is for."),
        click.option(
            "--stage",
            "stages",
            type=StageFlag(),
            multiple=True,
            metavar=FORM,
            shell_complete=complete_stages,
            help="A stage; repeated, in the order in which results pass them. Also as STAGE:{JSON}.",
        ),
    ):
        function = flag(function)
    return function


@click.command("proxymodel", cls=Command, short_help="A pipeline that shapes results.")
@click.argument("name", type=NAME, metavar="NAME", help="Name of the proxy model.")
@_flags
@click.option(
    "-f", "--filename", metavar="FILE|-", help="Read all of it from YAML or JSON instead; kind and name may be left out."
)
@output_flag("name", "json", "yaml")
@connection_flags
def create_proxymodel(name: str, filename: str | None, output: str | None, **flags: Any) -> None:
    """Create a proxy model: stages that results of tools pass through before an agent gets them.

    It does nothing until a project or a server names it: 'mcpctl set project NAME --proxy-model MODEL'.
    'mcpctl explain proxymodel' lists the stages, 'mcpctl explain proxymodel STAGE' what one takes.

    Examples:
      mcpctl create proxymodel short --stage redact --stage truncate:maxChars=8000
      mcpctl create proxymodel names --stage 'select:{"expression": "items[].name"}'
      mcpctl create proxymodel quick --stage passthrough --cache-ttl 5m --cache-tool 'github/get_*'
      mcpctl create proxymodel short -f short.yaml
    """
    if filename is not None:
        if any(flags[flag] for flag in ("stages", "description", "cache_ttl", "cache_tools")):
            raise InvalidInput("all of it is in the file", errors=[FieldError("filename", "leave it out, or the other flags")])
        from mcpctl.cli.documents import read_one  # here: it loads a reader of YAML

        body = {member: value for member, value in read_one(PROXYMODELS, name, filename).items() if member != "kind"}
    else:
        if not flags["stages"]:
            raise InvalidInput("what does it do?", errors=[FieldError("stages", "give it at least once, or -f FILE")])
        body = {"name": name} | _body({}, flags)
    with control_plane() as plane:
        made = plane.post(PROXYMODELS.collection, body)
    print_done(PROXYMODELS, made, "created", output)


@click.command("proxymodel", cls=Command, short_help="Stages and cache of a proxy model.")
@click.argument("name", metavar="NAME", help="Name of the proxy model.")
@_flags
@click.option("--no-cache", is_flag=True, help="Cache nothing.")
@output_flag("name", "json", "yaml")
@connection_flags
def set_proxymodel(name: str, no_cache: bool, output: str | None, **flags: Any) -> None:
    """Change a proxy model. --stage names all stages from now on, in this order; --cache-tool likewise all tools.

    Where it is in use, this needs 'expose' on each project and 'edit' on each server that uses it.

    Examples:
      mcpctl set proxymodel short --stage redact --stage truncate:maxChars=4000
      mcpctl set proxymodel quick --cache-ttl 1m
      mcpctl set proxymodel quick --no-cache
    """
    if no_cache and (flags["cache_ttl"] or flags["cache_tools"]):
        raise InvalidInput("cached or not?", errors=[FieldError("no_cache", "leave it out, or --cache-ttl and --cache-tool")])
    if not (no_cache or flags["stages"] or flags["description"] is not None or flags["cache_ttl"] or flags["cache_tools"]):
        raise InvalidInput("nothing to change", errors=[FieldError("stages", "give it, or one of the other flags")])
    with control_plane() as plane:
        before = plane.get(PROXYMODELS.path(name))
        body = _body(before, flags) | ({"cache": None} if no_cache else {})
        made = plane.put(PROXYMODELS.path(name), body)
    print_done(PROXYMODELS, made, "changed", output)


def _body(before: Mapping[str, Any], flags: Mapping[str, Any]) -> Json:
    """What a proxy model is from now on: ``before`` with what the flags say.

    Raises:
        InvalidInput: tools are to be cached and nobody says for how long.
    """
    cache = before.get("cache")
    if flags["cache_ttl"] or flags["cache_tools"]:
        ttl = int(flags["cache_ttl"]) if flags["cache_ttl"] else (cache or {}).get("ttlSeconds")
        if ttl is None:
            raise InvalidInput("cached for how long?", errors=[FieldError("cache_ttl", "give it beside --cache-tool")])
        cache = {"ttlSeconds": ttl, "tools": list(flags["cache_tools"]) or (cache or {}).get("tools", [])}
    described = flags["description"] if flags["description"] is not None else before.get("description", "")
    return {"description": described, "stages": list(flags["stages"]) or before["stages"], "cache": cache}

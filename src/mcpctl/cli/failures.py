"""The one place that turns an error into what somebody reads."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any

import rich_click as click

from mcpctl.cli.flags import COMMAND, OUTPUT
from mcpctl.cli.terminal import may_color, printable
from mcpctl.errors import InvalidInput, Problem, Unauthenticated


def show(problem: Problem, meta: MutableMapping[str, Any]) -> None:
    """Write ``problem`` to standard error: as lines, or with ``-o json`` as the problem document it is."""
    if meta.get(OUTPUT) == "json":
        print(json.dumps(problem.as_json(), indent=2, ensure_ascii=False), file=sys.stderr)
        return
    mark = click.style("error:", fg="red", bold=True) if may_color(sys.stderr) else "error:"
    for number, line in enumerate(lines(problem, meta.get(COMMAND))):
        print(f"{mark} {printable(line)}" if number == 0 else printable(line), file=sys.stderr)


def show_usage(error: click.ClickException, meta: MutableMapping[str, Any]) -> None:
    """Write what is wrong with the command line, and where its help is."""
    message = error.format_message()
    if meta.get(OUTPUT) == "json":
        show(InvalidInput(message), meta)
        return
    mark = click.style("error:", fg="red", bold=True) if may_color(sys.stderr) else "error:"
    first, *rest = message.splitlines() or [""]
    print(f"{mark} {printable(first)}", file=sys.stderr)
    for line in rest:
        print(printable(line), file=sys.stderr)
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is not None:
        print(f"See '{ctx.command_path} --help'.", file=sys.stderr)


def lines(problem: Problem, command: click.Command | None = None) -> Iterator[str]:
    """Title, sentence, then what is missing and what is wrong, one per line, in the words of ``command``'s flags."""
    detail = problem.detail
    if problem.missing:
        # The sentence of a refused grant ends with the list that follows here.
        detail = detail.removesuffix("; ".join(problem.missing)).rstrip()
    if problem.errors and all(error.message in detail for error in problem.errors):
        # The sentence of invalid input is its list of fields, which follows here in the words of the command line.
        detail = ""
    lost = isinstance(problem, Unauthenticated) and problem.code == "invalid_credential"
    if lost:
        # What the control plane says to everybody; the last line says it in commands.
        detail = detail.removesuffix(": log in again, or use another token")
    yield problem.title
    if detail and detail != problem.title:
        yield from ("  " + line for line in detail.splitlines())
    yield from (f"    {one}" for one in problem.missing)
    for error in problem.errors:
        where = flag_for(error.field, command)
        hint = f"; did you mean {error.nearest!r}?" if error.nearest and repr(error.nearest) not in error.message else ""
        said = error.message if error.message.startswith(where) else f"{where}: {error.message}"
        yield f"  {said}{hint}"
    if after := problem.headers.get("retry-after"):
        yield f"  Try again in {after} s."
    if lost:
        yield "  Log in again with 'mcpctl login', or check MCPCTL_TOKEN if it is set."


def flag_for(field: str, command: click.Command | None) -> str:
    """The flag or argument of ``command`` that the request's ``field`` came from, else the field itself."""
    head = re.match(r"[A-Za-z_]+", field)
    if command is None or head is None or ":" in field:  # a line of a file, which may be called as a flag is
        return field
    wanted = re.sub(r"([A-Z])", lambda upper: "_" + upper[0].lower(), head[0])
    for param in command.params:
        if param.name == wanted:
            if isinstance(param, click.Argument):
                return param.human_readable_name
            return next((opt for opt in param.opts if opt.startswith("--")), param.opts[0])
    return field

"""``mcpctl test``: judge an endpoint of MCP, any or the gateway of a project."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import NoArgsIsHelpError

from mcpctl.cli.endpoint_words import Call, LoadWords, endpoint_address
from mcpctl.cli.flags import connection_flags
from mcpctl.cli.output import print_json
from mcpctl.cli.terminal import is_terminal, may_color, printable
from mcpctl.cli.verbs import Command, CommandGroup
from mcpctl.cli.words import PROJECT, OneOf, Ruled
from mcpctl.errors import InvalidInput

if TYPE_CHECKING:
    from mcpctl.endpoint_test.check import Check
    from mcpctl.endpoint_test.runner import Report, Watcher

CREDENTIALS = "Credentials"
CHECKS = "Checks"


class WrongUsage(click.UsageError):
    """A wrong command line; here 2 says that a check failed."""

    exit_code = 1


class TestCommand(Command):
    """A command whose wrong usage has an exit code of its own."""

    __test__ = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        with _usage_is_told(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Carry it out."""
        with _usage_is_told(ctx):
            return super().invoke(ctx)


@contextmanager
def _usage_is_told(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise WrongUsage(error.format_message(), ctx) from error
    except InvalidInput as problem:
        raise WrongUsage(problem.detail, ctx) from problem


@click.group(cls=CommandGroup, short_help="Judge an endpoint of MCP.")
def test() -> None:
    """Judge an endpoint of MCP.

    Examples:
      mcpctl test mcp https://mcp.example.com/mcp
      mcpctl test mcp --list
    """


@test.command("mcp", cls=TestCommand, short_help="Judge an endpoint of MCP.")
@click.argument(
    "url",
    required=False,
    type=Ruled("URL", endpoint_address),
    metavar="[URL]",
    help="The endpoint. With --project, that of the project's gateway.",
)
@click.option("-p", "--project", type=PROJECT, help="Test the gateway of this project, with tokens made for it.")
@click.option(
    "--other-origin",
    is_flag=True,
    panel=CREDENTIALS,
    help="With -p and a URL: send the project's tokens there, although the context's gateway is another one.",
)
@click.option("--config", "config_file", metavar="FILE", help="Read options from this TOML or YAML file; flags beat it.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    metavar="SECONDS",
    help="How long one answer may take; the whole run takes 12 times that at most. Default: 10.",
)
@click.option("--load", type=LoadWords(), metavar="N,C", help="Measure latency with N requests, C at once.")
@click.option("--strict", is_flag=True, default=None, help="Warnings fail.")
@click.option("-v", "--verbose", is_flag=True, default=None, help="Show what was skipped as well.")
@click.option(
    "-o",
    "--output",
    type=OneOf(("table", "json", "junit", "sarif")),
    metavar="table|json|junit|sarif",
    is_eager=True,
    help="How to print it.",
)
@click.option("--token-file", metavar="FILE", panel=CREDENTIALS, help="The bearer is in this file; '-' is standard input.")
@click.option("--token", "token_source", metavar="-", panel=CREDENTIALS, help="'-' reads the bearer from standard input.")
@click.option("--second-token-file", metavar="FILE", panel=CREDENTIALS, help="Another valid bearer, to see what is kept apart.")
@click.option(
    "--refused-token-file",
    "refused_token_files",
    multiple=True,
    metavar="FILE",
    panel=CREDENTIALS,
    help="A bearer that must be refused: expired, or of another audience; may be repeated.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME:VALUE",
    panel=CREDENTIALS,
    help="Send this with every request; 'NAME: env:VARIABLE' takes a secret from the environment.",
)
@click.option("--insecure", is_flag=True, default=None, panel=CREDENTIALS, help="Do not verify the certificate.")
@click.option(
    "--era",
    type=OneOf(("auto", "legacy", "modern", "both")),
    metavar="auto|legacy|modern|both",
    panel=CHECKS,
    help="Which protocol eras must be spoken: legacy is up to 2025-11-25, modern is 2026-07-28.",
)
@click.option(
    "--call",
    "calls",
    type=Call(),
    multiple=True,
    metavar="NAME=JSON",
    panel=CHECKS,
    help="Call this tool with these arguments, once. If an argument is repeated in a header, K5 sends two more calls, which "
    "must be refused; --only K3-unasked calls once more. Nothing else that may have effects is ever called.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="CHECK",
    panel=CHECKS,
    help="Only this check, or those of M3, or of all of M; may be repeated.",
)
@click.option("--skip", multiple=True, metavar="CHECK", panel=CHECKS, help="Not this one, or these; may be repeated.")
@click.option("--list", "listing", is_flag=True, panel=CHECKS, help="Print all checks, and test nothing.")
@click.option("--explain", metavar="CHECK", panel=CHECKS, help="Print all there is to say about one check.")
@connection_flags
def test_mcp(listing: bool, explain: str | None, **flags: Any) -> int:
    """Judge an endpoint of MCP over Streamable HTTP: reachability, TLS, authentication, both eras, lists, schemas, sessions.

    Without -p any endpoint of any maker. The bearer comes from --token-file, standard input or MCPCTL_TEST_TOKEN; it is sent
    to the endpoint's own origin and nowhere else, and never over plain http to another machine unless --allow-plain-http.

    With -p the gateway of a project: tokens that live ten minutes are made in the current context, the gateway is tested with
    them, also for what each may see and call, and they are deleted.

    Exit codes: 0 all is well, 1 wrong usage, 2 a check failed (with --strict also a warning), 3 a credential is needed or was
    refused, 4 unreachable.

    Examples:
      mcpctl test mcp https://mcp.example.com/mcp --token-file token
      mcpctl test mcp http://127.0.0.1:8000/mcp --call 'add={"a": 1}'
      mcpctl test mcp --config endpoint.toml -o junit
      mcpctl test mcp -p demo
      mcpctl test mcp --explain M3-name-wrong
    """
    if listing or explain:
        return _describe(explain, flags["output"])
    import asyncio

    from mcpctl.cli.endpoint_options import gathered
    from mcpctl.endpoint_test.runner import run

    with gathered(flags) as given:
        with _progress() as watch:
            report = asyncio.run(run(given.options, given.checks, strict=given.strict, watch=watch))
        _print(report, given.output, verbose=given.verbose)
    return report.exit_code


def _describe(explain: str | None, output: str | None) -> int:
    from mcpctl.cli.tables import print_table
    from mcpctl.endpoint_test.catalog import CHECKS as ALL
    from mcpctl.endpoint_test.catalog import named
    from mcpctl.endpoint_test.reports import json_document, table

    found: Sequence[Check] = [named(explain)] if explain else ALL
    if output == "json":
        print_json([json_document.described(check) for check in found])
    elif explain:
        print("\n".join(table.explained(found[0])))
    else:
        print_table(["CHECK", "SEVERITY", "WHAT IS TRUE WHEN IT PASSES"], [[c.id, str(c.severity), c.title] for c in found])
    return 0


def _print(report: Report, output: str, *, verbose: bool) -> None:
    from mcpctl.endpoint_test.reports import json_document, junit, sarif, table

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a server sends may be in no encoding of this terminal's
    if output == "json":
        print_json(json_document.document(report))
    elif output == "junit":
        sys.stdout.write(junit.document(report))
    elif output == "sarif":
        from importlib.metadata import version

        print_json(sarif.document(report, version("mcpctl")))
    else:
        colors = may_color(sys.stdout)
        for line in table.lines(report, verbose=verbose, paint=lambda text, fg: click.style(text, fg=fg) if colors else text):
            print(line)


def _columns() -> int:
    try:
        found = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        found = 0
    return found or 80


@contextmanager
def _progress() -> Iterator[Watcher | None]:
    """A line on the terminal that says which check is running, and is gone afterwards."""
    if not is_terminal(sys.stderr):
        yield None
        return

    def show(check: Check, number: int, count: int) -> None:
        line = f"[{number}/{count}] {printable(check.id)} {printable(check.title)}"
        print(f"\r\x1b[K{line[: _columns() - 1]}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

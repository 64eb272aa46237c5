"""Run all of it: ``python -m benchmarks.conformance [--direct-only] [--only SCENARIO] [--dry]``.

Exits with 1 if a scenario passes directly and fails through the gateway, or a required one fails directly; with 2 if nothing
could be run. A part of it (``--only``, ``--direct-only``) is printed and never written.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

from tests.interop.packages import has_npm

from benchmarks import processes, provenance
from benchmarks.conformance import scoreboard, suite
from benchmarks.conformance.bearer_proxy import bearing
from benchmarks.conformance.scoreboard import Row
from benchmarks.installation import installation, wait_for

PROJECT, SERVER = "conformance", "everything"
PACKAGES: Final = ("mcp", "mcp-types", "starlette", "uvicorn", "h11", "aiohttp", "msgspec")


@contextmanager
def doors(direct_only: bool) -> Iterator[tuple[str, str | None]]:
    """The address of the server, and of a proxy that has the bearer of a token, before a gateway, before the server."""
    with ExitStack() as stack:
        upstream = stack.enter_context(processes.module("benchmarks.conformance.upstream"))
        direct = processes.pipes(upstream)[1].readline().strip()
        if direct_only:
            yield direct, None
            return
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance")))
        there = stack.enter_context(installation(directory))
        there.project(PROJECT, {SERVER: direct}, tool_names="plain")
        token = there.token(PROJECT, [SERVER])
        _, gateway = stack.enter_context(there.gateway())
        wait_for(gateway)
        yield direct, stack.enter_context(bearing(gateway, token["token"]))


def run(only: str | None, direct_only: bool) -> list[Row]:
    """Every scenario, or the one of that name in all editions that have it, at both doors."""
    rows = []
    with doors(direct_only) as (direct, through):
        for edition in suite.EDITIONS:
            standings = {name: how for name, how in edition.scenarios().items() if only in (None, name)}
            if not standings:
                continue
            found = [
                edition.run(f"http://{address}/mcp", list(standings), only)
                for where, address in (("directly", direct), ("through the gateway", through))
                if address is not None and _say(f"{edition.version} at {edition.revision}, {where}")
            ]
            rows += [
                Row(edition.version, edition.revision, name, how, *(outcomes[name] for outcomes in found))
                for name, how in standings.items()
            ]
    return rows


def _say(what: str) -> bool:
    print(f"… {what}", file=sys.stderr, flush=True)
    return True


def main() -> int:
    """Install, run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("--direct-only", action="store_true", help="only against the server, without a gateway")
    parser.add_argument("--only", metavar="SCENARIO", help="one scenario, in all versions and revisions that have it")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    options = parser.parse_args()
    if not has_npm():
        print("NPM IS MISSING: nothing was run; install Node with npm", file=sys.stderr)
        return 2
    load, begun = os.getloadavg()[0], perf_counter()
    rows = run(options.only, options.direct_only)
    if not rows:
        print(f"{options.only!r} is no scenario for servers", file=sys.stderr)
        return 2
    also = [f"node {suite.node()[1]}", f"{suite.PACKAGE} {suite.EARLIER} and {suite.LATER}"]
    about = provenance.lines("make conformance", perf_counter() - begun, PACKAGES, also, load)
    text = scoreboard.page(rows, about)
    print(text)
    print(scoreboard.summary(rows))
    if not (options.dry or options.only or options.direct_only):
        provenance.RESULTS.mkdir(exist_ok=True)
        (provenance.RESULTS / "conformance.md").write_text(text)
    return scoreboard.exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())

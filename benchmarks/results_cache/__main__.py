"""Run all of it: ``python -m benchmarks.results_cache``."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

from benchmarks import processes, provenance
from benchmarks.gateway import wire
from benchmarks.installation import Installation, installation, wait_for
from benchmarks.processes import Load
from benchmarks.results_cache.upstream import HUGE, HUGE_BYTES
from benchmarks.rounds import Measured
from benchmarks.tables import Verdict, ends, spread, table

ROUNDS: Final = 15
SECONDS: Final = 0.25
PACKAGES: Final = ("aiohttp", "starlette", "uvicorn", "uvloop", "httptools", "msgspec")

SERVER: Final = "forecast"
STRANGER: Final = "no bearer (401)"
UNKNOWN: Final = "a tool that is not there (-32602)"
PLAIN: Final = "no proxy model"
PASSING: Final = "a model that does nothing, no cache"
HIT: Final = "a cache hit"
LARGE_PLAIN: Final = "100 KB, no proxy model"
LARGE_HIT: Final = "100 KB, a cache hit"
LARGE_REDACTED: Final = "100 KB, redact"


@dataclass(frozen=True)
class Kind:
    """One thing to ask."""

    request: str
    expects: str
    status: int = 200


@dataclass
class Findings:
    """Everything one run found out."""

    took: dict[str, Measured] = field(default_factory=dict)
    medians: dict[str, list[float]] = field(default_factory=dict)
    peak: float = 0.0
    paged_in: float = 0.0
    meanwhile: Measured = field(default_factory=Measured)
    load_before: float = 0.0
    seconds: float = 0.0


def run() -> Findings:
    """Measure everything."""
    begun = perf_counter()
    found = Findings(load_before=os.getloadavg()[0])
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="results")))
        process = stack.enter_context(processes.module("benchmarks.results_cache.upstream"))
        upstream = processes.pipes(process)[1].readline().strip()
        there = stack.enter_context(installation(directory))
        tokens = _projects(there, upstream)
        gateway, address = stack.enter_context(there.gateway())
        wait_for(address)
        load = stack.enter_context(processes.load())
        _calls(found, load, address, tokens)
        other = stack.enter_context(processes.load())
        _huge(found, load, other, gateway.pid, address, tokens)
    found.seconds = perf_counter() - begun
    return found


def _projects(there: Installation, upstream: str) -> dict[str, str]:
    """One project for each model, all with the same server; the bearer of each."""
    models: dict[str, dict[str, Any] | None] = {
        PLAIN: None,
        PASSING: {"stages": [{"stage": "passthrough"}]},
        HIT: {"stages": [{"stage": "passthrough"}], "cache": {"ttlSeconds": 3600}},
        LARGE_REDACTED: {"stages": [{"stage": "redact"}]},
        HUGE: {"stages": [{"stage": "paginate", "options": {"pageChars": 20_000}}]},
    }
    tokens = {}
    for number, (name, model) in enumerate(models.items()):
        if number == 0:
            there.project(f"p{number}", {SERVER: upstream})
        else:
            there.send("POST", "/projects", {"name": f"p{number}", "servers": [SERVER]})
        if model is not None:
            there.send("POST", "/proxymodels", {"name": f"m{number}", **model})
            there.send("PUT", f"/projects/p{number}", {"proxyModel": f"m{number}"})
        tokens[name] = str(there.token(f"p{number}", [SERVER])["token"])
    return tokens


def _calls(found: Findings, load: Load, address: str, tokens: Mapping[str, str]) -> None:
    def call(tool: str, who: str) -> str:
        return wire.call(address, "/mcp", f"{SERVER}__{tool}", bearer=tokens[who])

    stranger = wire.call(address, "/mcp", f"{SERVER}__{wire.SMALL}")
    kinds = {
        STRANGER: Kind(stranger, "", 401),
        UNKNOWN: Kind(call("nothing", PLAIN), "-32602", 400),
        PLAIN: Kind(call(wire.SMALL, PLAIN), wire.SMALL_MARK),
        PASSING: Kind(call(wire.SMALL, PASSING), wire.SMALL_MARK),
        HIT: Kind(call(wire.SMALL, HIT), wire.SMALL_MARK),
        LARGE_PLAIN: Kind(call(wire.LARGE, PLAIN), wire.LARGE_MARK),
        LARGE_HIT: Kind(call(wire.LARGE, HIT), wire.LARGE_MARK),
        LARGE_REDACTED: Kind(call(wire.LARGE, LARGE_REDACTED), wire.LARGE_MARK),
    }
    for name, kind in kinds.items():
        load.ask(address, kind.request, seconds=0.1, connections=1, expects=kind.expects, status=kind.status)
        found.took[name], found.medians[name] = Measured(), []
    for _ in range(ROUNDS):
        for name, kind in kinds.items():
            _, took = load.ask(address, kind.request, seconds=SECONDS, connections=1, expects=kind.expects, status=kind.status)
            found.took[name].seconds += took
            found.medians[name].append(median(took))


def _huge(found: Findings, load: Load, other: Load, pid: int, address: str, tokens: Mapping[str, str]) -> None:
    """One page of 50 MB, with the memory that it takes, and what a small call takes meanwhile."""
    small = wire.call(address, "/mcp", f"{SERVER}__{wire.SMALL}", bearer=tokens[HUGE])
    huge = wire.call(address, "/mcp", f"{SERVER}__{HUGE}", bearer=tokens[HUGE])
    load.ask(address, small, seconds=0.2, connections=1, expects=wire.SMALL_MARK)
    peaks = []
    for _ in range(3):
        before = processes.resident(pid)
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted from here

        def meanwhile() -> None:
            found.meanwhile.seconds += other.ask(address, small, seconds=1.0, connections=1, expects=wire.SMALL_MARK)[1]

        beside = threading.Thread(target=meanwhile)
        beside.start()
        found.paged_in, _ = load.ask(address, huge, seconds=0, connections=1, most=1, expects="mcplocal__next_page")
        beside.join()
        status = Path(f"/proc/{pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        peaks.append((peak - before) / HUGE_BYTES)
    found.peak = max(peaks)


def page(found: Findings) -> str:
    """The whole page."""
    return (
        "\n\n".join(
            (
                "# Results: shaped, paged and cached",
                provenance.lines("make bench-results", found.seconds, PACKAGES, (), found.load_before),
                "## Budgets",
                table(("what", "found", "budget", "goal", "met"), [one.row for one in verdicts(found)]),
                "Ratios are medians over the rounds, with the 10th and 90th percentile; everything is asked in every round, in "
                "turns, over one connection, of one gateway.",
                "## What an answer takes",
                table(("what", "p50 (p10–p90)"), [f"| {name} | {spread(took)} |" for name, took in found.took.items()]),
                "## A page of 50 MB",
                f"The first page came after {found.paged_in:.2f} s. Small calls of the same project meanwhile: "
                f"{spread(found.meanwhile)}, the slowest {max(found.meanwhile.seconds) * 1000:.0f} ms (while 50 MB are decoded "
                "and looked through, which is one step each, with or without a model).",
                "## Notes",
                "- A hit is authenticated, decided about and audited like any call, and so is the refusal it is held against. "
                "Of whom nothing is known nothing is read, let alone decided: that is listed for comparison.\n"
                "- The peak is the gateway's memory above what it had before, the largest of three. The text is ASCII: "
                "other text takes two or four bytes a character in memory.",
            )
        )
        + "\n"
    )


def verdicts(found: Findings) -> list[Verdict]:
    """The budgets, and what was found."""
    return [
        _ratio(found, f"cache hit against the fastest refusal of a call: {UNKNOWN}", HIT, UNKNOWN, 1.5, 1.2),
        _ratio(found, "cache hit against the same call without cache", HIT, PASSING, 0.5, 0.4),
        _ratio(found, "a model that does nothing against none", PASSING, PLAIN, 1.1, 1.05),
        Verdict("peak memory for a page of 50 MB, in sizes of it", found.peak, f"{found.peak:.2f} ×", 3.0, 2.2, " ×"),
    ]


def _ratio(found: Findings, what: str, name: str, to: str, budget: float, goal: float) -> Verdict:
    ratios = [one / other for one, other in zip(found.medians[name], found.medians[to], strict=True)]
    low, high = ends(ratios)
    return Verdict(what, median(ratios), f"{median(ratios):.2f} × ({low:.2f}–{high:.2f})", budget, goal, " ×")


def main() -> None:
    """Run it, write the page, say whether all budgets are met by the exit code."""
    found = run()
    text = page(found)
    (provenance.RESULTS / "results_cache.md").write_text(text)
    print(text)
    missed = [one.what for one in verdicts(found) if "missed" in one.row]
    sys.exit(f"missed: {'; '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()

"""Run all of it: ``python -m benchmarks.gateway [--long]``; with ``--long`` the memory is watched over a million calls."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from benchmarks import processes, provenance
from benchmarks.gateway import calls, contenders, lifetime, lists, outage, plot, report
from benchmarks.gateway.contenders import MCPLOCAL
from benchmarks.gateway.report import Findings
from benchmarks.installation import installation


def run(calls_of_a_life: int) -> Findings:
    """Measure everything."""
    begun = perf_counter()
    found = Findings(load_before=os.getloadavg()[0])
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway")))
        process = stack.enter_context(processes.module("benchmarks.gateway.upstream"))
        address = processes.pipes(process)[1].readline().strip()
        there = stack.enter_context(installation(directory))
        there.project(contenders.PROJECT, {contenders.SERVER: address})
        load = stack.enter_context(processes.load())
        _say("dead server among five")
        found.outage = outage.measure(load, there, address)
        _say("starts and memory")
        found.life = lifetime.measure(load, there, calls_of_a_life)
        with ExitStack() as running:
            direct = contenders.direct(contenders.DIRECT, process.pid, address)
            everybody = contenders.assemble(running, direct, there, lambda what: _skip(found, what))
            _say("calls")
            found.calls = calls.measure(load, everybody)
            _say("lists")
            gateway = next(one for one in everybody if one.name == MCPLOCAL)
            found.warm, found.new = lists.measure(load, there, gateway)
    found.programs = _programs()
    _standing_notes(found)
    found.seconds = perf_counter() - begun
    return found


def _programs() -> list[str]:
    try:
        said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return []
    return [said.strip().replace("nginx version: nginx/", "nginx ")]


def _standing_notes(found: Findings) -> None:
    found.notes += [
        "The upstream is a raw application on uvicorn with prepared results, the least that serves MCP in Python in earnest. "
        "The load is a process of its own that writes prepared bytes over kept connections and looks into every answer.",
        "mcplocal is `mcplocal serve` as installed, one worker, with a bearer checked, a decision asked of token, owner and "
        "project, and an audit event delivered to a real control plane for each call. The others do none of this.",
        f"{calls.ROUNDS} rounds of {calls.SECONDS:g} s for each contender and kind of call, in turns. Load, upstream, gateway "
        "and control plane share the machine's processors, so throughput is what is left for all of them.",
        "The SDK's proxy and FastMCP's answer JSON and keep no session; their client is as their documentation has it.",
        f"Lists are timed by the gateway's processor time: {lists.WARM} at a time, and one each for {lists.NEWCOMERS} new "
        "tokens (introspection, lines and two slices included).",
    ]


def _skip(found: Findings, what: str) -> None:
    print(f"SKIPPED {what}", file=sys.stderr, flush=True)
    found.notes.append(f"Skipped: {what}.")


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--long", action="store_true", help="watch the memory over a million calls (some minutes more)")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    options = parser.parse_args()
    found = run(lifetime.MANY_CALLS if options.long else lifetime.CALLS)
    text = report.page(found)
    print(text)
    if not options.dry:
        provenance.RESULTS.mkdir(exist_ok=True)
        (provenance.RESULTS / "gateway.md").write_text(text)
        (provenance.RESULTS / "gateway.svg").write_text(plot.svg(found))


if __name__ == "__main__":
    main()

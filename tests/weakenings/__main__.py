"""``python -m tests.weakenings``: take each defence out in turn, in a copy, and show that a test turns red."""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from textwrap import wrap
from time import monotonic

from tests.weakenings.planted import ROOT, NotApplicable, Weakening, every
from tests.weakenings.trial import Copy, Trial

MEASURED_WITH = ("casbin", "sqlalchemy", "starlette", "aiohttp", "pytest")
"""What decides or serves, and what judges: its versions stand in the report."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code is 0 only if every weakening was caught."""
    given = _parsed(arguments)
    try:
        wanted = _chosen(every(), given.only)
    except NotApplicable as error:
        print(f"the list cannot be used: {error}", file=sys.stderr)
        return 2
    if given.list:
        print("\n".join(_listed(wanted, shutil.get_terminal_size().columns)))
        return 0
    begun = monotonic()
    with TemporaryDirectory(prefix="weakenings-") as directory:
        copies = [Copy(Path(directory) / f"copy{number}") for number in range(given.jobs)]
        tests = list(dict.fromkeys(test for weakening in wanted for test in weakening.tests))
        print(f"{len(tests)} tests without any weakening ...", flush=True)
        if wrong := copies[0].baseline(tests, given.jobs):
            print(f"they are not green to begin with, so nothing could be shown:\n{wrong}", file=sys.stderr)
            return 2
        print(f"... are green after {monotonic() - begun:.0f} s; {len(wanted)} weakenings, {given.jobs} at a time", flush=True)
        try:
            trials = _tried(copies, wanted, verbose=given.verbose)
        finally:
            for copy in copies:
                copy.close()
    summary = _summary(trials, monotonic() - begun)
    print(summary)
    if given.write:
        given.write.write_text(_report(trials, summary), encoding="utf-8")
    return 0 if all(trial.verdict == "caught" for trial in trials) else 1


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.weakenings", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="ID", help="these weakenings and no others")
    parser.add_argument("--list", action="store_true", help="print the list and run nothing")
    parser.add_argument("-j", "--jobs", type=_jobs, default=2, metavar="N", help="so many at a time, 1 to 32; 2 if left out")
    parser.add_argument("-v", "--verbose", action="store_true", help="say how each test failed")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the outcome as Markdown")
    return parser.parse_args(arguments)


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 32):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 32")
    return int(text)


def _listed(wanted: Sequence[Weakening], width: int) -> list[str]:
    """Each weakening under its id, wrapped, and at last how many there are and how many tests defend against them."""
    lines: list[str] = []
    for weakening in wanted:
        lines += [weakening.id, *wrap(weakening.takes_out, width, initial_indent="    ", subsequent_indent="    ")]
    tests = {test for weakening in wanted for test in weakening.tests}
    return [*lines, "", f"{len(wanted)} weakenings, {len(tests)} tests that are to notice"]


def _chosen(all_of_them: list[Weakening], only: list[str] | None) -> list[Weakening]:
    unknown = sorted(set(only or ()) - {weakening.id for weakening in all_of_them})
    if unknown:
        raise NotApplicable(f"no weakening is called {', '.join(unknown)}; --list prints them")
    return [weakening for weakening in all_of_them if only is None or weakening.id in only]


def _tried(copies: Sequence[Copy], wanted: Sequence[Weakening], *, verbose: bool) -> list[Trial]:
    """Every weakening in a copy that is free, printed as it is done; in the order of the list."""
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def try_one(weakening: Weakening) -> Trial:
        copy = free.get()
        try:
            trial = copy.trial(weakening)
        finally:
            free.put(copy)
        print(_line(trial, verbose=verbose), flush=True)
        return trial

    with ThreadPoolExecutor(len(copies)) as pool:
        return list(pool.map(try_one, wanted))


def _line(trial: Trial, *, verbose: bool) -> str:
    line = f"{trial.verdict:<9} {trial.weakening.id:<40}{trial.seconds:5.1f} s  {trial.by}".rstrip()
    if trial.verdict == "SURVIVED":
        line += f"  {trial.weakening.takes_out} And no test noticed."
    if trial.because and (verbose or trial.verdict == "BROKEN"):
        line += f"\n          {trial.because}"
    return line


def _summary(trials: Sequence[Trial], seconds: float) -> str:
    survived = [trial.weakening.id for trial in trials if trial.verdict == "SURVIVED"]
    broken = [trial.weakening.id for trial in trials if trial.verdict == "BROKEN"]
    caught = len(trials) - len(survived) - len(broken)
    summary = f"{caught} of {len(trials)} weakenings caught in {seconds / 60:.1f} minutes"
    summary += f"; survived: {', '.join(survived)}" if survived else ""
    return summary + (f"; broken: {', '.join(broken)}" if broken else "")


def _report(trials: Sequence[Trial], summary: str) -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = ", ".join(f"{name} {version(name)}" for name in MEASURED_WITH)
    rows = [
        f"| `{trial.weakening.id}` | {trial.weakening.takes_out.replace('|', chr(92) + '|')} | {trial.verdict} "
        f"| {f'`{_in_table(trial.by)}`' if trial.by else ''} | {trial.seconds:.1f} |"
        for trial in trials
    ]
    return "\n".join(
        [
            "# Weakenings",
            "",
            "Each row takes one defence out of a copy of the program and runs the tests that defend it. `caught` means that",
            "a test turned red, and which. Written by `python -m tests.weakenings --write FILE`; `make weaken` shows the same.",
            "",
            f"**{summary}.** {datetime.now(UTC):%Y-%m-%d}, commit {commit or 'unknown'}, Python {platform.python_version()}, "
            f"{versions}, {platform.system()} {platform.machine()}.",
            "",
            "| id | what is no longer so | | the test that noticed | s |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _in_table(test: str) -> str:
    return test.removeprefix("tests/").replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())

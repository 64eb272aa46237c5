"""What it costs to load and check a policy directory of 100,000 lines: ``python -m benchmarks.policy_files``.

Two shapes: many people with a few lines each, and few groups with very many lines each, which is where looking for lines that
never matter could go wrong. Seconds are the thread's processor time.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter, thread_time
from typing import Final

from benchmarks import provenance
from benchmarks.rounds import Measured
from benchmarks.tables import Verdict, spread, table
from mcpctl.policy import checks, comparison, files

LINES: Final = 100_000
ROUNDS: Final = 5
BUDGET: Final = 3.0
GOAL: Final = 1.5


def of_people() -> Iterator[str]:
    """Ten lines for each of very many users, one of them a membership."""
    number = 0
    while True:
        yield f"g, User:user{number}, Group:group{number % 100}"
        for line in range(9):
            effect = "deny" if line == 8 else "allow"
            yield f"p, User:user{number}, run, servers, server{line}/tool_{(number * 7 + line) % 50}, {effect}"
        number += 1


def of_groups() -> Iterator[str]:
    """A thousand lines for each of a few groups; every tenth with a star."""
    number = 0
    while True:
        star = "*" if number % 10 == 0 else ""
        yield f"p, Group:group{number // 1000}, view, servers, server{number % 7}/tool_{number}{star}, allow"
        number += 1


SHAPES: Final[dict[str, Callable[[], Iterator[str]]]] = {"people": of_people, "groups": of_groups}


def measured(directory: Path) -> dict[str, Measured]:
    """The seconds of each step."""
    found = {step: Measured() for step in ("load", "check --strict", "both", "diff with one line more")}
    for _ in range(ROUNDS):
        begun = thread_time()
        policy = files.read(directory)
        loaded = thread_time()
        checks.strict(policy, policy.model)
        checked = thread_time()
        (directory / "more.csv").write_text("p, User:user1, view, secrets, key, allow\n")
        other = files.read(directory)
        (directory / "more.csv").unlink()
        before = thread_time()
        assert len(comparison.compare(policy, other).changes) == 1
        found["diff with one line more"].seconds.append(thread_time() - before)
        found["load"].seconds.append(loaded - begun)
        found["check --strict"].seconds.append(checked - loaded)
        found["both"].seconds.append(checked - begun)
    return found


def main() -> None:
    """Measure, and write the page of results."""
    load_before, begun = os.getloadavg()[0], perf_counter()
    rows, verdicts = [], []
    for shape, lines in SHAPES.items():
        with tempfile.TemporaryDirectory() as place:
            directory = Path(shutil.copytree(provenance.ROOT / "policies", Path(place) / "policies"))
            (directory / "many.csv").write_text("\n".join(islice(lines(), LINES)) + "\n")
            found = measured(directory)
        rows += [f"| {shape} | {step} | {spread(one)} |" for step, one in found.items()]
        both = found["both"]
        verdicts.append(Verdict(f"load and check, {shape}", both.median, spread(both), BUDGET, GOAL, " s").row)
    about = provenance.lines("python -m benchmarks.policy_files", perf_counter() - begun, ["casbin"], [], load_before)
    page = f"""# Policy files

{LINES:,} lines, read strictly and checked with `--strict`. Medians with the 10th and 90th percentile.

{about}

{table(("what", "found", "budget", "goal", "verdict"), verdicts)}

{table(("shape", "step", "processor time"), rows)}
"""
    (provenance.RESULTS / "policy_files.md").write_text(page)
    sys.stdout.write(page)


if __name__ == "__main__":
    main()

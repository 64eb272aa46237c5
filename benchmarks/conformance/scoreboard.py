"""What became of each scenario, directly and through the gateway: a row, a table, a line of counts, an exit code, a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from benchmarks.tables import table

REQUIRED: Final = "required"
EXTENSION: Final = "extension"
NOT_RUN: Final = "not run"
LONGEST: Final = 300
"""Characters of one message."""

HEADS: Final = ("suite", "revision", "scenario", "stands as", "direct", "through the gateway")


@dataclass(frozen=True)
class Outcome:
    """The checks of one scenario: how many passed, and of the others what they said."""

    passed: int = 0
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether nothing failed, as the suite itself counts: a warning is no failure."""
        return not self.failures

    @property
    def shown(self) -> str:
        """As a cell of the table."""
        if self.failures:
            return f"**fail** {len(self.failures)} of {self.passed + len(self.failures)}"
        if not self.passed and self.skipped:
            return "skipped"
        warned = len(self.warnings)
        return "pass" + (f", {warned} warning{'s' * (warned > 1)}" if warned else "")


@dataclass(frozen=True)
class Row:
    """One scenario of one version of the suite, at one revision.

    Attributes:
        version: of the suite.
        revision: of the protocol.
        scenario: its name.
        standing: ``required``, or why it counts for nothing.
        direct: what became of it without a gateway.
        through: and with one, if that was asked.
    """

    version: str
    revision: str
    scenario: str
    standing: str
    direct: Outcome
    through: Outcome | None = None

    @property
    def lost(self) -> bool:
        """Whether it passes, and not through the gateway."""
        return self.direct.passes and self.through is not None and not self.through.passes

    @property
    def broken(self) -> bool:
        """Whether our own server fails what it is required to pass."""
        return self.standing == REQUIRED and not self.direct.passes

    @property
    def text(self) -> str:
        """As a row of the table."""
        through = self.through.shown if self.through is not None else "–"
        return f"| {self.version} | {self.revision} | {self.scenario} | {self.standing} | {self.direct.shown} | {through} |"


def exit_code(rows: Sequence[Row]) -> int:
    """1 if the gateway loses what passes without it, or our own server fails what is required of it."""
    return int(any(row.lost or row.broken for row in rows))


def summary(rows: Sequence[Row]) -> str:
    """How many there are, pass, and are lost: of all, and then of each version and revision what is required."""
    lines = [_counts("all scenarios", rows)]
    for (version, revision), these in groupby(rows, key=lambda row: (row.version, row.revision)):
        lines.append(_counts(f"{version} at {revision}, required", [row for row in these if row.standing == REQUIRED]))
    return "\n".join(lines)


def _counts(what: str, rows: Sequence[Row]) -> str:
    of = len(rows)
    said = f"{what}: {sum(row.direct.passes for row in rows)} of {of} pass directly"
    through = [row.through for row in rows if row.through is not None]
    if through:
        said += f", {sum(outcome.passes for outcome in through)} of {of} through the gateway"
        said += f"; {sum(row.lost for row in rows)} pass directly and fail through the gateway"
    return said


def page(rows: Sequence[Row], about: str) -> str:
    """All of it, in Markdown; ``about`` says where it comes from."""
    parts = [
        "# Conformance: the official suite, directly and through the gateway",
        about,
        "\n".join(f"- {line}" for line in summary(rows).splitlines()),
        table(HEADS, (row.text for row in rows)),
        *_reasons("Through the gateway: what failed or warned that does not directly", map(_worse, rows)),
        *_reasons("Directly: what failed or warned", ((row, row.direct) for row in rows if row.standing != EXTENSION)),
        _NOTES,
    ]
    return "\n\n".join(parts) + "\n"


def _worse(row: Row) -> tuple[Row, Outcome]:
    """What came through the gateway, without what is said of the server without it."""
    if row.through is None or not (row.lost or set(row.through.warnings) - set(row.direct.warnings)):
        return row, Outcome()
    return row, row.through


def _reasons(title: str, found: Iterable[tuple[Row, Outcome]]) -> list[str]:
    """A section with everything of these that failed or was warned of."""
    said = [
        f"- **{row.scenario}** ({row.version}, {row.revision}): {_cut(words)}"
        for row, outcome in found
        for words in (*outcome.failures, *(f"warning: {words}" for words in outcome.warnings))
    ]
    return [f"## {title}", "The suite's own words.", "\n".join(said)] if said else []


def _cut(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"


_NOTES: Final = """## How it was made

- `direct` is the suite against the server in `benchmarks/conformance/upstream.py`, on the official Python SDK.
- `through the gateway` is the same suite against `mcplocal serve` as it is installed, with a real control plane, in a project
  that shows names as they are and holds that server alone. The suite cannot send a bearer, so a proxy adds it and lets all the
  rest pass as it is.
- A scenario passes if none of its checks failed, as the suite itself counts. Warnings are named, and count for nothing.
- `required` is what the suite's own list of requirements names for that revision; 0.1.16 has no such list, so all of it is.
  Others are run and reported: `extension`, `pending` and `added-after-release`.
- Left out are the scenarios of the skills extension: they are in no such list, and apply to no server that does not declare it.
  The tasks extension is neither the SDK's nor ours, so its scenarios fail either way, and what they say is left out."""

"""For people: a line per check, and what is wrong at length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import indent
from typing import Final

from mcpctl.endpoint_test.catalog import FAMILIES
from mcpctl.endpoint_test.check import Check, Level
from mcpctl.endpoint_test.runner import Outcome, Report

WORDS: Final = {Level.PASS: "ok", Level.INFO: "info", Level.WARN: "warn", Level.FAIL: "FAIL", Level.SKIP: "skip"}
COLORS: Final = {Level.PASS: "green", Level.INFO: "cyan", Level.WARN: "yellow", Level.FAIL: "red", Level.SKIP: "bright_black"}

Paint = Callable[[str, str], str]


def lines(report: Report, *, verbose: bool = False, paint: Paint = lambda text, _: text) -> Iterator[str]:
    """The report.

    Args:
        report: what to tell.
        verbose: tell of checks that were skipped as well.
        paint: colours a text.
    """
    family = ""
    for one in report.outcomes:
        if one.level is Level.SKIP and not verbose:
            continue
        if one.check.family != family:
            family = one.check.family
            yield f"{FAMILIES[family]}"
        word = paint(f"{WORDS[one.level]:<4}", COLORS[one.level])
        yield f"  {word}  {one.check.id:<23} {_sentence(one)}"
        if one.level in (Level.FAIL, Level.WARN):
            yield from _at_length(one)
    yield ""
    counts = ", ".join(f"{report.count(level)} {name}" for level, name in _COUNTED if report.count(level))
    yield f"{report.url}: {counts} in {report.seconds:.1f} s"
    if report.out_of_time:
        yield "The time for the whole run was over before the last check: give more with --timeout."


_COUNTED: Final = (
    (Level.FAIL, "failed"),
    (Level.WARN, "warnings"),
    (Level.PASS, "passed"),
    (Level.INFO, "notes"),
    (Level.SKIP, "skipped"),
)


def explained(check: Check) -> Iterator[str]:
    """All there is to say about one check."""
    yield f"{check.id}: {check.title}"
    yield f"  severity  {check.severity}"
    yield f"  clause    {check.clause}"
    yield f"  advice    {check.advice}"
    if check.depends:
        yield f"  depends   {', '.join(check.depends)}"
    if check.opt_in:
        yield f"  runs      only with --only {check.id}"


def _sentence(one: Outcome) -> str:
    return f"{one.check.title}: {one.said}" if one.said else one.check.title


def _at_length(one: Outcome) -> Iterator[str]:
    yield f"          clause    {one.check.clause}"
    yield f"          advice    {one.check.advice}"
    if one.level is Level.FAIL:
        for shown in one.shown:
            yield indent(shown.sent, "          > ", lambda _: True)
            yield indent(shown.received, "          < ", lambda _: True)

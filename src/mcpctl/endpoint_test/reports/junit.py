"""For CI: JUnit XML, a test case per check."""

from __future__ import annotations

from textwrap import indent as lines_after
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mcpctl.endpoint_test.catalog import FAMILIES
from mcpctl.endpoint_test.check import Level
from mcpctl.endpoint_test.runner import Outcome, Report


def document(report: Report) -> str:
    """The report. A warning is a case that passes and has output, or with ``--strict`` one that fails."""
    wrong = {Level.FAIL, Level.WARN} if report.strict else {Level.FAIL}
    suite = Element(
        "testsuite",
        name=f"mcpctl test mcp {report.url}",
        tests=str(len(report.outcomes)),
        failures=str(sum(one.level in wrong for one in report.outcomes)),
        errors="1" if report.out_of_time else "0",
        skipped=str(report.count(Level.SKIP)),
        time=f"{report.seconds:.3f}",
    )
    for one in report.outcomes:
        where = f"mcp.{FAMILIES[one.check.family]}"
        case = SubElement(
            suite, "testcase", classname=where, name=f"{one.check.id} {one.check.title}", time=f"{one.seconds:.3f}"
        )
        if one.level in wrong:
            SubElement(case, "failure", message=one.said, type=str(one.level)).text = _text(one)
        elif one.level is Level.SKIP:
            SubElement(case, "skipped", message=one.said)
        elif one.said:
            SubElement(case, "system-out").text = _text(one) if one.level is Level.WARN else one.said
    if report.out_of_time:
        case = SubElement(suite, "testcase", classname="mcp", name="the run ends in its time", time="0")
        SubElement(case, "error", message="the time for the whole run was over before the last check")
    indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suite, encoding="unicode") + "\n"


def _text(one: Outcome) -> str:
    parts = [one.said, f"clause: {one.check.clause}", f"advice: {one.check.advice}"]
    return "\n\n".join([*parts, *(f"{_quoted('> ', shown.sent)}\n\n{_quoted('< ', shown.received)}" for shown in one.shown)])


def _quoted(mark: str, text: str) -> str:
    # So that no line of a stranger's begins a line of a log, where some are commands.
    return lines_after(text, mark, lambda _: True)

"""For programs: one JSON object."""

from __future__ import annotations

from typing import Any

from mcpctl.endpoint_test.check import Check, Level
from mcpctl.endpoint_test.runner import Outcome, Report


def document(report: Report) -> dict[str, Any]:
    """The report: ``url``, ``exitCode``, ``seconds``, ``counts`` by level, and ``checks``."""
    return {
        "url": report.url,
        "exitCode": report.exit_code,
        "seconds": round(report.seconds, 3),
        "outOfTime": report.out_of_time,
        "counts": {str(level): report.count(level) for level in Level},
        "checks": [_outcome(one) for one in report.outcomes],
    }


def described(check: Check) -> dict[str, Any]:
    """A check by itself."""
    return {
        "id": check.id,
        "title": check.title,
        "severity": str(check.severity),
        "clause": check.clause,
        "advice": check.advice,
        "depends": list(check.depends),
        "optIn": check.opt_in,
    }


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        "id": one.check.id,
        "title": one.check.title,
        "level": str(one.level),
        "said": one.said,
        "clause": one.check.clause,
        "advice": one.check.advice,
        "because": one.because,
        "seconds": round(one.seconds, 4),
        "exchanges": [{"sent": shown.sent, "received": shown.received} for shown in one.shown],
    }

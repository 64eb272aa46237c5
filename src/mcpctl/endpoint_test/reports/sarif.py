"""For code scanning: SARIF 2.1.0."""

from __future__ import annotations

from typing import Any, Final

from mcpctl.endpoint_test.check import Level
from mcpctl.endpoint_test.runner import Report

LEVELS: Final = {Level.FAIL: "error", Level.WARN: "warning"}


def document(report: Report, version: str) -> dict[str, Any]:
    """The report: a rule per check, and a result per failure or warning, located at the endpoint."""
    rules = [
        {
            "id": one.check.id,
            "shortDescription": {"text": one.check.title},
            "fullDescription": {"text": f"{one.check.title} ({one.check.clause})"},
            "help": {"text": one.check.advice},
            "defaultConfiguration": {"level": LEVELS.get(one.check.severity, "note")},
        }
        for one in report.outcomes
    ]
    results = [
        {
            "ruleId": one.check.id,
            "ruleIndex": number,
            "level": LEVELS[one.level],
            "message": {"text": f"{one.check.title}: {one.said}"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": report.url}}}],
        }
        for number, one in enumerate(report.outcomes)
        if one.level in LEVELS
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "mcpctl test mcp", "version": version, "rules": rules}},
                "invocations": [{"executionSuccessful": not report.out_of_time, "exitCode": report.exit_code}],
                "results": results,
            }
        ],
    }

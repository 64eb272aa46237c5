"""For code scanning: SARIF 2.1.0."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlsplit

from mcpctl.endpoint_test.check import Level
from mcpctl.endpoint_test.runner import Report

LEVELS: Final = {Level.FAIL: "error", Level.WARN: "warning"}


def document(report: Report, version: str) -> dict[str, Any]:
    """The report: a rule per check, and a result per failure or warning, located at the endpoint.

    Code scanning takes results of files only, so that the endpoint is told as one: its host and path.
    """
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
            "locations": [
                {"physicalLocation": {"artifactLocation": {"uri": _relative(report.url)}, "region": {"startLine": 1}}}
            ],
            "partialFingerprints": {"endpointAndCheck/v1": sha256(f"{report.url} {one.check.id}".encode()).hexdigest()},
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


def _relative(url: str) -> str:
    parts = urlsplit(url)
    # No colon, which would make the host a scheme.
    return quote(f"{parts.netloc.replace(':', '-')}{parts.path}".strip("/"), safe="/%")

"""The same run, told to people, programs, CI and code scanning."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from mcpctl.endpoint_test.check import Level
from mcpctl.endpoint_test.reports import json_document, junit, sarif, table
from mcpctl.endpoint_test.runner import Report
from tests.endpoint_test.conftest import fully


@pytest.fixture(scope="module")
def report(reference: str) -> Report:
    """One failure, no warning."""
    return fully(reference, "version of its own")


def test_people_see_what_was_sent_and_received_the_clause_and_what_to_do(report: Report) -> None:
    text = "\n".join(table.lines(report))
    assert "FAIL  E1-version" in text
    assert "2025-06-18 is answered with '1.0'" in text
    assert '> {"jsonrpc":"2.0"' in text
    assert "> Authorization: Bearer •••" in text
    assert "< HTTP/1.1 200" in text
    assert "clause    MCP 2025-11-25 basic/lifecycle" in text
    assert "advice    Answer with the version asked for" in text


def test_what_was_skipped_is_shown_on_demand(report: Report) -> None:
    assert "  skip  " not in "\n".join(table.lines(report))
    assert "  skip  G1-may" in "\n".join(table.lines(report, verbose=True))


def test_json_has_every_outcome_and_the_exit_code(report: Report) -> None:
    found = json_document.document(report)
    assert (2, len(report.outcomes)) == (found["exitCode"], len(found["checks"]))
    failure = next(one for one in found["checks"] if one["level"] == "fail")
    assert "E1-version" == failure["id"]
    assert failure["exchanges"][0]["received"].startswith("HTTP/1.1 200")


def test_junit_has_a_case_per_check(report: Report) -> None:
    suite = ElementTree.fromstring(junit.document(report))
    assert (str(len(report.outcomes)), "1") == (suite.get("tests"), suite.get("failures"))
    assert len(report.outcomes) == len(suite.findall("testcase"))
    failed = [case for case in suite.findall("testcase") if case.find("failure") is not None]
    assert ["E1-version"] == [case.get("name", "").split()[0] for case in failed]
    assert report.count(Level.SKIP) == len(suite.findall("testcase/skipped"))


def test_sarif_has_a_rule_per_check_and_a_result_per_failure(report: Report) -> None:
    run = sarif.document(report, "1")["runs"][0]
    assert ["E1-version"] == [one["ruleId"] for one in run["results"]]
    rule = run["tool"]["driver"]["rules"][run["results"][0]["ruleIndex"]]
    assert "E1-version" == rule["id"]
    assert "error" == run["results"][0]["level"]


def test_sarif_is_located_at_a_relative_file_and_has_the_same_fingerprint_each_time(report: Report) -> None:
    first, second = (sarif.document(report, "1")["runs"][0]["results"][0] for _ in range(2))
    place = first["locations"][0]["physicalLocation"]
    uri = place["artifactLocation"]["uri"]
    assert uri.startswith("127.0.0.1-")
    assert uri.endswith("/version-of-its-own/mcp")
    assert ":" not in uri
    assert {"startLine": 1} == place["region"]
    assert first["partialFingerprints"] == second["partialFingerprints"] != {}


def test_no_line_of_a_server_begins_a_line_of_a_report(reference: str) -> None:
    for text in (
        "\n".join(table.lines(fully(reference, "forges lines"), verbose=True)),
        junit.document(fully(reference, "forges lines")),
    ):
        assert "::error" in text
        assert [] == [line for line in text.splitlines() if line.lstrip().startswith("::")]
        assert max(map(len, text.splitlines())) < 2000

"""What a run comes to: exit codes, what waits for what, and what is never shown."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket

import pytest

from mcpctl.endpoint_test.catalog import BY_ID, CHECKS, FAMILIES, chosen
from mcpctl.endpoint_test.check import Finding, Level
from mcpctl.endpoint_test.checks import reach
from mcpctl.endpoint_test.endpoint import NO_SUCH_TOOL, Endpoint
from mcpctl.endpoint_test.official_schemas import REVISIONS, SCHEMAS
from mcpctl.endpoint_test.options import Grants, Load, Options
from mcpctl.endpoint_test.reports import json_document, junit, sarif, table
from mcpctl.endpoint_test.runner import Report, run
from tests.endpoint_test.conftest import fully, judge
from tests.endpoint_test.messages import GOOD
from tests.endpoint_test.serving import Reference
from tests.gateway.upstreams import served

OFFICIAL = {
    "2025-11-25": "4e01628360a2149892eab8f298ceee626d24a58862184eb8ec85d95b8f353e31",
    "2026-07-28": "6293cdfe015c14bd36eda4b1331ce37bda377609e58ed6d09d16f28e7d3c7ad4",
}
"""SHA-256 that ``mcp-types`` 2.3.0 records of the files it was generated from."""


def wrong(report: Report) -> dict[str, str]:
    return {one.check.id: one.said for one in report.outcomes if one.level is Level.FAIL}


def test_where_nothing_listens_the_exit_code_is_4_and_all_else_is_skipped() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        report = judge(f"http://127.0.0.1:{free.getsockname()[1]}/mcp")
    assert 4 == report.exit_code
    assert ["A1-connect"] == list(wrong(report))


@pytest.mark.parametrize(("token", "said"), [(None, "a credential is needed"), ("wrong-token", "the credential is refused")])
def test_without_a_credential_that_counts_the_exit_code_is_3(token: str | None, said: str, reference: str) -> None:
    report = judge(f"{reference}/none/mcp", token=token)
    assert 3 == report.exit_code
    assert said in wrong(report)["B0-accepted"]


def test_without_a_token_the_challenge_and_its_metadata_are_judged_all_the_same(reference: str) -> None:
    passed = {one.check.id for one in judge(f"{reference}/none/mcp").outcomes if one.level is Level.PASS}
    assert {"B1-anonymous", "B2-challenge", "B2-metadata", "B3-resource", "B4-pkce", "B5-random", "B7-discover"} <= passed


def test_an_endpoint_that_limits_the_rate_is_asked_again_and_judged_as_any_other(reference: str) -> None:
    report = fully(reference, "rate limited")
    assert {} == wrong(report)
    assert 0 == report.exit_code


def test_what_is_no_endpoint_of_mcp_fails_with_2(reference: str) -> None:
    report = judge(f"{reference}/no-endpoint/mcp", token=GOOD)
    assert 2 == report.exit_code
    assert {"D1-era"} == {name for name in wrong(report) if name[0] == "D"}


def test_warnings_fail_only_where_that_is_asked_for(reference: str) -> None:
    options = Options(f"{reference}/no-server-info/mcp", GOOD)
    codes = [asyncio.run(run(options, chosen(("M1",), ()), strict=strict)).exit_code for strict in (False, True)]
    assert [0, 2] == codes


def test_a_check_that_is_in_the_way_of_a_chosen_one_is_reported_with_it(reference: str) -> None:
    report = judge(f"{reference}/no-endpoint/mcp", ("M3-name-wrong",), token=GOOD)
    assert {"D1-era": Level.FAIL, "M3-name-wrong": Level.SKIP} == {one.check.id: one.level for one in report.outcomes}


def test_an_era_that_is_not_asked_for_is_left_out(reference: str) -> None:
    for era, family in (("legacy", "M"), ("modern", "E")):
        report = fully(reference, era=era)
        assert {Level.SKIP} == {one.level for one in report.outcomes if one.check.family == family}
        assert 0 == report.exit_code


def test_a_server_of_one_era_says_so_to_clients_of_the_other(reference: str) -> None:
    report = judge(f"{reference}/no-legacy-era-without-a-word/mcp", ("M5",), token=GOOD)
    assert {"M5-names-versions"} == {one.check.id for one in report.outcomes if one.level is Level.WARN}


def test_a_large_body_and_a_bearer_in_an_address_are_sent_on_demand_only(reference: str) -> None:
    assert set() == {"C7-large", "B6-query"} & {one.check.id for one in judge(f"{reference}/none/mcp", token=GOOD).outcomes}
    assert Level.PASS is judge(f"{reference}/none/mcp", ("B6-query",), token=GOOD).outcomes[-1].level
    assert Level.PASS is judge(f"{reference}/none/mcp", ("C7-large",), token=GOOD).outcomes[-1].level


def test_latency_is_measured_where_that_is_asked_for(reference: str) -> None:
    report = judge(f"{reference}/none/mcp", ("P",), token=GOOD, load=Load(20, 4))
    said = {one.check.id: one.said for one in report.outcomes}
    assert "20 requests, 4 at once: p50 " in said["P1-probe"]
    assert "20 requests, 4 at once: p50 " in said["P1-list"]


def test_plain_http_to_another_machine_is_a_warning() -> None:
    async def once() -> Finding:
        return await reach.encrypted.run(Endpoint(Options("http://192.0.2.1/mcp")))

    found = asyncio.run(once())
    assert Level.WARN is found.level


def test_nothing_is_called_that_was_not_named() -> None:
    app = Reference()
    with served(app) as address:
        fully(address, calls={})
        unnamed = set(app.endpoints["none"].called)
        fully(address, calls={"ask": {}})
    assert {NO_SUCH_TOOL} == unnamed
    assert {NO_SUCH_TOOL, "ask"} == set(app.endpoints["none"].called)


def test_a_named_tool_is_called_once_and_once_more_only_where_that_was_asked_for() -> None:
    app = Reference()
    with served(app) as address:
        judge(f"{address}/none/mcp", token=GOOD, calls={"ask": {}}, grants=Grants(lambda _: True))
        once = app.endpoints["none"].called.count("ask")
        judge(f"{address}/none/mcp", ("K3",), token=GOOD, calls={"ask": {}})
    assert (1, 3) == (once, app.endpoints["none"].called.count("ask"))


def test_no_report_shows_a_secret_even_if_the_server_sends_it_back(reference: str) -> None:
    secret = "a-secret-of-a-header"
    reports = [fully(reference, name, headers=(("X-Secret", secret),)) for name in ("echoes the bearer", "bearer in query")]
    assert all(wrong(report) for report in reports)
    shown = [text for report in reports for text in told(report)]
    assert [] == [word for word in (GOOD, secret) if any(word in text for text in shown)]
    assert any("no use for Bearer •••" in text for text in shown)
    assert any("access_token=•••" in text for text in shown)


def told(report: Report) -> list[str]:
    """The report in every form."""
    return [
        *table.lines(report, verbose=True),
        json.dumps(json_document.document(report)),
        junit.document(report),
        json.dumps(sarif.document(report, "1")),
    ]


def test_every_check_has_words_of_its_own_and_depends_on_checks_there_are() -> None:
    assert len(CHECKS) == len(BY_ID) == len({check.title for check in CHECKS})
    assert [] == [check.id for check in CHECKS for one in check.depends if one not in BY_ID or one == check.id]
    assert {check.family for check in CHECKS} == set(FAMILIES)


@pytest.mark.parametrize("revision", OFFICIAL)
def test_the_schemas_are_the_published_files(revision: str) -> None:
    assert OFFICIAL[revision] == hashlib.sha256((SCHEMAS / f"{revision}.json").read_bytes()).hexdigest()


def test_there_is_a_schema_for_every_revision_and_their_licence_with_them() -> None:
    assert {f"{revision}.json" for revision in REVISIONS} == {path.name for path in SCHEMAS.glob("*.json")}
    assert "Apache License" in (SCHEMAS / "LICENSE").read_text()

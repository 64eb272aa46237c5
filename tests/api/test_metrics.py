"""What the control plane counts: by route and never by path, by reason and never by whom."""

from __future__ import annotations

import secrets

from mcpctl.server.metrics import series
from mcpctl.services import metrics as ours
from tests.scrapes import Scrape
from tests.serving import Served, made


def scraped(served: Served) -> Scrape:
    return Scrape.of(series(served.control))


def rows(served: Served) -> list[object]:
    found: list[object] = made(served.admin.get("/audit?limit=1000"), 200)["items"]
    return found


def test_requests_decisions_refusals_and_audit_rows_are_counted(served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    before, rows_before = scraped(served), len(rows(served))
    bob = served.user("bob", "role:create,resource:mcptokens", "role:view,resource:projects")
    served.project("p", "time")
    assert 403 == bob.get("/secrets/x").status_code
    body = {"name": "t", "project": "p", "bindings": ["role:run,resource:servers,name:time"]}
    assert 403 == bob.post("/mcptokens", body).status_code
    made(served.admin.post("/authorize", {"action": "view", "resource": "servers"}), 200)
    after = scraped(served)

    def more(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert 1 == more("mcpctl_http_requests_total", route="/api/v1/secrets/{id}", method="GET", status="403")
    assert 1 == more("mcpctl_http_request_duration_seconds_count", route="/api/v1/secrets/{id}", method="GET")
    assert 1 == more("mcpctl_decisions_total", resource="secrets", outcome="refused")
    assert 1 <= more("mcpctl_decisions_total", resource="servers", outcome="allowed")
    assert 1 == more("mcpctl_ceiling_refusals_total", door="post_mcptokens")
    assert 1 == more("mcpctl_refusals_total", reason="ceiling")
    assert len(rows(served)) - rows_before == more("mcpctl_audit_rows_total")
    assert served.control.feed.revision == after.value("mcpctl_policy_revision")
    assert 1 == after.value("mcpctl_ready")
    assert 1 == after.value("mcpctl_policy_files_current")
    assert after.value("mcpctl_policy_feed_age_seconds") < 1
    assert 0 < sum(after.value("mcpctl_database_connections", state=state) for state in ("in_use", "idle"))


def test_calls_that_a_gateway_reports_are_audit_rows_too(served_on_sqlite: Served) -> None:
    before = scraped(served_on_sqlite).value("mcpctl_audit_rows_total")
    event = {"id": "e1", "at": "2026-01-01T00:00:00Z", "method": "tools/call", "allowed": True, "outcome": "ok"}
    report = {"gateway": "g", "events": [event, {**event, "id": "e2"}]}
    for _ in range(2):  # the same again is stored once
        made(served_on_sqlite.admin.post("/gateway/audit", report), 202)
    assert 2 == scraped(served_on_sqlite).value("mcpctl_audit_rows_total") - before


def test_whatever_is_asked_for_makes_no_new_series_and_nothing_of_it_is_shown(served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    marks: list[str] = []

    def attack() -> None:
        mark = f"mark{secrets.token_hex(6)}"
        marks.append(mark)
        served.admin.get(f"/{mark}")
        served.admin.get(f"//{mark}/{mark}")
        served.admin.get(f"/users/{mark}")
        served.admin.get(f"/users?cursor={mark}")
        served.admin.call("GET", "/users", headers={"X-Request-Id": mark, "traceparent": mark, "User-Agent": mark})
        served.admin.call(mark.upper(), "/users")
        served.admin.post("/authorize", {"action": "view", "resource": "servers", "name": mark})
        served.admin.post("/authorize", {"action": mark, "resource": mark, "name": mark})
        served.admin.post("//access/v1/evaluation", {"subject": {"type": mark, "id": mark}, "action": {"name": mark}})
        served.nobody.post("/auth/login", {"username": mark, "password": mark}) if len(marks) < 4 else None
        served.nobody.as_(f"mcpctl_pat_{mark}").get("/users") if len(marks) < 25 else None

    for _ in range(3):
        attack()
    known = scraped(served).series()
    for _ in range(60):
        attack()
    scrape = scraped(served)
    assert set() == scrape.series() - known
    assert [] == [mark for mark in marks if mark in scrape.text.lower()]
    assert [] == [word for word in ("mcpctl_pat_", "mcpctl_ses_", "User:", "McpToken:") if word in scrape.text]


def test_every_metric_that_is_shown_is_documented_and_every_documented_one_is_shown(served_on_sqlite: Served) -> None:
    scrape = scraped(served_on_sqlite)
    shown = {name for name in scrape.kinds if not name.startswith("process_")}
    documented = {one.name.removesuffix("_total") for one in ours.METRICS}
    assert documented == shown
    for one in ours.METRICS:
        assert (one.kind, one.meaning) == (
            scrape.kinds[one.name.removesuffix("_total")],
            scrape.meanings[one.name.removesuffix("_total")],
        )
        for labels in scrape.labels(one.name):
            assert set(one.labels) == set(labels)


def test_open_watch_streams_are_counted(served_on_sqlite: Served) -> None:
    assert 0 == scraped(served_on_sqlite).value("mcpctl_watch_listeners")
    client = served_on_sqlite.admin
    with client.http.stream("GET", "/api/v1/watch", headers={"Authorization": f"Bearer {client.bearer}"}) as answer:
        events = answer.iter_raw()  # left to be collected, it would close the stream
        next(events)
        assert 1 == scraped(served_on_sqlite).value("mcpctl_watch_listeners")


def test_a_process_that_drains_is_not_ready(served_on_sqlite: Served) -> None:
    served_on_sqlite.control.leaving = True
    assert 503 == served_on_sqlite.nobody.get("//readyz").status_code
    assert 0 == scraped(served_on_sqlite).value("mcpctl_ready")
    assert 200 == served_on_sqlite.admin.get("/users").status_code, "whoever comes all the same is served"

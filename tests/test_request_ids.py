"""One id for one request: taken if it is well-formed, made if not; in the answer, in the log, in the audit."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from mcpctl import request_ids
from mcpctl.server import logs
from mcplocal import logs as gateway_logs
from tests.serving import Served, made


@pytest.fixture(autouse=True)
def outside() -> Iterator[None]:
    """No request goes on after the test."""
    yield
    request_ids.CURRENT.set(None)
    request_ids.TRACE.set(None)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

TAKEN = [
    ({"X-Request-Id": "abc-1.2_3"}, "abc-1.2_3"),
    ({"X-Request-Id": "a" * 64}, "a" * 64),
    ({"traceparent": PARENT}, TRACE),
    ({"X-Request-Id": "mine", "traceparent": PARENT}, "mine"),
    ({"X-Request-Id": "not mine", "traceparent": PARENT}, TRACE),
    ({"traceparent": f"cc-{TRACE}-00f067aa0ba902b7-01-what-comes-later"}, TRACE),
]
NOT_TAKEN = [
    {},
    {"X-Request-Id": "a" * 65},
    {"X-Request-Id": "a b"},
    {"X-Request-Id": 'a"b'},
    {"X-Request-Id": "é".encode("latin-1").decode("latin-1")},
    {"X-Request-Id": "mcpctl_pat_" + "x" * 43},
    {"X-Request-Id": "my-mcpctl_ses_" + "x" * 43},
    {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
    {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
    {"traceparent": f"ff-{TRACE}-00f067aa0ba902b7-01"},
    {"traceparent": f"00-{TRACE.upper()}-00f067aa0ba902b7-01"},
    {"traceparent": f"{PARENT}-more"},
    {"traceparent": f" {PARENT}x"},
]


@pytest.mark.parametrize(("headers", "expected"), TAKEN)
def test_what_the_client_calls_a_request_is_its_id(headers: dict[str, str], expected: str) -> None:
    assert expected == request_ids.begin(headers.get("X-Request-Id"), headers.get("traceparent"))
    assert expected == request_ids.CURRENT.get()


@pytest.mark.parametrize("headers", NOT_TAKEN)
def test_what_is_not_well_formed_is_not_taken(headers: dict[str, str]) -> None:
    made = request_ids.begin(headers.get("X-Request-Id"), headers.get("traceparent"))
    assert 32 == len(made)
    assert made not in headers.values()
    assert request_ids.TRACE.get() is None
    assert request_ids.trace_id(f"00-{made}-00f067aa0ba902b7-00") == made, "one that is made can be a trace id"


@given(st.text(max_size=80), st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,9}"))
@example("a\n", f"{PARENT}\n")
@example("", f"01-{TRACE}-00f067aa0ba902b7-01-\r\nEvil: 1")
def test_whatever_is_sent_an_id_is_a_word_and_a_trace_a_header(given: str, traceparent: str) -> None:
    made = request_ids.begin(given, traceparent)
    assert 1 <= len(made) <= 64
    assert made.isascii()
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert (request_ids.TRACE.get() or "x").isprintable()
    assert " " not in (request_ids.TRACE.get() or "")


@pytest.mark.parametrize("configure", [lambda: logs.configure("json"), lambda: gateway_logs.configure("json", "info")])
def test_each_line_of_a_request_has_its_id_and_no_secret(configure: Any, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure()
        request_ids.begin("the-request", None)
        secret = "mcpctl_pat_" + "s" * 43
        structlog.get_logger("ours").warning("structured", said=secret)
        logging.getLogger("theirs").warning("plain %s", secret)
        structlog.get_logger("ours").warning("told apart", request_id="another")
        request_ids.CURRENT.set(None)
        structlog.get_logger("ours").warning("outside")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    written = capfd.readouterr().err
    assert "s" * 43 not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert ["the-request", "the-request", "another", None] == [line.get("request_id") for line in lines]


def test_the_control_plane_answers_and_audits_with_it(served_on_sqlite: Served) -> None:
    admin = served_on_sqlite.admin
    for headers, expected in TAKEN:
        answer = admin.call("POST", "/users", {"name": f"u-{expected[:20].lower()}x", "service": True}, headers=headers)
        assert expected == answer.headers["x-request-id"]
    audited = [row["requestId"] for row in made(admin.get("/audit?limit=50"), 200)["items"] if row["action"] == "create"]
    assert {expected for _, expected in TAKEN} <= set(audited)
    for path, status in (("//nothing", 404), ("/users", 405)):
        answer = admin.call("PATCH", path, headers={"X-Request-Id": "lost"})
        assert (status, "lost") == (answer.status_code, answer.headers["x-request-id"])
        assert "urn:mcpctl:request:lost" == answer.json()["instance"]
    refused = admin.as_("mcpctl_pat_" + "x" * 43).call("GET", "/users", headers={"traceparent": PARENT})
    assert (401, TRACE) == (refused.status_code, refused.headers["x-request-id"])


def test_the_shipped_log_of_a_process_is_json_where_nobody_watches() -> None:
    script = "from mcpctl.server import logs; logs.configure('auto'); import structlog; structlog.get_logger('x').info('hello')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "hello" == json.loads(done.stderr)["event"]

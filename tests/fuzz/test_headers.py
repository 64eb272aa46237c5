"""Headers, queries and raw bodies as nobody would send them: a clear refusal, never a fault of the server."""

from __future__ import annotations

import json
import socket
from ipaddress import IPv6Address
from urllib.parse import quote_from_bytes, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from mcpctl.api.access import bearer_of, source_of
from mcpctl.api.bodies import parse_json
from mcpctl.errors import InvalidInput, Unauthenticated
from tests.serving import Served

SOAK = settings.get_current_profile_name() == "soak"
few = settings(max_examples=1000 if SOAK else 25, deadline=None, suppress_health_check=list(HealthCheck))

octets = st.binary(max_size=40).filter(lambda raw: not set(raw) & set(b"\r\n\0"))
names = st.sampled_from(
    [
        b"Authorization",
        b"X-Forwarded-For",
        b"X-Request-Id",
        b"Content-Type",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Host",
        b"Accept",
        b"Expect",
        b"Connection",
        b"Upgrade",
    ]
)
telling = st.sampled_from(
    [b"Bearer", b"bearer x", b"Bearer mcpctl_pat_" + b"a" * 43, b"Basic YTpi", b"\xb2", b"-1", b"1" * 30, b"chunked", b"::1%a"]
)


def request(*headers: tuple[bytes, bytes], client: str = "10.0.0.1") -> Request:
    return Request({"type": "http", "headers": [(name.lower(), value) for name, value in headers], "client": (client, 1)})


def ask(served: Served, head: bytes, body: bytes = b"") -> bytes:
    """The raw answer to raw bytes; the connection is half closed, so whatever is missing never comes."""
    address = urlsplit(served.address)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as connection:
        connection.sendall(head + b"\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


@few
@given(headers=st.lists(st.tuples(names, octets | telling), max_size=4), raw=st.binary(max_size=30))
@example(headers=[(b"Content-Length", b"\xb2")], raw=b"{}")
def test_no_header_whatsoever_is_a_fault_of_the_server(shared: Served, headers: list[tuple[bytes, bytes]], raw: bytes) -> None:
    lines = b"".join(b"\r\n" + name + b": " + value for name, value in headers)
    for first in (b"POST /api/v1/auth/login HTTP/1.1", b"GET /api/v1/users HTTP/1.1"):
        answer = ask(shared, first + b"\r\nConnection: close" + lines, raw)
        assert answer == b"" or answer[9:10] in (b"1", b"2", b"4"), answer  # silence: the request never came to its end
        assert answer == b"" or not answer.startswith(b"HTTP/1.1 4") or b"application/problem+json" in answer, answer


@pytest.mark.parametrize("head", [b"\x16\x03\x01", b"GET / HTTP/1.1\r\nTransfer-Encoding: spoilt", b"GET / HTTP/1.1\r\nA b: c"])
def test_what_is_no_request_is_a_problem_as_any_other(served_on_sqlite: Served, head: bytes) -> None:
    answered, _, body = ask(served_on_sqlite, head).partition(b"\r\n\r\n")
    assert b"HTTP/1.1 400 Bad Request" == answered.partition(b"\r\n")[0]
    assert "malformed_request" == json.loads(body)["code"]


@few
@given(octets | telling)
def test_what_is_no_one_bearer_is_refused_and_the_bearer_never_has_blanks_around_it(value: bytes) -> None:
    try:
        bearer = bearer_of(request((b"Authorization", value)))
    except Unauthenticated:
        return
    assert bearer == bearer.strip() != ""
    assert value.lower().startswith(b"bearer ")
    with pytest.raises(Unauthenticated):
        bearer_of(request((b"Authorization", value), (b"Authorization", value)))


def _with_dots(text: str) -> str:
    """An IPv4 address in IPv6's clothes, as it is written without them."""
    try:
        mapped = IPv6Address(text).ipv4_mapped
    except ValueError:
        mapped = None
    return f"::ffff:{mapped}" if mapped else text


addresses = st.ip_addresses().map(str) | st.sampled_from(
    ["", "unknown", "fe80::1%" + "x" * 500, "10.0.0.2:80", "[::1]", "１.1.1.1"]
)


@given(st.lists(addresses, max_size=5))
@example(["fe80::1%" + "x" * 500])
def test_a_source_is_an_address_that_a_configured_proxy_saw(hops: list[str]) -> None:
    header = (b"X-Forwarded-For", ", ".join(hops).encode("utf-8"))
    assert "10.0.0.1" == source_of(request(header), ())
    found = source_of(request(header), ("0.0.0.0/0", "::/0"))
    assert found == "10.0.0.1" or found in hops or f"::ffff:{found}" in [_with_dots(hop) for hop in hops]
    assert len(found) <= 45
    assert "%" not in found


@few
@given(octets)
def test_a_query_is_read_or_refused(shared: Served, raw: bytes) -> None:
    for path in ("/users?cursor=", "/users?limit=", "/mcptokens?project=", "/audit?since=", "/audit?cursor=", "/audit?"):
        answer = shared.admin.get(path + quote_from_bytes(raw))
        assert answer.status_code in (200, 422), answer.text
        if answer.status_code == 422:
            assert answer.json()["errors"]


@given(st.text(max_size=30) | st.sampled_from(["!!!!", "YQ==", "YR", "nan_x", "inf_x", "1_0_x", " 1.5_x", "1.5_", "1e3_x"]))
@example("!!!!")
@example("nan_x")
@example("1e3_x")
@few
def test_a_cursor_is_one_that_a_page_gave(shared: Served, text: str) -> None:
    """Base64 and numbers have many spellings. Of two that mean one place, a page gives one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    for path, expected in (("/users", text in {"YQ", "YWI"}), ("/audit", text == "1.5_x")):
        answer = shared.admin.get(path, params={"cursor": text})
        if not expected and answer.status_code == 200:
            assert text.isascii()
            assert not set(text) & set("!= %+/")


JSON_PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"a"',
        b'"a":1',
        b"1",
        b"1e999",
        b"-0",
        b"NaN",
        b"Infinity",
        b"null",
        b"true",
        b'"\\ud800"',
        b'"\\u0000"',
        b"9" * 5000,
        b"\xff",
        b"\xef\xbb\xbf",
        b" ",
    ]
)


@given(st.lists(JSON_PIECES, max_size=12).map(b"".join) | st.binary(max_size=60))
def test_bytes_are_one_json_value_or_are_refused(raw: bytes) -> None:
    try:
        value = parse_json(raw)
    except InvalidInput:  # and nothing else
        return
    assert value == parse_json(raw)
    assert b"NaN" not in raw or b'"' in raw

"""What requests have in common is remembered: that changes nothing about what they say, and no credential is among it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.protocol import head
from mcplocal.protocol.asgi import AsgiRequest
from mcplocal.protocol.head import LONGEST, MOST, SHARED, WIDEST, Head, Headers, Pairs, by_name, taken_apart

NAMES = [b"Authorization", b"aUTHORIZATION", b"x-request-id", b"Accept", b"ACCEPT", b"aCCEPT", b"Host", b"hOST", b"Mcp-Name"]
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([b"a", b" b\t", b"", b"*/*", b"\xff"])), max_size=6)


def parted(pairs: Pairs) -> tuple[Head, Headers]:
    return taken_apart([pair for pair in pairs if pair[0] in SHARED], [pair for pair in pairs if pair[0] not in SHARED])


@given(PAIRS)
def test_the_headers_of_a_request_are_the_same_however_they_are_spelt_and_remembered(pairs: list[tuple[bytes, bytes]]) -> None:
    whole = by_name(pairs)
    for _ in range(2):
        found, said = parted(pairs)
        assert {name: sorted(values) for name, values in whole.items()} == {n: sorted(v) for n, v in said.items()}
        for name in ("accept", "host"):
            assert sorted(whole.get(name, ())) == sorted(found.headers.get(name, ()))
        assert "accept" in whole or found.takes_json


@pytest.mark.parametrize("name", [b"X-Request-ID", b"Mcp-Session-Id", b"MCP-Session-Id", b"mcp-session-id", b"Content-Length"])
def test_what_every_request_says_anew_does_not_make_another_head(name: bytes) -> None:
    first, second = (parted([(b"host", b"localhost"), (name, value)]) for value in (b"1", b"2"))
    assert first[0] is second[0]


def test_a_server_may_hand_over_headers_as_lists() -> None:
    async def nothing(*_: object) -> None: ...

    headers = [[b"host", b"a"], [b"authorization", b"Bearer x"]]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "client": None}
    request = AsgiRequest(scope, nothing, nothing)  # type: ignore[arg-type]
    assert {"host": ["a"], "authorization": ["Bearer x"]} == request.headers


@pytest.mark.parametrize(
    "name", [b"Authorization", b"authorization", b"AUTHORIZATION", b"aUTHORIZATION", b"Cookie", b"X-Api-Key", b"Mcp-Session-Id"]
)
def test_no_credential_is_remembered(name: bytes) -> None:
    for host in (b"host", b"hOST"):
        parted([(host, b"localhost"), (name, b"mcpctl_pat_secret")])
    assert "mcpctl_pat_secret" not in repr(head._known)


def test_nobody_fills_the_memory_with_heads() -> None:
    for number in range(2 * MOST):
        parted([(b"host", b"%d" % number)])
    large, wide = [(b"user-agent", b"y" * LONGEST)], [(b"accept", b"")] * (WIDEST + 1)
    assert parted(large)[0] is not parted(large)[0]
    assert parted(wide)[0] is not parted(wide)[0]
    assert len(head._known) <= MOST


ACCEPTS: dict[tuple[bytes, ...], tuple[bool, bool]] = {
    (): (True, False),
    (b"",): (False, False),
    (b"*/*",): (True, False),
    (b"application/json",): (True, False),
    (b"text/event-stream",): (False, True),
    (b"application/json, text/event-stream",): (True, True),
    (b"application/json", b"text/event-stream"): (True, True),
    (b"application/json;q=0, text/event-stream",): (False, True),
    (b"text/*, application/*",): (True, False),
}


@pytest.mark.parametrize("lines", ACCEPTS)
def test_a_client_is_answered_in_what_it_takes(lines: tuple[bytes, ...]) -> None:
    found, _ = parted([(b"Accept", line) for line in lines])
    assert ACCEPTS[lines] == (found.takes_json, found.takes_stream)

"""JSON read strictly, and kept as it was written."""

from __future__ import annotations

import gc
import json
import sys
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.heavy_json import MOST_VALUES, is_heavy, without_collector
from mcplocal.json_text import (
    UNREAD,
    NotJson,
    Twice,
    decode,
    members_of,
    read,
    read_compact,
    read_rpc,
    value_of,
    write,
    write_object,
)
from mcplocal.protocol.envelope import Incoming, Rejection, parse
from mcplocal.upstream.answers import read_message

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=6)
SPACES = st.sampled_from([None, 1, 3])


@pytest.mark.requirement("R6")
@given(OBJECTS, SPACES, st.booleans())
def test_what_is_read_and_written_again_is_the_same_text_member_by_member(
    found: dict[str, Any], indent: int | None, ascii_: bool
) -> None:
    text = json.dumps({"params": found, "id": 1}, indent=indent, ensure_ascii=ascii_)
    members = members_of(read_rpc(text).params or {})
    assert found == {key: member.value for key, member in members.items()}
    assert all(member.text in text and json.loads(member.text) == member.value for member in members.values())
    assert json.loads(write_object({key: member.text for key, member in members.items()})) == found


SPELT = [
    "1",
    "1.0",
    "1.00",
    "1e2",
    "-0",
    "1e999",
    "9" * 30,
    "9" * 5000,
    '"a"',
    '"\\u0061"',
    '"\\/"',
    '"é"',
    '"\ud83d"',
    "{}",
    "NaN",
    "[1 ]",
]


@given(st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"\\u0061"']), st.sampled_from(SPELT)), max_size=4), st.booleans())
def test_what_is_read_compactly_is_what_the_strict_reader_says_and_nothing_that_it_refuses(
    members: list[tuple[str, str]], spaced: bool
) -> None:
    body = ("[{" + (", " if spaced else ",").join(f"{key}:{value}" for key, value in members) + "}]").encode(
        errors="surrogatepass"
    )
    found = read_compact(body)
    assert found is UNREAD or repr(read(body.decode(), unique=True)) == repr(found)


@given(OBJECTS)
def test_what_most_clients_send_is_read_compactly(found: dict[str, Any]) -> None:
    body = msgspec.json.encode(found)
    assert repr(read(body.decode(), unique=True)) == repr(read_compact(body))


@given(st.text() | VALUES.map(json.dumps))
def test_it_accepts_nothing_that_the_standard_library_refuses_and_means_the_same(text: str) -> None:
    try:
        value = read(text, unique=False)
    except NotJson:
        return
    assert repr(json.loads(text)) == repr(value)


HALVES = st.text(st.characters(codec="utf-8") | st.characters(categories=["Cs"]), max_size=5)


@given(st.dictionaries(st.text(max_size=5), st.lists(HALVES | st.integers())), st.booleans())
def test_half_of_a_surrogate_pair_is_passed_on_as_it_came(found: dict[str, Any], already_read: bool) -> None:
    """JavaScript cuts strings in the middle of a pair, and says so in an escape."""
    text = json.dumps({"result": found})
    rpc = read_rpc(text, read(text, unique=True)) if already_read else read_rpc(text)
    members = members_of(rpc.result or {})
    assert found == {key: json.loads(member.text) for key, member in members.items()}


NUMBERS = ["1e999", "-0.0", "1.10", "123456789012345678901234567890", "1E+2", "9" * 5000]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_of_a_result_stays_as_it_is_written(number: str) -> None:
    members = members_of(read_rpc(f'{{"result":{{"n": {number} ,"m":[{number}]}}}}').result or {})
    assert (number, f"[{number}]") == (members["n"].text, members["m"].text)


def test_of_a_number_without_end_it_is_said_that_it_is_too_long_and_not_how_python_is_set() -> None:
    with pytest.raises(NotJson, match="more digits than can be read"):
        read('{"id":' + "9" * 5000 + "}", unique=True)


def test_a_value_that_cannot_be_read_is_none() -> None:
    assert value_of(read_rpc('{"id":' + "9" * 5000 + "}").id) is None


def test_of_what_a_server_says_twice_the_last_counts_and_the_first_is_nowhere() -> None:
    rpc = read_rpc('{"result":{"a":1,"\\u0061":2},"result":{"a":3,"a":4}}')
    (member,) = members_of(rpc.result or {}).values()
    assert ("4", 4) == (member.text, member.value)


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '{"a":[{"\\u0062":1,"b":2}]}', '{"p":{"a":1,"a":2}}'])
def test_a_member_that_stands_twice_is_refused_however_it_is_spelt(text: str) -> None:
    with pytest.raises(Twice):
        read(text, unique=True)


REFUSED = ["", " ", "{", "}", "{}x", "{'a':1}", '{"a" 1}', '{"a":}', '{"a":1,}', "{,}", '{"a":01}', '{"a":NaN}', "[1]", "null"]
REFUSED += ['{"a":-Infinity}', "\ufeff{}", '{"a":"\t"}', '{"a":1]', "{1:2}", "[" * 100_000, '{"a":' * 100_000]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_object_is_refused_and_never_more_than_that(text: str) -> None:
    with pytest.raises(NotJson):
        read_rpc(text)


@given(st.binary())
def test_bytes_that_are_no_utf_8_are_refused(body: bytes) -> None:
    try:
        assert decode(body).encode() == body
    except NotJson:
        with pytest.raises(UnicodeDecodeError):
            body.decode()


def test_what_is_not_json_is_not_written_either() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write(float("nan"))


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2]) | LEAVES,
        "id": LEAVES,
        "method": st.sampled_from(["tools/call", "ping"]) | LEAVES,
        "params": OBJECTS | VALUES | st.fixed_dictionaries({"_meta": OBJECTS | LEAVES}),
        "result": VALUES,
        "error": VALUES,
    },
)


def parsed(body: bytes) -> Incoming | None:
    """The message, or nothing if it is refused as a body or as a message."""
    try:
        return parse(body)
    except Rejection as rejection:
        if rejection.code not in (-32700, -32600, -32602):
            raise
        return None


@given(MESSAGES | VALUES)
def test_every_body_is_one_message_or_refused_with_a_code_and_nothing_else_happens(body: Any) -> None:
    text = json.dumps(body).encode()
    message = parsed(text)
    if message is None:
        return
    assert isinstance(body, dict)
    assert body["jsonrpc"] == "2.0"
    assert message.size == len(text)
    if message.kind == "response":
        assert "method" not in body
        return
    assert message.method == body["method"]
    assert (message.kind == "request") == ("id" in body)
    assert message.kind == "notification" or (message.id == body["id"] and not isinstance(message.id, bool | float))
    assert message.params == body.get("params", {})
    assert {key: json.loads(message.text(key)) for key in message.params} == body.get("params", {})


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_refused_with_a_code_or_are_a_message(body: bytes) -> None:
    parsed(body)


MANY = MOST_VALUES + 10
HEAVY = {
    "members": '{"a":{' + ",".join(f'"{n}":1' for n in range(MANY)) + "}}",
    "lists": '{"a":[' + ",".join(["[]"] * MANY) + "]}",
    "numbers": "[" + "1," * MANY + "1]",
}
LIGHT = {
    "commas in a string": '{"a":"' + "a,[{" * MANY + '"}',
    "quotes in a string": '{"a":"' + '\\",[' * MANY + '"}',
    "a string that never ends, which would be looked at from each quote for hours": '{"a":"' + '\\",' * 1_000_000,
    "a few values": '{"a":[' + ",".join(["[]"] * (MOST_VALUES // 3)) + "]}",
}


@pytest.mark.parametrize(("text", "heavy"), [*((t, True) for t in HEAVY.values()), *((t, False) for t in LIGHT.values())])
def test_what_holds_very_many_values_is_told_from_what_is_merely_long(text: str, heavy: bool) -> None:
    assert heavy is is_heavy(text)


def test_the_collector_works_again_after_a_large_text_however_that_went() -> None:
    with without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
    with suppress(NotJson), without_collector():
        read("{", unique=False)
    assert gc.isenabled()


def test_a_large_result_is_looked_through_without_making_objects_of_it() -> None:
    text = '{"jsonrpc":"2.0","id":1,"result":{"content":[' + "[]," * 200_000 + "[]]}}"
    before = sys.getallocatedblocks()
    message = read_message(text)
    assert sys.getallocatedblocks() - before < 1_000
    assert message.result is not None
    assert message.result["content"].is_array

"""Small readers and writers that stand between parties who disagree: headers, event streams, tool lists."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.event_stream import EventReader, EventTooLong, one_line, write_event
from mcplocal.offers.kinds import TOOL
from mcplocal.param_headers import InvalidSchema, ParamHeader, annotated, decode, encode, headers_for, mismatch
from mcplocal.recent import Recent
from mcplocal.wire import Era


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_header_value_says_the_same_after_its_way_and_survives_it(text: str) -> None:
    value = encode(text)
    assert decode(value) == text
    assert value.isascii()
    assert value == value.strip()
    assert "\n" not in value
    assert "\r" not in value


@pytest.mark.parametrize(
    "value", ["=?base64?!?=", "=?base64?YQ?=", "=?base64?YR==?=", "=?base64?/w==?=", "=?base64?YQ=\u00e9?="]
)
def test_a_wrapping_that_is_not_the_one_spelling_of_its_text_says_nothing(value: str) -> None:
    assert decode(value) is None


SCALARS = st.text(max_size=5) | st.integers() | st.booleans()


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), SCALARS | st.none()))
def test_the_headers_the_gateway_makes_are_the_headers_it_accepts(arguments: dict[str, Any]) -> None:
    wanted = [ParamHeader((name,), name.upper(), kind) for name, kind in (("a", "string"), ("b", "integer"), ("c", "boolean"))]
    made = {name.lower(): [value] for name, value in headers_for(wanted, arguments).items()}
    assert mismatch(wanted, arguments, made) is None
    for name in made:
        assert mismatch(wanted, arguments, {**made, name: [made[name][0] + "x"]}) is not None
        assert mismatch(wanted, arguments, {**made, name: made[name] * 2}) is not None
        assert mismatch(wanted, arguments, {n: v for n, v in made.items() if n != name}) is not None


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


INVALID = {
    "a number": schema(a={"type": "number", "x-mcp-header": "A"}),
    "no type": schema(a={"x-mcp-header": "A"}),
    "two types": schema(a={"type": ["string", "null"], "x-mcp-header": "A"}),
    "no token": schema(a={"type": "string", "x-mcp-header": "A b"}),
    "a line end": schema(a={"type": "string", "x-mcp-header": "A\r\nX: y"}),
    "empty": schema(a={"type": "string", "x-mcp-header": ""}),
    "no string": schema(a={"type": "string", "x-mcp-header": 1}),
    "twice": schema(a={"type": "string", "x-mcp-header": "A"}, b={"type": "string", "x-mcp-header": "a"}),
    "at the root": {"type": "string", "x-mcp-header": "A"},
    "in a list": schema(a={"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}),
    "in an alternative": schema(a={"anyOf": [{"type": "string", "x-mcp-header": "A"}]}),
    "in a definition": {"type": "object", "$defs": {"a": {"type": "string", "x-mcp-header": "A"}}},
}


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("case", INVALID)
def test_a_tool_whose_annotation_breaks_a_rule_is_not_offered(case: str) -> None:
    with pytest.raises(InvalidSchema):
        annotated(INVALID[case])


def test_annotations_are_found_along_properties_and_data_is_not_taken_for_them() -> None:
    inner = schema(b={"type": "integer", "x-mcp-header": "B"})
    found = annotated(schema(a=inner, c={"type": "object", "default": {"x-mcp-header": 1}, "enum": [{"x-mcp-header": 2}]}))
    assert (ParamHeader(("a", "b"), "B", "integer"),) == found


def test_a_schema_without_end_is_not_offered() -> None:
    deep: Any = {"type": "object"}
    for _ in range(5000):
        deep = schema(a=deep)
    tools, dropped = TOOL.judge("s", [{"name": "deep", "inputSchema": deep}, {"name": "fine", "inputSchema": schema()}])
    assert ["fine"] == [tool.ref.name for tool in tools]
    assert ["deep"] == [tool.name for tool in dropped]


@pytest.mark.requirement("R6")
def test_what_a_tool_carries_beyond_the_known_is_passed_on() -> None:
    raw = {"name": "a", "inputSchema": schema(), "vendor": {"x": [1.5, None]}, "annotations": {"readOnlyHint": True, "new": 1}}
    (tool,), dropped = TOOL.judge("s", [raw])
    assert dropped == ()
    assert '"vendor":{"x":[1.5,null]}' in tool.listed_as("s__a", Era.MODERN)
    assert tool.listed_as("s__a", Era.LEGACY).startswith('{"name":"s__a","inputSchema"')


@pytest.mark.requirement("R19")
def test_of_a_list_without_end_as_many_are_offered_as_agents_can_use_and_the_rest_is_one_reason() -> None:
    tools, dropped = TOOL.judge("s", [{"name": f"t{number}", "inputSchema": schema()} for number in range(TOOL.most + 3)])
    assert (TOOL.most, [(f"all from number {TOOL.most + 1} on", f"the server lists more than {TOOL.most}")]) == (
        len(tools),
        list(dropped),
    )


LINES = st.lists(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4
)


@given(st.lists(LINES, max_size=5), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 7))
def test_events_are_the_same_however_they_are_cut(events: list[list[str]], end: str, size: int) -> None:
    lines = [line for event in events for line in (": keep-alive", "id: 1", *(f"data: {text}" for text in event), "")]
    body = (end.join(lines) + end).encode() if lines else b""
    reader = EventReader(1 << 20)
    found = [event for start in range(0, len(body), size) for event in reader.feed(body[start : start + size])]
    found += reader.feed(b"\n")
    assert ["\n".join(event) for event in events] == [event.data for event in found]
    assert all(event.kind == "message" for event in found)


@pytest.mark.requirement("R12")
def test_an_event_over_the_limit_is_not_collected_to_its_end() -> None:
    reader = EventReader(100)
    for _ in range(4):
        reader.feed(b"data: xxxxxxxxxxxxxxxxxxxxxx\n")
    with pytest.raises(EventTooLong):
        reader.feed(b"data: xxxxxxxxxxxxxxxxxxxxxx\n")
    with pytest.raises(EventTooLong):
        EventReader(100).feed(b"data: " + b"x" * 200)


def test_json_on_several_lines_is_one_event_and_one_line() -> None:
    text = '{\n "a": "b\\n",\r\n "c": 1\n}'
    assert "\n" not in one_line(text)
    assert [one_line(text)] == [event.data for event in EventReader(1000).feed(write_event(text))]


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    recent: Recent[int, str] = Recent(3)
    for number in range(3):
        recent.keep(number, str(number))
    assert recent.get(0) == "0"
    recent.keep(3, "3")
    assert [2, 0, 3] == list(recent)
    assert len(recent) == 3

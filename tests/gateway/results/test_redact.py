"""``redact`` attacked: secrets hidden in every place and spelling a server has, and texts that must stay as they are."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.proxy_models.detectors import DETECTORS
from mcpctl.proxy_models.stages import with_defaults
from mcplocal.results.stage import Block, StageFailed, ToolResult, blocks_of
from mcplocal.results.stages.redact import Redactor

FOREVER = float("inf")
TOKEN = "mcpctl_pat_" + "Ab1" * 14 + "x"


def redactor(**options: Any) -> Redactor:
    return Redactor(with_defaults("redact", options))


def redacted(text: str, **options: Any) -> str:
    return redactor(**options).text(text, FOREVER)


KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/=\n-----END RSA PRIVATE KEY-----"
SECRET_40 = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
FOUND = [
    ("mcpctl-token", f"x {TOKEN} y", "x [redacted:mcpctl-token] y"),
    ("mcpctl-token", f"glued{TOKEN}", "glued[redacted:mcpctl-token]"),
    ("mcpctl-token", "mcpctl_ses_" + "z" * 43, "[redacted:mcpctl-token]"),
    ("private-key", f"a\n{KEY}\nb", "a\n[redacted:private-key]\nb"),
    ("private-key", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb and no end", "[redacted:private-key]"),
    ("aws-access-key", "id AKIAIOSFODNN7EXAMPLE.", "id [redacted:aws-access-key]."),
    ("aws-access-key", f"aws_secret_access_key = {SECRET_40}", "aws_secret_access_key = [redacted:aws-access-key]"),
    ("github-token", "ghp_" + "a" * 36, "[redacted:github-token]"),
    ("github-token", "github_pat_" + "1" * 30, "[redacted:github-token]"),
    ("slack-token", "xoxb-1234567890-abcdef", "[redacted:slack-token]"),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_", "[redacted:jwt]"),
    ("bearer-header", "Authorization: Bearer abc.def", "Authorization: Bearer [redacted:bearer-header]"),
    ("bearer-header", '"authorization": "Basic dXNlcjpwYXNz"', '"authorization": "Basic [redacted:bearer-header]"'),
    ("bearer-header", "Bearer abcdefgh1234", "Bearer [redacted:bearer-header]"),
    ("basic-auth-url", "postgres://u:p@db.test/x", "postgres://[redacted:basic-auth-url]@db.test/x"),
    ("email", "to alice.b+c@mail.example.org now", "to [redacted:email] now"),
    ("credit-card", "card 4111 1111 1111 1111!", "card [redacted:credit-card]!"),
]
LEFT = [
    "the bearer authentication scheme",
    "card 4111 1111 1111 1112",
    "1732612345678",
    "https://example.org/a:b@c",
    "user@host",
    "-----BEGIN PUBLIC KEY-----",
    "mcpctl_pat_",
    "{not json \\u006d}",
    "",
]


@pytest.mark.parametrize(("name", "text", "expected"), FOUND, ids=[f"{row[0]}-{n}" for n, row in enumerate(FOUND)])
def test_a_detector_finds_what_it_is_called_after(name: str, text: str, expected: str) -> None:
    assert expected == redacted(text, detectors=[name])
    assert expected == redacted(text)


def test_every_detector_is_tried() -> None:
    assert list(DETECTORS) == list(dict.fromkeys(name for name, _, _ in FOUND))


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_similar_stays(text: str) -> None:
    assert text == redacted(text)


def test_our_own_tokens_are_found_whatever_the_options_leave_out() -> None:
    assert "[redacted:mcpctl-token] a@b.org" == redacted(f"{TOKEN} a@b.org", detectors=[])


def test_own_patterns_take_out_what_they_match_and_nothing_where_they_match_nothing() -> None:
    patterns = [{"name": "ticket", "pattern": r"TICKET-\d+"}, {"name": "edge", "pattern": r"\bx*\b"}]
    assert "see <ticket> and y" == redacted("see TICKET-12 and y", patterns=patterns, replacement="<{name}>", detectors=[])


SPELLINGS = {
    "as it is": TOKEN,
    "escaped": "".join(f"\\u{ord(c):04x}" for c in TOKEN),
    "half escaped": TOKEN.replace("_", "\\u005f"),
}


@pytest.mark.property
@given(
    spelling=st.sampled_from(list(SPELLINGS)),
    place=st.sampled_from(
        ["text", "structured", "key", "meta", "unknown", "resource", "link", "block", "json in text", "twice"]
    ),
    around=st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=10),
)
def test_a_token_is_found_in_every_place_and_spelling(spelling: str, place: str, around: str) -> None:
    spelt = SPELLINGS[spelling]
    inside = json.dumps(around)[1:-1] + spelt + json.dumps(around)[1:-1]
    blocks = {
        "text": f'{{"type":"text","text":"{inside}"}}',
        "resource": f'{{"type":"resource","resource":{{"uri":"x:y","text":"{inside}"}}}}',
        "link": f'{{"type":"resource_link","uri":"x:y","description":"{inside}"}}',
        "block": f'{{"type":"hologram","data":["{inside}"],"{inside}":1}}',
        "json in text": json.dumps({"type": "text", "text": f'{{"a":["{inside}"]}}'}),
        "twice": json.dumps({"type": "text", "text": json.dumps({"b": f'{{"a":["{inside}"]}}'})}),
    }
    result = ToolResult(
        (Block(blocks[place]),) if place in blocks else (),
        {"structured": f'{{"a":[1,"{inside}"]}}', "key": f'{{"{inside}":null}}'}.get(place),
        others={"_meta" if place == "meta" else "more": f'{{"a":"{inside}"}}'} if place in ("meta", "unknown") else {},
    )
    found = redactor().result(result, FOREVER)
    written = json.dumps([[block.json for block in found.content], found.structured, dict(found.others)])
    for _ in range(6):  # read it as often as any client might
        written = written.encode().decode("unicode_escape", "replace") if "\\" in written else written
        assert TOKEN not in written
    assert "redacted:mcpctl-token" in written


@pytest.mark.property
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**11), 10**11)
        | st.text(st.characters(codec="ascii", categories=["L", "Z"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=10,
    ),
    st.integers(0, 2),
)
def test_what_holds_no_secret_stays_to_the_byte(value: Any, indent: int) -> None:
    source = json.dumps(value, indent=indent)
    result = ToolResult((Block(json.dumps({"type": "x", "v": value}, indent=indent)), Block.of_text(source)), source)
    assert redactor().result(result, FOREVER) is result


def test_a_card_that_is_a_number_becomes_a_string_and_the_json_stays_json() -> None:
    source = '{"card": 4111111111111111, "n": 1.10, "id": 4111111111111112}'
    assert '{"card": "[redacted:credit-card]", "n": 1.10, "id": 4111111111111112}' == redactor().source(source, FOREVER)
    assert {"card": "[redacted:credit-card]"} == json.loads(redacted('{"card": 4111111111111111}'))


def test_a_secret_is_known_by_the_member_it_stands_in() -> None:
    source = json.dumps({"SecretAccessKey": SECRET_40, "headers": {"Authorization": "Token abcd1234"}})
    found = json.loads(redactor().source(source, FOREVER))
    assert {
        "SecretAccessKey": "[redacted:aws-access-key]",
        "headers": {"Authorization": "Token [redacted:bearer-header]"},
    } == found


@pytest.mark.parametrize("replacement", ['"', "\\", "\n", "é", "{name}{name}", ""])
def test_whatever_the_replacement_the_result_stays_json(replacement: str) -> None:
    source = json.dumps({"SecretAccessKey": SECRET_40, "a": [TOKEN], TOKEN: 1, "card": 4111111111111111})
    found = json.loads(redactor(replacement=replacement).source(source, FOREVER))
    assert replacement.replace("{name}", "mcpctl-token") == found["a"][0]


def test_base64_is_known_by_its_place_and_left_alone() -> None:
    data = base64.b64encode(b"ab" * 60).decode()
    patterns = [{"name": "any", "pattern": "[A-Za-z]{6}"}]
    image = f'{{"type":"image","data":"{data}","mimeType":"x/y"}}'
    blob = f'{{"type":"resource","resource":{{"uri":"x:y","blob":"{data}"}}}}'
    result = ToolResult((Block(image), Block(blob), Block(f'{{"type":"other","data":"{data}"}}')))
    found = redactor(patterns=patterns).result(result, FOREVER)
    assert [True, True, False] == [data in block.json for block in found.content]
    contents = f'[{{"uri":"x:y","blob":"{data}"}},{{"uri":"x:y","text":"{TOKEN}"}}]'
    read = redactor(patterns=patterns).member("contents", contents, FOREVER)
    assert data in read
    assert TOKEN not in read


@pytest.mark.parametrize("data", [f'"{TOKEN}"', json.dumps({"x": TOKEN}), json.dumps([TOKEN]), f'"aGk=\\n{TOKEN}"'])
def test_what_only_claims_to_be_base64_is_looked_into(data: str) -> None:
    blocks = (f'{{"type":"image","data":{data}}}', f'{{"type":"resource","resource":{{"uri":"x:y","blob":{data}}}}}')
    found = redactor().result(ToolResult(tuple(map(Block, blocks))), FOREVER)
    assert [False, False] == [TOKEN in block.json for block in found.content]
    assert TOKEN not in redactor().member("contents", f'[{{"uri":"x:y","blob":{data}}}]', FOREVER)


def test_json_in_json_in_json_hides_nothing_however_deep() -> None:
    text = f'{{"a":"{SPELLINGS["escaped"]}"}}'
    for _ in range(7):
        text = json.dumps({"a": text})
    found = redacted(text)
    while found.startswith("{"):
        found = json.loads(found)["a"]
    assert "[redacted:mcpctl-token]" == found


def test_a_member_that_stands_twice_hides_nothing() -> None:
    twice = f'"text":"{TOKEN}","text":"fine"'
    long_name = "é" * 20  # shorter than it would be written in ASCII
    blocks = (
        f'{{"type":"text",{twice}}}',
        f'{{"type": "text", "{long_name}": 1, {twice}}}',
        f'{{"type":"resource","resource":{{"uri":"x:y",{twice}}}}}',
    )
    found = redactor().result(ToolResult(tuple(map(Block, blocks))), FOREVER)
    assert [False] * 3 == [TOKEN in block.json for block in found.content]
    assert [True] * 3 == ["fine" in block.json for block in found.content]
    assert TOKEN not in redactor().member("messages", f'[{{"role":"user","content":{{"type":"text",{twice}}}}}]', FOREVER)
    assert TOKEN not in redactor().member("messages", f'[{{"role":"{TOKEN}","role":"user"}}]', FOREVER)


def test_own_patterns_take_the_same_out_of_text_and_of_structured_content() -> None:
    digits = redactor(detectors=[], patterns=[{"name": "ssn", "pattern": r"\b\d{9}\b"}])
    assert '{"ssn":"[redacted:ssn]","n":12,"f":1.5}' == digits.source('{"ssn":123456789,"n":12,"f":1.5}', FOREVER)
    source = json.dumps({"password": "hunter2", "n": 1})
    labelled = redactor(detectors=[], patterns=[{"name": "pw", "pattern": '"password": "[^"]*"'}])
    for structured in (source, source.replace(" ", "")):
        found = labelled.result(ToolResult((Block.of_text(source),), structured), FOREVER)
        assert (False, None) == ("hunter2" in found.content[0].json, found.structured)


def test_numbers_with_a_fraction_stay_numbers_and_a_card_with_zeros_behind_it_is_one() -> None:
    source = '{"a":0.4111111111111111,"b":1234564111111111111111111,"c":4.111111111111111e15}'
    assert source == redactor().source(source, FOREVER)
    assert '["[redacted:credit-card]"]' == redactor().source("[4111111111111111.0]", FOREVER)


def test_a_secret_is_read_as_markdown_writes_it() -> None:
    escaped = TOKEN.replace("_", "\\_")
    assert "[redacted:mcpctl-token]" == redacted(escaped)
    assert TOKEN not in redactor().source(json.dumps([escaped]), FOREVER).replace("\\", "")


def test_lines_stay_lines_where_something_is_taken_out() -> None:
    assert "C:\\temp\\new\nmail é [redacted:email]\nend" == redacted("C:\\temp\\new\nmail é a@b.org\nend")


def test_it_is_given_up_when_its_time_is_over() -> None:
    with pytest.raises(StageFailed):
        redactor().result(ToolResult((Block.of_text("x"),)), until=0.0)


HOSTILE = {
    "a pattern that an engine going back and forth never ends": "a" * 200_000 + "!",
    "strings that never end": '"' + '\\"' * 200_000,
    "JSON whose strings never end": '{"' + '\\"' * 200_000,
    "escapes without end": "\\" * 400_001,
    "beginnings of everything": "-----BEGIN PRIVATE KEY----- ghp_ a@a@a@ 4111 Authorization: eyJ " * 5_000,
    "digits": "4111 " * 80_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_comes_to_an_end(text: str) -> None:
    """Were the time of any of these not linear in the text, this would run for hours."""
    patterns = [{"name": "evil", "pattern": "(a+)+$"}, {"name": "worse", "pattern": "(x|x)*y"}]
    assert isinstance(redactor(patterns=patterns).text(text, FOREVER), str)


def test_a_text_whose_quotation_marks_do_not_pair_hides_nothing() -> None:
    spelt = SPELLINGS["escaped"]
    for text in (f'he said "hi and {{"a":"{spelt}"}}', f'"{spelt}', f"{spelt} \\q", f'\\x "{spelt}" "'):
        assert "u006d" not in redacted(text)
        assert "[redacted:mcpctl-token]" in redacted(text)


def test_content_nobody_can_split_is_redacted_as_a_whole() -> None:
    content = json.dumps([{"type": "text", "text": f"\ud800 {TOKEN}"}])
    blocks = blocks_of(content)
    assert blocks is not None
    assert TOKEN not in redactor().result(ToolResult(blocks), FOREVER).content[0].json

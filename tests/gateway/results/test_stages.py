"""Each stage over a result, as a function: what it changes, and that it changes nothing else, to the byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.json_text import Member, write
from mcplocal.results.aside import Aside
from mcplocal.results.counts import ResultCounts
from mcplocal.results.pages import Kept, paged
from mcplocal.results.pipeline import Notes, NothingLeft, Pipeline
from mcplocal.results.private_directory import NotKept
from mcplocal.results.stage import Block, StageContext, StageFailed, ToolResult, blocks_of
from mcplocal.results.stages.compact_json import compact
from mcplocal.results.stages.html_to_markdown import markdown
from mcplocal.results.stages.select import selected
from mcplocal.results.stages.truncate import truncated
from mcplocal.results.steps import Means, steps_of
from mcplocal.upstream.answers import Answer, RpcError
from mcplocal.wire import Era

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
BLOCKS = st.lists(
    st.text(max_size=60).map(lambda text: {"type": "text", "text": text})
    | st.binary(max_size=20).map(lambda data: {"type": "image", "data": data.hex(), "mimeType": "image/png"})
    | st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    max_size=5,
)
EACH: Mapping[str, Any] = {
    "passthrough": {},
    "truncate": {"maxChars": 10},
    "compact-json": {"dropNulls": True},
    "select": {"expression": "a"},
    "html-to-markdown": {},
    "redact": {},
    "paginate": {"pageChars": 100},
}


class Nowhere:
    """Pages are kept in memory, and a summary is the text's beginning."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    async def keep(self, text: Iterable[str], page_chars: int, _ttl: float) -> Kept:
        whole = "".join(text)
        self.kept.append(whole)
        pages = list(paged([whole], page_chars))
        return Kept("t" * 32, "name", pages[0], len(pages), inf)

    async def nothing(self, *_: Any) -> Kept:
        raise NotKept("the disk is full")

    async def summary(self, text: str, *_: Any) -> str:
        return f"about {text[:5]}"


def means(where: Nowhere | None = None, keep: Any = None) -> Means:
    where = where or Nowhere()
    return Means(Aside(), keep or where.keep, where.summary, StageContext("p", "s", "t"))


def answer_of(raw: str) -> Answer:
    return Answer(Era.MODERN, {name: Member(write(value)) for name, value in json.loads(raw).items()})


def run(answer: Answer, *stages: tuple[str, Mapping[str, Any]], how: Means | None = None) -> tuple[Answer, Notes, ResultCounts]:
    counts = ResultCounts()
    pipeline = Pipeline(steps_of(stages), counts)
    found, notes = asyncio.run(pipeline.shaped(answer, how or means()))
    return found, notes, counts


def text_answer(*texts: str, **members: Any) -> Answer:
    content = [{"type": "text", "text": text} for text in texts]
    return answer_of(json.dumps({"content": content, **members}))


def texts(answer: Answer) -> list[str]:
    assert answer.result is not None
    return [block["text"] for block in answer.result["content"].value if block.get("type") == "text"]


@pytest.mark.property
@given(BLOCKS, st.sampled_from([name for name in EACH if name != "redact"]), JSON)
def test_what_is_no_text_leaves_every_stage_as_it_came(blocks: list[dict[str, Any]], stage: str, other: Any) -> None:
    raw = [json.dumps(block, indent=1) for block in blocks]
    answer = Answer(
        Era.MODERN, {"content": Member("[" + " , ".join(raw) + "]"), "x-unknown": Member(json.dumps(other, indent=3))}
    )
    found, _, _ = run(answer, (stage, EACH[stage]))
    assert found.result is not None
    assert json.dumps(other, indent=3) == found.result["x-unknown"].text
    left = [block.json for block in blocks_of(found.result["content"].text) or ()]
    others = [text for text, block in zip(raw, blocks, strict=True) if block.get("type") != "text"]
    assert others == [text for text in left if text in others][: len(others)]


@pytest.mark.property
@given(st.text(max_size=300), st.integers(1, 80), st.sampled_from(["head", "tail", "both"]))
def test_a_text_is_cut_to_so_many_characters_and_a_short_one_not_at_all(text: str, most: int, keep: str) -> None:
    block = Block.of_text(text)
    result = ToolResult((block,))
    found = truncated(result, {"maxChars": most, "keep": keep})
    if len(text) <= most:
        assert result is found
        return
    (cut,) = found.texts
    note = f"[… {len(text) - most:,} characters left out]"
    kept = cut.replace(f"\n{note}\n", "", 1) if keep == "both" else cut.replace(f"{note}\n", "", 1).replace(f"\n{note}", "", 1)
    assert most == len(kept)
    assert text.startswith(kept) or text.endswith(kept) or keep == "both"


@pytest.mark.property
@given(st.text(max_size=2000), st.integers(1, 90))
def test_the_pages_of_a_text_are_together_that_text(text: str, page_chars: int) -> None:
    pages = list(paged([text[:7], text[7:]], page_chars))
    assert text == "".join(pages)
    assert all(0 < len(page) <= page_chars for page in pages)


@pytest.mark.property
@given(
    st.text(st.characters(codec="utf-8") | st.sampled_from('\\"\n\u00e9\U0001f600'), min_size=1),
    st.booleans(),
    st.integers(1, 9),
)
def test_the_pieces_of_a_large_text_are_together_that_text(text: str, escaped: bool, split: int) -> None:
    block = Block(json.dumps({"type": "text", "text": text, "more": 1}, ensure_ascii=escaped))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcplocal.results.stage.LARGE", 1)
        patch.setattr("mcplocal.results.stage._SPLIT", split)
        assert text == "".join(block.pieces())
        pages: list[str] = []
        where = Nowhere()
        answer = Answer(Era.MODERN, {"content": Member(f"[{block.json}]")})
        found, notes, _ = run(answer, ("paginate", {"pageChars": 100}), how=means(where))
        pages = texts(found)
    assert [] == notes.failed
    assert [text] == where.kept
    assert text.startswith(pages[0])


@pytest.mark.property
@given(JSON.filter(lambda value: isinstance(value, dict | list)), st.integers(0, 3))
def test_compact_json_says_the_same_in_less(value: Any, indent: int) -> None:
    source = json.dumps(value, indent=indent)
    found = compact(source, drop_nulls=False)
    assert json.dumps(value, separators=(",", ":")) == found


@pytest.mark.property
@given(JSON.filter(lambda value: isinstance(value, dict | list)))
def test_dropping_nulls_drops_members_that_are_null_and_nothing_else(value: Any) -> None:
    def without(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: without(inner) for key, inner in one.items() if inner is not None}
        return [without(inner) for inner in one] if isinstance(one, list) else one

    assert without(value) == json.loads(compact(json.dumps(value), drop_nulls=True))


@pytest.mark.parametrize("source", ["1.10", "{", '{"a":}', "[1,2", "plain", '{"a":NaN}', "", '"x"'])
def test_what_is_no_json_object_or_list_is_not_compacted(source: str) -> None:
    assert source == compact(source, drop_nulls=True)


def test_compact_json_keeps_the_spelling_of_numbers_and_what_stands_twice() -> None:
    source = '{ "a" : 1.10, "a": 1E+2, "b": 123456789012345678901234567890 }'
    assert '{"a":1.10,"a":1E+2,"b":123456789012345678901234567890}' == compact(source, drop_nulls=False)


def test_structured_content_goes_where_the_text_no_longer_says_it() -> None:
    found, _, _ = run(
        text_answer('{"n": "' + "x" * 50 + '"}', structuredContent={"n": "x" * 50}), ("truncate", {"maxChars": 20})
    )
    assert found.result is not None
    assert "structuredContent" not in found.result


def test_structured_content_that_is_long_becomes_text_where_no_text_says_it() -> None:
    found, _, _ = run(text_answer("short", structuredContent={"n": "x" * 500}), ("truncate", {"maxChars": 20}))
    assert ["short", '{"n":"xxxxxxxxxxxxxx\n[… 488 characters left out]'] == texts(found)
    assert found.result is not None
    assert "structuredContent" not in found.result


SELECTIONS = [
    ("items[].name", {"items": [{"name": "a", "x": 1}, {"name": "b"}]}, '["a","b"]', None),
    ("items[0]", {"items": [{"name": "ä", "x": 1}]}, '{"name":"ä","x":1}', {"name": "ä", "x": 1}),
    ("name", {"name": "only text"}, "only text", None),
    ("gone", {"name": 1}, "null", None),
    ("length(items)", {"items": [1, 2, 3]}, "3", None),
]


@pytest.mark.parametrize(("expression", "value", "text", "structured"), SELECTIONS, ids=[row[0] for row in SELECTIONS])
@pytest.mark.parametrize("where", ["text", "structured"])
def test_select_finds_in_text_and_in_structured_content(
    where: str, expression: str, value: Any, text: str, structured: Any
) -> None:
    members = {"structuredContent": value} if where == "structured" else {}
    found, _, _ = run(text_answer(json.dumps(value), **members), ("select", {"expression": expression}))
    assert [text] == texts(found)
    assert found.result is not None
    assert structured == (found.result["structuredContent"].value if "structuredContent" in found.result else None)


@pytest.mark.parametrize(
    ("text", "expected"), [('{"items": [{"name": "a"}]}', '["a"]'), ("plain words", "plain words")], ids=["json", "words"]
)
def test_select_looks_into_a_text_that_an_sdk_has_wrapped(text: str, expected: str) -> None:
    found, _, _ = run(text_answer(text, structuredContent={"result": text}), ("select", {"expression": "items[].name"}))
    assert [expected] == texts(found)


def test_compact_json_says_the_same_in_a_text_that_an_sdk_has_wrapped() -> None:
    text = '{\n  "a": null,\n  "b": 1.10\n}'
    answer = text_answer(text, structuredContent={"result": text})
    found, _, _ = run(answer, ("compact-json", {"dropNulls": True}))
    assert ['{"b":1.10}'] == texts(found)
    assert found.result is not None
    assert {"result": '{"b":1.10}'} == found.result["structuredContent"].value


def test_select_leaves_alone_what_is_no_json() -> None:
    found, notes, _ = run(text_answer("plain words"), ("select", {"expression": "a"}))
    assert ["plain words"] == texts(found)
    assert notes.told is None


@pytest.mark.parametrize(
    "expression",
    [
        "|".join(["[@,@]"] * 40),
        "|".join(["[@,@][]"] * 40),
        "|".join(["[@,@]"] * 60) + "|to_string(@)",
        "{a: $, b: $}|a==b".replace("$", "|".join(["[@,@]"] * 60)),
        "{a: $, b: $}|contains([a],b)".replace("$", "|".join(["[@,@]"] * 60)),
        "[to_string(@)]|" + "|".join(["[@,@][]"] * 16) + "|[join('',@)]",
        "[to_string(@)]|" + "|".join(["[@,@][]"] * 16) + "|sort(@)",
        "length(@)",
        "sort(@)",
        "map(&map(&map(&map(&@, $), $), $), $)".replace("$", "@"),
    ],
)
def test_an_expression_that_does_not_fit_or_grows_without_end_is_given_up(expression: str) -> None:
    value: Any = 5 if expression in ("length(@)", "sort(@)") else list(range(100))
    source = json.dumps({"a": value}) if isinstance(value, int) else json.dumps(value)
    wanted = f"a.{expression}" if isinstance(value, int) else expression
    wanted = wanted.replace("a.length(@)", "length(a)").replace("a.sort(@)", "sort(a)")
    answer = text_answer(source)
    found, notes, counts = run(answer, ("select", {"expression": wanted}))
    assert [source] == texts(found)
    assert ["select"] == [one["stage"] for one in notes.failed]
    assert 1 == counts.stages.count("select", "failed")


def test_an_expression_is_not_read_for_longer_than_its_time() -> None:
    with pytest.raises(StageFailed, match="too long"):
        selected(ToolResult((Block.of_text(json.dumps(list(range(5000)))),)), {"expression": "[?@ > `1`]"}, until=0.0)


PAGES_OF_HTML = [
    ("<h1>Title</h1><p>Some <b>bold</b> text</p>", "# Title\n\nSome **bold** text"),
    ("<!doctype html><html><head><title>T</title><style>x{}</style></head><body><p>hi</p></body></html>", "# T\n\nhi"),
    ("<p>a<script>alert(1)</script>b</p>", "ab"),
    ("<div><a href='https://x.test/a'>go</a></div>", "[go](https://x.test/a)"),
    ("<p><a href='javascript:alert(1)'>go</a></p>", "go"),
    ("<p><a href='java\nscript:alert(1)'>go</a></p>", "go"),
    ("<p>x<img src='https://x.test/i.png' alt='pic'>y</p>", "xy"),
    ("<p>x</p><!-- secret --><p>y</p>", "x\n\ny"),
    ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
]


@pytest.mark.parametrize(("html", "expected"), PAGES_OF_HTML, ids=[row[1] for row in PAGES_OF_HTML])
def test_html_becomes_markdown(html: str, expected: str) -> None:
    assert [expected] == texts(run(text_answer(html), ("html-to-markdown", {}))[0])


def test_links_and_images_are_kept_as_the_model_says() -> None:
    html = "<p><a href='https://x.test/'>go</a> <img src='https://x.test/i.png' alt='pic'></p>"
    assert "go" == markdown(html, links=False, images=False, until=inf)
    assert "[go](https://x.test/) ![pic](https://x.test/i.png)" == markdown(html, links=True, images=True, until=inf)


@pytest.mark.parametrize("text", ["1 < 2", "<xml><a/></xml>", "plain", '{"html": "<p>x</p>"}', "<3 you", "a <b>c</b>"])
def test_what_is_no_html_is_left_alone(text: str) -> None:
    assert [text] == texts(run(text_answer(text), ("html-to-markdown", {}))[0])


def test_html_nested_too_deeply_leaves_the_text_with_a_note() -> None:
    html = "<div>" * 5000 + "x"
    found, notes, _ = run(text_answer(html), ("html-to-markdown", {}))
    assert [html] == texts(found)
    assert [{"stage": "html-to-markdown", "why": "the HTML is nested too deeply"}] == notes.failed


@pytest.mark.parametrize(
    "html", ["<a " * 200_000, "<!--" * 200_000, "</" * 400_000, "<p>" + " " * 200_000 + "x", "<br>" * 200_000]
)
def test_what_is_no_html_takes_no_longer_than_its_time(html: str) -> None:
    """Each of these took the square of its length, in a thread that nobody could end."""
    begun = monotonic()
    with suppress(StageFailed):
        markdown(f"<p>{html}", links=True, images=False, until=begun + 0.5)
    assert 10 > monotonic() - begun


def test_markdown_calls_things_what_the_page_calls_them() -> None:
    assert "snake_case and 2*3*4" == texts(run(text_answer("<p>snake_case and 2*3*4</p>"), ("html-to-markdown", {}))[0])[0]


SPLIT = {"token": "mcpctl_pat_" + "Ab1" * 14 + "x"}


@pytest.mark.parametrize(
    "stages", [("html-to-markdown", "redact"), ("redact", "html-to-markdown"), ("redact", "html-to-markdown", "truncate")]
)
@pytest.mark.parametrize(
    "spelt", [lambda t: t, lambda t: t.replace("_", "&#95;"), lambda t: t.replace("_", "<span>_</span><!-- x -->")]
)
def test_a_secret_in_html_is_gone_whichever_stage_comes_first(stages: tuple[str, ...], spelt: Callable[[str], str]) -> None:
    [found] = texts(run(text_answer(f"<p>x {spelt(SPLIT['token'])} y</p>"), *((stage, {}) for stage in stages))[0])
    assert "Ab1" not in found
    assert "[redacted:mcpctl-token]" in found


def test_a_secret_that_select_puts_together_is_gone() -> None:
    source = json.dumps({"parts": ["mcpctl_pat_", "Ab1" * 14 + "x"]})
    found, _, _ = run(text_answer(source), ("redact", {}), ("select", {"expression": "join('', parts)"}))
    assert ["[redacted:mcpctl-token]"] == texts(found)


def test_several_texts_are_paged_as_one_and_images_stay_on_the_first_page() -> None:
    where = Nowhere()
    image = '{"type":"image","data":"AAAA","mimeType":"image/png"}'
    blocks = [Block.of_text("a" * 80), Block(image), Block.of_text("b" * 80)]
    answer = Answer(Era.MODERN, {"content": Member("[" + ",".join(block.json for block in blocks) + "]")})
    found, _, _ = run(answer, ("paginate", {"pageChars": 100}), how=means(where))
    assert ["a" * 80 + "\n" + "b" * 80] == where.kept
    assert found.result is not None
    left = blocks_of(found.result["content"].text) or ()
    assert [image] == [block.json for block in left if block.kind == "image"]
    assert "a" * 80 + "\n" == left[0].text


def test_a_text_that_cannot_be_kept_is_given_whole_with_a_note() -> None:
    found, notes, counts = run(text_answer("x" * 500), ("paginate", {"pageChars": 100}), how=means(keep=Nowhere().nothing))
    assert ["x" * 500] == texts(found)
    assert [{"stage": "paginate", "why": "the rest cannot be kept: the disk is full"}] == notes.failed
    assert found.result is not None
    assert "paginate" == found.result["_meta"].value["io.mcpctl/proxy-model"]["failed"][0]["stage"]
    assert 1 == counts.stages.count("paginate", "failed")


def test_a_summary_is_never_given_where_the_original_cannot_be_read() -> None:
    found, notes, _ = run(text_answer("x" * 500), ("summarize", {"overChars": 100}), how=means(keep=Nowhere().nothing))
    assert ["x" * 500] == texts(found)
    assert ["summarize"] == [one["stage"] for one in notes.failed]


@pytest.mark.parametrize(
    "cutting", [("truncate", {"maxChars": 30}), ("paginate", {"pageChars": 100}), ("summarize", {"overChars": 50})]
)
def test_a_secret_on_the_edge_of_what_is_cut_is_gone_before(cutting: tuple[str, Any]) -> None:
    """A server's model cuts, the project's redacts: half of the secret must not stay, nor all of it in what is kept."""
    where = Nowhere()
    text = "x" * 20 + "mcpctl_pat_" + "a" * 43 + "y" * 60
    found, _, _ = run(text_answer(text), cutting, ("redact", {}), how=means(where))
    assert "mcpctl_pat" not in json.dumps([texts(found), where.kept])
    assert "aaa" not in json.dumps([texts(found), where.kept])


def test_a_stage_that_does_not_exist_here_is_passed_over_with_a_note() -> None:
    found, notes, _ = run(text_answer("x"), ("shout", {}), ("compact-json", {}))
    assert ["x"] == texts(found)
    assert ["shout"] == [one["stage"] for one in notes.failed]


@pytest.mark.parametrize(
    "stages", [[("redact", {"patterns": [{"name": "x", "pattern": "("}]})], [("redact", {"detectors": ["x"]})]]
)
def test_redact_that_cannot_be_understood_leaves_nothing(stages: list[Any]) -> None:
    with pytest.raises(NothingLeft):
        run(text_answer("x"), *stages)


def test_a_failed_tools_result_is_cut_and_redacted_and_not_searched() -> None:
    answer = text_answer('{"a": 1, "b": "mcpctl_ses_' + "b" * 43 + '"}', isError=True)
    found, _, _ = run(answer, ("select", {"expression": "a"}), ("redact", {}), ("truncate", {"maxChars": 30}))
    (text,) = texts(found)
    assert text.startswith('{"a": 1, "b": "[redacted:mcpct')
    assert found.result is not None
    assert found.result["isError"].value is True


def test_a_json_rpc_error_passes_redact() -> None:
    answer = Answer(Era.MODERN, error=RpcError(-1, "no mcpctl_pat_" + "c" * 43, {"at": ["mcpctl_pat_" + "c" * 43]}))
    found, _, _ = run(answer, ("redact", {}), ("truncate", {"maxChars": 1}))
    assert RpcError(-1, "no [redacted:mcpctl-token]", {"at": ["[redacted:mcpctl-token]"]}) == found.error


@pytest.mark.property
@given(st.text(st.characters(codec=None), max_size=60), st.sampled_from(list(EACH)))
def test_half_a_surrogate_pair_harms_no_stage(text: str, stage: str) -> None:
    """JavaScript writes them as escapes; msgspec refuses them."""
    source = json.dumps([{"type": "text", "text": text}])
    found, notes, _ = run(Answer(Era.MODERN, {"content": Member(source)}), (stage, EACH[stage]))
    assert found.result is not None
    assert isinstance(json.loads(found.result["content"].text), list)
    assert [] == notes.failed

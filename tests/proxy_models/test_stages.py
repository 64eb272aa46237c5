"""What is wrong with a list of stages is said where it stands, and what is not wrong can be kept and filled in."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mcpctl.errors import InvalidInput
from mcpctl.proxy_models import stages as of_models
from mcpctl.proxy_models.detectors import ALWAYS_ON, DETECTORS
from mcpctl.proxy_models.linear_patterns import LONGEST, compiled
from mcpctl.proxy_models.stages import builtin_stages, check_cache_tool, check_stages, with_defaults
from mcpctl.proxy_models.third_party import Found, found_in

HERE = "tests.proxy_models.others"
STAGES = {stage.name: stage for stage in builtin_stages()}


def one(stage: str, **options: Any) -> list[dict[str, Any]]:
    return [{"stage": stage, "options": options}]


def redact(*patterns: str, name: str = "mine") -> list[dict[str, Any]]:
    return one("redact", patterns=[{"name": f"{name}{n or ''}", "pattern": text} for n, text in enumerate(patterns)])


WRONG: list[tuple[Any, str, str]] = [
    ("truncate", "", "it must be a list"),
    ([], "", "there must be 1 to 20 stages"),
    (one("truncate") * 21, "", "there must be 1 to 20 stages"),
    (["truncate"], "0", "it must be an object: {stage, options}"),
    ([{"options": {}}], "0.stage", "it must be the name of a stage"),
    ([{"stage": "truncate", "option": {}}], "0.option", "unknown member: a stage has stage and options"),
    ([{"stage": "truncate", "options": []}], "0.options", "it must be an object"),
    (one("truncat"), "0.stage", "there is no stage 'truncat' here; did you mean 'truncate'?"),
    ([*one("redact"), *one("truncate", maxchars=1)], "1.options.maxchars", "truncate has no such option; did you mean"),
    (one("passthrough", fast=True), "0.options.fast", "passthrough has no such option; there is none"),
    (one("truncate", maxChars="8000"), "0.options.maxChars", "it must be a whole number"),
    (one("truncate", maxChars=8000.0), "0.options.maxChars", "it must be a whole number"),
    (one("truncate", maxChars=True), "0.options.maxChars", "it must be a whole number"),
    (one("truncate", maxChars=0), "0.options.maxChars", "it must be 1 or more"),
    (one("truncate", maxChars=10**12), "0.options.maxChars", "it must be 10000000 or less"),
    (one("truncate", keep="tial"), "0.options.keep", "it must be one of head, tail, both; did you mean 'tail'?"),
    (one("paginate", pageChars=99), "0.options.pageChars", "it must be 100 or more"),
    (one("select"), "0.options.expression", "it is missing"),
    (one("select", expression=""), "0.options.expression", "it must have 1 characters or more"),
    (one("select", expression="a[["), "0.options.expression", "it is no JMESPath expression: "),
    (one("select", expression="(" * 900), "0.options.expression", "it is nested too deeply"),
    (one("select", expression="a" * 1001), "0.options.expression", "it must have 1000 characters or fewer"),
    (one("redact", detectors=["jwt", "jwt"]), "0.options.detectors", "one stands there twice"),
    (one("redact", detectors=["e-mail"]), "0.options.detectors.0", "it must be one of "),
    (redact("(?=a)b"), "0.options.patterns.0.pattern", "it is no RE2 pattern (RE2 has no look-around and no "),
    (redact(r"(a)\1"), "0.options.patterns.0.pattern", "it is no RE2 pattern"),
    (redact("((((a{50}){50}){50}){50}"), "0.options.patterns.0.pattern", "it is no RE2 pattern"),
    (redact("((a{90}){90}){90}"), "0.options.patterns.0.pattern", "it is no RE2 pattern"),
    (redact("a*"), "0.options.patterns.0.pattern", "it matches the empty text, which is everywhere"),
    (redact("a" * (LONGEST + 1)), "0.options.patterns.0.pattern", "it must have 500 characters or fewer"),
    (redact("a", name="Two words"), "0.options.patterns.0.name", "it is not what it must be: "),
    (redact("a", name="line\n"), "0.options.patterns.0.name", "it ends in a line feed"),
    (redact("a", name="jwt"), "0.options.patterns.0.name", "another pattern or a detector is called so"),
    (redact(*["a"] * 21), "0.options.patterns", "it must have 20 members or fewer"),
    (one("summarize", url="http://169.254.169.254/"), "0.options.url", "summarize has no such option; there is "),
    (one("summarize", timeoutSeconds=301), "0.options.timeoutSeconds", "it must be 300 or less"),
    (one("truncate", maxChars=["x" * 70_000]), "0.options", "the options of a stage have at most 65536 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("stages", "path", "message"), WRONG, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_said_where_it_stands(stages: Any, path: str, message: str) -> None:
    (found,) = check_stages(stages)
    assert (path, True) == (found[0], found[1].startswith(message)), found


def test_everything_wrong_is_said_at_once() -> None:
    wrong = check_stages([*one("truncate", maxChars=0, keep="x"), *one("select"), *one("nothing")])
    assert ["0.options.keep", "0.options.maxChars", "1.options.expression", "2.stage"] == [path for path, _ in wrong]


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_a_stage_describes_itself_wholly(stage: of_models.StageDescription) -> None:
    schema = dict(stage.options_schema)
    Draft202012Validator.check_schema(schema)
    assert ("object", False) == (schema["type"], schema["additionalProperties"])
    required = schema.get("required", [])
    for name, option in stage.options.items():
        assert option["description"]
        assert ("default" in option) is (name not in required), name
    assert schema["examples"]
    for example in schema["examples"]:
        assert [] == check_stages([{"stage": stage.name, "options": example}])
        filled = with_defaults(stage.name, example)
        assert set(stage.options) == set(filled)
        assert [] == check_stages([{"stage": stage.name, "options": filled}]), "defaults are valid too"


@pytest.mark.parametrize(
    ("expected", "given_"), [([ALWAYS_ON], []), ([ALWAYS_ON, "email"], ["email"]), (list(DETECTORS), None)]
)
def test_our_own_tokens_are_always_looked_for(expected: list[str], given_: list[str] | None) -> None:
    assert expected == with_defaults("redact", {} if given_ is None else {"detectors": given_})["detectors"]


def test_defaults_are_not_shared_between_models() -> None:
    with_defaults("redact", {})["patterns"].append("mine")
    assert [] == with_defaults("redact", {})["patterns"]


def test_a_stage_that_is_not_here_has_no_defaults() -> None:
    with pytest.raises(InvalidInput, match="there is no stage 'shout' here"):
        with_defaults("shout", {})


@pytest.mark.parametrize("pattern", ["github/get_issue", "github/get_*", "github/*", "a.b/ns/tool:x"])
def test_tools_to_be_cached_are_named_as_in_the_policy(pattern: str) -> None:
    assert pattern == check_cache_tool(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["", "*", "github", "github/", "*/get", "GitHub/get", "a__b/c", "mcplocal/x", "github/prompt:x", "github/a*b", "a/é"],
)
def test_what_names_no_tool_is_not_cached(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        check_cache_tool(pattern)


def test_a_pattern_that_would_never_end_elsewhere_ends_here() -> None:
    assert compiled("(a+)+$").search("a" * 50_000 + "b") is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
known_options = st.sampled_from(sorted({option for stage in STAGES.values() for option in stage.options}))
uses = st.fixed_dictionaries(
    {"stage": st.sampled_from(sorted(STAGES)) | anything},
    optional={"options": st.dictionaries(known_options, anything, max_size=3) | anything, "other": anything},
)


@settings(max_examples=150)
@given(anything | st.lists(uses | anything, max_size=4))
def test_whatever_is_written_is_judged_and_what_passes_still_passes_with_its_defaults(stages: Any) -> None:
    wrong = check_stages(stages)
    assert all(message for _, message in wrong)
    if not wrong:
        filled = [{"stage": each["stage"], "options": with_defaults(each["stage"], each.get("options", {}))} for each in stages]
        assert [] == check_stages(filled)


@settings(max_examples=150)
@given(st.text(st.sampled_from("ab(){}[]|*+?\\^$.1,:<>=!Pnud\u0000é\ud800"), max_size=12))
def test_whatever_pattern_is_written_it_compiles_or_is_refused_in_words(pattern: str) -> None:
    try:
        found = compiled(pattern)
    except InvalidInput:
        return
    assert found.search("") is None


# Stages of other packages


def offered(*points: tuple[str, str]) -> Found:
    return found_in(tuple(EntryPoint(name, f"{HERE}:{value}", "mcpctl.stages") for name, value in points))


def test_a_stage_of_another_package_is_known_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found = offered(("shout", "shout"))
    assert ({"shout"}, {}) == (set(found.stages), dict(found.left_out))
    monkeypatch.setattr(of_models, "third_party_stages", lambda: found)
    assert "shout" in [stage.name for stage in of_models.known_stages()]
    assert [] == check_stages(one("shout", mark="?"))
    assert [("0.options.mark", "it must be text")] == check_stages(one("shout", mark=1))
    assert {"mark": "!"} == with_defaults("shout", {})


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("truncate", "shout", "the name belongs to a builtin stage"),
        ("Shout", "shout", "its name must be 1 to 63 of a-z 0-9 -"),
        ("shout", "nameless", "the entry point is called 'shout' and the stage 'other'"),
        ("shout", "silent", "its summary must be a sentence"),
        ("shout", "blocking", "its apply must be an async function"),
        ("shout", "open_ended", "its options_schema must say type: object and additionalProperties: false"),
        ("shout", "no_schema", "its options_schema is no JSON Schema of draft 2020-12: "),
        ("shout", "no_json", "TypeError: "),
        ("shout", "AClass", "it is a class: the entry point must name an object"),
        ("shout", "no_such_thing", "AttributeError: "),
        ("bare", "bare", "AttributeError: "),
    ],
)
def test_what_is_no_stage_is_left_out_with_the_reason(name: str, value: str, why: str) -> None:
    found = offered((name, value), ("shout" if name != "shout" else "quiet", "shout"))
    assert found.left_out[f"{name} = {HERE}:{value}"].startswith(why), found.left_out
    assert name not in found.stages


def test_a_name_that_two_packages_claim_is_given_to_neither() -> None:
    assert {} == dict(offered(("shout", "shout"), ("shout", "silent")).stages)

"""Casbin as the referee: the compiled matcher against a stock ``casbin.Enforcer``, on models, policies and requests made up."""

from __future__ import annotations

from typing import Any

import casbin
import pytest
from casbin.rbac.default_role_manager import RoleManager
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.errors import PolicyUnavailable
from mcpctl.policy.model import FUNCTIONS, PolicyModel
from mcpctl.policy.slices import Roles, Rule, Slice
from mcpctl.policy.vocabulary import Effect
from tests.policy.worlds import MODEL_TEXT

SHIPPED_EFFECT = "some(where (p.eft == allow)) && !some(where (p.eft == deny))"
SHIPPED_MATCHER = MODEL_TEXT[MODEL_TEXT.index("m = ") + 4 :]
EFFECTS = [
    SHIPPED_EFFECT,
    "some(where (p.eft == allow))",
    "priority(p.eft) || deny",
    "subjectPriority(p.eft) || deny",
]

SUBJECTS = ["User:a", "User:b", "Group:x", "Group:y"]
WORDS = ["view", "edit", "admin", "servers", "*", "a", "a/*", "a/b", "10.0.0.1", "10.0.0.0/8", "("]

COMPILABLE = [
    "g(r.sub, p.sub)",
    "g2(p.role, r.act)",
    'p.role == "admin"',
    'r.act == "admin"',
    'p.eft == "allow"',
    'p.eft != "deny"',
    "covers(p.res, r.res)",
    "covers(p.name, r.name)",
    "overlaps(p.name, r.name)",
    "overlaps(r.name, p.name)",
    "keyMatch(r.name, p.name)",
    "regexMatch(r.name, p.name)",  # raises where the line is no pattern
    "regexMatch(r.act, p.role)",
    "ipMatch(r.name, p.name)",  # raises where the name is no address
    'r.act in ("view", "edit")',
    'r.name not in ["a", "a/b"]',
    "p.role == r.act == p.name",
    "g2(p.name, r.name)",
    "g(r.name, p.sub)",
    "r.name in p.name",
    '"a" == "!b"',
    "True",
]
STOCK_ONLY = [
    "r.name.startswith(p.name)",
    "r.name + p.name == p.role",
    '(p.eft == "allow" if r.act == "view" else p.eft == "deny")',
    'r.name[0] == "a"',
    "1 == 1",
    "r.act > p.role",
    "g(r.sub, p.sub, p.role)",
    "covers(line=p.name, asked=r.name)",
    "g(name1=r.sub, name2=p.sub)",
]
NOT_BOOLEAN = ["r.name", "p.role"]


def expressions(tests: list[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(tests),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda parts: f"({' '.join(parts)})"),
            inner.map(lambda one: f"!({one})"),
        ),
        max_leaves=8,
    )


def rules() -> st.SearchStrategy[list[Rule]]:
    effects: Any = st.sampled_from(["allow", "deny", "allow", "deny", "perhaps"])
    one = st.builds(Rule, *(st.sampled_from(words) for words in (SUBJECTS, WORDS, WORDS, WORDS)), effects, st.just("here"))
    return st.lists(one, min_size=1, max_size=6)


REQUESTS = st.lists(st.tuples(*(st.sampled_from(words) for words in (SUBJECTS, WORDS, WORDS, WORDS))), min_size=1, max_size=6)
MEMBERSHIPS = st.sets(st.sampled_from(["Group:x", "Group:y"]))
ROLE_LINKS = st.sets(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), max_size=8)


def model_text(effect: str, matcher: str) -> str:
    return MODEL_TEXT.replace(SHIPPED_EFFECT, effect).replace(SHIPPED_MATCHER, matcher)


def stock(text: str, groups: set[str], links: set[tuple[str, str]], lines: list[Rule]) -> casbin.Enforcer:
    """What Casbin itself makes of all that."""
    enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=text))
    for name, function in FUNCTIONS.items():
        enforcer.add_function(name, function)
    enforcer.model["p"]["p"].policy = [list(line) for line in lines]
    enforcer.model["g"]["g"].policy = [["User:a", group] for group in sorted(groups)]
    enforcer.model["g"]["g2"].policy = [list(link) for link in sorted(links)]
    enforcer.set_named_role_manager("g2", RoleManager(2))
    enforcer.build_role_links()
    enforcer.model.sort_policies_by_subject_hierarchy()
    return enforcer


def said(enforcer: Any, request: tuple[str, ...]) -> bool | str:
    try:
        return bool(enforcer.enforce(*request))
    except Exception:
        return "no answer"


def agree(
    effect: str, matcher: str, groups: set[str], links: set[tuple[str, str]], lines: list[Rule], asked: list[tuple[str, ...]]
) -> None:
    text = model_text(effect, matcher)
    casbin_itself = stock(text, groups, links, lines)
    ours = Slice(PolicyModel(text), Roles(links), "User:a", groups, lines)
    assert [said(casbin_itself, request) for request in asked] == [said(ours, request) for request in asked]


@given(st.sampled_from(EFFECTS), expressions([*COMPILABLE, *NOT_BOOLEAN]), MEMBERSHIPS, ROLE_LINKS, rules(), REQUESTS)
def test_a_compiled_matcher_answers_as_casbin_does(
    effect: str, matcher: str, groups: set[str], links: set[tuple[str, str]], lines: list[Rule], asked: list[tuple[str, ...]]
) -> None:
    assert PolicyModel(model_text(effect, matcher)).compiled is not None
    agree(effect, matcher, groups, links, lines, asked)


@given(
    st.sampled_from(EFFECTS), expressions([*COMPILABLE, *STOCK_ONLY, *NOT_BOOLEAN]), MEMBERSHIPS, ROLE_LINKS, rules(), REQUESTS
)
def test_any_matcher_answers_as_casbin_does(
    effect: str, matcher: str, groups: set[str], links: set[tuple[str, str]], lines: list[Rule], asked: list[tuple[str, ...]]
) -> None:
    agree(effect, matcher, groups, links, lines, asked)


@given(MEMBERSHIPS, ROLE_LINKS, rules(), REQUESTS)
def test_the_shipped_matcher_answers_as_casbin_does(
    groups: set[str], links: set[tuple[str, str]], lines: list[Rule], asked: list[tuple[str, ...]]
) -> None:
    agree(SHIPPED_EFFECT, SHIPPED_MATCHER, groups, links, lines, asked)


@given(st.sampled_from(EFFECTS), expressions(COMPILABLE), MEMBERSHIPS, ROLE_LINKS, rules(), REQUESTS)
def test_the_deciding_line_is_the_same_compiled_or_not(
    effect: str, matcher: str, groups: set[str], links: set[tuple[str, str]], lines: list[Rule], asked: list[tuple[str, ...]]
) -> None:
    numbered = [line._replace(origin=str(number)) for number, line in enumerate(lines)]
    compiled, walked = (
        Slice(PolicyModel(model_text(effect, text)), Roles(links), "User:a", groups, numbered)
        for text in (matcher, f"1 == 1 && {matcher}")
    )
    for request in asked:
        try:
            expected = walked.enforce_ex(*request)
        except PolicyUnavailable:
            continue
        assert expected == compiled.enforce_ex(*request)


@pytest.mark.parametrize("matcher", STOCK_ONLY)
def test_what_is_outside_the_allow_list_is_left_to_casbin_and_a_warning_says_so(
    matcher: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = PolicyModel(model_text(SHIPPED_EFFECT, matcher))
    assert model.compiled is None
    assert model.uncompiled_because
    assert [f"the matcher of model.conf is not compiled, decisions are slow: {model.uncompiled_because}"] == caplog.messages


@pytest.mark.parametrize("matcher", NOT_BOOLEAN)
def test_a_matcher_that_is_neither_true_nor_false_gives_no_answer(matcher: str) -> None:
    line = Rule("User:a", "view", "servers", "a", "allow", "here")
    ours = Slice(PolicyModel(model_text(SHIPPED_EFFECT, matcher)), Roles([]), "User:a", [], [line])
    with pytest.raises(PolicyUnavailable):
        ours.ask("view", "servers", "a")


@pytest.mark.parametrize(
    ("effect", "allowed"),
    [("priority(p.eft) || deny", False), ("subjectPriority(p.eft) || deny", True)],
    ids=["order", "subject"],
)
def test_under_a_priority_the_first_line_decides_and_under_subject_priority_the_nearest(effect: str, allowed: bool) -> None:
    lines: list[tuple[str, Effect]] = [("Group:x", "deny"), ("User:a", "allow")]
    rules = [Rule(subject, "view", "servers", "a", eft, subject) for subject, eft in lines]
    ours = Slice(PolicyModel(model_text(effect, SHIPPED_MATCHER)), Roles([]), "User:a", ["Group:x"], rules)
    ruling = ours.ask("view", "servers", "a")
    assert allowed is ruling.allowed
    assert ruling.rule is not None
    assert ("User:a" if allowed else "Group:x") == ruling.rule.origin


@given(st.sampled_from(EFFECTS), expressions(COMPILABLE), MEMBERSHIPS, ROLE_LINKS, rules(), REQUESTS)
def test_where_casbin_names_a_deciding_line_it_is_the_one_we_name(
    effect: str, matcher: str, groups: set[str], links: set[tuple[str, str]], lines: list[Rule], asked: list[tuple[str, ...]]
) -> None:
    numbered = [line._replace(origin=str(number)) for number, line in enumerate(lines)]
    text = model_text(effect, matcher)
    casbin_itself = stock(text, groups, links, numbered)
    ours = Slice(PolicyModel(text), Roles(links), "User:a", groups, numbered)
    for request in asked:
        try:
            allowed, line = casbin_itself.enforce_ex(*request)
        except Exception:  # what the matcher raises is held against ours above
            continue
        if line:
            assert (allowed, list(line)) == ours.enforce_ex(*request)

"""Leaving out the lines that cannot speak of a question changes no answer to it, whatever the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.policy.model import PolicyModel
from mcpctl.policy.relevance import relevant
from mcpctl.policy.slices import Alike, Rule, Slice
from tests.policy.worlds import MODEL_TEXT, SHIPPED

ASKED = [
    ("run", "servers", "time/now"),
    ("view", "servers", "*"),
    ("edit", "rbac", "a"),
    ("logs", "operations", "lab"),
    ("admin", "servers", "time/*"),
]
NAMES = ["*", "time", "time/now", "time/n*", "docs", "a", "lab"]
RULES = st.builds(
    lambda sub, role, res, name, eft, n: Rule(sub, role, res, name, eft, f"rbac:{n}"),
    st.sampled_from(["User:ann", "Group:ops"]),
    st.sampled_from(["view", "run", "edit", "admin", "logs", "nothing"]),
    st.sampled_from(["servers", "rbac", "operations", "*"]),
    st.sampled_from(NAMES),
    st.sampled_from(["allow", "allow", "deny"]),
    st.integers(0, 2),
)


def changed(before: str, after: str) -> PolicyModel:
    assert before in MODEL_TEXT
    return PolicyModel(MODEL_TEXT.replace(before, after))


MODELS = [SHIPPED.model, changed("g(r.sub, p.sub)", "!g(r.sub, p.sub)"), changed("g(r.sub, p.sub)", 'p.role != ""')]


@pytest.mark.parametrize("model", MODELS)
@given(rules=st.lists(RULES, max_size=10, unique=True), asked=st.sampled_from(ASKED))
def test_without_the_lines_that_cannot_speak_of_it_the_answer_is_the_same(
    model: PolicyModel, rules: list[Rule], asked: tuple[str, str, str]
) -> None:
    could = relevant(model, SHIPPED.roles, [asked])
    assert could is not None
    whole = Slice(model, SHIPPED.roles, "User:ann", ["Group:ops"], rules)
    fewer = [rule for rule in rules if could(rule.role, rule.res, rule.name, rule.eft)]
    part = Slice(model, SHIPPED.roles, "User:ann", ["Group:ops"], fewer)
    assert whole.ask(*asked) == part.ask(*asked)


@given(rules=st.lists(RULES, max_size=8, unique=True), asked=st.sampled_from(ASKED))
def test_whoever_has_the_same_lines_has_the_same_answer_by_its_own_line(rules: list[Rule], asked: tuple[str, str, str]) -> None:
    ann = Slice(SHIPPED.model, SHIPPED.roles, "User:ann", ["Group:ops"], rules)
    renamed = [rule._replace(sub="User:ben", origin=f"{rule.origin}-ben") if rule.sub == "User:ann" else rule for rule in rules]
    ben = Slice(SHIPPED.model, SHIPPED.roles, "User:ben", ["Group:ops"], renamed)
    for _ in range(2):
        assert ben.ask(*asked) == Alike(ann, "User:ben", ["Group:ops"], renamed).ask(*asked)


OTHERWISE = [
    ("g(r.sub, p.sub)", '(g(r.sub, p.sub) || r.sub == "User:root")'),
    ("g(r.sub, p.sub)", '(g(r.sub, p.sub) || g(r.sub, "Group:ops"))'),
    ("g(r.sub, p.sub)", '(g(r.sub, p.sub) && p.origin != "x")'),
    ("g(r.sub, p.sub)", "g(r.sub, p.name)"),
]


@pytest.mark.parametrize(("before", "after"), OTHERWISE)
def test_where_who_asks_is_looked_at_in_another_way_no_line_is_left_out(before: str, after: str) -> None:
    assert relevant(changed(before, after), SHIPPED.roles, ASKED) is None


def test_a_line_that_cannot_be_evaluated_is_kept_so_that_whoever_asks_is_told() -> None:
    could = relevant(changed("covers(p.name, r.name)", "covers(p.name, r.name, r.name)"), SHIPPED.roles, ASKED)
    assert could is None or could("run", "servers", "time/now", "allow")

"""One allow and one deny, every one of them against every other, and every question: is the answer what counting says?

One law holds all of it: the answer is yes exactly if everything the question is about is allowed and nothing of it denied. For
a plain name that is a decision. For the questions of a binding it is the creator ceiling: what passes is allowed at every name
the binding covers, and, as a single allow is no enumeration, what is allowed at every name passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

import pytest

from mcpctl.policy import ceiling
from mcpctl.policy.bindings import Binding
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.slices import Roles, Rule, Slice
from mcpctl.policy.vocabulary import Effect
from tests.policy import oracle
from tests.policy.worlds import MODEL_TEXT, SHIPPED

ME, MY_GROUP, ANOTHER = "User:me", "Group:mine", "User:another"
ROLES = Roles((role, action) for role, listed in oracle.ROLES.items() for action in listed.split())

Grant = tuple[str, str, str]
LINES: Final[list[Grant]] = list(product(oracle.EVERY_ROLE, [*oracle.RESOURCES, "*"], oracle.PATTERNS))
ASKED_NAMES = sorted({*oracle.NAMES, *oracle.PATTERNS, *(f"{p}/*" for p in oracle.PATTERNS if p[-1] != "*")})
QUESTIONS: Final[list[Grant]] = list(
    product([*oracle.ACTIONS, oracle.INVENTED_LATER, "admin"], [*oracle.RESOURCES, "*"], ASKED_NAMES)
)
NEEDS = [oracle.question(*question) for question in QUESTIONS]
NUMBER = {question: number for number, question in enumerate(QUESTIONS)}
CEILINGS = [
    (oracle.line(*grant), sum({1 << NUMBER[question] for question in ceiling.questions(Binding(*grant), ROLES)}))
    for grant in LINES
]
"""For each binding: what it gives, and the questions (as bits) whose yes lets somebody give it."""


def rule(grant: Grant, effect: Effect, subject: str = ME) -> Rule:
    return Rule(subject, *grant, effect, "rbac:x")


def answers(model: PolicyModel, rules: list[Rule]) -> list[bool]:
    ask = Slice(model, ROLES, ME, [MY_GROUP], rules).ask
    return [ask(*question).allowed for question in QUESTIONS]


World = tuple[list[Rule], int]
"""Lines, and what counting says they allow."""


def wrong_answers(model: PolicyModel, worlds: Iterable[World]) -> Iterator[str]:
    """Every question of every world that is not answered by what is allowed there, and every ceiling that is not."""
    for rules, allowed in worlds:
        denied = ~allowed
        said = answers(model, rules)
        for question, need, answer in zip(QUESTIONS, NEEDS, said, strict=True):
            if answer != (not need & denied):
                yield f"{question} is answered {answer} by {[str(rule) for rule in rules]}"
        refused = sum(1 << number for number, answer in enumerate(said) if not answer)
        for grant, (gives, asked) in zip(LINES, CEILINGS, strict=True):
            if (not asked & refused) != (not gives & denied):
                yield f"{grant} may wrongly (not) be given by {[str(rule) for rule in rules]}"


def every_pair(role: str) -> Iterator[World]:
    """Every allow of this role, alone and against every deny."""
    for allow in (line for line in LINES if line[0] == role):
        held = oracle.line(*allow)
        yield [rule(allow, "allow")], held
        for deny in LINES:
            yield [rule(allow, "allow"), rule(deny, "deny")], held & ~oracle.line(*deny)


def some_pairs() -> Iterator[World]:
    """Fewer grants, for every way the lines can be one's own, one's group's or somebody else's."""
    few = [line for line in LINES if line[0] in ("run", "admin") and line[1] != "secrets" and line[2] not in ("b", "a/x")]
    for (mine, not_mine), allow, deny in product(product([ME, MY_GROUP, ANOTHER], repeat=2), few, few):
        held = 0 if mine == ANOTHER else oracle.line(*allow)
        taken = 0 if not_mine == ANOTHER else oracle.line(*deny)
        yield [rule(deny, "deny", not_mine), rule(allow, "allow", mine)], held & ~taken


@pytest.mark.parametrize("role", oracle.EVERY_ROLE)
def test_every_answer_and_every_ceiling_is_yes_exactly_if_all_it_asks_is_held(role: str) -> None:
    """authz d, rows 5 and 8: roles are decided action by action, and a deny is taken off what is held."""
    assert [] == list(wrong_answers(SHIPPED.model, every_pair(role)))


def test_lines_of_somebody_else_change_no_answer_and_those_of_a_group_count_as_ones_own() -> None:
    assert [] == list(wrong_answers(SHIPPED.model, some_pairs()))


def test_a_deny_below_a_server_changes_no_decision_about_the_server_itself() -> None:
    below = [line for line in LINES if "/" in line[2]]
    about_itself = [question for question in QUESTIONS if "/" not in question[2] and "*" not in question[2]]
    for allow in (line for line in LINES if line[0] in ("view", "admin")):
        alone = Slice(SHIPPED.model, ROLES, ME, [], [rule(allow, "allow")])
        expected = [alone.ask(*question).allowed for question in about_itself]
        for deny in below:
            both = Slice(SHIPPED.model, ROLES, ME, [], [rule(allow, "allow"), rule(deny, "deny")])
            assert expected == [both.ask(*question).allowed for question in about_itself], (allow, deny)


CLAUSES = {
    "a line speaks of its subject only": ("g(r.sub, p.sub)", '"x" == "x"'),
    "a role is its actions only": ("g2(p.role, r.act) ||", '"x" == "x" ||'),
    "a role has its actions": ("g2(p.role, r.act) ||", ""),
    "admin is every action": ('|| p.role == "admin"', ""),
    "every deny takes from admin": ('|| (p.eft == "deny" && r.act == "admin")', ""),
    "only a deny needs no more than an overlap": ('(p.eft == "deny" && overlaps', "(overlaps"),
    "an allow is for its resource": ("&& covers(p.res, r.res)", ""),
    "an allow is for its name": ("&& covers(p.name, r.name)", ""),
    "a deny is for its resource": ("&& overlaps(p.res, r.res)", ""),
    "a deny is for its name": ("&& overlaps(p.name, r.name)", ""),
    "a deny reaches into a pattern of names": ("overlaps(p.name, r.name)", "covers(p.name, r.name)"),
    "a deny reaches into every resource": ("overlaps(p.res, r.res)", "covers(p.res, r.res)"),
    "an allow must cover the pattern whole": ("covers(p.name, r.name)", "overlaps(p.name, r.name)"),
    "an allow must cover every resource": ("covers(p.res, r.res)", "overlaps(p.res, r.res)"),
    "a deny beats an allow": ("&& !some(where (p.eft == deny))", ""),
    "denies matter": ('|| (p.eft == "deny" && overlaps(p.res, r.res) && overlaps(p.name, r.name))', ""),
}


@pytest.mark.parametrize("clause", CLAUSES)
def test_leaving_out_any_clause_of_the_model_breaks_the_law_a_thousandfold(clause: str) -> None:
    """authz d, row 8, and "casbin is really the engine": what is edited in the text changes the answers."""
    old, new = CLAUSES[clause]
    text = MODEL_TEXT.replace(old, new.replace('"x" == "x"', '"x" == "x"'), 1)
    assert MODEL_TEXT != text
    wrong = wrong_answers(PolicyModel(text), some_pairs())
    assert 1000 == sum(1 for _, _ in zip(range(1000), wrong, strict=False))


def test_the_word_allow_in_the_first_branch_is_for_the_reader_only() -> None:
    """A deny that covers also overlaps, so leaving this one out changes nothing; it is no clause of the law."""
    text = MODEL_TEXT.replace('p.eft == "allow" && ', "")
    assert MODEL_TEXT != text
    assert [] == list(wrong_answers(PolicyModel(text), some_pairs()))

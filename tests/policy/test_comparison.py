"""``policy diff`` and ``policy show`` against counting: who gains and who loses what, atom by atom, for policies made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.policy import comparison, grants
from mcpctl.policy.atoms import inexact, stems_of
from mcpctl.policy.files import Membership, PolicyFiles
from mcpctl.policy.grants import Grant
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.slices import Roles, Rule
from tests.policy import oracle
from tests.policy.worlds import MODEL_TEXT, SHIPPED

Line = tuple[str, str, str, str, str]
"""Subject, role, resource, name, effect."""

MODEL = SHIPPED.model
WITHOUT_OVERLAP = PolicyModel(MODEL_TEXT.replace("overlaps(p.name", "covers(p.name"))
SUBJECTS = ["User:ann", "User:bob", "Group:team", "Group:crew"]
MEMBERS = [("User:ann", "Group:team"), ("User:ann", "Group:crew"), ("User:bob", "Group:team")]


def policy(
    lines: Sequence[Line],
    members: Sequence[tuple[str, str]] = (),
    roles: Mapping[str, str] = oracle.ROLES,
    model: PolicyModel = MODEL,
) -> PolicyFiles:
    """The policy files that would say this, each line in a line of its own."""
    rules = [Rule(*line, f"a.csv:{number}") for number, line in enumerate(lines, start=1)]  # type: ignore[arg-type]
    known = Roles((role, action) for role, listed in roles.items() for action in listed.split())
    return PolicyFiles.of(model, known, rules, [Membership(*one, "b.csv:1") for one in members], "")


def lines() -> st.SearchStrategy[list[Line]]:
    role = st.sampled_from(oracle.EVERY_ROLE)
    effect = st.sampled_from(["allow", "allow", "deny"])
    where = st.one_of(
        st.tuples(st.just("servers"), st.sampled_from(oracle.PATTERNS)),
        st.tuples(st.just("secrets"), st.sampled_from(["*", "a", "b"])),
        st.just(("*", "*")),
    )
    one = st.tuples(st.sampled_from(SUBJECTS), role, where, effect)
    return st.lists(one.map(lambda it: (it[0], it[1], *it[2], it[3])), max_size=6)


def members() -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.sampled_from(MEMBERS), unique=True)


def roles() -> st.SearchStrategy[dict[str, str]]:
    """The oracle's roles, or some of them otherwise."""
    other = st.lists(st.sampled_from(oracle.ACTIONS), min_size=1, unique=True).map(" ".join)
    return st.dictionaries(st.sampled_from(["view", "editor", "auditor"]), other, max_size=1).map(
        lambda changed: (
            {role: f"{changed[role]} {role if role in oracle.ACTIONS else ''}" for role in changed}
            | {role: listed for role, listed in oracle.ROLES.items() if role not in changed}
        )
    )


Answers = dict[tuple[str, str, str], str]


def counted(found: Sequence[Line], belongs: Sequence[tuple[str, str]], listed: Mapping[str, str], subject: str) -> Answers:
    """What the lines say about each atom for ``subject``: allow, deny or nothing."""
    whose = {subject, *(group for user, group in belongs if user == subject)}
    answers: Answers = {}
    for action, resource, name in oracle.ATOMS:
        speaking = {
            effect
            for sub, role, res, pattern, effect in found
            if sub in whose
            and (role == "admin" or action in listed[role].split())
            and res in ("*", resource)
            and oracle.of_a_line(pattern, name)
        }
        answers[(action, resource, name)] = "deny" if "deny" in speaking else "allow" if speaking else ""
    return answers


EXPECTED_KIND = {
    ("", "allow"): "gains",
    ("deny", "allow"): "gains",
    ("allow", ""): "loses",
    ("allow", "deny"): "loses",
    ("", "deny"): "denied",
    ("deny", ""): "released",
}


def kinds_told(change: comparison.Change | None, atom: tuple[str, str, str]) -> list[str]:
    told = change.grants if change else {}
    return [kind for kind, found in told.items() if any(grant.speaks_of(*atom) for grant in found)]


@given(old=lines(), new=lines(), old_members=members(), new_members=members(), old_roles=roles(), new_roles=roles())
def test_the_difference_between_two_policies_is_what_counting_every_atom_finds(
    old: list[Line],
    new: list[Line],
    old_members: list[tuple[str, str]],
    new_members: list[tuple[str, str]],
    old_roles: dict[str, str],
    new_roles: dict[str, str],
) -> None:
    found = comparison.compare(policy(old, old_members, old_roles), policy(new, new_members, new_roles))
    by_subject = {change.subject: change for change in found.changes}
    for subject in SUBJECTS:
        before, after = counted(old, old_members, old_roles, subject), counted(new, new_members, new_roles, subject)
        for atom in oracle.ATOMS:
            kind = EXPECTED_KIND.get((before[atom], after[atom]))
            assert ([kind] if kind else []) == kinds_told(by_subject.get(subject), atom), (subject, atom)
    assert found.inexact is None


@given(data=st.data(), old=lines(), belongs=members())
def test_an_edit_of_a_few_lines_is_told_as_counting_finds_it(
    data: st.DataObject, old: list[Line], belongs: list[tuple[str, str]]
) -> None:
    new = list(old)
    for line in data.draw(lines())[:2]:
        new.insert(data.draw(st.integers(0, len(new))), line)
    for _ in range(data.draw(st.integers(0, min(2, len(new))))):
        new.pop(data.draw(st.integers(0, len(new) - 1)))
    changes = {change.subject: change for change in comparison.compare(policy(old, belongs), policy(new, belongs)).changes}
    for subject in SUBJECTS:
        before, after = (counted(found, belongs, oracle.ROLES, subject) for found in (old, new))
        for atom in oracle.ATOMS:
            kind = EXPECTED_KIND.get((before[atom], after[atom]))
            assert ([kind] if kind else []) == kinds_told(changes.get(subject), atom), (subject, atom)


@given(found=lines(), belongs=members(), listed=roles())
def test_what_is_shown_of_a_subject_is_what_it_may_do_and_nothing_else(
    found: list[Line], belongs: list[tuple[str, str]], listed: dict[str, str]
) -> None:
    for subject in SUBJECTS:
        shown = grants.effective(policy(found, belongs, listed), subject)
        expected = counted(found, belongs, listed, subject)
        for answer, told in (("allow", shown.allowed), ("deny", shown.denied)):
            assert {atom for atom in oracle.ATOMS if expected[atom] == answer} == {
                atom for atom in oracle.ATOMS if any(one.speaks_of(*atom) for one in told)
            }


@given(found=lines(), belongs=members())
def test_the_same_policy_with_its_lines_in_another_order_is_equivalent(
    found: list[Line], belongs: list[tuple[str, str]]
) -> None:
    assert comparison.compare(policy(found, belongs), policy(found[::-1], belongs[::-1])).equivalent


# Names made up letter by letter: whatever edges lie between them, one name stands for all between the same edges.

BELOW = st.text("xy/", min_size=1, max_size=3)
PATTERN = st.one_of(
    st.sampled_from(["*", "a", "b"]),
    st.tuples(st.sampled_from("ab"), BELOW, st.sampled_from(["", "*"])).map(lambda it: f"{it[0]}/{it[1]}{it[2]}"),
)
SMALL = st.lists(st.tuples(PATTERN, st.sampled_from(["allow", "deny"])), max_size=5)
EVERY_NAME = [
    *"abc",
    *(f"{server}/{''.join(letters)}" for server in "abc" for n in (1, 2, 3) for letters in product("xy/z", repeat=n)),
]


def on_servers(found: Sequence[tuple[str, str]], model: PolicyModel = MODEL) -> PolicyFiles:
    return policy([("User:ann", "run", "servers", pattern, effect) for pattern, effect in found], model=model)


@given(found=SMALL)
def test_one_name_stands_for_all_between_the_same_edges(found: list[tuple[str, str]]) -> None:
    read = on_servers(found)
    shown, own = grants.effective(read, "User:ann").allowed, grants.slice_of(read, "User:ann")
    wrong = [
        name
        for name in EVERY_NAME
        if any(grant.speaks_of("run", "servers", name) for grant in shown) is not own.ask("run", "servers", name).allowed
    ]
    assert [] == wrong


@given(data=st.data(), old=SMALL, models=st.sampled_from([(MODEL, MODEL), (MODEL, WITHOUT_OVERLAP), (WITHOUT_OVERLAP, MODEL)]))
def test_where_no_change_is_told_no_question_has_another_answer_not_even_of_the_ceiling(
    data: st.DataObject, old: list[tuple[str, str]], models: tuple[PolicyModel, PolicyModel]
) -> None:
    narrower = [(f"{name}/x", effect) for name, effect in old if not name.endswith("*")]
    likely = st.lists(st.sampled_from([*old, *narrower, *old]), max_size=2) if old else st.just([])
    new = [*data.draw(st.permutations(old)), *data.draw(likely)]
    before, after = on_servers(old, models[0]), on_servers(new, models[1])
    if comparison.compare(before, after).changes:
        return
    one, other = grants.slice_of(before, "User:ann"), grants.slice_of(after, "User:ann")
    questions = product(
        ["run", "view", "admin"], ["servers", "*"], [*EVERY_NAME, "*", *(f"{n}*" for n in EVERY_NAME if "/" in n)]
    )
    assert [] == [asked for asked in questions if one.ask(*asked).allowed is not other.ask(*asked).allowed]


@given(patterns=st.lists(PATTERN, max_size=4))
def test_every_pattern_asked_about_as_a_whole_is_answered_like_one_of_those_told_apart(patterns: list[str]) -> None:
    own = grants.slice_of(on_servers([(one, "deny" if n % 2 else "allow") for n, one in enumerate(patterns)]), "User:ann")

    def answer(name: str) -> tuple[bool, bool]:
        ruling = own.ask("run", "servers", name)
        return ruling.allowed, ruling.rule is None

    told = {answer(name) for name in (*stems_of(patterns), *EVERY_NAME)}
    assert set() == {answer(f"{name}*") for name in EVERY_NAME if "/" in name} - told


# By example


def diff(old: Sequence[Line], new: Sequence[Line], **more: Mapping[str, str]) -> dict[str, list[str]]:
    found = comparison.compare(policy(old), policy(new, **more))  # type: ignore[arg-type]
    return {
        f"{change.subject} {kind}": [str(one) for one in listed]
        for change in found.changes
        for kind, listed in [*change.grants.items(), *change.whole.items()]
    }


ANN, TEAM = "User:ann", "Group:team"


@pytest.mark.parametrize(
    ("expected", "old", "new"),
    [
        ({}, [], []),
        ({}, [(ANN, "view", "servers", "a", "allow")], [(ANN, "view", "servers", "a", "allow")]),
        ({"User:ann gains": ["view servers a"]}, [], [(ANN, "view", "servers", "a", "allow")]),
        ({"User:ann loses": ["admin * *"]}, [(ANN, "admin", "*", "*", "allow")], []),
        (
            {"User:ann loses": ["admin secrets *"]},
            [(ANN, "admin", "*", "*", "allow")],
            [(ANN, "admin", "*", "*", "allow"), (ANN, "admin", "secrets", "*", "deny")],
        ),
        (
            {"User:ann gains": ["view, run servers a except a/x*"], "User:ann denied": ["admin servers a/x*"]},
            [],
            [(ANN, "run", "servers", "a", "allow"), (ANN, "admin", "servers", "a/x*", "deny")],
        ),
        # Nothing is allowed here, and still somebody who holds it elsewhere gains.
        ({"Group:team released": ["view secrets *"]}, [(TEAM, "view", "secrets", "*", "deny")], []),
        ({"Group:team denied": ["view secrets *"]}, [], [(TEAM, "view", "secrets", "*", "deny")]),
        # An enumeration of everything is not everything.
        (
            {"User:ann loses": ["view * except secrets, servers *"]},
            [(ANN, "view", "*", "*", "allow")],
            [(ANN, "view", "secrets", "*", "allow"), (ANN, "view", "servers", "*", "allow")],
        ),
        # The same rights by other lines are the same.
        (
            {},
            [(ANN, "view", "servers", "a", "allow"), (ANN, "run", "servers", "a", "allow")],
            [(ANN, "run", "servers", "a", "allow")],
        ),
    ],
)
def test_a_difference_is_told_in_few_words(expected: dict[str, list[str]], old: list[Line], new: list[Line]) -> None:
    assert expected == diff(old, new)


def test_widening_a_role_is_a_gain_for_each_of_its_holders_and_is_told_of_the_role() -> None:
    held: list[Line] = [(ANN, "auditor", "servers", "a", "allow"), (TEAM, "auditor", "secrets", "*", "allow")]
    wider = oracle.ROLES | {"auditor": "view run delete"}
    assert {"Group:team gains": ["delete secrets *"], "User:ann gains": ["delete servers a"]} == diff(held, held, roles=wider)
    found = comparison.compare(policy(held), policy(held, roles=wider))
    assert [("auditor", ("delete",), ())] == [tuple(one) for one in found.roles]


def test_a_role_nobody_holds_in_the_files_may_be_held_in_the_database() -> None:
    found = comparison.compare(policy([]), policy([], roles=oracle.ROLES | {"auditor": "view"}))
    assert [("auditor", (), ("run",))] == [tuple(one) for one in found.roles]
    assert not found.equivalent


def test_the_line_that_makes_the_difference_is_named_with_its_side() -> None:
    servers: Line = (ANN, "view", "servers", "c", "allow")
    secrets: Line = (ANN, "view", "secrets", "a", "allow")
    found = comparison.compare(
        policy([servers, secrets, (TEAM, "run", "servers", "b", "deny")]),
        policy([(ANN, "view", "secrets", "b", "allow"), secrets, (ANN, "view", "secrets", "a", "deny")]),
    )
    assert {
        "User:ann gains view secrets b": ("a.csv:1 of NEW",),
        "User:ann loses view secrets a": ("a.csv:3 of NEW",),
        "User:ann loses view servers c": ("a.csv:1 of OLD",),
        "Group:team released view, run servers b": ("a.csv:3 of OLD",),
    } == {
        f"{change.subject} {kind} {one}": one.by
        for change in found.changes
        for kind, all_ in change.grants.items()
        for one in all_
    }


def test_a_membership_that_makes_the_difference_is_named_beside_the_line_of_the_group() -> None:
    held: list[Line] = [(TEAM, "view", "servers", "a", "allow"), (TEAM, "run", "secrets", "*", "deny")]
    alone, member = policy(held), policy(held, [(ANN, TEAM)])
    for old, new, side, gains, denies in (
        (alone, member, "NEW", "gains", "denied"),
        (member, alone, "OLD", "loses", "released"),
    ):
        (change,) = comparison.compare(old, new).changes
        assert {
            gains: [("view servers a", (f"a.csv:1 of {side}", f"b.csv:1 of {side}"))],
            denies: [("view, run secrets *", (f"a.csv:2 of {side}", f"b.csv:1 of {side}"))],
        } == {kind: [(str(one), one.by) for one in listed] for kind, listed in change.grants.items()}
    assert [("a.csv:1", "b.csv:1")] == [one.by for one in grants.effective(member, ANN).allowed]
    assert [("a.csv:2", "b.csv:1")] == [one.by for one in grants.effective(member, ANN).denied]


def test_a_role_called_like_an_action_contains_it_whether_a_line_defines_the_role_or_not() -> None:
    without = {role: listed for role, listed in oracle.ROLES.items() if role != "view"}
    found = comparison.compare(policy([], roles=without), policy([], roles=without | {"view": "view run"}))
    assert [("view", ("run",), ())] == [tuple(one) for one in found.roles]
    assert comparison.compare(policy([], roles=without), policy([], roles=without | {"view": "view"})).equivalent


def test_what_the_ceiling_alone_answers_otherwise_is_told() -> None:
    held: list[Line] = [(ANN, "run", "servers", "a", "allow"), (ANN, "run", "servers", "a/x", "deny")]
    found = comparison.compare(policy(held), policy(held, model=WITHOUT_OVERLAP))
    assert [("User:ann", {"holdsMore"})] == [(change.subject, set(change.whole)) for change in found.changes]
    assert "run servers a/*" in found.changes[0].whole["holdsMore"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("covers(p.name, r.name)", "keyMatch(r.name, p.name)", "the matcher of model.conf asks 'keyMatch(r.name, p.name)'"),
        ("covers(p.name, r.name)", "covers(r.name, p.name)", "the matcher of model.conf asks 'covers(r.name, p.name)'"),
        ("covers(p.name, r.name)", '"a" in r.name', "the matcher of model.conf asks \"'a' in r.name\""),
        ("covers(p.name, r.name)", "r.name == r.res", "the matcher of model.conf asks 'r.name == r.res'"),
        ("covers(p.name, r.name)", "r.name == p.name", None),
        ("covers(p.name, r.name)", 'covers("a", r.name)', None),
        ("covers(p.name, r.name)", 'r.name in ("a", p.name)', None),
        ("g2(p.role, r.act)", "p.role == r.act", None),
        ("g2(p.role, r.act)", "regexMatch(r.act, p.role)", "the matcher of model.conf asks 'regexMatch(r.act, p.role)'"),
    ],
)
def test_a_model_whose_edges_are_not_those_of_the_lines_is_never_called_equivalent(
    old: str, new: str, expected: str | None
) -> None:
    model = PolicyModel(MODEL_TEXT.replace(old, new, 1))
    assert expected == inexact(model)
    assert (expected is None) is (comparison.compare(policy([]), policy([], model=model)).inexact is None)


@given(found=lines(), constant=st.sampled_from(["a", "a/x", "zz"]), belongs=members())
def test_words_that_stand_in_the_matcher_are_told_apart_too(
    found: list[Line], constant: str, belongs: list[tuple[str, str]]
) -> None:
    model = PolicyModel(MODEL_TEXT.replace("g(r.sub, p.sub)", f'g(r.sub, p.sub) && r.name != "{constant}" && r.act != "edit"'))
    before, after = policy(found, belongs), policy(found, belongs, model=model)
    changes = {change.subject: change for change in comparison.compare(before, after).changes}
    for subject in SUBJECTS:
        answers = counted(found, belongs, oracle.ROLES, subject)
        for atom in oracle.ATOMS:
            gone = answers[atom] and (atom[2] == constant or atom[0] == "edit")
            expected = [{"allow": "loses", "deny": "released"}[answers[atom]]] if gone else []
            assert expected == kinds_told(changes.get(subject), atom)


def test_a_grant_says_all_it_leaves_out() -> None:
    lines_: list[Line] = [
        (ANN, "admin", "*", "*", "allow"),
        (ANN, "run", "servers", "*", "deny"),
        (ANN, "delete", "servers", "a/x", "deny"),
    ]
    shown: tuple[Grant, ...] = grants.effective(policy(lines_), ANN).allowed
    assert [
        "admin except view, delete, run * *",
        "view, delete, run * except servers *",
        "delete servers * except a/x",
    ] == [str(one) for one in shown]
    assert {
        "actions": ["view", "delete", "run"],
        "resources": ["*"],
        "exceptResources": ["servers"],
        "name": "*",
        "by": ["a.csv:1"],
    } == shown[1].as_json()

"""``policy check --strict``: what is found, in what words, and that nothing is found wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given

from mcpctl.policy import checks, files
from mcpctl.policy.grants import slice_of
from mcpctl.policy.redundancy import redundant
from tests.policy import oracle
from tests.policy.test_comparison import EVERY_NAME, SMALL, SUBJECTS, Line, counted, lines, members, on_servers, policy
from tests.policy.test_files import directory
from tests.policy.worlds import MODEL_TEXT, SHA, SHIPPED

KNOWN = ("User:alice", "User:bob", "Group:ops", "Group:admins")


def found_in(tmp_path: Path, text: str, known: Sequence[str] | None = None) -> list[str]:
    """The findings about a file of these lines, as a person reads them."""
    read = files.read(directory(tmp_path, {"a.csv": text}))
    return [str(one) for one in checks.strict(read, SHIPPED.model, known)]


NEVER = "a.csv:2: the line can never matter: "
CURE = "; delete it, or narrow what stands there [never-matters]"


@pytest.mark.parametrize(
    ("first", "second", "cause"),
    [
        (
            "p, User:alice, view, servers, a, allow",
            "p, User:alice, view, servers, a/x, allow",
            "a.csv:1 already gives all of it",
        ),
        ("p, User:alice, view, *, *, allow", "p, User:alice, view, secrets, b, allow", "a.csv:1 already gives all of it"),
        (
            "p, User:alice, edit, servers, *, allow",
            "p, User:alice, delete, servers, *, allow",
            "a.csv:1 already gives all of it",
        ),
        (
            "p, User:alice, run, servers, a/x*, allow",
            "p, User:alice, run, servers, a/xy*, allow",
            "a.csv:1 already gives all of it",
        ),
        ("p, User:alice, run, servers, a, deny", "p, User:alice, run, servers, a/x*, deny", "a.csv:1 already denies all of it"),
        (
            "p, User:alice, run, servers, a, deny",
            "p, User:alice, view, servers, a, allow",
            "a.csv:1 denies all of it, and a deny wins",
        ),
        (
            "p, User:alice, admin, servers, *, deny",
            "p, User:alice, edit, servers, a/x, allow",
            "a.csv:1 denies all of it, and a deny wins",
        ),
    ],
)
def test_a_line_that_can_never_matter_names_the_line_it_is_for(tmp_path: Path, first: str, second: str, cause: str) -> None:
    assert [NEVER + cause + CURE] == found_in(tmp_path, f"{first}\n{second}\n")


def test_what_some_lines_do_not_give_others_deny(tmp_path: Path) -> None:
    text = (
        "p, User:alice, edit, servers, a/x, allow\n"
        "g2, keeper, create\ng2, keeper, edit\ng2, keeper, delete\n"
        "p, User:alice, keeper, servers, a, allow\n"
        "p, User:alice, expose, servers, a, deny\n"
    )
    assert [
        "a.csv:1: the line can never matter: what a.csv:5, a.csv:6 do not give already, they deny" + CURE,
    ] == [one for one in found_in(tmp_path, text) if one.endswith(CURE)]


def test_what_a_group_gives_its_members_need_no_line_for(tmp_path: Path) -> None:
    text = "p, Group:ops, run, servers, a, allow\np, User:alice, view, servers, a/x, allow\ng, User:alice, Group:ops\n"
    assert [NEVER + "a.csv:1 already gives all of it" + CURE] == found_in(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "p, User:alice, view, servers, a/x, allow\np, User:bob, view, servers, a, allow",
        "p, User:alice, view, servers, a/x, allow\np, User:alice, view, secrets, a, allow",
        "p, User:alice, run, servers, a/x, allow\np, User:alice, view, servers, a, allow",
        "p, User:alice, view, servers, a/x, deny\np, User:alice, view, servers, a, allow",
        # An enumeration is never everything.
        "p, User:alice, view, servers, *, allow\np, User:alice, view, servers, a, deny",
        # Somebody may hold in the database what the deny takes away.
        "p, Group:ops, run, servers, a, deny",
        # A group that is openly admin is not said to be too much.
        "p, Group:ops, admin, *, *, allow",
        "p, Group:ops, view, *, *, allow",
        "p, User:alice, edit, rbac, mine, allow",
    ],
)
def test_a_line_that_matters_is_not_found(tmp_path: Path, text: str) -> None:
    assert [] == found_in(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "p, User:alice, admin, *, *, allow",
            "it makes User:alice alone admin of everything; make a group admin, so that people come and go without an "
            "edit here [over-broad]",
        ),
        (
            f"p, McpToken:{SHA}, admin, *, *, allow",
            f"it makes McpToken:{SHA} alone admin of everything; make a group admin, so that people come and go without an "
            "edit here [over-broad]",
        ),
        (
            "p, Group:ops, admin, servers, *, allow",
            "the role admin on servers is every action on it, those not yet invented too; give the roles that are meant "
            "[over-broad]",
        ),
        (
            "p, Group:ops, run, *, *, allow",
            "the role run on every resource reaches those not yet invented too; name the resources that are meant [over-broad]",
        ),
        (
            "p, Group:ops, edit, *, *, allow",
            "the role edit on every resource reaches rbac, users, groups, and so everybody's rights; name the resources that "
            "are meant, or give it to admins only [amounts-to-admin]",
        ),
        (
            "p, Group:ops, edit, rbac, *, allow",
            "create, delete, edit on every one of rbac amounts to admin: whoever writes every definition takes from everybody, "
            "admins too; name those that are meant, or give it to admins only [amounts-to-admin]",
        ),
        (
            "p, User:alice, delete, users, *, allow",
            "delete on every one of users amounts to admin: whoever changes every user can shut out everybody, admins too; "
            "name those that are meant, or give it to admins only [amounts-to-admin]",
        ),
        (
            "p, User:alice, delete, groups, *, allow",
            "delete on every one of groups amounts to admin: whoever changes every group can put everybody out of it, admins "
            "too; name those that are meant, or give it to admins only [amounts-to-admin]",
        ),
        (
            "p, Group:ops, restore, operations, *, allow",
            "restore on every one of operations amounts to admin: a restored backup takes the place of everybody's rights; "
            "name those that are meant, or give it to admins only [amounts-to-admin]",
        ),
        (
            "g2, auditor, run",
            "'run' is the action here: roles do not chain, so 'auditor' lacks what the role 'run' contains; list view too, if "
            "that is meant [role-chain]",
        ),
        (
            "g2, auditor, view",
            "no line of these files gives the role 'auditor'; give it to somebody or delete it, if no definition or token in "
            "the database uses it [unused-role]",
        ),
    ],
)
def test_a_line_that_is_probably_not_meant_is_found_with_cause_and_cure(tmp_path: Path, line: str, expected: str) -> None:
    assert f"a.csv:2: {expected}" in found_in(tmp_path, f"# one line\n{line}\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("p, User:alicia, view, servers, a, allow", "there is no User:alicia; did you mean 'User:alice'? [unknown-subject]"),
        ("p, User:hank, view, servers, a, allow", "there is no User:hank; create it, or delete the line [unknown-subject]"),
        ("p, User:jo, view, servers, a, allow", "there is no User:jo; create it, or delete the line [unknown-subject]"),
        ("p, Group:alice, view, servers, a, allow", "there is no Group:alice; create it, or delete the line [unknown-subject]"),
        ("g, User:bob, Group:opps", "there is no Group:opps; did you mean 'Group:ops'? [unknown-subject]"),
        (
            f"p, McpToken:{SHA}, view, servers, a, allow",
            f"there is no McpToken:{SHA}; create it, or delete the line [unknown-subject]",
        ),
    ],
)
def test_a_subject_that_does_not_exist_is_found_where_it_is_said_who_does(tmp_path: Path, line: str, expected: str) -> None:
    assert [f"a.csv:1: {expected}"] == found_in(tmp_path, line, KNOWN)
    assert [] == found_in(tmp_path, line)


def test_under_a_model_that_decides_otherwise_no_line_is_called_useless(tmp_path: Path) -> None:
    text = "p, User:alice, view, servers, a, allow\np, User:alice, view, servers, a/x, allow"
    directory(tmp_path, {"model.conf": MODEL_TEXT.replace("covers(p.name, r.name)", "p.name == r.name"), "a.csv": text})
    assert [
        "model.conf: its matcher or its effect is not the one that ships with the program, so lines that never matter are not "
        "found; take the one that ships, or read the lines yourself [other-model]"
    ] == [str(one) for one in checks.strict(files.read(tmp_path), SHIPPED.model)]


def test_the_shipped_policy_has_no_finding() -> None:
    assert [] == checks.strict(SHIPPED, SHIPPED.model)


def test_a_comment_right_above_a_line_accepts_the_kinds_it_names(tmp_path: Path) -> None:
    text = "# accepted: role-chain, over-broad\np, User:alice, admin, *, *, allow\n"
    text += "# accepted: role-chain\np, User:bob, admin, *, *, allow\n"
    directory(tmp_path, {"a.csv": text})
    left, meant = checks.accepted(tmp_path, checks.strict(files.read(tmp_path), SHIPPED.model))
    assert ([4], [2]) == ([one.finding.line for one in left], [one.finding.line for one in meant])


def test_every_kind_of_finding_is_explained() -> None:
    source = Path(checks.__file__).read_text()
    assert [] == [kind for kind in checks.KINDS if source.count(f'"{kind}"') < 2]


def without_the_useless(found: list[Line], belongs: list[tuple[str, str]]) -> list[Line]:
    useless = {one.rule.origin for one in redundant(policy(found, belongs))}
    return [line for number, line in enumerate(found, start=1) if f"a.csv:{number}" not in useless]


@given(found=lines(), belongs=members())
def test_all_lines_that_never_matter_may_be_deleted_together_without_any_decision_changing(
    found: list[Line], belongs: list[tuple[str, str]]
) -> None:
    left = without_the_useless(found, belongs)
    for subject in SUBJECTS:
        assert counted(found, belongs, oracle.ROLES, subject) == counted(left, belongs, oracle.ROLES, subject)


@given(found=SMALL)
def test_the_ceiling_answers_the_same_without_the_lines_that_never_matter(found: list[tuple[str, str]]) -> None:
    read = on_servers(found)
    useless = {one.rule.origin for one in redundant(read)}
    left = on_servers([line for number, line in enumerate(found, start=1) if f"a.csv:{number}" not in useless])
    one, other = slice_of(read, "User:ann"), slice_of(left, "User:ann")
    names = [*EVERY_NAME, "*", *(f"{name}*" for name in EVERY_NAME)]
    questions = product(["run", "view", "admin"], ["servers", "*"], names)
    assert [] == [asked for asked in questions if one.ask(*asked).allowed is not other.ask(*asked).allowed]


@given(found=lines(), belongs=members())
def test_of_what_is_left_no_single_line_is_said_by_one_other(found: list[Line], belongs: list[tuple[str, str]]) -> None:
    """Complete as far as one other line goes: counted, nothing that stays is within another of its subject and effect."""
    left = without_the_useless(found, [])
    bits = [(line[0], line[4], oracle.line(*line[1:4])) for line in left]
    for number, (subject, effect, atoms) in enumerate(bits):
        rest = [b for n, (s, e, b) in enumerate(bits) if n != number and s == subject and e in (effect, "deny")]
        assert not any(atoms & ~other == 0 for other in rest), left[number]

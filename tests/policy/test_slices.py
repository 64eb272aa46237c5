"""A slice never changes, keeps nothing it is asked, and says no where it cannot say yes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import casbin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.errors import PolicyUnavailable
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.slices import NARROWED_PER_SLICE, Roles, Rule, Slice
from tests.policy.worlds import MODEL_TEXT, SHIPPED, piece, roles

STOCK = PolicyModel(MODEL_TEXT.replace("m = g(", "m = 1 == 1 && g("))
"""The shipped model, said in a way that only stock Casbin can evaluate."""
MODELS = pytest.mark.parametrize("model", [SHIPPED.model, STOCK], ids=["compiled", "stock"])

CHANGING = [
    ("add_policy", ("User:alice", "admin", "*", "*", "allow", "x")),
    ("add_policies", ([["User:alice", "admin", "*", "*", "allow", "x"]],)),
    ("add_named_policy", ("p", "User:alice", "admin", "*", "*", "allow", "x")),
    ("add_grouping_policy", ("User:alice", "Group:admins")),
    ("add_role_for_user", ("User:alice", "Group:admins")),
    ("add_permission_for_user", ("User:alice", "admin", "*", "*", "allow", "x")),
    ("add_function", ("covers", lambda *_: True)),
    ("add_named_matching_func", ("g", lambda *_: True)),
    ("remove_policy", ("User:alice", "run", "servers", "github/delete", "deny", "rbac:2")),
    ("remove_filtered_policy", (0, "")),
    ("update_policy", (["a"], ["b"])),
    ("delete_user", ("",)),
    ("delete_role", ("Group:ops",)),
    ("delete_permission", ("run",)),
    ("clear_policy", ()),
    ("load_policy", ()),
    ("load_filtered_policy", (None,)),
    ("load_increment_filtered_policy", (None,)),
    ("load_model", ()),
    ("save_policy", ()),
    ("build_role_links", ()),
    ("set_model", (casbin.Enforcer.new_model(text=MODEL_TEXT),)),
    ("set_effector", (None,)),
    ("set_role_manager", (None,)),
    ("set_named_role_manager", ("g", None)),
    ("set_adapter", (None,)),
    ("set_watcher", (None,)),
    ("enable_enforce", (False,)),
    ("enable_auto_save", (False,)),
    ("enable_auto_build_role_links", (False,)),
]


def alices(model: PolicyModel = SHIPPED.model) -> Slice:
    return piece(
        "User:alice",
        "role:run,resource:servers,name:github",
        "role:run,resource:servers,name:github/delete,effect:deny",
        groups={"Group:ops": ["role:edit,resource:projects,name:demo"]},
        model=model,
    )


def answers(of: Slice) -> list[bool]:
    return [
        of.ask(action, resource, name).allowed
        for action in ("view", "run", "edit", "admin")
        for resource in ("servers", "projects", "*")
        for name in ("github", "github/x", "github/delete", "demo", "other", "*")
    ]


@MODELS
@pytest.mark.parametrize(("method", "arguments"), CHANGING, ids=[name for name, _ in CHANGING])
def test_every_method_of_casbin_that_changes_something_is_refused(
    model: PolicyModel, method: str, arguments: tuple[Any, ...]
) -> None:
    one = alices(model)
    expected = answers(one)
    with pytest.raises(TypeError, match="a slice is immutable; build a new one"):
        getattr(one, method)(*arguments)
    assert expected == answers(one)


@pytest.mark.parametrize("name", ["add_link", "delete_link", "clear", "add_matching_func", "add_domain_matching_func"])
@pytest.mark.parametrize("which", ["g", "g2"])
def test_the_role_managers_are_as_final_as_the_slice(which: str, name: str) -> None:
    one = alices()
    with pytest.raises(TypeError, match="immutable"):
        getattr(one.get_named_role_manager(which), name)("User:alice", "Group:admins")


def test_no_method_of_casbin_with_a_changing_name_was_forgotten() -> None:
    words = ("add", "remove", "update", "delete", "set", "load", "save", "clear", "enable", "build")
    left = [
        name
        for name in dir(casbin.Enforcer)
        if name.split("_")[0] in words and getattr(Slice, name) is getattr(casbin.Enforcer, name)
    ]
    assert [] == left


@MODELS
def test_the_lists_casbin_hands_out_cannot_be_changed(model: PolicyModel) -> None:
    one = alices(model)
    for policy in (one.get_policy(), one.get_grouping_policy(), one.get_named_grouping_policy("g2")):
        assert policy
        assert not hasattr(policy, "append")
        assert not hasattr(policy[0], "append")


@MODELS
def test_asking_a_hundred_unknown_names_leaves_casbins_role_managers_unchanged(model: PolicyModel) -> None:
    one = alices(model)
    managers = [one.get_named_role_manager(name) for name in ("g", "g2")]
    before = [sorted(manager.all_roles) for manager in managers]
    for n in range(100):
        one.ask(f"action-{n}", f"resource-{n}", f"name-{n}")
        one.enforce(f"User:nobody-{n}", f"action-{n}", "servers", "github")
    assert before == [sorted(manager.all_roles) for manager in managers]


@MODELS
def test_two_slices_that_share_roles_do_not_influence_one_another(model: PolicyModel) -> None:
    shared = roles(run="run view", editor="edit")
    alice = piece("User:alice", "role:run,resource:servers", known=shared, model=model)
    expected = answers(alice)
    bob = piece(
        "User:bob", "role:editor,resource:projects", groups={"Group:ops": ["role:admin,resource:*"]}, known=shared, model=model
    )
    assert expected == answers(alice)
    assert all(answers(bob))
    assert expected == answers(alice)


@MODELS
@pytest.mark.parametrize("blank", range(4))
def test_row_30_an_empty_word_is_refused_whatever_the_lines_say(model: PolicyModel, blank: int) -> None:
    """authz d, row 30, and c1.8: with every word empty stock Casbin would say yes."""
    line = Rule("", "", "", "", "allow", "x")
    admin = Rule("User:alice", "admin", "*", "*", "allow", "x")
    one = Slice(model, SHIPPED.roles, "User:alice", [], [line, admin])
    request = ["User:alice", "view", "servers", "github"]
    assert one.enforce(*request)
    request[blank] = ""
    assert not one.enforce(*request)
    assert not one.enforce("", "", "", "")


@MODELS
def test_an_empty_slice_denies(model: PolicyModel) -> None:
    assert not any(answers(Slice(model, SHIPPED.roles, "User:alice", ["Group:ops"], [])))
    assert not Slice(model, SHIPPED.roles, "", [], []).enforce("", "", "", "")


def test_an_empty_slice_denies_even_under_a_matcher_that_is_true_of_anything() -> None:
    """Without any line stock Casbin evaluates its matcher against empty strings, and takes a yes for an allow."""
    always = PolicyModel(MODEL_TEXT[: MODEL_TEXT.index("m = g(")] + "m = 1 == 1\n")
    assert not any(answers(Slice(always, SHIPPED.roles, "User:alice", [], [])))


@MODELS
def test_the_deciding_line_is_the_first_matching_deny_else_the_first_matching_allow(model: PolicyModel) -> None:
    one = alices(model)
    for name, number in [("github", 1), ("github/x", 1), ("github/delete", 2)]:
        ruling = one.ask("run", "servers", name)
        assert ruling.rule is not None
        assert (number == 1, f"rbac:{number}") == (ruling.allowed, ruling.rule.origin)
        assert (number == 1, list(ruling.rule)) == one.enforce_ex("User:alice", "run", "servers", name)
    assert (False, None) == one.ask("delete", "servers", "github")
    assert (False, []) == one.enforce_ex("User:alice", "delete", "servers", "github")


@given(st.text(), st.text(), st.text())
def test_row_26_columns_are_loaded_never_text(subject: str, name: str, origin: str) -> None:
    """authz d, row 26: whatever stands in a column stays in it. The rows come from columns; nothing is split or stripped."""
    rule = Rule(subject, "view", "servers", name, "allow", origin)
    one = Slice(SHIPPED.model, SHIPPED.roles, "User:mallory", [subject], [rule])
    assert (rule,) == one.rules
    assert [list(rule)] == [list(line) for line in one.get_policy()]
    for other in ("User:admin", "Group:admins", "User:mallory"):
        if other != subject:
            assert not one.enforce(other, "delete", "secrets", "github")


@pytest.mark.parametrize(
    "hostile",
    [
        "User:mallory, Group:admins",
        "User:mallory, delete, secrets, *[",
        "User:admin ",
        "x)",
        'a"b',
        "a\nb",
        "a#b",
        "a,b",
        "[",
        "(",
    ],
)
def test_rows_26_and_27_a_hostile_line_gives_nobody_else_anything_and_stops_nothing(hostile: str) -> None:
    """authz d, rows 26 and 27: the escalations shown for the text adapter."""
    lines = [Rule(hostile, "admin", "*", "*", "allow", "x"), Rule("User:alice", "view", "servers", hostile, "allow", "y")]
    one = Slice(SHIPPED.model, SHIPPED.roles, "User:alice", [], lines)
    assert [hostile] == [name for name in ("github", "*", hostile, "x") if one.ask("view", "servers", name)[0]]
    assert not one.ask("delete", "secrets", "prod").allowed


@pytest.mark.parametrize("name", ["*x", ".*", "a*b", "a|b", "(a+)+$", "[a-z]", "?"])
def test_row_28_the_only_pattern_is_a_trailing_star(name: str) -> None:
    """authz d, row 28: names are literals."""
    line = Rule("User:alice", "view", "servers", name, "allow", "x")
    one = Slice(SHIPPED.model, SHIPPED.roles, "User:alice", [], [line])
    asked = ["a", "b", "ab", "axb", "x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"]
    assert [] == [other for other in asked if one.ask("view", "servers", other).allowed]
    assert one.ask("view", "servers", name).allowed


def test_row_10_a_group_and_a_user_of_one_name_are_two() -> None:
    """authz d, row 10."""
    one = piece("User:admins", "role:view,resource:servers", groups={})
    assert not one.enforce("Group:admins", "view", "servers", "github")


def test_a_principal_called_like_a_role_has_not_the_role() -> None:
    """To Casbin a name equals itself; subjects carry their kind, so none is called like a role."""
    one = piece("User:admin", "role:view,resource:servers")
    assert [False, True] == [one.ask(action, "servers", "github").allowed for action in ("edit", "view")]


def test_g2_is_one_step() -> None:
    """A role that contains the action ``edit`` does not get what the role ``edit`` contains."""
    known = roles(editor="edit", edit="view create edit delete expose")
    one = piece("User:alice", "role:editor,resource:servers", known=known)
    assert ["edit"] == [
        action for action in ("view", "create", "edit", "delete", "expose", "run") if one.ask(action, "servers", "a")[0]
    ]
    assert ("edit",) == known.actions("editor")


def test_row_5_actions_of_a_role_are_exactly_what_its_lines_are_allowed() -> None:
    """authz d, row 5: one table for the decision and the ceiling, roles called like actions included."""
    known = roles(view="delete", editor="edit", delete="delete")
    for role in ("view", "editor", "delete", "run", "nobody-defined-it"):
        one = Slice(SHIPPED.model, known, "User:alice", [], [Rule("User:alice", role, "servers", "*", "allow", "x")])
        asked = ("view", "create", "edit", "delete", "run", "expose")
        assert set(known.actions(role)) == {action for action in asked if one.ask(action, "servers", "a").allowed}
        assert set(known.actions(role)) == {action for action in asked if known.contains(role, action)}


@MODELS
def test_row_40_an_exception_in_the_engine_is_never_an_allow(model: PolicyModel, caplog: pytest.LogCaptureFixture) -> None:
    """authz d, row 40: it is refused as unavailable, logged, and not remembered."""
    broken = PolicyModel(model.text.replace("covers(p.name, r.name)", "ipMatch(r.name, p.name)", 1))
    one = piece("User:alice", "role:view,resource:servers", model=broken)
    for _ in range(2):
        with pytest.raises(PolicyUnavailable, match="could not be evaluated"):
            one.ask("view", "servers", "github")
    assert 2 == caplog.text.count("Traceback")
    assert not one.ask("delete", "servers", "github").allowed


def test_evaluating_adds_nothing_to_the_functions_that_other_threads_go_through() -> None:
    one = alices(STOCK)
    before = {*one.fm.get_functions(), "g", "g2"}
    one.ask("run", "servers", "github")
    assert before == set(one.fm.get_functions())


def test_unknown_words_do_not_grow_a_slice() -> None:
    one = alices()
    for n in range(3 * NARROWED_PER_SLICE):
        one.ask(f"action-{n}", "servers", "github")
    assert NARROWED_PER_SLICE >= len(one._narrowed)


@MODELS
def test_a_deny_is_not_logged_with_its_arguments(model: PolicyModel, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        alices(model).ask("delete", "servers", "very-private")
    assert "very-private" not in caplog.text


@MODELS
def test_threads_that_ask_at_once_get_only_right_answers(model: PolicyModel) -> None:
    names = ["github", "github/delete", "github/x", "time", "*"]
    questions = [
        (action, resource, name) for action in ("run", "view", "edit") for resource in ("servers", "projects") for name in names
    ]
    expected = {question: alices(model).ask(*question) for question in questions}
    one = alices(model)
    wrong: list[object] = []

    def ask(seed: int) -> None:
        random = Random(seed)
        try:
            for _ in range(400):
                question = random.choice(questions)
                if (said := one.ask(*question)) != expected[question]:
                    wrong.append((question, said))
        except BaseException as error:
            wrong.append(error)

    run_together([lambda seed=seed: ask(seed) for seed in range(2)])  # type: ignore[misc]
    assert [] == wrong


def run_together(what: list[Callable[[], None]]) -> None:
    """Run each in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=one) for one in what]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_an_operation_called_like_a_role_is_counted_with_all_it_gives() -> None:
    """The file reader refuses such a role; where it comes from elsewhere, the ceiling still asks for all of it."""
    assert ("logs", "view") == Roles([("logs", "view")]).actions("logs")


def test_the_roles_a_policy_knows_are_those_it_defines_and_admin() -> None:
    assert {"auditor", "admin"} == set(Roles([("auditor", "view"), ("auditor", "run")]).names)

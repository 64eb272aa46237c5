"""The creator ceiling at work on several lines, with denies, tokens, and roles of one's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.errors import CeilingExceeded
from mcpctl.policy import ceiling
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import Authority, decide
from mcpctl.policy.slices import Roles
from mcpctl.policy.vocabulary import ACTIONS, RESOURCES
from tests.policy import oracle
from tests.policy.worlds import SHIPPED, bound, person, roles, token

KNOWN = Roles((role, action) for role, listed in oracle.ROLES.items() for action in listed.split())


def missing(owner: Authority, *texts: str, known: Roles = SHIPPED.roles) -> list[str]:
    return [str(one) for one in ceiling.missing(owner, [bound(text, known) for text in texts], known)]


CASES = [
    # held; given; what is missing
    ([], ["role:view,resource:servers"], ["view servers *"]),
    (["role:view,resource:servers"], ["role:view,resource:servers,name:a/b*"], []),
    (["role:view,resource:servers,name:a"], ["role:view,resource:servers,name:a"], []),
    (["role:view,resource:servers,name:a"], ["role:view,resource:servers,name:a/x"], []),
    (["role:view,resource:servers,name:a/*"], ["role:view,resource:servers,name:a"], ["view servers a"]),
    (["role:view,resource:servers,name:a/x*"], ["role:view,resource:servers,name:a/x"], []),
    (["role:view,resource:servers,name:a/x"], ["role:view,resource:servers,name:a/x*"], ["view servers a/x*"]),
    (["role:edit,resource:servers"], ["role:run,resource:servers"], ["run servers *"]),
    (
        ["role:edit,resource:servers"],
        ["role:edit,resource:servers", "role:run,resource:secrets,name:a"],
        ["run secrets a", "view secrets a"],
    ),
    (["role:admin,resource:servers"], ["role:admin,resource:servers,name:a"], []),
    (["role:admin,resource:servers"], ["role:admin,resource:*"], ["admin * *"]),
    (["role:admin,resource:*"], ["role:admin,resource:*", "action:impersonate", "role:admin,resource:operations"], []),
    (["action:logs"], ["action:logs,name:demo"], []),
    (["action:logs,name:demo"], ["action:logs"], ["logs operations *"]),
    (["action:logs,name:demo"], ["action:audit,name:demo"], ["audit operations demo"]),
    (["role:view,resource:mcptokens,name:demo"], ["role:view,resource:mcptokens,name:demo/ci"], []),
    (["role:view,resource:mcptokens,name:demo/ci"], ["role:view,resource:mcptokens,name:demo"], ["view mcptokens demo"]),
    # denies
    (
        ["role:view,resource:secrets", "role:view,resource:secrets,name:prod,effect:deny"],
        ["role:view,resource:secrets"],
        ["view secrets *"],
    ),
    (
        ["role:view,resource:secrets", "role:view,resource:secrets,name:prod,effect:deny"],
        ["role:view,resource:secrets,name:test"],
        [],
    ),
    (
        ["role:run,resource:servers", "role:run,resource:servers,name:a/x,effect:deny"],
        ["role:run,resource:servers,name:a"],
        ["run servers a", "view servers a"],
    ),
    (
        ["role:run,resource:servers", "role:run,resource:servers,name:a/x,effect:deny"],
        ["role:run,resource:servers,name:a/y"],
        [],
    ),
    (["role:admin,resource:*", "role:view,resource:secrets,name:prod,effect:deny"], ["role:admin,resource:*"], ["admin * *"]),
    (["role:admin,resource:*", "role:view,resource:secrets,name:prod,effect:deny"], ["role:admin,resource:servers"], []),
    (["role:admin,resource:*", "role:view,resource:*,effect:deny"], ["role:run,resource:servers"], ["view servers *"]),
    # a deny is given by whom has what it denies
    (["role:view,resource:servers"], ["role:run,resource:servers,name:a,effect:deny"], ["run servers a"]),
    (["role:run,resource:servers"], ["role:run,resource:servers,name:a,effect:deny"], []),
]


@pytest.mark.parametrize(("held", "given_", "lacking"), CASES)
def test_nobody_gives_what_they_do_not_hold(held: list[str], given_: list[str], lacking: list[str]) -> None:
    """authz d, rows 3, 4 and 8."""
    assert lacking == missing(person(*held), *given_)


def test_row_3_holding_every_known_resource_is_not_holding_every_resource() -> None:
    """authz d, row 3."""
    every = [f"role:view,resource:{one}" for one in RESOURCES if one != "operations"]
    assert ["view * *"] == missing(person(*every), "role:view,resource:*")


def test_row_4_names_never_add_up_to_all_names() -> None:
    """authz d, row 4."""
    two = person("role:view,resource:servers,name:a", "role:view,resource:servers,name:b")
    assert ["view servers *"] == missing(two, "role:view,resource:servers")


@pytest.mark.parametrize("role", [*oracle.ROLES])
def test_row_5_a_role_is_not_given_without_any_one_of_its_actions(role: str) -> None:
    """authz d, row 5: the owner holds actions(R) - A; granting R fails, naming A and nothing else."""
    exact = Roles([*KNOWN.links, *((f"only-{action}", action) for action in ACTIONS)])
    actions = exact.actions(role)
    for left_out in actions:
        held = [Binding(f"only-{action}", "servers") for action in actions if action != left_out]
        assert [f"{left_out} servers *"] == missing(person(*held, known=exact), f"role:{role},resource:servers", known=exact)
    assert [] == missing(
        person(*(Binding(f"only-{a}", "servers") for a in actions), known=exact), f"role:{role},resource:servers", known=exact
    )


def test_row_6_a_role_is_worth_what_it_contains_now() -> None:
    """authz d, row 6: once ``edit`` contains more, giving it needs more."""
    before, after = roles(edit="view edit", view="view"), roles(edit="view edit delete", view="view")
    held = [Binding("edit", "servers"), Binding("delete", "servers", effect="deny")]
    given_ = [Binding("edit", "servers")]
    assert () == ceiling.missing(person(*held, known=before), given_, before)
    assert ["delete servers *"] == [str(one) for one in ceiling.missing(person(*held, known=after), given_, after)]


def test_row_7_a_role_nobody_defines_may_come_to_mean_anything_and_needs_admin() -> None:
    """authz d, row 7: what can grow needs the authority of what it may become."""
    ghost = [Binding("ghost", "servers", "a")]
    denied = person("role:admin,resource:*", "role:edit,resource:servers,name:a/x,effect:deny")
    assert ["admin servers a"] == [str(one) for one in ceiling.missing(person(*ghost), ghost, SHIPPED.roles)]
    assert ["admin servers a"] == [str(one) for one in ceiling.missing(denied, ghost, SHIPPED.roles)]
    assert () == ceiling.missing(person("role:admin,resource:*"), ghost, SHIPPED.roles)


def test_row_7_all_names_includes_what_does_not_exist_yet() -> None:
    """authz d, row 7: who gives ``*`` holds ``*``; who holds it gives each name, also one made later."""
    assert [] == missing(person("role:view,resource:servers"), "role:view,resource:servers,name:made-later")
    assert ["view servers *"] == missing(person("role:view,resource:servers,name:made-later"), "role:view,resource:servers")


def test_row_8_a_deny_kept_from_the_owner_is_not_passed_by_through_a_token() -> None:
    """authz d, row 8: denied ``secrets prod`` but allowed ``secrets *``."""
    owner = person("role:view,resource:secrets", "role:view,resource:secrets,name:prod,effect:deny")
    with pytest.raises(CeilingExceeded) as refusal:
        ceiling.require(owner, [bound("role:view,resource:secrets,name:prod")], SHIPPED.roles, "this token")
    assert ("view secrets prod",) == refusal.value.missing
    assert "this token would give what User:alice does not hold: view secrets prod" == refusal.value.detail


def test_row_37_a_refusal_names_what_was_asked_and_nothing_else() -> None:
    """authz d, row 37: not the deny that stands in the way, nor a name the asker did not say; each line once."""
    owner = person("role:view,resource:servers", "role:view,resource:servers,name:hidden-one,effect:deny")
    with pytest.raises(CeilingExceeded) as refusal:
        ceiling.require(owner, [bound("role:view,resource:servers"), bound("role:run,resource:servers")], SHIPPED.roles, "it")
    assert ("view servers *", "run servers *") == refusal.value.missing
    assert "hidden-one" not in str(refusal.value.as_json())


def test_what_is_missing_carries_the_decision_on_what_was_asked() -> None:
    (one,) = ceiling.missing(person(), [bound("role:view,resource:servers,name:a")], SHIPPED.roles)
    assert ("a", "nothing allows User:alice to view servers a") == (one.decision.name, one.decision.reason)


def test_nothing_is_missing_for_giving_nothing() -> None:
    ceiling.require(person(), [], SHIPPED.roles, "it")


def test_row_13_the_ceiling_of_a_token_is_its_own() -> None:
    """authz d, row 13: its rights within its owner's, never the owner's; and what it never may it never gives."""
    one = token("role:run,resource:servers,name:github", "role:view,resource:*")
    assert [] == missing(one, "role:run,resource:servers,name:github/x")
    assert ["run servers time"] == missing(one, "role:run,resource:servers,name:time")[:1]
    assert ["view * *"] == missing(one, "role:view,resource:*")
    assert ["view secrets prod"] == missing(one, "role:view,resource:secrets,name:prod")
    assert ["view servers *"] == missing(one, "role:view,resource:servers")


@pytest.mark.parametrize("role", [*oracle.ROLES, "admin"])
def test_whoever_holds_a_role_may_give_it_and_admin_may_give_all(role: str) -> None:
    for name in ("*", "a", "a/x", "a/x*"):
        binding = [Binding(role, "servers", name)]
        assert () == ceiling.missing(person(*binding, known=KNOWN), binding, KNOWN)
        assert () == ceiling.missing(person(Binding("admin", "*"), known=KNOWN), binding, KNOWN)


@pytest.mark.parametrize(
    ("wider", "narrower"),
    [
        ("edit", "create"),
        ("edit", "delete"),
        ("edit", "expose"),
        ("edit", "view"),
        ("run", "view"),
        ("expose", "view"),
        ("admin", "edit"),
        ("admin", "run"),
    ],
)
def test_the_shipped_roles_contain_one_another(wider: str, narrower: str) -> None:
    """The same function proves it: who holds the wider may give the narrower, and not the other way round."""
    assert [] == missing(person(f"role:{wider},resource:servers"), f"role:{narrower},resource:servers")
    assert [] != missing(person(f"role:{narrower},resource:servers"), f"role:{wider},resource:servers")


BINDINGS = st.builds(
    Binding,
    st.sampled_from(oracle.EVERY_ROLE),
    st.sampled_from([*oracle.RESOURCES, "*"]),
    st.sampled_from(oracle.PATTERNS),
    st.sampled_from(["allow", "allow", "deny"]),
)


@given(st.lists(BINDINGS, max_size=8), st.lists(BINDINGS, min_size=1, max_size=3))
def test_what_passes_is_held_whole_whatever_lines_there_are(held: list[Binding], given_: list[Binding]) -> None:
    """With several allows the ceiling is sound and not complete; decisions are exact."""
    owner = person(*held, known=KNOWN)
    allowed = denied = 0
    for one in held:
        means = oracle.line(one.role, one.resource, one.name)
        allowed, denied = (allowed, denied | means) if one.denies else (allowed | means, denied)
    for bit, (action, resource, name) in enumerate(oracle.ATOMS):
        assert bool(allowed & ~denied & 1 << bit) is bool(decide(owner, action, resource, name))
    lacking = ceiling.missing(owner, given_, KNOWN)
    gives = 0
    for one in given_:
        gives |= oracle.line(one.role, one.resource, one.name)
    if not lacking:
        assert 0 == gives & ~(allowed & ~denied)
    elif len(held) <= 1:
        assert 0 != gives & ~(allowed & ~denied)

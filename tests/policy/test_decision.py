"""The one question. Cases are rows: who, action, resource, name, the answer, by which leg and which line."""

from __future__ import annotations

import gc
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.errors import PolicyUnavailable
from mcpctl.policy.decision import (
    REMEMBERED_PER_PRINCIPAL,
    TOKEN_AT_MOST,
    TOKEN_NEVER_IN_WORDS,
    Authority,
    Decision,
    decide,
)
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, OPERATIONS, RESOURCES
from tests.policy.test_parsers import valid_bindings
from tests.policy.test_slices import run_together
from tests.policy.worlds import MODEL_TEXT, SHA, TOKEN, person, piece, token

OPS = {"Group:ops": ["role:run,resource:servers,name:time", "role:edit,resource:projects,name:demo,effect:deny"]}
ALICE = person(
    "role:edit,resource:servers,name:github",
    "role:view,resource:servers,name:github/delete_*,effect:deny",
    "role:edit,resource:projects",
    "action:logs,name:demo",
    "role:view,resource:instances,name:github",
    groups=OPS,
)
ADMIN_USER = person("role:admin,resource:*", subject="User:root")
BOUNDED_ADMIN = person("role:admin,resource:*", "role:view,resource:secrets,name:prod,effect:deny", subject="User:bounded")
NOBODY = person(subject="User:nobody")
TOKEN_OF_ADMIN = token(
    "role:run,resource:servers,name:github",
    "role:view,resource:servers",
    "role:run,resource:servers,name:github/delete_*,effect:deny",
    "action:logs",
    "action:audit,name:demo",
)
ADMIN_TOKEN = token("role:admin,resource:*", "role:admin,resource:operations")
TOKEN_OF_A_LESSER = token(
    "role:admin,resource:*",
    owner=["role:run,resource:servers,name:github", "role:run,resource:servers,name:github/x,effect:deny"],
)
ORPHAN = token("role:run,resource:servers", owner=[])
WHO = {
    "alice": ALICE,
    "root": ADMIN_USER,
    "bounded": BOUNDED_ADMIN,
    "nobody": NOBODY,
    "token": TOKEN_OF_ADMIN,
    "admin token": ADMIN_TOKEN,
    "lesser's token": TOKEN_OF_A_LESSER,
    "orphan": ORPHAN,
}

CASES = [
    # who, action, resource, name, allowed, leg, origin
    ("alice", "edit", "servers", "github", True, "user", "rbac:1"),
    ("alice", "view", "servers", "github", True, "user", "rbac:1"),
    ("alice", "run", "servers", "github", False, "user", None),
    ("alice", "view", "servers", "github/get_issue", True, "user", "rbac:1"),
    ("alice", "view", "servers", "github/delete_issue", False, "user", "rbac:2"),
    ("alice", "edit", "servers", "github/delete_issue", True, "user", "rbac:1"),
    ("alice", "view", "servers", "github2", False, "user", None),
    ("alice", "view", "servers", "*", False, "user", "rbac:2"),
    ("alice", "view", "servers", "github/*", False, "user", "rbac:2"),
    ("alice", "run", "servers", "time", True, "user", "Group:ops:rbac:1"),
    ("alice", "run", "servers", "time/now", True, "user", "Group:ops:rbac:1"),
    ("alice", "edit", "projects", "demo", False, "user", "Group:ops:rbac:2"),
    ("alice", "edit", "projects", "other", True, "user", "rbac:3"),
    ("alice", "edit", "projects", "*", False, "user", "Group:ops:rbac:2"),
    ("alice", "logs", "operations", "demo", True, "user", "rbac:4"),
    ("alice", "logs", "operations", "*", False, "user", None),
    ("alice", "audit", "operations", "demo", False, "user", None),
    ("alice", "view", "instances", "github/gateway-1", True, "user", "rbac:5"),
    ("alice", "admin", "servers", "github", False, "user", None),
    ("alice", "admin", "servers", "github/*", False, "user", "rbac:2"),
    ("root", "edit", "secrets", "prod", True, "user", "rbac:1"),
    ("root", "impersonate", "operations", "*", True, "user", "rbac:1"),
    ("root", "admin", "*", "*", True, "user", "rbac:1"),
    ("root", "levitate", "gizmos", "any", True, "user", "rbac:1"),
    ("bounded", "view", "secrets", "prod", False, "user", "rbac:2"),
    ("bounded", "edit", "secrets", "prod", True, "user", "rbac:1"),
    ("bounded", "admin", "*", "*", False, "user", "rbac:2"),
    ("bounded", "admin", "secrets", "prod", False, "user", "rbac:2"),
    ("bounded", "admin", "secrets", "test", True, "user", "rbac:1"),
    ("nobody", "view", "servers", "github", False, "user", None),
    ("token", "run", "servers", "github", True, "token", "rbac:1"),
    ("token", "run", "servers", "github/get", True, "token", "rbac:1"),
    ("token", "run", "servers", "github/delete_x", False, "token", "rbac:3"),
    ("token", "run", "servers", "time", False, "token", None),
    ("token", "view", "servers", "time", True, "token", "rbac:2"),
    ("token", "view", "servers", "not-attached", False, "project", None),
    ("token", "view", "servers", "*", False, "project", None),
    ("token", "view", "servers", "github2", False, "project", None),
    ("token", "logs", "operations", "demo", True, "token", "rbac:4"),
    ("token", "logs", "operations", "other", False, "project", None),
    ("token", "logs", "operations", "*", False, "project", None),
    ("token", "audit", "operations", "demo", True, "token", "rbac:5"),
    ("admin token", "view", "projects", "demo", True, "token", "rbac:1"),
    ("admin token", "edit", "projects", "demo", True, "token", "rbac:1"),
    ("admin token", "view", "projects", "other", False, "project", None),
    ("admin token", "view", "projects", "*", False, "project", None),
    ("admin token", "view", "mcptokens", "demo/ci", True, "token", "rbac:1"),
    ("admin token", "view", "mcptokens", "other/ci", False, "project", None),
    ("admin token", "create", "mcptokens", "demo/ci", False, "never", None),
    ("admin token", "delete", "mcptokens", "demo/ci", False, "never", None),
    ("admin token", "view", "secrets", "prod", False, "never", None),
    ("admin token", "run", "secrets", "prod", False, "never", None),
    ("admin token", "create", "sessions", "bob", False, "never", None),
    ("admin token", "edit", "users", "bob", False, "never", None),
    ("admin token", "view", "users", "bob", True, "token", "rbac:1"),
    ("admin token", "edit", "groups", "ops", False, "never", None),
    ("admin token", "edit", "rbac", "x", False, "never", None),
    ("admin token", "impersonate", "operations", "*", False, "never", None),
    ("admin token", "gateway", "operations", "demo", False, "never", None),
    ("admin token", "backup", "operations", "*", False, "never", None),
    ("admin token", "restore", "operations", "*", False, "never", None),
    ("admin token", "admin", "*", "*", False, "never", None),
    ("admin token", "view", "*", "*", False, "never", None),
    ("admin token", "levitate", "*", "*", False, "never", None),
    ("admin token", "levitate", "secrets", "prod", False, "never", None),
    ("admin token", "levitate", "servers", "github", True, "token", "rbac:1"),
    ("admin token", "admin", "servers", "github", True, "token", "rbac:1"),
    ("admin token", "view", "instances", "time/gw", True, "token", "rbac:1"),
    ("admin token", "view", "instances", "other/gw", False, "project", None),
    ("admin token", "edit", "proxymodels", "short", True, "token", "rbac:1"),
    ("lesser's token", "run", "servers", "github", True, "token", "rbac:1"),
    ("lesser's token", "run", "servers", "github/x", False, "owner", "rbac:2"),
    ("lesser's token", "edit", "servers", "github", False, "owner", None),
    ("orphan", "run", "servers", "github", False, "owner", None),
]


@pytest.mark.parametrize(("who", "action", "resource", "name", "allowed", "leg", "origin"), CASES)
def test_decisions_with_the_leg_and_the_line_that_decide(
    who: str, action: str, resource: str, name: str, allowed: bool, leg: str, origin: str | None
) -> None:
    decision = decide(WHO[who], action, resource, name)
    assert decision.leg is not None
    assert (allowed, leg, origin) == (bool(decision), decision.leg.kind, decision.origin)
    assert allowed is decision.allowed is all(one.allowed for one in decision.legs)
    assert (action, resource, name, 7) == (decision.action, decision.resource, decision.name, decision.revision)


@pytest.mark.parametrize(
    ("who", "action", "resource", "name", "reason"),
    [
        ("alice", "edit", "servers", "github", "allowed by role:edit,resource:servers,name:github (rbac:1)"),
        ("alice", "run", "servers", "time", "allowed by role:run,resource:servers,name:time for Group:ops (Group:ops:rbac:1)"),
        (
            "alice",
            "view",
            "servers",
            "github/delete_x",
            "denied by role:view,resource:servers,name:github/delete_*,effect:deny (rbac:2)",
        ),
        ("alice", "run", "servers", "github", "nothing allows User:alice to run servers github"),
        ("orphan", "run", "servers", "github", "nothing allows User:alice, the token's owner to run servers github"),
        ("admin token", "view", "secrets", "prod", "a token never may view secrets, whatever its bindings"),
        ("admin token", "view", "servers", "far", "'far' is not attached to the token's project 'demo'"),
        ("admin token", "view", "projects", "other", "the token belongs to the project 'demo' and to no other"),
        ("admin token", "logs", "operations", "other", "the token may ask for 'logs' of its project 'demo' only"),
    ],
)
def test_a_decision_says_why_in_one_sentence(who: str, action: str, resource: str, name: str, reason: str) -> None:
    assert reason == decide(WHO[who], action, resource, name).reason


def test_a_person_has_one_leg_and_a_token_four() -> None:
    assert ["user"] == [leg.kind for leg in decide(ALICE, "view", "servers", "github").legs]
    decision = decide(TOKEN_OF_ADMIN, "run", "servers", "github")
    assert ["never", "project", "token", "owner"] == [leg.kind for leg in decision.legs]
    assert [TOKEN, TOKEN, TOKEN, "User:alice"] == [leg.subject for leg in decision.legs]


@given(valid_bindings(), st.lists(valid_bindings(), max_size=4), st.lists(valid_bindings(), max_size=4))
def test_a_token_may_nothing_that_its_owner_may_not(asked: object, own: list[object], owners: list[object]) -> None:
    """authz d, row 18: the bindings of a token and its owner meet live; neither adds to the other."""
    both = token(*own, owner=owners)  # type: ignore[arg-type]
    words = (asked.role, asked.resource, asked.name)  # type: ignore[attr-defined]
    expected = bool(person(*own).own.ask(*words)[0] and person(*owners).own.ask(*words)[0])  # type: ignore[arg-type]
    assert expected >= bool(decide(both, *words))


def test_no_binding_lets_a_token_handle_credentials_or_grants() -> None:
    """authz d, rows 13 and 14: what a leaked token cannot do it cannot breed."""
    allowed = {
        (action, resource)
        for resource in RESOURCES
        for action in (*ACTIONS, *OPERATIONS, ADMIN)
        for name in ("demo", "github", "demo/ci", "github/gw", "*")
        if decide(ADMIN_TOKEN, action, resource, name)
    }
    harmless = {"servers", "instances", "projects", "proxymodels"}
    read_only = {("view", resource) for resource in ("users", "groups", "sessions", "rbac", "mcptokens")}
    operations = {("logs", "operations"), ("audit", "operations")}
    assert read_only | operations == {(action, resource) for action, resource in allowed if resource not in harmless}
    assert 6 == len(TOKEN_NEVER_IN_WORDS)
    assert all(resource in (*RESOURCES, "*") for resource in TOKEN_AT_MOST)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("question", [("", "servers", "github"), ("view", "", "github"), ("view", "servers", ""), ("", "", "")])
def test_row_30_an_empty_word_is_refused_to_everybody(who: str, question: tuple[str, str, str]) -> None:
    """authz d, row 30."""
    assert not decide(WHO[who], *question)


def test_no_name_means_all_of_them() -> None:
    assert "*" == decide(ADMIN_USER, "view", "servers").name
    assert not decide(ALICE, "edit", "servers")


def test_superseded_authority_says_no_even_to_what_it_remembers() -> None:
    authority = person("role:admin,resource:*")
    assert decide(authority, "view", "servers", "github")
    authority.superseded = True
    refusal = decide(authority, "view", "servers", "github")
    assert not refusal
    assert "User:alice: the policy has changed since" == refusal.reason
    assert refusal.rule is None


def test_expired_authority_says_no_even_to_what_it_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("mcpctl.policy.decision.time", lambda: clock[0])
    authority = person("role:admin,resource:*", expires_at=2000.0)
    said = []
    for now in (1000.0, 1999.9, 2000.0, 1e12):
        clock[0] = now
        said.append(bool(decide(authority, "view", "servers", "github")))
    assert [True, True, False, False] == said
    assert "User:alice: the credential has expired" == decide(authority, "view", "servers", "github").reason


@pytest.mark.parametrize("expires_at", [0.0, -1.0, -inf])
def test_authority_that_ended_before_it_began_says_no(expires_at: float) -> None:
    assert not decide(person("role:admin,resource:*", expires_at=expires_at), "view", "servers", "github")


def test_row_40_an_exception_is_never_an_allow_and_never_remembered() -> None:
    """authz d, row 40."""
    broken = PolicyModel(MODEL_TEXT.replace("covers(p.name, r.name)", "ipMatch(r.name, p.name)", 1))
    authority = person("role:view,resource:servers", model=broken)
    for _ in range(2):
        with pytest.raises(PolicyUnavailable):
            decide(authority, "view", "servers", "github")


def test_row_40_a_broken_owner_is_never_an_allow_for_the_token() -> None:
    """authz d, row 40: also where the other leg has said yes already."""
    broken = PolicyModel(MODEL_TEXT.replace("covers(p.name, r.name)", "ipMatch(r.name, p.name)", 1))
    good = token("role:run,resource:servers")
    authority = Authority(
        TOKEN, 7, good.own, piece("User:alice", "role:run,resource:servers", model=broken), "demo", frozenset({"github"})
    )
    with pytest.raises(PolicyUnavailable):
        decide(authority, "run", "servers", "github")


@pytest.mark.parametrize(
    ("subject", "own", "owner", "project"),
    [
        (TOKEN, TOKEN, None, "demo"),
        (TOKEN, TOKEN, "User:alice", None),
        (TOKEN, TOKEN, "User:alice", ""),
        (TOKEN, TOKEN, "Group:ops", "demo"),
        (TOKEN, "User:alice", "User:alice", "demo"),
        ("User:alice", "User:bob", None, None),
        ("User:alice", "User:alice", "User:bob", "demo"),
        ("User:alice", "User:alice", None, "demo"),
    ],
)
def test_an_authority_that_fits_nobody_cannot_be_made(subject: str, own: str, owner: str | None, project: str | None) -> None:
    """A token without its owner or project would be a person of unbounded rights."""
    with pytest.raises(ValueError, match=r"owner|speak for"):
        Authority(subject, 7, piece(own), piece(owner) if owner else None, project)


def test_the_same_question_under_the_same_revision_has_the_same_id_and_any_other_another() -> None:
    first, again = (decide(person("role:view,resource:servers"), "view", "servers", "github") for _ in range(2))
    assert first.id == again.id
    others = [
        decide(person("role:view,resource:servers"), "view", "servers", "time"),
        decide(person("role:view,resource:servers"), "run", "servers", "github"),
        decide(person("role:view,resource:servers", subject="User:bob"), "view", "servers", "github"),
        Decision(True, "User:alice", "view", "servers", "github", 8),
    ]
    assert 5 == len({first.id, *(other.id for other in others)})


def test_a_decision_without_legs_is_about_somebody_unknown() -> None:
    unknown = Decision(False, "User:ghost", "view", "servers", "github", 7)
    assert (None, None, None) == (unknown.leg, unknown.rule, unknown.origin)
    assert "User:ghost is not known or not enabled" == unknown.reason


def test_a_decision_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        decide(NOBODY, "view", "servers", "github").allowed = True  # type: ignore[misc]


def test_guessing_a_hundred_thousand_names_does_not_grow_memory() -> None:
    authority = token("role:run,resource:servers,name:github")
    guesses = "github/guess-"
    most = 0
    for n in range(100_000):
        decide(authority, "run", "servers", f"{guesses}{n}")
        if n % 20_000 == 19_999:
            most = max(most, sum(isinstance(one, Decision) and one.name.startswith(guesses) for one in gc.get_objects()))
    assert 0 < most <= REMEMBERED_PER_PRINCIPAL


def test_a_remembered_answer_is_the_very_same() -> None:
    authority = person("role:view,resource:servers")
    assert decide(authority, "view", "servers", "github") is decide(authority, "view", "servers", "github")


def test_what_one_principal_remembers_is_nobody_elses_answer() -> None:
    assert decide(person("role:view,resource:servers"), "view", "servers", "github")
    assert not decide(person(), "view", "servers", "github")


def test_two_threads_asking_at_once_get_only_right_answers() -> None:
    authority = token("role:run,resource:servers", "role:run,resource:servers,name:github/no,effect:deny")
    expected = {("run", "servers", f"github/{name}"): name != "no" for name in ["no", *(f"yes-{n}" for n in range(50))]}
    expected |= {("edit", "servers", "github"): False, ("run", "servers", "far"): False}
    questions = list(expected)
    wrong: list[object] = []

    def ask(seed: int) -> None:
        random = Random(seed)
        try:
            for n in range(3000):
                question = random.choice(questions)
                if bool(decide(authority, *question)) is not expected[question]:
                    wrong.append(question)
                if n % 100 == 0:
                    authority._remembered.clear()
        except BaseException as error:
            wrong.append(error)

    run_together([lambda: ask(1), lambda: ask(2)])
    assert [] == wrong


def test_the_sha_of_a_token_is_its_subject_whole() -> None:
    assert f"McpToken:{SHA}" == decide(TOKEN_OF_ADMIN, "run", "servers", "github").subject

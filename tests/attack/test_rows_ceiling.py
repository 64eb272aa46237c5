"""The creator ceiling, attacked: what is given is held, whatever it is called, wrapped in or split into."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from mcpctl.api.app import OPERATIONS
from mcpctl.policy.vocabulary import ACTIONS, RESOURCES
from mcpctl.policy.vocabulary import OPERATIONS as OPERATION_WORDS
from tests.api.people import Person, nothing_changes, refused, setup
from tests.serving import Served, made

SOURCES = Path(__file__).parents[2] / "src" / "mcpctl"
POLICY_FILES = {"operators.csv": "g2, operator, run\ng2, operator, delete\ng2, viewer, view\n"}
ROLES = {
    "view": ["view"],
    "create": ["create"],
    "edit": ["create", "delete", "edit", "expose", "view"],
    "delete": ["delete"],
    "run": ["run", "view"],
    "expose": ["expose", "view"],
    "operator": ["delete", "run"],
    "viewer": ["view"],
}
"""The shipped roles and two of this module's own, each with its actions."""
ALONE = {"view": "viewer", "create": "create", "delete": "delete"}
"""For an action the role that gives it and nothing else, where there is one."""


def rbac(name: str, subjects: list[str], *bindings: str) -> tuple[str, str, Any]:
    return "POST", "/rbac", {"name": name, "subjects": subjects, "roleBindings": list(bindings)}


@pytest.fixture(scope="module")
def friend(shared: Served) -> str:
    """Somebody to give things to."""
    setup(shared, ("POST", "/users", {"name": "friend", "service": True}))
    shared.project("p", "a", "b")
    return "User:friend"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_given_only_by_whoever_holds_each_of_its_actions(
    role: str, shared: Served, actor: Person, friend: str
) -> None:
    """authz d5: also an action that no list shows, such as run; the table that decides is the one that is displayed."""
    everything = [
        "role:admin,resource:servers",
        "role:create,resource:rbac",
        "role:create,resource:mcptokens",
        "role:view,resource:projects",
    ]
    for action in ROLES[role]:
        only = ALONE.get(action)
        denied = f"role:{only},resource:servers,effect:deny" if only else None
        if denied is None:
            continue
        actor.holds(*everything, denied)
        with nothing_changes(shared, refusals=2):
            refused(actor.asks(*rbac("d5", [friend], f"role:{role},resource:servers")), "ceiling", [f"{action} servers *"])
            token = {"name": "d5", "project": "p", "bindings": [f"role:{role},resource:servers"]}
            refused(actor.asks("POST", "/mcptokens", token), "ceiling", [f"{action} servers *"])
    held = [f"role:{one},resource:servers" for one in ROLES if set(ROLES[one]) < set(ROLES[role])]
    gathered = {action for one in ROLES if set(ROLES[one]) < set(ROLES[role]) for action in ROLES[one]}
    actor.holds("role:create,resource:rbac", *held)
    answer = actor.asks(*rbac("d5", [friend], f"role:{role},resource:servers"))
    if lacking := sorted(set(ROLES[role]) - gathered):
        refused(answer, "ceiling", [f"{action} servers *" for action in lacking])
    else:
        made(answer)
        setup(shared, ("DELETE", "/rbac/d5", None))


def test_no_request_can_redefine_a_role_and_a_role_of_the_files_is_worth_what_they_say(
    shared: Served, actor: Person, friend: str
) -> None:
    """authz d6: roles stand in files only; whoever held the old meaning of a role cannot give the new one."""
    assert [] == [one.path for one in OPERATIONS if "role" in one.path.lower() or "polic" in one.path.lower()]
    for body in (
        {"name": "d6", "subjects": [friend], "roleBindings": ["g2, viewer, delete"]},
        {"name": "d6", "subjects": ["Role:viewer"], "roleBindings": ["role:delete,resource:servers"]},
        {"name": "d6", "subjects": ["viewer"], "roleBindings": ["role:delete,resource:servers"]},
        {"name": "d6", "subjects": [friend], "roleBindings": ["role:nobody-defined-it,resource:servers"]},
    ):
        with nothing_changes(shared, refusals=0):
            assert 422 == shared.admin.post("/rbac", body).status_code
    actor.holds("role:create,resource:rbac", "role:run,resource:servers")
    refused(actor.asks(*rbac("d6", [friend], "role:operator,resource:servers")), "ceiling", ["delete servers *"])


def test_what_can_grow_needs_the_right_to_all_it_can_become(shared: Served, actor: Person, friend: str) -> None:
    """authz d7: all names, all resources, all tools of a server and a group that is still empty."""
    known = [f"role:view,resource:{resource}" for resource in RESOURCES if resource != "operations"]
    named = [f"role:run,resource:servers,name:a/{tool}" for tool in ("one", "two")]
    actor.holds(
        "role:create,resource:rbac",
        "role:edit,resource:groups,name:d7",
        *known,
        *named,
        *(f"action:{word}" for word in OPERATION_WORDS),
    )
    asked = {
        "role:view,resource:*": ["view * *"],
        "role:run,resource:servers,name:a": ["run servers a"],
        "role:run,resource:servers,name:a/*": ["run servers a/*"],
        "role:admin,resource:operations": ["admin operations *"],
        "role:admin,resource:*": ["admin * *"],
    }
    with nothing_changes(shared, refusals=len(asked)):
        for binding, missing in asked.items():
            refused(actor.asks(*rbac("d7", [friend], binding)), "ceiling", missing)
    setup(shared, ("POST", "/groups", {"name": "d7"}))
    made(actor.asks("PUT", "/groups/d7/members/friend"), 200)
    setup(shared, rbac("d7g", ["Group:d7"], "role:delete,resource:servers"), ("DELETE", "/groups/d7/members/friend", None))
    with nothing_changes(shared, refusals=1):
        refused(actor.asks("PUT", "/groups/d7/members/friend"), "ceiling", ["delete servers *"])


def test_a_denied_part_is_reached_by_no_detour(shared: Served, actor: Person, friend: str) -> None:
    """authz d8: neither by a token of one's own, nor by another account, a group, a narrower name or lifting the deny."""
    setup(
        shared,
        ("POST", "/secrets", {"name": "prod", "values": {"key": "value"}}),
        ("POST", "/groups", {"name": "d8"}),
        rbac("d8", ["User:actor"], "role:view,resource:secrets,name:prod,effect:deny"),
    )
    actor.holds(
        "role:admin,resource:secrets",
        "role:edit,resource:rbac",
        "role:edit,resource:groups",
        "role:create,resource:mcptokens",
        "role:view,resource:projects",
        "role:view,resource:rbac",
    )
    refused(actor.asks("GET", "/secrets/prod"), "forbidden")
    widest, exact = "role:view,resource:secrets", "role:view,resource:secrets,name:prod"
    doors: list[tuple[tuple[str, str, Any], str]] = [
        (("POST", "/mcptokens", {"name": "d8", "project": "p", "bindings": [widest]}), "view secrets *"),
        (("POST", "/mcptokens", {"name": "d8", "project": "p", "bindings": [exact]}), "view secrets prod"),
        (rbac("d8x", [friend], widest), "view secrets *"),
        (rbac("d8x", ["User:actor"], exact), "view secrets prod"),
        (rbac("d8x", ["Group:d8"], "role:admin,resource:secrets"), "admin secrets *"),
        (("DELETE", "/rbac/d8", None), "view secrets prod"),
        (("PUT", "/rbac/d8", {"subjects": ["User:actor"], "roleBindings": ["role:view,resource:secrets,name:other,effect:deny"]}), "admin secrets *"),
        (("PUT", "/rbac/d8", {"subjects": [friend], "roleBindings": [f"{exact},effect:deny"]}), "view secrets prod"),
        (("PUT", "/rbac/d8", {"subjects": ["User:actor"], "roleBindings": [exact]}), "view secrets prod"),
        (("PUT", "/rbac/d8", {"subjects": ["User:actor"], "roleBindings": ["role:delete,resource:secrets,name:prod,effect:deny"]}), "admin secrets *"),
    ]  # fmt: skip
    with nothing_changes(shared, refusals=len(doors)):
        for call, missing in doors:
            assert missing in refused(actor.asks(*call), "ceiling")["missing"], call
    twin = made(actor.asks("POST", "/mcptokens", {"name": "d8", "project": "p", "rbacMode": "clone"}))
    assert "role:view,resource:secrets,name:prod,effect:deny" in twin["bindings"]
    refused(actor.asks("GET", "/secrets/prod"), "forbidden")
    setup(shared, ("DELETE", "/rbac/d8", None), ("DELETE", "/secrets/prod", None))


def test_an_edit_is_judged_by_its_result_however_it_is_written(shared: Served, actor: Person, friend: str) -> None:
    """authz d19, d20: reordered, repeated, in aliases, widened, exchanged; nobody adds himself or his own token."""
    strong = ["role:admin,resource:*", "role:view,resource:servers,name:a"]
    setup(shared, ("POST", "/users", {"name": "d19", "service": True}), rbac("d19", [friend, "User:d19"], *strong))
    actor.holds("role:edit,resource:rbac", "role:create,resource:mcptokens", "role:view,resource:projects")
    own = made(actor.asks("POST", "/mcptokens", {"name": "d19", "project": "p"}))["tokenSha"]
    others = {"subjects": [friend, "User:d19"]}
    growing: list[dict[str, Any]] = [
        {"subjects": [friend, "User:d19", "User:actor"], "roleBindings": strong},
        {"subjects": [friend, "User:d19", f"McpToken:{own}"], "roleBindings": strong},
        {"subjects": ["User:actor"], "roleBindings": strong},
        {"subjects": ["User:actor", "User:d19"], "roleBindings": strong[:1]},
        {**others, "roleBindings": ["role:admin,resource:servers", *strong]},
        {**others, "roleBindings": ["role:admin,resource:servers"]},
        {**others, "roleBindings": [strong[0], "role:view,resource:servers"]},
        {**others, "roleBindings": ["role:edit,resource:rbac,name:d19", *strong]},
    ]
    with nothing_changes(shared, refusals=len(growing)):
        for body in growing:
            refused(actor.asks("PUT", "/rbac/d19", body), "ceiling")
        assert 405 == actor.asks("PATCH", "/rbac/d19", {"subjects": ["User:actor"]}).status_code
    same: list[dict[str, Any]] = [
        {"subjects": ["User:d19", friend], "roleBindings": strong[::-1]},
        {**others, "roleBindings": [" resource:server , name:a,role:view", "resource:*,role:admin,name:*,effect:allow"]},
        {"subjects": [friend], "roleBindings": strong},
        {"subjects": [friend], "roleBindings": strong[1:]},
    ]
    for body in same:
        said = made(actor.asks("PUT", "/rbac/d19", body), 200)
        assert set(said["roleBindings"]) <= set(strong)
    refused(actor.asks("PUT", "/rbac/d19", {"subjects": [friend], "roleBindings": strong}), "ceiling")
    setup(shared, ("DELETE", "/rbac/d19", None), ("DELETE", "/mcptokens/d19?project=p", None))


WRITERS = {
    "policy_rules.add": {"services/rbac.py", "services/tokens.py"},
    "Membership": {"services/groups.py", "services/bootstrap.py"},
    "Attachment": {"services/projects.py"},
    "TokenSecret": {"services/tokens.py"},
    "Session": {"services/sessions.py"},
    "Token": {"services/tokens.py"},
    "User": {"services/users.py", "services/bootstrap.py"},
    "PolicyRow": set[str](),
}
"""What gives somebody something when it is made, and the only files that make it; each of them asks the ceiling first."""

DOORS = {
    "delete_auth_sessions", "post_auth_login", "post_auth_logout",
    "post_users", "patch_users_id", "delete_users_id",
    "post_groups", "put_groups_id", "delete_groups_id", "put_groups_id_members_user", "delete_groups_id_members_user",
    "post_sessions", "delete_sessions_id",
    "post_mcptokens", "delete_mcptokens_id", "post_mcptokens_id_revoke", "post_mcptokens_id_rotate",
    "post_rbac", "put_rbac_id", "delete_rbac_id",
    "post_secrets", "put_secrets_id", "patch_secrets_id", "delete_secrets_id",
    "post_servers", "put_servers_id", "delete_servers_id",
    "post_projects", "put_projects_id", "delete_projects_id", "put_projects_id_servers_server", "delete_projects_id_servers_server",
    "post_proxymodels", "put_proxymodels_id", "delete_proxymodels_id",
    "post_apply",
    "post_gateway_audit", "post_gateway_status",
    "post_authorize", "post_authorize_explain", "post_oauth2_introspect", "post_access_v1_evaluation", "post_access_v1_evaluations",
    "post_access_v1_search_subject", "post_access_v1_search_resource", "post_access_v1_search_action",
}  # fmt: skip
"""Every operation that is no GET. One that is new must be attacked as a door before it may stand here."""


def test_there_is_no_other_way_to_write_a_right(shared: Served) -> None:
    """authz d21: import, restore and bulk are not there; apply is a door, and calls the others (tests/api/test_apply.py)."""
    assert DOORS - {"delete_auth_sessions"} == {one.operation_id for one in OPERATIONS if one.method != "GET"}
    found: dict[str, set[str]] = {name: set() for name in WRITERS}
    for path in SOURCES.rglob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            name.asname or name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "mcpctl.store.schema"
            for name in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in WRITERS and (called in imported or "." in called):
                    found[called].add(str(path.relative_to(SOURCES)))
    assert WRITERS == found
    for path_ in (
        "/import",
        "/restore",
        "/backup",
        "/bulk",
        "/graphql",
        "/batch",
        "/rbac/import",
        "/mcptokens/restore",
    ):
        assert shared.admin.post(path_, {}).status_code in {404, 405}, path_


def test_whoever_holds_everything_but_one_thing_does_not_hold_everything(shared: Served, actor: Person, friend: str) -> None:
    """authz d24: there is no verb that passes the ceiling by, and ``admin`` is not the sum of what is known today."""
    roles = [
        f"role:{role},resource:{resource}"
        for role in ("edit", "run", "create", "delete", "expose")
        for resource in RESOURCES
        if resource != "operations"
    ]
    operations = [f"action:{word}" for word in OPERATION_WORDS]
    actor.holds(*roles, *operations, "role:edit,resource:*", "role:run,resource:*")
    for binding, missing in {
        "role:admin,resource:rbac": ["admin rbac *"],
        "role:admin,resource:*": ["admin * *"],
        "role:admin,resource:operations": ["admin operations *"],
    }.items():
        with nothing_changes(shared, refusals=1):
            refused(actor.asks(*rbac("d24", ["User:actor"], binding)), "ceiling", missing)
    for word in ("escalate", "bind", "impersonate", "root", "superuser", "*"):
        said = actor.asks(*rbac("d24", [friend], f"role:{word},resource:rbac"))
        assert 422 == said.status_code
        if word != "impersonate":
            refused(actor.asks("POST", "/authorize", {"action": word, "resource": "rbac"}), "invalid")
    # To impersonate lets one ask about others, and do nothing as them.
    asked = {"subject": "User:admin", "action": "view", "resource": "servers"}
    assert made(actor.asks("POST", "/authorize", asked), 200)["allowed"] is True
    for body in (
        {**rbac("d24", [friend], "role:admin,resource:*")[2], "subject": "User:admin"},
        {**rbac("d24", [friend], "role:admin,resource:*")[2], "as": "User:admin"},
    ):
        refused(actor.asks("POST", "/rbac", body), "invalid")
    for header in ("Impersonate-User", "X-Remote-User", "X-Mcpctl-As"):
        answer = actor.client.post("/rbac", rbac("d24", [friend], "role:admin,resource:*")[2], headers={header: "admin"})
        refused(answer, "ceiling", ["admin * *"])


def test_a_refusal_says_what_was_asked_and_no_name_that_the_asker_may_not_see(
    shared: Served, actor: Person, friend: str
) -> None:
    """authz d37: neither what exists, nor who holds it, nor which lines deny it to others."""
    hidden = ["hidden-server", "hidden-project", "hidden-secret", "hidden-group", "hidden-rbac"]
    shared.project("hidden-project", "hidden-server")
    setup(
        shared,
        ("POST", "/secrets", {"name": "hidden-secret", "values": {"hidden-key": "value"}}),
        ("POST", "/groups", {"name": "hidden-group", "members": [friend]}),
        rbac("hidden-rbac", ["Group:hidden-group"], "role:view,resource:servers,name:hidden-server,effect:deny"),
    )
    actor.holds(
        "role:create,resource:rbac",
        "role:create,resource:mcptokens",
        "role:view,resource:projects,name:p",
        "role:expose,resource:projects,name:p",
        "role:create,resource:servers",
    )
    reference = {"secret": "hidden-secret", "key": "hidden-key"}
    calls: list[tuple[str, str, Any]] = [
        rbac("d37", [friend], "role:admin,resource:*"),
        rbac("d37", [friend], "role:view,resource:servers"),
        rbac("d37", [friend], "role:edit,resource:projects", "role:run,resource:secrets"),
        ("POST", "/mcptokens", {"name": "d37", "project": "p", "bindings": ["role:view,resource:servers"]}),
        ("GET", "/servers/a", None),
        ("PUT", "/projects/p/servers/b", None),
        ("GET", "/audit?project=p", None),
        ("DELETE", "/rbac/d37", None),
    ]
    for call in calls:
        answer = actor.asks(*call)
        assert [] == [name for name in hidden if name in answer.text], answer.text
    # Naming it oneself gives back the name and nothing more, whether it is there or not.
    for there, not_there in (("hidden-server", "nothing-server"), ("hidden-secret", "nothing-secret")):
        if "server" in there:
            answers = [actor.asks("PUT", f"/projects/p/servers/{name}") for name in (there, not_there)]
        else:
            bodies = [
                {"name": "d37", "transport": "stdio", "command": "x", "env": {"A": {**reference, "secret": name}}}
                for name in (there, not_there)
            ]
            answers = [actor.asks("POST", "/servers", body) for body in bodies]
        one, other = ({**answer.json(), "instance": ""} for answer in answers)
        assert {**one, "detail": ""} == {
            **other,
            "detail": "",
            "missing": [line.replace(not_there, there) for line in other["missing"]],
        }
        assert one["detail"] == other["detail"].replace(not_there, there)


def test_an_action_is_one_of_the_words_and_no_pattern_of_them(shared: Served, actor: Person) -> None:
    """authz d5, d24: what is asked is an action, never a role, and ``*`` is none."""
    actor.holds("role:admin,resource:servers")
    for action in ACTIONS:
        assert made(actor.asks("POST", "/authorize", {"action": action, "resource": "servers"}), 200)["allowed"] is True
    for action in ("admin", "*", "", "VIEW", "view ", "operator", "view,edit", "p.role", "gateway"):
        refused(actor.asks("POST", "/authorize", {"action": action, "resource": "servers"}), "invalid")


def test_a_refusal_does_not_say_what_others_hold(shared: Served, actor: Person, friend: str) -> None:
    """authz d37: by denying, joining or resetting somebody stronger one learns that they are, and nothing of what they hold."""
    setup(
        shared,
        ("POST", "/users", {"name": "d37-strong", "password": "a long password"}),
        ("POST", "/groups", {"name": "d37-group", "members": ["User:d37-strong"]}),
        rbac("d37-hush", ["Group:d37-group"], "role:admin,resource:servers,name:d37-hush"),
    )
    given = ("role:create,resource:rbac", "role:edit,resource:groups", "role:edit,resource:users")
    deny = "role:create,resource:groups,effect:deny"
    calls: list[tuple[str, str, Any]] = [
        rbac("d37-deny", ["User:d37-strong"], deny),
        ("PUT", f"/groups/d37-group/members/{friend.removeprefix('User:')}", None),
        ("PATCH", "/users/d37-strong", {"password": "another long one"}),
    ]
    actor.holds(*given)
    for call in calls:
        answer = actor.asks(*call)
        said = refused(answer, "ceiling", [])
        assert "d37-hush" not in answer.text
        assert "1 that you may not see" in said["detail"]
    actor.holds(*given, "role:view,resource:servers,name:d37-hush")
    refused(actor.asks(*calls[0]), "ceiling", ["admin servers d37-hush"])

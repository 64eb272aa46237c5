"""The doors through which rights are given: whoever holds exactly what is needed passes, whoever lacks one thing does not.

Each door of section 3 of the specification, from the side that creates and the side that edits.
"""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.api.people import PASSWORD, Person, nothing_changes, refused, setup
from tests.serving import Served

POLICY_FILES = {
    "people.csv": """\
p, User:named, view, secrets, *, allow
g, User:joined, Group:named-team
p, Group:named-team, delete, servers, *, allow
p, Group:bare, run, servers, x, allow
p, User:kept, create, users, nobody, deny
g, User:filed, Group:filed
"""
}

Call = tuple[str, str, Any]


def user(name: str, *, service: bool = False) -> Call:
    return "POST", "/users", {"name": name, "service": True} if service else {"name": name, "password": PASSWORD}


def group(name: str, *members: str) -> Call:
    return "POST", "/groups", {"name": name, "members": [f"User:{member}" for member in members]}


def rbac(name: str, subject: str | list[str], *bindings: str) -> Call:
    subjects = [subject] if isinstance(subject, str) else subject
    return "POST", "/rbac", {"name": name, "subjects": subjects, "roleBindings": list(bindings)}


def put_rbac(name: str, subject: str | list[str], *bindings: str) -> Call:
    return "PUT", f"/rbac/{name}", rbac(name, subject, *bindings)[2]


def server(name: str) -> Call:
    return "POST", "/servers", {"name": name, "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}


def project(name: str, *servers: str) -> Call:
    return "POST", "/projects", {"name": name, "servers": list(servers)}


def token(name: str, project: str, *bindings: str) -> Call:
    return "POST", "/mcptokens", {"name": name, "project": project, "bindings": list(bindings)}


@dataclass(frozen=True)
class Door:
    """What is done, and for each thing it needs the code and the missing lines that say that this is lacking."""

    does: str
    call: Call
    needs: Mapping[str, tuple[str, list[str]]]
    before: list[Call] = field(default_factory=list)
    holds_also: tuple[str, ...] = ()


FORBIDDEN, CEILING = "forbidden", "ceiling"

DOORS = [
    Door(
        "1: mint a token with bindings",
        token("d1", "d1", "role:run,resource:servers,name:d1/now", "action:logs,name:d1"),
        {
            "role:create,resource:mcptokens,name:d1": (FORBIDDEN, ["create mcptokens d1/d1"]),
            "role:view,resource:projects,name:d1": (FORBIDDEN, ["view projects d1"]),
            "role:run,resource:servers,name:d1": (CEILING, ["run servers d1/now", "view servers d1/now"]),
            "action:logs,name:d1": (CEILING, ["logs operations d1"]),
        },
        [project("d1")],
    ),
    Door(
        "1: mint a token that clones its creator",
        ("POST", "/mcptokens", {"name": "d1c", "project": "d1c", "rbacMode": "clone"}),
        {
            "role:create,resource:mcptokens,name:d1c": (FORBIDDEN, ["create mcptokens d1c/d1c"]),
            "role:view,resource:projects,name:d1c": (FORBIDDEN, ["view projects d1c"]),
        },
        [project("d1c")],
    ),
    Door(
        "2: create a definition",
        rbac("d2", ["User:d2a", "User:d2b"], "role:view,resource:servers", "role:run,resource:servers,name:d2"),
        {
            "role:create,resource:rbac,name:d2": (FORBIDDEN, ["create rbac d2"]),
            "role:view,resource:servers": (CEILING, ["view servers *"]),
            "role:run,resource:servers,name:d2": (CEILING, ["run servers d2"]),
        },
        [user("d2a"), user("d2b")],
    ),
    Door(
        "2: add a binding to a definition",
        put_rbac("d2e", "User:d2e", "role:view,resource:users", "role:create,resource:servers"),
        {
            "role:edit,resource:rbac,name:d2e": (FORBIDDEN, ["edit rbac d2e"]),
            "role:view,resource:users": (CEILING, ["view users *"]),
            "role:create,resource:servers": (CEILING, ["create servers *"]),
        },
        [user("d2e"), rbac("d2e", "User:d2e", "role:view,resource:users")],
    ),
    Door(
        "2: add oneself to a definition",
        put_rbac(
            "d2s", ["User:d2s", "User:actor"], "role:view,resource:users,name:d2s", "role:delete,resource:servers,name:d2s"
        ),
        {
            "role:edit,resource:rbac,name:d2s": (FORBIDDEN, ["edit rbac d2s"]),
            "role:view,resource:users,name:d2s": (CEILING, ["view users d2s"]),
            "role:delete,resource:servers,name:d2s": (CEILING, ["delete servers d2s"]),
        },
        [user("d2s"), rbac("d2s", "User:d2s", "role:view,resource:users,name:d2s", "role:delete,resource:servers,name:d2s")],
    ),
    Door(
        "2: write the same definition again",
        put_rbac("d2n", "User:d2n", "role:admin,resource:*"),
        {"role:edit,resource:rbac,name:d2n": (FORBIDDEN, ["edit rbac d2n"])},
        [user("d2n"), rbac("d2n", "User:d2n", "role:admin,resource:*")],
    ),
    Door(
        "2: take a subject and a binding out of a definition",
        put_rbac("d2t", "User:d2t", "role:admin,resource:secrets"),
        {"role:edit,resource:rbac,name:d2t": (FORBIDDEN, ["edit rbac d2t"])},
        [
            user("d2t"),
            user("d2u"),
            rbac("d2t", ["User:d2t", "User:d2u"], "role:admin,resource:secrets", "role:admin,resource:users"),
        ],
    ),
    Door(
        "2: delete a definition that only allows",
        ("DELETE", "/rbac/d2d", None),
        {"role:delete,resource:rbac,name:d2d": (FORBIDDEN, ["delete rbac d2d"])},
        [user("d2d"), rbac("d2d", "User:d2d", "role:admin,resource:*")],
    ),
    Door(
        "3: put a user into a group",
        ("PUT", "/groups/d3/members/d3", None),
        {
            "role:edit,resource:groups,name:d3": (FORBIDDEN, ["edit groups d3"]),
            "role:view,resource:secrets,name:d3": (CEILING, ["view secrets d3"]),
            "action:backup": (CEILING, ["backup operations *"]),
        },
        [user("d3"), group("d3"), rbac("d3", "Group:d3", "role:view,resource:secrets,name:d3", "action:backup")],
    ),
    Door(
        "3: say who is in a group",
        ("PUT", "/groups/d3s", {"members": ["User:d3s", "User:actor"]}),
        {
            "role:edit,resource:groups,name:d3s": (FORBIDDEN, ["edit groups d3s"]),
            "role:view,resource:secrets,name:d3s": (CEILING, ["view secrets d3s"]),
        },
        [user("d3s"), group("d3s"), rbac("d3s", "Group:d3s", "role:view,resource:secrets,name:d3s")],
    ),
    Door(
        "3: take a user out of a group that only allows",
        ("DELETE", "/groups/d3l/members/d3l", None),
        {"role:edit,resource:groups,name:d3l": (FORBIDDEN, ["edit groups d3l"])},
        [user("d3l"), group("d3l", "d3l"), rbac("d3l", "Group:d3l", "role:admin,resource:*")],
    ),
    Door(
        "3: put a user into a group whose deny hits nobody stronger",
        ("PUT", "/groups/d3d/members/d3d", None),
        {
            "role:edit,resource:groups,name:d3d": (FORBIDDEN, ["edit groups d3d"]),
            "role:view,resource:secrets,name:d3d": (CEILING, ["view secrets d3d"]),
            "role:view,resource:users": (CEILING, ["view users *"]),
        },
        [
            user("d3d"),
            rbac("d3d", "User:d3d", "role:view,resource:users"),
            group("d3d"),
            rbac("d3g", "Group:d3d", "role:view,resource:secrets,name:d3d,effect:deny"),
        ],
    ),
    Door(
        "4: delete a definition that denies",
        ("DELETE", "/rbac/d4", None),
        {
            "role:delete,resource:rbac,name:d4": (FORBIDDEN, ["delete rbac d4"]),
            "role:view,resource:secrets": (CEILING, ["view secrets *"]),
        },
        [user("d4"), rbac("d4", "User:d4", "role:view,resource:secrets,effect:deny", "role:view,resource:users")],
    ),
    Door(
        "4: narrow a deny",
        put_rbac("d4n", "User:d4n", "role:view,resource:secrets,name:one,effect:deny"),
        {
            "role:edit,resource:rbac,name:d4n": (FORBIDDEN, ["edit rbac d4n"]),
            "role:view,resource:secrets": (CEILING, ["view secrets one"]),
        },
        [user("d4n"), rbac("d4n", "User:d4n", "role:view,resource:secrets,effect:deny")],
    ),
    Door(
        "4: take a subject out of a deny",
        put_rbac("d4s", "User:d4s", "role:view,resource:secrets,name:s,effect:deny"),
        {
            "role:edit,resource:rbac,name:d4s": (FORBIDDEN, ["edit rbac d4s"]),
            "role:view,resource:secrets,name:s": (CEILING, ["view secrets s"]),
        },
        [user("d4s"), user("d4r"), rbac("d4s", ["User:d4s", "User:d4r"], "role:view,resource:secrets,name:s,effect:deny")],
    ),
    Door(
        "4: take a user out of a group that denies",
        ("DELETE", "/groups/d4l/members/d4l", None),
        {
            "role:edit,resource:groups,name:d4l": (FORBIDDEN, ["edit groups d4l"]),
            "role:view,resource:secrets,name:l": (CEILING, ["view secrets l"]),
        },
        [user("d4l"), group("d4l", "d4l"), rbac("d4l", "Group:d4l", "role:view,resource:secrets,name:l,effect:deny")],
    ),
    Door(
        "4: empty a group that denies",
        ("PUT", "/groups/d4e", {"members": []}),
        {
            "role:edit,resource:groups,name:d4e": (FORBIDDEN, ["edit groups d4e"]),
            "role:view,resource:secrets,name:e": (CEILING, ["view secrets e"]),
        },
        [user("d4e"), group("d4e", "d4e"), rbac("d4e", "Group:d4e", "role:view,resource:secrets,name:e,effect:deny")],
    ),
    Door(
        "4: delete a group that denies",
        ("DELETE", "/groups/d4g", None),
        {
            "role:delete,resource:groups,name:d4g": (FORBIDDEN, ["delete groups d4g"]),
            "role:view,resource:secrets,name:g": (CEILING, ["view secrets g"]),
        },
        [user("d4g"), group("d4g", "d4g"), rbac("d4g", "Group:d4g", "role:view,resource:secrets,name:g,effect:deny")],
    ),
    Door(
        "4: deny somebody who holds less",
        rbac("d4a", "User:d4a", "role:view,resource:secrets,name:a,effect:deny"),
        {
            "role:create,resource:rbac,name:d4a": (FORBIDDEN, ["create rbac d4a"]),
            "role:view,resource:secrets,name:a": (CEILING, ["view secrets a"]),
            "role:view,resource:users": (CEILING, ["view users *"]),
        },
        [user("d4a"), rbac("d4b", "User:d4a", "role:view,resource:users")],
    ),
    Door(
        "4: deny a group whose members hold less",
        rbac("d4m", "Group:d4m", "role:view,resource:secrets,name:m,effect:deny"),
        {
            "role:create,resource:rbac,name:d4m": (FORBIDDEN, ["create rbac d4m"]),
            "role:view,resource:secrets,name:m": (CEILING, ["view secrets m"]),
            "role:view,resource:users": (CEILING, ["view users *"]),
        },
        [user("d4m"), group("d4m", "d4m"), rbac("d4o", "User:d4m", "role:view,resource:users")],
    ),
    Door(
        "4: widen a deny by an edit",
        put_rbac("d4w", "User:d4w", "role:view,resource:secrets,name:w,effect:deny", "role:run,resource:servers,effect:deny"),
        {
            "role:edit,resource:rbac,name:d4w": (FORBIDDEN, ["edit rbac d4w"]),
            "role:run,resource:servers": (CEILING, ["run servers *", "view servers *"]),
        },
        [user("d4w"), rbac("d4w", "User:d4w", "role:view,resource:secrets,name:w,effect:deny")],
    ),
    Door(
        "5: reset a password",
        ("PATCH", "/users/d5", {"password": "another password"}),
        {
            "role:edit,resource:users,name:d5": (FORBIDDEN, ["edit users d5"]),
            "role:view,resource:secrets,name:d5": (CEILING, ["view secrets d5"]),
            "role:delete,resource:servers,name:d5": (CEILING, ["delete servers d5"]),
        },
        [
            user("d5"),
            rbac("d5", "User:d5", "role:view,resource:secrets,name:d5"),
            group("d5", "d5"),
            rbac("d5g", "Group:d5", "role:delete,resource:servers,name:d5"),
        ],
    ),
    Door(
        "5: enable a user",
        ("PATCH", "/users/d5e", {"disabled": False}),
        {
            "role:edit,resource:users,name:d5e": (FORBIDDEN, ["edit users d5e"]),
            "role:view,resource:secrets,name:d5e": (CEILING, ["view secrets d5e"]),
        },
        [
            user("d5e"),
            rbac("d5e", "User:d5e", "role:view,resource:secrets,name:d5e"),
            ("PATCH", "/users/d5e", {"disabled": True}),
        ],
    ),
    Door(
        "5: disable a user, who may hold more",
        ("PATCH", "/users/d5d", {"disabled": True}),
        {"role:edit,resource:users,name:d5d": (FORBIDDEN, ["edit users d5d"])},
        [user("d5d"), rbac("d5d", "User:d5d", "role:view,resource:secrets")],
    ),
    Door(
        "6: attach a server",
        ("PUT", "/projects/d6/servers/d6", None),
        {
            "role:expose,resource:projects,name:d6": (FORBIDDEN, ["expose projects d6"]),
            "role:view,resource:servers,name:d6": (CEILING, ["view servers d6"]),
        },
        [server("d6"), project("d6")],
    ),
    Door(
        "6: create a project with servers",
        project("d6c", "d6c1", "d6c2"),
        {
            "role:create,resource:projects,name:d6c": (FORBIDDEN, ["create projects d6c"]),
            "role:expose,resource:projects,name:d6c": (CEILING, ["expose projects d6c"]),
            "role:view,resource:servers,name:d6c1": (CEILING, ["view servers d6c1"]),
            "role:view,resource:servers,name:d6c2": (CEILING, ["view servers d6c2"]),
        },
        [server("d6c1"), server("d6c2")],
    ),
    Door(
        "6: attach a server by an edit",
        ("PUT", "/projects/d6e", {"servers": ["d6e1", "d6e2"]}),
        {
            "role:edit,resource:projects,name:d6e": (FORBIDDEN, ["edit projects d6e"]),
            "role:view,resource:servers,name:d6e2": (CEILING, ["view servers d6e2"]),
        },
        [server("d6e1"), server("d6e2"), project("d6e", "d6e1")],
    ),
    Door(
        "6: detach a server",
        ("DELETE", "/projects/d6d/servers/d6d", None),
        {"role:expose,resource:projects,name:d6d": (FORBIDDEN, ["expose projects d6d"])},
        [server("d6d"), project("d6d", "d6d")],
    ),
    Door(
        "8: create a server whose health check calls a tool",
        ("POST", "/servers", {**server("d8h")[2], "healthCheck": {"tool": "wipe"}}),
        {
            "role:create,resource:servers,name:d8h": (FORBIDDEN, ["create servers d8h"]),
            "role:run,resource:servers,name:d8h/wipe": (CEILING, ["run servers d8h/wipe"]),
        },
    ),
    Door(
        "8: have the health check of a server call a tool",
        ("PUT", "/servers/d8t", {**server("d8t")[2], "healthCheck": {"tool": "wipe"}}),
        {
            "role:edit,resource:servers,name:d8t": (FORBIDDEN, ["edit servers d8t"]),
            "role:run,resource:servers,name:d8t": (CEILING, ["run servers d8t/wipe"]),
        },
        [server("d8t")],
    ),
    Door(
        "9: open a session for a service user",
        ("POST", "/sessions", {"user": "d9", "ttl": "1h"}),
        {
            "role:create,resource:sessions,name:d9": (FORBIDDEN, ["create sessions d9"]),
            "role:view,resource:secrets,name:d9": (CEILING, ["view secrets d9"]),
            "action:gateway": (CEILING, ["gateway operations *"]),
        },
        [
            user("d9", service=True),
            rbac("d9", "User:d9", "role:view,resource:secrets,name:d9"),
            group("d9", "d9"),
            rbac("d9g", "Group:d9", "action:gateway"),
        ],
    ),
    Door(
        "9: rotate a token of somebody else",
        ("POST", "/mcptokens/d9r/rotate?project=d9r", None),
        {
            "role:edit,resource:mcptokens,name:d9r": (FORBIDDEN, ["edit mcptokens d9r/d9r"]),
            "role:run,resource:servers,name:d9r": (CEILING, ["run servers d9r", "view servers d9r"]),
        },
        [project("d9r"), token("d9r", "d9r", "role:run,resource:servers,name:d9r")],
    ),
    Door(
        "9: revoke a token of somebody else",
        ("POST", "/mcptokens/d9v/revoke?project=d9v", None),
        {"role:delete,resource:mcptokens,name:d9v": (FORBIDDEN, ["delete mcptokens d9v/d9v"])},
        [project("d9v"), token("d9v", "d9v", "role:run,resource:servers,name:d9v")],
    ),
    Door(
        "10: create a user whom a policy file names",
        user("named"),
        {
            "role:create,resource:users,name:named": (FORBIDDEN, ["create users named"]),
            "role:view,resource:secrets": (CEILING, ["view secrets *"]),
        },
    ),
    Door(
        "10: create a user whom a policy file puts into a group",
        user("joined"),
        {
            "role:create,resource:users,name:joined": (FORBIDDEN, ["create users joined"]),
            "role:delete,resource:servers": (CEILING, ["delete servers *"]),
        },
    ),
    Door(
        "10: create a group that a policy file names",
        group("bare"),
        {
            "role:create,resource:groups,name:bare": (FORBIDDEN, ["create groups bare"]),
            "role:run,resource:servers,name:x": (CEILING, ["run servers x", "view servers x"]),
        },
    ),
]


SEES_ALL = "role:view,resource:rbac"
"""With it one is told all that is missing, of what others hold too."""


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.does)
def test_only_whoever_holds_all_of_it_can(door: Door, shared: Served, actor: Person) -> None:
    """authz d9, d19, d20, d21; threats 9: checked on create and on edit, on the result of the edit."""
    setup(shared, *door.before)
    for lacking, (code, missing) in door.needs.items():
        actor.holds(SEES_ALL, *(each for each in [*door.needs, *door.holds_also] if each != lacking))
        with nothing_changes(shared, refusals=1) as audited:
            refused(actor.asks(*door.call), code, missing)
        assert [(actor.subject, code, {"missing": missing})] == [(row.subject, row.outcome, row.details) for row in audited]
    actor.holds(*door.needs, *door.holds_also)
    answer = actor.asks(*door.call)
    assert answer.status_code in (200, 201, 204), answer.text


def test_everything_that_is_missing_is_listed_and_nothing_else(shared: Served, actor: Person) -> None:
    """authz d37: the refusal names what was asked for, not what others hold."""
    setup(shared, user("all1"), server("all-a"), server("all-b"))
    actor.holds("role:create,resource:rbac", "role:view,resource:users", "role:create,resource:projects")
    bindings = ["role:edit,resource:users", "role:view,resource:secrets,name:a", "action:audit,name:p", "role:admin,resource:*"]
    said = refused(
        actor.asks(*rbac("all1", "User:all1", *bindings)),
        CEILING,
        [
            *(f"{action} users *" for action in ("create", "delete", "edit", "expose")),
            "view secrets a",
            "audit operations p",
            "admin * *",
        ],
    )
    assert all(line in said["detail"] for line in said["missing"])
    missing = ["expose projects all-p", "view servers all-a", "view servers all-b"]
    refused(actor.asks(*project("all-p", "all-a", "all-b")), CEILING, missing)


def test_deleting_a_subject_that_policy_files_name_is_refused_with_file_and_line(shared: Served) -> None:
    setup(shared, user("kept"))
    for path, where in (
        ("/users/kept", "people.csv:5"),
        ("/groups/admins", "bindings.csv:4"),
        ("/groups/gateways", "bindings.csv:5"),
    ):
        with nothing_changes(shared, refusals=0):
            assert where in refused(shared.admin.delete(path), "read_only")["detail"]


@pytest.mark.parametrize(
    ("held", "asked", "missing"),
    [
        (["role:view,resource:servers", "role:view,resource:servers,name:x,effect:deny"], "role:view,resource:servers", ["view servers *"]),
        (["role:view,resource:servers", "role:view,resource:servers,name:x,effect:deny"], "role:view,resource:servers,name:y", []),
        (["role:view,resource:servers", "role:view,resource:servers,name:x/a,effect:deny"], "role:view,resource:servers,name:x", ["view servers x"]),
        (["role:view,resource:servers", "role:view,resource:servers,name:x/a,effect:deny"], "role:view,resource:servers,name:x/b*", []),
        (["role:view,resource:servers", "role:view,resource:servers,name:x/ab,effect:deny"], "role:view,resource:servers,name:x/a*", ["view servers x/a*"]),
        (["role:admin,resource:*", "role:view,resource:secrets,effect:deny"], "role:admin,resource:*", ["admin * *"]),
        (["role:admin,resource:*", "role:view,resource:secrets,effect:deny"], "role:admin,resource:secrets", ["admin secrets *"]),
        (["role:admin,resource:*", "role:view,resource:secrets,effect:deny"], "role:create,resource:secrets", []),
        (["role:admin,resource:*", "role:view,resource:secrets,effect:deny"], "role:run,resource:secrets,name:a", ["view secrets a"]),
        (["role:admin,resource:*", "role:admin,resource:servers,name:x,effect:deny"], "role:view,resource:*", ["view * *"]),
        (["role:view,resource:servers,name:a", "role:view,resource:servers,name:b"], "role:view,resource:servers", ["view servers *"]),
        (["role:view,resource:servers,name:a/x*"], "role:view,resource:servers,name:a/x", []),
        (["role:view,resource:servers,name:a/x"], "role:view,resource:servers,name:a/x*", ["view servers a/x*"]),
        (["role:view,resource:servers,name:a/x"], "role:view,resource:servers,name:a", ["view servers a"]),
        (["action:audit,name:p"], "action:audit", ["audit operations *"]),
        (["action:audit"], "action:audit,name:p", []),
        (["role:admin,resource:operations"], "action:gateway,name:p", []),
        (["action:logs", "action:audit", "action:impersonate", "action:backup", "action:restore", "action:gateway"], "role:admin,resource:operations", ["admin operations *"]),
    ],
)  # fmt: skip
def test_a_wildcard_is_held_only_by_a_wildcard_and_never_over_a_deny(
    held: list[str], asked: str, missing: list[str], shared: Served, actor: Person
) -> None:
    """authz d3, d4, d8. The same question at two doors: a definition and a token."""
    if shared.admin.get("/projects/wild").status_code == 404:
        setup(shared, project("wild"), user("wild"))
    actor.holds("role:create,resource:rbac,name:wild", "role:create,resource:mcptokens,name:wild", "role:view,resource:projects,name:wild", *held)  # fmt: skip
    answers = [actor.asks(*token("wild", "wild", asked)), actor.asks(*rbac("wild", "User:wild", asked))]
    if missing:
        for answer in answers:
            refused(answer, CEILING, missing)
    else:
        assert [201, 201] == [answer.status_code for answer in answers], answers[0].text
        setup(shared, ("DELETE", "/mcptokens/wild?project=wild", None), ("DELETE", "/rbac/wild", None))


def test_a_deny_wins_over_every_allow_at_once(shared: Served, actor: Person) -> None:
    setup(shared, server("dw"), group("dw", "actor"), rbac("dw", "Group:dw", "role:view,resource:servers"))
    actor.holds("role:admin,resource:*")
    assert 200 == actor.asks("GET", "/servers/dw").status_code
    actor.holds("role:admin,resource:*", "role:view,resource:servers,name:dw,effect:deny")
    refused(actor.asks("GET", "/servers/dw"), FORBIDDEN, ["view servers dw"])
    assert [] == [one for one in actor.asks("GET", "/servers").json()["items"] if one["name"] == "dw"]
    setup(shared, ("DELETE", "/groups/dw", None))


def test_nobody_denies_somebody_stronger(shared: Served, actor: Person) -> None:
    """The denied set alone is not enough: whoever could deny an admin could bind everybody above."""
    setup(shared, user("strong"), rbac("strong", "User:strong", "role:admin,resource:*"), group("strong"))
    actor.holds("role:edit,resource:rbac", "role:edit,resource:groups", "role:view,resource:servers")
    deny = "role:view,resource:servers,name:x,effect:deny"
    with nothing_changes(shared, refusals=2):
        refused(actor.asks(*rbac("bind-strong", "User:strong", deny)), CEILING, ["admin * *"])
        refused(actor.asks(*rbac("bind-admins", "Group:admins", deny)), CEILING, ["admin * *"])
    setup(shared, rbac("weak-group", "Group:strong", deny))
    with nothing_changes(shared, refusals=1):
        refused(actor.asks("PUT", "/groups/strong/members/strong"), CEILING, ["admin * *"])


def test_who_is_a_member_by_a_policy_file_is_not_denied_by_somebody_weaker_either(shared: Served, actor: Person) -> None:
    setup(shared, user("filed"), rbac("filed", "User:filed", "role:admin,resource:*"), group("filed"))
    actor.holds("role:edit,resource:rbac", "role:view,resource:servers")
    with nothing_changes(shared, refusals=1):
        deny = rbac("bind-filed", "Group:filed", "role:view,resource:servers,name:x,effect:deny")
        refused(actor.asks(*deny), CEILING, ["admin * *"])
    with nothing_changes(shared, refusals=0):
        answer = shared.admin.delete("/groups/filed/members/filed")
        assert "people.csv:6" in refused(answer, "read_only")["detail"], "what a file says, only the file can take back"


@pytest.mark.parametrize("subject", ["User:yet-to-come", "Group:yet-to-come", f"McpToken:{'0' * 64}"])
def test_no_definition_waits_for_somebody_who_is_not_there_yet(subject: str, shared: Served, actor: Person) -> None:
    """authz d11: whoever took the name would inherit it, and no ceiling was asked on the way."""
    waits = ["User:admin", subject]
    if shared.admin.get("/rbac/early").status_code == 404:
        setup(shared, rbac("early", "User:admin", "role:view,resource:servers"))
    with nothing_changes(shared, refusals=0):
        for call in (
            rbac("waits", waits, "role:view,resource:servers"),
            put_rbac("early", waits, "role:view,resource:servers"),
        ):
            assert ["subjects.1"] == [one["field"] for one in refused(shared.admin.call(*call), "invalid")["errors"]]


def test_detaching_by_an_edit_needs_expose_as_detaching_does(shared: Served, actor: Person) -> None:
    """Door 6. The shipped role edit holds expose, so it takes a deny to have the one without the other."""
    setup(shared, server("d6x"), project("d6x", "d6x"))
    actor.holds("role:edit,resource:projects,name:d6x", "role:expose,resource:projects,name:d6x,effect:deny")
    with nothing_changes(shared, refusals=1):
        refused(actor.asks("PUT", "/projects/d6x", {"servers": []}), FORBIDDEN, ["expose projects d6x"])


def test_a_request_cannot_use_what_it_grants_itself_earlier(shared: Served, actor: Person) -> None:
    """authz d22: the actor's authority is that of before the request."""
    setup(shared, group("self"), rbac("self", "Group:self", "role:view,resource:users"), user("self"))
    actor.holds("role:edit,resource:groups,name:self")
    with nothing_changes(shared, refusals=1):
        refused(actor.asks("PUT", "/groups/self", {"members": ["User:actor", "User:self"]}), CEILING, ["view users *"])


def test_a_refusal_halfway_through_leaves_nothing_half_applied(shared: Served, actor: Person) -> None:
    """authz d22: the first two members pass, the third is stronger and must not be denied."""
    setup(
        shared,
        *(user(f"half{n}") for n in range(3)),
        rbac("half2", "User:half2", "role:admin,resource:*"),
        group("half"),
        rbac("half", "Group:half", "role:view,resource:servers,effect:deny"),
        server("half1"),
        server("half2"),
        project("half", "half1"),
    )
    actor.holds(
        "role:edit,resource:groups", "role:view,resource:servers", "role:edit,resource:projects", "role:view,resource:projects"
    )
    with nothing_changes(shared, refusals=1):
        refused(actor.asks("PUT", "/groups/half", {"members": [f"User:half{n}" for n in range(3)]}), CEILING)
    with nothing_changes(shared, refusals=0):
        body = {"toolNames": "plain", "servers": ["half2", "no-such-server"]}
        assert ["servers.1"] == [
            one["field"] for one in refused(actor.asks("PUT", "/projects/half", body), "invalid")["errors"]
        ]


def test_rotating_does_not_change_the_owner(shared: Served, actor: Person) -> None:
    setup(shared, project("own"), token("own", "own"))
    actor.holds("role:edit,resource:mcptokens,name:own")
    rotated = actor.asks("POST", "/mcptokens/own/rotate?project=own").json()
    assert ("User:admin", "own") == (rotated["owner"], rotated["name"])
    assert rotated["tokenSha"] == shared.admin.get("/mcptokens/own?project=own").json()["tokenSha"]

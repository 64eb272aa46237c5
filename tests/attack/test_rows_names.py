"""Names, parsers and stored lines, attacked: a name is itself and nothing else, whatever is stored, asked or started again."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import insert, select

from mcpctl.errors import InvalidPolicy
from mcpctl.store.schema import PolicyRow, User
from tests import serving
from tests.api.people import Person, allowed, nothing_changes, refused, setup
from tests.conftest import POLICIES
from tests.serving import ADMIN_PASSWORD, Served, made

LOOKALIKES = ["Admin", "ADMIN", "admin ", " admin", "admin\t", "admin\n", "admin\u00a0", "\uff41dmin", "\u0430dmin", "ad\u200bmin", "admin\u202e", "\ufeffadmin", "adm\u0131n", "admin\0", "admin%00", "admin.", "User:admin", "a\u0300dmin"]  # fmt: skip
PATTERNS = ["*", ".*", "a*", "a|b", "(a+)+$", "[a-z]", "^a$", "a?", "{a}", "a/*", "**", "%", "_", "\\a", "a#b"]


@pytest.fixture(scope="module")
def world(shared: Served) -> Served:
    """Two servers of which one is ``a``, and a project with both."""
    shared.project("p", "a", "ab")
    setup(shared, ("POST", "/users", {"name": "friend", "service": True}))
    return shared


@pytest.mark.parametrize("name", LOOKALIKES, ids=ascii)
def test_whatever_looks_like_a_name_is_not_that_name(name: str, world: Served) -> None:
    """authz d25: at the log-in, as a subject, in a path, in a body; in one form on both databases."""
    world.control.failed_logins.wait = lambda *_keys: 0.0  # type: ignore[method-assign]  # this is not about guessing
    assert world.nobody.post("/auth/login", {"username": name, "password": ADMIN_PASSWORD}).status_code in (401, 422)
    path = quote(name, safe="")
    with nothing_changes(world, refusals=0):
        for method, where, body in (
            ("POST", "/users", {"name": name, "service": True}),
            ("POST", "/groups", {"name": name}),
            ("GET", f"/users/{path}", None),
            ("PATCH", f"/users/{path}", {"disabled": True}),
            ("DELETE", f"/users/{path}", None),
            ("POST", "/rbac", {"name": "d25", "subjects": [f"User:{name}"], "roleBindings": ["role:view,resource:servers"]}),
            ("POST", "/rbac", {"name": name, "subjects": ["User:friend"], "roleBindings": ["role:view,resource:servers"]}),
            ("POST", "/authorize", {"subject": f"User:{name}", "action": "view", "resource": "servers"}),
        ):
            answer = world.admin.call(method, where, body)
            assert answer.status_code in (400, 404, 422), (method, where, answer.text)
    with world.control.database.read() as session:
        assert ["admin", "friend"] == sorted(session.scalars(select(User.name).where(User.name.in_(["admin", "friend"]))))


def test_a_name_bound_is_not_another_that_a_collation_or_a_prefix_would_take_for_it(world: Served, actor: Person) -> None:
    """authz d25, d28: ``a`` gives ``a`` and what is below it, and neither ``ab`` nor ``a.b`` nor ``a-b``."""
    for name in ("a.b", "a-b", "a_b", "aa", "b"):
        world.server(name)
    actor.holds("role:view,resource:servers,name:a", "role:run,resource:servers,name:ab/get_*")
    assert ["a"] == [one["name"] for one in actor.asks("GET", "/servers").json()["items"]]
    asked = {
        "view": {"a": True, "a/x": True, "a/x/y": True, "a/prompt:x": True, "ab": False, "a.b": False, "a-b": False, "a_b": False, "aa": False, "*": False},
        "run": {"ab/get_x": True, "ab/get_": True, "ab/get_*": True, "ab/get": False, "ab/GET_x": False, "ab/xget_": False, "ab/*": False, "ab": False, "a/get_x": False},
    }  # fmt: skip
    for action, names in asked.items():
        questions = [{"action": action, "resource": "servers", "name": name} for name in names]
        assert names == dict(zip(names, allowed(actor.client, questions), strict=True))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_name_is_a_pattern_but_the_star(pattern: str, world: Served, actor: Person) -> None:
    """authz d28: refused where a name is made; where one is bound or asked it matches itself at most, and in no time."""
    for path, body in (
        ("/servers", {"name": pattern, "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}),
        ("/projects", {"name": pattern, "servers": []}),
        ("/users", {"name": pattern, "service": True}),
        ("/groups", {"name": pattern}),
        ("/secrets", {"name": pattern, "values": {"a": "b"}}),
        ("/mcptokens", {"name": pattern, "project": "p"}),
    ):
        assert "name" in [error["field"] for error in refused(world.admin.post(path, body), "invalid")["errors"]]
    with nothing_changes(world, refusals=0):
        for path in ("/servers", "/projects", "/users", "/groups", "/secrets", "/rbac"):
            assert world.admin.delete(f"{path}/{quote(pattern, safe='')}").status_code in (404, 405, 422)
    body = {"name": "d28", "subjects": [actor.subject], "roleBindings": [f"role:view,resource:servers,name:{pattern}"]}
    answer = world.admin.post("/rbac", body)
    if pattern in ("*", "a/*"):
        made(answer)
        setup(world, ("DELETE", "/rbac/d28", None))
        return
    assert 422 == answer.status_code
    actor.holds("role:view,resource:servers,name:a/x")
    began = time.perf_counter()
    for asked in (pattern, "a/" + pattern, "a" * 50 + "!", "a/" + "a" * 400):
        said = actor.asks("POST", "/authorize", {"action": "view", "resource": "servers", "name": asked})
        assert said.status_code == 422 or said.json()["allowed"] is False
    assert time.perf_counter() - began < 2


def test_nothing_is_never_all(world: Served, actor: Person) -> None:
    """authz d30: an empty subject, name, project, filter or path is refused or is nobody."""
    actor.holds("role:admin,resource:*")
    for question in (
        {"action": "", "resource": "servers"},
        {"action": "view", "resource": ""},
        {"action": "view", "resource": "servers", "name": ""},
        {"subject": "", "action": "view", "resource": "servers"},
        {"subject": "User:", "action": "view", "resource": "servers"},
        {"subject": ":", "action": "view", "resource": "servers"},
    ):
        refused(actor.asks("POST", "/authorize", question), "invalid")
    assert 422 == actor.asks("POST", "/authorize", []).status_code
    with nothing_changes(world, refusals=0):
        for method, path, body in (
            ("DELETE", "/users/", None),
            ("DELETE", "/users/%20", None),
            ("DELETE", "/rbac/", None),
            ("DELETE", "/mcptokens/?project=p", None),
            ("DELETE", "/mcptokens/x?project=", None),
            ("POST", "/mcptokens//revoke?project=p", None),
            ("POST", "/rbac", {"name": "d30", "subjects": [""], "roleBindings": ["role:view,resource:servers"]}),
            ("POST", "/rbac", {"name": "d30", "subjects": ["User:"], "roleBindings": ["role:view,resource:servers"]}),
            ("POST", "/rbac", {"name": "d30", "subjects": [], "roleBindings": ["role:view,resource:servers"]}),
            ("POST", "/rbac", {"name": "d30", "subjects": ["User:friend"], "roleBindings": []}),
            ("POST", "/rbac", {"name": "d30", "subjects": ["User:friend"], "roleBindings": [""]}),
            ("POST", "/rbac", {"name": "d30", "subjects": ["User:friend"], "roleBindings": ["role:view,resource:,name:a"]}),
            ("POST", "/rbac", {"name": "d30", "subjects": ["User:friend"], "roleBindings": ["role:view,resource:servers,name:"]}),
            ("POST", "/rbac", {"name": "", "subjects": ["User:friend"], "roleBindings": ["role:view,resource:servers"]}),
            ("POST", "/mcptokens", {"name": "d30", "project": ""}),
            ("POST", "/groups", {"name": "d30", "members": [""]}),
            ("PUT", "/projects/p/servers/", None),
        ):  # fmt: skip
            assert world.admin.call(method, path, body).status_code in (404, 405, 422), (method, path, body)
    for path in ("/mcptokens?project=", "/audit?token=", "/audit?user=", "/audit?project=", "/gateway/upstreams?project=", "/gateway/slices?subject=&project=p"):  # fmt: skip
        answer = world.admin.get(path)
        assert answer.status_code in (403, 404, 422) or [] == answer.json()["items"], (path, answer.text[:200])


def test_part_of_a_hash_names_no_token_and_the_whole_one_opens_nothing(world: Served) -> None:
    """authz d31: neither in a path, nor as a bearer, nor as a subject, in whatever case."""
    minted = [made(world.admin.post("/mcptokens", {"name": f"d31-{n}", "project": "p", "rbacMode": "clone"})) for n in range(2)]
    world.control.failed_bearers.wait = lambda *_keys: 0.0  # type: ignore[method-assign]
    for token in minted:
        sha, raw = token["tokenSha"], token["token"]
        keys = [sha, sha[:8], sha.upper(), sha[:63], sha + "0", f"McpToken:{sha}", raw, raw[:8], token["id"][:8], token["id"].lower(), token["id"][:-1]]  # fmt: skip
        for key in keys:
            for method, path in (("POST", "/revoke"), ("DELETE", ""), ("GET", ""), ("POST", "/rotate")):
                answer = world.admin.call(method, f"/mcptokens/{key}{path}?project=p")
                assert answer.status_code in (404, 422), (key, method, answer.text)
        for bearer in (sha, sha.upper(), f"mcpctl_pat_{sha[:43]}", f"mcpctl_ses_{sha[:43]}", raw.replace("pat", "ses"), raw.lower(), raw[:-1], raw[11:]):  # fmt: skip
            refused(world.nobody.as_(bearer).get("/auth/whoami"), "invalid_credential")
        for subject in (f"McpToken:{sha[:63]}", f"McpToken:{sha.upper()}", f"McpToken:{sha}0", f"mcptoken:{sha}", f"User:{sha}", f"McpToken:{raw}"):  # fmt: skip
            body = {"name": "d31", "subjects": [subject], "roleBindings": ["role:view,resource:servers"]}
            assert 422 == world.admin.post("/rbac", body).status_code
    assert [200, 200] == [world.nobody.as_(one["token"]).get("/auth/whoami").status_code for one in minted]


def test_nothing_is_renamed_and_a_name_taken_anew_is_in_nobodys_reach(world: Served) -> None:
    """authz d12: there is no rename to race; a server made again under its old name is attached nowhere, so no agent runs it."""
    world.project("d12", "d12")
    setup(
        world,
        ("POST", "/rbac", {"name": "d12", "subjects": ["User:friend"], "roleBindings": ["role:run,resource:servers,name:d12"]}),
    )
    token = made(
        world.admin.post("/mcptokens", {"name": "d12", "project": "d12", "bindings": ["role:run,resource:servers,name:d12"]})
    )
    asked = {"action": "run", "resource": "servers", "name": "d12/tool"}
    agent = world.nobody.as_(token["token"])
    assert agent.post("/authorize", asked).json()["allowed"] is True
    with nothing_changes(world, refusals=0):
        for method, path, body in (
            ("PUT", "/servers/d12", {"name": "d12b", "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}),
            ("PUT", "/projects/d12", {"name": "d12b"}),
            ("PUT", "/rbac/d12", {"name": "d12b", "subjects": ["User:friend"], "roleBindings": ["action:logs"]}),
            ("PUT", "/groups/admins", {"name": "d12b", "members": ["User:admin"]}),
            ("PATCH", "/users/friend", {"name": "admin2"}),
            ("PUT", "/secrets/none", {"name": "d12b", "values": {"a": "b"}}),
        ):
            assert 422 == world.admin.call(method, path, body).status_code, path
    setup(world, ("DELETE", "/servers/d12", None))
    assert agent.post("/authorize", asked).json()["allowed"] is False
    world.server("d12")
    said = made(agent.post("/authorize", asked), 200)
    assert (False, True) == (said["allowed"], "not attached" in said["reason"])
    assert [] == world.admin.get("/projects/d12").json()["servers"]
    # What a person still holds on the name is shown, with the definition that gives it.
    shown = made(world.admin.post("/authorize", {**asked, "subject": "User:friend"}), 200)
    assert (True, "rbac:d12") == (shown["allowed"], shown["origin"])


POISON: list[tuple[str, ...]] = [
    ("p", "User:friend", "admin", "*", "*", "perhaps", "rbac:poison"),
    ("p", "User:friend", "admin", "*", "*", "ALLOW", "rbac:poison"),
    ("p", "User:friend", "", "*", "*", "allow", "rbac:poison"),
    ("p", "User:friend", "admin", "*", "", "allow", "rbac:poison"),
    ("p", "User:friend", "admin", "", "*", "allow", "rbac:poison"),
    ("p", "", "admin", "*", "*", "allow", "rbac:poison"),
    ("p", "*", "admin", "*", "*", "allow", "rbac:poison"),
    ("p", "User:*", "admin", "*", "*", "allow", "rbac:poison"),
    ("p", "User:friend,Group:admins", "admin", "*", "*", "allow", "rbac:poison"),
    ("p", "friend", "admin", "*", "*", "allow", "rbac:poison"),
    ("p", "Group:User:friend", "admin", "*", "*", "allow", "rbac:poison"),
    ("p", "User:friend", "Group:admins", "*", "*", "allow", "rbac:poison"),
    ("p", "User:friend", "(a+)+$", "[", "*(", "allow", "rbac:poison"),
    ("p", "User:friend\n", "admin", "*", "*", "allow", "rbac:\npoison"),
    ("p", '"User:friend"', "admin", "*", "*", "allow", "rbac:poison # x"),
    ("g", "User:friend", "Group:admins", "", "", "", ""),
    ("g2", "view", "admin", "", "", "", ""),
    ("p2", "User:friend", "admin", "*", "*", "allow", "rbac:poison"),
    ("x", "y", "z", "", "", "", "rbac:poison"),
    ("", "", "", "", "", "", ""),
]  # fmt: skip
"""Rows this program cannot have written: short, of another kind, quoted, joined, of another case."""


def test_rows_nobody_can_have_written_give_nothing_and_stop_nothing(database_url: str, policy_directory: Path) -> None:
    """authz d26, d27: neither while it runs nor at the next start; who is admin stays who is admin."""
    questions = [
        {"subject": subject, "action": action, "resource": "servers", "name": "a"}
        for subject in ("User:friend", "User:other", "Group:admins", "Group:gateways", "User:admin")
        for action in ("view", "delete")
    ]
    expected = [False] * 4 + [True] * 2 + [False] * 2 + [True] * 2
    with serving.serve(database_url, policy_directory) as served:
        served.project("p", "a")
        setup(
            served,
            ("POST", "/users", {"name": "friend", "service": True}),
            ("POST", "/users", {"name": "other", "service": True}),
        )
        with served.control.database.write() as transaction:
            for ptype, *fields in POISON:
                transaction.session.execute(
                    insert(PolicyRow).values(ptype=ptype, **{f"v{n}": field for n, field in enumerate(fields)})
                )
            transaction.touch("*")
        assert expected == allowed(served.admin, questions)
    with serving.serve(database_url, policy_directory) as served:
        assert expected == allowed(served.admin, questions)
        friend = served.nobody.as_(made(served.admin.post("/sessions", {"user": "friend"}))["token"])
        for path in ("/servers", "/projects", "/users", "/rbac", "/mcptokens", "/audit"):
            assert 200 == served.admin.get(path).status_code, path
            assert [] == [one for one in friend.get(path).json()["items"] if path != "/audit"]
        for path in ("/servers/a", "/users/other", "/rbac/poison"):
            refused(friend.get(path), "forbidden")
        assert served.admin.get("/rbac/poison").status_code in (200, 404)
        assert 204 == served.admin.delete("/users/friend").status_code
        again = made(served.admin.post("/users", {"name": "friend", "service": True}))
        assert [] == again["groups"]


def test_every_text_comes_back_as_it_went_in_and_moves_no_line(database_url: str, policy_directory: Path) -> None:
    """authz d26: what may be any text stands beside the policy, never in it; the same after a start from new."""
    texts = ['a, "b"', "p, User:friend, admin, *, *, allow", "# [section]", "(a) && true", "\u202e", "';--"]  # fmt: skip
    with serving.serve(database_url, policy_directory) as served:
        setup(served, ("POST", "/users", {"name": "friend", "service": True}))
        served.project("p")
        for n, text in enumerate(texts):
            body = {
                "name": f"s{n}",
                "transport": "stdio",
                "command": text,
                "args": [text],
                "env": {"KEY": text},
            }
            setup(served, ("POST", "/servers", body))
            setup(served, ("POST", "/mcptokens", {"name": f"t{n}", "project": "p", "description": text}))
    with serving.serve(database_url, policy_directory) as served:
        for n, text in enumerate(texts):
            server = made(served.admin.get(f"/servers/s{n}"), 200)
            assert ([text], {"KEY": text}) == (server["args"], server["env"])
            assert text == made(served.admin.get(f"/mcptokens/t{n}?project=p"), 200)["description"]
        asked: dict[str, Any] = {"subject": "User:friend", "action": "view", "resource": "servers"}
        assert made(served.admin.post("/authorize", asked), 200)["allowed"] is False
        with served.control.database.read() as session:
            assert [] == list(session.scalars(select(PolicyRow.id)))


FAILS_FOR_ADMINS = 'covers(p.name, r.name) && (p.sub != "Group:admins" || p.name > 1)'


def test_a_matcher_that_fails_refuses_everybody_and_the_log_in_still_works(database_url: str, policy_directory: Path) -> None:
    """authz d40: the model raises at each line of the admins' group, which no trial of it comes across."""
    model = policy_directory / "model.conf"
    model.write_text(model.read_text().replace("covers(p.name, r.name)", FAILS_FOR_ADMINS))
    with serving.serve(database_url, policy_directory) as served:
        for method, path, body in (
            ("GET", "/users", None),
            ("GET", "/servers/a", None),
            ("POST", "/authorize", {"action": "view", "resource": "servers"}),
            ("POST", "/users", {"name": "x", "service": True}),
            ("POST", "/rbac", {"name": "x", "subjects": ["User:admin"], "roleBindings": ["role:admin,resource:*"]}),
            ("DELETE", "/users/admin", None),
            ("GET", "/gateway/upstreams?project=p", None),
        ):
            answer = served.admin.call(method, path, body)
            assert (503, "policy_unavailable") == (answer.status_code, answer.json()["code"]), (method, path, answer.text)
        assert 200 == served.admin.get("/auth/whoami").status_code
        served.log_in("admin", ADMIN_PASSWORD)
        with served.control.database.read() as session:
            assert ["admin"] == list(session.scalars(select(User.name)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("some(where (p.eft == allow)) && ", ""),
        ("g(r.sub, p.sub) \\", "g(r.sub, p.sub) # who \\"),
        ("[matchers]", "# [matchers]"),
    ],
    ids=["an effect that allows by default", "half a matcher", "no matcher"],
)
def test_no_server_starts_on_a_model_that_fails_open_or_is_not_whole(
    old: str, new: str, sqlite_template: Path, policy_directory: Path, tmp_path: Path
) -> None:
    """authz d40: nothing is in force rather than something that allows what no line allows."""
    model = policy_directory / "model.conf"
    text = (POLICIES / "model.conf").read_text()
    assert old in text
    model.write_text(text.replace(old, new))
    url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'mcpctl.db')}"
    with pytest.raises(InvalidPolicy, match=r"model\.conf"), serving.serve(url, policy_directory, log_in=False):
        raise AssertionError("it started")

"""The whole story, through the command line, on a real control plane."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from mcpctl.client.contexts import load
from tests.cli.conftest import Mcpctl, Ran
from tests.serving import ADMIN_PASSWORD, Served

ALICE_PASSWORD = "a long password"


@pytest.fixture
def admin(mcpctl: Mcpctl, served_on_sqlite: Served) -> Mcpctl:
    """``mcpctl`` logged in as admin, with two servers in a project."""
    login(mcpctl, served_on_sqlite, "admin", ADMIN_PASSWORD)
    for server in ("time", "docs"):
        mcpctl.ok("create", "server", server, "--url", f"https://{server}.example.com/mcp")
    mcpctl.ok("create", "project", "demo", "--server", "time", "--server", "docs")
    mcpctl.ok("config", "set-context", "admin", "--project", "demo")
    return mcpctl


def login(mcpctl: Mcpctl, served: Served, user: str, password: str) -> None:
    """Log in, in a context named after the user, and make it current."""
    flags = ("--server", served.address, "--context", user, "-u", user, "--password", "-")
    mcpctl.ok("login", *flags, stdin=password)


def person(mcpctl: Mcpctl, served: Served, name: str, *bindings: str) -> None:
    """A new person holding exactly ``bindings``, logged in in a context of that name; admin stays current."""
    mcpctl.ok("create", "user", name, "--password", "-", stdin=ALICE_PASSWORD)
    if bindings:
        flags = [word for binding in bindings for word in ("--roleBindings", binding)]
        mcpctl.ok("create", "rbac", f"for-{name}", "--subject", f"User:{name}", *flags)
    login(mcpctl, served, name, ALICE_PASSWORD)
    mcpctl.ok("config", "set-context", name, "--project", "demo")
    mcpctl.ok("config", "use-context", "admin")


def items(mcpctl: Mcpctl, *command: str) -> list[dict[str, Any]]:
    """The items of a list, as JSON."""
    found: list[dict[str, Any]] = json.loads(mcpctl.ok("get", *command, "-o", "json"))["items"]
    return found


MINTER = ("role:view,resource:servers", "role:view,resource:projects,name:demo", "role:create,resource:mcptokens,name:demo")


def test_first_steps_from_log_in_to_log_out(mcpctl: Mcpctl, served_on_sqlite: Served) -> None:
    assert 3 == mcpctl("whoami").code
    ran = mcpctl("login", "--server", served_on_sqlite.address, "-u", "admin", "--password", "-", stdin="wrong password")
    assert (3, True) == (ran.code, "Wrong user name or password" in ran.err)
    login(mcpctl, served_on_sqlite, "admin", ADMIN_PASSWORD)
    assert "User:admin\n" == mcpctl.ok("whoami", "-o", "name")
    assert "role:admin,resource:*" in mcpctl.ok("whoami")
    token = load(mcpctl.config).by_name["admin"].token
    mcpctl.ok("logout")
    mcpctl.patch.setenv("MCPCTL_TOKEN", str(token))
    assert 3 == mcpctl("whoami").code


def test_people_and_groups_are_made_shown_changed_and_deleted(admin: Mcpctl, served_on_sqlite: Served) -> None:
    person(admin, served_on_sqlite, "alice")
    admin.ok("create", "group", "ops", "--member", "User:alice")
    assert "Group:ops" in admin.ok("get", "user", "alice", "--no-headers")
    admin.ok("detach", "user", "alice", "--group", "ops")
    admin.ok("attach", "user", "alice", "admin", "--group", "ops")
    members = json.loads(admin.ok("get", "group", "ops", "-o", "json"))["members"]
    assert ["User:admin", "User:alice"] == sorted(members)
    admin.ok("set", "group", "ops", "--member", "User:alice")
    assert "User:alice" in admin.ok("describe", "group", "ops")
    admin.ok("disable", "user", "alice")
    assert 3 == admin("whoami", "--context", "alice").code
    admin.ok("enable", "user", "alice")
    admin.ok("set", "password", "alice", "--password", "-", stdin="another password")
    login(admin, served_on_sqlite, "alice", "another password")
    assert "user/admin\nuser/alice\n" == admin.ok("get", "users", "-o", "name", "--context", "admin")
    assert "" == admin.ok("get", "users", "-o", "name")
    admin.ok("delete", "group", "ops", "--yes", "--context", "admin")
    assert 6 == admin("get", "group", "ops", "--context", "admin").code


def test_servers_and_projects_are_made_shown_changed_and_deleted(admin: Mcpctl) -> None:
    admin.ok("create", "server", "local", "--env", "TZ=UTC", "--", "uvx", "mcp-server-time", "--local-timezone", "UTC")
    assert "uvx mcp-server-time --local-timezone UTC" in admin.ok("get", "server", "local")
    admin.ok("attach", "server", "local", "-p", "demo")
    admin.ok("detach", "server", "docs")
    assert ["time", "local"] == items(admin, "projects")[0]["servers"]
    admin.ok("set", "server", "local", "--remove-env", "TZ", "--env", "LANG=C")
    admin.ok("set", "server", "time", "--url", "https://time.example.com/v2", "--header", "X-Team=ops")
    admin.ok("set", "project", "demo", "--tool-names", "plain")
    found = {server["name"]: server for server in items(admin, "servers")}
    assert {"LANG": "C"} == found["local"]["env"]
    assert ("https://time.example.com/v2", {"X-Team": "ops"}) == (found["time"]["url"], found["time"]["headers"])
    assert "plain" == items(admin, "projects")[0]["toolNames"]
    admin.ok("delete", "project/demo", "server/docs", "--yes")
    assert [] == items(admin, "projects")


def test_a_secret_is_used_by_a_server_and_never_read_back(admin: Mcpctl) -> None:
    admin.ok("create", "secret", "github", "--from-file", "bearer=-", stdin="Bearer verysecret")
    admin.ok("create", "server", "github", "--url", "https://x.example.com", "--header", "Authorization=secret:github/bearer")
    said = admin.ok("describe", "secret", "github") + admin.ok("get", "secrets,servers", "-o", "json")
    said += admin.ok("get", "server", "github", "-o", "wide")
    assert "Authorization=secret:github/bearer" in said
    assert "verysecret" not in said
    assert 7 == admin("delete", "secret", "github", "--yes").code
    admin.ok("delete", "server/github", "secret/github", "--yes")


def test_a_token_is_minted_used_rotated_and_revoked(admin: Mcpctl, served_on_sqlite: Served) -> None:
    raw = admin.ok("create", "mcptoken", "ci", "--bind", "role:run,resource:servers,name:time", "--ttl", "30d").strip()
    assert introspected(served_on_sqlite, raw)["active"]
    assert ["ci", "demo", "User:admin", "active", "30d"] == admin.ok("get", "mcptokens", "--no-headers").split()[:5]
    assert "role:run,resource:servers,name:time" in admin.ok("describe", "mcptoken", "ci")
    as_token(admin, served_on_sqlite, raw)
    assert "mcptoken" == json.loads(admin.ok("whoami", "-o", "json"))["kind"]
    assert 0 == admin("auth", "can-i", "run", "servers", "time").code
    assert 1 == admin("auth", "can-i", "run", "servers", "docs").code
    assert 5 == admin("create", "mcptoken", "child").code
    as_admin(admin)
    new = admin.ok("rotate", "mcptoken", "demo/ci", "--grace", "1h").strip()
    assert [True, True] == [introspected(served_on_sqlite, one)["active"] for one in (raw, new)]
    assert 7 == admin("create", "mcptoken", "ci").code
    admin.ok("revoke", "mcptoken", "ci")
    assert ["revoked", "revoked"] == [introspected(served_on_sqlite, one)["reason"] for one in (raw, new)]
    admin.ok("create", "mcptoken", "ci")
    admin.ok("delete", "mcptoken", "ci", "--yes")


def test_an_empty_token_says_so_and_a_clone_holds_what_its_creator_holds(admin: Mcpctl, served_on_sqlite: Served) -> None:
    person(admin, served_on_sqlite, "alice", *MINTER)
    ran = admin("create", "mcptoken", "empty", "--context", "alice")
    assert "will see no tools" in ran.err
    ran = admin("create", "mcptoken", "twin", "--rbac", "clone", "--context", "alice", "-o", "json")
    assert sorted(MINTER) == sorted(json.loads(ran.out)["bindings"])
    assert "read or write secrets" in ran.err
    as_token(admin, served_on_sqlite, json.loads(ran.out)["token"])
    assert 0 == admin("auth", "can-i", "view", "servers", "time").code
    assert 1 == admin("auth", "can-i", "create", "mcptokens", "demo/x").code


def test_nobody_gives_what_they_do_not_hold_and_each_missing_right_is_a_line(admin: Mcpctl, served_on_sqlite: Served) -> None:
    person(admin, served_on_sqlite, "alice", *MINTER)
    binds = ("--bind", "role:run,resource:servers", "--bind", "role:view,resource:users")
    ran = admin("create", "mcptoken", "x", "--context", "alice", *binds)
    assert 5 == ran.code
    assert "error: You cannot give what you do not hold\n" in ran.err
    assert ["    run servers *", "    view users *"] == [line for line in ran.err.splitlines() if line.startswith("    ")]
    ran = admin("create", "mcptoken", "x", "--context", "alice", "--bind", "role:run,resource:servers", "-o", "json")
    assert ["run servers *"] == json.loads(ran.err)["missing"]
    assert [] == items(admin, "mcptokens")


def test_a_deny_wins_and_the_answer_names_it(admin: Mcpctl, served_on_sqlite: Served) -> None:
    person(admin, served_on_sqlite, "alice", "role:run,resource:servers")
    assert 0 == admin("auth", "can-i", "run", "servers", "docs", "--context", "alice").code
    admin.ok(
        "create", "rbac", "no-docs", "--subject", "User:alice",
        "--roleBindings", "role:run,resource:servers,name:docs,effect:deny",
    )  # fmt: skip
    ran = admin("auth", "can-i", "run", "servers", "docs", "--context", "alice")
    assert (1, "no") == (ran.code, ran.out.splitlines()[0])
    assert "effect:deny" in ran.out
    assert "rbac:no-docs" in ran.out
    assert 0 == admin("auth", "can-i", "run", "servers", "time", "--context", "alice").code
    assert 1 == admin("auth", "can-i", "run", "servers", "docs", "--as", "User:alice").code
    assert 5 == admin("auth", "can-i", "run", "servers", "docs", "--as", "User:admin", "--context", "alice").code


def test_why_who_else_and_what_else_are_told_in_words(admin: Mcpctl, served_on_sqlite: Served) -> None:
    person(admin, served_on_sqlite, "alice", "role:view,resource:projects", "role:edit,resource:mcptokens")
    admin.ok("create", "group", "ops", "--member", "User:alice")
    admin.ok("create", "rbac", "ops-run", "--subject", "Group:ops", "--roleBindings", "role:run,resource:servers,name:time")
    admin.ok("create", "mcptoken", "clock", "-p", "demo", "--context", "alice", "--bind", "role:run,resource:servers,name:time")
    sha = items(admin, "mcptokens")[0]["tokenSha"]

    told = admin.ok("auth", "explain", "run", "servers", "time", "--as", f"McpToken:{sha}")
    assert ["yes", "revision"] == [told.splitlines()[0], told.splitlines()[2].split()[0]]
    assert (
        "the token's owner (User:alice): yes\n  allowed by role:run,resource:servers,name:time for Group:ops (rbac:ops-run)"
        in told
    )
    assert "  in Group:ops\n  allows: role:run,resource:servers,name:time for Group:ops (rbac:ops-run)" in told
    quiet = ("--subject", "Group:ops", "--roleBindings", "role:run,resource:servers,name:docs,effect:deny")
    admin.ok("create", "rbac", "quiet", *quiet)
    ran = admin("auth", "explain", "run", "servers", "docs", "--context", "alice")
    assert "  denies: role:run,resource:servers,name:docs,effect:deny for Group:ops (rbac:quiet)" in ran.out
    ran = admin("auth", "explain", "delete", "servers", "time", "--context", "alice")
    assert (1, "missing: delete servers time") == (ran.code, ran.out.splitlines()[-1])

    who = admin.ok("auth", "who-can", "run", "servers", "time")
    rows = [line.split()[0:2] for line in who.splitlines() if line.startswith(("User:", "Group:"))]
    assert [["User:admin", "Group:admins"], ["User:alice", "Group:ops"], ["Group:admins", "p,"], ["Group:ops", "p,"]] == rows
    assert "McpToken:demo/clock of User:alice" in who
    assert "\n5 at revision " in who
    assert 5 == admin("auth", "who-can", "run", "servers", "time", "--context", "alice").code
    assert sha not in admin.ok("auth", "who-can", "run", "servers", "--kind", "user")

    listed = admin.ok("auth", "can-i", "--list", "--context", "alice")
    assert "User:alice, in Group:ops\n" in listed
    assert ["allow", "role:run,resource:servers,name:time", "run,view", "Group:ops", "rbac:ops-run"] in [
        line.split() for line in listed.splitlines()
    ]
    of_token = admin.ok("auth", "can-i", "--list", "--as", f"McpToken:{sha}")
    assert "within the project demo" in of_token
    assert "a token will never:\n  read or write secrets" in of_token
    assert 2 == admin("auth", "can-i", "--list", "run").code
    assert 2 == admin("auth", "can-i", "run").code


def test_nobody_is_an_answer_too(admin: Mcpctl, served_on_sqlite: Served) -> None:
    admin.ok("create", "user", "guard", "--service")
    ran = admin("auth", "who-can", "gateway", "operations", "demo", "--kind", "mcptoken")
    assert (1, "Nobody, at revision ") == (ran.code, ran.out[:20])


def test_a_definition_is_replaced_in_parts(admin: Mcpctl, served_on_sqlite: Served) -> None:
    person(admin, served_on_sqlite, "alice", "role:view,resource:servers")
    admin.ok("set", "rbac", "for-alice", "--subject", "User:alice", "--subject", "User:admin")
    admin.ok("set", "rbac", "for-alice", "--roleBindings", "role:run,resource:servers")
    (found,) = items(admin, "rbac")
    assert (["User:admin", "User:alice"], ["role:run,resource:servers"]) == (sorted(found["subjects"]), found["roleBindings"])


def test_a_user_made_again_under_the_same_name_inherits_nothing(admin: Mcpctl, served_on_sqlite: Served) -> None:
    person(admin, served_on_sqlite, "alice", *MINTER, "role:run,resource:servers")
    admin.ok("create", "group", "ops", "--member", "User:alice")
    raw = admin.ok("create", "mcptoken", "hers", "--rbac", "clone", "--context", "alice").strip()
    admin.ok("delete", "user", "alice", "--yes")
    assert 3 == admin("whoami", "--context", "alice").code
    assert not introspected(served_on_sqlite, raw)["active"]
    admin.ok("create", "user", "alice", "--password", "-", stdin=ALICE_PASSWORD)
    assert 3 == admin("whoami", "--context", "alice").code
    login(admin, served_on_sqlite, "alice", ALICE_PASSWORD)
    me = json.loads(admin.ok("whoami", "-o", "json"))
    assert ([], []) == (me["bindings"], me["groups"])
    assert 1 == admin("auth", "can-i", "run", "servers", "time").code
    assert [] == items(admin, "mcptokens", "-A", "--context", "admin")
    assert [] == items(admin, "rbac", "--context", "admin")


def test_the_last_admin_stays(admin: Mcpctl) -> None:
    for command in ("disable user admin", "delete user admin --yes", "detach user admin --group admins"):
        assert 7 == admin(*command.split()).code


def test_a_service_user_is_given_sessions(admin: Mcpctl, served_on_sqlite: Served) -> None:
    admin.ok("create", "user", "gateway-1", "--service")
    raw = admin.ok("create", "session", "gateway-1", "--ttl", "never").strip()
    sessions = {one["user"]: one for one in items(admin, "sessions")}
    assert sessions["gateway-1"]["expiresAt"] is None
    as_token(admin, served_on_sqlite, raw)
    assert "User:gateway-1\n" == admin.ok("whoami", "-o", "name")
    as_admin(admin)
    admin.ok("delete", "session", sessions["gateway-1"]["id"], "--yes")
    assert not introspected(served_on_sqlite, raw)["active"]


def test_the_audit_says_who_did_what(admin: Mcpctl, served_on_sqlite: Served) -> None:
    person(admin, served_on_sqlite, "alice", *MINTER)
    admin("create", "mcptoken", "x", "--context", "alice", "--bind", "role:run,resource:servers")
    (refused,) = items(admin, "audit", "--user", "alice", "--decision", "refused")
    assert ("create", "mcptokens", "demo/x", False) == tuple(refused[key] for key in ("action", "resource", "name", "allowed"))
    assert [] == items(admin, "audit", "--user", "alice", "--until", "1h")
    assert 2 == len(items(admin, "audit", "--limit", "2"))
    assert "alice" in admin.ok("get", "audit", "--user", "alice", "--since", "1h", "-o", "wide")


LIES = (
    ("create mcptoken x --ttl 30x", "--ttl: '30x' is not"),
    ("create mcptoken x --ttl 0s", "--ttl"),
    ("create mcptoken x --ttl 2001-01-01T00:00:00Z", "--ttl"),
    ("create mcptoken x --bind role:veiw,resource:servers", "did you mean 'view'?"),
    ("create rbac x --subject User:admin --roleBindings role:veiw,resource:servers", "did you mean 'view'?"),
    ("create project x --server tiem", "tiem"),
    ("create server x --url ftp://example.com", "--url"),
    ("create server x --url https://x --header Host=y", "--header"),
    ("rotate mcptoken ci --grace soon", "--grace"),
    ("get audit --since yesterday", "--since"),
)


def test_what_only_the_server_can_judge_comes_back_in_the_words_of_the_flags(admin: Mcpctl) -> None:
    admin.ok("create", "mcptoken", "ci")
    for command, said in LIES:
        ran: Ran = admin(*command.split())
        assert (2, "", True) == (ran.code, ran.out, said in ran.err), ran


def as_token(mcpctl: Mcpctl, served: Served, raw: str) -> None:
    """From now on present this bearer."""
    mcpctl.patch.setenv("MCPCTL_TOKEN", raw)
    mcpctl.patch.setenv("MCPCTL_SERVER", served.address)


def as_admin(mcpctl: Mcpctl) -> None:
    """From now on be admin again."""
    mcpctl.patch.delenv("MCPCTL_TOKEN")
    mcpctl.patch.delenv("MCPCTL_SERVER")


def introspected(served: Served, raw: str) -> dict[str, Any]:
    """What the control plane says this bearer is."""
    answer = httpx2.get(
        served.address + "/api/v1/mcptokens/introspect", headers={"Authorization": f"Bearer {raw}"}, trust_env=False
    )
    found: dict[str, Any] = answer.json()
    return found

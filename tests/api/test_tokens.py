"""Tokens: minted, shown once, listed, rotated, revoked, introspected."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mcpctl.services.token_secret import SCANNER_REGEX, TOKEN_PREFIX
from mcpctl.store import policy_rules
from mcpctl.store.schema import PolicyRow, Token, TokenSecret
from tests import serving
from tests.api.people import Person, nothing_changes, refused, setup
from tests.serving import Served, made

BEARER = re.compile(r"mcpctl_pat_[0-9A-Za-z]{43}")


@pytest.fixture(autouse=True)
def _a_project(shared: Served) -> None:
    if shared.admin.get("/projects/demo").status_code == 404:
        shared.project("demo", "time", "github")


def mint(served: Served, name: str, *bindings: str, project: str = "demo", **more: Any) -> dict[str, Any]:
    return made(served.admin.post("/mcptokens", {"name": name, "project": project, "bindings": list(bindings), **more}))


def lines_of(served: Served, sha: str) -> list[str]:
    with served.control.database.read() as session:
        return [str(rule.binding) for rule in policy_rules.of_subjects(session, [f"McpToken:{sha}"])]


def test_the_raw_secret_is_in_the_answer_that_mints_it_and_in_no_other(shared: Served) -> None:
    minted = mint(shared, "once", "role:run,resource:servers,name:time/now", ttl="1h", description="for tests")
    assert BEARER.fullmatch(minted["token"])
    assert re.search(SCANNER_REGEX, f"x {minted['token']} y")
    assert sha256(minted["token"].encode()).hexdigest() == minted["tokenSha"]
    described = made(shared.admin.get("/mcptokens/once?project=demo"), 200)
    assert {"token", "never", "unusable"} == set(minted) - set(described)
    assert described == {name: value for name, value in minted.items() if name in described}
    listed = shared.admin.get("/mcptokens?project=demo").json()["items"]
    assert described in listed
    assert minted["token"] not in str(listed)
    wanted = {
        "name": "once",
        "project": "demo",
        "owner": "User:admin",
        "rbacMode": "empty",
        "bindings": ["role:run,resource:servers,name:time/now"],
        "description": "for tests",
        "status": "active",
        "revokedAt": None,
        "lastUsedAt": None,
    }
    assert wanted == {name: described[name] for name in wanted}
    created, expires = (datetime.fromisoformat(described[name]) for name in ("createdAt", "expiresAt"))
    assert timedelta(hours=1) == expires - created


def test_every_secret_has_one_form_and_none_is_like_another(shared: Served) -> None:
    """A secret left unpadded would be shorter once in 61 times, and a strict scanner would miss it."""
    from mcpctl.services.token_secret import generate_session, generate_token, is_mcp_token, is_session

    tokens, sessions = [generate_token() for _ in range(2000)], [generate_session() for _ in range(100)]
    drawn = [token.removeprefix("mcpctl_pat_") for token in tokens]
    assert all(len({one[place] for one in drawn}) > 40 for place in range(1, 43)), "fewer random bits leave places unused"
    assert {len(TOKEN_PREFIX) + 43} == {len(token) for token in tokens}
    assert all(is_mcp_token(token) and not is_session(token) for token in tokens)
    assert all(is_session(session) and not is_mcp_token(session) for session in sessions)
    assert 2100 == len({*tokens, *sessions})


@pytest.mark.parametrize(
    ("ttl", "lives"),
    [
        (None, None),
        ("never", None),
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("1h30m", timedelta(minutes=90)),
        ("2w", timedelta(weeks=2)),
        ("45m", timedelta(minutes=45)),
        ("10s", timedelta(seconds=10)),
    ],
)
def test_a_token_lives_as_long_as_was_said(ttl: str | None, lives: timedelta | None, shared: Served) -> None:
    minted = mint(shared, f"lives-{ttl or 'none'}".lower(), **({"ttl": ttl} if ttl else {}))
    found = minted["expiresAt"] and datetime.fromisoformat(minted["expiresAt"]) - datetime.fromisoformat(minted["createdAt"])
    assert lives == found
    shared.admin.delete(f"/mcptokens/{minted['id']}")


def test_a_token_may_end_at_a_moment_with_a_zone(shared: Served) -> None:
    for index, moment in enumerate(("2099-01-31T12:00:00Z", "2099-01-31T14:00:00+02:00")):
        assert "2099-01-31T12:00:00.000Z" == mint(shared, f"moment-{index}", ttl=moment)["expiresAt"]


@pytest.mark.parametrize(
    "ttl",
    [
        "0",
        "0s",
        "0d",
        "-1h",
        "-30d",
        "2020-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2099-01-31",
        "2099-01-31T12:00:00",
        "yesterday",
        "",
        " ",
        "30",
        "d",
        "1y",
        "1h ",
        " 1h",
        "1 h",
        "1e3d",
        "1H",
        "NEVER",
        "infinite",
        "nan",
        "999999999w",
        "101000w",
        "9999-12-31T23:59:59Z",
        "２h",
        "1h;2h",
        "2099-13-01T00:00:00Z",
        "1h" * 40,
        "0x10s",
        "null",
    ],
)
def test_a_lifetime_that_is_past_zero_negative_or_nonsense_is_refused(ttl: str, shared: Served) -> None:
    with nothing_changes(shared, refusals=0):
        answer = shared.admin.post("/mcptokens", {"name": "ttl", "project": "demo", "ttl": ttl})
        assert ["ttl"] == [error["field"] for error in refused(answer, "invalid")["errors"]]


def test_a_name_is_taken_while_its_token_lives_or_has_merely_expired(shared: Served) -> None:
    mint(shared, "taken", ttl="0.2s")
    with nothing_changes(shared, refusals=0):
        refused(shared.admin.post("/mcptokens", {"name": "taken", "project": "demo"}), "duplicate")
    time.sleep(0.25)
    assert "expired" == shared.admin.get("/mcptokens/taken?project=demo").json()["status"]
    with nothing_changes(shared, refusals=0):
        refused(shared.admin.post("/mcptokens", {"name": "taken", "project": "demo"}), "duplicate")
    assert 204 == shared.admin.delete("/mcptokens/taken?project=demo").status_code
    mint(shared, "taken")
    shared.project("other-names")
    mint(shared, "taken", project="other-names")


def test_revoking_frees_the_name_and_the_new_token_is_somebody_else(shared: Served) -> None:
    """authz d35: a soft-deleted token's bindings are gone, and its name carries nothing over."""
    first = mint(shared, "freed", "role:view,resource:servers")
    assert "revoked" == made(shared.admin.post("/mcptokens/freed/revoke?project=demo"), 200)["status"]
    assert [] == lines_of(shared, first["tokenSha"])
    second = mint(shared, "freed")
    assert (first["id"], first["tokenSha"]) != (second["id"], second["tokenSha"])
    assert [] == lines_of(shared, second["tokenSha"])
    assert second["id"] == shared.admin.get("/mcptokens/freed?project=demo").json()["id"]
    assert "revoked" == shared.admin.get(f"/mcptokens/{first['id']}").json()["status"]
    assert 401 == shared.nobody.as_(first["token"]).get("/auth/whoami").status_code
    assert 200 == shared.nobody.as_(second["token"]).get("/auth/whoami").status_code
    again = made(shared.admin.post(f"/mcptokens/{first['id']}/revoke"), 200)
    assert shared.admin.get(f"/mcptokens/{first['id']}").json()["revokedAt"] == again["revokedAt"]


def test_revoking_takes_every_line_whatever_its_origin(shared: Served) -> None:
    minted = mint(shared, "bound", "role:view,resource:servers")
    subject = f"McpToken:{minted['tokenSha']}"
    setup(
        shared,
        ("POST", "/rbac", {"name": "one", "subjects": [subject], "roleBindings": ["role:run,resource:servers"]}),
        ("POST", "/rbac", {"name": "two", "subjects": [subject, "User:admin"], "roleBindings": ["action:logs"]}),
    )
    assert 3 == len(lines_of(shared, minted["tokenSha"]))
    setup(shared, ("POST", "/mcptokens/bound/revoke?project=demo", None))
    assert [] == lines_of(shared, minted["tokenSha"])
    assert 404 == shared.admin.get("/rbac/one").status_code
    assert ["User:admin"] == shared.admin.get("/rbac/two").json()["subjects"]
    audited = shared.admin.get("/audit?limit=10").json()["items"]
    assert ["one"] == [row["name"] for row in audited if (row["action"], row["resource"]) == ("delete", "rbac")]
    answer = shared.admin.post("/rbac", {"name": "late", "subjects": [subject], "roleBindings": ["action:logs"]})
    assert ["subjects.0"] == [error["field"] for error in refused(answer, "invalid")["errors"]]


def test_revoking_ends_every_secret_in_the_grace_of_a_rotation_too(shared: Served) -> None:
    minted = mint(shared, "twice")
    made(shared.admin.post("/mcptokens/twice/rotate?project=demo", {"grace": "10h"}), 200)
    setup(shared, ("POST", f"/mcptokens/{minted['id']}/revoke", None))
    with shared.control.database.read() as session:
        ends = list(session.scalars(select(TokenSecret.valid_until).where(TokenSecret.token_id == minted["id"])))
    assert [True, True] == [moment is not None and moment <= time.time() for moment in ends]


def test_deleting_takes_row_lines_and_secrets(shared: Served) -> None:
    minted = mint(shared, "gone", "role:view,resource:servers")
    assert 204 == shared.admin.delete("/mcptokens/gone?project=demo").status_code
    assert 404 == shared.admin.get(f"/mcptokens/{minted['id']}").status_code
    assert [] == lines_of(shared, minted["tokenSha"])
    with shared.control.database.read() as session:
        assert [] == list(session.scalars(select(TokenSecret).where(TokenSecret.token_id == minted["id"])))
    assert {"active": False, "reason": "unknown"} == introspected(shared, minted["token"])
    kept = shared.admin.get(f"/audit?token={minted['tokenSha']}").json()["items"]
    assert [] == kept  # nobody used it; what was done to it is found by what it was called
    done = [row["action"] for row in shared.admin.get("/audit").json()["items"] if row["name"] == "demo/gone"]
    assert ["delete", "create"] == done


def test_clone_is_a_snapshot_of_all_its_creator_holds_denies_included(shared: Served, actor: Person) -> None:
    """authz d16, d17: leaving the group later does not change the lines; joining another adds nothing."""
    setup(
        shared,
        ("POST", "/groups", {"name": "cloned", "members": ["User:actor"]}),
        ("POST", "/groups", {"name": "later"}),
        (
            "POST",
            "/rbac",
            {
                "name": "cloned",
                "subjects": ["Group:cloned"],
                "roleBindings": ["role:run,resource:servers", "role:run,resource:servers,name:github,effect:deny"],
            },
        ),
        ("POST", "/rbac", {"name": "later", "subjects": ["Group:later"], "roleBindings": ["role:view,resource:users"]}),
    )
    own = ["role:create,resource:mcptokens", "role:view,resource:projects", "role:run,resource:servers"]
    actor.holds(*own)
    body = {"name": "snapshot", "project": "demo", "rbacMode": "clone", "bindings": ["role:run,resource:servers,name:time"]}
    minted = made(actor.asks("POST", "/mcptokens", body))
    wanted = sorted([*own, "role:run,resource:servers,name:github,effect:deny", "role:run,resource:servers,name:time"])
    assert wanted == sorted(minted["bindings"])
    assert ("clone", True) == (minted["rbacMode"], any("secrets" in line for line in minted["never"]))
    token = shared.nobody.as_(minted["token"])

    def may(name: str, resource: str = "servers", action: str = "run") -> bool:
        return bool(token.post("/authorize", {"action": action, "resource": resource, "name": name}).json()["allowed"])

    assert (True, False) == (may("time/now"), may("github/x"))
    setup(shared, ("DELETE", "/groups/cloned/members/actor", None), ("PUT", "/groups/later/members/actor", None))
    assert (True, False, False) == (may("time/now"), may("github/x"), may("actor", "users", "view"))
    assert wanted == sorted(lines_of(shared, minted["tokenSha"]))
    setup(shared, ("DELETE", "/groups/cloned", None), ("DELETE", "/groups/later", None))


def test_a_token_takes_bindings_that_allow_only(shared: Served) -> None:
    deny = "role:run,resource:servers,effect:deny"
    answer = shared.admin.post("/mcptokens", {"name": "denies", "project": "demo", "bindings": ["action:logs", deny]})
    assert ["bindings.1"] == [error["field"] for error in refused(answer, "invalid_binding")["errors"]]


@pytest.mark.parametrize(
    "binding",
    [
        "",
        "role:view",
        "resource:servers",
        "role:view,resource:servers,name:",
        "role:view,role:admin,resource:servers",
        "role:view,resource:servers,resource:secrets",
        "role:view,resource:servers,name:foo,resource:*",
        "role:nobody,resource:servers",
        "role:view,resource:nothing",
        "role:view,resource:servers,name:FOO",
        "role:view,resource:servers,name:a*",
        "role:view,resource:servers,name:.*",
        "role:view,resource:servers,name:[a-z]",
        "role:view,resource:servers,name:(a+)+$",
        "role:view,resource:*,name:a",
        "action:view",
        "action:logs,name:x,name:y",
        "action:backup,name:p",
        "role:gateway,resource:operations",
        "edit:servers",
        "run:servers:time",
        "role:view,resource:servers,effect:maybe",
        "role:view;resource:servers",
        "p, User:admin, admin, *, *, allow",
    ],
)
def test_a_binding_that_cannot_be_read_is_refused_by_its_place(binding: str, shared: Served) -> None:
    """authz d28, d29."""
    with nothing_changes(shared, refusals=0):
        for path, body in (
            ("/mcptokens", {"name": "syntax", "project": "demo", "bindings": ["action:logs", binding]}),
            ("/rbac", {"name": "syntax", "subjects": ["User:admin"], "roleBindings": ["action:logs", binding]}),
        ):
            said = shared.admin.post(path, body)
            assert 422 == said.status_code
            field = "bindings" if path == "/mcptokens" else "roleBindings"
            assert [f"{field}.1"] == [error["field"] for error in said.json()["errors"]]


def test_a_token_is_found_by_id_or_by_name_and_project(shared: Served) -> None:
    """authz d31: never by a part of its hash."""
    minted = mint(shared, "found")
    assert minted["id"] == shared.admin.get("/mcptokens/found?project=demo").json()["id"]
    assert "found" == shared.admin.get(f"/mcptokens/{minted['id']}").json()["name"]
    assert ["project"] == [error["field"] for error in refused(shared.admin.get("/mcptokens/found"), "invalid")["errors"]]
    refused(shared.admin.get("/mcptokens/found?project=nothing"), "not_found")
    refused(shared.admin.get(f"/mcptokens/{minted['id'].lower()}?project=demo"), "not_found")
    for key in (minted["tokenSha"], minted["tokenSha"][:8], minted["token"]):
        assert shared.admin.get(f"/mcptokens/{key}?project=demo").status_code in (404, 422)
    answer = shared.admin.post("/mcptokens", {"name": "introspect", "project": "demo"})
    assert ["name"] == [error["field"] for error in refused(answer, "invalid")["errors"]]


def test_minting_needs_a_project_that_exists_and_says_so_only_to_who_may_view_it(shared: Served, actor: Person) -> None:
    refused(shared.admin.post("/mcptokens", {"name": "x", "project": "nothing"}), "not_found")
    actor.holds("role:create,resource:mcptokens")
    answers = [actor.asks("POST", "/mcptokens", {"name": "x", "project": project}) for project in ("nothing", "demo")]
    assert ["view projects nothing", "view projects demo"] == [refused(one, "forbidden")["missing"][0] for one in answers]


def test_rotating_ends_the_old_secret_now_and_changes_no_policy_line(shared: Served) -> None:
    minted = mint(shared, "turn", "role:view,resource:servers")
    assert 200 == shared.nobody.as_(minted["token"]).get("/auth/whoami").status_code, "it is remembered from now on"
    with shared.control.database.read() as session:
        before = [tuple(row) for row in session.execute(select(PolicyRow.__table__))]
    rotated = made(shared.admin.post("/mcptokens/turn/rotate?project=demo"), 200)
    with shared.control.database.read() as session:
        assert before == [tuple(row) for row in session.execute(select(PolicyRow.__table__))]
    assert minted["token"] != rotated["token"]
    assert (minted["id"], minted["tokenSha"], minted["owner"]) == (rotated["id"], rotated["tokenSha"], rotated["owner"])
    assert 401 == shared.nobody.as_(minted["token"]).get("/auth/whoami").status_code
    assert {"active": False, "reason": "expired"} == introspected(shared, minted["token"])
    said = shared.nobody.as_(rotated["token"]).get("/auth/whoami").json()
    assert (f"McpToken:{minted['tokenSha']}", "turn") == (said["subject"], said["tokenName"])


def test_during_the_grace_both_secrets_are_one_identity_and_afterwards_one_is_left(shared: Served) -> None:
    first = mint(shared, "grace")
    second = made(shared.admin.post("/mcptokens/grace/rotate?project=demo", {"grace": "1.5s"}), 200)
    subjects = [shared.nobody.as_(one["token"]).get("/auth/whoami").json()["subject"] for one in (first, second)]
    assert [f"McpToken:{first['tokenSha']}"] * 2 == subjects
    third = made(shared.admin.post("/mcptokens/grace/rotate?project=demo", {"grace": "10h"}), 200)
    said = introspected(shared, first["token"])
    assert said["exp"] - time.time() < 2, "a later rotation does not prolong an earlier secret"
    time.sleep(max(0.0, said["exp"] - time.time()) + 1.1)
    statuses = [shared.nobody.as_(one["token"]).get("/auth/whoami").status_code for one in (first, second, third)]
    assert [401, 200, 200] == statuses
    setup(shared, ("POST", "/mcptokens/grace/revoke?project=demo", None))
    reasons = [introspected(shared, one["token"])["reason"] for one in (first, second, third)]
    assert ["revoked"] * 3 == reasons


@pytest.mark.parametrize("grace", ["-1h", "never", "2099-01-01T00:00:00Z", "soon", ""])
def test_a_grace_that_is_no_duration_is_refused(grace: str, shared: Served) -> None:
    if shared.admin.get("/mcptokens/graceless?project=demo").status_code == 404:
        mint(shared, "graceless")
    with nothing_changes(shared, refusals=0):
        answer = shared.admin.post("/mcptokens/graceless/rotate?project=demo", {"grace": grace})
        assert ["grace"] == [error["field"] for error in refused(answer, "invalid")["errors"]]


def test_a_grace_of_zero_is_none(shared: Served) -> None:
    for index, grace in enumerate(("0", "0s")):
        minted = mint(shared, f"zero-{index}")
        made(shared.admin.post(f"/mcptokens/zero-{index}/rotate?project=demo", {"grace": grace}), 200)
        assert 401 == shared.nobody.as_(minted["token"]).get("/auth/whoami").status_code


def test_a_secret_rotated_away_has_ended_by_every_replicas_clock(shared: Served) -> None:
    """However far behind a clock is: an end at zero lies in the future of none."""
    mint(shared, "clock")
    made(shared.admin.post("/mcptokens/clock/rotate?project=demo", {}), 200)
    with shared.control.database.read() as db:
        ends = [end for (end,) in db.execute(select(TokenSecret.valid_until).join(Token).where(Token.name == "clock"))]
    assert [0.0, None] == sorted(ends, key=lambda end: end is None)


def test_rotating_for_somebody_else_needs_what_policy_files_give_the_token_too(
    database_url: str, policy_directory: Path
) -> None:
    """authz d6, door 9: a line's home decides nothing about what it gives."""
    with serving.serve(database_url, policy_directory) as before:
        before.project("lab")
        token = made(before.admin.post("/mcptokens", {"name": "ci", "project": "lab"}))
        before.user("mallory", "role:edit,resource:mcptokens", "role:view,resource:projects")
    line = f"p, McpToken:{token['tokenSha']}, delete, servers, *, allow\n"
    (policy_directory / "token.csv").write_text(line)
    with serving.serve(database_url, policy_directory) as served:
        mallory = served.log_in("mallory", "a long password")
        refused(mallory.post("/mcptokens/ci/rotate?project=lab", {}), "ceiling", ["delete servers *"])
        assert ["role:delete,resource:servers"] == served.admin.get("/mcptokens/ci?project=lab").json()["bindings"]


def test_an_ended_token_is_not_rotated_back_to_life(shared: Served) -> None:
    revoked, expired = mint(shared, "ended-r"), mint(shared, "ended-e", ttl="0.1s")
    setup(shared, ("POST", f"/mcptokens/{revoked['id']}/revoke", None))
    time.sleep(0.15)
    for minted in (revoked, expired):
        with nothing_changes(shared, refusals=0):
            refused(shared.admin.post(f"/mcptokens/{minted['id']}/rotate"), "conflict")


def introspected(served: Served, bearer: str) -> dict[str, Any]:
    """What introspection says to whoever presents this bearer, without what it leaves empty."""
    body = made(served.nobody.as_(bearer).get("/mcptokens/introspect"), 200)
    return (
        body
        if body["active"]
        else {name: value for name, value in body.items() if value is False or value not in (None, [], 0)}
    )


def test_introspection_tells_the_bearer_what_it_is(shared: Served) -> None:
    minted = mint(shared, "what", "role:run,resource:servers,name:time", ttl="1h")
    said = introspected(shared, minted["token"])
    wanted = {
        "active": True,
        "reason": None,
        "sub": f"McpToken:{minted['tokenSha']}",
        "token_type": "mcptoken",
        "username": "admin",
        "project": "demo",
        "tokenName": "what",
        "tokenSha": minted["tokenSha"],
        "tokenId": minted["id"],
        "owner": "User:admin",
        "bindings": ["role:run,resource:servers,name:time"],
        "exp": int(datetime.fromisoformat(minted["expiresAt"]).timestamp()),
        "iat": int(datetime.fromisoformat(minted["createdAt"]).timestamp()),
    }
    assert wanted == {name: said[name] for name in wanted}
    assert said["revision"] >= 1
    assert {f"McpToken:{minted['tokenSha']}", "User:admin", "Group:admins", "Project:demo"} <= set(said["topics"])


def test_a_session_introspects_too(shared: Served) -> None:
    said = introspected(shared, shared.admin.bearer or "")
    wanted = {"active": True, "sub": "User:admin", "token_type": "session", "project": None, "tokenSha": None, "owner": None}
    assert wanted == {name: said[name] for name in wanted}


def test_introspection_tells_why_a_bearer_is_not_active_to_its_bearer_alone(shared: Served) -> None:
    """authz d36: apart here, one and the same everywhere else."""
    setup(
        shared,
        ("POST", "/users", {"name": "owner", "password": "a long password"}),
        ("POST", "/rbac", {"name": "owner", "subjects": ["User:owner"], "roleBindings": ["role:admin,resource:*"]}),
    )
    owner = shared.log_in("owner", "a long password")
    orphan = made(owner.post("/mcptokens", {"name": "why-o", "project": "demo"}))
    revoked, expired, deleted = mint(shared, "why-r"), mint(shared, "why-e", ttl="0.1s"), mint(shared, "why-d")
    setup(
        shared,
        ("POST", f"/mcptokens/{revoked['id']}/revoke", None),
        ("DELETE", f"/mcptokens/{deleted['id']}", None),
        ("PATCH", "/users/owner", {"disabled": True}),
    )
    time.sleep(0.15)
    bearers = {
        "revoked": revoked["token"],
        "expired": expired["token"],
        "owner_disabled": orphan["token"],
        "unknown": "mcpctl_pat_" + "A" * 43,
        "malformed": "mcpctl_pat_" + "A" * 42,
    }
    answers = set()
    for reason, bearer in bearers.items():
        assert {"active": False, "reason": reason} == introspected(shared, bearer)
        answer = shared.nobody.as_(bearer).get("/servers")
        problem = answer.json()
        del problem["instance"]
        answers.add((answer.status_code, answer.headers["www-authenticate"], str(problem)))
        form = shared.admin.call("POST", "//oauth2/introspect", data={"token": bearer})
        assert (200, {"active": False}) == (form.status_code, form.json())
    assert 1 == len(answers)
    assert "unknown" == introspected(shared, deleted["token"])["reason"]
    assert "owner_disabled" == introspected(shared, owner.bearer or "")["reason"]
    assert 401 == shared.nobody.get("/mcptokens/introspect").status_code


def test_the_standard_form_of_introspection_is_itself_authenticated(shared: Served, actor: Person) -> None:
    """RFC 7662 section 2.1, against token scanning; and an inactive answer says nothing more (2.2)."""
    minted = mint(shared, "rfc", "role:run,resource:servers")
    assert 401 == shared.nobody.call("POST", "//oauth2/introspect", data={"token": minted["token"]}).status_code
    answer = made(
        actor.client.call("POST", "//oauth2/introspect", data={"token": minted["token"], "token_type_hint": "access_token"}),
        200,
    )
    assert (True, f"McpToken:{minted['tokenSha']}") == (answer["active"], answer["sub"])
    assert "reason" not in answer
    for body in ({}, {"token": ["a", "b"]}, {"other": "x"}):
        refused(actor.client.call("POST", "//oauth2/introspect", data=body or {"x": ""}), "invalid")
    refused(actor.client.call("POST", "//oauth2/introspect", {"token": minted["token"]}), "unsupported_media")
    refused(actor.client.call("POST", "//oauth2/introspect", data={"token": "a" * 9000}), "too_large")


def test_when_a_token_was_last_used_is_kept_without_a_write_for_each_request(shared: Served) -> None:
    minted = mint(shared, "used")
    bearer = shared.nobody.as_(minted["token"])
    began = datetime.now(UTC) - timedelta(milliseconds=1)
    with nothing_changes(shared, refusals=0):
        for _ in range(3):
            bearer.get("/auth/whoami")
    shared.control.last_used.write()
    used = shared.admin.get(f"/mcptokens/{minted['id']}").json()["lastUsedAt"]
    assert began <= datetime.fromisoformat(used) <= datetime.now(UTC)


def test_writing_last_uses_waits_for_nobody_who_is_changing_a_credential(shared: Served) -> None:
    """A deletion and this could else wait for each other, and the deletion would be the one to fail."""
    held, free = mint(shared, "held"), mint(shared, "free")
    for minted in (held, free):
        assert 200 == shared.nobody.as_(minted["token"]).get("/auth/whoami").status_code
    if shared.control.database.is_sqlite:  # one writer at a time: nothing to wait for crosswise
        shared.control.last_used.write()
    else:
        with shared.control.database.write() as transaction:
            transaction.session.get_one(Token, held["id"], with_for_update={"of": Token})
            began = time.monotonic()
            shared.control.last_used.write()
            assert time.monotonic() - began < 2
    used = [shared.admin.get(f"/mcptokens/{minted['id']}").json()["lastUsedAt"] is not None for minted in (held, free)]
    assert [shared.control.database.is_sqlite, True] == used


@pytest.mark.parametrize("shape", ["missing", "empty", None])
def test_no_bindings_in_whatever_shape_give_nothing(shape: str | None, shared: Served) -> None:
    """threats 12: null, missing and empty never mean all."""
    body: dict[str, Any] = {"name": f"shape-{shape}".lower(), "project": "demo"}
    body |= {} if shape == "missing" else {"bindings": [] if shape == "empty" else None}
    answer = shared.admin.post("/mcptokens", body)
    if shape is None:
        assert ["bindings"] == [error["field"] for error in refused(answer, "invalid")["errors"]]
    else:
        assert [] == made(answer)["bindings"]
        bearer = shared.nobody.as_(answer.json()["token"])
        assert [] == bearer.get("/servers").json()["items"]
        assert bearer.post("/authorize", {"action": "view", "resource": "servers", "name": "time"}).json()["allowed"] is False


@pytest.mark.parametrize("member", ["subjects", "roleBindings"])
@pytest.mark.parametrize("value", [[], None])
def test_a_definition_without_subjects_or_bindings_is_refused(member: str, value: object, shared: Served) -> None:
    body = {"name": "hollow", "subjects": ["User:admin"], "roleBindings": ["action:logs"], member: value}
    assert [member] == [error["field"] for error in refused(shared.admin.post("/rbac", body), "invalid")["errors"]]


def test_a_token_is_minted_with_a_word_about_the_bindings_it_can_never_use(shared: Served) -> None:
    dead = ["role:view,resource:secrets,name:github", "role:view,resource:projects,name:elsewhere"]
    minted = mint(shared, "in-vain", "role:run,resource:servers,name:time", *dead)
    assert sorted(dead) == sorted(minted["unusable"])
    assert sorted(dead) == sorted(made(shared.admin.post("/mcptokens/in-vain/rotate?project=demo", {}), 200)["unusable"])

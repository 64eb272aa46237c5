"""Tokens, identity, projects and secrets, attacked: who somebody is, how long, and how far it reaches."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

from datetime import UTC, datetime
from time import sleep
from typing import Any

import pytest
from sqlalchemy import select

from mcpctl.services.passwords import hash_password
from mcpctl.store.schema import User
from tests.api.people import Person, allowed, nothing_changes, refused, setup
from tests.serving import Served, made

RUN = "role:run,resource:servers"
MINTS = ("role:create,resource:mcptokens", "role:view,resource:projects")


@pytest.fixture(scope="module")
def world(shared: Served) -> Served:
    """Two projects with a server each, and nobody slowed down."""
    shared.control.failed_bearers.wait = lambda *_keys: 0.0  # type: ignore[method-assign]  # this is not about guessing
    shared.project("mine", "mine")
    shared.project("theirs", "theirs")
    setup(shared, ("POST", "/users", {"name": "friend", "service": True}))
    return shared


def mint(served: Served, name: str, *bindings: str, project: str = "mine", **more: Any) -> dict[str, Any]:
    return made(served.admin.post("/mcptokens", {"name": name, "project": project, "bindings": list(bindings), **more}))


def test_no_rotation_outlives_the_token_it_is_of(world: Served) -> None:
    """authz d15: neither the new secret nor the grace of the old one moves the end that was set when it was minted."""
    minted = mint(world, "d15", ttl="2s")
    rotated = made(world.admin.post("/mcptokens/d15/rotate?project=mine", {"grace": "30d"}), 200)
    again = made(world.admin.post("/mcptokens/d15/rotate?project=mine", {"grace": "30d"}), 200)
    assert {minted["expiresAt"]} == {rotated["expiresAt"], again["expiresAt"]}
    clients = [world.nobody.as_(one["token"]) for one in (minted, rotated, again)]
    ends = [client.get("/mcptokens/introspect").json().get("exp") for client in clients]
    assert {int(datetime.fromisoformat(minted["expiresAt"]).timestamp())} == {*ends}
    for body in ({"ttl": "never"}, {"expiresAt": None}, {"grace": "1h", "ttl": "1h"}):
        refused(world.admin.post("/mcptokens/d15/rotate?project=mine", body), "invalid")
    sleep(max(0.0, (datetime.fromisoformat(minted["expiresAt"]) - datetime.now(UTC)).total_seconds()) + 0.05)
    assert [401] * 3 == [client.get("/auth/whoami").status_code for client in clients]
    refused(world.admin.post("/mcptokens/d15/rotate?project=mine", {}), "conflict")


def test_a_clone_of_a_group_is_never_more_than_its_owner_is_now(world: Served, actor: Person) -> None:
    """authz d16, d18: clone while in ops, leave ops, join admins: the token shrinks with the first and grows with neither."""
    ops = {"name": "ops", "subjects": ["Group:ops"], "roleBindings": [RUN]}
    setup(world, ("POST", "/groups", {"name": "ops", "members": ["User:actor"]}), ("POST", "/rbac", ops))
    actor.holds(*MINTS)
    twin = world.nobody.as_(
        made(actor.asks("POST", "/mcptokens", {"name": "d16", "project": "mine", "rbacMode": "clone"}))["token"]
    )
    questions = [{"action": action, "resource": "servers", "name": "mine"} for action in ("run", "delete")]

    def may() -> list[bool]:
        return allowed(twin, questions)

    assert [True, False] == may()
    setup(world, ("DELETE", "/groups/ops/members/actor", None))
    assert [False, False] == may()
    setup(world, ("PUT", "/groups/admins/members/actor", None))
    assert [True, False] == may()
    setup(world, ("DELETE", "/groups/admins/members/actor", None), ("DELETE", "/groups/ops", None))
    assert [False, False] == may()


def test_an_admin_who_is_denied_something_clones_the_deny(world: Served, actor: Person) -> None:
    """authz d17, incident 12: a narrowed admin mints nothing wider than itself, whatever shape the bindings have."""
    actor.holds("role:admin,resource:*", f"{RUN},name:mine/delete,effect:deny")
    body: dict[str, Any] = {"name": "d17", "project": "mine"}
    for bindings in (
        ["role:admin,resource:*"],
        [RUN],
        [f"{RUN},name:mine"],
        [f"{RUN},name:mine/*"],
        ["role:view,resource:servers", f"{RUN},name:mine/delete"],
    ):
        refused(actor.asks("POST", "/mcptokens", {**body, "bindings": bindings}), "ceiling")
    shapes: list[Any] = [None, {}, "", "*", [None], [[]], {"all": True}]
    for shape in shapes:
        refused(actor.asks("POST", "/mcptokens", {**body, "bindings": shape}), "invalid")
    for extra in (
        {"owner": "User:admin"},
        {"tokenSha": "a" * 64},
        {"subject": "User:admin"},
        {"admin": True},
        {"rbacMode": "all"},
        {"rbacMode": None},
    ):
        refused(actor.asks("POST", "/mcptokens", {**body, **extra}), "invalid")
    shapes = [{}, {"bindings": []}]
    for number, shape in enumerate(shapes):
        empty = made(actor.asks("POST", "/mcptokens", {**body, "name": f"d17-{number}", **shape}))
        agent = world.nobody.as_(empty["token"])
        assert ([], []) == (empty["bindings"], agent.get("/servers").json()["items"])
    twin = made(actor.asks("POST", "/mcptokens", {**body, "rbacMode": "clone"}))
    actor.holds("role:admin,resource:*")
    asked = {"action": "run", "resource": "servers", "name": "mine/delete"}
    assert made(world.nobody.as_(twin["token"]).post("/authorize", asked), 200)["allowed"] is False, "the copy keeps it"


DEAD = ["unknown", "malformed", "revoked", "deleted", "expired", "rotated", "disabled"]


def test_every_dead_bearer_hears_the_same_answer(world: Served) -> None:
    """authz d36: status, body and headers do not tell whether it ever was a token, of whom, or why it is none now."""
    setup(world, ("POST", "/users", {"name": "d36", "password": "a long password"}))
    bearers = {
        name: mint(world, f"d36-{name}", **({"ttl": "0.2s"} if name == "expired" else {}))["token"]
        for name in ("revoked", "deleted", "expired", "rotated")
    }
    bearers |= {
        "unknown": "mcpctl_pat_" + "A" * 43,
        "malformed": "nonsense",
        "disabled": world.log_in("d36", "a long password").bearer or "",
    }
    setup(
        world,
        ("POST", "/mcptokens/d36-revoked/revoke?project=mine", None),
        ("DELETE", "/mcptokens/d36-deleted?project=mine", None),
        ("POST", "/mcptokens/d36-rotated/rotate?project=mine", None),
        ("PATCH", "/users/d36", {"disabled": True}),
    )
    sleep(0.25)
    for method, path in (
        ("GET", "/servers"),
        ("GET", "/auth/whoami"),
        ("POST", "/authorize"),
        ("GET", "/watch"),
        ("DELETE", "/servers/mine"),
    ):
        answers = [world.nobody.as_(bearers[name]).call(method, path) for name in DEAD]
        said = {(one.status_code, one.headers["www-authenticate"], str({**one.json(), "instance": ""})) for one in answers}
        assert 1 == len(said), said
        assert 401 == answers[0].status_code
    forms = [world.admin.call("POST", "//oauth2/introspect", data={"token": bearers[name]}) for name in DEAD]
    assert [{"active": False}] * len(DEAD) == [made(one, 200) for one in forms]
    refused(world.nobody.call("POST", "//oauth2/introspect", data={"token": bearers["unknown"]}), "missing_credential")
    # A token of another project is a good bearer, and what it asks for is not there.
    foreign = world.nobody.as_(mint(world, "d36-foreign", "role:view,resource:*", project="theirs")["token"])
    answers = [foreign.get(path) for path in ("/servers/mine", "/servers/nowhere", "/projects/mine", "/projects/nowhere")]
    assert [404] * 4 == [one.status_code for one in answers]


def test_the_subject_comes_from_the_bearer_and_from_nothing_else(world: Served, actor: Person) -> None:
    """authz d32: no header, member, query or type of JSON makes somebody of another kind."""
    actor.holds(RUN)
    sha = mint(world, "d32", RUN)["tokenSha"]
    question = {"action": "run", "resource": "servers", "name": "mine"}
    for subject in ("User:admin", f"McpToken:{sha}", "Group:admins"):
        refused(actor.asks("POST", "/authorize", {**question, "subject": subject}), "forbidden", ["impersonate operations *"])
        refused(actor.asks("POST", "/authorize", [question, {**question, "subject": subject}]), "forbidden")
    strange: list[Any] = [
        ["User:admin"],
        {"kind": "User", "name": "admin"},
        1,
        True,
        "admin",
        f"User:McpToken:{sha}",
        "user:admin",
        f"User:{sha}:",
        "User:admin,Group:admins",
        "Group:User:admin",
    ]
    for subject in strange:
        refused(actor.asks("POST", "/authorize", {**question, "subject": subject}), "invalid")
    headers = dict.fromkeys(
        (
            "X-User",
            "X-Subject",
            "X-Forwarded-User",
            "X-Remote-User",
            "X-Auth-Request-User",
            "Remote-User",
            "X-Mcpctl-Subject",
            "From",
        ),
        "User:admin",
    )
    said = made(actor.client.get("/auth/whoami", headers=headers), 200)
    assert ("User:actor", "session", [RUN]) == (said["subject"], said["kind"], said["bindings"])
    for member in ("subject", "user", "owner", "actor", "kind"):
        refused(
            actor.asks(
                "POST", "/rbac", {"name": "d32", "subjects": ["User:actor"], "roleBindings": [RUN], member: "User:admin"}
            ),
            "invalid",
        )
        refused(actor.asks("GET", f"/auth/whoami?{member}=User:admin"), "invalid")


def test_a_star_of_a_projects_token_is_a_star_in_that_project(world: Served) -> None:
    """authz d38: whatever its bindings say of everything, a token moves, attaches, mints or reads nothing elsewhere."""
    wide = mint(world, "d38", "role:admin,resource:*", "role:edit,resource:projects,name:theirs", f"{RUN},name:theirs")
    agent = world.nobody.as_(wide["token"])
    calls: list[tuple[str, str, Any]] = [
        ("PUT", "/projects/mine/servers/theirs", None),
        ("PUT", "/projects/theirs/servers/mine", None),
        ("DELETE", "/projects/theirs/servers/theirs", None),
        ("PUT", "/projects/mine", {"servers": ["mine", "theirs"]}),
        ("POST", "/projects", {"name": "d38", "servers": ["mine"]}),
        ("POST", "/servers", {"name": "d38", "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}),
        ("DELETE", "/servers/theirs", None),
        ("POST", "/mcptokens", {"name": "d38", "project": "theirs"}),
        ("GET", "/audit?project=theirs", None),
    ]
    with nothing_changes(world, refusals=len(calls) - 1):
        for method, path, body in calls:
            answer = agent.call(method, path, body)
            assert answer.status_code in (403, 404) or [] == answer.json()["items"], (method, path, answer.text)
    questions = [
        {"action": action, "resource": resource, "name": name}
        for action, resource, name in (
            ("run", "servers", "theirs"), ("run", "servers", "theirs/tool"), ("run", "servers", "*"), ("view", "projects", "*"), ("view", "projects", "theirs"),
            ("view", "mcptokens", "theirs/x"), ("view", "mcptokens", "*"), ("audit", "operations", "theirs"), ("audit", "operations", "*"), ("view", "instances", "theirs/gw"), ("view", "secrets", "*"),
        )
    ]  # fmt: skip
    assert [False] * len(questions) == allowed(agent, questions)
    # A person who owns one project cannot mint for another, nor give what reaches it.
    owner = world.user(
        "d38-owner", "role:edit,resource:projects,name:mine", "role:create,resource:mcptokens,name:mine", f"{RUN},name:mine"
    )
    refused(owner.post("/mcptokens", {"name": "d38x", "project": "theirs"}), "forbidden", ["create mcptokens theirs/d38x"])
    for binding, missing in {
        RUN: ["run servers *", "view servers *"],
        "role:view,resource:projects,name:theirs": ["view projects theirs"],
    }.items():
        refused(owner.post("/mcptokens", {"name": "d38x", "project": "mine", "bindings": [binding]}), "ceiling", missing)


def test_a_secret_is_read_by_nobody_who_may_merely_look_and_attach(world: Served, actor: Person) -> None:
    """authz d39: a gateway of one's own project does not make the values of other people's servers one's own."""
    value = "d39-value-of-a-secret"
    reference = {"secret": "d39", "key": "key"}
    setup(
        world,
        ("POST", "/secrets", {"name": "d39", "values": {"key": value}}),
        ("POST", "/servers", {"name": "d39", "transport": "stdio", "command": "x", "env": {"KEY": reference}}),
        ("POST", "/projects", {"name": "d39", "servers": []}),
    )
    actor.holds(
        "role:edit,resource:projects,name:d39", "role:create,resource:projects,name:d39b", "role:expose,resource:projects,name:d39b",
        "action:gateway,name:d39", "action:gateway,name:d39b", "role:view,resource:servers", "role:view,resource:secrets", "role:edit,resource:servers,name:d39x", "role:view,resource:instances", "action:audit", "action:logs", "role:view,resource:mcptokens",
    )  # fmt: skip
    doors: list[tuple[str, str, Any]] = [
        ("PUT", "/projects/d39/servers/d39", None),
        ("PUT", "/projects/d39", {"servers": ["d39"]}),
        ("POST", "/projects", {"name": "d39b", "servers": ["d39"]}),
        ("POST", "/servers", {"name": "d39x", "transport": "stdio", "command": "x", "env": {"KEY": reference}}),
    ]
    with nothing_changes(world, refusals=len(doors)):
        for call in doors:
            refused(actor.asks(*call), "ceiling", ["run secrets d39"])
    for path in (
        "/secrets",
        "/secrets/d39",
        "/servers/d39",
        "/servers",
        "/audit",
        "/instances",
        "/mcptokens",
        "/gateway/upstreams?project=d39",
    ):
        answer = actor.asks("GET", path)
        assert 200 == answer.status_code
        assert value not in answer.text
    setup(world, ("PUT", "/projects/d39/servers/d39", None))
    assert {"KEY": value} == made(actor.asks("GET", "/gateway/upstreams?project=d39"), 200)["servers"][0]["env"]


def test_looking_at_a_token_or_a_session_is_not_using_it(world: Served, actor: Person) -> None:
    """authz d39, incident 8: no list, description or audit row holds anything one could log in with."""
    minted = mint(world, "d39t", RUN)
    session = made(world.admin.post("/sessions", {"user": "friend"}))
    actor.holds("role:view,resource:*", "action:audit")
    texts = [
        actor.asks("GET", path).text
        for path in ("/mcptokens", f"/mcptokens/{minted['id']}", "/sessions", "/users", "/users/friend", "/audit", "/rbac")
    ]
    words = {word.strip('",:{}[] ') for text in texts for word in text.split('"')}
    candidates = {word for word in words if len(word) >= 20}
    assert {minted["tokenSha"], minted["id"], session["id"]} <= candidates
    for word in sorted(candidates):
        refused(world.nobody.as_(word).get("/auth/whoami"), "invalid_credential")
    assert not {"password", "passwordHash", "hash"} & {word for word in words if len(word) < 20}


def test_the_hash_of_a_password_is_no_password(world: Served) -> None:
    """incident 8: neither the stored hash nor one made of the same password logs anybody in."""
    world.control.failed_logins.wait = lambda *_keys: 0.0  # type: ignore[method-assign]
    setup(world, ("POST", "/users", {"name": "hashed", "password": "a long password"}))
    with world.control.database.read() as session:
        kept = session.scalars(select(User.password_hash).where(User.name == "hashed")).one()
    assert kept is not None
    assert kept.startswith("$argon2id$")
    for password in (kept, hash_password("a long password"), kept.rpartition("$")[2]):
        refused(world.nobody.post("/auth/login", {"username": "hashed", "password": password}), "wrong_password")
    refused(world.admin.post("/users", {"name": "by-hash", "passwordHash": kept}), "invalid")


def test_nobody_changes_more_of_oneself_than_the_password(world: Served) -> None:
    """incident 10: no field of one's own account is a way to a role."""
    person = world.user("self")
    for member, value in {
        "role": "admin",
        "groups": ["Group:admins"],
        "admin": True,
        "service": True,
        "name": "admin",
        "id": "x",
        "bindings": ["role:admin,resource:*"],
        "createdAt": "2020-01-01T00:00:00Z",
    }.items():
        refused(
            person.patch("/users/self", {"password": "another password", "oldPassword": "a long password", member: value}),
            "invalid",
        )
        refused(person.patch("/users/self", {member: value}), "invalid")
    calls: list[tuple[str, str, Any]] = [
        ("PUT", "/groups/admins/members/self", None),
        ("PATCH", "/users/admin", {"password": "another password"}),
        ("GET", "/users/self", None),
    ]
    with nothing_changes(world, refusals=len(calls)):
        for call in calls:
            refused(person.call(*call), "forbidden")


def test_a_gateway_is_told_only_of_people_it_could_serve(world: Served, actor: Person) -> None:
    """authz d37, d38: whose lines a gateway of one project may read is who may view that project; of all others it is told nothing."""
    world.user("sees", "role:view,resource:projects,name:mine", f"{RUN},name:mine")
    world.user("blind", "role:view,resource:projects,name:theirs", "role:view,resource:secrets")
    setup(world, ("POST", "/groups", {"name": "blind-team", "members": ["User:blind"]}))
    foreign = mint(world, "slices", project="theirs")["tokenSha"]
    for holds in ("action:gateway,name:mine", "action:gateway"):
        actor.holds(holds)
        said = made(actor.asks("GET", "/gateway/slices?subject=User:sees&project=mine"), 200)
        assert {"User:sees"} == {rule[0] for rule in said["own"]["rules"]}
        for subject in (
            "User:blind",
            "User:nobody",
            "Group:blind-team",
            "Group:nobody",
            f"McpToken:{foreign}",
            f"McpToken:{'0' * 64}",
        ):
            refused(actor.asks("GET", f"/gateway/slices?subject={subject}&project=mine"), "not_found")


def test_who_may_not_write_definitions_learns_of_no_subject(world: Served, actor: Person) -> None:
    """authz d37: without the right both answers are one; with it, an unknown subject is refused."""
    for call in (
        lambda name: ("POST", "/rbac", {"name": "d37s", "subjects": [f"User:{name}"], "roleBindings": [RUN]}),
        lambda name: ("PUT", f"/groups/admins/members/{name}", None),
        lambda name: ("POST", "/groups", {"name": "d37s", "members": [f"User:{name}"]}),
        lambda name: ("POST", "/sessions", {"user": name}),
        lambda name: ("PATCH", f"/users/{name}", {"disabled": True}),
        lambda name: ("DELETE", f"/users/{name}", None),
    ):
        answers = [refused(actor.asks(*call(name)), "forbidden") for name in ("friend", "absent")]
        said = [{**one, "instance": ""} for one in answers]
        assert str(said[0]).replace("friend", "absent") == str(said[1])
    actor.holds("role:create,resource:rbac", RUN)
    refused(actor.asks("POST", "/rbac", {"name": "d37s", "subjects": ["User:absent"], "roleBindings": [RUN]}), "invalid")


def test_an_enabled_user_comes_back_only_by_somebody_who_holds_as_much(world: Served, actor: Person) -> None:
    """authz d18: disabling pauses tokens and sessions at once, and only the ceiling lets them go on."""
    person = world.user("paused", *MINTS, RUN)
    agent = world.nobody.as_(
        made(person.post("/mcptokens", {"name": "paused", "project": "mine", "rbacMode": "clone"}))["token"]
    )
    actor.holds("role:edit,resource:users,name:paused")
    made(actor.asks("PATCH", "/users/paused", {"disabled": True}), 200)
    assert [401, 401] == [one.get("/auth/whoami").status_code for one in (person, agent)]
    refused(actor.asks("PATCH", "/users/paused", {"disabled": False}), "ceiling")
    refused(actor.asks("PATCH", "/users/paused", {"password": "another password"}), "ceiling")
    assert [401, 401] == [one.get("/auth/whoami").status_code for one in (person, agent)]
    setup(world, ("PATCH", "/users/paused", {"disabled": False}), ("PATCH", "/users/paused", {"password": "another password"}))
    assert [401, 200] == [one.get("/auth/whoami").status_code for one in (person, agent)], (
        "a new password ends sessions for good"
    )


def test_deleting_a_server_gives_nobody_anything(world: Served, actor: Person) -> None:
    """It needs ``delete`` on the server and names no project; what it leaves is reached by nobody anew."""
    world.project("left", "leaves", "stays")
    token = world.nobody.as_(mint(world, "left", RUN, project="left")["token"])
    actor.holds("role:delete,resource:servers,name:leaves")
    assert 204 == actor.asks("DELETE", "/servers/leaves").status_code
    assert ["stays"] == [one["name"] for one in token.get("/servers").json()["items"]]

"""Door 7: many things in one request. A batch is worth what its items are worth one by one, and is done whole or not at all."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api import test_ceiling_doors as doors
from tests.api.people import PASSWORD, Person, audit_rows, nothing_changes, refused, setup
from tests.api.test_ceiling_doors import Call, Door
from tests.serving import Client, Served, made
from tests.store.rows import dump

POLICY_FILES = doors.POLICY_FILES | {"seven.csv": "p, Group:seven, run, servers, x, allow\n"}
Item = dict[str, Any]
KIND = {"users": "user", "groups": "group", "servers": "server", "projects": "project", "rbac": "rbac"}
REMOTE = {"transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}


def user(name: str, **more: Any) -> Item:
    return {"kind": "user", "name": name, "service": True, **more}


def group(name: str, *members: str) -> Item:
    return {"kind": "group", "name": name, "members": [f"User:{member}" for member in members]}


def rbac(name: str, subject: str, *bindings: str) -> Item:
    return {"kind": "rbac", "name": name, "subjects": [subject], "roleBindings": list(bindings)}


def server(name: str, **more: Any) -> Item:
    return {"kind": "server", "name": name, **REMOTE, **more}


def project(name: str, *servers: str) -> Item:
    return {"kind": "project", "name": name, "servers": list(servers)}


def secret(name: str, **values: str) -> Item:
    return {"kind": "secret", "name": name, "values": values}


def apply(client: Client, *items: Item, **more: Any) -> httpx2.Response:
    return client.post("/apply", {"items": list(items), **more})


def results(answer: httpx2.Response) -> list[tuple[str, str, str]]:
    return [(one["kind"], one["name"], one["result"]) for one in made(answer, 200)["items"]]


def everything(name: str) -> list[Item]:
    """One of each kind, each naming those it can, in no good order."""
    return [
        rbac(name, f"Group:{name}", "role:view,resource:servers", f"role:view,resource:users,name:{name},effect:deny"),
        {**project(name, name), "toolNames": "plain"},
        server(name, headers={"X-A": "1", "Authorization": {"secret": name, "key": "bearer"}}, healthCheck={"tool": "now"}, stateful=True),
        secret(name, bearer="hush", other="hush hush"),
        group(name, name),
        user(name, disabled=True),
    ]  # fmt: skip


def test_what_is_applied_is_there_and_what_it_is_comes_back_as_items_that_change_nothing(shared: Served) -> None:
    first = made(apply(shared.admin, *everything("whole")), 200)
    assert [("created", None)] * 6 == [(one["result"], one["before"]) for one in first["items"]]
    assert [item["kind"] for item in everything("whole")] == [one["kind"] for one in first["items"]]
    before = dump(shared.control.database)
    documents = [one["after"] for one in first["items"]]
    assert {"kind": "secret", "name": "whole", "keys": ["bearer", "other"]} in documents
    again = made(apply(shared.admin, *documents), 200)["items"]
    assert [("unchanged", document, document) for document in documents] == [
        (one["result"], one["before"], one["after"]) for one in again
    ]
    assert before == dump(shared.control.database)


def test_an_item_says_what_changes_and_what_it_leaves_out_stays(shared: Served) -> None:
    made(apply(shared.admin, *everything("parts")), 200)
    steps = [
        ({"kind": "user", "name": "parts", "service": True}, []),
        (user("parts", disabled=False), ["disabled"]),
        ({"kind": "group", "name": "parts"}, []),
        (group("parts"), ["members"]),
        ({"kind": "project", "name": "parts"}, []),
        ({"kind": "project", "name": "parts", "toolNames": "prefixed"}, ["toolNames"]),
        (server("parts"), ["headers", "healthCheck", "stateful"]),
        (rbac("parts", "User:parts", "role:view,resource:servers"), ["subjects", "roleBindings"]),
        (rbac("parts", "User:parts", " resource:server ,role:view"), []),
    ]
    for item, differs in steps:
        (said,) = made(apply(shared.admin, item), 200)["items"]
        assert ("changed" if differs else "unchanged", differs) == (said["result"], said["differs"]), item
    assert ["parts"] == shared.admin.get("/projects/parts").json()["servers"]


def test_values_of_a_secret_are_set_and_neither_shown_nor_compared(shared: Served) -> None:
    """Whether a value is the one that is kept would be a way to guess it."""
    made(apply(shared.admin, secret("quiet", a="one", b="two")), 200)
    keep: Item = {"kind": "secret", "name": "quiet", "keys": ["a", "b"]}
    for item, result, differs in [
        (keep, "unchanged", []),
        (secret("quiet", a="one", b="two"), "changed", ["values.a", "values.b"]),
        ({**keep, "values": {"a": "three"}}, "changed", ["values.a"]),
        ({**keep, "keys": ["a"]}, "changed", ["values.b"]),
    ]:
        answer = apply(shared.admin, item)
        (said,) = made(answer, 200)["items"]
        assert (result, differs) == (said["result"], said["differs"]), item
        assert not any(value in answer.text for value in ('"one"', '"two"', '"three"'))
    for wrong, field in [({**keep, "keys": ["a", "z"]}, "items.0.values.z"), ({"kind": "secret", "name": "quiet"}, "items.0.keys"), ({"kind": "secret", "name": "new", "keys": ["a"]}, "items.0.values.a")]:  # fmt: skip
        with nothing_changes(shared, refusals=0):
            assert [field] == [one["field"] for one in refused(apply(shared.admin, wrong), "invalid")["errors"]]


def test_a_password_is_for_whoever_is_new(shared: Served) -> None:
    person: Item = {"kind": "user", "name": "pat", "password": PASSWORD}
    assert [("user", "pat", "created")] == results(apply(shared.admin, person))
    assert [("user", "pat", "unchanged")] == results(apply(shared.admin, {**person, "password": "quite another one"}))
    assert 200 == shared.log_in("pat", PASSWORD).get("/auth/whoami").status_code
    with nothing_changes(shared, refusals=0):
        assert (
            "a person needs one" in refused(apply(shared.admin, {"kind": "user", "name": "no-password"}), "invalid")["detail"]
        )
        assert "service user" in refused(apply(shared.admin, user("pat")), "invalid")["detail"]


def as_item(call: Call) -> Item | None:
    """The item that does what a single call does, if there is one."""
    method, path, body = call
    resource, _, name = path.strip("/").partition("/")
    if method == "DELETE" or "/" in name or resource not in KIND or (method == "PATCH" and "disabled" not in body):
        return None
    if method == "PATCH":
        return {"kind": "user", "name": name, **body}
    return {"kind": KIND[resource], "name": name or body["name"], **body}


AS_ITEMS = [(door, item) for door in doors.DOORS if (item := as_item(door.call)) and "again" not in door.does]


@pytest.mark.parametrize(("door", "item"), AS_ITEMS, ids=[door.does for door, _ in AS_ITEMS])
def test_applying_needs_what_the_single_route_needs(door: Door, item: Item, shared: Served, actor: Person) -> None:
    """authz d19, d20, d21: the cases of the other doors, through this one; beside them one needs to see what changes."""
    setup(shared, *door.before)
    if door.call[0] == "PATCH":
        item = item | {"service": False}
    resource = next(word for word, kind in KIND.items() if kind == item["kind"])
    sees = f"role:view,resource:{resource},name:{item['name']}"
    harmless = group("no-harm-" + item["name"])
    more = (sees, "role:edit,resource:groups,name:no-harm-" + item["name"], *door.holds_also)
    for lacking, (code, missing) in door.needs.items():
        actor.holds(doors.SEES_ALL, *(each for each in [*door.needs, *more] if each != lacking))
        with nothing_changes(shared, refusals=1) as audited:
            refused(apply(actor.client, harmless, item), code, missing)
        assert [(actor.subject, code)] == [(row.subject, row.outcome) for row in audited]
    actor.holds(*door.needs, *more)
    with nothing_changes(shared, refusals=0):
        made(apply(actor.client, harmless, item, dryRun=True), 200)
    made(apply(actor.client, harmless, item), 200)


@dataclass(frozen=True)
class Case:
    """What can be done to things of one name: what there is before, the single call, the item, and what it needs."""

    before: Callable[[str], list[Call]]
    call: Callable[[str], Call]
    needs: tuple[str, ...]


SECRETLY = "role:view,resource:secrets"
CASES = [
    Case(lambda n: [doors.user(n)], lambda n: doors.rbac(n, f"User:{n}", SECRETLY), ("role:edit,resource:rbac", SECRETLY)),
    Case(lambda n: [doors.user(n), doors.rbac(n, f"User:{n}", "role:view,resource:users")], lambda n: doors.put_rbac(n, f"User:{n}", SECRETLY, "role:view,resource:users"), ("role:edit,resource:rbac", SECRETLY, "role:view,resource:users")),
    Case(lambda n: [doors.user(n), doors.rbac(n, f"User:{n}", SECRETLY + ",effect:deny", "role:view,resource:users")], lambda n: doors.put_rbac(n, f"User:{n}", "role:view,resource:users"), ("role:edit,resource:rbac", SECRETLY)),
    Case(lambda n: [doors.user(n), doors.group(n), doors.rbac(n, f"Group:{n}", SECRETLY)], lambda n: ("PUT", f"/groups/{n}", {"members": [f"User:{n}"]}), ("role:edit,resource:groups", SECRETLY)),
    Case(lambda n: [], lambda n: doors.user(n, service=True), ("role:edit,resource:users",)),
    Case(lambda n: [], lambda n: ("POST", "/servers", {**doors.server(n)[2], "healthCheck": {"tool": "wipe"}}), ("role:edit,resource:servers", "role:run,resource:servers")),
    Case(lambda n: [doors.server(n)], lambda n: doors.project(n, n), ("role:edit,resource:projects", "role:view,resource:servers")),
]  # fmt: skip
RIGHTS = sorted({need for case in CASES for need in case.needs})
numbers = count()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(CASES), min_size=1, max_size=4), st.sets(st.sampled_from(RIGHTS)), st.booleans())
def test_a_batch_is_accepted_exactly_if_each_of_its_items_is(
    shared: Served, actor: Person, cases: list[Case], lacking: set[str], generous: bool
) -> None:
    """authz d21, d22: the oracle is the single calls, by the very same person."""
    held = [right for right in RIGHTS if generous or right not in lacking]
    actor.holds(*held, *(f"role:view,resource:{resource}" for resource in ("rbac", "groups", "projects")))
    named = [(case, f"any-{next(numbers)}") for case in cases]
    for case, name in named:
        setup(shared, *case.before(name))
    batch = [item for case, name in named if (item := as_item(case.call(name)))]
    accepted = apply(actor.client, *batch, dryRun=True)
    alone = [actor.asks(*case.call(name)) for case, name in named]
    assert (200 if all(one.status_code in (200, 201) for one in alone) else 403) == accepted.status_code, accepted.text
    missing = {line for one in alone if one.status_code == 403 for line in one.json()["missing"]}
    assert missing == set(accepted.json().get("missing", []))


def test_what_a_batch_gives_its_sender_is_of_no_use_to_it(shared: Served, actor: Person) -> None:
    """authz d22: judged by what was held before it, also where an item before it was refused halfway through."""
    setup(shared, doors.group("self7"), doors.rbac("self7", "Group:self7", "role:view,resource:users"), doors.user("self7"))
    actor.holds("role:edit,resource:groups,name:self7", "role:edit,resource:rbac")
    into, use = group("self7", "actor"), rbac("uses7", "User:self7", "role:view,resource:users,name:self7")
    with nothing_changes(shared, refusals=2):
        refused(apply(actor.client, into, use), "ceiling", ["view users *", "view users self7"])
        refused(apply(actor.client, use, into), "ceiling", ["view users *", "view users self7"])
    mine = rbac("mine7", "User:actor", "role:edit,resource:rbac", "role:view,resource:servers")
    with nothing_changes(shared, refusals=1):
        refused(apply(actor.client, mine, rbac("next7", "User:self7", "role:view,resource:servers,name:a")), "ceiling", ["view servers *", "view servers a"])  # fmt: skip


def test_what_a_batch_takes_from_its_sender_it_still_may(shared: Served, actor: Person) -> None:
    """authz d22, from the other side: the authority is read once, so no order of items makes another batch of it."""
    setup(shared, doors.user("still7"), doors.rbac("still7", "User:actor", "role:view,resource:users"))
    actor.holds("role:edit,resource:rbac")
    less, give = (
        rbac("still7", "User:still7", "role:edit,resource:rbac"),
        rbac("give7", "User:still7", "role:view,resource:users"),
    )
    assert ["changed", "created"] == [result for _, _, result in results(apply(actor.client, less, give))]
    with nothing_changes(shared, refusals=1):
        refused(apply(actor.client, rbac("more7", "User:still7", "role:view,resource:users")), "ceiling", ["view users *"])


def test_what_was_refused_is_not_there_for_the_items_after_it(shared: Served, actor: Person) -> None:
    """Creating the group is refused once its row is there; the definition that names it is then one of nobody."""
    actor.holds("role:edit,resource:groups", "role:edit,resource:rbac")
    with nothing_changes(shared, refusals=1):
        batch = [group("seven"), rbac("seven", "Group:seven", "role:view,resource:users")]
        refused(apply(actor.client, *batch), "ceiling", ["run servers x", "view servers x"])


def test_one_refusal_takes_everything_back_and_all_that_is_missing_is_said(shared: Served, actor: Person) -> None:
    setup(shared, doors.user("all7"))
    actor.holds("role:edit,resource:groups", "role:edit,resource:rbac")
    good, strong = group("all7"), rbac("all7", "User:all7", "role:run,resource:servers,name:x")
    with nothing_changes(shared, refusals=1) as audited:
        said = refused(apply(actor.client, good, server("all7"), strong, project("all7")), "ceiling", ["create servers all7", "create projects all7", "run servers x", "view servers x"])  # fmt: skip
    assert ["server/all7", "project/all7", "rbac/all7"] == [line.partition(":")[0] for line in said["detail"].splitlines()]
    assert [{"missing": said["missing"]}] == [row.details for row in audited]
    with nothing_changes(shared, refusals=0):
        unknown = apply(actor.client, good, rbac("all7", "User:nobody", "role:edit,resource:groups"), group("more7", "nobody"))
        assert ["items.2.members.0", "items.1.subjects.0"] == [one["field"] for one in refused(unknown, "invalid")["errors"]]
    with nothing_changes(shared, refusals=1):
        refused(apply(shared.admin, good, user("admin", service=False, disabled=True)), "last_admin")


def test_without_view_an_existing_and_a_missing_thing_answer_the_same(shared: Served, actor: Person) -> None:
    made(apply(shared.admin, *everything("hidden")), 200)
    for item in everything("hidden"):
        actor.holds()
        said = refused(apply(actor.client, item), "forbidden")
        other = refused(apply(actor.client, {**item, "name": "hiddem"}), "forbidden")
        assert said["missing"] == [line.replace("hiddem", "hidden") for line in other["missing"]]
        assert said["detail"] == other["detail"].replace("hiddem", "hidden")
    actor.holds("role:create,resource:users,name:hidden")
    with nothing_changes(shared, refusals=0):
        refused(apply(actor.client, user("hidden")), "duplicate")


def test_a_dry_run_says_the_same_and_leaves_no_row_anywhere(shared: Served, actor: Person) -> None:
    made(apply(shared.admin, *everything("dry")), 200)
    changed = [*everything("dry")[1:3], group("dry"), *everything("dryer")]
    before = dump(shared.control.database)
    would = made(apply(shared.admin, *changed, dryRun=True, prune=["project"]), 200)
    assert before == dump(shared.control.database)
    assert would["dryRun"] is True
    with nothing_changes(shared, refusals=1):
        refused(apply(actor.client, group("dry"), dryRun=True), "forbidden")
    did = made(apply(shared.admin, *changed, prune=["project"], revision=would["revision"]), 200)
    assert {**would, "dryRun": False} == did
    with nothing_changes(shared, refusals=0):
        refused(apply(shared.admin, group("dry", "dry"), revision=would["revision"]), "conflict")


def test_every_item_has_its_own_row_in_the_audit_with_the_line_that_allowed_it(shared: Served, actor: Person) -> None:
    actor.holds("role:create,resource:groups,name:row7", "role:edit,resource:users,name:row7")
    known = {row.id for row in audit_rows(shared)}
    made(apply(actor.client, group("row7", "row7"), user("row7")), 200)
    rows = [row for row in audit_rows(shared) if row.id not in known]
    assert {("users", "row7", "edit"), ("groups", "row7", "create")} == {
        (row.resource, row.name, str(row.rule).split(", ")[2]) for row in rows if row.action == "create"
    }
    assert 1 == len({row.request_id for row in rows})


def test_pruning_deletes_what_is_not_in_the_set_of_that_kind_and_seen(served: Served) -> None:
    admin = served.admin
    made(apply(admin, *everything("old"), *everything("new")), 200)
    pruner = Person(served, "pruner").holds(
        "role:edit,resource:groups,name:new", "role:view,resource:groups,name:old", "role:edit,resource:servers"
    )
    with nothing_changes(served, refusals=1):
        refused(apply(pruner.client, group("new", "new"), prune=["group"]), "forbidden", ["delete groups old"])
    pruner.holds("role:edit,resource:groups,name:new", "role:edit,resource:servers")
    with nothing_changes(served, refusals=0):
        assert [("group", "new", "unchanged")] == results(apply(pruner.client, group("new", "new"), prune=["group"]))
    kept = [*everything("new"), rbac("for-pruner", "User:pruner", "role:view,resource:users")]
    pruned = ["rbac", "project", "server", "secret", "group", "user"]
    with nothing_changes(served, refusals=0):
        refused(apply(admin, *kept, prune=pruned), "in_use")  # a definition among the items names User:pruner
    answer = apply(admin, *kept, user("pruner", service=False), prune=pruned)
    assert [(kind, "old", "pruned") for kind in pruned] == results(answer)[len(kept) + 1 :]
    assert ["admin", "new", "pruner"] == [one["name"] for one in admin.get("/users").json()["items"]]
    assert ["admins", "gateways", "new"] == [one["name"] for one in admin.get("/groups").json()["items"]]


def test_pruning_takes_nothing_out_of_what_was_asked_for(served: Served) -> None:
    made(apply(served.admin, *everything("used")), 200)
    named = rbac("named", "User:used", "role:view,resource:users")
    for kind, other, naming, whose in [
        ("user", user("x"), group("used", "used"), "group/used"),
        ("server", server("x"), project("used", "used"), "project/used"),
        ("user", user("x"), named, "rbac/named"),
    ]:
        with nothing_changes(served, refusals=0):
            said = refused(apply(served.admin, other, naming, prune=[kind]), "in_use")["detail"]
        assert f"{whose} names {kind}/used, which would be pruned: add it, or take it out there" == said


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"items": [group("x"), group("x")]}, "items.1: group/x stands there twice"),
        ({"items": [group("x")], "prune": ["user"]}, "prune.0: there is no user among the items, so pruning would delete every one"),
        ({"items": []}, "items: it must have 1 members or more"),
        ({"items": [{"kind": "mcptoken", "name": "x", "project": "p"}]}, "items.0: a token cannot be applied: its secret is shown once"),
        ({"items": [{"kind": "users", "name": "x"}]}, "items.0: its 'kind' must be one of 'user', 'group', 'secret', 'proxymodel', 'server', 'project', 'rbac'"),
        ({"items": [{"name": "x"}]}, "items.0: it must name its 'kind'"),
        ({"items": [{**group("x"), "membres": []}]}, "items.0.membres: unknown member"),
        ({"items": [{**rbac("x", "User:admin"), "roleBindings": ["role:veiw,resource:servers"]}]}, "items.0.roleBindings.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_is_named_by_its_place(body: Item, says: str, shared: Served) -> None:
    with nothing_changes(shared, refusals=0):
        answer = shared.admin.post("/apply", body)
        assert 422 == answer.status_code
        assert says in answer.json()["detail"]


def test_a_token_applies_what_it_may_write_in_its_project_and_nothing_else(shared: Served) -> None:
    shared.project("mine", "mine")
    shared.project("other", "other")
    bearer = made(shared.admin.post("/mcptokens", {"name": "t", "project": "mine", "rbacMode": "clone"}))["token"]
    token = shared.nobody.as_(bearer)
    made(apply(token, {"kind": "project", "name": "mine", "toolNames": "plain"}), 200)
    with nothing_changes(shared, refusals=4):
        for item in (group("t7"), user("t7"), rbac("t7", "User:admin", "role:view,resource:servers"), {"kind": "project", "name": "other", "toolNames": "plain"}):  # fmt: skip
            refused(apply(token, item), "forbidden")

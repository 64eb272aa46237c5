"""Lists show what may be viewed, page by page, and never fail; describing tells nothing of what may not be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.people import Person, nothing_changes, refused, setup
from tests.serving import Client, Served, made

NAMES = ["a", "a-b", "a.b", "a0", "a_b", "ab", "b", "b-1", "b.1", "z9"]
"""Names whose order a locale, or a separator between them, would change."""

KINDS = ["users", "groups", "projects", "servers", "secrets", "proxymodels", "rbac", "mcptokens", "sessions", "instances"]


@pytest.fixture(autouse=True, scope="module")
def _a_world(shared: Served) -> None:
    setup(shared, ("POST", "/projects", {"name": "p"}))
    for name in NAMES:
        setup(
            shared,
            ("POST", "/users", {"name": name, "service": True}),
            ("POST", "/groups", {"name": name, "members": [f"User:{name}"]}),
            ("POST", "/projects", {"name": name}),
            ("POST", "/servers", {"name": name, "transport": "stdio", "command": "x"}),
            ("POST", "/secrets", {"name": name, "values": {"k": "v"}}),
            ("POST", "/proxymodels", {"name": name, "stages": [{"stage": "truncate"}]}),
            ("POST", "/rbac", {"name": name, "subjects": [f"User:{name}"], "roleBindings": ["action:logs,name:p"]}),
            ("POST", "/mcptokens", {"name": name, "project": "p"}),
            ("POST", "/sessions", {"user": name}),
            ("POST", "/sessions", {"user": name}),
        )
        setup(shared, ("PUT", f"/projects/p/servers/{name}", None))
    for gateway in ("gw", "g-2"):
        report = [{"server": name, "status": "RUNNING", "at": "2026-01-01T00:00:00Z"} for name in NAMES]
        assert 204 == shared.admin.post("/gateway/status", {"gateway": gateway, "instances": report}).status_code


def pages(client: Client, kind: str, limit: int, **more: Any) -> list[list[dict[str, Any]]]:
    """Every page of a list, followed to its end."""
    found: list[list[dict[str, Any]]] = []
    cursor = None
    while True:
        parameters = {"limit": limit, **({"cursor": cursor} if cursor else {}), **more}
        body = made(client.get(f"/{kind}", params=parameters), 200)
        found.append(body["items"])
        cursor = body["nextCursor"]
        if cursor is None:
            return found


def called(kind: str, item: dict[str, Any]) -> str:
    return str(item["user"] if kind == "sessions" else item["name"])


def ours(kind: str, items: list[dict[str, Any]]) -> list[str]:
    """The names among ``items`` that this module made, in the order of the list."""
    return [called(kind, item) for item in items if called(kind, item).partition("/")[0] in NAMES]


def whole(kind: str) -> list[str]:
    """What a list of this kind must hold, in its order."""
    if kind == "instances":
        return sorted(f"{name}/{gateway}" for name in NAMES for gateway in ("gw", "g-2"))
    return sorted(NAMES * 2) if kind == "sessions" else sorted(NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_on_exactly_one_page_and_in_one_order_on_both_databases(kind: str, shared: Served) -> None:
    for limit in (1, 2, 3, 7, 1000):
        found = pages(shared.admin, kind, limit)
        assert whole(kind) == ours(kind, [item for page in found for item in page])
        assert all(len(page) == limit for page in found[:-1])
        assert 1 <= len(found[-1]) <= limit, "no empty page at the end"


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_shows_the_rows_that_may_be_viewed_and_pages_only_these(kind: str, shared: Served, actor: Person) -> None:
    resource = kind
    prefix = "p/" if kind == "mcptokens" else ""
    allowed = [name for index, name in enumerate(NAMES) if index % 3 == 0]
    actor.holds(*(f"role:view,resource:{resource},name:{prefix}{name}" for name in allowed))
    for limit in (1, 2, 100):
        found = pages(actor.client, kind, limit)
        assert [name for name in whole(kind) if name.partition("/")[0] in allowed] == [
            called(kind, item) for page in found for item in page
        ]
        assert all(len(page) == limit for page in found[:-1])
    actor.holds(f"role:view,resource:{resource}", f"role:view,resource:{resource},name:{prefix}{allowed[0]},effect:deny")
    shown = ours(kind, [item for page in pages(actor.client, kind, 4) for item in page])
    assert [name for name in whole(kind) if name.partition("/")[0] != allowed[0]] == shown


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_right_a_list_is_empty_and_no_error(kind: str, actor: Person, shared: Served) -> None:
    with nothing_changes(shared, refusals=0):
        assert {"items": [], "nextCursor": None} == made(actor.asks("GET", f"/{kind}"), 200)
        assert {"items": [], "nextCursor": None} == made(actor.client.get(f"/{kind}", params={"limit": 1}), 200)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "-1"},
        {"limit": "x"},
        {"limit": "1.0"},
        {"limit": "\u0661"},
        {"limit": ""},
        {"cursor": "*"},
        {"cursor": "\u00e4"},
        {"cursor": "_w"},
        {"cursor": "YQBi"},
    ],
)
def test_a_page_that_cannot_be_is_refused_by_name(kind: str, parameters: dict[str, str], shared: Served) -> None:
    if parameters == {"cursor": "*"}:
        parameters = {"cursor": "/w=="}  # bytes that are no text
    said = refused(shared.admin.get(f"/{kind}", params=parameters), "invalid")
    assert [next(iter(parameters))] == [error["field"] for error in said["errors"]]


def test_a_cursor_stays_good_while_rows_before_and_behind_it_come_and_go(shared: Served) -> None:
    first = made(shared.admin.get("/groups", params={"limit": 5}), 200)
    setup(shared, ("DELETE", f"/groups/{first['items'][-1]['name']}", None), ("POST", "/groups", {"name": "000"}))
    seen = [one["name"] for one in first["items"]]
    rest = [made(shared.admin.get("/groups", params={"cursor": first["nextCursor"]}), 200)["items"]]
    names = [*seen, *(one["name"] for one in rest[0])]
    assert len(names) == len(set(names))
    assert set(NAMES) <= set(names)
    setup(shared, ("DELETE", "/groups/000", None), ("POST", "/groups", {"name": seen[-1]}))


DESCRIBED = [
    ("users", "/users/{}"),
    ("groups", "/groups/{}"),
    ("projects", "/projects/{}"),
    ("servers", "/servers/{}"),
    ("secrets", "/secrets/{}"),
    ("proxymodels", "/proxymodels/{}"),
    ("rbac", "/rbac/{}"),
    ("mcptokens", "/mcptokens/{}?project=p"),
    ("instances", "/instances/{}/gw"),
]


@pytest.mark.parametrize(("kind", "path"), DESCRIBED)
def test_without_view_what_is_there_and_what_is_not_answer_the_same(
    kind: str, path: str, shared: Served, actor: Person
) -> None:
    """authz d36."""
    actor.holds(f"role:view,resource:{kind},name:other" if kind != "mcptokens" else "role:view,resource:mcptokens,name:other")
    said = []
    for name in ("z9", "q-9"):
        answer = actor.asks("GET", path.format(name))
        body = answer.json()
        assert (403, "forbidden") == (answer.status_code, body["code"])
        said.append(str({**body, "instance": ""}).replace(name, "NAME"))
    assert said[0] == said[1]
    if kind in ("users", "groups", "projects", "servers", "secrets", "proxymodels"):
        there = shared.admin.get(path.format("z9")).json()["id"]
        ids = [
            refused(actor.asks("GET", path.format(key)), "forbidden")["missing"]
            for key in (there, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
        ]
        assert [[f"view {kind} z9"], [f"view {kind} *"]] == ids


@pytest.mark.parametrize(("kind", "path"), DESCRIBED)
def test_with_view_what_is_not_there_is_said_to_be_missing(kind: str, path: str, shared: Served) -> None:
    refused(shared.admin.get(path.format("nothing")), "not_found")
    if kind not in ("rbac", "instances"):
        refused(shared.admin.get(path.format("01ARZ3NDEKTSV4RRFFQ69G5FAV").partition("?")[0]), "not_found")


@pytest.mark.parametrize("kind", ["users", "groups", "projects", "servers", "secrets", "proxymodels"])
def test_a_thing_is_the_same_by_id_and_by_name_and_rights_go_by_the_name(kind: str, shared: Served, actor: Person) -> None:
    by_name = made(shared.admin.get(f"/{kind}/ab"), 200)
    assert by_name == made(shared.admin.get(f"/{kind}/{by_name['id']}"), 200)
    assert 26 == len(by_name["id"])
    actor.holds(f"role:view,resource:{kind},name:ab")
    assert 200 == actor.asks("GET", f"/{kind}/{by_name['id']}").status_code
    actor.holds(f"role:view,resource:{kind}", f"role:view,resource:{kind},name:ab,effect:deny")
    refused(actor.asks("GET", f"/{kind}/{by_name['id']}"), "forbidden", [f"view {kind} ab"])


def test_a_server_names_only_the_projects_that_may_be_viewed(shared: Served, actor: Person) -> None:
    setup(shared, ("PUT", "/projects/z9/servers/ab", None))
    actor.holds("role:view,resource:servers,name:ab", "role:view,resource:projects,name:z9")
    assert ["z9"] == actor.asks("GET", "/servers/ab").json()["projects"]
    assert ["p", "z9"] == shared.admin.get("/servers/ab").json()["projects"]


def test_the_audit_shows_all_to_an_auditor_a_project_to_its_auditor_and_to_everybody_their_own(
    shared: Served, actor: Person
) -> None:
    setup(shared, ("POST", "/projects", {"name": "audited"}), ("POST", "/projects", {"name": "unaudited"}))
    own = {row["subject"] for row in pages(actor.client, "audit", 100)[0]}
    assert own <= {"User:actor"}
    actor.holds("action:audit,name:audited")
    projects = {(row["project"], row["subject"]) for page in pages(actor.client, "audit", 50) for row in page}
    assert ("audited", "User:admin") in projects
    assert {"audited"} == {project for project, subject in projects if subject != "User:actor"}
    actor.holds("action:audit")
    rows = [row for page in pages(actor.client, "audit", 37) for row in page]
    assert len(rows) == len({row["id"] for row in rows}) > 100
    assert sorted(rows, key=lambda row: row["at"], reverse=True) == rows


def test_the_audit_is_filtered_by_what_is_asked(shared: Served) -> None:
    setup(shared, ("POST", "/projects", {"name": "filtered"}))
    token = made(shared.admin.post("/mcptokens", {"name": "filtered", "project": "filtered"}))
    refused(shared.nobody.as_(token["token"]).post("/groups", {"name": "x"}), "forbidden")

    def found(**query: str) -> list[tuple[str, str]]:
        rows = shared.admin.get("/audit", params=query).json()["items"]
        return [(row["action"], row["outcome"]) for row in rows]

    refusal = [("create", "forbidden")]
    assert refusal == found(token="filtered")
    assert refusal == found(token="filtered/filtered")
    assert refusal == found(token=token["tokenSha"])
    assert [] == found(token="other/filtered")
    assert [] == found(token=token["tokenSha"][:8])
    assert refusal == found(project="filtered", decision="refused")
    assert [("create", "ok"), ("create", "ok")] == found(project="filtered", decision="allowed")
    assert 3 == len(found(project="filtered", user="admin", since="1h"))
    assert 3 == len(found(project="filtered", user="User:admin"))
    assert [] == found(project="filtered", until="1h")
    assert [] == found(project="filtered", since="2099-01-01T00:00:00Z")
    for name, value in (("since", "yesterday"), ("until", "2099-01-01"), ("decision", "maybe"), ("cursor", "x")):
        assert [name] == [
            one["field"] for one in refused(shared.admin.get("/audit", params={name: value}), "invalid")["errors"]
        ]
    said = refused(shared.admin.get("/audit", params={"since": "yesterday"}), "invalid")["detail"]
    assert "since: 'yesterday' is neither a duration back from now such as 1h or 7d, nor an ISO date and time with zone" == said

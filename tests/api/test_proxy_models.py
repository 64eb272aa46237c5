"""Proxy models: kept, named by projects and servers, and changed only by who may change whatever uses them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.api.people import Person, audit_rows, nothing_changes, refused, setup
from tests.serving import Served, made

STAGES = [{"stage": "redact", "options": {"detectors": ["jwt"]}}, {"stage": "truncate", "options": {"maxChars": 8000}}]
HTTP = {"transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}


def model(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "stages": [{"stage": "truncate"}]} | more


def world(served: Served, of: str) -> None:
    """A model ``<of>`` that the projects ``<of>-1`` and ``<of>-2`` use, and the server ``<of>-s`` of the project ``<of>-3``."""
    setup(
        served,
        ("POST", "/proxymodels", model(of)),
        ("POST", "/proxymodels", model(f"{of}-other")),
        ("POST", "/servers", {"name": f"{of}-s", "proxyModel": of, **HTTP}),
        ("POST", "/projects", {"name": f"{of}-1", "proxyModel": of}),
        ("POST", "/projects", {"name": f"{of}-2", "proxyModel": of}),
        ("POST", "/projects", {"name": f"{of}-3", "servers": [f"{of}-s"]}),
    )


def test_a_model_is_kept_as_it_was_written_and_replaced_whole(shared: Served) -> None:
    cache = {"ttlSeconds": 300, "tools": ["github/get_*"]}
    first = made(shared.admin.post("/proxymodels", {"name": "kept", "description": "d", "stages": STAGES, "cache": cache}))
    assert ("kept", "d", STAGES, cache, [], []) == tuple(
        first[key] for key in ("name", "description", "stages", "cache", "projects", "servers")
    )
    assert first == made(shared.admin.get("/proxymodels/kept"), 200)
    refused(shared.admin.post("/proxymodels", model("kept")), "duplicate")
    bare = made(shared.admin.put("/proxymodels/kept", {"stages": [{"stage": "passthrough"}]}), 200)
    assert ("", None, [{"stage": "passthrough", "options": {}}]) == (bare["description"], bare["cache"], bare["stages"])
    refused(shared.admin.put("/proxymodels/kept", model("renamed")), "invalid")
    assert 204 == shared.admin.delete("/proxymodels/kept").status_code
    rows = [(row.action, row.details) for row in audit_rows(shared) if (row.resource, row.name) == ("proxymodels", "kept")]
    assert ["create", "edit", "delete"] == [action for action, details in rows if "stages" in details]
    assert {"stages": ["redact", "truncate"]} == rows[0][1]


def test_what_is_wrong_with_stages_is_named_by_its_place(shared: Served) -> None:
    wrong = [{"stage": "truncate", "options": {"maxChars": "x"}}, {"stage": "select", "options": {"expression": "a[["}}]
    answer = refused(shared.admin.post("/proxymodels", {"name": "wrong", "stages": wrong}), "invalid")
    assert ["stages.0.options.maxChars", "stages.1.options.expression"] == [one["field"] for one in answer["errors"]]
    answer = refused(shared.admin.post("/proxymodels", model("wrong", cache={"ttlSeconds": 0, "tools": ["github"]})), "invalid")
    assert ["cache.ttlSeconds", "cache.tools.0"] == [one["field"] for one in answer["errors"]]
    refused(shared.admin.get("/proxymodels/wrong"), "not_found")


# Selecting


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/projects", {"name": "sel-new"}),
        ("PUT", "/projects/sel-1", {}),
        ("POST", "/servers", {"name": "sel-new", **HTTP}),
        ("PUT", "/servers/sel-s", HTTP),
    ],
)
def test_selecting_a_model_needs_view_on_it_and_without_it_nobody_learns_whether_it_exists(
    method: str, path: str, body: dict[str, Any], shared: Served, actor: Person
) -> None:
    if shared.admin.get("/proxymodels/sel").status_code == 404:
        world(shared, "sel")
    actor.holds("role:edit,resource:projects", "role:edit,resource:servers", "role:view,resource:proxymodels,name:seen")
    with nothing_changes(shared, refusals=2):
        said = []
        for name in ("sel-other", "sel-never"):
            answer = refused(actor.asks(method, path, {**body, "proxyModel": name}), "ceiling", [f"view proxymodels {name}"])
            said.append(str({**answer, "instance": ""}).replace(name, "NAME"))
    assert said[0] == said[1]
    answer = refused(actor.asks(method, path, {**body, "proxyModel": "seen"}), "invalid")
    assert [("proxyModel", "there is no proxy model 'seen'")] == [(e["field"], e["message"]) for e in answer["errors"]]
    actor.holds("role:edit,resource:projects", "role:edit,resource:servers", "role:view,resource:proxymodels,name:sel-other")
    made(actor.asks(method, path, {**body, "proxyModel": "sel-other"}), 201 if method == "POST" else 200)
    kind = path.split("/")[1]
    kept = {"name": body["name"]} if method == "POST" else {"name": path.rpartition("/")[2]}
    assert "sel-other" == shared.admin.get(f"/{kind}/{kept['name']}").json()["proxyModel"]
    actor.holds("role:edit,resource:projects", "role:edit,resource:servers")
    again = {**body, **kept, "proxyModel": "sel-other"} if kind == "servers" else {"proxyModel": "sel-other"}
    made(actor.asks("PUT", f"/{kind}/{kept['name']}", again), 200)


def test_another_model_of_a_project_or_none_needs_expose_on_it(shared: Served, actor: Person) -> None:
    world(shared, "exp")
    but_expose = "role:expose,resource:projects,name:exp-1,effect:deny"
    actor.holds("role:edit,resource:projects,name:exp-1", but_expose, "role:view,resource:proxymodels,name:exp-other")
    with nothing_changes(shared, refusals=2):
        for wanted in (None, "exp-other"):
            refused(actor.asks("PUT", "/projects/exp-1", {"proxyModel": wanted}), "ceiling", ["expose projects exp-1"])
    made(actor.asks("PUT", "/projects/exp-1", {"proxyModel": "exp", "toolNames": "plain"}), 200)
    assert "exp" == shared.admin.get("/projects/exp-1").json()["proxyModel"]
    made(shared.admin.put("/projects/exp-1", {"toolNames": "prefixed"}), 200)
    assert "exp" == shared.admin.get("/projects/exp-1").json()["proxyModel"], "left out, it stays"
    assert made(shared.admin.put("/projects/exp-1", {"proxyModel": None}), 200)["proxyModel"] is None


# Changing what is in use


def test_changing_a_model_in_use_needs_expose_on_each_project_and_edit_on_each_server_that_uses_it(
    shared: Served, actor: Person
) -> None:
    world(shared, "use")
    edit = "role:edit,resource:proxymodels"
    actor.holds(edit, "role:view,resource:projects", "role:view,resource:servers")
    lacking = ["expose projects use-1", "expose projects use-2", "edit servers use-s"]
    with nothing_changes(shared, refusals=2):
        refused(actor.asks("PUT", "/proxymodels/use", model("use")), "ceiling", lacking)
        item = {"kind": "proxymodel", **model("use", description="x")}
        refused(actor.asks("POST", "/apply", {"items": [item]}), "ceiling", lacking)
    made(actor.asks("PUT", "/proxymodels/use-other", model("use-other")), 200)
    actor.holds(edit, "role:view,resource:projects,name:use-2", "role:view,resource:servers")
    answer = refused(actor.asks("PUT", "/proxymodels/use", model("use")), "ceiling", lacking[1:])
    assert ("use-1" in str(answer), answer["detail"].endswith("; 1 that you may not see")) == (False, True)
    actor.holds(edit, "role:expose,resource:projects,name:use-1", "role:expose,resource:projects,name:use-2")
    answer = refused(actor.asks("PUT", "/proxymodels/use", model("use")), "ceiling", [])
    assert "use-s" not in str(answer)
    actor.holds(edit, *(f"role:expose,resource:projects,name:use-{n}" for n in "12"), "role:edit,resource:servers,name:use-s")
    made(actor.asks("PUT", "/proxymodels/use", model("use", description="changed")), 200)
    actor.holds(*(f"role:expose,resource:projects,name:use-{n}" for n in "12"), "role:edit,resource:servers,name:use-s")
    refused(actor.asks("PUT", "/proxymodels/use", model("use")), "forbidden", ["edit proxymodels use"])


def test_a_model_in_use_is_not_deleted_and_of_who_uses_it_only_what_may_be_viewed_is_named(
    shared: Served, actor: Person
) -> None:
    world(shared, "del")
    actor.holds("role:delete,resource:proxymodels", "role:view,resource:projects,name:del-1")
    with nothing_changes(shared, refusals=0):
        answer = refused(actor.asks("DELETE", "/proxymodels/del"), "in_use")
    assert answer["detail"] == (
        "the proxy model 'del' is in use, by project/del-1, 2 that you may not view: take it out there first"
    )
    assert ["del-1"] == made(actor.holds("role:view,resource:proxymodels", "role:view,resource:projects,name:del-1").asks(
        "GET", "/proxymodels/del"), 200)["projects"]  # fmt: skip
    database = shared.control.database
    with pytest.raises(IntegrityError), database.engine.begin() as connection:
        connection.execute(text("DELETE FROM proxy_model WHERE name = 'del'"))
    for path, body in (("/projects/del-1", {"proxyModel": None}), ("/projects/del-2", {"proxyModel": "del-other"})):
        made(shared.admin.put(path, body), 200)
    assert 204 == shared.admin.delete("/servers/del-s").status_code
    assert 204 == shared.admin.delete("/proxymodels/del").status_code


def test_a_token_is_refused_like_its_owner_and_learns_nothing_of_other_projects(shared: Served) -> None:
    world(shared, "tok")
    bindings = ["role:edit,resource:proxymodels", "role:edit,resource:projects"]
    body = {"name": "t", "project": "tok-1", "bindings": bindings}
    token = shared.nobody.as_(made(shared.admin.post("/mcptokens", body))["token"])
    answer = refused(token.put("/proxymodels/tok", model("tok")), "ceiling", [])
    assert ("tok-2" in str(answer), answer["detail"].endswith("2 that you may not see")) == (False, True)
    assert ["tok-1"] == made(token.get("/proxymodels/tok"), 200)["projects"]
    made(token.put("/projects/tok-1", {"proxyModel": "tok-other"}), 200)
    made(token.put("/proxymodels/tok-other", model("tok-other", description="mine")), 200)
    seen = {"name": "u", "project": "tok-1", "bindings": ["role:view,resource:projects"]}
    blind = shared.nobody.as_(made(shared.admin.post("/mcptokens", seen))["token"])
    refused(blind.get("/proxymodels/tok"), "forbidden", ["view proxymodels tok"])


# What gateways hear and are given


def test_gateways_hear_of_a_change_by_every_project_whose_results_pass_the_model(shared: Served) -> None:
    world(shared, "hear")
    heard: list[frozenset[str]] = []
    unsubscribe = shared.control.feed.subscribe(lambda _revision, topics: heard.append(topics))
    made(shared.admin.put("/proxymodels/hear", model("hear", description="new")), 200)
    made(shared.admin.put("/proxymodels/hear-other", model("hear-other")), 200)
    unsubscribe()
    assert [
        {"ProxyModel:hear", "Server:hear-s", "Project:hear-1", "Project:hear-2", "Project:hear-3"},
        {"ProxyModel:hear-other"},
    ] == heard


def test_gateways_are_given_exactly_the_models_that_a_project_and_its_servers_name(shared: Served) -> None:
    world(shared, "give")
    cache = {"ttlSeconds": 60, "tools": ["give-s/*"]}
    made(shared.admin.put("/proxymodels/give", {"stages": STAGES, "cache": cache}), 200)
    made(shared.admin.put("/projects/give-3", {"proxyModel": "give-other"}), 200)

    def given(project: str) -> dict[str, Any]:
        return made(shared.admin.get(f"/gateway/upstreams?project={project}"), 200)

    assert [{"name": "give", "stages": STAGES, "cache": cache}] == given("give-1")["proxyModels"]
    both = given("give-3")
    assert ["give", "give-other"] == [one["name"] for one in both["proxyModels"]]
    assert ("give-other", ["give"]) == (both["proxyModel"], [one["proxyModel"] for one in both["servers"]])
    assert {"ProxyModel:give", "ProxyModel:give-other"} <= set(both["topics"])
    made(shared.admin.put("/projects/give-3", {"proxyModel": None, "servers": []}), 200)
    assert (None, []) == (given("give-3")["proxyModel"], given("give-3")["proxyModels"])


# Many at once


def test_a_batch_makes_a_model_before_what_names_it_and_prunes_it_after(shared: Served) -> None:
    items: list[dict[str, Any]] = [
        {"kind": "project", "name": "many", "servers": ["many-s"], "proxyModel": "many"},
        {"kind": "server", "name": "many-s", "proxyModel": "many", **HTTP},
        {"kind": "proxymodel", "name": "many", "stages": STAGES},
    ]
    made(shared.admin.post("/apply", {"items": items, "dryRun": True}), 200)
    refused(shared.admin.get("/proxymodels/many"), "not_found")
    assert ["created"] * 3 == [one["result"] for one in made(shared.admin.post("/apply", {"items": items}), 200)["items"]]
    assert ["unchanged"] * 3 == [one["result"] for one in made(shared.admin.post("/apply", {"items": items}), 200)["items"]]
    keep = {"kind": "proxymodel", **model("many-2")}
    mine = [one["name"] for one in shared.admin.get("/proxymodels?limit=1000").json()["items"] if one["name"] != "many"]
    others = [{"kind": "proxymodel", "name": n, "stages": shared.admin.get(f"/proxymodels/{n}").json()["stages"],
               "description": shared.admin.get(f"/proxymodels/{n}").json()["description"],
               "cache": shared.admin.get(f"/proxymodels/{n}").json()["cache"]} for n in mine]  # fmt: skip
    body: dict[str, Any] = {"items": [keep, *others], "prune": ["proxymodel"]}
    answer = refused(shared.admin.post("/apply", body), "in_use")
    assert "proxymodel/many" in answer["detail"]
    body["items"] += [{"kind": "project", "name": "many", "proxyModel": None}, {**items[1], "proxyModel": None}]
    done = made(shared.admin.post("/apply", body), 200)["items"]
    assert ["many"] == [one["name"] for one in done if one["result"] == "pruned"]
    (changed,) = [one for one in done if one["kind"] == "project"]
    assert (["proxyModel"], "many", None) == (
        changed["differs"],
        changed["before"]["proxyModel"],
        changed["after"]["proxyModel"],
    )


def test_what_a_batch_leaves_out_of_a_project_stays_and_what_is_wrong_with_a_model_is_named_by_its_item(shared: Served) -> None:
    world(shared, "left")
    item = {"kind": "project", "name": "left-1", "toolNames": "plain"}
    made(shared.admin.post("/apply", {"items": [item]}), 200)
    assert "left" == shared.admin.get("/projects/left-1").json()["proxyModel"]
    wrong = {"kind": "proxymodel", "name": "left", "stages": [{"stage": "truncate", "options": {"maxChars": 0}}]}
    answer = refused(shared.admin.post("/apply", {"items": [item, wrong]}), "invalid")
    assert ["items.1.stages.0.options.maxChars"] == [one["field"] for one in answer["errors"]]


def test_other_programs_find_models_by_what_somebody_may_do_to_them(shared: Served) -> None:
    setup(shared, ("POST", "/proxymodels", model("found")))
    query = {"subject": {"type": "user", "id": "admin"}, "action": {"name": "edit"}, "resource": {"type": "proxymodels"}}
    found = made(shared.admin.post("//access/v1/search/resource", query), 200)["results"]
    assert {"type": "proxymodels", "id": "found"} in found

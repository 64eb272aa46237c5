"""The last enabled admin can be neither disabled, deleted, denied nor removed, whichever way it is tried."""

from __future__ import annotations

from typing import Any

from tests.api.people import PASSWORD, nothing_changes, refused, setup
from tests.serving import Client, Served, made

DENY = "role:view,resource:servers,name:x,effect:deny"


def ways(name: str) -> list[tuple[str, str, Any]]:
    """Every request by which the admin ``name`` could stop being one."""
    return [
        ("PATCH", f"/users/{name}", {"disabled": True}),
        ("DELETE", f"/users/{name}", None),
        ("POST", "/rbac", {"name": "deny-user", "subjects": [f"User:{name}"], "roleBindings": [DENY]}),
        ("POST", "/rbac", {"name": "deny-group", "subjects": [f"Group:of-{name}"], "roleBindings": [DENY]}),
        ("PUT", f"/groups/denied/members/{name}", None),
        ("PUT", "/groups/denied", {"members": [f"User:{name}"]}),
    ]


def all_refused(client: Client, served: Served, calls: list[tuple[str, str, Any]]) -> None:
    for method, path, body in calls:
        with nothing_changes(served, refusals=1):
            refused(client.call(method, path, body), "last_admin")


def test_the_first_admin_cannot_be_the_one_that_goes(served: Served) -> None:
    served.user("deputy")
    setup(
        served,
        ("POST", "/groups", {"name": "denied"}),
        ("POST", "/rbac", {"name": "denied", "subjects": ["Group:denied"], "roleBindings": [DENY]}),
        ("POST", "/groups", {"name": "of-admin", "members": ["User:admin"]}),
    )
    leaving = [("DELETE", "/groups/admins/members/admin", None), ("PUT", "/groups/admins", {"members": ["User:deputy"]})]
    # The deputy is an admin too, so the second of these only moves on once it is one; disabled, it does not count.
    setup(served, ("PATCH", "/users/deputy", {"disabled": True}))
    all_refused(served.admin, served, [*ways("admin"), *leaving])
    by_group = {"name": "deny-admins", "subjects": ["Group:admins"], "roleBindings": [DENY]}
    all_refused(served.admin, served, [("POST", "/rbac", by_group)])


def test_an_admin_by_a_definition_cannot_lose_it_when_nobody_else_is_left(served: Served) -> None:
    served.user("second")
    grant = {"name": "second", "subjects": ["User:second"], "roleBindings": ["role:admin,resource:*"]}
    setup(
        served,
        ("POST", "/rbac", grant),
        ("POST", "/groups", {"name": "denied"}),
        ("POST", "/rbac", {"name": "denied", "subjects": ["Group:denied"], "roleBindings": [DENY]}),
        ("POST", "/groups", {"name": "of-second", "members": ["User:second"]}),
        ("DELETE", "/groups/admins/members/admin", None),
    )
    second = served.log_in("second", PASSWORD)
    removing: list[tuple[str, str, Any]] = [
        ("DELETE", "/rbac/second", None),
        ("PUT", "/rbac/second", {**grant, "roleBindings": ["role:admin,resource:servers"]}),
        ("PUT", "/rbac/second", {**grant, "subjects": ["User:admin"], "roleBindings": ["role:view,resource:*"]}),
        ("PUT", "/rbac/second", {**grant, "roleBindings": ["role:admin,resource:*", DENY]}),
    ]
    all_refused(second, served, [*ways("second"), *removing])
    made(second.put("/rbac/second", {**grant, "subjects": ["User:second", "User:admin"]}), 200)
    assert 204 == second.delete("/users/admin").status_code


def test_an_admin_by_a_group_cannot_lose_the_group(served: Served) -> None:
    served.user("third")
    setup(
        served,
        ("POST", "/groups", {"name": "chiefs", "members": ["User:third"]}),
        ("POST", "/rbac", {"name": "chiefs", "subjects": ["Group:chiefs"], "roleBindings": ["role:admin,resource:*"]}),
        ("DELETE", "/groups/admins/members/admin", None),
    )
    third = served.log_in("third", PASSWORD)
    calls: list[tuple[str, str, Any]] = [
        ("DELETE", "/groups/chiefs", None),
        ("DELETE", "/groups/chiefs/members/third", None),
        ("PUT", "/groups/chiefs", {"members": ["User:admin"]}),
        ("DELETE", "/rbac/chiefs", None),
    ]
    made(third.patch("/users/admin", {"disabled": True}), 200)
    all_refused(third, served, calls)


def test_neither_a_service_user_nor_an_admin_with_a_deny_counts_as_one(served: Served) -> None:
    served.user("bounded")
    setup(
        served,
        ("POST", "/users", {"name": "robot", "service": True}),
        ("POST", "/rbac", {"name": "robot", "subjects": ["User:robot"], "roleBindings": ["role:admin,resource:*"]}),
        ("POST", "/rbac", {"name": "most", "subjects": ["User:bounded"], "roleBindings": ["role:admin,resource:*", DENY]}),
    )
    all_refused(served.admin, served, [("PATCH", "/users/admin", {"disabled": True}), ("DELETE", "/users/admin", None)])


def test_with_another_admin_each_of_them_may_go(served: Served) -> None:
    served.user("other")
    setup(served, ("PUT", "/groups/admins/members/other", None))
    other = served.log_in("other", PASSWORD)
    made(other.patch("/users/admin", {"disabled": True}), 200)
    assert 401 == served.admin.get("/auth/whoami").status_code
    assert 204 == other.delete("/users/admin").status_code
    all_refused(other, served, [("DELETE", "/users/other", None), ("DELETE", "/groups/admins/members/other", None)])

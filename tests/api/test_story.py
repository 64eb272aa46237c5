"""The first story, through the API, on both databases."""

from __future__ import annotations

from tests.serving import Served, made


def test_a_token_bound_to_one_tool_may_call_exactly_that_one(served: Served) -> None:
    served.project("demo", "time")
    made(
        served.admin.post(
            "/mcptokens", {"name": "agent", "project": "demo", "bindings": ["role:run,resource:servers,name:time/now"]}
        )
    )
    token = made(
        served.admin.post(
            "/mcptokens", {"name": "one", "project": "demo", "bindings": ["role:run,resource:servers,name:time/now"]}
        )
    )
    agent = served.nobody.as_(token["token"])
    asked = [{"action": "run", "resource": "servers", "name": f"time/{tool}"} for tool in ("now", "convert")]
    assert [True, False] == [answer["allowed"] for answer in agent.post("/authorize", asked).json()]


def test_a_user_created_again_under_the_same_name_inherits_nothing(served: Served) -> None:
    alice = served.user("alice", "role:view,resource:servers")
    served.server("time")
    assert alice.get("/servers/time").status_code == 200
    assert served.admin.delete("/users/alice").status_code == 204
    assert alice.get("/auth/whoami").status_code == 401
    made(served.admin.post("/users", {"name": "alice", "password": "another password"}))
    again = served.log_in("alice", "another password")
    assert [] == again.get("/auth/whoami").json()["bindings"]
    assert again.get("/servers/time").status_code == 403
    assert [] == served.admin.get("/rbac").json()["items"]

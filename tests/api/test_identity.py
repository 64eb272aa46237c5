"""Who is asking: passwords, sessions, bearers, and how guesses are slowed without anybody being locked out."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.api.conftest import REAL_HASHER
from tests.api.people import PASSWORD, Person, audit_rows, nothing_changes, refused, setup
from tests.serving import ADMIN_PASSWORD, Client, Served, made

UNKNOWN_TOKEN, UNKNOWN_SESSION = "mcpctl_pat_" + "A" * 43, "mcpctl_ses_" + "A" * 43
ASKS = 'Bearer realm="mcpctl"'
REFUSES = 'Bearer realm="mcpctl", error="invalid_token"'


def test_passwords_are_kept_as_rfc_9106_recommends() -> None:
    assert REAL_HASHER.hash("x").startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_log_in_gives_a_session_that_lasts_as_long_as_was_set(shared: Served) -> None:
    answer = made(shared.nobody.post("/auth/login", {"username": "admin", "password": ADMIN_PASSWORD}), 200)
    assert {"token", "id", "user", "expiresAt"} == set(answer)
    expires = datetime.fromisoformat(answer["expiresAt"])
    assert abs((expires - datetime.now(expires.tzinfo)) - timedelta(hours=12)) < timedelta(minutes=1)
    said = made(shared.nobody.as_(answer["token"]).get("/auth/whoami"), 200)
    wanted = {"subject": "User:admin", "kind": "session", "user": "admin", "groups": ["Group:admins"], "project": None}
    assert wanted == {name: said[name] for name in wanted}
    assert (["role:admin,resource:*"], answer["expiresAt"]) == (said["bindings"], said["expiresAt"])


def test_logging_out_ends_this_session_and_no_other(shared: Served) -> None:
    one, other = shared.log_in("admin", ADMIN_PASSWORD), shared.log_in("admin", ADMIN_PASSWORD)
    assert 204 == one.post("/auth/logout").status_code
    assert [401, 200] == [each.get("/auth/whoami").status_code for each in (one, other)]
    refused(one.post("/auth/logout"), "invalid_credential")


def test_whoever_cannot_log_in_hears_one_answer(shared: Served) -> None:
    """authz d36; threats 8: not even the kept hash is a password."""
    shared.user("known")
    setup(
        shared,
        ("POST", "/users", {"name": "robot", "service": True}),
        ("POST", "/users", {"name": "off", "password": PASSWORD}),
        ("PATCH", "/users/off", {"disabled": True}),
    )
    shared.control.failed_logins.wait = lambda *_keys: 0.0  # type: ignore[method-assign]
    said = set()
    for username, password in (
        ("known", "wrong password"),
        ("nobody", PASSWORD),
        ("robot", ""),
        ("robot", PASSWORD),
        ("off", PASSWORD),
        ("KNOWN", PASSWORD),
        ("known ", PASSWORD),
        ("User:known", PASSWORD),
        ("known", PASSWORD + " "),
        ("known", PASSWORD.upper()),
    ):
        with nothing_changes(shared, refusals=0):
            answer = shared.nobody.post("/auth/login", {"username": username, "password": password or "x"})
        body = answer.json()
        del body["instance"]
        said.add((answer.status_code, str(body)))
    assert 1 == len(said)
    assert 401 == said.pop()[0]


def test_ones_own_password_needs_the_old_one_and_ends_every_session(shared: Served) -> None:
    client = shared.user("self")
    other = shared.log_in("self", PASSWORD)
    for body in ({"password": "new password"}, {"oldPassword": PASSWORD}):
        with nothing_changes(shared, refusals=0):
            refused(client.patch("/users/self", body), "invalid")
    with nothing_changes(shared, refusals=1):
        refused(client.patch("/users/self", {"password": "new password", "oldPassword": "wrong password"}), "wrong_password")
    user_id = client.patch("/users/self", {"password": "new password", "oldPassword": PASSWORD}).json()["id"]
    assert [401, 401] == [each.get("/auth/whoami").status_code for each in (client, other)]
    refused(shared.nobody.post("/auth/login", {"username": "self", "password": PASSWORD}), "wrong_password")
    again = shared.log_in("self", "new password")
    body = {"password": PASSWORD, "oldPassword": "new password"}
    assert 200 == again.patch(f"/users/{user_id}", body).status_code, "by id as by name"


def test_even_an_admin_needs_the_old_one_for_its_own(served_on_sqlite: Served) -> None:
    with nothing_changes(served_on_sqlite, refusals=0):
        refused(served_on_sqlite.admin.patch("/users/admin", {"password": "new password"}), "invalid")


def test_a_password_set_by_another_ends_every_session(shared: Served) -> None:
    client = shared.user("reset")
    setup(shared, ("PATCH", "/users/reset", {"password": "set by admin"}))
    assert 401 == client.get("/auth/whoami").status_code
    shared.log_in("reset", "set by admin")


def test_nobody_enables_or_disables_oneself_without_the_right_to(shared: Served) -> None:
    """threats 10: one's own row is not all one's own to write."""
    client = shared.user("field")
    with nothing_changes(shared, refusals=2):
        refused(client.patch("/users/field", {"disabled": True}), "forbidden", ["edit users field"])
        body = {"password": "new password", "oldPassword": PASSWORD, "disabled": True}
        refused(client.patch("/users/field", body), "forbidden", ["edit users field"])
    for member in ("service", "name", "groups", "role"):
        assert [member] == [one["field"] for one in refused(client.patch("/users/field", {member: "x"}), "invalid")["errors"]]


@pytest.mark.parametrize("password", ["", "short", "a" * 7, "a" * 1025])
def test_a_password_too_short_or_too_long_is_refused(password: str, shared: Served) -> None:
    for answer in (
        shared.admin.post("/users", {"name": "pw", "password": password}),
        shared.admin.patch("/users/admin", {"password": password, "oldPassword": ADMIN_PASSWORD}),
    ):
        assert ["password"] == [error["field"] for error in refused(answer, "invalid")["errors"]]
        assert password not in answer.text or len(password) < 2


def test_a_person_needs_a_password_and_a_service_user_takes_none(shared: Served) -> None:
    for body in ({"name": "sv"}, {"name": "sv", "service": False}, {"name": "sv", "service": True, "password": PASSWORD}):
        assert ["password"] == [one["field"] for one in refused(shared.admin.post("/users", body), "invalid")["errors"]]
    made(shared.admin.post("/users", {"name": "sv", "service": True}))
    refused(shared.admin.patch("/users/sv", {"password": PASSWORD}), "invalid")


def test_a_service_user_is_given_sessions_and_a_person_is_not(shared: Served) -> None:
    setup(shared, ("POST", "/users", {"name": "svc", "service": True}))
    for body in ({"user": "admin"}, {"user": "nobody-there"}):
        assert ["user"] == [one["field"] for one in refused(shared.admin.post("/sessions", body), "invalid")["errors"]]
    for ttl in ("0s", "-1h", "2020-01-01T00:00:00Z", "soon"):
        answer = shared.admin.post("/sessions", {"user": "svc", "ttl": ttl})
        assert ["ttl"] == [one["field"] for one in refused(answer, "invalid")["errors"]]
    forever = made(shared.admin.post("/sessions", {"user": "svc", "ttl": "never"}))
    assert forever["expiresAt"] is None
    short = made(shared.admin.post("/sessions", {"user": "svc", "ttl": "0.3s"}))
    month = made(shared.admin.post("/sessions", {"user": "svc"}))
    clients = [shared.nobody.as_(one["token"]) for one in (forever, short, month)]
    assert "User:svc" == clients[0].get("/auth/whoami").json()["subject"]
    time.sleep(0.35)
    assert [200, 401, 200] == [one.get("/auth/whoami").status_code for one in clients]
    listed = [one["id"] for one in shared.admin.get("/sessions").json()["items"] if one["user"] == "svc"]
    assert sorted([forever["id"], month["id"]]) == listed
    assert 204 == shared.admin.delete(f"/sessions/{forever['id']}").status_code
    assert [401, 200] == [clients[index].get("/auth/whoami").status_code for index in (0, 2)]
    setup(shared, ("PATCH", "/users/svc", {"disabled": True}))
    assert 401 == clients[2].get("/auth/whoami").status_code


def test_a_session_is_ended_by_whoever_may_end_those_of_its_user(shared: Served, actor: Person) -> None:
    setup(shared, ("POST", "/users", {"name": "ended", "service": True}))
    session = made(shared.admin.post("/sessions", {"user": "ended"}))
    actor.holds("role:delete,resource:sessions,name:somebody")
    with nothing_changes(shared, refusals=2):
        refused(actor.asks("DELETE", f"/sessions/{session['id']}"), "forbidden", ["delete sessions ended"])
        refused(actor.asks("DELETE", "/sessions/01ARZ3NDEKTSV4RRFFQ69G5FAV"), "forbidden", ["delete sessions *"])
    actor.holds("role:delete,resource:sessions,name:ended")
    assert 204 == actor.asks("DELETE", f"/sessions/{session['id']}").status_code


BEARERS: list[tuple[str, list[str], str, str]] = [
    ("none at all", [], "missing_credential", ASKS),
    ("an empty one", [""], "invalid_credential", REFUSES),
    ("another scheme", ["Basic YWRtaW46YWRtaW4="], "invalid_credential", REFUSES),
    ("the scheme alone", ["Bearer"], "invalid_credential", REFUSES),
    ("no scheme", ["{session}"], "invalid_credential", REFUSES),
    ("something else", ["Bearer nonsense"], "invalid_credential", REFUSES),
    ("an unknown token", [f"Bearer {UNKNOWN_TOKEN}"], "invalid_credential", REFUSES),
    ("an unknown session", [f"Bearer {UNKNOWN_SESSION}"], "invalid_credential", REFUSES),
    ("a token too short", [f"Bearer {UNKNOWN_TOKEN[:-1]}"], "invalid_credential", REFUSES),
    ("a token too long", [f"Bearer {UNKNOWN_TOKEN}A"], "invalid_credential", REFUSES),
    ("the prefix alone", ["Bearer mcpctl_pat_"], "invalid_credential", REFUSES),
    ("a session in capitals", ["Bearer {SESSION}"], "invalid_credential", REFUSES),
    ("a session and more", ["Bearer {session} x"], "invalid_credential", REFUSES),
    ("a session with another last character", ["Bearer {altered}"], "invalid_credential", REFUSES),
    ("two sessions in one header", ["Bearer {session},Bearer {session}"], "invalid_credential", REFUSES),
    ("two headers, the good one first", ["Bearer {session}", f"Bearer {UNKNOWN_SESSION}"], "invalid_credential", REFUSES),
    ("two headers, the good one last", [f"Bearer {UNKNOWN_SESSION}", "Bearer {session}"], "invalid_credential", REFUSES),
    ("the same header twice", ["Bearer {session}", "Bearer {session}"], "invalid_credential", REFUSES),
    ("an injection", ["Bearer mcpctl_pat_' OR 1=1 --"], "invalid_credential", REFUSES),
    ("the hash of a session", ["Bearer " + "a" * 64], "invalid_credential", REFUSES),
    ("bytes that are no text", ["Bearer \xff\xfe"], "invalid_credential", REFUSES),
    ("very much", ["Bearer " + "A" * 8000], "invalid_credential", REFUSES),
]


@pytest.mark.parametrize(("what", "headers", "code", "challenge"), BEARERS, ids=[row[0] for row in BEARERS])
def test_no_bearer_and_every_bad_one_is_401(what: str, headers: list[str], code: str, challenge: str, shared: Served) -> None:
    """threats 1: what is not somebody is nobody, never an empty somebody."""
    session = shared.admin.bearer or ""
    shared.control.failed_bearers.wait = lambda *_keys: 0.0  # type: ignore[method-assign]
    forms = {"session": session, "SESSION": session.upper(), "altered": session[:-1] + ("B" if session[-1] == "A" else "A")}
    sent = [(b"Authorization", one.format(**forms).encode("latin-1")) for one in headers]
    for method, path in (("GET", "/api/v1/users"), ("GET", "/api/v1/auth/whoami"), ("POST", "/api/v1/users")):
        with nothing_changes(shared, refusals=0):
            answer = shared.nobody.http.request(method, path, headers=sent)
        refused(answer, code)
        assert (401, challenge) == (answer.status_code, answer.headers["www-authenticate"])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(scheme: str, shared: Served) -> None:
    assert 200 == shared.nobody.get("/auth/whoami", headers={"Authorization": f"{scheme} {shared.admin.bearer}"}).status_code


def test_a_bearer_anywhere_else_is_none(shared: Served) -> None:
    """authz d32: who asks comes from the one header, never from what else a request says."""
    session = shared.admin.bearer or ""
    for options in (
        {"headers": {"Cookie": f"token={session}; session={session}; Authorization=Bearer {session}"}},
        {"headers": {"X-User": "admin", "X-Remote-User": "admin", "X-Forwarded-User": "admin"}},
        {"headers": {"X-Api-Key": session, "Proxy-Authorization": f"Bearer {session}"}},
    ):
        answer = shared.nobody.get("/auth/whoami", **options)
        refused(answer, "missing_credential")
    for parameter in ("access_token", "token", "authorization"):
        refused(shared.nobody.get("/auth/whoami", params={parameter: session}), "missing_credential")
    answer = shared.nobody.post("/users", {"name": "x", "password": PASSWORD, "subject": "User:admin"})
    refused(answer, "missing_credential")


def timed(client: Client, username: str, password: str, **headers: str) -> tuple[int, float]:
    began = time.perf_counter()
    answer = client.post("/auth/login", {"username": username, "password": password}, headers=headers)
    return answer.status_code, time.perf_counter() - began


def test_failed_log_ins_slow_the_next_one_and_lock_nobody_out(served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    served.user("target")
    for _ in range(7):
        assert 401 == timed(served.nobody, "target", "wrong password")[0]
    expected = served.control.failed_logins.wait("account:target")
    assert 0.25 <= expected <= 4.0
    status, took = timed(served.nobody, "target", PASSWORD)
    assert 200 == status, "whoever knows the password gets in"
    assert took >= expected
    for _ in range(200):
        served.control.failed_logins.failed("account:target", "source:127.0.0.1")
    assert 4.0 == served.control.failed_logins.wait("account:target", "source:10.0.0.1"), "there is a longest wait"
    assert 0.0 == served.control.failed_logins.wait("account:other", "source:10.0.0.1")


def test_guessing_ones_old_password_is_slowed_as_a_log_in_is(served_on_sqlite: Served) -> None:
    """Whoever stole a session must not find out the password with it, nor hold up those who write."""
    served = served_on_sqlite
    client = served.user("stolen")
    body = {"password": "new password", "oldPassword": "wrong password"}
    for _ in range(6):
        refused(client.patch("/users/stolen", body), "wrong_password")
    expected = served.control.failed_logins.wait("account:stolen")
    assert expected >= 0.25
    began = time.perf_counter()
    refused(client.patch("/users/stolen", body), "wrong_password")
    assert time.perf_counter() - began >= expected


def test_hashing_a_password_holds_up_nobody_who_writes(served_on_sqlite: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long by design, and log-ins contend for it; a revocation must not wait behind it."""
    from mcpctl.services import passwords

    served, turn = served_on_sqlite, served_on_sqlite.control.database._turn
    client, held = served.user("busy"), list[bool]()
    real = passwords._HASHER

    class Watching:
        def hash(self, password: str) -> str:
            held.append(turn.locked())
            return real.hash(password)

        def verify(self, kept: str, password: str) -> bool:
            held.append(turn.locked())
            return real.verify(kept, password)

    monkeypatch.setattr(passwords, "_HASHER", Watching())
    made(served.admin.post("/users", {"name": "hashed", "password": PASSWORD}))
    made(client.patch("/users/busy", {"password": "new password", "oldPassword": PASSWORD}), 200)
    made(served.admin.patch("/users/busy", {"password": "another password"}), 200)
    served.log_in("busy", "another password")
    assert [False] * 5 == held


def test_attempts_of_one_source_wait_in_a_line_of_limited_length(served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    for _ in range(60):
        served.control.failed_logins.failed("source:127.0.0.1")
    with httpx2.Client(base_url=served.address, timeout=30, trust_env=False) as http, ThreadPoolExecutor(30) as pool:
        client = Client(http)
        found = sorted(status for status, _ in pool.map(lambda _: timed(client, "admin", ADMIN_PASSWORD), range(30)))
    assert [200] * 20 + [429] * 10 == found


def test_failed_bearers_are_slowed_and_a_good_one_never_waits(served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    for _ in range(60):
        served.control.failed_bearers.failed("source:127.0.0.1")
    began = time.perf_counter()
    refused(served.nobody.as_(UNKNOWN_TOKEN).get("/users"), "invalid_credential")
    assert time.perf_counter() - began >= 3.9
    began = time.perf_counter()
    assert 200 == served.admin.get("/users").status_code
    assert time.perf_counter() - began < 2


def test_every_bad_bearer_counts_against_its_source(served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    for _ in range(30):
        refused(served.nobody.as_(UNKNOWN_TOKEN).get("/users"), "invalid_credential")
    assert served.control.failed_bearers.wait("source:127.0.0.1") > 0.0
    assert 0.0 == served.control.failed_bearers.wait("source:10.0.0.1")


def source_of(served: Served, *forwarded: str) -> str | None:
    """The address an audit row says this request came from."""
    headers = [("Authorization", f"Bearer {served.admin.bearer}"), *(("X-Forwarded-For", one) for one in forwarded)]
    answer = served.nobody.http.post("/api/v1/groups", headers=headers, json={"name": f"g{time.time_ns()}"})
    assert 201 == answer.status_code
    return audit_rows(served)[-1].source


def test_forwarded_addresses_count_only_as_far_as_trusted_proxies_wrote_them(served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    assert "127.0.0.1" == source_of(served, "6.6.6.6")
    served.control.trusted_proxies = ("10.0.0.0/8",)
    assert "127.0.0.1" == source_of(served, "6.6.6.6")
    served.control.trusted_proxies = ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")
    assert "127.0.0.1" == source_of(served)
    cases: list[tuple[str, tuple[str, ...]]] = [
        ("6.6.6.6", ("6.6.6.6",)),
        ("6.6.6.6", ("1.2.3.4, 6.6.6.6",)),
        ("6.6.6.6", ("1.2.3.4, 6.6.6.6, 10.1.2.3",)),
        ("6.6.6.6", ("1.2.3.4", "6.6.6.6", "10.1.2.3")),
        ("2001:db8::1", ("6.6.6.6, 2001:DB8:0::1, fd00::9",)),
        ("10.1.2.3", ("nonsense, 10.1.2.3",)),
        ("127.0.0.1", ("1.2.3.4, <script>",)),
        ("127.0.0.1", ("6.6.6.6:80",)),
        ("6.6.6.6", (", ".join(["6.6.6.6", *["10.1.2.3"] * 31]),)),
        ("10.1.2.3", (", ".join(["6.6.6.6", *["10.1.2.3"] * 32]),)),
        ("6.6.6.6", ("1.2.3.4, 6.6.6.6, ::ffff:10.1.2.3",)),
        ("127.0.0.1", ("",)),
        ("127.0.0.1", ("6.6.6.6,",)),
    ]
    assert [expected for expected, _ in cases] == [source_of(served, *forwarded) for _, forwarded in cases]


def test_the_host_asked_for_must_be_one_this_is(served_on_sqlite: Served) -> None:
    """threats 3, 27: a page in a browser reaches a loopback listener by no name of its own."""
    from starlette.testclient import TestClient

    from mcpctl.api.app import build_app
    from mcpctl.api.control_plane import ControlPlane

    control = ControlPlane(served_on_sqlite.control.database, served_on_sqlite.control.policy)
    control.allowed_hosts = frozenset({"localhost", "127.0.0.1", "[::1]"})
    client = TestClient(build_app(control), raise_server_exceptions=False)  # without the lifespan: nothing is started

    def asked(*hosts: str) -> int:
        request = client.build_request("GET", "http://localhost/healthz")
        request.headers = type(request.headers)([("host", host) for host in hosts])
        return client.send(request).status_code

    cases: dict[tuple[str, ...], int] = {
        ("localhost",): 200,
        ("LOCALHOST:8470",): 200,
        ("127.0.0.1:1",): 200,
        ("[::1]:8470",): 200,
        ("evil.example",): 421,
        ("localhost.evil.example",): 421,
        ("localhost@evil.example",): 421,
        ("evil.example:localhost",): 421,
        ("127.0.0.1.nip.io",): 421,
        ("[::2]",): 421,
        ("",): 421,
        ("localhost", "evil.example"): 421,
        ("evil.example", "localhost"): 421,
        ("localhost/../evil.example",): 421,
        ("localhost?",): 421,
    }
    assert cases == {hosts: asked(*hosts) for hosts in cases}


def test_the_sessions_of_a_disabled_user_are_nobody_until_it_is_enabled(shared: Served) -> None:
    client = shared.user("pause")
    assert 200 == client.get("/auth/whoami").status_code, "it is remembered from now on"
    setup(shared, ("PATCH", "/users/pause", {"disabled": True}))
    refused(client.get("/auth/whoami"), "invalid_credential")
    said: dict[str, Any] = client.get("/mcptokens/introspect").json()
    assert (False, "owner_disabled") == (said["active"], said["reason"])
    setup(shared, ("PATCH", "/users/pause", {"disabled": False}))
    assert 200 == client.get("/auth/whoami").status_code

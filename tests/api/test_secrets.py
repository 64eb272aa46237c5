"""Secrets: kept encrypted, used by whoever may run them, read back by nobody."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from mcpctl.api.control_plane import ControlPlane
from mcpctl.errors import InvalidSetting, Unavailable
from mcpctl.services.keyring import Keyring, Sealed, parse_keys
from mcpctl.store.database import Database
from tests import serving
from tests.conftest import POLICIES
from tests.serving import Served, made

OLD, NEW = b"o" * 32, b"n" * 32
VALUE = "hunter2-and-a-bit-more"
SERVER = {
    "name": "github",
    "transport": "streamable-http",
    "url": "http://127.0.0.1:9/mcp",
    "headers": {"X-Key": {"secret": "github", "key": "token"}},
}


def keep(served: Served) -> None:
    made(served.admin.post("/secrets", {"name": "github", "values": {"token": VALUE, "other": "unused"}}))


def test_a_value_leaves_only_through_the_gateways_route(served: Served) -> None:
    keep(served)
    made(served.admin.post("/servers", SERVER))
    made(served.admin.post("/projects", {"name": "demo", "servers": ["github"]}))
    for path in ("/secrets", "/secrets/github", "/servers", "/servers/github", "/audit"):
        assert VALUE not in served.admin.get(path).text, path
    assert ["other", "token"] == served.admin.get("/secrets/github").json()["keys"]
    (upstream,) = served.admin.get("/gateway/upstreams?project=demo").json()["servers"]
    assert {"X-Key": VALUE} == upstream["headers"]
    bob = served.user("bob", "role:edit,resource:*", "role:run,resource:*")
    assert 403 == bob.get("/gateway/upstreams?project=demo").status_code


def test_naming_a_secret_in_a_server_needs_run_on_it_on_create_and_on_every_edit(served: Served) -> None:
    keep(served)
    bob = served.user("bob", "role:edit,resource:servers", "role:view,resource:secrets")
    refused = bob.post("/servers", SERVER)
    assert (403, "ceiling", ["run secrets github"]) == (refused.status_code, refused.json()["code"], refused.json()["missing"])
    made(served.admin.post("/servers", SERVER))
    moved = {**SERVER, "url": "http://evil.example/mcp"}
    assert 403 == bob.put("/servers/github", moved).status_code, "the result still names the secret"
    made(bob.put("/servers/github", {**SERVER, "headers": {}}), 200)
    missing = {**SERVER, "headers": {"X-Key": {"secret": "no-such", "key": "token"}}}
    assert 403 == bob.put("/servers/github", missing).status_code, "without run, what exists and what does not are one"
    assert 422 == served.admin.put("/servers/github", missing).status_code
    wrong_key = {**SERVER, "headers": {"X-Key": {"secret": "github", "key": "nope"}}}
    assert 422 == served.admin.put("/servers/github", wrong_key).status_code


def test_attaching_a_server_needs_run_on_the_secrets_it_names(served: Served) -> None:
    """Whoever serves as a gateway of the project is given their values from then on."""
    keep(served)
    made(served.admin.post("/servers", SERVER))
    made(served.admin.post("/projects", {"name": "demo"}))
    bob = served.user("bob", "role:edit,resource:projects", "role:view,resource:servers", "role:view,resource:secrets")
    for refused in (
        bob.put("/projects/demo/servers/github"),
        bob.put("/projects/demo", {"servers": ["github"]}),
        bob.post("/projects", {"name": "other", "servers": ["github"]}),
    ):
        said = refused.json()
        assert (403, "ceiling", ["run secrets github"]) == (refused.status_code, said.get("code"), said.get("missing"))


def test_gateways_hear_that_a_secret_changed_by_the_projects_whose_servers_use_it(served: Served) -> None:
    keep(served)
    made(served.admin.post("/servers", SERVER))
    made(served.admin.post("/projects", {"name": "demo", "servers": ["github"]}))
    heard: list[frozenset[str]] = []
    served.control.feed.subscribe(lambda _revision, topics: heard.append(topics))
    made(served.admin.put("/secrets/github", {"values": {"token": "another", "other": "unused"}}), 200)
    assert [{"Secret:github", "Server:github", "Project:demo"}] == heard


def test_a_secret_in_use_is_not_deleted_nor_robbed_of_a_key(served: Served) -> None:
    keep(served)
    made(served.admin.post("/servers", SERVER))
    assert 409 == served.admin.delete("/secrets/github").status_code
    assert 409 == served.admin.put("/secrets/github", {"values": {"other": "x"}}).status_code
    made(served.admin.put("/secrets/github", {"values": {"token": "new"}}), 200)
    assert 204 == served.admin.delete("/servers/github").status_code
    assert 204 == served.admin.delete("/secrets/github").status_code


def test_some_values_are_set_and_some_forgotten_and_the_others_stay(served: Served) -> None:
    keep(served)
    made(served.admin.post("/servers", SERVER))
    made(served.admin.post("/projects", {"name": "demo", "servers": ["github"]}))
    changed = made(served.admin.patch("/secrets/github", {"values": {"other": None, "third": "3"}}), 200)
    assert ["third", "token"] == changed["keys"]
    (upstream,) = served.admin.get("/gateway/upstreams?project=demo").json()["servers"]
    assert {"X-Key": VALUE} == upstream["headers"]
    assert 409 == served.admin.patch("/secrets/github", {"values": {"token": None}}).status_code, "a server uses it"
    assert 422 == served.admin.patch("/secrets/github", {"values": {"nothing": None}}).status_code
    assert 204 == served.admin.delete("/servers/github").status_code
    assert 422 == served.admin.patch("/secrets/github", {"values": {"token": None, "third": None}}).status_code
    bob = served.user("bob", "role:view,resource:secrets")
    assert 403 == bob.patch("/secrets/github", {"values": {"third": "4"}}).status_code


@pytest.mark.parametrize("value", ["two\nlines", "a\r\nX-Injected: 1", "\x7f"])
def test_a_value_that_cannot_be_a_header_is_sent_as_none(served: Served, value: str) -> None:
    made(served.admin.post("/secrets", {"name": "github", "values": {"token": value}}))
    assert 422 == served.admin.post("/servers", SERVER).status_code
    made(served.admin.put("/secrets/github", {"values": {"token": "plain"}}), 200)
    made(served.admin.post("/servers", SERVER))
    for method in ("PUT", "PATCH"):
        refused = served.admin.call(method, "/secrets/github", {"values": {"token": value}})
        assert (422, "values.token") == (refused.status_code, refused.json()["errors"][0]["field"])


def test_a_value_that_cannot_be_read_harms_its_server_alone_and_can_be_set_anew(database_url: str) -> None:
    with serving.serve(database_url, POLICIES, keyring=Keyring([OLD])) as served:
        keep(served)
        made(served.admin.post("/servers", SERVER))
        served.project("demo", "github", "other")
        with served.control.database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE secret_value SET nonce = ciphertext WHERE key = 'token'")
    with serving.serve(database_url, POLICIES, keyring=Keyring([NEW, OLD])) as served:
        damaged, other = served.admin.get("/gateway/upstreams?project=demo").json()["servers"]
        assert "'token' of the secret 'github' cannot be read" in damaged["unusable"]
        assert ({}, None) == (damaged["headers"], other["unusable"])
        made(served.admin.patch("/secrets/github", {"values": {"token": VALUE}}), 200)
        mended, _ = served.admin.get("/gateway/upstreams?project=demo").json()["servers"]
        assert ({"X-Key": VALUE}, None) == (mended["headers"], mended["unusable"])


def test_a_token_never_touches_secrets_whatever_its_bindings(served: Served) -> None:
    keep(served)
    served.project("demo")
    token = made(served.admin.post("/mcptokens", {"name": "t", "project": "demo", "rbacMode": "clone"}))["token"]
    agent = served.nobody.as_(token)
    assert [] == agent.get("/secrets").json()["items"]
    for method, path in (
        ("GET", "/secrets/github"),
        ("PUT", "/secrets/github"),
        ("DELETE", "/secrets/github"),
        ("POST", "/secrets"),
    ):
        body = (
            {"values": {"token": "x"}, **({"name": "mine"} if method == "POST" else {})} if method in {"PUT", "POST"} else None
        )
        assert 403 == agent.call(method, path, body).status_code, (method, path)


def test_values_stand_encrypted_in_the_database_each_bound_to_its_row(served: Served) -> None:
    keep(served)
    made(served.admin.post("/secrets", {"name": "other", "values": {"token": "another value"}}))
    with served.control.database.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT secret_id, name, key, key_id, nonce, ciphertext FROM secret_value JOIN secret ON secret.id = secret_id"
        ).all()
    assert VALUE.encode() not in b"".join(bytes(row.ciphertext) for row in rows)
    keyring = served.control.keyring
    opened = set()
    for row in rows:
        sealed = Sealed(row.key_id, bytes(row.nonce), bytes(row.ciphertext))
        opened.add(keyring.open(sealed, f"{row.secret_id}/{row.name}/{row.key}"))
        for other in rows:
            if (other.secret_id, other.key) != (row.secret_id, row.key):
                with pytest.raises(Unavailable):
                    keyring.open(sealed, f"{other.secret_id}/{other.name}/{other.key}")
        with pytest.raises(Unavailable):
            keyring.open(sealed, f"{row.secret_id}/renamed/{row.key}")
    assert {VALUE, "unused", "another value"} == opened


def test_no_two_values_are_sealed_alike() -> None:
    keyring = Keyring([OLD])
    sealed = [keyring.seal(VALUE, "the same row") for _ in range(200)]
    assert 200 == len({one.nonce for one in sealed}) == len({one.ciphertext for one in sealed})


def test_a_new_key_in_front_encrypts_everything_anew_and_the_old_one_can_go(database_url: str) -> None:
    with serving.serve(database_url, POLICIES, keyring=Keyring([OLD])) as served:
        keep(served)
    for keys in ([NEW, OLD], [NEW]):
        control, _ = ControlPlane.prepare(Database(database_url), POLICIES, keyring=Keyring(keys))
        with control.database.engine.connect() as connection:
            used = {row[0] for row in connection.exec_driver_sql("SELECT key_id FROM secret_value")}
        assert {Keyring([NEW]).encrypting} == used
        control.database.close()
    for keys in ([OLD], []):
        database = Database(database_url)
        with pytest.raises(InvalidSetting, match=f"need the key {Keyring([NEW]).encrypting}, and the-file holds"):
            ControlPlane.prepare(database, POLICIES, keyring=Keyring(keys, "the-file"))
        database.close()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (b64encode(OLD).decode(), [OLD]),
        (f"# new\n{NEW.hex()}\n\n{b64encode(OLD).decode()}\n", [NEW, OLD]),
    ],
)
def test_keys_are_one_a_line_in_base64_or_hex(text: str, keys: list[bytes]) -> None:
    assert keys == parse_keys(text, "file")


@pytest.mark.parametrize("text", ["", "# nothing", "short", b64encode(b"31 bytes" * 3).decode(), "é" * 43])
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        parse_keys(text, str(Path("the file")))
    assert "the file" in refusal.value.detail
    assert not text.strip("# ") or text not in refusal.value.detail

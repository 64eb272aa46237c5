"""What was accepted is what is kept: it comes back from the database, from a process that starts afterwards and from a policy
file with the very same strings, and the engine decides what the text says."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from mcpctl.policy import bindings, files
from mcpctl.policy.bindings import Binding
from mcpctl.policy.slices import Rule
from mcpctl.services import secrets
from mcpctl.store import policy_rules
from mcpctl.store.database import Database
from mcpctl.store.schema import Project, Secret, Server, Token
from tests.api.people import setup
from tests.conftest import POLICIES
from tests.policy.test_parsers import PARTS, hostile, valid_bindings
from tests.policy.worlds import piece
from tests.serving import Client, Served, made

SOAK = settings.get_current_profile_name() == "soak"
few = settings(max_examples=500 if SOAK else 10, deadline=None, suppress_health_check=list(HealthCheck))
SUBJECTS = ["User:carol", "User:dave+ci@example.org", "Group:crew"]
ASKED = [
    ("view", "servers", "a/b"),
    ("run", "servers", "*"),
    ("edit", "secrets", "a"),
    ("create", "projects", "*"),
    ("delete", "mcptokens", "a/b"),
    ("logs", "operations", "a"),
]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
clean = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
headers = st.dictionaries(st.from_regex(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True), clean, max_size=4).filter(
    lambda found: len({name.lower() for name in found}) == len(found)
)
urls = st.from_regex(r"https?://[a-z0-9.-]{1,20}(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~%2F?&=-]{0,20})?", fullmatch=True)
http_servers = st.fixed_dictionaries(
    {"transport": st.just("streamable-http"), "url": urls},
    optional={
        "headers": headers,
        "stateful": st.booleans(),
        "healthCheck": st.fixed_dictionaries(
            {"intervalSeconds": st.integers(1, 86_400), "timeoutSeconds": st.integers(1, 600)}
        ),
    },
)
stdio_servers = st.fixed_dictionaries(
    {"transport": st.just("stdio"), "command": clean.filter(bool)},
    optional={
        "args": st.lists(clean, max_size=5),
        "env": st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True), texts, max_size=4),
    },
)
values = st.dictionaries(st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True), texts.filter(bool), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def admin(shared: Served) -> Client:
    setup(
        shared,
        ("POST", "/users", {"name": "carol", "service": True}),
        ("POST", "/users", {"name": "dave+ci@example.org", "service": True}),
        ("POST", "/groups", {"name": "crew"}),
        ("POST", "/projects", {"name": "home"}),
    )
    return shared.admin


@pytest.fixture(scope="module")
def elsewhere(shared: Served, admin: Client) -> Iterator[Database]:
    """The same database as another process sees it."""
    database = Database(shared.control.database.engine.url.render_as_string(hide_password=False))
    yield database
    database.close()


def fresh() -> str:
    """A name nothing has."""
    return f"n{uuid4().hex}"


def accepted(answer: httpx2.Response, *refusals: int) -> Any:
    """What was made, or ``None`` where it was refused with a problem that says why."""
    if answer.status_code in refusals:
        assert answer.json()["detail"]
        return None
    return made(answer)


bound = st.lists(valid_bindings(), min_size=1, max_size=6, unique=True)
listed = st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=3, unique=True)


@few
@given(given_=bound, subjects=listed)
def test_a_definition_is_kept_as_its_text_and_decided_as_its_text(
    admin: Client, elsewhere: Database, given_: list[Binding], subjects: list[str]
) -> None:
    name, said = fresh(), [str(binding) for binding in given_]
    body = {"name": name, "subjects": subjects, "roleBindings": said}
    try:
        answered = made(admin.post("/rbac", body))
        assert body == {key: answered[key] for key in body}
        assert body == {key: made(admin.get(f"/rbac/{name}"), 200)[key] for key in body}
        with elsewhere.read() as session:
            kept = policy_rules.of_origin(session, f"rbac:{name}")
        assert [
            Rule(subject, b.role, b.resource, b.name, b.effect, f"rbac:{name}") for subject in subjects for b in given_
        ] == kept
        asked = [{"subject": subjects[0], "action": act, "resource": res, "name": about} for act, res, about in ASKED]
        alone = piece(subjects[0], *given_)
        verdicts = admin.post("/authorize", asked).json()
        expected = [bool(alone.ask(one["action"], one["resource"], one["name"]).allowed) for one in asked]
        assert expected == [verdict["allowed"] for verdict in verdicts]
    finally:
        admin.delete(f"/rbac/{name}")


@few
@given(given_=bound, subjects=listed)
def test_a_policy_file_of_the_same_lines_reads_back_as_the_very_same_rules(
    tmp_path_factory: pytest.TempPathFactory, given_: list[Binding], subjects: list[str]
) -> None:
    directory = Path(shutil.copytree(POLICIES, tmp_path_factory.mktemp("policy") / "policies"))
    wanted = [
        Rule(subject, b.role, b.resource, b.name, b.effect, f"mine.csv:{1 + place * len(given_) + index}")
        for place, subject in enumerate(subjects)
        for index, b in enumerate(given_)
    ]
    (directory / "mine.csv").write_text("".join(f"{rule}\n" for rule in wanted))
    assert [] == files.check(directory)
    assert wanted == [rule for rule in files.read(directory).rules if rule.origin.startswith("mine.csv:")]


@few
@given(text=hostile)
def test_a_binding_that_is_accepted_is_answered_in_its_canonical_words(admin: Client, text: str) -> None:
    name = fresh()
    body = {"name": name, "subjects": ["User:carol"], "roleBindings": [text]}
    try:
        raw = httpx2.Request("POST", "http://host/", json=body).read()
    except UnicodeEncodeError:
        return
    answer = admin.post("/rbac", content=raw, headers={"Content-Type": "application/json"})
    if accepted(answer, 400, 422) is not None:
        assert [str(bindings.parse(text))] == made(admin.get(f"/rbac/{name}"), 200)["roleBindings"]
        admin.delete(f"/rbac/{name}")


@few
@given(body=http_servers | stdio_servers)
def test_a_server_comes_back_as_it_was_sent(admin: Client, elsewhere: Database, body: dict[str, Any]) -> None:
    name = fresh()
    if accepted(admin.post("/servers", {"name": name, **body}), 422) is None:
        return  # a port or host that is none
    shown = made(admin.get(f"/servers/{name}"), 200)
    assert body == {key: shown[key] if key != "healthCheck" else _without_none(shown[key]) for key in body}
    with elsewhere.read() as session:
        kept = session.scalars(select(Server).where(Server.name == name)).one()
        for key in ("transport", "url", "headers", "command", "args", "env"):
            if key in body:
                assert body[key] == getattr(kept, key)
    again = {key: shown[key] for key in body}
    assert shown | {"updatedAt": None} == made(admin.put(f"/servers/{name}", again), 200) | {"updatedAt": None}


def _without_none(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


@few
@given(kept=values)
def test_the_values_of_a_secret_come_out_as_they_went_in(
    admin: Client, shared: Served, elsewhere: Database, kept: dict[str, str]
) -> None:
    name = fresh()
    answered = made(admin.post("/secrets", {"name": name, "values": kept}))
    assert sorted(kept) == sorted(answered["keys"])
    with elsewhere.read() as session:
        assert session.scalars(select(Secret).where(Secret.name == name)).one()
        named = {key: {"secret": name, "key": key} for key in kept}
        assert kept == secrets.resolved(session, shared.control.keyring, named)


@few
@given(servers=st.lists(PARTS, max_size=4, unique=True), tool_names=st.sampled_from(["prefixed", "plain"]))
def test_a_project_keeps_its_servers_in_their_order(
    admin: Client, elsewhere: Database, servers: list[str], tool_names: str
) -> None:
    for server in servers:
        accepted(admin.post("/servers", {"name": server, "transport": "stdio", "command": "x"}), 409)
    name = fresh()
    made(admin.post("/projects", {"name": name, "servers": servers, "toolNames": tool_names}))
    shown = made(admin.get(f"/projects/{name}"), 200)
    assert (servers, tool_names) == (shown["servers"], shown["toolNames"])
    with elsewhere.read() as session:
        assert tool_names == session.scalars(select(Project).where(Project.name == name)).one().tool_names


allows = st.lists(valid_bindings().filter(lambda b: not b.denies), max_size=4, unique=True)
prose = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@few
@given(given_=allows, description=prose)
def test_a_token_keeps_its_bindings_and_its_description(
    admin: Client, elsewhere: Database, given_: list[Binding], description: str
) -> None:
    name = fresh()
    body = {"name": name, "project": "home", "bindings": [str(one) for one in given_], "description": description}
    answered = accepted(admin.post("/mcptokens", body), 422)
    if answered is None:
        assert any(ord(one) < 0x20 or ord(one) == 0x7F for one in description)
        return
    shown = made(admin.get(f"/mcptokens/{answered['id']}"), 200)
    assert body == {key: shown[key] for key in body}
    with elsewhere.read() as session:
        assert description == session.scalars(select(Token).where(Token.id == answered["id"])).one().description
        lines = policy_rules.of_subjects(session, [f"McpToken:{answered['tokenSha']}"])
    assert given_ == [line.binding for line in lines]


NAMED: dict[str, Callable[[str], Any]] = {
    "users": lambda name: {"name": name, "service": True},
    "groups": lambda name: {"name": name},
    "servers": lambda name: {"name": name, "transport": "stdio", "command": "x"},
    "projects": lambda name: {"name": name},
    "secrets": lambda name: {"name": name, "values": {"k": "v"}},
    "proxymodels": lambda name: {"name": name, "stages": [{"stage": "truncate"}]},
    "rbac": lambda name: {"name": name, "subjects": ["User:carol"], "roleBindings": ["role:view,resource:groups"]},
}


@few
@given(kind=st.sampled_from(sorted(NAMED)), name=st.text("ab09.-_@+", min_size=1, max_size=8) | hostile)
def test_a_name_that_is_accepted_is_kept_letter_by_letter(admin: Client, kind: str, name: str) -> None:
    try:
        raw = httpx2.Request("POST", "http://host/", json=NAMED[kind](name)).read()
    except UnicodeEncodeError:
        return
    answer = admin.post(f"/{kind}", content=raw, headers={"Content-Type": "application/json"})
    if accepted(answer, 400, 409, 422) is not None:
        assert name == answer.json()["name"]
        assert name == made(admin.get(f"/{kind}/{name}"), 200)["name"]
        assert 204 == admin.delete(f"/{kind}/{name}").status_code
        assert 404 == admin.get(f"/{kind}/{name}").status_code

"""The OpenAPI document is true: schemathesis asks whatever the document allows, and whatever it does not allow.

One request at a time, and then chains along the document's links (create, look, change, delete). ``make soak`` runs many more.
"""

from __future__ import annotations

import os
import re
from copy import deepcopy
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.generation.modes import GenerationMode

from mcpctl.api.app import OPERATIONS
from tests.api.contract import DOCUMENT
from tests.api.people import setup
from tests.api.samples import BODIES, path
from tests.policy.test_parsers import valid_bindings
from tests.serving import Served

SOAK = hypothesis.settings.get_current_profile_name() == "soak"
EXAMPLES = int(os.environ.get("FUZZ", 30 if SOAK else 3))
LONG_CHAINS = settings(
    max_examples=4 * EXAMPLES,
    derandomize=not SOAK,  # make test asks the same each time, make soak something new
    stateful_step_count=20 if SOAK else 10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

CONFIG = SchemathesisConfig.from_dict(
    {
        # No text may hold NUL, which the document says once and not of each: PostgreSQL cannot keep it.
        "generation": {"allow-x00": False, "no-shrink": not SOAK},
        # Links it guesses lead from the list of users to deleting whoever asks; the document's own are enough.
        "phases": {"coverage": {"enabled": SOAK}, "stateful": {"inference": {"algorithms": []}}},
        # A body that is too large is refused before anything else is looked at.
        "checks": {
            "positive_data_acceptance": {"enabled": False},  # it knows no reason but the schema's; see below
            "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "405", "409", "413", "415", "422"]},
        },
    }
)

STATE = re.compile(
    r"there is no |is no user|a token's name is only unique|a person needs one|sessions are opened for service users only"
    r"|needs it|it does not go with|is an operation: ask|is not an operation|is not an action|it is none that a page"
    r"|the gateway sets this header itself|stands there twice|a token is given|has no password|old password"
    r"|it is .* in the path|name the tool|unknown role|nothing to change|bindings only allow|it must be http://"
    r"|it must be a whole number|the secret has no such key|nothing would be left|a server sends it as a header"
    r"|a secret needs a key|there is no value of it yet|does not become a service user"
    r"|another pattern or a detector is called so"
)
"""What no schema can say: references to what is not there, members that need or exclude each other, cursors, spellings;
and 1.0, which is an integer there and none here."""

schemathesis.openapi.format("role-binding", valid_bindings().map(str))
schemathesis.openapi.format("policy-name", st.just("*"))
schemathesis.openapi.format("re2", st.sampled_from(["TICKET-[0-9]+", "(?i)secret"]))
schemathesis.openapi.format("jmespath", st.sampled_from(["items[].name", "@"]))
schemathesis.openapi.format("lifetime", st.sampled_from(["30d", "12h", "1h30m", "never"]))
schemathesis.openapi.format("moment", st.sampled_from(["1h", "7d", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+02:00"]))

# The watch stream never ends, tests/api/test_watch.py is about it; logging out would end the session all of this is asked with.
OPEN_ENDED = ("/api/v1/watch", "/api/v1/auth/logout")
API = schemathesis.openapi.from_dict(deepcopy(DOCUMENT), config=CONFIG).exclude(path=list(OPEN_ENDED))  # it adds links


@schemathesis.check
def refused_only_for_the_state_of_things(_context: Any, response: Any, case: Any) -> None:
    """What the schema allows is accepted, or the refusal is about what no schema can say."""
    if response.status_code == 422 and case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        assert STATE.search(response.json()["detail"]), response.json()["detail"]


load_all_checks()
NOT_OF_INTROSPECTION = CHECKS.get_by_names(["allow_header_conformance", "ignored_auth"])
"""DELETE reaches the route of tokens' names there; and that a bearer is no good is what it is asked for: 200, not active."""


FRAMING = {"transfer-encoding", "content-length", "connection", "upgrade", "expect", "te", "trailer"}


def excluded(case: Any) -> list[Any]:
    return NOT_OF_INTROSPECTION if case.operation.path == "/api/v1/mcptokens/introspect" else []


@API.hook
def map_headers(_context: Any, headers: Any) -> Any:
    """Not those that frame the message: a client that spoils them is refused by the listener, before there is a request."""
    if isinstance(headers, dict):
        return {name: value for name, value in headers.items() if name.lower() not in FRAMING}
    return headers


@API.hook
def map_body(_context: Any, body: Any) -> Any:
    """Where a valid name stands for something that must exist, half of the time it does."""
    if isinstance(body, dict) and "prune" in body:
        body["dryRun"] = True  # else it deletes whoever asks
    if isinstance(body, dict):
        for member in ("project", "user"):
            if isinstance(body.get(member), str) and re.fullmatch("[a-z0-9]{1,2}", body[member]):
                body[member] = "sample"
        for member, there in (("servers", "sample"), ("members", "User:sample"), ("subjects", "Group:sample")):
            value = body.get(member)
            if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and len(value[0]) < 10:
                body[member] = [there] if re.fullmatch("(?:(User|Group):)?[a-z0-9]+", value[0]) else value
    return body


@pytest.fixture(scope="module")
def bearer(shared: Served) -> str:
    """The session of somebody who may do everything, where those things are that bodies name."""
    setup(
        shared,
        ("POST", "/users", {"name": "fuzzer", "password": "a long password"}),
        ("POST", "/rbac", {"name": "fuzzer", "subjects": ["User:fuzzer"], "roleBindings": ["role:admin,resource:*"]}),
        ("POST", "/users", {"name": "sample", "service": True}),
        ("POST", "/groups", {"name": "sample"}),
        ("POST", "/servers", {"name": "sample", "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}),
        ("POST", "/projects", {"name": "sample", "servers": ["sample"]}),
        ("POST", "/proxymodels", BODIES["post_proxymodels"]),
    )
    shared.control.failed_logins.wait = lambda *_keys: 0.0  # type: ignore[method-assign]  # this is not about guessing
    shared.control.failed_bearers.wait = lambda *_keys: 0.0  # type: ignore[method-assign]
    bearer = shared.log_in("fuzzer", "a long password").bearer
    assert bearer
    return bearer


@API.parametrize()
@settings(max_examples=EXAMPLES, derandomize=not SOAK, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_what_the_document_says(case: Any, shared: Served, bearer: str) -> None:
    case.call_and_validate(
        base_url=shared.address, headers={"Authorization": f"Bearer {bearer}"}, excluded_checks=excluded(case)
    )


def test_whatever_was_made_can_be_looked_at_changed_and_deleted(shared: Served, bearer: str) -> None:
    """Chains along the links. What was deleted is gone, and nothing else is."""
    followed: dict[str, set[int]] = {}
    client = shared.nobody.as_(bearer)

    class Chains(API.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, _case: Any) -> dict[str, Any]:
            return {"base_url": shared.address, "headers": {"Authorization": f"Bearer {bearer}"}}

        def setup(self) -> None:
            super().setup()
            self.made: list[str] = []

        def teardown(self) -> None:
            """Each chain finds the world as the first one did: else the same draws would not lead to the same answers."""
            for where in reversed(self.made):
                client.delete(where)
            super().teardown()

        def validate_response(self, response: Any, case: Any, **options: Any) -> None:
            followed.setdefault(case.operation.label, set()).add(response.status_code)
            if response.status_code == 201:
                body = response.json()
                self.made.append(f"{case.operation.path.removeprefix('/api/v1')}/{body.get('id') or body['name']}")
            case.validate_response(response, excluded_checks=excluded(case), headers=self.get_call_kwargs(case)["headers"])

    run_state_machine_as_test(Chains, settings=LONG_CHAINS)
    assert any(201 in statuses for statuses in followed.values())
    assert 200 == client.get("/auth/whoami").status_code


def fresh(operation: str, number: int) -> dict[str, Any] | None:
    """The body of an operation under a name of its own; ``None`` if it has none."""
    body: dict[str, Any] | None = BODIES.get(operation)
    if body is None:
        return None
    return body | ({"name": f"link-{number}"} if "name" in body else {}) | ({"members": []} if "members" in body else {})


def test_every_link_of_the_document_leads_somewhere(shared: Served, bearer: str) -> None:
    """What was made is reached by the very expression the link has, not by a lucky draw."""
    client, by_id, number = shared.nobody.as_(bearer), {one.operation_id: one for one in OPERATIONS}, 0
    seen = 0
    for source in OPERATIONS:
        answers = DOCUMENT["paths"][source.path][source.method.lower()]["responses"]
        for name, link in answers[str(source.status)].get("links", {}).items():
            number, seen, target = number + 1, seen + 1, by_id[name]
            where = source.path.removeprefix("/api/v1")
            if source.method == "GET":  # a list leads somewhere if there is something in it
                assert 201 == client.post(where, fresh(source.operation_id.replace("get_", "post_", 1), number)).status_code
            made = client.call(source.method, where, fresh(source.operation_id, number))
            assert source.status == made.status_code, made.text
            ((parameter, expression),) = link["parameters"].items()
            value = made.json()
            for step in expression.removeprefix("$response.body#/").split("/"):
                value = value[int(step)] if isinstance(value, list) else value[step]
            sent = {key: one for key, one in BODIES.get(name, {}).items() if key not in ("name", "oldPassword")} or None
            if name == "patch_users_id":
                sent = {"disabled": True}
            reached = client.call(target.method, path(target, **{parameter: value}).removeprefix("/api/v1"), sent)
            a_pair = target.path.count("{") > 1  # the other half has nothing to do with it
            assert reached.status_code in ((target.status, 404) if a_pair else (target.status,)), (name, reached.text)
    assert seen > 30

"""What the gateway makes of the control plane's answers: a caller, or an exception, and never somebody by default."""

from __future__ import annotations

from typing import Any

import pytest

from mcpctl.errors import Unreachable
from mcpctl.wire.gateway import Slices
from mcpctl.wire.tokens import Introspection
from mcplocal.control.control_plane import ControlPlane
from mcplocal.control.policy_feed import PolicyFeed
from mcplocal.gate import Gate, Identity
from mcplocal.settings import load
from tests.policy.worlds import MODEL_TEXT, SHIPPED

SHA = "ab" * 32
TOKEN = {"active": True, "sub": f"McpToken:{SHA}", "token_type": "mcptoken", "project": "demo", "owner": "User:alice"}
PERSON = {"active": True, "sub": "User:alice", "token_type": "session"}
ALICE = {"subject": "User:alice", "groups": [], "rules": [["User:alice", "admin", "*", "*", "allow", "rbac:x"]]}


@pytest.mark.parametrize("answer", [TOKEN, PERSON])
def test_an_answer_that_says_who_makes_an_identity(answer: dict[str, Any]) -> None:
    identity = Identity.of(Introspection.model_validate(answer))
    assert (answer["sub"], answer.get("project")) == (identity.subject, identity.project)


@pytest.mark.parametrize(
    "answer",
    [
        {"active": True},
        {**PERSON, "sub": None},
        {**PERSON, "sub": ""},
        {**PERSON, "sub": "User:"},
        {**PERSON, "sub": "Group:admins"},
        {**PERSON, "sub": f"McpToken:{SHA}"},
        {**TOKEN, "sub": "User:alice"},
        {**TOKEN, "sub": "McpToken:"},
        {**TOKEN, "project": None},
        {**TOKEN, "project": ""},
    ],
)
def test_an_answer_that_is_active_and_does_not_say_who_is_no_answer(answer: dict[str, Any]) -> None:
    with pytest.raises(Unreachable):
        Identity.of(Introspection.model_validate(answer))


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        (PERSON, {"subject": "User:mallory", "own": {**ALICE, "subject": "User:mallory"}}),
        (TOKEN, {"subject": "User:alice"}),
        (TOKEN, {"subject": f"McpToken:{SHA}", "own": {**ALICE, "subject": f"McpToken:{SHA}"}}),
    ],
    ids=["another person", "the owner in the place of the token", "a token without its owner"],
)
def test_lines_of_somebody_else_than_was_asked_about_make_no_authority(asked: dict[str, Any], more: dict[str, Any]) -> None:
    settings = load({}, control_plane="http://127.0.0.1:9")
    control_plane = ControlPlane(settings)
    gate = Gate(settings, control_plane, PolicyFeed(control_plane))
    said = {"revision": 7, "project": "demo", "attached": [], "topics": [], "own": ALICE, "owner": None, **more}
    answer = Slices.model_validate({**said, "model": MODEL_TEXT, "roles": sorted(SHIPPED.roles.links)})
    with pytest.raises(Unreachable):
        gate._authority(answer, Identity.of(Introspection.model_validate(asked)))

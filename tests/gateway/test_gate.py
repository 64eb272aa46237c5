"""What the gateway makes of the control plane's answers: a caller, or an exception, and never somebody by default."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from mcpctl.errors import NotFound, Unreachable
from mcpctl.wire.gateway import Slices
from mcpctl.wire.tokens import Introspection
from mcplocal.control.control_plane import ControlPlane
from mcplocal.control.policy_feed import PolicyFeed
from mcplocal.gate import Caller, Gate, Identity
from mcplocal.settings import load
from tests.policy.worlds import MODEL_TEXT, SHIPPED

SHA = "ab" * 32
TOKEN = {"active": True, "sub": f"McpToken:{SHA}", "token_type": "mcptoken", "project": "demo", "owner": "User:alice"}
PERSON = {"active": True, "sub": "User:alice", "token_type": "session"}
ALICE = {"subject": "User:alice", "groups": [], "rules": [["User:alice", "admin", "*", "*", "allow", "rbac:x"]]}


def slices(**more: Any) -> Slices:
    said = {"revision": 7, "project": "demo", "attached": [], "topics": [], "own": ALICE, "owner": None, **more}
    return Slices.model_validate({**said, "model": MODEL_TEXT, "roles": sorted(SHIPPED.roles.links)})


class Generous(ControlPlane):
    """A control plane that gives everybody's lines for every project, which the real one never does."""

    def __init__(self, who: dict[str, Any], lines: dict[str, Any]) -> None:
        super().__init__(load({}, control_plane="http://127.0.0.1:9"))
        self.who, self.lines = who, lines

    async def introspect(self, bearer: str) -> Introspection:
        return Introspection.model_validate(self.who)

    async def slices(self, subject: str, project: str) -> Slices:
        return slices(subject=subject, project=project, **self.lines)


async def caller_at(project: str, control_plane: Generous) -> Caller:
    """Who somebody with a good bearer is at the endpoint of ``project``."""
    feed = PolicyFeed(control_plane)
    feed.last_heartbeat = monotonic()
    gate = Gate(load({}, control_plane="http://127.0.0.1:9"), control_plane, feed)
    try:
        return await gate.caller("mcpctl_pat_" + "A" * 43, project, None)
    finally:
        await gate.stop()


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
    control_plane = Generous(asked, {})
    gate = Gate(load({}, control_plane="http://127.0.0.1:9"), control_plane, PolicyFeed(control_plane))
    with pytest.raises(Unreachable):
        gate._authority(slices(**more), Identity.of(Introspection.model_validate(asked)))


def test_the_gateway_itself_keeps_a_token_in_its_project_and_a_person_out_of_those_it_may_not_view() -> None:
    """The control plane gives no lines for these; the gateway does not rely on that."""
    of_token = {"own": {**ALICE, "subject": TOKEN["sub"]}, "owner": ALICE}
    assert TOKEN["sub"] == asyncio.run(caller_at("demo", Generous(TOKEN, of_token))).authority.subject
    assert "User:alice" == asyncio.run(caller_at("demo", Generous(PERSON, {}))).authority.subject
    for project, who, lines in (
        ("other", TOKEN, of_token),
        ("demo", PERSON, {"own": {**ALICE, "rules": []}}),
        ("demo", PERSON, {"own": {**ALICE, "rules": [["User:alice", "view", "projects", "other", "allow", "rbac:x"]]}}),
    ):
        with pytest.raises(NotFound):
            asyncio.run(caller_at(project, Generous(who, lines)))

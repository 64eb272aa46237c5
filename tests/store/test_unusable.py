"""Bindings that a token holds in vain."""

from __future__ import annotations

import pytest

from mcpctl.policy import bindings, files
from mcpctl.services.unusable import unusable
from mcpctl.shipped import shipped

ROLES = files.read(shipped("policies")).roles

CASES = (
    ("role:run,resource:servers,name:github", False),
    ("role:view,resource:secrets,name:github", True),
    ("role:admin,resource:secrets", True),
    ("role:admin,resource:mcptokens", False),
    ("role:edit,resource:mcptokens", False),
    ("role:delete,resource:mcptokens", True),
    ("role:create,resource:users", True),
    ("role:view,resource:users", False),
    ("role:view,resource:*", False),
    ("role:admin,resource:*", False),
    ("role:view,resource:projects", False),
    ("role:view,resource:projects,name:demo", False),
    ("role:view,resource:projects,name:other", True),
    ("role:view,resource:mcptokens,name:demo/ci", False),
    ("role:view,resource:mcptokens,name:other/ci", True),
    ("action:logs,name:demo", False),
    ("action:logs", False),
    ("action:logs,name:other", True),
    ("action:backup", True),
    ("role:view,resource:secrets,effect:deny", False),
)


@pytest.mark.parametrize(("text", "in_vain"), CASES)
def test_a_binding_is_held_in_vain_if_no_token_of_the_project_may_ever_do_that(text: str, in_vain: bool) -> None:
    binding = bindings.parse(text, ROLES.names)
    assert ([binding] if in_vain else []) == unusable([binding], ROLES, "demo")

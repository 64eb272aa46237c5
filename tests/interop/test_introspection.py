"""A server of another maker takes our tokens by configuration alone: FastMCP's stock introspection verifier."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.interop.packages import FASTMCP, HERE, python_environment
from tests.serving import Served, made


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of an environment that has FastMCP."""
    return str(python_environment("fastmcp", FASTMCP) / "bin" / "python")


def verified(python: str, bearers: list[str], **verifier: Any) -> list[dict[str, Any] | None]:
    """What the verifier makes of each bearer."""
    order = json.dumps({"verifier": verifier, "bearers": bearers})
    script = HERE / "clients" / "fastmcp_verifier.py"
    done = subprocess.run([python, str(script)], input=order, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    found: list[dict[str, Any] | None] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.timeout(300)
def test_fastmcps_verifier_needs_configuration_only(python: str, served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    served.project("lab", "shelf", "time")
    served.project("other", "time")
    made(served.admin.post("/users", {"name": "shelf+1@lab", "service": True}))
    secret = made(served.admin.post("/sessions", {"user": "shelf+1@lab", "ttl": "never"}))["token"]
    everything = {"bindings": ["role:run,resource:servers"]}
    one_tool = {"bindings": ["role:run,resource:servers,name:shelf/titles"]}
    tokens = {
        "good": made(served.admin.post("/mcptokens", {"name": "good", "project": "lab", **everything})),
        "elsewhere": made(served.admin.post("/mcptokens", {"name": "elsewhere", "project": "other", **everything})),
        "narrow": made(served.admin.post("/mcptokens", {"name": "narrow", "project": "lab", **one_tool})),
        "revoked": made(served.admin.post("/mcptokens", {"name": "revoked", "project": "lab", **everything})),
    }
    made(served.admin.post(f"/mcptokens/{tokens['revoked']['id']}/revoke"), 200)
    bearers = [*(token["token"] for token in tokens.values()), "nonsense"]
    how = {"introspection_url": f"{served.address}/oauth2/introspect", "client_id": "shelf+1@lab", "client_secret": secret}

    found = dict(
        zip(tokens, verified(python, bearers, **how, required_scopes=["run:servers/shelf"], audience="shelf"), strict=False)
    )
    assert ["good"] == [name for name, access in found.items() if access]
    assert f"McpToken:{tokens['good']['tokenSha']}" == found["good"]["subject"] == found["good"]["client"]  # type: ignore[index]
    narrow = verified(python, bearers, **how, required_scopes=["run:servers/shelf/titles"], audience="shelf")
    assert [False, False, True, False, False] == [access is not None for access in narrow]
    assert [None] * 5 == verified(python, bearers, **how | {"client_secret": tokens["revoked"]["token"]})

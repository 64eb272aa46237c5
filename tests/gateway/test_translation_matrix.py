"""The translation between eras, cell by cell: what a client of one era is given of what a server of either says, and what that
server is asked with. A cell is written ``client→server``."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.test_open_streams import messages
from tests.gateway.upstreams import Upstream, resource, tool
from tests.serving import Served

CELLS = ["modern→modern", "modern→legacy", "legacy→modern", "legacy→legacy"]

OTHERWISE_TESTED = {
    "test_back_channel": {
        "test_what_a_tool_asks_reaches_its_client_and_the_answer_comes_back": "*→*: input_required, or a question",
        "test_a_client_that_never_said_it_can_answer_is_not_asked": "*→*: a server asks nothing its client did not declare",
        "test_a_state_is_good_for_its_own_caller_and_tool_alone": "modern→modern: requestState",
        "test_a_client_hears_what_a_tool_reports_from_the_severity_it_asked_for": "*→*: log messages",
    },
    "test_upstreams": {
        "test_nothing_of_the_callers_request_is_forwarded_but_the_call": "modern→*: headers and _meta are the hop's own",
        "test_a_client_of_the_earlier_era_is_given_objects_only": "legacy→modern: schemas",
        "test_a_server_that_changes_its_era_is_found_out_without_a_failure": "modern→*: the era is found anew",
        "test_a_lost_session_is_opened_again_once_for_all_who_wait": "*→legacy: one initialize after a 404",
        "test_a_server_that_keeps_losing_the_session_is_not_asked_for_ever": "*→legacy: and no more than one",
        "test_a_client_that_goes_away_cancels_its_call_in_the_later_era": "modern→*: letting go is cancelling",
        "test_a_client_that_goes_away_cancels_nothing_in_the_earlier_era": "legacy→*: letting go is not",
    },
    "test_prompts_and_resources": {
        "test_each_is_listed_and_used_in_either_era_of_either_side": "*→*: prompts, resources, templates, completion",
        "test_results_have_the_members_of_their_clients_era_and_no_others": "*→*: their results",
    },
    "test_subscriptions": {
        "test_who_is_subscribed_is_told_and_nobody_else_in_every_cell_of_the_matrix": "*→*: resources/updated",
    },
    "test_list_streams": {
        "test_a_stream_is_held_open_while_anybody_listens_and_what_it_says_reaches_them": "*→*: list_changed",
    },
    "test_library": {"test_an_agent_over_http_uses_all_there_is_of_a_server": "*→*: the SDK's own clients and server"},
}
"""What else belongs to the matrix, and where it is tested: by module, test, and cell."""

SAID = {
    "content": [{"type": "hologram", "text": "x", "vendor": None}],
    "structuredContent": {"a": 1},
    "vendor/member": [1.50],
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "theirs"}, "vendor/meta": 2},
}
"""What a tool's result holds in either era: what nobody here knows passes through."""

MODERN_MEMBERS = {"resultType": "complete", "ttlMs": 9_000_000, "cacheScope": "public"}

ERRORS: dict[tuple[str, str, int], dict[str, int]] = {
    # what was used, the server's era, the server's code: the code in each of the client's eras
    ("tool", "modern", -32602): {"modern": -32602, "legacy": -32602},
    ("tool", "modern", -32020): {"modern": -32603, "legacy": -32603},
    ("tool", "modern", -32021): {"modern": -32021, "legacy": -32603},
    ("tool", "modern", -32022): {"modern": -32603, "legacy": -32603},
    ("tool", "modern", 7): {"modern": 7, "legacy": 7},
    ("tool", "legacy", -32602): {"modern": -32602, "legacy": -32602},
    ("tool", "legacy", -32042): {"modern": -32603, "legacy": -32603},
    ("tool", "legacy", 7): {"modern": 7, "legacy": 7},
    ("resource", "modern", -32602): {"modern": -32602, "legacy": -32002},
    ("resource", "legacy", -32002): {"modern": -32602, "legacy": -32002},
    ("resource", "legacy", -32602): {"modern": -32602, "legacy": -32002},
}


@dataclass
class Cell:
    """A gateway with one server, and a client of one era."""

    client: str
    upstream: Upstream
    endpoint: Endpoint
    server: str
    session: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The response, whichever of the two forms it comes in."""
        if self.client == "modern":
            answer = self.endpoint.modern(method, params | {"_meta": {**META, **params.get("_meta", {})}})
        else:
            self.session = self.session or open_session(self.endpoint)
            answer = self.endpoint.post(request(method, params), self.session)
        found: dict[str, Any] = messages(answer.text.splitlines())[-1] if answer.text.startswith("event") else answer.json()
        return found

    def call(self, **more: Any) -> dict[str, Any]:
        return self.ask("tools/call", name=f"{self.server}__echo", arguments={}, **more)


@pytest.fixture(scope="module", params=CELLS)
def whole_cell(
    gateway_control_plane: Served,
    gateway_credential: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Cell]:
    client, _, server = request.param.partition("→")
    with ExitStack() as stack:
        world = World(gateway_control_plane, gateway_credential, tmp_path_factory.mktemp("cell"), stack)
        odd = tool("odd", outputSchema={"type": "array", "items": {}})
        upstream = world.upstream(era=server, tools=[tool("echo"), odd], resources=[resource("a:1")])
        project = world.project(up=upstream)
        yield Cell(client, upstream, world.gateway().as_(project.token()["token"]), project.servers[0])


@pytest.fixture
def cell(whole_cell: Cell) -> Cell:
    """The cell, its server without what the test before has told it."""
    untouched = Upstream()
    for name in ("answer", "answers", "call_error", "as_stream"):
        setattr(whole_cell.upstream, name, getattr(untouched, name))
    whole_cell.upstream.seen = [one for one in whole_cell.upstream.seen if one.body.get("method") != "tools/call"]
    return whole_cell


def test_a_result_passes_with_the_members_of_the_clients_era(cell: Cell) -> None:
    own = MODERN_MEMBERS if cell.upstream.era == "modern" else {}
    cell.upstream.answer = lambda _: json.dumps({**SAID, **own})
    got = cell.call()["result"]
    meta = got.pop("_meta")
    ours = meta.pop("io.modelcontextprotocol/serverInfo", None)
    assert {"vendor/meta": 2} == meta
    expected = {key: value for key, value in SAID.items() if key != "_meta"}
    if cell.client == "modern":
        assert ({"resultType": "complete", **expected}, "mcplocal") == (got, ours["name"] if ours else None)
    else:
        assert (expected, None) == (got, ours)


def test_structured_content_that_is_no_object_is_for_the_later_era_alone(cell: Cell) -> None:
    cell.upstream.answer = lambda _: json.dumps({"resultType": "complete", "content": [], "structuredContent": [1]})
    assert ([1] if cell.client == "modern" else None) == cell.call()["result"].get("structuredContent")
    odd = next(one for one in cell.ask("tools/list")["result"]["tools"] if one["name"].endswith("odd"))
    assert (cell.client == "modern") == ("outputSchema" in odd)


def test_a_list_says_how_long_it_is_good_for_in_the_later_era_alone(cell: Cell) -> None:
    for method in ("tools/list", "resources/list"):
        got = cell.ask(method)["result"]
        hints = {name: got.get(name) for name in ("resultType", "ttlMs", "cacheScope")}
        later = {"resultType": "complete", "ttlMs": 1000, "cacheScope": "private"}
        assert (later if cell.client == "modern" else dict.fromkeys(later)) == hints


def test_an_error_has_the_code_of_the_clients_era(cell: Cell) -> None:
    assert "result" in cell.ask("resources/read", uri="a:1")
    for (what, era, code), expected in ERRORS.items():
        if era != cell.upstream.era:
            continue
        if what == "tool":
            cell.upstream.call_error = code
            error = cell.call()["error"]
        else:
            cell.upstream.answers["resources/read"] = lambda _, code=code: code  # type: ignore[misc]
            error = cell.ask("resources/read", uri="a:1")["error"]
        assert expected[cell.client] == error["code"], (what, era, code)


def test_ids_and_progress_tokens_are_the_hops_own(cell: Cell) -> None:
    cell.upstream.as_stream = 2
    for token in ("mine", 1):
        assert "result" in cell.call(_meta={"progressToken": token})
    assert "result" in cell.call()
    calls = [one.body for one in cell.upstream.calls()]
    assert 3 == len({one["id"] for one in calls}), "the client used one id for all"
    tokens = [one["params"].get("_meta", {}).get("progressToken") for one in calls]
    assert [calls[0]["id"], calls[1]["id"], None] == tokens, "no token that nobody asked for"


def test_a_server_is_asked_in_its_own_era(cell: Cell) -> None:
    cell.call()
    (sent,) = cell.upstream.calls()
    if cell.upstream.era == "modern":
        assert ("2026-07-28", "tools/call", "echo") == tuple(
            sent.headers.get(name) for name in ("mcp-protocol-version", "mcp-method", "mcp-name")
        )
        assert "2026-07-28" == sent.body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"]
        assert "mcp-session-id" not in sent.headers
    else:
        assert ("2025-06-18", None) == (sent.headers["mcp-protocol-version"], sent.headers.get("mcp-method"))
        assert not any(key.startswith("io.modelcontextprotocol/") for key in sent.body["params"].get("_meta", {}))
        assert sent.headers["mcp-session-id"] != cell.session.get("Mcp-Session-Id")
        (initialized,) = (one.body for one in cell.upstream.calls("initialize"))
        assert {} == initialized["params"]["capabilities"], "of a client of one's own nothing is said on a shared connection"


def test_what_else_belongs_to_the_matrix_is_where_it_is_said_to_be() -> None:
    for module, tests in OTHERWISE_TESTED.items():
        found = importlib.import_module(f"tests.gateway.{module}")
        assert [] == [name for name in tests if not hasattr(found, name)]

"""Generated JSON-RPC, sent to a real server directly and through the gateway: it means the same.

The server is ``tests.gateway.mirror``, on the official SDK, which answers with what arrived; names are in plain mode. What is
left out of the comparison, and nothing else is:

- the protocol's members of ``_meta``, and the progress token, *as they arrive at the server*: they belong to each hop. What
  comes back to the client under its own token is compared. The order of members of ``params`` and ``_meta``, but not deeper.
- ``serverInfo`` in the ``_meta`` of a result, ``ttlMs`` and ``cacheScope`` of what may be kept: the gateway speaks for itself
  there. That they stand where the later era wants them is checked by ``test_library`` against its schema.
- the wording and ``data`` of errors, which name what each side knows; codes and HTTP statuses are compared.
- of a body that is no message: its id, which the gateway gives back where it can be read; and in the earlier era, -32602 is
  taken for -32600: the SDK says the first, JSON-RPC the second.
- in the earlier era, the HTTP status of a request whose ``_meta`` is no object: it is refused before its era is known (400).

And what is not generated, because the gateway is stricter on purpose or speaks for itself:

- a member that stands twice, half of a surrogate pair, a number beyond the range of a double, NaN or a byte order
  mark (which the SDK reads), params that are null, ids that are null, a fraction or a truth value (the SDK takes these for
  notifications in the earlier era), a notification whose ``_meta`` is no object (which the SDK takes);
- cursors (the gateway's lists have one page); ``task``, ``inputResponses``, ``requestState``, which are the gateway's to seal;
- ``initialize`` and ``server/discover``: who answers is who is asked; methods that the gateway offers and the mirror does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcplocal.wire import NAMED_BY
from tests.gateway.conftest import JSON_HEADERS, META, World
from tests.gateway.mirror import NAMES, URIS
from tests.gateway.test_legacy_wire import initialize
from tests.gateway.upstreams import MODERN
from tests.serving import Served

SERVER_INFO = "io.modelcontextprotocol/serverInfo"
KEEPING = ("ttlMs", "cacheScope")
ERAS = ("modern", "legacy")


@dataclass(frozen=True)
class Number:
    """A number as it is written."""

    text: str


@dataclass
class Way:
    """A way to the server: an endpoint, and a session there for the earlier era."""

    http: httpx2.Client
    url: str
    headers: dict[str, str]
    session: dict[str, str]

    @classmethod
    def to(cls, http: httpx2.Client, url: str, bearer: str | None) -> Way:
        headers = {**JSON_HEADERS, **({"Authorization": f"Bearer {bearer}"} if bearer is not None else {})}
        answer = http.post(url, content=json.dumps(initialize()), headers=headers)
        assert answer.status_code == 200, answer.text
        session = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
        done = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert 202 == http.post(url, content=done, headers={**headers, **session}).status_code
        return cls(http, url, headers, session)

    def meaning_of(self, body: bytes, era: str, more: dict[str, str]) -> Meaning:
        sent = {**self.headers, **(more if era == "modern" else self.session)}
        return Meaning.of(self.http.post(self.url, content=body, headers=sent))


@dataclass
class Meaning:
    """What an answer means."""

    status: int
    id: Any = None
    result: Any = None
    code: int | None = None
    before: tuple[str, ...] = ()

    @classmethod
    def of(cls, answer: httpx2.Response) -> Meaning:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
            *before, last = [json.loads(line) for line in lines if line]
        elif answer.content:
            before, last = [], answer.json()
        else:
            return cls(answer.status_code)
        result = last.get("result")
        if isinstance(result, dict):
            meta = {key: value for key, value in result.get("_meta", {}).items() if key != SERVER_INFO}
            result = {key: value for key, value in result.items() if key not in (*KEEPING, "_meta")}
            result |= {"_meta": meta} if meta else {}
        notifications = tuple(json.dumps(one, sort_keys=True) for one in before)
        return cls(answer.status_code, last.get("id"), result, last.get("error", {}).get("code"), notifications)


@dataclass
class Both:
    """The same server, directly and through the gateway."""

    directly: Way
    through: Way

    def agree(self, body: str, era: str, more: dict[str, str] | None = None) -> Meaning:
        """What both say of ``body``, which must be the same."""
        raw = body.encode()
        directly, through = (way.meaning_of(raw, era, more or {}) for way in (self.directly, self.through))
        if era == "legacy" and (through.status, through.code, directly.code) == (400, -32602, -32602):
            through.status = directly.status
        if era == "legacy" and directly.status == 400 and directly.code == -32602:
            directly.code = -32600
        if directly.id is None and directly.code in (-32600, -32700):
            through.id = None
        assert directly == through, (era, body)
        return through


@pytest.fixture(scope="module")
def both(gateway_control_plane: Served, gateway_credential: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    command = [sys.executable, "-m", "tests.gateway.mirror"]
    with ExitStack() as stack:
        mirror = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert mirror.stdin is not None
        assert mirror.stdout is not None
        stack.callback(mirror.stdin.close)
        url = mirror.stdout.readline().strip()
        world = World(gateway_control_plane, gateway_credential, tmp_path_factory.mktemp("differential"), stack)
        endpoint = world.gateway()
        bearer = world.project("plain", mirror=url).token()["token"]
        yield Both(Way.to(endpoint.http, url, None), Way.to(endpoint.http, endpoint.url, bearer))


NUMBERS = st.sampled_from(["0", "-0", "-0.0", "1.0", "1.50", "1e2", "1E+2", "-1e-400", "0.1", "3.141592653589793238462643"])
NUMBERS |= st.sampled_from([2**53 + 1, -(2**63) - 1, 2**64, 10**100]).map(str)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "\x00", "\u2028\u2029", "\U0001f980", "e\u0301", "\ufeff", "\\", '"', "\r\n", "data: x\n\n", "__proto__", "$ref"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NUMBERS.map(Number) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def deep(draw: st.DrawFn) -> Any:
    """A value, perhaps at the bottom of much nesting."""
    value = draw(VALUES)
    for kind in draw(st.one_of(st.just([]), st.lists(st.booleans(), max_size=60))):
        value = [value] if kind else {"in": value}
    return value


SHAPES = st.tuples(st.booleans(), st.booleans())
IDS = st.integers() | st.sampled_from([0, -1, 2**53 + 1, 2**70]) | TEXT
TOKENS = st.none() | IDS  # absent
OWN = {"_meta", "name", "arguments", "uri", "ref", "argument", "cursor", "task", "inputResponses", "requestState", "level"}
ENVELOPE = {"id", "jsonrpc", "method", "params", "result", "error"}
UNKNOWN = st.dictionaries(TEXT.filter(lambda name: name not in OWN), deep(), max_size=2)
AROUND = st.dictionaries(TEXT.filter(lambda name: name not in ENVELOPE), deep(), max_size=2)
VENDOR = st.dictionaries(
    st.sampled_from(["vendor/a", "traceparent", "tracestate", "x", "", "io.modelcontextprotocol", "modelcontextprotocol.io/x"]),
    deep(),
    max_size=3,
)
ARGUMENTS = st.dictionaries(TEXT, deep(), max_size=4)
NAMED = st.sampled_from([*NAMES, "nothing", "mirror ", "Mirror", "mirror__mirror", ""])
REFERENCES = st.sampled_from(
    [{"type": "ref/prompt", "name": name} for name in (*NAMES, "nothing")]
    + [{"type": "ref/resource", "uri": "mirror://one"}, {"type": "ref/nothing", "name": "mirror"}]
)


@st.composite
def uses(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A method that uses something, and its parameters."""
    match draw(st.sampled_from(["tools/call", "tools/call", "prompts/get", "resources/read", "completion/complete"])):
        case "tools/call":
            given_ = draw(st.one_of(ARGUMENTS.map(lambda found: {"arguments": found}), st.just({})))
            return "tools/call", {"name": draw(NAMED), **given_}
        case "prompts/get":
            return "prompts/get", {"name": draw(NAMED), "arguments": draw(st.dictionaries(TEXT, TEXT, max_size=3))}
        case "resources/read":
            return "resources/read", {"uri": draw(st.sampled_from([*URIS, "mirror://nothing", "mirror:", "x"]))}
        case method:
            argument = {"name": draw(TEXT), "value": draw(TEXT)}
            return method, {"ref": draw(REFERENCES), "argument": argument}


def examples(few: int) -> int:
    """How many: few in an ordinary run, many times more by the soak profile."""
    assert settings.default is not None
    return few * 20 if settings.default.max_examples > 100 else few


def written(value: Any, *, ascii_only: bool, spaced: bool) -> str:
    """JSON text, numbers as they are."""
    comma, colon = (" ,\n", "\t: ") if spaced else (",", ":")
    match value:
        case Number():
            return value.text
        case dict():
            members = (
                f"{json.dumps(key, ensure_ascii=ascii_only)}{colon}{written(member, ascii_only=ascii_only, spaced=spaced)}"
                for key, member in value.items()
            )
            return "{" + comma.join(members) + "}"
        case list():
            return "[" + comma.join(written(one, ascii_only=ascii_only, spaced=spaced) for one in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=ascii_only)


def headers_of(method: str, params: dict[str, Any]) -> dict[str, str]:
    """What the later era repeats in headers."""
    named = params.get(NAMED_BY.get(method, ""))
    sent = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    return sent | ({"Mcp-Name": wrapped(named)} if isinstance(named, str) else {})


def wrapped(name: str) -> str:
    """A name in the form that a header may hold."""
    plain = name.isascii() and name.isprintable() and name == name.strip() and name
    return name if plain else f"=?base64?{b64encode(name.encode()).decode()}?="


@pytest.mark.requirement("R6")
@given(
    era=st.sampled_from(ERAS),
    use=uses(),
    id_=IDS,
    more=UNKNOWN,
    vendor=VENDOR,
    token=TOKENS,
    shape=SHAPES,
)
@settings(max_examples=examples(80))
def test_a_use_means_the_same(
    both: Both,
    era: str,
    use: tuple[str, dict[str, Any]],
    id_: Any,
    more: dict[str, Any],
    vendor: dict[str, Any],
    token: Any,
    shape: tuple[bool, bool],
) -> None:
    method, params = use
    meta = {**vendor, **({"progressToken": token} if token is not None else {}), **(META if era == "modern" else {})}
    message = {"id": id_, "jsonrpc": "2.0", "params": {**more, **params, **({"_meta": meta} if meta else {})}, "method": method}
    body = written(message, ascii_only=shape[0], spaced=shape[1])
    said = both.agree(body, era, headers_of(method, params))
    assert id_ == said.id


LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
OTHERS = ("ping", "Ping", "tasks/list", "tools", "tools/call/", "rpc.discover", "notifications/initialized", "")
METHODS = st.sampled_from([*LISTS, *OTHERS])


@given(era=st.sampled_from(ERAS), method=METHODS | TEXT, id_=IDS, more=UNKNOWN, vendor=VENDOR, around=AROUND)
@settings(max_examples=examples(40))
def test_any_other_request_means_the_same(
    both: Both, era: str, method: str, id_: Any, more: dict[str, Any], vendor: dict[str, Any], around: dict[str, Any]
) -> None:
    meta = {**vendor, **(META if era == "modern" else {})}
    around = {
        key: value for key, value in around.items() if key not in ("id", "jsonrpc", "method", "params", "result", "error")
    }
    message = {**around, "jsonrpc": "2.0", "id": id_, "method": method, "params": {**more, "_meta": meta}}
    body = written(message, ascii_only=False, spaced=False)
    both.agree(body, era, {"MCP-Protocol-Version": MODERN, "Mcp-Method": wrapped(method)})


def is_no_odd_notification(found: dict[str, Any]) -> bool:
    params = found.get("params")
    return "id" in found or not isinstance(params, dict) or "_meta" not in params


BROKEN: st.SearchStrategy[str] = st.one_of(
    st.sampled_from(["", " ", "{", "[]", "[{}]", "nul", "{}", '"x"', "1", "{} {}", "[1,]", "{'a':1}"]),
    st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.sampled_from(["2.0", "1.0", "2", 2, None]),
            "method": st.sampled_from(["ping", "tools/list", 5, None, ["ping"], {}]),
            "id": st.sampled_from([1, "a"]),
            "params": st.sampled_from([{}, [], "x", 5, [{}], {"_meta": []}, {"_meta": "x"}]),
        },
    )
    .filter(is_no_odd_notification)
    .map(json.dumps),
    st.integers(1, 44).map(lambda length: json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})[:length]),
)


@given(era=st.sampled_from(ERAS), body=BROKEN)
@settings(max_examples=examples(40))
def test_what_is_no_message_is_refused_alike(both: Both, era: str, body: str) -> None:
    both.agree(body, era, {"MCP-Protocol-Version": MODERN, "Mcp-Method": "ping"})


@given(era=st.sampled_from(ERAS), method=TEXT | METHODS, params=UNKNOWN)
@settings(max_examples=examples(20))
def test_a_notification_is_taken_alike(both: Both, era: str, method: str, params: dict[str, Any]) -> None:
    message = {"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params}
    both.agree(written(message, ascii_only=False, spaced=False), era, {"MCP-Protocol-Version": MODERN})

"""Requests and answers, those that go wrong above all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from mcpctl import errors
from mcpctl.client.http import ControlPlane, path_of
from mcpctl.client.problems import classes_by_code
from mcpctl.errors import (
    CeilingExceeded,
    Conflict,
    FieldError,
    InvalidInput,
    InvalidSetting,
    NotFound,
    Problem,
    TooManyRequests,
    Unavailable,
    Unreachable,
)
from tests.cli.recording import Recording

EVERY_CLASS = sorted(classes_by_code().items())


def plane(recording: Recording, **options: float) -> ControlPlane:
    return ControlPlane(recording.address, "mcpctl_ses_test", answer_seconds=options.get("answer_seconds", 5.0))


@pytest.mark.parametrize(("code", "kind"), EVERY_CLASS)
def test_a_problem_document_becomes_the_error_of_its_code(code: str, kind: type[Problem], recording: Recording) -> None:
    sent = kind(
        "a sentence",
        errors=[FieldError("roleBindings.0", "no", "yes")],
        missing=["run servers *"],
        headers={"Retry-After": "7"},
    )
    recording.say(sent)
    with plane(recording) as asking, pytest.raises(Problem) as met:
        asking.post("/api/v1/x", {})
    assert kind is type(met.value)
    assert sent.as_json() == met.value.as_json()
    assert {"retry-after": "7"} == met.value.headers


def test_the_table_of_codes_holds_every_class_of_the_tree_once() -> None:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Problem)]
    assert sorted(kind.code for kind in found) == [code for code, _ in EVERY_CLASS]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFound), (409, Conflict), (418, InvalidInput), (429, TooManyRequests), (503, Unavailable), (500, Problem)],
)
def test_a_code_that_is_not_known_here_becomes_what_fits_the_status(
    status: int, kind: type[Problem], recording: Recording
) -> None:
    body = {"code": "of-tomorrow", "detail": "something new"}
    recording.say(Response(str(body).replace("'", '"'), status, media_type="application/problem+json"))
    with plane(recording) as asking, pytest.raises(kind, match="something new"):
        asking.post("/api/v1/x", {})


@pytest.mark.parametrize(
    "answer",
    [
        PlainTextResponse("<html>Bad gateway</html>", 502),
        Response("{", 502, media_type="application/problem+json"),
        Response("[]", 502, media_type="application/problem+json"),
    ],
)
def test_the_error_page_of_a_proxy_names_the_address_and_the_status(answer: Response, recording: Recording) -> None:
    recording.say(answer)
    with plane(recording) as asking, pytest.raises(Unavailable) as met:
        asking.post("/api/v1/x", {})
    assert "502 Bad Gateway" in met.value.detail
    assert recording.address in met.value.detail


@pytest.mark.parametrize("body", [{"detail": 3, "errors": "x", "missing": 5}, {"errors": [1, {}], "missing": [2]}, {}])
def test_a_strange_problem_document_is_still_an_error(body: dict[str, object], recording: Recording) -> None:
    import json

    recording.say(Response(json.dumps(body), 403, media_type="application/problem+json"))
    with plane(recording) as asking, pytest.raises(errors.Forbidden):
        asking.get("/api/v1/x")


def test_what_was_written_is_insisted_on_in_whatever_is_asked_next(recording: Recording) -> None:
    """Behind one address there may be several replicas."""
    made = [JSONResponse({}, headers={"Mcpctl-Revision": said}) for said in ("7", "12", "9", "x", "9" * 19)]
    recording.say(JSONResponse({}), *made, JSONResponse({}))
    with plane(recording) as asking:
        for _ in range(7):
            asking.post("/api/v1/x", {})
    said = [asked.headers.get("mcpctl-min-revision") for asked in recording.asked]
    assert [None, None, "7", "12", "12", "12", "12"] == said


def test_success_that_is_not_json_is_no_success(recording: Recording) -> None:
    recording.say(PlainTextResponse("<html>Welcome to the hotel network</html>"))
    with plane(recording) as asking, pytest.raises(Unreachable, match=r"text/plain.* and not JSON") as met:
        asking.get("/api/v1/users")
    assert recording.address in met.value.detail


def test_no_redirect_is_followed_with_the_bearer(recording: Recording) -> None:
    recording.say(RedirectResponse(recording.address + "/elsewhere"))
    with plane(recording) as asking, pytest.raises(Unreachable, match="/elsewhere"):
        asking.get("/api/v1/users")
    assert ["/api/v1/users"] == [asked.path for asked in recording.asked]


def test_a_get_is_made_again_after_503_and_then_succeeds(recording: Recording) -> None:
    recording.say(errors.StoreUnavailable("later"), PlainTextResponse("", 503), {"items": []})
    with plane(recording) as asking:
        assert {"items": []} == asking.get("/api/v1/users")
    assert 3 == len(recording.asked)


def test_a_get_that_stays_unavailable_ends_as_that(recording: Recording) -> None:
    recording.say(errors.PolicyUnavailable("the policy directory is gone"))
    with plane(recording) as asking, pytest.raises(errors.PolicyUnavailable):
        asking.get("/api/v1/users")
    assert 3 == len(recording.asked)


@pytest.mark.parametrize(
    "problem", [errors.Forbidden("no"), errors.NotFound("no"), errors.TooManyRequests("no"), Problem("no")]
)
def test_a_get_that_was_answered_is_not_made_again(problem: Problem, recording: Recording) -> None:
    recording.say(problem)
    with plane(recording) as asking, pytest.raises(type(problem)):
        asking.get("/api/v1/users")
    assert 1 == len(recording.asked)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_what_writes_is_never_made_twice(method: str, recording: Recording) -> None:
    recording.say(errors.StoreUnavailable("later"))
    with plane(recording) as asking, pytest.raises(Unavailable):
        getattr(asking, method)("/api/v1/x", *([{}] if method == "patch" else []))
    assert 1 == len(recording.asked)


def test_a_slow_answer_ends_in_time_and_says_that_a_write_may_have_happened(recording: Recording) -> None:
    recording.slow = 2.0
    with plane(recording, answer_seconds=0.2) as asking:
        with pytest.raises(Unreachable, match=r"within 0.2 s\. Whether it was done is not known"):
            asking.post("/api/v1/users", {})
        with pytest.raises(Unreachable, match=r"within 0.2 s$"):
            asking.get("/api/v1/users")


def test_an_address_where_nothing_listens_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with ControlPlane(address, "t") as asking, pytest.raises(Unreachable, match="nothing answers at") as met:
        asking.get("/api/v1/users")
    assert address in met.value.detail
    assert 4 == met.value.exit_code


def test_a_host_that_does_not_exist_is_named() -> None:
    with (
        ControlPlane("https://does-not-exist.invalid", "t") as asking,
        pytest.raises(Unreachable, match=r"does-not-exist\.invalid"),
    ):
        asking.get("/api/v1/users")


@pytest.fixture
def rude() -> Iterator[str]:
    """Something that listens, and is no HTTP server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        ended = threading.Event()

        def answer() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_something_that_is_no_http_server_is_unreachable(scheme: str, rude: str) -> None:
    with ControlPlane(f"{scheme}://{rude}", "t") as asking, pytest.raises(Unreachable, match=rude):
        asking.get("/api/v1/users")


def test_a_credential_does_not_cross_a_network_in_plain_text_unless_told_to() -> None:
    with pytest.raises(InvalidSetting, match="--allow-plain-http"):
        ControlPlane("http://mcp.example.com", "t")
    with pytest.raises(InvalidSetting, match="--allow-plain-http"):
        ControlPlane("http://mcp.example.com")
    ControlPlane("http://mcp.example.com", "t", allow_plain_http=True).close()


def test_a_request_to_this_machine_goes_through_no_proxy(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    recording.say({"ok": True})
    with plane(recording) as asking:
        assert {"ok": True} == asking.get("/api/v1/x")


@pytest.mark.parametrize(
    ("segments", "path"),
    [
        (("users", "alice@example.com"), "/api/v1/users/alice@example.com"),
        (("users", "../rbac"), "/api/v1/users/..%2Frbac"),
        (("rbac", "a?x=1#y"), "/api/v1/rbac/a%3Fx%3D1%23y"),
        (("users", "a%2f b"), "/api/v1/users/a%252f%20b"),
    ],
)
def test_no_name_reaches_another_route(segments: tuple[str, ...], path: str, recording: Recording) -> None:
    assert path == path_of(*segments)
    with plane(recording) as asking:
        asking.get(path_of(*segments))
    assert [path] == [asked.path for asked in recording.asked]


def test_a_list_is_followed_to_its_end(recording: Recording) -> None:
    recording.say(
        {"items": [{"n": 1}], "nextCursor": "b"}, {"items": [{"n": 2}], "nextCursor": "c"}, {"items": [], "nextCursor": None}
    )
    with plane(recording) as asking:
        assert [{"n": 1}, {"n": 2}] == list(asking.items("/api/v1/users", {"project": None}))
    assert [None, "b", "c"] == [asked.query.get("cursor") for asked in recording.asked]


def test_a_limit_is_kept_across_pages(recording: Recording) -> None:
    recording.say({"items": [{}] * 1000, "nextCursor": "b"}, {"items": [{}] * 1000, "nextCursor": "c"})
    with plane(recording) as asking:
        assert 1500 == len(list(asking.items("/api/v1/audit", limit=1500)))
    assert ["1000", "500"] == [asked.query["limit"] for asked in recording.asked]


def test_an_answer_without_the_member_asked_for_is_not_the_fault_of_this_side(recording: Recording) -> None:
    recording.say({"hello": "world"})
    with plane(recording) as asking:
        answer = asking.get("/api/v1/auth/whoami")
        assert {"hello": "world"} == answer
        with pytest.raises(Unreachable, match="the answer has no member 'subject'"):
            answer["subject"]
        recording.say([1])
        with pytest.raises(Unreachable, match="not a JSON object"):
            asking.get("/api/v1/auth/whoami")


@pytest.mark.parametrize("body", [{}, {"items": None}, {"items": {}}])
def test_a_list_that_is_none_is_refused(body: object, recording: Recording) -> None:
    recording.say(body)  # type: ignore[arg-type]
    with plane(recording) as asking, pytest.raises(Unreachable, match="not a list"):
        list(asking.items("/api/v1/users"))


def test_a_list_without_an_end_is_refused(recording: Recording) -> None:
    recording.say({"items": [{}], "nextCursor": "again"})
    with plane(recording) as asking, pytest.raises(Unreachable, match="no end"):
        list(asking.items("/api/v1/users"))


def test_a_missing_right_survives_the_wire(recording: Recording) -> None:
    recording.say(CeilingExceeded("no", missing=["run servers github", "view servers *"]))
    with plane(recording) as asking, pytest.raises(CeilingExceeded) as met:
        asking.post("/api/v1/mcptokens", {})
    assert ("run servers github", "view servers *") == met.value.missing

"""Requests to the control plane and what its answers mean.

``httpx2`` is imported when the first request is made, so that commands which make none start at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mcpctl.client.address import is_loopback, is_plain
from mcpctl.client.problems import from_answer
from mcpctl.errors import InvalidSetting, Unavailable, Unreachable

if TYPE_CHECKING:
    import httpx2

API: Final = "/api/v1"
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
ATTEMPTS: Final = 3
"""How often a GET is made before a failed connection or a 503 counts."""
LONGEST_REVISION: Final = 18
"""Digits of a revision at most."""
PAGE: Final = 1000
"""How many items are asked for at once; the most the control plane gives."""

Json = dict[str, Any]


class Members(Json):
    """The members of an answer. Asking for one that is not there is the other side's fault, and is said so."""

    def __init__(self, members: Json, server: str) -> None:
        super().__init__(members)
        self._server = server

    def __missing__(self, key: str) -> Any:
        raise _not_ours(self._server, f"the answer has no member {key!r}")


def path_of(*segments: str) -> str:
    """A path below ``/api/v1``, every segment quoted so that none can reach another route."""
    return API + "".join("/" + quote(segment, safe="@+") for segment in segments)


class ControlPlane:
    """One control plane, asked with one bearer. Close it after use, or use it as a context manager.

    Args:
        server: base URL.
        token: raw bearer; ``None`` for the few calls that need none.
        allow_plain_http: send credentials over plain http to other machines as well.
        answer_seconds: how long an answer may take.

    Raises:
        InvalidSetting: a credential would cross a network unencrypted.
    """

    def __init__(
        self,
        server: str,
        token: str | None = None,
        *,
        allow_plain_http: bool = False,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        if is_plain(server) and not allow_plain_http:
            raise InvalidSetting(
                f"{server} is plain http to another machine, where a credential can be read on its way: use https://, "
                "or add --allow-plain-http if that network is yours"
            )
        self.server = server
        self._token = token
        self._seconds = answer_seconds
        self._seen = 0
        self._opened: httpx2.Client | None = None

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def get(self, path: str, query: Mapping[str, str | int | None] | None = None) -> Any:
        """The JSON at ``path``. Asked again, at most twice, if nothing answers or the answer is 503.

        Raises:
            Problem: of the class whose ``code`` the answer carries; ``Unreachable`` if there is none.
        """
        import stamina

        for attempt in stamina.retry_context(
            on=_worth_another_try, attempts=ATTEMPTS, timeout=10.0, wait_initial=0.1, wait_max=1.0, wait_jitter=0.1
        ):
            with attempt:
                return self._ask("GET", path, query=query)
        raise AssertionError("stamina makes at least one attempt")

    def items(self, path: str, query: Mapping[str, str | int | None] | None = None, limit: int | None = None) -> Iterator[Json]:
        """All items of the list at ``path``, page after page, ``limit`` of them at most.

        Raises:
            Problem: as ``get``.
        """
        cursor: str | None = None
        left = limit
        while True:
            size = PAGE if left is None else min(PAGE, left)
            page = self.get(path, {**(query or {}), "limit": size, "cursor": cursor})
            found = page.get("items")
            if not isinstance(found, list):
                raise self._not_ours("the answer is not a list")
            yield from found if left is None else found[:left]
            previous, cursor = cursor, page.get("nextCursor")
            left = None if left is None else left - len(found)
            if not cursor or (left is not None and left <= 0):
                return
            if cursor == previous:
                raise self._not_ours("its list has no end")

    def post(self, path: str, body: object = None, query: Mapping[str, str | int | None] | None = None) -> Any:
        """What the control plane answers to ``body``. Never made twice.

        Raises:
            Problem: as ``get``.
        """
        return self._ask("POST", path, body=body, query=query)

    def put(self, path: str, body: object = None) -> Any:
        """What the control plane answers to ``body``. Never made twice.

        Raises:
            Problem: as ``get``.
        """
        return self._ask("PUT", path, body=body)

    def patch(self, path: str, body: object) -> Any:
        """What the control plane answers to ``body``. Never made twice.

        Raises:
            Problem: as ``get``.
        """
        return self._ask("PATCH", path, body=body)

    def delete(self, path: str, query: Mapping[str, str | int | None] | None = None) -> Any:
        """What the control plane answers, normally nothing. Never made twice.

        Raises:
            Problem: as ``get``.
        """
        return self._ask("DELETE", path, query=query)

    def _ask(self, method: str, path: str, *, body: object = None, query: Mapping[str, str | int | None] | None = None) -> Any:
        import httpx2

        content = None if body is None else json.dumps(body).encode()
        headers = {"accept": "application/json"} | ({"content-type": "application/json"} if content else {})
        if self._seen:  # behind one address there may be several replicas: none is to answer by what was before
            headers["mcpctl-min-revision"] = str(self._seen)
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        try:
            answer = self._client().request(method, self.server + path, params=asked, content=content, headers=headers)
        except httpx2.HTTPError as error:
            raise _no_answer(self.server, error, method, self._seconds) from error
        self._note_revision(answer.headers.get("mcpctl-revision", ""))
        if answer.is_success and not answer.content:
            return None
        if not answer.is_success:
            raise from_answer(self.server, answer.status_code, answer.headers, answer.content)
        try:
            found = answer.json()
        except ValueError:
            kind = answer.headers.get("content-type", "no content type")
            raise self._not_ours(f"the answer is {kind} and not JSON") from None
        if not isinstance(found, dict):
            raise self._not_ours("the answer is not a JSON object")
        return Members(found, self.server)

    def _note_revision(self, made: str) -> None:
        if made.isascii() and made.isdecimal() and len(made) <= LONGEST_REVISION:
            self._seen = max(self._seen, int(made))

    def _client(self) -> httpx2.Client:
        if self._opened is None:
            import ssl

            import httpx2

            headers = {"user-agent": "mcpctl"}
            if self._token is not None:
                headers["authorization"] = f"Bearer {self._token}"
            # A plain address needs no trust anchors, and reading them takes longer than the request. This context has none.
            bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.server.startswith("http:") else None
            self._opened = httpx2.Client(
                headers=headers,
                verify=bare or True,
                follow_redirects=False,
                timeout=httpx2.Timeout(self._seconds, connect=CONNECT_SECONDS),
                # Not through a proxy to this very machine: it would see the bearer.
                trust_env=not is_loopback(self.server),
            )
        return self._opened

    def _not_ours(self, what: str) -> Unreachable:
        return _not_ours(self.server, what)


def _not_ours(server: str, what: str) -> Unreachable:
    return Unreachable(f"{server} does not answer like a control plane: {what}. Check the address")


def _worth_another_try(error: Exception) -> bool:
    import httpx2

    if not isinstance(error, Unavailable):
        return False
    cause = error.__cause__
    if isinstance(cause, httpx2.HTTPError):
        return isinstance(cause, httpx2.NetworkError | httpx2.ConnectTimeout | httpx2.RemoteProtocolError) and not _tls(cause)
    return not isinstance(error, Unreachable)


def _tls(error: BaseException) -> str | None:
    """What TLS objected to, if that is why the connection failed."""
    import ssl

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen.verify_message
        if isinstance(seen, ssl.SSLError):
            return seen.reason or str(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def _no_answer(server: str, error: httpx2.HTTPError, method: str, seconds: float) -> Unreachable:
    import httpx2

    cure = "Check the address, and that the control plane runs"
    if said := _tls(error):
        cure = "Trust its certificate with SSL_CERT_FILE, or check the address"
        return Unreachable(f"{server} cannot be trusted: {said}. {cure}")
    if isinstance(error, httpx2.ConnectTimeout):
        return Unreachable(f"nothing answers at {server} within {CONNECT_SECONDS:g} s. {cure}")
    if isinstance(error, httpx2.ConnectError):
        return Unreachable(f"nothing answers at {server}: {error or 'no connection'}. {cure}")
    unsure = "" if method == "GET" else ". Whether it was done is not known: look before you ask again"
    if isinstance(error, httpx2.TimeoutException):
        return Unreachable(f"{server} did not answer within {seconds:g} s{unsure}")
    if isinstance(error, httpx2.ProxyError):
        return Unreachable(f"the proxy on the way to {server} refuses: {error}{unsure}")
    return Unreachable(f"{server} broke off: {error or type(error).__name__}{unsure}")

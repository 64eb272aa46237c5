"""The gateway's client of the control plane: one HTTP client, the calls of "The wire of the gateway" in ARCHITECTURE.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import structlog
from pydantic import BaseModel, ValidationError

from mcpctl.errors import Forbidden, InvalidInput, InvalidSetting, NotFound, Unauthenticated, Unreachable
from mcpctl.request_ids import CURRENT
from mcpctl.wire.gateway import Slices, Upstreams
from mcpctl.wire.tokens import Introspection
from mcplocal.event_stream import EventReader, EventTooLong
from mcplocal.json_text import write
from mcplocal.settings import Settings
from mcplocal.wire import IMPLEMENTATION

log = structlog.get_logger(__name__)

ANSWER_WITHIN: Final = 3.0
"""Seconds the control plane has for one answer. Longer is the same as away: callers are waiting."""

SILENCE: Final = 2.0
"""Seconds without a byte after which the watch stream is given up and opened anew; its heartbeat is 250 ms."""

LONGEST_EVENT: Final = 1 << 20

Shape = TypeVar("Shape", bound=BaseModel)


class Credential:
    """The gateway's own session: given, or in a file that is read again when the control plane no longer takes it."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.credential.get_secret_value().strip() if settings.credential else None
        self._file: Path | None = settings.credential_file
        self._read: str | None = None

    @property
    def bearer(self) -> str:
        """The raw bearer.

        Raises:
            InvalidSetting: there is none.
        """
        if self._given:
            return self._given
        if self._read is None:
            self.read_again()
        return self._read or ""

    def read_again(self) -> bool:
        """Read the file anew; whether that brought another bearer.

        Raises:
            InvalidSetting: there is no file, or it cannot be read.
        """
        if self._given:
            return False
        if self._file is None:
            raise InvalidSetting(
                "the gateway has no credential: set MCPLOCAL_CREDENTIAL_FILE to a file with a session of a service user "
                "in Group:gateways"
            )
        before = self._read
        try:
            self._read = self._file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise InvalidSetting(f"MCPLOCAL_CREDENTIAL_FILE cannot be read: {error}") from None
        return self._read != before


class ControlPlane:
    """Asks the control plane. Every method raises ``Unreachable`` when it gives no answer that can be used.

    Attributes:
        at_least: says the newest revision heard of; an answer is of that one or a later one.
    """

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected until ``open``."""
        self._base = settings.control_plane.rstrip("/")
        self._connect_timeout = settings.connect_timeout
        self._credential = Credential(settings)
        self._http: aiohttp.ClientSession | None = None
        self.at_least: Callable[[], int] = lambda: 0

    @property
    def bearer(self) -> str:
        """The gateway's own credential.

        Raises:
            InvalidSetting: there is none.
        """
        return self._credential.bearer

    async def open(self) -> None:
        """Make the HTTP client, in the running loop."""
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            headers={"User-Agent": f"mcplocal/{IMPLEMENTATION['version']}"},
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the HTTP client."""
        if self._http is not None:
            await self._http.close()

    async def introspect(self, bearer: str) -> Introspection:
        """What a client's bearer is, now."""
        return await self._shape(Introspection, "GET", "/api/v1/mcptokens/introspect", bearer=bearer)

    async def slices(self, subject: str, project: str) -> Slices:
        """Everything it takes to decide about ``subject`` in ``project``.

        Raises:
            NotFound: there is no such subject or project, or the token belongs to another one.
        """
        return await self._shape(Slices, "GET", "/api/v1/gateway/slices", query={"subject": subject, "project": project})

    async def upstreams(self, project: str) -> Upstreams:
        """The servers of ``project``, secret values included.

        Raises:
            NotFound: there is no such project.
        """
        return await self._shape(Upstreams, "GET", "/api/v1/gateway/upstreams", query={"project": project})

    async def send_audit(self, gateway: str, events: Sequence[str]) -> None:
        """Hand over call events, each as JSON text. The same event may be sent again.

        Raises:
            InvalidInput: the control plane will never take this batch.
        """
        body = f'{{"gateway":{write(gateway)},"events":[{",".join(events)}]}}'
        await self._call("POST", "/api/v1/gateway/audit", body=body.encode())

    async def send_status(self, gateway: str, instances: Sequence[Mapping[str, Any]]) -> None:
        """Report how each server is reached."""
        await self._call("POST", "/api/v1/gateway/status", json={"gateway": gateway, "instances": instances})

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[str]]:
        """The data of the events of the watch stream, until it breaks.

        Raises:
            Unreachable: it cannot be opened.
        """
        response = await self._send("GET", "/api/v1/watch", patience=aiohttp.ClientTimeout(total=None, sock_read=SILENCE))
        async with response:
            if response.status != 200:
                raise await self._refusal(response)
            yield _data_of(response)

    async def _shape(self, shape: type[Shape], method: str, path: str, **how: Any) -> Shape:
        body = await self._call(method, path, **how)
        try:
            return shape.model_validate_json(body)
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, found["loc"])) for found in error.errors(include_input=False))
            raise Unreachable(f"the control plane answered {path} in another shape than expected: {fields}") from None

    async def _call(self, method: str, path: str, **how: Any) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                response = await self._send(method, path, **how)
                async with response:
                    if response.status >= 300:
                        raise await self._refusal(response)
                    return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"the control plane does not answer: {type(error).__name__}") from None

    async def _send(
        self,
        method: str,
        path: str,
        *,
        bearer: str | None = None,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        body: bytes | None = None,
        patience: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """The response. With the gateway's own bearer, a 401 makes the credential be read again, once."""
        if self._http is None:
            raise Unreachable("the gateway has not been started")
        own = bearer is None
        extra: dict[str, Any] = {"timeout": patience} if patience is not None else {}
        while True:
            headers = {"Authorization": f"Bearer {bearer if bearer is not None else self._credential.bearer}"}
            if (seen := self.at_least()) > 0:  # it may be another replica than the one whose changes are followed
                headers["Mcpctl-Min-Revision"] = str(seen)
            if (current := CURRENT.get()) is not None:
                headers["X-Request-Id"] = current
            if body is not None:
                headers["Content-Type"] = "application/json"
            try:
                response = await self._http.request(
                    method,
                    self._base + path,
                    params=query,
                    json=json,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    **extra,
                )
            except (aiohttp.ClientError, OSError) as error:
                raise Unreachable(f"the control plane does not answer: {type(error).__name__}") from None
            if own and response.status == 401 and self._credential.read_again():
                response.release()
                own = False
                continue
            return response

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        path = response.url.path
        try:
            problem = await response.json(content_type=None)
            detail = str(problem.get("detail", ""))[:500]
        except (aiohttp.ClientError, ValueError, AttributeError):
            detail = ""
        status = response.status
        if status == 404:
            return NotFound(detail or "there is no such thing")
        if status in (400, 413, 422):
            return InvalidInput(detail or f"the control plane refused {path}")
        if status in (401, 403):
            log.error("the control plane refuses this gateway's credential", path=path, status=status, detail=detail)
            kind = Unauthenticated if status == 401 else Forbidden
            return kind(f"the control plane refuses this gateway's credential (HTTP {status})")
        return Unreachable(f"the control plane answered {path} with HTTP {status}")


async def _data_of(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    reader = EventReader(LONGEST_EVENT)
    try:
        async for chunk in response.content.iter_any():
            for event in reader.feed(chunk):
                yield event.data
    except (aiohttp.ClientError, TimeoutError, OSError, EventTooLong, UnicodeDecodeError) as error:
        raise Unreachable(f"the watch stream broke: {type(error).__name__}") from None

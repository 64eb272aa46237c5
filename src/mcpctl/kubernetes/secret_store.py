"""Secrets of one namespace, by three calls of the Kubernetes API: read one, create one, add to one.

What is written goes in only if the Secret is still the one that was read (``resourceVersion``). No value reaches an error,
nor does any text of an answer: about an object that it finds invalid, an API server quotes it.
"""

from __future__ import annotations

import json
import ssl
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

import httpx2
import stamina

from mcpctl.errors import Forbidden, InvalidInput, InvalidSetting, NotFound, Problem, Unauthenticated, Unavailable, Unreachable
from mcpctl.kubernetes.service_account import ServiceAccount

SECONDS: Final = 10.0
ATTEMPTS: Final = 5
MERGE_PATCH: Final = "application/merge-patch+json"
"""RFC 7386: members that are not named stay as they are."""
MANAGED_BY: Final = "mcpctl-bootstrap"


@dataclass(frozen=True, slots=True)
class Kept:
    """A Secret as it was read: its values by key, and which version of it that is."""

    version: str
    values: Mapping[str, str] = field(repr=False)


class SecretStore:
    """The Secrets of a service account's namespace. Close it after use, or use it as a context manager.

    Raises:
        InvalidSetting: the account's certificate authority is none.
    """

    def __init__(self, account: ServiceAccount) -> None:
        try:
            trusted = ssl.create_default_context(cafile=account.authority)
        except (ssl.SSLError, OSError):
            raise InvalidSetting(f"{account.authority} holds no certificate") from None
        self._account = account
        self._path = f"/api/v1/namespaces/{quote(account.namespace, safe='')}/secrets"
        # No proxy of the environment, no redirect: what goes here are credentials.
        self._http = httpx2.Client(
            base_url=account.api, verify=trusted, trust_env=False, follow_redirects=False, timeout=SECONDS
        )

    def __enter__(self) -> SecretStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def read(self, name: str) -> Kept | None:
        """The Secret called ``name``, or ``None`` if there is none.

        Raises:
            Problem: the API server does not answer, or not to this account.
        """
        answer = self._ask("GET", self._of(name), f"get the Secret {name}")
        if answer.status_code == 404:
            return None
        found = self._members(answer, f"get the Secret {name}")
        try:
            values = {str(key): b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
            return Kept(str(found["metadata"]["resourceVersion"]), values)
        except (KeyError, TypeError, AttributeError, NotBase64, UnicodeDecodeError):
            raise Unreachable(f"{self._account.api} does not answer like an API server") from None

    def create(self, name: str, values: Mapping[str, str]) -> bool:
        """Make a Secret; whether it was made. ``False``: somebody else was first, and theirs is untouched.

        Raises:
            Problem: as ``read``; ``NotFound`` if there is no such namespace.
        """
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": MANAGED_BY}},
            "data": _encoded(values),
        }
        doing = f"create the Secret {name}"
        answer = self._ask("POST", self._path, doing, body)
        if answer.status_code == 409:
            return False
        if answer.status_code == 404:
            raise NotFound(f"there is no namespace {self._account.namespace!r}")
        self._members(answer, doing)
        return True

    def add(self, name: str, values: Mapping[str, str], before: Kept) -> bool:
        """Put ``values`` beside what the Secret holds; whether that was done. ``False``: it is no longer the one that was read.

        Raises:
            Problem: as ``read``.
        """
        body = {"metadata": {"resourceVersion": before.version}, "data": _encoded(values)}
        doing = f"patch the Secret {name}"
        answer = self._ask("PATCH", self._of(name), doing, body)
        if answer.status_code in (404, 409):
            return False
        self._members(answer, doing)
        return True

    def _of(self, name: str) -> str:
        return f"{self._path}/{quote(name, safe='')}"

    def _ask(self, method: str, path: str, doing: str, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        """One answer that the caller may judge. Each of the three calls may be made again: none is done twice."""
        for attempt in stamina.retry_context(on=Unavailable, attempts=ATTEMPTS, timeout=45, wait_initial=0.2, wait_max=5):
            with attempt:
                answer = self._once(method, path, body)
                if answer.status_code == 429 or answer.status_code >= 500:
                    raise Unavailable(f"{self._account.api} cannot {doing} now: {answer.status_code}")
                return answer
        raise AssertionError("stamina makes at least one attempt")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self._account.token()}", "Accept": "application/json", "User-Agent": "mcpctl"}
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        try:
            return self._http.request(method, path, headers=headers, content=json.dumps(body) if body is not None else None)
        except httpx2.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):  # asking again will not make it another
                raise InvalidSetting(
                    f"{self._account.authority} does not vouch for whoever answers at {self._account.api}"
                ) from None
            raise Unreachable(f"the API server {self._account.api} does not answer: {type(error).__name__}: {error}") from None

    def _members(self, answer: httpx2.Response, doing: str) -> dict[str, Any]:
        where = f"in the namespace {self._account.namespace!r}"
        if answer.is_success:
            try:
                found = answer.json()
            except ValueError:
                found = None
            if isinstance(found, dict):
                return found
            raise Unreachable(f"{self._account.api} does not answer like an API server")
        raise _refusal(answer, doing, where)


def _refusal(answer: httpx2.Response, doing: str, where: str) -> Problem:
    if answer.status_code == 401:
        return Unauthenticated(
            f"the cluster does not take this pod's service account for anybody: it could not {doing} {where}"
        )
    if answer.status_code == 403:
        return Forbidden(f"the service account may not {doing} {where}: its Role must allow that (k8s/base/bootstrap.yaml)")
    return InvalidInput(f"the cluster refused to {doing} {where}: status {answer.status_code}")


def _encoded(values: Mapping[str, str]) -> dict[str, str]:
    return {key: b64encode(value.encode()).decode() for key, value in values.items()}

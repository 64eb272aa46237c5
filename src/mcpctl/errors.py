"""Every error a person or a program can meet, drawn as one tree.

Each class says how it leaves the process on every surface: the stable ``code`` and ``status`` of an
``application/problem+json`` answer (RFC 9457), the ``exit_code`` of the command line, and the JSON-RPC code an MCP client
sees. The sentence in ``detail`` is for a person and says what to do.

::

    Problem
    ├── InvalidInput ─┬─ MalformedRequest · MalformedBody · InvalidName · InvalidBinding · InvalidSetting
    │                 ├─ InvalidPolicy · InvalidTable · TooLarge · HeadTooLarge · UnsupportedMedia
    │                 └─ NotAcceptable · TooSlow
    ├── Unauthenticated ── MissingCredential · InvalidCredential · WrongPassword
    ├── Forbidden ──────── CeilingExceeded · WrongOrigin
    ├── NotFound ───────── MethodNotAllowed · WrongHost
    ├── Conflict ───────── Duplicate · InUse · ReadOnly · LastAdmin
    ├── TooManyRequests
    └── Unavailable ────── PolicyUnavailable · StoreUnavailable · NotCaughtUp · Unreachable
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: where it is, which rule it broke, and the nearest valid value if there is one."""

    field: str
    message: str
    nearest: str | None = None

    def as_json(self) -> dict[str, str]:
        """The member of ``errors`` in a problem document."""
        body = {"field": self.field, "message": self.message}
        return body | {"nearest": self.nearest} if self.nearest else body


class Problem(Exception):
    """The root. Never raised itself; an unforeseen exception leaves as its ``internal`` code without detail."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on this side"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    jsonrpc_code: ClassVar[int] = -32603

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        missing: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.missing = tuple(missing)
        self.headers = dict(headers or {})

    def as_json(self) -> dict[str, Any]:
        """The problem document of RFC 9457, with ``code``, and ``errors`` and ``missing`` where there are any."""
        body: dict[str, Any] = {
            "type": f"urn:mcpctl:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [error.as_json() for error in self.errors]
        if self.missing:
            body["missing"] = list(self.missing)
        return body


class InvalidInput(Problem):
    """A field, flag or parameter breaks a rule; ``errors`` names each."""

    code = "invalid"
    title = "The request is not valid"
    status = 422
    exit_code = 2
    jsonrpc_code = -32602


class MalformedRequest(InvalidInput):
    """The bytes are no HTTP/1.1 request: the request line, a header or the framing of the body cannot be read."""

    code = "malformed_request"
    title = "This is no request"
    status = 400


class MalformedBody(InvalidInput):
    """The body is not one JSON object in UTF-8, or a member stands in it twice."""

    code = "malformed"
    title = "The body cannot be read"
    status = 400


class InvalidName(InvalidInput):
    """A name breaks the one rule for names of its kind."""

    code = "invalid_name"
    title = "That cannot be a name"


class InvalidBinding(InvalidInput):
    """A role binding cannot be read; the sentence shows the column and the nearest valid word."""

    code = "invalid_binding"
    title = "That is not a role binding"


class InvalidSetting(InvalidInput):
    """A flag, environment variable or settings file is wrong; the sentence names it."""

    code = "invalid_setting"
    title = "A setting is wrong"


class InvalidPolicy(InvalidInput):
    """Policy files have findings; ``errors`` lists all of them, each with ``file:line``."""

    code = "invalid_policy"
    title = "The policy files have errors"


class InvalidTable(InvalidInput):
    """Decision tables cannot be read, or ask too much; ``errors`` lists all findings, each with ``file:line``."""

    code = "invalid_table"
    title = "The decision tables have errors"


class TooLarge(InvalidInput):
    """The body is larger than the limit the sentence names."""

    code = "too_large"
    title = "The body is too large"
    status = 413


class HeadTooLarge(InvalidInput):
    """The line and headers of the request are larger than 64 KiB."""

    code = "head_too_large"
    title = "The head of the request is too large"
    status = 431


class TooSlow(InvalidInput):
    """The request did not come to its end in time."""

    code = "too_slow"
    title = "The request took too long to arrive"
    status = 408


class UnsupportedMedia(InvalidInput):
    """The body's media type is not ``application/json``."""

    code = "unsupported_media"
    title = "The body must be JSON"
    status = 415


class NotAcceptable(InvalidInput):
    """The client does not take the one form the answer has."""

    code = "not_acceptable"
    title = "The answer has another form than you accept"
    status = 406


class Unauthenticated(Problem):
    """Nobody is known to be asking."""

    code = "unauthenticated"
    title = "Log in first"
    status = 401
    exit_code = 3


class MissingCredential(Unauthenticated):
    """The request carries no bearer at all (RFC 6750 section 3: then no error code is given)."""

    code = "missing_credential"


class InvalidCredential(Unauthenticated):
    """The bearer is unknown, malformed, expired, revoked or its owner disabled; from outside these are one."""

    code = "invalid_credential"
    title = "The credential is not valid"


class WrongPassword(Unauthenticated):
    """The name or the password is wrong; which of the two is not said."""

    code = "wrong_password"
    title = "Wrong user name or password"


class Forbidden(Problem):
    """The asker is known and may not do this."""

    code = "forbidden"
    title = "You may not do that"
    status = 403
    exit_code = 5


class CeilingExceeded(Forbidden):
    """The asker would give what it does not hold; ``missing`` lists each right, one per line."""

    code = "ceiling"
    title = "You cannot give what you do not hold"


class WrongOrigin(Forbidden):
    """A browser page of a foreign origin sent the request."""

    code = "wrong_origin"
    title = "Pages of that origin may not ask"


class NotFound(Problem):
    """There is no such thing, or not for the asker."""

    code = "not_found"
    title = "There is no such thing"
    status = 404
    exit_code = 6


class MethodNotAllowed(NotFound):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    title = "That method is not allowed here"
    status = 405


class WrongHost(NotFound):
    """The request is for a host this server is not (RFC 9110 section 15.5.20)."""

    code = "wrong_host"
    title = "Not the server for that host"
    status = 421


class Conflict(Problem):
    """The request is fine and the present state does not allow it."""

    code = "conflict"
    title = "The present state does not allow that"
    status = 409
    exit_code = 7


class Duplicate(Conflict):
    """The name is taken."""

    code = "duplicate"
    title = "That name is taken"


class InUse(Conflict):
    """Something else still refers to it; the sentence names it."""

    code = "in_use"
    title = "Something still uses it"


class ReadOnly(Conflict):
    """It is written elsewhere: by a token, or in a policy file that the sentence names."""

    code = "read_only"
    title = "It cannot be changed here"


class LastAdmin(Conflict):
    """The last enabled admin can be neither disabled, deleted, denied nor removed."""

    code = "last_admin"
    title = "That would leave no admin"


class TooManyRequests(Problem):
    """Slowed down after failures; ``Retry-After`` says for how long."""

    code = "slowed"
    title = "Too many attempts"
    status = 429


class Unavailable(Problem):
    """Something this depends on does not answer; asking again later is fine."""

    code = "unavailable"
    title = "Not available right now"
    status = 503
    exit_code = 4


class PolicyUnavailable(Unavailable):
    """The policy engine could not decide. That is never an allow."""

    code = "policy_unavailable"
    title = "The policy could not be evaluated"


class StoreUnavailable(Unavailable):
    """The database does not answer."""

    code = "store_unavailable"
    title = "The database does not answer"


class NotCaughtUp(Unavailable):
    """This replica has not yet seen the revision that the client has: another one may have, and this one soon will."""

    code = "not_caught_up"
    title = "This replica has not caught up"


class Unreachable(Unavailable):
    """The other program does not answer at its address."""

    code = "unreachable"
    title = "No answer"


def nearest(word: str, valid: Sequence[str], alike: float = 0.6) -> str | None:
    """The valid word closest to ``word``, or ``None`` when none is ``alike`` enough, from 0 to 1."""
    found = get_close_matches(word.lower(), list(valid), n=1, cutoff=alike)
    return found[0] if found else None

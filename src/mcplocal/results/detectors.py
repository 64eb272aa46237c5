"""What the named detectors of ``redact`` look for. Names and order stand in ``mcpctl.proxy_models.detectors``.

The engine is RE2: its time is linear in the text, whatever the text. Where a pattern has a group called ``secret``, that is
replaced and what is around it stays, so that a reader still sees what was there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from mcpctl.proxy_models.detectors import DETECTORS

_BESIDE_AWS_KEY: Final = (
    r"""(?i)secret_?access_?key\\?["']?\s{0,9}[:=]\s{0,9}\\?["']?(?P<secret>(?:[A-Za-z0-9/+=]|\\/){40,44})"""
)
_AUTHORIZATION: Final = (
    r"""(?i)authorization\\?["']?\s{0,10}[:=]\s{0,10}\\?["']?(?:bearer|basic|token)\s+(?P<secret>[A-Za-z0-9._~+/=:-]{4,})"""
)

_PATTERNS: Final[dict[str, tuple[str, ...]]] = {
    "mcpctl-token": (r"mcpctl_(?:pat|ses)_[A-Za-z0-9_-]{8,}",),
    # A key whose end is missing, as it was cut off, goes to the end of the text.
    "private-key": (
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    "aws-access-key": (r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b", _BESIDE_AWS_KEY),
    "github-token": (r"gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}",),
    "slack-token": (
        r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}",
        r"hooks\.slack\.com/services/(?P<secret>[A-Za-z0-9/]{20,})",
    ),
    "jwt": (r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){2,4}",),
    "bearer-header": (_AUTHORIZATION, r"(?i)\A\s*bearer\s+(?P<secret>[A-Za-z0-9._~+/-]{8,}=*)\s*\z"),
    "basic-auth-url": (r"""[A-Za-z][A-Za-z0-9+.-]{0,30}://(?P<secret>[^\s/?#:@"'<>]*:[^\s/?#"'<>]+)@""",),
    "email": (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}",),
    "credit-card": (r"\b[2-6](?:[ -]?\d){12,18}\b",),
}

IN_SOURCE: Final = frozenset(("aws-access-key", "bearer-header"))
"""Detectors whose label and secret are a member and its value, so they are looked for in JSON source too. Their secrets hold no
character that could end a JSON string."""


@dataclass(frozen=True)
class Detector:
    """What looks for one thing.

    Attributes:
        name: as options call it.
        patterns: compiled; they match bytes.
        passes: whether what matched is it.
    """

    name: str
    patterns: tuple[Any, ...]
    passes: Callable[[bytes], bool] | None = None


@cache
def detector(name: str) -> Detector:
    """The named detector."""
    return Detector(name, tuple(_compiled(one) for one in _PATTERNS[name]), _is_card if name == "credit-card" else None)


@cache
def any_of(names: tuple[str, ...]) -> Any:
    """A pattern that matches wherever one of these does: most texts hold nothing, and are looked through once."""
    patterns = [one.replace("?P<secret>", "?:") for name in names for one in _PATTERNS[name]]
    return _compiled("|".join(f"(?:{one})" for one in patterns))


def _compiled(pattern: str) -> Any:
    import re2  # here: a gateway without such a model never needs it

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _is_card(matched: bytes) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1, Luhn)."""
    digits = [byte - 48 for byte in matched if 48 <= byte <= 57]
    doubled = [digit if place % 2 == 0 else sum(divmod(digit * 2, 10)) for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


if set(_PATTERNS) != set(DETECTORS):  # one that is named and looks for nothing would be believed in
    raise RuntimeError(f"detectors without a pattern, or without a name: {set(_PATTERNS) ^ set(DETECTORS)}")

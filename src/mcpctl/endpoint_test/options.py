"""What a run is told: the endpoint, the credentials, which checks, how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Era = Literal["auto", "legacy", "modern", "both"]
ERAS: Final[tuple[Era, ...]] = ("auto", "legacy", "modern", "both")

RUN_FACTOR: Final = 12
"""The whole run may last this many times as long as one answer."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many requests to measure with, and how many at once."""

    requests: int
    at_once: int


@dataclass(frozen=True, slots=True)
class Grants:
    """Bearers that tell what the gateway of a project makes of rights.

    Attributes:
        may: whether the tested token may run a tool, by its listed name and the control plane's word.
        powerless: a token of the same project that holds nothing.
        foreign: a token of another project, if there is one.
    """

    may: Callable[[str], bool] | None = None
    powerless: str | None = field(default=None, repr=False)
    foreign: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Options:
    """One run.

    Attributes:
        url: the endpoint.
        token: the bearer, raw.
        second_token: another valid bearer, to see what is kept apart.
        refused_tokens: bearers that must be refused: expired ones, or of another audience.
        headers: more headers of every request; their values are secrets.
        era: which protocol eras are wanted.
        calls: tools that may be called, with the arguments to call them with.
        timeout: seconds for one answer.
        verify: check the server's certificate.
        load: measure latency with so many requests.
        grants: what to test of a gateway's authorization.
        hidden: more that no report may show.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    second_token: str | None = field(default=None, repr=False)
    refused_tokens: tuple[str, ...] = field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    era: Era = "auto"
    calls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    timeout: float = 10.0
    verify: bool = True
    load: Load | None = None
    grants: Grants | None = None
    hidden: tuple[str, ...] = field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no report may show."""
        grants = (self.grants.powerless, self.grants.foreign) if self.grants else ()
        given = (
            self.token,
            self.second_token,
            *self.refused_tokens,
            *grants,
            *self.hidden,
            *(value for _, value in self.headers),
        )
        return tuple(one for one in given if one)

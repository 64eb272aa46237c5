"""What the tools and prompts of many servers are called on one endpoint, and the way back.

An exposed name is ``<server>__<tool>`` (or ``<tool>`` in plain mode) and satisfies ``EXPOSED``, which every agent seen so
far accepts. A name that does not is rewritten and ends in eight hex digits of the SHA-256 of what it stands for, always
and whatever else is on the endpoint, so it never changes when another tool appears. The way back is the table; an exposed
name is never split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from mcpctl.policy.names import BELOW_RULE

EXPOSED: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONGEST: Final = 64
SEPARATOR: Final = "__"

ASKABLE: Final = BELOW_RULE.removesuffix(", which may end in one *")
"""What can be asked about below a server, in words."""

ToolNames = Literal["prefixed", "plain"]

_OUTSIDE: Final = re.compile(r"[^A-Za-z0-9_-]")


class Ref(NamedTuple):
    """A tool, prompt or resource as the policy knows it.

    Attributes:
        server: whose it is.
        name: its name there; of a resource, its percent-normalized URI.
        mark: what the policy puts before the name: nothing, ``PROMPT_MARK`` or ``RESOURCE_MARK``.
    """

    server: str
    name: str
    mark: str = ""

    @property
    def asked(self) -> str:
        """The name a decision about it is asked under, on the resource ``servers``."""
        return f"{self.server}/{self.mark}{self.name}"


class Refused(NamedTuple):
    """What got no exposed name, and why."""

    ref: Ref
    reason: str


def exposed_name(ref: Ref, mode: ToolNames) -> str:
    """What ``ref`` is called on an endpoint. The same pair has the same name everywhere and always."""
    plain = ref.name if mode == "plain" else f"{ref.server}{SEPARATOR}{ref.name}"
    if EXPOSED.fullmatch(plain):
        return plain
    digest = sha256("\0".join((ref.server if mode == "prefixed" else "", ref.name)).encode()).hexdigest()[:8]
    return f"{_OUTSIDE.sub('_', plain)[: LONGEST - 9]}_{digest}"


def may_be_of(name: str, server: str, mode: ToolNames) -> bool:
    """Whether something of ``server`` could be exposed as ``name``. Saves asking servers that cannot have it."""
    if mode == "plain":
        return True
    return name.startswith(_prefix(server))


@lru_cache(maxsize=4096)
def _prefix(server: str) -> str:
    return _OUTSIDE.sub("_", server + SEPARATOR)[: LONGEST - 9]


class NameTable(Mapping[str, Ref]):
    """Exposed name to tool or prompt, in the order of the servers and of their own lists.

    Where two would share a name (possible in plain mode), neither has it: a server added later must not take over
    the name of another's.
    """

    def __init__(self, mode: ToolNames, refs: Iterable[Ref]) -> None:
        claims: dict[str, list[Ref]] = {}
        for ref in refs:
            claims.setdefault(exposed_name(ref, mode), []).append(ref)
        self._refs = {name: refs[0] for name, refs in claims.items() if len(refs) == 1}
        self.refused: Sequence[Refused] = [
            Refused(ref, f"the name {name!r} is also claimed by {', '.join(o.asked for o in refs if o is not ref)}")
            for name, refs in claims.items()
            if len(refs) > 1
            for ref in refs
        ]

    def __getitem__(self, name: str) -> Ref:
        return self._refs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

"""An entry of a server's list as it comes, judged by itself: a bad one is dropped with a reason, never the whole list.

Agents drop a whole server when one entry is not what they expect, so that must not leave the gateway. Whatever else an
entry carries, known or not, is passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

from mcplocal.json_text import write
from mcplocal.names import Ref
from mcplocal.offers.uri_templates import UriTemplate
from mcplocal.param_headers import InvalidSchema, ParamHeader
from mcplocal.wire import Era

LARGEST_ENTRY: Final = 256 << 10


class NotOffered(ValueError):
    """The entry cannot be offered; the sentence says why."""


class Dropped(NamedTuple):
    """An entry that is not offered, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """One tool, prompt, resource or resource template, ready to be listed under any name and in both eras.

    Attributes:
        ref: which one; of a template, the template itself stands for the name.
        original: what its server calls it, to the letter.
        key: the member of a list that says the name.
        bodies: by era, its JSON after the name: ``,"description":…}``.
        param_headers: the arguments of a tool that its schema wants in headers.
        template: of a resource template, what it matches.
        plain_bodies: of a tool that declares an output schema, ``bodies`` without it; else ``None``.
        only_reads: of a tool, whether its server declares that it changes nothing.
        repeats_safely: likewise, that or that calling it twice is as good as once.
    """

    ref: Ref
    original: str
    key: str
    bodies: Mapping[Era, str]
    param_headers: tuple[ParamHeader, ...] = ()
    template: UriTemplate | None = None
    plain_bodies: Mapping[Era, str] | None = None
    only_reads: bool = False
    repeats_safely: bool = False

    def without_output_schema(self) -> Entry:
        """The same for where results are shaped, so that what was declared of them may not hold."""
        return self if self.plain_bodies is None else replace(self, bodies=self.plain_bodies, plain_bodies=None)

    @cached_property
    def asked(self) -> str:
        """The name that a decision about it is asked under."""
        return self.ref.asked

    def listed_as(self, name: str, era: Era) -> str:
        """Its JSON in a list, under ``name``."""
        return f'{{"{self.key}":{write(name)}{self.bodies[era]}'


Make = Callable[[str, dict[str, Any]], Entry]
"""Makes the entry of a server, of an object whose name is a string.

Raises:
    NotOffered: it cannot be offered.
    InvalidSchema: nor can this.
"""


def judged(
    server: str, listed: Sequence[Any], key: str, most: int, make: Make
) -> tuple[tuple[Entry, ...], tuple[Dropped, ...]]:
    """The entries that can be offered, in their order, and those that cannot.

    Args:
        server: whose they are.
        listed: as they came.
        key: the member that says the name.
        most: how many are offered; the rest is dropped as one.
        make: makes an entry.
    """
    entries: dict[str, Entry] = {}
    dropped: list[Dropped] = []
    for place, raw in enumerate(listed):
        if len(entries) >= most:
            dropped.append(Dropped(f"all from number {place + 1} on", f"the server lists more than {most}"))
            break
        name = raw.get(key) if isinstance(raw, dict) else None
        shown = ascii(name)[:100] if not isinstance(name, str) else name[:100]
        try:
            if not isinstance(name, str):
                raise NotOffered(f"it has no {key}")
            entry = make(server, raw)
            if entry.ref.name in entries:
                raise NotOffered("the server lists this name twice; the first is used")
        except (NotOffered, InvalidSchema) as reason:
            dropped.append(Dropped(shown, str(reason)))
        else:
            entries[entry.ref.name] = entry
    return tuple(entries.values()), tuple(dropped)


OPTIONAL: Final = (
    ("title", str, "a string"),
    ("description", str, "a string"),
    ("annotations", dict, "an object"),
    ("icons", list, "a list"),
    ("_meta", dict, "an object"),
)
"""Members that any entry may have, and what they must be."""


def check_members(raw: Mapping[str, Any], members: Sequence[tuple[str, type, str]]) -> None:
    """Check that members that are there are what they must be.

    Raises:
        NotOffered: one is not.
    """
    for member, kind, what in members:
        if member in raw and not isinstance(raw[member], kind):
            raise NotOffered(f"its {member} is not {what}")


def body_without(raw: Mapping[str, Any], key: str) -> str:
    """The JSON of an entry after its name.

    Raises:
        NotOffered: it is too large, or nested too deeply.
    """
    rest = {name: value for name, value in raw.items() if name != key}
    try:
        body = "," + write(rest)[1:] if rest else "}"
    except (ValueError, RecursionError):
        raise NotOffered("it is nested too deeply") from None
    if len(body) > LARGEST_ENTRY:
        raise NotOffered(f"its description is larger than {LARGEST_ENTRY} bytes")
    return body

"""What servers have to offer: tools, prompts, resources and templates of resources, and how each is asked for and used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mcplocal.names import ToolNames, may_be_of
from mcplocal.offers.entries import Dropped, Entry, Make, judged
from mcplocal.offers.prompts import prompt
from mcplocal.offers.resources import resource, template
from mcplocal.offers.tables import Named, Table, Uris
from mcplocal.offers.tools import tool
from mcplocal.offers.uris import server_of


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of list.

    Attributes:
        word: what one entry is called.
        method: asks for the list, page by page.
        member: of the result, the list.
        key: of an entry, its name.
        most: how many of one server are offered.
        make: makes an entry.
    """

    word: str
    method: str
    member: str
    key: str
    most: int
    make: Make

    def judge(self, server: str, listed: Sequence[Any]) -> tuple[tuple[Entry, ...], tuple[Dropped, ...]]:
        """The entries of ``server`` that can be offered, in their order, and those that cannot."""
        return judged(server, listed, self.key, self.most, self.make)


@dataclass(frozen=True, eq=False)
class Family:
    """Lists that are looked up together, because their names must not collide.

    Attributes:
        word: what one of it is called.
        capability: what a server declares that has any.
        kinds: the lists.
        key: the parameter that names one of it in a request.
        table: makes the table of a project.
        may_be_of: whether something of a server can be exposed under a name, by the project's mode.
    """

    word: str
    capability: str
    kinds: tuple[Kind, ...]
    key: str
    table: Callable[[ToolNames, Iterable[Entry]], Table]
    may_be_of: Callable[[str, str, ToolNames], bool]


def _uri_may_be_of(uri: str, server: str, mode: ToolNames) -> bool:
    to = server_of(uri) if mode == "prefixed" else None
    return to is None or to[0] == server


TOOL: Final = Kind("tool", "tools/list", "tools", "name", 2000, tool)
PROMPT: Final = Kind("prompt", "prompts/list", "prompts", "name", 2000, prompt)
RESOURCE: Final = Kind("resource", "resources/list", "resources", "uri", 2000, resource)
TEMPLATE: Final = Kind("resource template", "resources/templates/list", "resourceTemplates", "uriTemplate", 200, template)
KINDS: Final = (TOOL, PROMPT, RESOURCE, TEMPLATE)

TOOLS: Final = Family("tool", "tools", (TOOL,), "name", Named, may_be_of)
PROMPTS: Final = Family("prompt", "prompts", (PROMPT,), "name", Named, may_be_of)
RESOURCES: Final = Family("resource", "resources", (RESOURCE, TEMPLATE), "uri", Uris, _uri_may_be_of)
FAMILIES: Final = (TOOLS, PROMPTS, RESOURCES)

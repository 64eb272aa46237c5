"""Under which names the entries of many servers are offered on one endpoint, and the way back.

Tools and prompts have names by ``mcplocal.names``. A URI is passed through as its server has it, since results hold links to it
that nobody rewrites, and clients tell by its scheme what to do with it. So two servers may claim one URI: by listing it, or
by a template that it matches. Nobody may take over another's URI by claiming it too, hence such a URI reaches neither; in its
place both are listed in the qualified form, which says the server and is good at any time. In plain mode nothing is ever
changed, and of what two servers claim neither is offered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Protocol

from mcpctl.policy.names import RESOURCE_MARK
from mcplocal.names import NameTable, Ref, Refused, ToolNames
from mcplocal.offers.entries import Entry
from mcplocal.offers.uris import QUALIFIED, askable, qualified, server_of
from mcplocal.recent import Recent

REMEMBERED: Final = 4096
"""URIs whose entry is kept: one object for each, so that what is made for an entry can be kept too."""


class Table(Protocol):
    """Exposed names and what they stand for."""

    @property
    def refused(self) -> Sequence[Refused]:
        """What is not offered because of others."""

    def __len__(self) -> int:
        """How many entries are listed."""

    def listed(self, key: str) -> Iterator[tuple[str, Entry]]:
        """Exposed name and entry, in order, of the entries whose name is their member ``key``."""

    def find(self, name: str) -> Entry | None:
        """What is used under that name; ``None`` if there is nothing, or nothing certain."""

    def completing(self, name: str) -> Entry | None:
        """What completion is about that is asked about that name."""


class Named:
    """Tools or prompts."""

    def __init__(self, mode: ToolNames, entries: Iterable[Entry]) -> None:
        """Offer ``entries``, which are in the order of their servers."""
        known = {entry.ref: entry for entry in entries}
        names = NameTable(mode, known)
        self.refused = names.refused
        self._entries = {name: known[ref] for name, ref in names.items()}

    def __len__(self) -> int:
        return len(self._entries)

    def listed(self, key: str) -> Iterator[tuple[str, Entry]]:
        """See ``Table``."""
        return ((name, entry) for name, entry in self._entries.items() if entry.key == key)

    def find(self, name: str) -> Entry | None:
        """See ``Table``."""
        return self._entries.get(name)

    completing = find


@dataclass(eq=False)
class _OfServer:
    """What one server claims."""

    listed: dict[str, Entry] = field(default_factory=dict)
    templates: list[Entry] = field(default_factory=list)

    def find(self, name: str) -> Entry | None:
        """The entry of the URI ``name``, made if a template matches it."""
        known = self.listed.get(name)
        if known is not None:
            return known
        by = next((entry for entry in self.templates if entry.template is not None and entry.template.matches(name)), None)
        return Entry(Ref(by.ref.server, name, RESOURCE_MARK), name, "uri", by.bodies) if by is not None else None


class Uris:
    """Resources and templates of resources."""

    def __init__(self, mode: ToolNames, entries: Iterable[Entry]) -> None:
        """Offer ``entries``, which are in the order of their servers."""
        self._mode = mode
        self._servers: dict[str, _OfServer] = {}
        for entry in entries:
            server = self._servers.setdefault(entry.ref.server, _OfServer())
            if entry.template is None:
                server.listed[entry.ref.name] = entry
            else:
                server.templates.append(entry)
        self._found: Recent[str, Entry] = Recent(REMEMBERED)
        self.refused: list[Refused] = []
        claims = _Claims(self._servers)
        self._entries: dict[str, Entry] = {}
        for entry in (one for server in self._servers.values() for one in [*server.listed.values(), *server.templates]):
            name = self._exposed(entry, claims)
            if name is None:
                self.refused.append(Refused(entry.ref, "another server of the project claims it too"))
            else:
                self._entries[name] = entry

    def _exposed(self, entry: Entry, claims: _Claims) -> str | None:
        if self._mode == "prefixed":
            plain = claims.is_alone(entry) and not entry.original.startswith(QUALIFIED)
            return entry.original if plain else qualified(entry.ref.server, entry.original)
        if entry.template is not None:
            return entry.original if claims.templates[entry.original] == 1 else None
        return entry.original if claims.is_alone(entry) or self.find(entry.original) is entry else None

    def __len__(self) -> int:
        return len(self._entries)

    def listed(self, key: str) -> Iterator[tuple[str, Entry]]:
        """See ``Table``."""
        return ((name, entry) for name, entry in self._entries.items() if entry.key == key)

    def find(self, name: str) -> Entry | None:
        """See ``Table``. A qualified URI is looked for at its server, any other wherever it may be."""
        known = self._found.get(name)
        if known is None and (known := self._look_for(name)) is not None:
            self._found.keep(name, known)
        return known

    def _look_for(self, name: str) -> Entry | None:
        to = server_of(name) if self._mode == "prefixed" else None
        uri = askable(name if to is None else to[1])
        if uri is None:
            return None
        servers = self._servers.values() if to is None else [self._servers.get(to[0], _OfServer())]
        found = [entry for server in servers if (entry := server.find(uri)) is not None]
        return found[0] if len(found) == 1 else None

    def completing(self, name: str) -> Entry | None:
        """See ``Table``. It is asked about a template, or about a URI."""
        template = self._entries.get(name)
        return template if template is not None and template.template is not None else self.find(name)


class _Claims:
    """Who might claim what, told by beginnings alone.

    Matching every URI with every template would take its time, and whoever is listed in the qualified form without need is
    reached by it all the same.
    """

    def __init__(self, servers: dict[str, _OfServer]) -> None:
        self.templates = Counter(one.original for server in servers.values() for one in server.templates)
        self._listed = Counter(name for server in servers.values() for name in server.listed)
        self._prefixes: dict[str, set[str]] = {}
        self._begun: dict[str, set[str]] = {}
        for name, server in servers.items():
            for prefix in (one.template.prefix for one in server.templates if one.template is not None):
                self._prefixes.setdefault(prefix, set()).add(name)
        self._in_order = sorted(self._prefixes)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})
        for name, server in servers.items():
            for uri in server.listed:
                for begin in self._begins(uri):
                    self._begun.setdefault(begin, set()).add(name)

    def _begins(self, text: str) -> Iterator[str]:
        """The beginnings of ``text`` that are those of a template."""
        cuts = (text[:length] for length in self._lengths if length <= len(text))
        return (begin for begin in cuts if begin in self._prefixes)

    def is_alone(self, entry: Entry) -> bool:
        """Whether no other server can claim what ``entry`` claims."""
        own = {entry.ref.server}
        if entry.template is None:
            return self._listed[entry.ref.name] == 1 and all(self._prefixes[b] <= own for b in self._begins(entry.ref.name))
        prefix = entry.template.prefix
        shorter = (self._prefixes[begin] for begin in self._begins(prefix))
        return self._begun.get(prefix, own) <= own and all(servers <= own for servers in chain(shorter, self._longer(prefix)))

    def _longer(self, prefix: str) -> Iterator[set[str]]:
        """The servers of each template that begins with ``prefix``."""
        for place in range(bisect_left(self._in_order, prefix), len(self._in_order)):
            if not self._in_order[place].startswith(prefix):
                return
            yield self._prefixes[self._in_order[place]]

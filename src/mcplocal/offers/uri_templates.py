"""URI templates (RFC 6570) read backwards: which URIs one could have been expanded to.

Of a template only what is within the letters of askable URIs matters. A variable matches at least one letter and no slash;
after ``+``, or with ``*`` behind its name, slashes too. What ``?``, ``&``, ``;`` and ``#`` expand to begins with a letter
that no askable URI holds, so these match nothing at all; what ``/`` and ``.`` expand to may be missing.

A server may list any template, so matching one must not take time without end, as a regular expression may: the places
in the URI that can be reached are the bits of one number, and each part of the template moves all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from mcplocal.names import ASKABLE
from mcplocal.offers.uris import askable

LONGEST: Final = 512
MOST_EXPRESSIONS: Final = 16
MOST_NAMED: Final = 1000
"""What lines name is looked at so far; whoever may read something only by a later one is not shown the template."""

_EXPRESSION: Final = re.compile(r"\{([+#./;?&]?)([A-Za-z0-9_.,:*%-]+)\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._:/-]*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SAMPLES: Final = ("x", "0", "Q")
"""What variables are filled with to find a URI that a template matches; several, as lines may name some."""


class InvalidTemplate(ValueError):
    """It cannot be read backwards; the sentence says why."""


class _Run(NamedTuple):
    """Letters that a variable stands for.

    Attributes:
        slashes: whether slashes are among them.
        begins: the letter that comes first, if one must.
        optional: whether all of it may be missing.
    """

    slashes: bool
    begins: str = ""
    optional: bool = False

    def sample(self, letter: str) -> str:
        """Something it could be."""
        return "" if self.optional else letter


class UriTemplate:
    """One template.

    Attributes:
        text: as its server lists it.
        prefix: what everything it matches begins with.
    """

    def __init__(self, text: str) -> None:
        """Read ``text``.

        Raises:
            InvalidTemplate: it is none, or matches nothing that a decision can be asked about.
        """
        self.text = text
        self._parts = _parts(text)
        first = self._parts[0] if self._parts else ""
        self.prefix = first if isinstance(first, str) else ""
        if not _SCHEME.match(self.prefix):
            raise InvalidTemplate("its scheme is not fixed, so it would match URIs of everybody")
        if next(self.samples(()), None) is None:
            raise InvalidTemplate("it matches no URI that a decision can be asked about")

    def matches(self, uri: str) -> bool:
        """Whether ``uri``, which is askable, could be an expansion of it."""
        if not uri.startswith(self.prefix):
            return False
        letters = _letters(uri)
        places = 1 << len(self.prefix)
        for part in self._parts[1:]:
            places = letters.after(part, places)
            if not places:
                return False
        return bool(places >> len(uri) & 1)

    def samples(self, named: Iterable[str]) -> Iterator[str]:
        """Some of the askable URIs it matches, among them such as lines name, or begin with what lines name, if it matches any.

        Args:
            named: URIs, and with a trailing star beginnings of URIs, that lines about somebody name.
        """
        seen: set[str] = set()
        for uri in self._candidates(list(islice(named, MOST_NAMED))):
            if uri not in seen and askable(uri) == uri and self.matches(uri):
                seen.add(uri)
                yield uri

    def _candidates(self, named: list[str]) -> Iterator[str]:
        for letter in _SAMPLES:
            yield _sample(self._parts, letter)
        for one in named:
            if not one.endswith("*"):
                yield one
            elif one.startswith(self.prefix) or self.prefix.startswith(one[:-1]):
                for letter in _SAMPLES:
                    yield from self._beginning(one[:-1], letter)

    def _beginning(self, begin: str, letter: str) -> Iterator[str]:
        """URIs that begin with ``begin``: if it matches any, it matches some of these."""
        letters, places = _letters(begin), 1
        for index, part in enumerate(self._parts):
            rest = _sample(self._parts[index + 1 :], letter)
            if isinstance(part, str):
                for place in range(len(begin) + 1):
                    left = begin[place:]
                    if places >> place & 1 and part.startswith(left):
                        yield begin + part[len(left) :] + rest
            else:
                yield from (begin + more + rest for more in ("", letter, part.begins + letter))
            places = letters.after(part, places)
            if not places:
                return


class _Letters:
    """A URI as numbers: for each letter the places where it stands, a bit each."""

    def __init__(self, uri: str) -> None:
        self._at: dict[str, int] = {}
        for place, letter in enumerate(uri):
            self._at[letter] = self._at.get(letter, 0) | 1 << place
        self._any = (1 << len(uri)) - 1

    def after(self, part: str | _Run, places: int) -> int:
        """The places that are reached from ``places`` through ``part``."""
        if isinstance(part, str):
            return self._through(part, places)
        began = self._through(part.begins, places)
        run = self._any if part.slashes else self._any & ~self._at.get("/", 0)
        began = (began & run) << 1
        # An addition carries through each run of letters that may follow; what it changes was reached.
        reached = began | (((began & run) + run) ^ run)
        return reached | places if part.optional else reached

    def _through(self, literal: str, places: int) -> int:
        for letter in literal:
            places = (places & self._at.get(letter, 0)) << 1
        return places


# One URI is compared with many templates.
_letters: Final = lru_cache(maxsize=16)(_Letters)


def _sample(parts: Sequence[str | _Run], letter: str) -> str:
    return "".join(part if isinstance(part, str) else part.sample(letter) for part in parts)


def _parts(text: str) -> list[str | _Run]:
    if len(text) > LONGEST:
        raise InvalidTemplate(f"it is longer than {LONGEST} letters")
    parts: list[str | _Run] = []
    end = 0
    for number, expression in enumerate(_EXPRESSION.finditer(text)):
        if number >= MOST_EXPRESSIONS:
            raise InvalidTemplate(f"it has more than {MOST_EXPRESSIONS} expressions")
        _add(parts, text[end : expression.start()])
        end = expression.end()
        operator, variables = expression[1], expression[2].split(",")
        if operator in ("", "+"):
            parts.append(_Run(operator == "+" or any(one.endswith("*") for one in variables)))
        elif operator in ("/", "."):
            parts.append(_Run(operator == "/" and (len(variables) > 1 or "*" in expression[2]), operator, optional=True))
    _add(parts, text[end:])
    return parts


def _add(parts: list[str | _Run], literal: str) -> None:
    if not _LITERAL.fullmatch(literal):
        raise InvalidTemplate(f"what stands beside its expressions is not all of {ASKABLE.partition(' of ')[2]}")
    if literal and parts and isinstance(parts[-1], str):
        parts[-1] += literal
    elif literal:
        parts.append(literal)

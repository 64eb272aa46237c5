"""HTML read and written as Markdown within a time: what is no HTML at all can make either take the square of its length.

Imported when the first HTML is read: a gateway without such a model never needs Beautiful Soup.
"""

from __future__ import annotations

import re
from time import monotonic
from typing import Any, Final

from bs4 import BeautifulSoup
from bs4.builder._htmlparser import BeautifulSoupHTMLParser, HTMLParserTreeBuilder
from bs4.element import NavigableString
from markdownify import MarkdownConverter

from mcplocal.results.stage import StageFailed

_LONG_BLANK: Final = re.compile(r"[ \t\r\n]{256,}+")
"""markdownify looks for line feeds from each blank of a run, in one step that nothing can end."""


def read(html: str, until: float) -> BeautifulSoup:
    """``html`` as a tree.

    Args:
        html: the text.
        until: a moment of the monotonic clock, after which it is given up.

    Raises:
        StageFailed: it took too long.
    """

    class Parser(BeautifulSoupHTMLParser):
        def updatepos(self, i: int, j: int) -> int:  # called between any two pieces
            _in_time(until)
            return int(super().updatepos(i, j))

    class Builder(HTMLParserTreeBuilder):
        def feed(self, markup: Any, _parser_class: type[BeautifulSoupHTMLParser] = Parser) -> None:
            super().feed(markup, _parser_class)

    soup = BeautifulSoup(html, builder=Builder())
    for text in soup.find_all(string=_LONG_BLANK):
        if type(text) is NavigableString:
            text.replace_with(_LONG_BLANK.sub(lambda match: match[0][:256], text))
    return soup


def written(soup: BeautifulSoup, strip: list[str], until: float) -> str:
    """The tree as Markdown, without the tags of ``strip``.

    Nothing in a text is escaped: who reads it is a language model, and a name with backslashes in it is another name.

    Raises:
        StageFailed: it took too long.
    """

    class Converter(MarkdownConverter):
        def process_element(self, node: Any, parent_tags: Any = None) -> Any:
            _in_time(until)
            return super().process_element(node, parent_tags)  # type: ignore[misc] # its stub leaves it out

    converter = Converter(heading_style="ATX", bullets="-", strip=strip, escape_underscores=False, escape_asterisks=False)
    return str(converter.convert_soup(soup))


def _in_time(until: float) -> None:
    if monotonic() > until:
        raise StageFailed("the HTML takes too long to read")

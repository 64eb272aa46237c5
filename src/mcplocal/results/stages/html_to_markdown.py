"""``html-to-markdown``: text that is HTML as Markdown, without scripts, styles and comments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mcplocal.results.stage import StageFailed, ToolResult

LARGEST: Final = 4 << 20
"""Characters; reading HTML takes about a second for a million of them."""

_IS_HTML: Final = re.compile(
    r"\A\s*+(?:<!--(?:[^-]|-(?!->))*+-->\s*+|<\?[^>]*+>\s*+)*+"
    r"<(?:!doctype\s+html|html|head|body|main|article|section|header|nav|div|p|h[1-6]|ul|ol|dl|table|span|a|b|i|em|strong|pre|"
    r"blockquote|img|br|hr|form|title|meta)\b",
    re.IGNORECASE,
)
_UNSEEN: Final = ("script", "style", "noscript", "template", "iframe", "object", "svg", "head")
_SAFE_LINK: Final = re.compile(r"(?:https?:|mailto:|[^:/?#]*+(?:[/?#]|\Z))", re.IGNORECASE)
_BLANK_LINES: Final = re.compile(r"\n(?:[ \t]*+\n){2,}+")


def as_markdown(result: ToolResult, options: Mapping[str, Any], until: float) -> ToolResult:
    """``result`` with each text that is HTML as Markdown.

    Raises:
        StageFailed: it is too long, nested too deeply, or takes longer than to ``until``, a moment of the monotonic clock.
    """
    links, images = bool(options["links"]), bool(options["images"])
    return result.with_texts(
        lambda text: markdown(text, links=links, images=images, until=until) if _IS_HTML.match(text) else text
    )


def markdown(html: str, *, links: bool, images: bool, until: float) -> str:
    """``html`` as Markdown.

    Raises:
        StageFailed: it is too long, nested too deeply, or takes longer than to ``until``, a moment of the monotonic clock.
    """
    if len(html) > LARGEST:
        raise StageFailed(f"the text is longer than {LARGEST >> 20} Mi characters")
    from bs4 import Comment  # here: a gateway without such a model never needs it
    from bs4.element import PageElement

    from mcplocal.results.stages.html_reader import read, written

    try:
        soup = read(html, until)
        title = soup.title.get_text(strip=True) if soup.title is not None else ""
        unseen: list[PageElement] = [*soup.find_all(_UNSEEN), *soup.find_all(string=lambda text: isinstance(text, Comment))]
        for one in unseen:
            one.extract()
        for link in soup.find_all(href=True):
            if not _SAFE_LINK.match(str(link["href"])):
                del link["href"]
        strip = ([] if links else ["a"]) + ([] if images else ["img"])
        found = written(soup, strip, until)
    except RecursionError:
        raise StageFailed("the HTML is nested too deeply") from None
    found = _BLANK_LINES.sub("\n\n", found).strip()
    return f"# {title}\n\n{found}" if title and not found.startswith("# ") else found

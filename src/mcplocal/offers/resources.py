"""What makes a resource, or a template of resources, one that can be offered."""

from __future__ import annotations

from typing import Any, Final

from mcpctl.policy.names import RESOURCE_MARK
from mcplocal.names import ASKABLE, Ref
from mcplocal.offers.entries import OPTIONAL, Entry, NotOffered, body_without, check_members
from mcplocal.offers.uri_templates import InvalidTemplate, UriTemplate
from mcplocal.offers.uris import askable
from mcplocal.wire import Era

MEMBERS: Final = (*OPTIONAL, ("mimeType", str, "a string"))


def resource(server: str, raw: dict[str, Any]) -> Entry:
    """The resource ``raw`` of ``server``.

    Raises:
        NotOffered: it cannot be offered.
    """
    uri = raw["uri"]
    name = askable(uri)
    if name is None:
        raise NotOffered(
            f"a URI is, percent-normalized, {ASKABLE}, and between its slashes stands no '.', no '..' and not nothing"
        )
    body = _body(raw, "uri")
    return Entry(Ref(server, name, RESOURCE_MARK), uri, "uri", {Era.MODERN: body, Era.LEGACY: body})


def template(server: str, raw: dict[str, Any]) -> Entry:
    """The resource template ``raw`` of ``server``.

    Raises:
        NotOffered: it cannot be offered.
    """
    text = raw["uriTemplate"]
    try:
        matched = UriTemplate(text)
    except InvalidTemplate as reason:
        raise NotOffered(str(reason)) from None
    body = _body(raw, "uriTemplate")
    ref = Ref(server, text, RESOURCE_MARK)
    return Entry(ref, text, "uriTemplate", {Era.MODERN: body, Era.LEGACY: body}, template=matched)


def _body(raw: dict[str, Any], key: str) -> str:
    if not isinstance(raw.get("name"), str):
        raise NotOffered("it has no name")
    check_members(raw, MEMBERS)
    return body_without(raw, key)

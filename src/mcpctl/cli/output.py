"""Answers on standard output, in the form ``-o`` asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mcpctl.cli.resources import Kind
from mcpctl.cli.tables import plain_lines, print_table
from mcpctl.cli.terminal import printable
from mcpctl.client.http import Json


def print_json(body: object) -> None:
    """``body`` as JSON."""
    print(json.dumps(body, indent=2, ensure_ascii=False))


def yaml_text(body: object) -> str:
    """``body`` as YAML."""
    from io import StringIO

    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    writer.width = 4096
    text = StringIO()
    writer.dump(dict(body) if isinstance(body, dict) else body, text)
    return text.getvalue()


def print_yaml(body: object) -> None:
    """``body`` as YAML."""
    print(yaml_text(body), end="")


def print_items(kind: Kind, items: Sequence[Json], output: str, *, headers: bool = True) -> None:
    """A table of ``items``, or just their references."""
    if output == "name":
        for item in items:
            print(printable(kind.reference(item)))
        return
    columns = kind.columns(wide=output == "wide")
    print_table([one.title for one in columns], [[one.cell(item) for one in columns] for item in items], headers=headers)


def print_document(body: object, output: str) -> None:
    """``body`` as the document ``output`` names, ``json`` or ``yaml``."""
    (print_yaml if output == "yaml" else print_json)(body)


def print_done(kind: Kind, item: Json, what: str, output: str | None) -> None:
    """That something was done to ``item``: ``user/alice created``, or the whole item where ``-o`` asks for it."""
    if output in ("json", "yaml"):
        print_document(item, output)
    elif output == "name":
        print(printable(kind.reference(item)))
    else:
        print(printable(f"{kind.reference(item)} {what}"))


def print_fields(pairs: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Labels and values in two columns, a value of several lines under itself."""
    rows = [
        [f"{label}:" if number == 0 else "", printable(line)] for label, lines in pairs for number, line in enumerate(lines)
    ]
    for line in plain_lines(rows):
        print(line)

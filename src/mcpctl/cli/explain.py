"""``mcpctl explain``: kubectl's word for what may be written. Here, of proxy models: the stages, and the options of each.

It speaks of what is installed here and asks no control plane.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import rich_click as click

from mcpctl.cli.flags import output_flag
from mcpctl.cli.output import print_json, yaml_text
from mcpctl.cli.stage_flags import as_flag, complete_stage_names
from mcpctl.cli.tables import plain_lines, print_table
from mcpctl.cli.terminal import printable, say
from mcpctl.cli.verbs import VerbGroup
from mcpctl.errors import InvalidInput, nearest
from mcpctl.proxy_models.detectors import DETECTORS
from mcpctl.proxy_models.stages import StageDescription, builtin_stages, known_stages, left_out_stages


@click.group(cls=VerbGroup, short_help="Explain what can be written in a proxy model.")
def explain() -> None:
    """Explain what can be written in a proxy model.

    Examples:
      mcpctl explain proxymodel
    """


@explain.command("proxymodel", short_help="The stages, and what each takes.")
@click.argument(
    "stage", required=False, metavar="[STAGE]", shell_complete=complete_stage_names, help="One stage; all of them if left out."
)
@output_flag("json")
def explain_proxymodel(stage: str | None, output: str | None) -> None:
    """List the stages a proxy model can have, or say what one of them takes.

    Stages of other packages are among them where such a package is installed beside mcpctl.

    Examples:
      mcpctl explain proxymodel
      mcpctl explain proxymodel truncate
      mcpctl explain proxymodel redact -o json
    """
    stages = known_stages()
    if stage is None:
        if output == "json":
            print_json({"stages": [_document(one) for one in stages], "leftOut": dict(left_out_stages())})
            return
        print("A proxy model is a list of stages. Results of tools pass them in order.\n")
        rows = [[one.name, one.summary, _source(one)] for one in stages]
        print_table(["STAGE", "WHAT IT DOES", "FROM"], rows)
        print("\nWhat one takes: mcpctl explain proxymodel STAGE")
        for point, why in left_out_stages().items():
            say(f"left out: {printable(point)}: {printable(why)}")
        return
    found = next((one for one in stages if one.name == stage), None)
    if found is None:
        close = nearest(stage, [one.name for one in stages])
        hint = f"; did you mean {close!r}?" if close else f"; there are {', '.join(one.name for one in stages)}"
        raise InvalidInput(f"there is no stage {stage!r} here{hint}")
    if output == "json":
        print_json(_document(found))
        return
    for line in page(found):
        print(printable(line))


def _document(stage: StageDescription) -> dict[str, Any]:
    schema = dict(stage.options_schema)
    return {"name": stage.name, "summary": stage.summary, "source": _source(stage), "optionsSchema": schema}


def _source(stage: StageDescription) -> str:
    return "builtin" if stage in builtin_stages() else "a package"


def page(stage: StageDescription) -> Iterator[str]:
    """All there is to say about a stage, line by line."""
    yield f"{stage.name}: {stage.summary}"
    if note := stage.options_schema.get("description"):
        yield str(note)
    yield ""
    rows = list[list[str]]()
    for name, what, default, meaning in options(stage):
        rows += [[name, f"{what}; {default if default in ('required', 'optional') else f'default {default}'}"], ["", meaning]]
    yield "Options:" if rows else "It takes no options."
    yield from (f"  {line}" for line in plain_lines(rows))
    if stage.name == "redact":
        yield from ("", "Detectors:")
        yield from (f"  {line}" for line in plain_lines([[name, meaning] for name, meaning in DETECTORS.items()]))
    examples = [one for one in stage.options_schema.get("examples", ()) if isinstance(one, Mapping)]
    uses = [{"stage": stage.name, "options": dict(one)} for one in examples] or [{"stage": stage.name, "options": {}}]
    yield from ("", "As flags:")
    yield from (f"  mcpctl create proxymodel NAME --stage {_quoted(as_flag(use))}" for use in uses)
    yield from ("", "In a file, for 'mcpctl apply -f':")
    whole = {"kind": "proxymodel", "name": "NAME", "stages": [uses[-1]]}
    yield from (f"  {line}" for line in yaml_text(whole).splitlines())


def options(stage: StageDescription) -> Iterator[tuple[str, str, str, str]]:
    """Each option of a stage, and what is in those that are lists of objects: its name, values, default and meaning."""
    yield from _below("", stage.options, stage.options_schema.get("required", ()))


def _below(above: str, schemas: Mapping[str, Mapping[str, Any]], required: Any) -> Iterator[tuple[str, str, str, str]]:
    for name, schema in schemas.items():
        without = "required" if name in required else "optional"
        default = as_default(schema["default"]) if "default" in schema and name not in required else without
        yield above + name, kind_of(schema), default, str(schema.get("description", ""))
        items = schema.get("items", {})
        yield from _below(f"{above}{name}[].", items.get("properties", {}), items.get("required", ()))


def kind_of(schema: Mapping[str, Any]) -> str:
    """What values an option takes, in words."""
    if words := schema.get("enum"):
        return "one of " + ", ".join(map(str, words))
    kind = schema.get("type")
    if kind in ("integer", "number"):
        what = "a whole number" if kind == "integer" else "a number"
        least, most = schema.get("minimum"), schema.get("maximum")
        if least is not None and most is not None:
            return f"{what}, {least} to {most}"
        return what + (f", {least} or more" if least is not None else f", {most} or less" if most is not None else "")
    words_for = {"string": "text", "boolean": "true or false", "array": "a list", "object": "an object"}
    found = words_for.get(str(kind), "a value")
    return f"{found} of at most {schema['maxLength']} characters" if kind == "string" and "maxLength" in schema else found


def as_default(value: Any) -> str:
    """A default, short."""
    if value == list(DETECTORS):
        return "all of them"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value in ([], ""):
        return "none"
    return str(value)


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)

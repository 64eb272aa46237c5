"""RBAC definitions: named sets of subjects and role bindings, and nothing but policy lines underneath."""

from __future__ import annotations

from pydantic import Field

from mcpctl.wire.shapes import Answer, BindingText, Name, Request, SubjectName


class DefinitionBody(Request):
    """What a definition says from now on."""

    name: Name | None = Field(default=None, description="may be left out; if given it is the name in the path")
    subjects: list[SubjectName] = Field(min_length=1, max_length=1000)
    role_bindings: list[BindingText] = Field(min_length=1, max_length=200)


class NewDefinition(DefinitionBody):
    """A definition to be made."""

    name: Name


class Definition(Answer):
    """A definition as it is listed."""

    name: str
    subjects: list[str]
    role_bindings: list[str]
    origin: str = Field(description="rbac:NAME; mcptoken:ID for the lines a token owns, which are read-only here")
    read_only: bool

"""Secrets: named sets of values that servers use and nobody reads back."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from mcpctl.wire.shapes import Answer, Name, Request, Time, said


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character NUL is not allowed")
    return text


def _key(text: str) -> str:
    if not re.fullmatch(KEY_PATTERN, text):
        raise ValueError("a key of a secret is 1 to 128 of A-Z a-z 0-9 . _ -")
    return text


KEY_PATTERN: Final = r"[A-Za-z0-9._-]{1,128}"
SecretKey = Annotated[str, AfterValidator(_key), said("1 to 128 of A-Z a-z 0-9 . _ -", KEY_PATTERN)]
SecretText = Annotated[str, StringConstraints(min_length=1, max_length=65_536), AfterValidator(_no_nul)]


class SecretBody(Request):
    """The values from now on; keys left out are gone."""

    values: dict[SecretKey, SecretText] = Field(min_length=1, max_length=50, json_schema_extra={"additionalProperties": False})


class SecretPatch(Request):
    """Values to keep, and ``null`` for keys to forget; keys left out stay as they are."""

    values: dict[SecretKey, SecretText | None] = Field(
        min_length=1, max_length=50, json_schema_extra={"additionalProperties": False}
    )


class NewSecret(SecretBody):
    """A secret to be kept."""

    name: Name


class Secret(Answer):
    """A secret as it is listed: its keys, never a value."""

    id: str
    name: str
    keys: list[str]
    servers: list[str] = Field(description="that use it, as far as the asker may view these")
    created_at: Time
    updated_at: Time

"""What all shapes share: how members are named, what is refused, and the types of names and times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic.alias_generators import to_camel

from mcpctl.errors import InvalidInput
from mcpctl.policy import names

Item = TypeVar("Item")


class Request(BaseModel):
    """A body or query somebody sent. Unknown members and wrong types are refused; nothing is coerced."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


class Answer(BaseModel):
    """A body that is sent back."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Page(Answer, Generic[Item]):
    """One page of a list. ``nextCursor`` fetches the next one and is ``null`` on the last."""

    items: list[Item]
    next_cursor: str | None = None


def rfc3339(moment: datetime) -> str:
    """A time as it crosses the wire: UTC, whole milliseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _no_control_characters(text: str) -> None:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text.replace("\n", "").replace("\t", "")):
        raise InvalidInput("control characters are not allowed")


def _ruled(check: Callable[[str], object]) -> AfterValidator:
    def validate(text: str) -> str:
        try:
            check(text)
        except InvalidInput as error:
            raise ValueError(error.detail) from None
        return text

    return AfterValidator(validate)


Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
Name = Annotated[str, _ruled(names.check_name), Field(description=names.NAME_RULE)]
UserName = Annotated[str, _ruled(names.check_user_name), Field(description=names.USER_RULE)]
ServerName = Annotated[str, _ruled(names.check_server_name), Field(description=names.SERVER_RULE)]
SubjectName = Annotated[
    str, _ruled(names.parse_subject), Field(description="User:<name>, Group:<name> or McpToken:<sha256 hex>")
]
BindingText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000),
    Field(description="role:<role>,resource:<resource>[,name:<name>][,effect:deny] or action:<operation>[,name:<project>]"),
]
Whole = Annotated[
    int,
    BeforeValidator(lambda text: int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else text),
    Field(ge=1, le=1000),
]
"""A count in a query, where everything is text."""
Text = Annotated[str, StringConstraints(max_length=1000), _ruled(_no_control_characters)]
Password = Annotated[str, StringConstraints(min_length=8, max_length=1024), Field(description="8 to 1024 characters")]
Lifetime = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Field(description="how long: 30d, 12h, 45m, 'never', or an ISO date and time with zone", examples=["30d"]),
]

"""What all shapes share: how members are named, what is refused, and the types of names and times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

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


def said(rule: str, pattern: str) -> FieldInfo:
    """What the OpenAPI document says of a text; the check itself is our own, whose sentences a person can act on."""
    said: FieldInfo = Field(description=rule, json_schema_extra={"pattern": f"^{pattern}$"})
    return said


def _a_user(text: str) -> None:
    if names.parse_subject(text).kind != "User":
        raise InvalidInput(f"{text} is no user; members are User:<name>")


_SUBJECT_PATTERN = f"(?:User:{names.USER_PATTERN}|Group:{names.NAME_PATTERN}|McpToken:[0-9a-f]{{64}})"

Time = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=Annotated[str, Field(json_schema_extra={"format": "date-time"})]),
]
Name = Annotated[str, _ruled(names.check_name), said(names.NAME_RULE, names.NAME_PATTERN)]
UserName = Annotated[str, _ruled(names.check_user_name), said(names.USER_RULE, names.USER_PATTERN)]
ServerName = Annotated[
    str, _ruled(names.check_server_name), said(names.SERVER_RULE, f"(?!.*__)(?!{names.RESERVED_SERVER}$){names.NAME_PATTERN}")
]
SubjectName = Annotated[
    str,
    _ruled(names.parse_subject),
    said("User:<name>, Group:<name> or McpToken:<sha256 hex>", _SUBJECT_PATTERN),
]
MemberName = Annotated[str, _ruled(_a_user), said("User:<name>", f"User:{names.USER_PATTERN}")]
BindingText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000),
    Field(
        description="role:<role>,resource:<resource>[,name:<name>][,effect:deny] or action:<operation>[,name:<project>]",
        json_schema_extra={"format": "role-binding"},
    ),
]
Whole = Annotated[
    int,
    Field(ge=1, le=1000),
    BeforeValidator(lambda text: int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else text),
]
"""A count in a query, where everything is text."""
Text = Annotated[
    str,
    StringConstraints(max_length=1000),
    _ruled(_no_control_characters),
    said("no control characters but line feed and tab", r"[^\u0000-\u0008\u000b-\u001f\u007f]*"),
]
Password = Annotated[str, StringConstraints(min_length=8, max_length=1024), Field(description="8 to 1024 characters")]
Lifetime = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Field(
        description="how long: 30d, 12h, 45m, 'never', or an ISO date and time with zone",
        examples=["30d"],
        json_schema_extra={"format": "lifetime"},
    ),
]
Moment = Annotated[str, Field(json_schema_extra={"format": "moment"})]
"""A date and time with zone, or a duration back from now; what looks at it reads it."""

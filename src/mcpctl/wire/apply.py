"""Many things in one request: what each shall be, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcpctl.wire.catalog import NewServer, ProjectBody
from mcpctl.wire.people import NewUser
from mcpctl.wire.proxy_models import NewProxyModel
from mcpctl.wire.rbac import NewDefinition
from mcpctl.wire.secrets import SecretKey, SecretText
from mcpctl.wire.shapes import Answer, MemberName, Name, Request

KindWord = Literal["user", "group", "secret", "proxymodel", "server", "project", "rbac"]
"""What can be applied, in the order in which it is. A token cannot be: its secret is shown once, to whoever mints it."""


class UserItem(NewUser):
    """A user. The password is for one who is to be made; whoever is there keeps theirs."""

    kind: Literal["user"]
    disabled: bool | None = Field(default=None, description="left out, it stays as it is")


class GroupItem(Request):
    """A group and who is in it."""

    kind: Literal["group"]
    name: Name
    members: list[MemberName] | None = Field(default=None, max_length=10_000, description="left out, they stay as they are")


class SecretItem(Request):
    """A secret: the keys it has. Those without a value here keep theirs, as nobody can read it back."""

    kind: Literal["secret"]
    name: Name
    keys: list[SecretKey] = Field(default=[], max_length=50, description="those in values need not be named again")
    values: dict[SecretKey, SecretText] = Field(default={}, max_length=50, json_schema_extra={"additionalProperties": False})


class ProxyModelItem(NewProxyModel):
    """A proxy model, whole: what is left out is not there."""

    kind: Literal["proxymodel"]


class ServerItem(NewServer):
    """A server, whole: what is left out is not there."""

    kind: Literal["server"]


class ProjectItem(ProjectBody):
    """A project. What is left out stays as it is; a proxy model of ``null`` is taken out."""

    kind: Literal["project"]
    name: Name


class DefinitionItem(NewDefinition):
    """An RBAC definition, whole."""

    kind: Literal["rbac"]


ItemShape = UserItem | GroupItem | SecretItem | ProxyModelItem | ServerItem | ProjectItem | DefinitionItem


def _no_token(item: Any) -> Any:
    if isinstance(item, dict) and item.get("kind") == "mcptoken":
        raise ValueError("a token cannot be applied: its secret is shown once, to whoever mints it")
    return item


AnyItem = Annotated[ItemShape, Field(discriminator="kind"), BeforeValidator(_no_token)]


class ApplyBody(Request):
    """``POST /api/v1/apply``: all of it or nothing."""

    items: list[AnyItem] = Field(min_length=1, max_length=1000)
    prune: list[KindWord] = Field(
        default=[],
        max_length=7,
        description="delete what is of these kinds and not among the items, as far as the asker may view it",
    )
    dry_run: bool = Field(default=False, description="do all of it, and then take it back")
    revision: int | None = Field(
        default=None, ge=0, le=2**53, description="go on only if this is still the revision in force, as a dry run answered it"
    )


class Applied(Answer):
    """What came of one item."""

    kind: KindWord
    name: str
    result: Literal["created", "changed", "unchanged", "pruned"]
    differs: list[str] = Field(description="the members that are not what they were; of a secret, the keys as values.KEY")
    before: dict[str, Any] | None = Field(description="the item that would bring it back as it was; null where nothing was")
    after: dict[str, Any] | None = Field(description="likewise as it is now; null of what was pruned")


class ApplyResult(Answer):
    """What came of all of them, in the order of the request, and then what was pruned."""

    items: list[Applied]
    dry_run: bool
    revision: int = Field(description="the one this was judged at")

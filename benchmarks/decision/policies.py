"""A policy of any size: the same first lines whatever comes after, so a subject keeps its lines while the policy grows.

It comes in blocks: two groups, and fifty households of an owner in both groups and a token. Token and owner have slices of
15 lines each; in a policy of 10 lines the first household has what there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import chain, count
from random import Random
from string import ascii_letters, digits
from typing import Final

from mcpctl.policy.slices import Rule
from mcpctl.policy.vocabulary import ALLOW, DENY, Effect
from mcpctl.services.token_secret import TOKEN_PREFIX

SEED: Final = 20250101
BLOCK: Final = 50
SERVERS: Final = tuple(f"server-{number:02}" for number in range(20))
PROJECTS: Final = tuple(f"project-{number:02}" for number in range(20))
ATTACHED: Final = 5

Question = tuple[str, str, str]


def attached(project: int) -> tuple[str, ...]:
    """The servers of the project of this number."""
    return tuple(SERVERS[(project + step) % len(SERVERS)] for step in range(ATTACHED))


@dataclass(frozen=True)
class Household:
    """An owner, the groups it is in, and its token."""

    number: int

    @property
    def user(self) -> str:
        """The owner's name."""
        return f"user-{self.number}"

    @property
    def groups(self) -> tuple[str, str]:
        """The names of the owner's groups."""
        block = self.number // BLOCK
        return f"group-{block}-a", f"group-{block}-b"

    @property
    def project(self) -> int:
        """The number of the token's project."""
        return self.number % len(PROJECTS)

    @cached_property
    def bearer(self) -> str:
        """The token's raw secret."""
        return TOKEN_PREFIX + "".join(Random(SEED + self.number).choices(ascii_letters + digits, k=43))

    @cached_property
    def sha(self) -> str:
        """The SHA-256 of that."""
        return sha256(self.bearer.encode()).hexdigest()

    @property
    def token(self) -> str:
        """The token's subject."""
        return f"McpToken:{self.sha}"

    @property
    def owner(self) -> str:
        """The owner's subject."""
        return f"User:{self.user}"

    @property
    def everyone(self) -> tuple[str, ...]:
        """All subjects whose lines decide about the token."""
        return self.token, self.owner, *(f"Group:{group}" for group in self.groups)

    def lines(self) -> Iterator[Rule]:
        """15 of the token and 9 of the owner, in turns, so a short policy has some of both."""
        token, mine = self.token, attached(self.project)
        given = [(f"{server}/{tools}", "run") for server in mine for tools in ("get_*", "list_*", "search")]
        own: list[tuple[str, str, str, Effect]] = [
            *(("run", "servers", f"{server}/get_*", ALLOW) for server in mine),
            ("run", "servers", f"{mine[0]}/list_*", ALLOW),
            ("run", "servers", f"{mine[1]}/delete_*", DENY),
            ("view", "projects", PROJECTS[self.project], ALLOW),
            ("edit", "secrets", f"of-{self.user}", ALLOW),
        ]
        for index, (name, role) in enumerate(given):
            yield Rule(token, role, "servers", name, ALLOW, f"mcptoken:{self.number}")
            if index < len(own):
                yield Rule(self.owner, *own[index], f"rbac:of-{self.user}")

    def questions(self, tools: Iterator[int]) -> Iterator[Question]:
        """Questions of the gateway's kind, each about a tool nobody asked about: four in five are allowed."""
        mine = attached(self.project)
        for number in tools:
            server = mine[number % len(mine)]
            yield "run", "servers", f"{server}/{'drop' if number % 5 == 4 else 'get'}_{number}"


def groups(block: int) -> Iterator[Rule]:
    """The lines of the two groups of a block."""
    for group in Household(block * BLOCK).groups:
        for role, resource, name in (("view", "servers", "*"), ("run", "servers", "server-00"), ("view", "mcptokens", "*")):
            yield Rule(f"Group:{group}", role, resource, name, ALLOW, f"rbac:of-{group}")


def households(block: int) -> list[Household]:
    """The fifty of a block."""
    return [Household(number) for number in range(block * BLOCK, (block + 1) * BLOCK)]


def rules() -> Iterator[Rule]:
    """All lines there could be, in order."""
    return chain.from_iterable(chain(groups(block), *(home.lines() for home in households(block))) for block in count())


LINES_PER_BLOCK: Final = sum(1 for _ in groups(0)) + sum(sum(1 for _ in home.lines()) for home in households(0))


def complete(size: int) -> int:
    """How many households have all their lines within the first ``size`` lines of the policy."""
    return max(1, size // LINES_PER_BLOCK * BLOCK)

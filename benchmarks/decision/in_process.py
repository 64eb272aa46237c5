"""Decisions in memory: asked before, asked for the first time, and the same question to the peers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count, islice, repeat
from typing import Final

from benchmarks.decision import peers, policies
from benchmarks.decision.policies import Household, Question
from benchmarks.rounds import TOO_SLOW, Measured, Work, in_turns
from mcpctl.policy.decision import Authority, decide
from mcpctl.policy.files import PolicyFiles

REMEMBERED: Final = "decide, remembered"
FRESH: Final = "decide, fresh"
STOCK: Final = "stock Enforcer, all lines"
STOCK_SLICE: Final = "stock Enforcer, the token's lines"
CEDAR: Final = "cedarpy, the token's lines"

ROUNDS: Final = 15
ASKED_AGAIN: Final = 64


def measure(policy: PolicyFiles, authority: Authority, size: int, stock_expected: float) -> dict[str, Measured]:
    """Every way to decide, in turns, with ``size`` lines in the policy.

    Args:
        policy: the model and the roles.
        authority: of the first household's token, as the product built it from the database.
        size: lines of the whole policy.
        stock_expected: the seconds stock Casbin will need for one decision; where that is too slow it is left out.
    """
    home = Household(0)
    tools = count()
    lines = list(islice(policies.rules(), size if stock_expected < TOO_SLOW else policies.LINES_PER_BLOCK))
    mine = [rule for rule in lines if rule.sub == home.token]
    works: dict[str, Work] = {
        REMEMBERED: partial(_again, authority, list(islice(home.questions(tools), ASKED_AGAIN))),
        FRESH: partial(_first, lambda question: bool(decide(authority, *question)), home, tools),
    }
    asks: dict[str, Callable[[Question], bool]] = {}
    if stock_expected < TOO_SLOW:
        whole = peers.stock(policy, lines, [(home.owner, f"Group:{group}") for group in home.groups])
        asks[STOCK] = lambda question: bool(whole.enforce(home.token, *question))
    alone = peers.stock(policy, mine, [])
    asks[STOCK_SLICE] = lambda question: bool(alone.enforce(home.token, *question))
    if cedar := peers.cedar(mine, home.token):
        asks[CEDAR] = cedar
    if size >= 100:  # below that the token lacks some of its lines, and Cedar knows no roles
        _must_agree(authority, asks, list(islice(home.questions(tools), 5)))
    works |= {name: partial(_first, ask, home, tools) for name, ask in asks.items()}
    return in_turns(works, ROUNDS, 3.0)


def _again(authority: Authority, known: list[Question], calls: int) -> Callable[[], object]:
    def run() -> None:
        for _ in repeat(None, calls // len(known) + 1):
            for action, resource, name in known:
                decide(authority, action, resource, name)

    return run


def _first(ask: Callable[[Question], bool], home: Household, tools: count[int], calls: int) -> Callable[[], object]:
    questions = list(islice(home.questions(tools), calls))
    return lambda: deque(map(ask, questions), maxlen=0)


def _must_agree(authority: Authority, asks: dict[str, Callable[[Question], bool]], questions: list[Question]) -> None:
    for question in questions:
        expected = bool(decide(authority, *question))
        wrong = [name for name, ask in asks.items() if ask(question) != expected]
        if wrong:
            raise AssertionError(f"{wrong} do not say {expected} to {question}: then there is nothing to compare")

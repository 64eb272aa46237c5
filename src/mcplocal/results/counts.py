"""What happened to results, counted in this process. Whoever serves metrics reads it; nobody else writes here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

StageOutcome = Literal["changed", "unchanged", "failed", "timeout"]
CacheOutcome = Literal["hit", "miss", "stored", "damaged", "unavailable", "evicted"]


@dataclass
class ResultCounts:
    """Counters since the start.

    Attributes:
        stages: results by stage and what became of them there.
        cache: look-ups and writes by what became of them; ``unavailable`` is a directory or disk that does not serve.
        pages: pages read: ``given``, or ``refused`` because there is no such page for the caller.
        summarizer_tokens: tokens the language model was paid for, as it says or as it is estimated.
    """

    stages: Counter[tuple[str, StageOutcome]] = field(default_factory=Counter)
    cache: Counter[CacheOutcome] = field(default_factory=Counter)
    pages: Counter[Literal["given", "refused"]] = field(default_factory=Counter)
    summarizer_tokens: int = 0

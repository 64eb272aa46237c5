"""The proxy models a project and its servers name, as the control plane describes them, and what two of them make together.

A server's stages come first, then the project's, so nobody who writes a server's model gets past the ``redact`` of a project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mcpctl.policy.patterns import covers
from mcplocal.json_text import write

PAGE_TOOL: Final = "mcplocal__next_page"
"""The one tool the gateway adds. No server can be called ``mcplocal``."""

MAKES_PAGES: Final = frozenset(("paginate", "summarize"))
"""Stages that keep text which is read page by page."""


@dataclass(frozen=True)
class ModelCache:
    """What of a model's results is cached.

    Attributes:
        ttl: seconds.
        tools: patterns of tools below servers, beside those that their servers declare to be safe to repeat.
    """

    ttl: float
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProxyModel:
    """One proxy model: named stages with their options, and its cache."""

    name: str
    stages: tuple[tuple[str, Mapping[str, Any]], ...]
    cache: ModelCache | None = None


@dataclass(frozen=True, eq=False)
class Shape:
    """What becomes of the results of one server in one project.

    Attributes:
        models: the server's and the project's, as far as they name one.
        missing: a model that is named and was not described. Nothing is passed on then: it might have taken something out.
        stages: of all models, in order.
        cache: whether and what to cache: all models must allow it, the shortest time counts.
        key: says everything of the above; two shapes with the same key do the same.
        makes_pages: whether some text may have to be read page by page.
        keeps_structure: whether what a tool declares of its structured content stays true.
    """

    models: tuple[ProxyModel, ...]
    missing: str | None
    stages: tuple[tuple[str, Mapping[str, Any]], ...]
    cache: ModelCache | None
    key: str
    makes_pages: bool
    keeps_structure: bool

    def caches(self, asked: str, repeats_safely: bool) -> bool:
        """Whether results of the tool that is asked about as ``asked`` are cached.

        Args:
            asked: ``<server>/<tool>``.
            repeats_safely: whether its server declares it read-only or idempotent.
        """
        cache = self.cache
        return cache is not None and (repeats_safely or any(covers(pattern, asked) for pattern in cache.tools))


def shape_of(known: Mapping[str, ProxyModel], named: Sequence[str | None]) -> Shape | None:
    """What the models ``named`` make together, in this order; ``None`` where none is named.

    Args:
        known: what the control plane described.
        named: the server's model, then the project's.
    """
    wanted = [name for name in named if name is not None]
    if not wanted:
        return None
    models = tuple(known[name] for name in wanted if name in known)
    missing = next((name for name in wanted if name not in known), None)
    stages = tuple(stage for model in models for stage in model.stages)
    caches = [model.cache for model in models]
    allowed = [cache for cache in caches if cache is not None]
    cache = None
    if allowed and len(allowed) == len(caches) and missing is None:
        cache = ModelCache(min(one.ttl for one in allowed), tuple(tool for one in allowed for tool in one.tools))
    # Both lists, not only their sum: that a stage moved from one model to the other is another configuration.
    told = [[[[name, dict(options)] for name, options in model.stages], _told(model.cache)] for model in models]
    return Shape(
        models,
        missing,
        stages,
        cache,
        write([told, missing]),
        any(name in MAKES_PAGES for name, _ in stages),
        all(_keeps_structure(name, options) for name, options in stages),
    )


def _told(cache: ModelCache | None) -> Any:
    return None if cache is None else [cache.ttl, cache.tools]


def _keeps_structure(stage: str, options: Mapping[str, Any]) -> bool:
    return stage == "passthrough" or (stage == "compact-json" and not options.get("dropNulls", False))

"""What the control plane counts, by Prometheus' conventions, in one registry; ``/metrics`` on its own listener shows it."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY: Final = CollectorRegistry()

POLICY_RELOADS: Final = Counter(
    "mcpctl_policy_reloads",
    "Changes of the policy directory: adopted, or refused because of findings.",
    ["result"],
    registry=REGISTRY,
)
POLICY_CURRENT: Final = Gauge(
    "mcpctl_policy_files_current",
    "1 if what stands in the policy directory is in force, 0 if the last good files are.",
    registry=REGISTRY,
)
SHADOW_DECISIONS: Final = Counter(
    "mcpctl_shadow_decisions",
    "Decisions asked of the candidate policy too: same, or gained or lost by it.",
    ["difference"],
    registry=REGISTRY,
)
POLICY_CURRENT.set(1)

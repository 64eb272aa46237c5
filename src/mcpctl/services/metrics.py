"""What the control plane counts. The counters are this process's; what is so at a moment is asked for at the scrape.

Each metric stands in ``METRICS``, from which docs/metrics.md is written.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import event
from sqlalchemy.orm import Session as Db

from mcpctl.metrics import OTHER, Counter, Histogram, Metric
from mcpctl.policy.decision import Decision
from mcpctl.policy.vocabulary import RESOURCES
from mcpctl.store.schema import AuditRow

UNMATCHED: Final = "unmatched"
"""The route of a request that no operation has."""

_ROUTE: Final = "the path of docs/api.md with its parameters as they stand there; `unmatched` if there is no such path"
_METHOD: Final = "of the route; of an unmatched path `other`"

BUILD_INFO: Final = Metric("mcpctl_build_info", "gauge", "Always 1; which version runs.", {"version": "the one installed"})
READY: Final = Metric(
    "mcpctl_ready", "gauge", "1 if /readyz would say yes, as far as that is known without asking the database."
)
REVISION: Final = Metric("mcpctl_policy_revision", "gauge", "The policy revision this process decides by.")
FEED_AGE: Final = Metric(
    "mcpctl_policy_feed_age_seconds", "gauge", "Since the revision was last read: after 1 s nothing remembered is trusted."
)
FILES_BEHIND: Final = Metric(
    "mcpctl_policy_files_behind", "gauge", "1 if another replica has put other policy files in force: nothing is answered then."
)
FILES_CURRENT: Final = Metric(
    "mcpctl_policy_files_current",
    "gauge",
    "1 if what stands in the policy directory is in force, 0 if the last good files are.",
)
WATCHERS: Final = Metric("mcpctl_watch_listeners", "gauge", "Open streams of /api/v1/watch.")
PRINCIPALS: Final = Metric("mcpctl_remembered_principals", "gauge", "Bearers whose authority is remembered.")
CONNECTIONS: Final = Metric(
    "mcpctl_database_connections", "gauge", "Connections of the pool to the database.", {"state": "`in_use` or `idle`"}
)
CONNECTIONS_MOST: Final = Metric("mcpctl_database_connections_limit", "gauge", "The most connections the pool opens.")

REQUESTS: Final = Counter(
    Metric(
        "mcpctl_http_requests_total",
        "counter",
        "Requests that were answered.",
        {"route": _ROUTE, "method": _METHOD, "status": "of HTTP"},
    )
)
DURATIONS: Final = Histogram(
    Metric(
        "mcpctl_http_request_duration_seconds",
        "histogram",
        "From the head of a request to its answer; of a stream, to its beginning.",
        {"route": _ROUTE, "method": _METHOD},
    )
)
REFUSALS: Final = Counter(
    Metric("mcpctl_refusals_total", "counter", "Answers that are a problem.", {"reason": "a code of docs/errors.md"})
)
DECISIONS: Final = Counter(
    Metric(
        "mcpctl_decisions_total",
        "counter",
        "Decisions of guards, and those asked for by other programs.",
        {"resource": "a resource of docs/vocabulary.md", "outcome": "`allowed` or `refused`"},
    )
)
CEILING_REFUSALS: Final = Counter(
    Metric(
        "mcpctl_ceiling_refusals_total",
        "counter",
        "Writes refused because they would have given what the giver does not hold.",
        {"door": "the operation of /openapi.json that would have given it"},
    )
)
THROTTLED: Final = Counter(
    Metric(
        "mcpctl_throttled_total",
        "counter",
        "Attempts that had to wait, or were turned away, because others before had failed.",
        {"kind": "`login` or `bearer`"},
    )
)
AUDIT_ROWS: Final = Counter(
    Metric("mcpctl_audit_rows_total", "counter", "Audit rows this process has written, those that gateways reported included.")
)
POLICY_RELOADS: Final = Counter(
    Metric(
        "mcpctl_policy_reloads_total",
        "counter",
        "Changes of the policy directory.",
        {"result": "`adopted`, or `refused` because of findings"},
    )
)
SHADOW_DECISIONS: Final = Counter(
    Metric(
        "mcpctl_shadow_decisions_total",
        "counter",
        "Decisions asked of the candidate policy too.",
        {"difference": "`same`, `gained` or `lost` by it, or `dropped` because it was asked too much"},
    )
)

COUNTED: Final = (
    REQUESTS,
    DURATIONS,
    REFUSALS,
    DECISIONS,
    CEILING_REFUSALS,
    THROTTLED,
    AUDIT_ROWS,
    POLICY_RELOADS,
    SHADOW_DECISIONS,
)
"""The counters, each with its metric."""

METRICS: Final = (
    BUILD_INFO,
    READY,
    REVISION,
    FEED_AGE,
    FILES_CURRENT,
    FILES_BEHIND,
    WATCHERS,
    PRINCIPALS,
    CONNECTIONS,
    CONNECTIONS_MOST,
    *(one.metric for one in COUNTED),
)
"""Every metric of the control plane."""

_ADDED: Final = "audit rows"
"""Under this name a session keeps how many it has added and not yet committed."""


def count_decision(decision: Decision) -> None:
    """Count what was decided."""
    resource = decision.resource if decision.resource in RESOURCES else OTHER
    DECISIONS.add(resource, "allowed" if decision.allowed else "refused")


def note_audit_rows(db: Db, number: int) -> None:
    """Count ``number`` rows once ``db`` commits; rows that the session itself writes are counted without."""
    db.info[_ADDED] = db.info.get(_ADDED, 0) + number


@event.listens_for(Db, "after_flush")
def _see_audit_rows(db: Db, _context: object) -> None:
    if added := sum(isinstance(one, AuditRow) for one in db.new):
        note_audit_rows(db, added)


@event.listens_for(Db, "after_commit")
def _count_audit_rows(db: Db) -> None:
    if added := db.info.pop(_ADDED, 0):
        AUDIT_ROWS.add(amount=added)


@event.listens_for(Db, "after_rollback")
def _forget_audit_rows(db: Db) -> None:
    db.info.pop(_ADDED, None)

"""What one gateway counts. Each gateway has its own ``Metrics``; ``mcplocal.metrics_page`` shows them with what is so now.

Label values are server names, which the control plane bounds, and enumerations: never a tool, a path, a user, a token or a
project that somebody merely asked for. Another room that counts (``mcplocal.results``) has a tuple of ``Metric`` of its own,
which ``mcplocal.metrics_page`` adds to ``METRICS``, and hands its series over with ``Metrics.also_show``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

from mcpctl.metrics import OTHER, Counter, Histogram, Metric, Series
from mcplocal import wire

_SERVER: Final = "a server of a project in use; `none` where there is no such thing as was asked for"

BUILD_INFO: Final = Metric("mcplocal_build_info", "gauge", "Always 1; which version runs.", {"version": "the one installed"})
READY: Final = Metric("mcplocal_ready", "gauge", "1 if /readyz says yes.")
REVISION: Final = Metric("mcplocal_policy_revision", "gauge", "The policy revision last heard of; -1 before the first.")
FEED_AGE: Final = Metric(
    "mcplocal_policy_feed_age_seconds",
    "gauge",
    "Since the last heartbeat of the control plane: after 1 s each request is introspected anew. +Inf before the first.",
)
CALLERS: Final = Metric("mcplocal_remembered_callers", "gauge", "Principals whose authority is remembered.")
SESSIONS: Final = Metric("mcplocal_sessions", "gauge", "Sessions of the handshake's era.")
STREAMS: Final = Metric(
    "mcplocal_streams",
    "gauge",
    "Open streams without an end.",
    {"kind": "`session` (GET) or `subscription` (subscriptions/listen)"},
)
UNDER_WAY: Final = Metric("mcplocal_watched", "gauge", "Calls and streams under way, whose rights are watched meanwhile.")
SPOOLED: Final = Metric("mcplocal_audit_spool_events", "gauge", "Audit events in memory that wait for delivery.")
SPOOLED_BYTES: Final = Metric("mcplocal_audit_spool_bytes", "gauge", "Audit events on disk that wait for delivery.")
UPSTREAM_STATUS: Final = Metric(
    "mcplocal_upstream_status",
    "gauge",
    "1 for the status of the server as `mcpctl get instances` shows it, 0 for the others.",
    {"server": "a server of a project in use", "status": "`STARTING`, `RUNNING`, `DEGRADED`, `UNREACHABLE` or `ERROR`"},
)
UPSTREAM_TOOLS: Final = Metric(
    "mcplocal_upstream_tools", "gauge", "Tools the server offers.", {"server": "a server of a project in use"}
)
UPSTREAM_LATENCY: Final = Metric(
    "mcplocal_upstream_latency_seconds",
    "gauge",
    "How long the server took for its last probe or list of tools.",
    {"server": "a server of a project in use"},
)
UPSTREAM_CONNECTIONS: Final = Metric(
    "mcplocal_upstream_connections",
    "gauge",
    "Connections or child processes; of a stateful server one for each session.",
    {"server": "a server of a project in use"},
)

METHODS: Final = frozenset(
    (
        "initialize",
        "ping",
        "server/discover",
        "logging/setLevel",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        wire.COMPLETE,
        *wire.NAMED_BY,
        wire.LISTEN,
    )
)
"""The methods that are told apart."""

_REJECTED: Final = {
    wire.PARSE_ERROR: "parse_error",
    wire.INVALID_REQUEST: "invalid_request",
    wire.METHOD_NOT_FOUND: "method_not_found",
    wire.INVALID_PARAMS: "invalid_params",
    wire.HEADER_MISMATCH: "header_mismatch",
    wire.MISSING_CAPABILITY: "missing_capability",
    wire.UNSUPPORTED_VERSION: "unsupported_version",
}

Listed = Literal["hit", "stale", "miss"]
Outcome = Literal["answered", "refused", "failed"]


class Metrics:
    """The counters of one gateway.

    Attributes:
        sessions: says how many sessions there are.
        streams: how many streams without an end are open, by kind.
    """

    def __init__(self) -> None:
        """Nothing is counted."""
        self.requests = Histogram(
            Metric(
                "mcplocal_request_duration_seconds",
                "histogram",
                "From the head of a request to the end of its answer; streams without an end are not in it.",
                {
                    "method": "of MCP, if it is known; `other`; `none` if the request was refused before its body was read",
                    "outcome": "`answered` (with a JSON-RPC error, too), `refused` or `failed`",
                },
            )
        )
        self.calls = Histogram(
            Metric(
                "mcplocal_call_duration_seconds",
                "histogram",
                "Calls of tools, prompts got, resources read and completions, from the request to the answer.",
                {
                    "server": _SERVER,
                    "outcome": "`ok`, `tool_error`, `refused`, `upstream_error` or `cancelled`, as in the audit",
                },
            )
        )
        self.decisions = Counter(
            Metric(
                "mcplocal_decisions_total",
                "counter",
                "Uses that were decided about; lists are not counted.",
                {"resource": "`tool`, `prompt` or `resource`", "outcome": "`allowed` or `refused`"},
            )
        )
        self.refusals = Counter(
            Metric(
                "mcplocal_refusals_total",
                "counter",
                "Requests and uses that were refused.",
                {
                    "reason": "of a use: `unknown`, `not_granted`, `denied`, `owner` (the token's owner may not), `project`, "
                    "`ended` (the right ended while it ran), `header_mismatch`, `request_state`; of a request: a code of "
                    "docs/errors.md or the name of a JSON-RPC code"
                },
            )
        )
        self.throttled = Counter(
            Metric("mcplocal_throttled_total", "counter", "Refusals of a bearer that were held back, as others came before.")
        )
        self.list_lookups = Counter(
            Metric(
                "mcplocal_list_cache_lookups_total",
                "counter",
                "Times the lists of a project's servers were needed.",
                {
                    "result": "`hit`: all were known; `stale`: an older one was used while it is fetched anew; `miss`: one "
                    "was waited for"
                },
            )
        )
        self.list_fetches = Counter(
            Metric(
                "mcplocal_list_fetches_total",
                "counter",
                "Lists asked of servers.",
                {"server": "a server of a project in use", "outcome": "`ok` or `failed`"},
            )
        )
        self.stdio_starts = Counter(
            Metric(
                "mcplocal_stdio_starts_total",
                "counter",
                "Child processes started; all but the first of a server that is not stateful are restarts.",
                {"server": "a server of a project in use"},
            )
        )
        self.audit_delivered = Counter(
            Metric("mcplocal_audit_events_delivered_total", "counter", "Audit events the control plane has taken.")
        )
        self.audit_lost = Counter(
            Metric("mcplocal_audit_events_lost_total", "counter", "Audit events given up: no room in memory or on disk.")
        )
        self.sessions: Callable[[], int] = lambda: 0
        self.streams = {"session": 0, "subscription": 0}
        self._others: list[Callable[[], Iterable[Series]]] = []

    def also_show(self, series: Callable[[], Iterable[Series]]) -> None:
        """Show what ``series`` gives at each scrape, too."""
        self._others.append(series)

    def answered(self, method: str, outcome: Outcome, seconds: float) -> None:
        """A request has been answered."""
        if method not in METHODS:
            method = OTHER if method else "none"
        if method != wire.LISTEN or outcome != "answered":
            self.requests.observe(seconds, method, outcome)

    @contextmanager
    def streaming(self, kind: Literal["session", "subscription"]) -> Iterator[None]:
        """Within the block a stream of that kind is open."""
        self.streams[kind] += 1
        try:
            yield
        finally:
            self.streams[kind] -= 1

    def rejected(self, code: int) -> None:
        """A message was refused with this JSON-RPC code."""
        self.refusals.add(_REJECTED.get(code, OTHER))

    @property
    def counted(self) -> tuple[Counter | Histogram, ...]:
        """The gateway's own counters."""
        return (
            self.requests,
            self.calls,
            self.decisions,
            self.refusals,
            self.throttled,
            self.list_lookups,
            self.list_fetches,
            self.stdio_starts,
            self.audit_delivered,
            self.audit_lost,
        )

    def series(self) -> Iterable[Series]:
        """All that has been counted, here and elsewhere."""
        yield from self.counted
        for others in self._others:
            yield from others()


METRICS: Final = (
    BUILD_INFO,
    READY,
    REVISION,
    FEED_AGE,
    CALLERS,
    SESSIONS,
    STREAMS,
    UNDER_WAY,
    SPOOLED,
    SPOOLED_BYTES,
    UPSTREAM_STATUS,
    UPSTREAM_TOOLS,
    UPSTREAM_LATENCY,
    UPSTREAM_CONNECTIONS,
    *(one.metric for one in Metrics().counted),
)
"""Every metric of the gateway itself."""

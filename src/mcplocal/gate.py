"""Who is asking, and what may they do: from a bearer to a ``Caller`` with its ``Authority``.

The decision itself is ``mcpctl.policy.decision.decide``, in process, on lines fetched once and kept until the feed says
that something they were built from has changed. While the feed is silent for more than a second every request is
introspected anew; while the control plane cannot be asked at all, what is known serves for ``MCPLOCAL_TRUST_FOR`` counted
from the last heartbeat, and then nothing does. No failure on this path ever ends in an empty identity: there is a
``Caller`` with an authority, or there is an exception.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from time import monotonic, time
from typing import Final, cast

import structlog

from mcpctl.errors import Forbidden, InvalidCredential, NotFound, Unauthenticated, Unavailable, Unreachable
from mcpctl.policy.decision import Authority, Decision, decide
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.slices import Roles, Rule, Slice
from mcpctl.policy.vocabulary import Effect
from mcpctl.wire.gateway import SliceOf, Slices
from mcpctl.wire.tokens import Introspection
from mcplocal.control.control_plane import ControlPlane
from mcplocal.control.policy_feed import Change, PolicyFeed
from mcplocal.offers.entries import Entry
from mcplocal.recent import Recent
from mcplocal.settings import Settings
from mcplocal.single_flight import SingleFlight

log = structlog.get_logger(__name__)

BEARER: Final = re.compile(r"mcpctl_(?:pat|ses)_[A-Za-z0-9_-]{16,200}")
"""What a bearer looks like. Anything else is refused here and the control plane is not asked about it."""

REMEMBERED_CALLERS: Final = 10_000
REMEMBERED_REFUSALS: Final = 1_000
REFUSED_FOR: Final = 5.0
"""Seconds a refused bearer is refused without asking again. A change anywhere in the policy ends that at once."""

ATTEMPTS: Final = 5

AWAY_FOR: Final = 0.25
"""Seconds after the control plane did not answer during which it is not asked again: a hung one must not hang everybody."""


@dataclass(frozen=True)
class Identity:
    """What a bearer is, as the control plane said at one revision."""

    subject: str
    is_token: bool
    user: str | None
    project: str | None
    token_name: str | None
    token_sha: str | None
    expires_at: float
    topics: frozenset[str]
    revision: int

    @classmethod
    def of(cls, answer: Introspection) -> Identity:
        """The identity in an answer that is active.

        Raises:
            Unreachable: the answer says ``active`` and does not say who.
        """
        is_token = answer.token_type == "mcptoken"  # noqa: S105 - the kind, no secret
        kind, _, name = (answer.sub or "").partition(":")
        if not name or kind != ("McpToken" if is_token else "User") or (is_token and not answer.project):
            raise Unreachable("the control plane calls a bearer active and does not say whose it is")
        about = {answer.sub or "", answer.owner or "", *answer.topics} - {""}
        return cls(
            subject=answer.sub or "",
            is_token=is_token,
            user=answer.username,
            project=answer.project if is_token else None,
            token_name=answer.token_name,
            token_sha=answer.token_sha,
            expires_at=inf if answer.exp is None else float(answer.exp),
            topics=frozenset(about),
            revision=answer.revision,
        )


@dataclass(eq=False)
class Caller:
    """One principal at one project's endpoint, and everything it takes to decide about it.

    Attributes:
        identity: who it is.
        project: the project whose endpoint it uses.
        authority: what it may do.
        key: which credential it came with; never the credential.
        seen_revision: the newest revision known when this was made sure of.
    """

    identity: Identity
    project: str
    authority: Authority
    key: str
    seen_revision: int

    @property
    def name(self) -> str:
        """How a sentence calls it: a token by its name, a person as the subject."""
        return self.identity.token_name or self.identity.subject

    def may_run(self, asked: str) -> Decision:
        """May this caller use what is called ``asked`` below ``servers``? Whatever is listed or used is asked about here."""
        return decide(self.authority, "run", "servers", asked)

    def may_use(self, entry: Entry) -> Decision:
        """May this caller use ``entry``? Of a template: any URI at all that it matches, the answer being about that one.

        A template is no name that a line could be about. So those URIs are asked about that the caller's lines name, as far
        as the template matches them, and some that no line is likely to name.
        """
        if entry.template is None:
            return decide(self.authority, "run", "servers", entry.asked)
        below = f"{entry.ref.server}/{entry.ref.mark}"
        slices = [part for part in (self.authority.own, self.authority.owner) if part is not None]
        named = (rule.name[len(below) :] for part in slices for rule in part.rules if rule.name.startswith(below))
        refused: Decision | None = None
        for uri in entry.template.samples(named):
            if decision := self.may_run(below + uri):
                return decision
            refused = refused or decision
        return refused or self.may_run(entry.asked)


class Gate:
    """Turns bearers into callers."""

    def __init__(self, settings: Settings, control_plane: ControlPlane, feed: PolicyFeed) -> None:
        """Ask ``control_plane``, and forget what ``feed`` says is old."""
        self._trust_for = settings.trust_for
        self._control_plane = control_plane
        self._feed = feed
        self._identities: Recent[str, Identity] = Recent(REMEMBERED_CALLERS)
        self._callers: Recent[tuple[str, str], Caller] = Recent(REMEMBERED_CALLERS)
        self._refused: Recent[str, float] = Recent(REMEMBERED_REFUSALS)
        self._models: Recent[str, PolicyModel] = Recent(8)
        self._roles: Recent[frozenset[tuple[str, str]], Roles] = Recent(8)
        self._introspections: SingleFlight[str, Identity] = SingleFlight()
        self._fetches: SingleFlight[tuple[str, str], Caller] = SingleFlight()
        self._away_until = 0.0
        feed.on_change(self._forget)

    async def caller(self, bearer: str, project: str | None, fallback: str | None) -> Caller:
        """Who ``bearer`` is at an endpoint.

        Args:
            bearer: the raw credential.
            project: the project in the path, or ``None`` at ``/mcp``.
            fallback: the project that ``/mcp`` is for a person's session.

        Raises:
            InvalidCredential: the bearer is not, or no longer, good.
            NotFound: that endpoint does not exist for it.
            Unavailable: it cannot be known now.
        """
        if not BEARER.fullmatch(bearer):
            raise InvalidCredential("the bearer is not valid")
        key = sha256(bearer.encode()).hexdigest()
        for _ in range(ATTEMPTS):
            try:
                if not self._feed.is_fresh:
                    return await self._unheard(key, bearer, project, fallback)
                identity = self._identities.get(key) or await self._asked(key, bearer)
                return await self._at(key, identity, project, fallback)
            except _Overtaken:
                self._identities.pop(key)
        raise _keeps_changing()

    @property
    def remembered(self) -> int:
        """How many callers are known."""
        return len(self._callers)

    async def stop(self) -> None:
        """End what is under way."""
        await self._fetches.stop()
        await self._introspections.stop()

    def known_caller(self, bearer: str, project: str | None) -> Caller | None:
        """Whose token it is, where there is nothing to find out and nothing to refuse; else ``None``, and ``caller`` says.

        Args:
            bearer: what was sent for one, whether it can be a credential or not.
            project: the project in the path, or ``None`` at ``/mcp``.
        """
        key = sha256(bearer.encode(errors="surrogatepass")).hexdigest()
        identity = self._identities.get(key)
        if identity is None or identity.project is None or project not in (None, identity.project):
            return None
        if not self._feed.is_fresh or time() >= identity.expires_at:
            return None
        caller = self._callers.get((key, identity.project))
        good = caller is not None and not caller.authority.superseded and caller.identity is identity
        return caller if good else None

    async def _asked(self, key: str, bearer: str) -> Identity:
        until = self._refused.get(key)
        if until is not None and monotonic() < until:
            raise InvalidCredential("the bearer is not valid")
        return await self._introspections.run(key, lambda: self._introspect(key, bearer))

    async def _at(self, key: str, identity: Identity, project: str | None, fallback: str | None) -> Caller:
        if time() >= identity.expires_at:
            self._identities.pop(key)
            raise InvalidCredential("the bearer has expired")
        wanted = project or identity.project or fallback
        if wanted is None:
            raise NotFound("a session has no project of its own: use /projects/<project>/mcp")
        if identity.project is not None and wanted != identity.project:
            raise NotFound("there is no such project")
        caller = self._callers.get((key, wanted))
        if caller is None or caller.authority.superseded or caller.identity is not identity:
            caller = await self._fetches.run((key, wanted), lambda: self._fetch(key, identity, wanted))
            if caller.authority.superseded:
                raise _Overtaken
        if not identity.is_token and not decide(caller.authority, "view", "projects", wanted):
            raise NotFound("there is no such project")
        return caller

    async def _unheard(self, key: str, bearer: str, project: str | None, fallback: str | None) -> Caller:
        """The feed is silent: ask for this request alone, or live on what is known for a while."""
        try:
            if monotonic() < self._away_until:
                raise Unreachable("the control plane did not answer a moment ago")
            try:
                identity = await self._introspect(key, bearer)
                return await self._at(key, identity, project, fallback)
            except Unreachable:
                self._away_until = monotonic() + AWAY_FOR
                raise
        except Unreachable:
            known = self._identities.get(key)
            if known is None or self._feed.silence > self._trust_for:
                raise Unavailable(
                    "the control plane does not answer, so nothing can be allowed", headers={"Retry-After": "1"}
                ) from None
            wanted = project or known.project or fallback
            caller = self._callers.get((key, wanted)) if wanted is not None else None
            if caller is None or caller.authority.superseded or caller.identity.expires_at <= time():
                raise Unavailable(
                    "the control plane does not answer, and this credential has not been seen", headers={"Retry-After": "1"}
                ) from None
            if not known.is_token and not decide(caller.authority, "view", "projects", caller.project):
                raise NotFound("there is no such project") from None
            return caller

    async def _introspect(self, key: str, bearer: str) -> Identity:
        for attempt in range(ATTEMPTS):
            answer = await self._control_plane.introspect(bearer)
            if not answer.active:
                self._drop(key)
                self._refused.keep(key, monotonic() + REFUSED_FOR)
                raise InvalidCredential("the bearer is not valid")
            identity = Identity.of(answer)
            if not self._feed.is_superseded(identity.revision, identity.topics):
                return self._known(key, identity)
            await asyncio.sleep(0.02 * 2**attempt)
        raise _keeps_changing()

    def _known(self, key: str, identity: Identity) -> Identity:
        """Remember ``identity``; one that says the same as before is the one before, so its callers live on."""
        before = self._identities.get(key)
        return before if before == identity else self._identities.keep(key, identity)

    async def _fetch(self, key: str, identity: Identity, project: str) -> Caller:
        for attempt in range(ATTEMPTS):
            try:
                slices = await self._control_plane.slices(identity.subject, project)
            except (Forbidden, Unauthenticated) as refusal:
                raise Unavailable("the gateway may not ask the control plane about this project") from refusal
            authority = self._authority(slices, identity)
            if self._feed.is_superseded(identity.revision, identity.topics):
                raise _Overtaken
            if not self._feed.is_superseded(authority.revision, authority.topics):
                seen = max(authority.revision, identity.revision)
                caller = Caller(identity, project, authority, key, seen)
                return self._callers.keep((key, project), caller)
            await asyncio.sleep(0.02 * 2**attempt)
        raise _keeps_changing()

    def _authority(self, slices: Slices, identity: Identity) -> Authority:
        if slices.subject != identity.subject or (identity.is_token and slices.owner is None):
            raise Unreachable("the control plane answered about somebody else than it was asked about")
        model = self._models.got(slices.model, lambda: PolicyModel(slices.model))
        links = frozenset((role, action) for role, action in slices.roles)
        roles = self._roles.got(links, lambda: Roles(links))
        return Authority(
            subject=slices.subject,
            revision=slices.revision,
            own=_slice(model, roles, slices.own),
            owner=_slice(model, roles, slices.owner) if slices.owner is not None else None,
            project=slices.project if identity.is_token else None,
            attached=frozenset(slices.attached),
            expires_at=identity.expires_at,
            topics=frozenset(slices.topics) | identity.topics | {f"Project:{slices.project}"},
        )

    def _forget(self, change: Change) -> None:
        self._refused.clear()
        self._identities.take_if(lambda _, identity: change.touches(identity.topics))
        for caller in self._callers.take_if(lambda _, caller: change.touches(caller.authority.topics)):
            caller.authority.superseded = True

    def _drop(self, key: str) -> None:
        self._identities.pop(key)
        for caller in self._callers.take_if(lambda where, _: where[0] == key):
            caller.authority.superseded = True


class _Overtaken(Exception):
    """What a bearer is has changed while its rights were being fetched."""


def _keeps_changing() -> Unavailable:
    return Unavailable("the control plane keeps answering with what it has already replaced", headers={"Retry-After": "1"})


def _slice(model: PolicyModel, roles: Roles, part: SliceOf) -> Slice:
    rules = [Rule(sub, role, res, name, cast("Effect", eft), origin) for sub, role, res, name, eft, origin in part.rules]
    return Slice(model, roles, part.subject, part.groups, rules)

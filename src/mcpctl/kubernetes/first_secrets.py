"""The Secrets that an installation begins with: each is made once, completed after an interruption, and never overwritten.

Pods mount these Secrets, so Kubernetes starts none of them before its own is there: no other order is needed. The control plane
starts once its keys and its first password exist; then its admin opens a session for the gateways, and with that they start.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Any, Final

from mcpctl.client.http import ControlPlane, path_of
from mcpctl.client.target import check_bearer
from mcpctl.errors import Conflict, InvalidSetting, Unavailable, WrongPassword
from mcpctl.kubernetes.secret_store import Kept, SecretStore

Say = Callable[[str], None]

ADMIN_PASSWORD: Final = "admin-password"  # noqa: S105 - the name of a key
SECRET_KEY: Final = "secret-key"  # noqa: S105
DATABASE_URL: Final = "url"
DATABASE_PASSWORD: Final = "password"  # noqa: S105
CREDENTIAL: Final = "credential"
KEYS: Final = (ADMIN_PASSWORD, SECRET_KEY, DATABASE_URL, DATABASE_PASSWORD, CREDENTIAL)
"""Keys of the Secrets, each the name of a file where it is mounted."""

ROUNDS: Final = 5
"""How often to look again when somebody else was writing at the same time."""


def control_plane_keys(kept: Mapping[str, str]) -> dict[str, str]:
    """What the control plane's Secret lacks: the first admin's password, and the key that secrets are encrypted with."""
    made = {ADMIN_PASSWORD: secrets.token_urlsafe(24), SECRET_KEY: b64encode(secrets.token_bytes(32)).decode()}
    return {key: value for key, value in made.items() if not kept.get(key)}


def database_keys(place: str) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """What the database's Secret lacks: a password and the URL with it. One with a URL, whoever put it there, lacks nothing.

    Args:
        place: ``HOST:PORT/NAME``; the user is called as the database is.
    """

    def lacking(kept: Mapping[str, str]) -> dict[str, str]:
        if kept.get(DATABASE_URL):
            return {}
        password = kept.get(DATABASE_PASSWORD) or secrets.token_urlsafe(24)
        url = f"postgresql://{place.rpartition('/')[2]}:{password}@{place}"
        return {DATABASE_PASSWORD: password, DATABASE_URL: url}

    return lacking


def ensure(
    store: SecretStore, name: str, lacking: Callable[[Mapping[str, str]], dict[str, str]], say: Say
) -> tuple[Mapping[str, str], bool]:
    """See to it that the Secret holds all it must. What it holds already stays.

    Args:
        store: where it is.
        name: what it is called.
        lacking: what must be added to these values.
        say: told what was done, never a value.

    Returns:
        Its values, and whether anything was made now.

    Raises:
        Conflict: it kept changing while this was looking.
        Problem: as ``SecretStore`` says.
    """
    for _ in range(ROUNDS):
        kept = store.read(name)
        values = dict(kept.values) if kept else {}
        fresh = lacking(values)
        if not fresh:
            say(f"secret/{name} unchanged")
            return values, False
        if _store(store, name, fresh, kept):
            say(f"secret/{name} {'completed' if kept else 'created'}: {', '.join(sorted(fresh))}")
            return values | fresh, True
    raise _busy(name)


def await_control_plane(address: str, seconds: float, *, allow_plain_http: bool, say: Say) -> None:
    """Wait until the control plane is ready.

    Raises:
        Unavailable: it is not within ``seconds``.
    """
    until, told = monotonic() + seconds, False
    while True:
        try:
            with ControlPlane(address, allow_plain_http=allow_plain_http, answer_seconds=5) as plane:
                plane.get("/readyz")
                return
        except Unavailable as error:
            if monotonic() > until:
                raise Unavailable(f"the control plane was not ready within {seconds:g} s: {error.detail}") from None
        if not told:
            say(f"waiting for {address}")
            told = True
        sleep(0.5)


class GatewayCredential:
    """The session that gateways present to the control plane: without an end, of a service user in ``Group:gateways``."""

    def __init__(self, store: SecretStore, name: str, user: str, address: str, *, allow_plain_http: bool, say: Say) -> None:
        """Keep it in the Secret called ``name``; the control plane at ``address`` is ready."""
        self._store = store
        self._name = name
        self._user = user
        self._address = address
        self._plain = allow_plain_http
        self._say = say

    def ensure(self, admin_password: str, *, check_password: bool) -> None:
        """See to it that the Secret holds a session that is good. While it does, nobody logs in and nothing changes.

        Args:
            admin_password: of ``admin``.
            check_password: find out whether it is right, even where it is not needed.

        Raises:
            InvalidSetting: the password is not admin's (any more).
            Conflict: the Secret kept changing.
            Problem: as the cluster or the control plane says.
        """
        for _ in range(ROUNDS):
            kept = self._store.read(self._name)
            if kept is not None and self._is_good(kept.values.get(CREDENTIAL, "")):
                if check_password:
                    self._admin(admin_password).close()
                self._say(f"secret/{self._name} unchanged")
                return
            with self._admin(admin_password) as admin:
                self._prepare(admin)
                # Of a run that ended before it had stored what it opened: nobody knows these.
                for one in self._sessions(admin):
                    if one["lastUsedAt"] is None:
                        admin.delete(path_of("sessions", one["id"]))
                done = self._exchange(admin, kept)
                admin.post(path_of("auth", "logout"))
            if done:
                self._say(f"secret/{self._name} {'completed' if kept else 'created'}: {CREDENTIAL}")
                return
        raise _busy(self._name)

    def rotate(self, admin_password: str) -> None:
        """Put a new session into the Secret. The one before stays good: gateways have it until their files are exchanged.

        Raises:
            Problem: as ``ensure``; ``Conflict`` also if there is no Secret to change.
        """
        kept = self._store.read(self._name)
        if kept is None:
            raise Conflict(f"there is no Secret {self._name}: run this without --rotate-gateway-credential first")
        with self._admin(admin_password) as admin:
            self._prepare(admin)
            before = [one["id"] for one in self._sessions(admin)]
            done = self._exchange(admin, kept)
            admin.post(path_of("auth", "logout"))
        if not done:
            raise _busy(self._name)
        self._say(f"secret/{self._name} has a new {CREDENTIAL}")
        self._say("When every gateway has it (two minutes: Kubernetes exchanges mounted files), end what was good before:")
        for session in before:
            self._say(f"  mcpctl delete session {session} --yes")

    def _exchange(self, admin: ControlPlane, kept: Kept | None) -> bool:
        opened = admin.post(path_of("sessions"), {"user": self._user, "ttl": "never"})
        if _store(self._store, self._name, {CREDENTIAL: opened["token"]}, kept):
            return True
        admin.delete(path_of("sessions", opened["id"]))
        return False

    def _admin(self, password: str) -> ControlPlane:
        with ControlPlane(self._address, allow_plain_http=self._plain) as nobody:
            try:
                session = nobody.post(path_of("auth", "login"), {"username": "admin", "password": password})
            except WrongPassword:
                raise InvalidSetting(
                    f"the Secret's {ADMIN_PASSWORD} is not the password of admin: put the one in force there, or set it with "
                    "'mcpctl set password admin'"
                ) from None
        return ControlPlane(self._address, session["token"], allow_plain_http=self._plain)

    def _prepare(self, admin: ControlPlane) -> None:
        users = {one["name"]: one for one in admin.items(path_of("users"))}
        if self._user not in users:
            admin.post(path_of("users"), {"name": self._user, "service": True})
        elif not users[self._user]["service"]:
            raise InvalidSetting(f"User:{self._user} is a person: give the gateways a user of their own with --gateway-user")
        admin.put(path_of("groups", "gateways", "members", self._user))

    def _sessions(self, admin: ControlPlane) -> list[Mapping[str, Any]]:
        return [one for one in admin.items(path_of("sessions")) if one["user"] == self._user]

    def _is_good(self, raw: str) -> bool:
        try:
            check_bearer(raw, CREDENTIAL)
        except InvalidSetting:
            return False
        with ControlPlane(self._address, raw, allow_plain_http=self._plain) as itself:
            return bool(itself.get(path_of("mcptokens", "introspect"))["active"])


def _store(store: SecretStore, name: str, values: Mapping[str, str], kept: Kept | None) -> bool:
    return store.create(name, values) if kept is None else store.add(name, values, kept)


def _busy(name: str) -> Conflict:
    return Conflict(f"the Secret {name} kept changing while it was looked at: is this running twice? Run it again")
